//! The least that an answer costs on this machine: tokio and the kernel, on one thread, and not a word of
//! HTTP but the end of a request. It sends one answer, which is ready as it goes over the wire; its body,
//! where it is long, from a file of memory (`sendfile`). A subject of `bench/run hits`:
//! `answerer PORT HEAD BODY`, two files.

#![allow(clippy::print_stdout)]

use std::io::{self, IoSlice};
use std::os::fd::OwnedFd;
use std::sync::Arc;

use rustix::fs::{MemfdFlags, memfd_create, sendfile};
use rustix::net::{SendFlags, send};
use tokio::io::{AsyncReadExt as _, Interest};
use tokio::net::{TcpListener, TcpStream};

/// From so many bytes on, a body is sent from a file.
const WORTH_A_FILE: usize = 16 * 1024;

/// Far more than a request of the load.
const MAX_REQUEST_BYTES: usize = 16 * 1024;

struct Ready {
    head: Vec<u8>,
    body: Vec<u8>,
    file: OwnedFd,
}

fn main() {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let [port, head, body] = &arguments[..] else {
        return println!("used by `bench/run`: see bench/README.md");
    };
    let Ok(port) = port.parse() else {
        return println!("{port} is no port");
    };
    let read = |path| std::fs::read(path).expect("a part of the answer");
    let (head, body) = (read(head), read(body));
    let file = memfd_create(c"body", MemfdFlags::CLOEXEC).expect("a file of memory");
    let written = rustix::io::write(&file, &body).expect("room for the body");
    assert_eq!(written, body.len());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("an event queue").block_on(run(port, Arc::new(Ready { head, body, file })));
}

async fn run(port: u16, ready: Arc<Ready>) {
    let listener = TcpListener::bind(("127.0.0.1", port)).await.expect("the port is free");
    loop {
        let (client, _) = listener.accept().await.expect("a connection");
        let ready = Arc::clone(&ready);
        tokio::spawn(async move {
            // Clients hang up when a run is over.
            let _ = answer(client, &ready).await;
        });
    }
}

/// Answers each request of a client.
async fn answer(mut client: TcpStream, ready: &Ready) -> io::Result<()> {
    client.set_nodelay(true)?;
    let mut request = vec![0; MAX_REQUEST_BYTES];
    let mut length = 0;
    loop {
        match client.read(&mut request[length..]).await? {
            0 => return Ok(()),
            read => length += read,
        }
        if !request[..length].ends_with(b"\r\n\r\n") {
            continue;
        }
        length = 0;
        if ready.body.len() < WORTH_A_FILE {
            send_bytes(&client, &ready.head, &ready.body).await?;
        } else {
            send_from_file(&client, ready).await?;
        }
    }
}

async fn send_bytes(client: &TcpStream, head: &[u8], body: &[u8]) -> io::Result<()> {
    let mut sent = 0;
    while sent < head.len() + body.len() {
        let slices = [&head[sent.min(head.len())..], &body[sent.saturating_sub(head.len())..]];
        client.writable().await?;
        match client.try_write_vectored(&slices.map(IoSlice::new)) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            written => sent += written?,
        }
    }
    Ok(())
}

async fn send_from_file(client: &TcpStream, ready: &Ready) -> io::Result<()> {
    let mut head = &ready.head[..];
    while !head.is_empty() {
        let send_head = || Ok(send(client, head, SendFlags::MORE)?);
        let sent = client.async_io(Interest::WRITABLE, send_head).await?;
        head = &head[sent..];
    }
    let (mut offset, end) = (0, ready.body.len() as u64);
    while offset < end {
        let left = ready.body.len() - usize::try_from(offset).unwrap_or_default();
        let send_body = || Ok(sendfile(client, &ready.file, Some(&mut offset), left)?);
        client.async_io(Interest::WRITABLE, send_body).await?;
    }
    Ok(())
}

//! The least that passing bytes on costs in this stack: tokio, on one thread, with one connection to
//! the CDN for each client's, and of HTTP only where a body begins and how long it is. What follows
//! the head stays in the kernel (`splice`). A subject of `bench/run proxy`: `relay PORT CDN_PORT`.

#![allow(clippy::print_stdout)]

use std::io;
use std::os::fd::OwnedFd;

use rustix::pipe::{PipeFlags, SpliceFlags, pipe_with, splice};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, Interest};
use tokio::net::{TcpListener, TcpStream};

/// What the gateway reads at once while it waits for a head.
const HEAD_BYTES: usize = 2 * 1024;

/// What a pipe holds, as it comes.
const PIPE_BYTES: usize = 64 * 1024;

/// Far more than a request of the load.
const MAX_REQUEST_BYTES: usize = 16 * 1024;

fn main() {
    let ports: Vec<u16> = std::env::args().skip(1).map_while(|port| port.parse().ok()).collect();
    let [port, cdn] = ports[..] else {
        return println!("used by `bench/run`: see bench/README.md");
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("an event queue").block_on(run(port, cdn));
}

async fn run(port: u16, cdn: u16) {
    let listener = TcpListener::bind(("127.0.0.1", port)).await.expect("the port is free");
    loop {
        let (client, _) = listener.accept().await.expect("a connection");
        tokio::spawn(async move {
            // Clients hang up when a run is over.
            let _ = pass_on(client, cdn).await;
        });
    }
}

/// Answers each request of a client with what the CDN answers to it.
async fn pass_on(mut client: TcpStream, cdn: u16) -> io::Result<()> {
    client.set_nodelay(true)?;
    let mut cdn = TcpStream::connect(("127.0.0.1", cdn)).await?;
    cdn.set_nodelay(true)?;
    let pipe = pipe_with(PipeFlags::NONBLOCK | PipeFlags::CLOEXEC)?;
    let mut request = vec![0; MAX_REQUEST_BYTES];
    let mut head = vec![0; HEAD_BYTES];
    loop {
        // The load's requests come in one piece.
        let length = client.read(&mut request).await?;
        if length == 0 {
            return Ok(());
        }
        cdn.write_all(&request[..length]).await?;
        let length = cdn.read(&mut head).await?;
        let whole = length_of(&head[..length]).ok_or(io::ErrorKind::InvalidData)?;
        client.write_all(&head[..length]).await?;
        splice_on(&cdn, &pipe, &client, whole.saturating_sub(length)).await?;
    }
}

/// Moves so many bytes from the CDN to the client.
async fn splice_on(
    cdn: &TcpStream,
    (reader, writer): &(OwnedFd, OwnedFd),
    client: &TcpStream,
    mut left: usize,
) -> io::Result<()> {
    let flags = SpliceFlags::MOVE | SpliceFlags::NONBLOCK;
    while left > 0 {
        let most = left.min(PIPE_BYTES);
        let fill = || Ok(splice(cdn, None, writer, None, most, flags)?);
        let mut held = cdn.async_io(Interest::READABLE, fill).await?;
        if held == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        left -= held;
        while held > 0 {
            let drain = || Ok(splice(reader, None, client, None, held, flags)?);
            held -= client.async_io(Interest::WRITABLE, drain).await?;
        }
    }
    Ok(())
}

/// How long the answer is that begins with these bytes, head and body: what nginx writes as the head
/// of a file comes in one piece.
fn length_of(bytes: &[u8]) -> Option<usize> {
    let head = memchr::memmem::find(bytes, b"\r\n\r\n")? + 4;
    let name = b"Content-Length: ";
    let at = memchr::memmem::find(&bytes[..head], name)? + name.len();
    let digits = bytes[at..].iter().take_while(|byte| byte.is_ascii_digit()).count();
    let body: usize = std::str::from_utf8(&bytes[at..at + digits]).ok()?.parse().ok()?;
    Some(head + body)
}

//! A client that sends bytes as they are: what no HTTP library would send.

use std::net::Ipv4Addr;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;

/// After this a server is taken for one that never answers. Nothing is measured by it.
const PATIENCE: Duration = Duration::from_secs(60);

/// One connection.
pub struct Raw {
    stream: TcpStream,
    /// What was received and not read yet.
    buffer: Vec<u8>,
}

/// A response head, and the body where it was read.
#[derive(Debug)]
pub struct RawAnswer {
    pub status: u16,
    pub head: String,
    pub body: Vec<u8>,
}

impl Raw {
    /// Connects to `http://address`.
    pub async fn connect(base: &str) -> Self {
        let address = base.strip_prefix("http://").expect("a base is http://address");
        let stream = TcpStream::connect(address).await.expect("the server listens");
        Self { stream, buffer: Vec::new() }
    }

    /// Connects to `http://address` from another address of this machine.
    pub async fn connect_from(from: &str, base: &str) -> Self {
        let address = base.strip_prefix("http://").expect("a base is http://address");
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.bind((from.parse::<Ipv4Addr>().unwrap(), 0).into()).expect("an own address");
        let stream = socket.connect(address.parse().unwrap()).await.expect("the server listens");
        Self { stream, buffer: Vec::new() }
    }

    /// Sends bytes. A server that has closed the connection already is not this method's concern.
    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        let _ = self.stream.write_all(bytes.as_ref()).await;
    }

    /// The next response head; `None` if the connection ended before one.
    pub async fn head(&mut self) -> Option<RawAnswer> {
        loop {
            if let Some(end) = find(&self.buffer, b"\r\n\r\n") {
                let head: Vec<u8> = self.buffer.drain(..end + 4).collect();
                let head = String::from_utf8(head).expect("a head is ASCII");
                let status = head.get(9..12).and_then(|code| code.parse().ok());
                let status = status.unwrap_or_else(|| panic!("no status line: {head}"));
                return Some(RawAnswer { status, head, body: Vec::new() });
            }
            if self.fill().await == 0 {
                assert!(self.buffer.is_empty(), "the connection ended within a head");
                return None;
            }
        }
    }

    /// The next final answer with its body, as `Content-Length` counts it.
    pub async fn answer(&mut self) -> Option<RawAnswer> {
        let mut answer = self.head().await?;
        while answer.status < 200 {
            answer = self.head().await?;
        }
        if answer.status != 204 && answer.status != 304 {
            let length = answer.header("content-length").parse().unwrap_or(0);
            answer.body = self.body(length).await;
        }
        Some(answer)
    }

    /// The next bytes of a body.
    pub async fn body(&mut self, length: usize) -> Vec<u8> {
        while self.buffer.len() < length {
            assert!(self.fill().await > 0, "the connection ended within a body");
        }
        self.buffer.drain(..length).collect()
    }

    /// Whether the server ends the connection without another byte.
    pub async fn is_closed(&mut self) -> bool {
        self.buffer.is_empty() && self.fill().await == 0
    }

    /// Reads what comes; 0 at the end, orderly or not.
    async fn fill(&mut self) -> usize {
        let read = self.stream.read_buf(&mut self.buffer);
        timeout(PATIENCE, read).await.expect("the server answers or closes").unwrap_or(0)
    }
}

impl RawAnswer {
    /// A header as text; empty if there is none.
    pub fn header(&self, name: &str) -> &str {
        let mut lines = self.head.lines().filter_map(|line| line.split_once(':'));
        lines.find(|(known, _)| known.eq_ignore_ascii_case(name)).map_or("", |(_, v)| v.trim())
    }

    /// The `code` of a problem document; empty where the body is none.
    pub fn code(&self) -> String {
        let document = serde_json::from_slice::<serde_json::Value>(&self.body);
        document.ok().and_then(|d| d["code"].as_str().map(str::to_owned)).unwrap_or_default()
    }
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}

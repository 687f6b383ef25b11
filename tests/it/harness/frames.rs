//! A client that sends HTTP/2 frame by frame: what no library would send.

use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// After this a server is taken for one that never answers. Nothing is measured by it.
const PATIENCE: Duration = Duration::from_secs(60);

/// Kinds of frames (RFC 9113 §6).
pub const DATA: u8 = 0;
pub const HEADERS: u8 = 1;
pub const RST_STREAM: u8 = 3;
pub const SETTINGS: u8 = 4;
pub const PING: u8 = 6;
pub const GOAWAY: u8 = 7;
pub const WINDOW_UPDATE: u8 = 8;
pub const CONTINUATION: u8 = 9;

/// Flags.
pub const END_STREAM: u8 = 1;
pub const ACK: u8 = 1;
pub const END_HEADERS: u8 = 4;

/// Error codes (RFC 9113 §7).
pub const PROTOCOL_ERROR: u32 = 1;
pub const REFUSED_STREAM: u32 = 7;
pub const ENHANCE_YOUR_CALM: u32 = 11;

/// One connection.
pub struct Frames {
    stream: TcpStream,
}

#[derive(Debug, PartialEq, Eq)]
pub struct FrameSeen {
    pub kind: u8,
    pub flags: u8,
    pub stream: u32,
    pub payload: Vec<u8>,
}

impl Frames {
    /// Begins a connection in HTTP/2, with empty settings.
    pub async fn begin(stream: TcpStream) -> Self {
        let mut this = Self { stream };
        this.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await;
        this.send(&frame(SETTINGS, 0, 0, &[])).await;
        this
    }

    /// Sends bytes. A server that has ended the connection already is not this method's concern.
    pub async fn send(&mut self, bytes: &[u8]) {
        let _ = self.stream.write_all(bytes).await;
    }

    /// The next frame; `None` at the end, orderly or not. What the server asks is answered: its
    /// settings and its pings.
    pub async fn next(&mut self) -> Option<FrameSeen> {
        let mut head = [0; 9];
        self.read(&mut head).await?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
        let mut payload = vec![0; length];
        self.read(&mut payload).await?;
        let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
        let seen = FrameSeen { kind: head[3], flags: head[4], stream, payload };
        if matches!(seen.kind, SETTINGS | PING) && seen.flags & ACK == 0 {
            let payload = if seen.kind == PING { &*seen.payload } else { &[] };
            self.send(&frame(seen.kind, ACK, 0, payload)).await;
        }
        Some(seen)
    }

    /// Reads up to the next frame of this kind.
    pub async fn until(&mut self, kind: u8) -> Option<FrameSeen> {
        loop {
            let seen = self.next().await?;
            if seen.kind == kind {
                return Some(seen);
            }
        }
    }

    /// The error of the GOAWAY with which the connection ends; `None` if it ends without one.
    pub async fn goaway(&mut self) -> Option<u32> {
        Some(self.until(GOAWAY).await?.error())
    }

    async fn read(&mut self, buffer: &mut [u8]) -> Option<()> {
        let read = self.stream.read_exact(buffer);
        timeout(PATIENCE, read).await.expect("the server answers or closes").ok().map(drop)
    }
}

impl FrameSeen {
    /// The error code of a RST_STREAM or a GOAWAY.
    pub fn error(&self) -> u32 {
        let at = if self.kind == GOAWAY { 4 } else { 0 };
        u32::from_be_bytes(self.payload[at..at + 4].try_into().unwrap())
    }

    /// Whether a HEADERS frame has this status, which is among those that HPACK has an index for
    /// (RFC 7541, appendix A).
    pub fn has_status(&self, status: u16) -> bool {
        let index = [200, 204, 206, 304, 400, 404, 500].iter().position(|known| *known == status);
        let index = u8::try_from(index.expect("it has an index")).unwrap();
        self.kind == HEADERS && self.payload.first() == Some(&(0x88 + index))
    }
}

/// A frame's bytes.
pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut bytes = vec![length[1], length[2], length[3], kind, flags];
    bytes.extend_from_slice(&stream.to_be_bytes());
    bytes.extend_from_slice(payload);
    bytes
}

/// Headers in HPACK, each written out (RFC 7541 §6.2.2).
pub fn hpack(headers: &[(&str, &str)]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in headers {
        block.push(0);
        for text in [name, value] {
            length_of(text.len(), &mut block);
            block.extend_from_slice(text.as_bytes());
        }
    }
    block
}

/// An integer with a prefix of 7 bits (RFC 7541 §5.1).
fn length_of(length: usize, block: &mut Vec<u8>) {
    let Some(mut rest) = length.checked_sub(127) else {
        return block.push(u8::try_from(length).unwrap());
    };
    block.push(127);
    while rest >= 128 {
        block.push(u8::try_from(rest % 128).unwrap() | 128);
        rest /= 128;
    }
    block.push(u8::try_from(rest).unwrap());
}

/// A GET of a path, whole.
pub fn get(stream: u32, path: &str) -> Vec<u8> {
    request(stream, &[("host", "h")], path)
}

/// A GET of a path with these headers, and without an authority.
pub fn request(stream: u32, headers: &[(&str, &str)], path: &str) -> Vec<u8> {
    let mut all = vec![(":method", "GET"), (":scheme", "http"), (":path", path)];
    all.extend_from_slice(headers);
    frame(HEADERS, END_STREAM | END_HEADERS, stream, &hpack(&all))
}

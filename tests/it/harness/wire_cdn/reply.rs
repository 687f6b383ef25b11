//! What the CDN on a bare socket can do with a request: the right answer, that answer with something
//! done to it, or other bytes altogether.

use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use safelight::domain::{ETag, RangeRequest};

use super::{CdnObject, SeenRequest};

/// What to do with one request.
pub enum Act {
    /// Sends these bytes instead of an answer.
    Raw(Vec<u8>, End),
    /// Sends the right answer after this has been done to it.
    Reply(Change),
    /// Waits for this before it does that. Whoever asked may hang up meanwhile.
    After(Wait, Box<Act>),
}

/// Does something to the right answer. It is given the object that was asked for as well.
pub type Change = Box<dyn FnOnce(&mut Reply, &CdnObject) + Send>;

/// What an answer waits for.
pub type Wait = Pin<Box<dyn Future<Output = ()> + Send>>;

/// How an exchange ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// As it should: the connection waits for the next request.
    KeepAlive,
    /// With a FIN.
    Close,
    /// With a RST.
    Reset,
    /// Not at all: nothing more comes until the other side closes.
    Stall,
}

/// How an answer says how long its body is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// `Content-Length`.
    Length,
    /// Chunked.
    Chunked,
    /// Not at all.
    None,
}

/// An answer on its way out.
#[derive(Debug, Clone)]
pub struct Reply {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Bytes,
    pub framing: Framing,
    /// Bytes before the answer.
    pub preface: Bytes,
    /// Bytes after the end of the body.
    pub surplus: Bytes,
    /// After how many bytes of the body the exchange ends, and how.
    pub broken: Option<(usize, End)>,
    /// Whether it goes out in small pieces.
    pub drips: bool,
}

impl Act {
    /// Not one byte, and this end.
    pub fn no_byte(end: End) -> Self {
        Self::Raw(Vec::new(), end)
    }

    /// These bytes, and this end.
    pub fn raw(bytes: impl Into<Vec<u8>>, end: End) -> Self {
        Self::Raw(bytes.into(), end)
    }

    /// The right answer, but for what is done to it.
    pub fn but(change: impl FnOnce(&mut Reply) + Send + 'static) -> Self {
        Self::Reply(Box::new(|reply, _| change(reply)))
    }

    /// The right answer.
    pub fn right() -> Self {
        Self::but(|_| {})
    }

    /// The whole object, whatever was asked.
    pub fn whole() -> Self {
        Self::Reply(Box::new(|reply, object| *reply = Reply::whole(object)))
    }

    /// The same, but not before this has happened.
    pub fn after(self, event: impl Future<Output = ()> + Send + 'static) -> Self {
        Self::After(Box::pin(event), Box::new(self))
    }

    /// The same, so much later.
    pub fn late(self, by: Duration) -> Self {
        self.after(async move { tokio::time::sleep(by).await })
    }

    /// A well-formed answer of this status with a short body, as error pages are.
    pub fn status(status: u16) -> Self {
        Self::but(move |reply| *reply = Reply::page(status))
    }

    /// The right head, and a body that ends this way after so many bytes.
    pub fn broken(after: usize, end: End) -> Self {
        Self::but(move |reply| reply.broken = Some((after, end)))
    }
}

impl Reply {
    /// The whole of an object.
    pub fn whole(object: &CdnObject) -> Self {
        Self { headers: object.headers.clone(), ..Self::new(200, object.bytes.clone()) }
    }

    pub(super) fn page(status: u16) -> Self {
        Self::new(status, Bytes::from_static(b"<html>the CDN's own words</html>"))
            .with("Content-Type", "text/html")
    }

    fn new(status: u16, body: Bytes) -> Self {
        Self {
            status,
            headers: Vec::new(),
            body,
            framing: Framing::Length,
            preface: Bytes::new(),
            surplus: Bytes::new(),
            broken: None,
            drips: false,
        }
    }

    /// Adds a header.
    pub fn with(mut self, name: &str, value: impl Into<String>) -> Self {
        self.add(name, value);
        self
    }

    /// Adds a header.
    pub fn add(&mut self, name: &str, value: impl Into<String>) {
        self.headers.push((name.to_owned(), value.into()));
    }

    /// Gives a header another value.
    pub fn set(&mut self, name: &str, value: impl Into<String>) {
        self.headers.retain(|(known, _)| known != name);
        self.add(name, value);
    }

    /// The right answer to a request: what CDNs do with conditions and ranges.
    pub(super) fn to(request: &SeenRequest, object: &CdnObject) -> Self {
        let whole = Self::whole(object);
        let tag = object.header("ETag").and_then(ETag::parse);
        let known = request.header("if-none-match").is_some_and(|tags| {
            let mut tags = tags.split(',').filter_map(ETag::parse);
            tags.any(|known| tag.as_ref().is_some_and(|tag| tag.matches_weakly(&known)))
        });
        if known {
            return Self { status: 304, body: Bytes::new(), framing: Framing::None, ..whole };
        }
        let size = object.bytes.len();
        match request.header("range").and_then(RangeRequest::parse).map(|r| r.resolve(size as u64))
        {
            None => whole,
            Some(None) => Self::page(416).with("Content-Range", format!("bytes */{size}")),
            Some(Some(range)) => {
                let (start, end) = (to_usize(range.start), to_usize(range.end));
                Self { status: 206, body: object.bytes.slice(start..=end), ..whole }
                    .with("Content-Range", format!("bytes {start}-{end}/{size}"))
            }
        }
    }

    pub(super) fn to_wire(&self, is_head: bool) -> Vec<u8> {
        let mut wire = self.preface.to_vec();
        wire.extend_from_slice(format!("HTTP/1.1 {} Whatever\r\n", self.status).as_bytes());
        let framing = match self.framing {
            Framing::Length => Some(format!("Content-Length: {}", self.body.len())),
            Framing::Chunked => Some("Transfer-Encoding: chunked".to_owned()),
            Framing::None => None,
        };
        let lines = self.headers.iter().map(|(name, value)| format!("{name}: {value}"));
        for line in lines.chain(framing) {
            wire.extend_from_slice(line.as_bytes());
            wire.extend_from_slice(b"\r\n");
        }
        wire.extend_from_slice(b"\r\n");
        if is_head {
            return wire;
        }
        let sent = self.broken.map_or(&self.body[..], |(after, _)| &self.body[..after]);
        match self.framing {
            Framing::Length | Framing::None => wire.extend_from_slice(sent),
            Framing::Chunked => {
                if !sent.is_empty() {
                    wire.extend_from_slice(format!("{:x}\r\n", sent.len()).as_bytes());
                    wire.extend_from_slice(sent);
                    wire.extend_from_slice(b"\r\n");
                }
                if self.broken.is_none() {
                    wire.extend_from_slice(b"0\r\n\r\n");
                }
            }
        }
        wire.extend_from_slice(&self.surplus);
        wire
    }
}

fn to_usize(offset: u64) -> usize {
    usize::try_from(offset).unwrap()
}

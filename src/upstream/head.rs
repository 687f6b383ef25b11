//! The head of an answer: where it ends, what it says, and how the end of its body will be known.

use std::mem::MaybeUninit;

use bytes::Bytes;
use http::StatusCode;
use httparse::{Header, Response, Status};

use super::{Fields, SendError};

/// The largest head that is accepted, in bytes. CloudFront and S3 stay under 8 KiB; the fault table
/// calls anything over 32 KiB a protocol failure.
const MAX_HEAD_BYTES: usize = 32 * 1024;

/// How many headers an answer may have: the largest of the servers that are common upstream has 40.
const MAX_HEADERS: usize = 100;

/// How many answers may come before the one that counts (RFC 9110 §15.2). More than one is rare.
const MAX_ANNOUNCED: u8 = 16;

/// A whole head.
#[derive(Debug)]
pub(super) struct Head {
    pub(super) status: StatusCode,
    pub(super) fields: Fields,
    pub(super) extent: Extent,
    /// Whether the connection ends with this answer.
    pub(super) is_last: bool,
}

/// How far a body goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Extent {
    /// So many bytes.
    Counted(u64),
    /// Chunks (RFC 9112 §7.1).
    Chunked,
    /// Until the connection ends.
    UntilClose,
}

/// How every answer begins, with a digit for each `#`.
const BEGINNING: &[u8] = b"HTTP/1.# ###";

/// How far a head was looked through that has not come whole.
#[derive(Debug, Default)]
pub(super) struct Scan {
    /// Everything before was seen.
    seen: usize,
    /// Where the line begins that was not seen to its end.
    line: usize,
    /// How many heads came before it that only announced another one.
    announced: u8,
}

impl Scan {
    /// Goes on with the head that the last one has announced.
    ///
    /// # Errors
    /// [`SendError::Protocol`] if there is no end to it.
    pub(super) fn go_on(&mut self) -> Result<(), SendError> {
        match self.announced {
            MAX_ANNOUNCED => Err(malformed("one interim answer after the other")),
            announced => {
                *self = Self { announced: announced + 1, ..Self::default() };
                Ok(())
            }
        }
    }

    /// Looks for the end of the head that `bytes` begin with; they are those of the last call, and
    /// maybe more. Gives its length once it is whole.
    ///
    /// # Errors
    /// [`SendError::Protocol`] if it is too large, or is none from its beginning: who speaks something
    /// else may wait for an answer.
    pub(super) fn find_end(&mut self, bytes: &[u8]) -> Result<Option<usize>, SendError> {
        if self.line == 0 && !begins_like_an_answer(bytes) {
            return Err(malformed("not HTTP/1"));
        }
        while let Some(at) = memchr::memchr(b'\n', &bytes[self.seen..]) {
            let line = self.line..self.seen + at;
            (self.seen, self.line) = (line.end + 1, line.end + 1);
            if line.end > MAX_HEAD_BYTES {
                break;
            }
            if line.start > 0 && matches!(&bytes[line], b"" | b"\r") {
                return Ok(Some(self.seen));
            }
        }
        self.seen = bytes.len();
        match self.seen > MAX_HEAD_BYTES {
            true => Err(malformed("the head is too large")),
            false => Ok(None),
        }
    }
}

fn begins_like_an_answer(bytes: &[u8]) -> bool {
    let is_as = |(byte, wanted): (&u8, &u8)| match wanted {
        b'#' => byte.is_ascii_digit(),
        _ => byte == wanted,
    };
    bytes.iter().zip(BEGINNING).all(is_as)
}

/// Reads a whole head of an answer, to a HEAD if `is_head` says so; `None` if it only announces
/// another one (RFC 9110 §15.2).
///
/// # Errors
/// [`SendError::Protocol`] for what is no head, and for one that frames its body ambiguously.
pub(super) fn parse(bytes: &Bytes, is_head: bool) -> Result<Option<Head>, SendError> {
    let mut room = [const { MaybeUninit::<Header<'_>>::uninit() }; MAX_HEADERS];
    let mut answer = Response::new(&mut []);
    let config = httparse::ParserConfig::default();
    match config.parse_response_with_uninit_headers(&mut answer, bytes, &mut room) {
        Ok(Status::Complete(length)) if length == bytes.len() => {}
        // Its end and ours differ.
        Ok(_) => return Err(malformed("the head has an end within")),
        Err(error) => return Err(SendError::Protocol(error.into())),
    }
    let code = answer.code.unwrap_or_default();
    let status = StatusCode::from_u16(code).map_err(|error| SendError::Protocol(error.into()))?;
    match code {
        101 => return Err(malformed("another protocol, which nobody has asked for")),
        100..=199 => return Ok(None),
        _ => {}
    }
    let is_http_11 = answer.version == Some(1);
    let framing = Framing::of(answer.headers)?;
    if !is_http_11 && framing.coding.is_some() {
        return Err(malformed("HTTP/1.0 has no transfer codings"));
    }
    let extent = framing.extent(status, is_head)?;
    let goes_on = framing.keep_alive || is_http_11;
    let is_last = extent == Extent::UntilClose || framing.close || !goes_on;
    Ok(Some(Head { status, fields: Fields::found(bytes, answer.headers), extent, is_last }))
}

fn malformed(what: &'static str) -> SendError {
    SendError::Protocol(what.into())
}

/// What the headers say of where a body ends, and the connection.
#[derive(Default)]
struct Framing<'a> {
    /// It may be repeated, but not contradicted (RFC 9112 §6.3).
    length: Option<u64>,
    coding: Option<&'a [u8]>,
    /// Whether there is another coding yet.
    has_codings: bool,
    /// What is asked for the connection (RFC 9112 §9.3).
    close: bool,
    keep_alive: bool,
}

impl<'a> Framing<'a> {
    /// Looks through the headers once, however few of them matter.
    fn of(headers: &[Header<'a>]) -> Result<Self, SendError> {
        let mut this = Self::default();
        for Header { name, value } in headers {
            if name.eq_ignore_ascii_case("content-length") {
                let length =
                    length(value).ok_or_else(|| malformed("Content-Length is no number"))?;
                if this.length.replace(length).is_some_and(|other| other != length) {
                    return Err(malformed("Content-Length is given twice"));
                }
            } else if name.eq_ignore_ascii_case("transfer-encoding") {
                this.has_codings = this.coding.replace(value).is_some();
            } else if name.eq_ignore_ascii_case("connection") {
                for option in value.split(|byte| *byte == b',') {
                    let option = option.trim_ascii();
                    this.close |= option.eq_ignore_ascii_case(b"close");
                    this.keep_alive |= option.eq_ignore_ascii_case(b"keep-alive");
                }
            }
        }
        Ok(this)
    }

    /// The end of a body must be beyond doubt: one length, or chunks, and nothing else. (Any other
    /// transfer coding ends when the connection does, as a body that was cut off would.)
    fn extent(&self, status: StatusCode, is_head: bool) -> Result<Extent, SendError> {
        let told = match (self.coding, self.length) {
            (None, Some(length)) => Extent::Counted(length),
            (None, None) => Extent::UntilClose,
            (Some(_), Some(_)) => {
                return Err(malformed("both Content-Length and Transfer-Encoding"));
            }
            (Some(coding), None)
                if !self.has_codings && coding.eq_ignore_ascii_case(b"chunked") =>
            {
                Extent::Chunked
            }
            (Some(_), None) => return Err(malformed("a transfer coding other than chunked")),
        };
        let has_none =
            is_head || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
        Ok(if has_none { Extent::Counted(0) } else { told })
    }
}

/// A length of a body.
fn length(value: &[u8]) -> Option<u64> {
    // What a `u64` is made of may have a sign before it.
    let digits = std::str::from_utf8(value).ok().filter(|_| value.iter().all(u8::is_ascii_digit));
    digits.and_then(|digits| digits.parse().ok())
}

#[cfg(test)]
mod tests;

//! A request head as it was sent, before anybody has made a request of it: where it ends, and what
//! follows it. What can be read in two ways is refused, because somebody in front may have read it
//! in the other one.
//!
//! hyper would read it too, and more kindly: it drops a `Content-Length` beside a
//! `Transfer-Encoding`, takes a line that ends in a bare line feed, and answers what it refuses
//! without a word. It gets no head that is not let through here.

use std::mem::MaybeUninit;

use http::Uri;
use httparse::{Error, Header, Request, Status};

use crate::http::{MAX_HEAD_BYTES, MAX_TARGET_BYTES, Problem};

/// How many headers a request may have: what hyper takes.
const MAX_HEADERS: usize = 100;

/// What a request line has besides its target, at most: a method, a version, spaces.
const LINE_MARGIN: usize = 64;

/// How many empty lines may stand before a request: RFC 9112 §2.2 asks for one, which old clients
/// send after a body.
const MAX_EMPTY_LINES: usize = 2;

const MALFORMED_LINE: Problem = Problem::BadRequest("the request line is malformed");
const BARE_LINE_END: Problem = Problem::BadRequest("lines must end in CR LF");

/// What follows a head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Extent {
    /// So many bytes.
    Counted(u64),
    /// Chunks (RFC 9112 §7.1).
    Chunked,
}

/// How far a head was looked through that has not come whole.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Scan {
    /// The empty lines before it, in bytes.
    start: usize,
    /// Everything before was seen.
    seen: usize,
    /// Where the line begins that was not seen to its end.
    line: usize,
    /// Where the headers begin; 0 until the request line has ended.
    headers: usize,
}

impl Scan {
    /// Whether any byte of the head is there.
    pub(super) const fn has_begun(&self) -> bool {
        self.seen > self.start
    }

    /// Looks for the end of the head that `bytes` begin with; they are those of the last call, and
    /// maybe more. Gives its length once it is whole.
    ///
    /// # Errors
    /// Why it is refused, as soon as that shows.
    pub(super) fn find_end(&mut self, bytes: &[u8]) -> Result<Option<usize>, Problem> {
        if !self.has_begun() && !self.skip_empty_lines(bytes)? {
            return Ok(None);
        }
        while let Some(at) = memchr::memchr(b'\n', &bytes[self.seen..]) {
            let end = self.seen + at + 1;
            // Of an empty line, the byte before is the line feed of another one.
            if !bytes[..end].ends_with(b"\r\n") {
                return Err(BARE_LINE_END);
            }
            let is_empty = end == self.line + 2;
            self.seen = end;
            self.line = end;
            if is_empty {
                return Ok(Some(end));
            }
            if self.headers == 0 {
                self.headers = end;
            }
        }
        self.seen = bytes.len();
        match self.headers {
            0 if self.seen - self.start > MAX_TARGET_BYTES + LINE_MARGIN => {
                Err(Problem::UriTooLong)
            }
            1.. if self.seen - self.headers > MAX_HEAD_BYTES => Err(Problem::HeadersTooLarge),
            _ => Ok(None),
        }
    }

    /// Whether the head itself begins after them.
    fn skip_empty_lines(&mut self, bytes: &[u8]) -> Result<bool, Problem> {
        while bytes[self.start..].starts_with(b"\r\n") {
            self.start += 2;
            if self.start > 2 * MAX_EMPTY_LINES {
                return Err(MALFORMED_LINE);
            }
        }
        (self.seen, self.line) = (self.start, self.start);
        match &bytes[self.start..] {
            [] | [b'\r'] => Ok(false),
            // A method is a token; a TLS client begins otherwise, and would wait for an answer.
            [first, ..] if first.is_ascii_alphanumeric() => Ok(true),
            [first, ..] if b"!#$%&'*+-.^_`|~".contains(first) => Ok(true),
            _ => Err(MALFORMED_LINE),
        }
    }
}

/// Judges a whole head, and says what follows it.
///
/// # Errors
/// Why it is refused.
pub(super) fn judge(head: &[u8]) -> Result<Extent, Problem> {
    let mut room = [const { MaybeUninit::<Header<'_>>::uninit() }; MAX_HEADERS];
    let mut request = Request::new(&mut []);
    match request.parse_with_uninit_headers(head, &mut room) {
        Ok(Status::Complete(length)) if length == head.len() => {}
        // Its end and ours differ: never seen, and never passed on.
        Ok(_) => return Err(MALFORMED_LINE),
        Err(error) => return Err(problem_of(error, head)),
    }
    let target = request.path.unwrap_or_default();
    if target.len() > MAX_TARGET_BYTES {
        return Err(Problem::UriTooLong);
    }
    if !is_plain(target) && Uri::try_from(target).is_err() {
        return Err(Problem::BadRequest("the request target is malformed"));
    }
    let line = |header: &Header<'_>| header.name.len() + header.value.len() + 4;
    if request.headers.iter().map(line).sum::<usize>() > MAX_HEAD_BYTES {
        return Err(Problem::HeadersTooLarge);
    }
    extent(request.headers, request.version == Some(1))
}

const fn malformed(what: &'static str) -> Problem {
    Problem::BadRequest(what)
}

fn problem_of(error: Error, head: &[u8]) -> Problem {
    match error {
        Error::TooManyHeaders => Problem::HeadersTooLarge,
        Error::HeaderName => malformed("a header's name is malformed, or its line is folded"),
        Error::HeaderValue => malformed("a header's value has bytes that it may not have"),
        Error::Version => malformed("the versions that are spoken here begin with HTTP/1"),
        // The target ended nowhere.
        Error::Token if memchr::memchr(b'\n', head) > Some(MAX_TARGET_BYTES + LINE_MARGIN) => {
            Problem::UriTooLong
        }
        Error::Token | Error::NewLine | Error::Status => MALFORMED_LINE,
    }
}

/// Whether a target is surely one that a `Uri` is made of: most are.
fn is_plain(target: &str) -> bool {
    // As a pattern, which becomes a test of bits; finding each byte in a text takes many steps.
    let is_plain = |byte: u8| {
        matches!(byte, b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'%'
            | b'/' | b'?' | b'=' | b'&' | b'+' | b',' | b':' | b';' | b'@' | b'!' | b'$' | b'\''
            | b'(' | b')' | b'*')
    };
    target.starts_with('/') && target.bytes().all(is_plain)
}

/// The length of the body must be said once, and in one way (RFC 9112 §6.3).
fn extent(headers: &[Header<'_>], is_http_11: bool) -> Result<Extent, Problem> {
    let mut length = None;
    let mut coding = None;
    for header in headers {
        let name = header.name;
        let given = if name.eq_ignore_ascii_case("content-length") {
            &mut length
        } else if name.eq_ignore_ascii_case("transfer-encoding") {
            &mut coding
        } else {
            continue;
        };
        if given.replace(header.value).is_some() {
            return Err(malformed("the length of the body is given twice"));
        }
    }
    match (length, coding) {
        (None, None) => Ok(Extent::Counted(0)),
        (Some(_), Some(_)) => Err(malformed("the length of the body is given in two ways")),
        (Some(length), None) => counted(length).map(Extent::Counted),
        (None, Some(_)) if !is_http_11 => Err(malformed("HTTP/1.0 has no transfer codings")),
        (None, Some(coding)) if coding.trim_ascii().eq_ignore_ascii_case(b"chunked") => {
            Ok(Extent::Chunked)
        }
        // One line can repeat it too, or name a coding that nobody here undoes.
        (None, Some(_)) => {
            Err(malformed("the only transfer coding that is taken is chunked, once"))
        }
    }
}

fn counted(length: &[u8]) -> Result<u64, Problem> {
    let digits = length.trim_ascii();
    let number = std::str::from_utf8(digits).ok().and_then(|digits| digits.parse::<u64>().ok());
    // What a `u64` is made of may have a sign before it.
    let is_number = digits.iter().all(u8::is_ascii_digit);
    // hyper keeps the two largest for itself.
    number
        .filter(|number| is_number && *number < u64::MAX - 1)
        .ok_or(malformed("Content-Length must be one whole number"))
}

#[cfg(test)]
mod tests;

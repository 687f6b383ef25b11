//! The header fields of an answer, where they were received.
//!
//! A read asks for a dozen of them by name and passes none on as it is. A `HeaderMap` of all, which
//! hashes and moves each, costs more than looking through the few lines that an answer has.

use std::fmt;

use bytes::Bytes;
use http::header::{HeaderMap, HeaderName, HeaderValue};
use http::{Response, StatusCode};
use httparse::Header;

use super::SendError;

/// The fields of a head, in their order.
pub struct Fields {
    /// The whole head.
    head: Bytes,
    lines: Vec<Line>,
}

/// Where in a head a name and its value are. A head is far smaller than 4 GiB.
#[derive(Clone, Copy)]
struct Line {
    name: Place,
    value: Place,
}

#[derive(Clone, Copy)]
struct Place {
    start: u32,
    length: u32,
}

impl Fields {
    /// Those that were found in a head.
    pub(super) fn found(head: &Bytes, found: &[Header<'_>]) -> Self {
        let line = |field: &Header<'_>| Line {
            name: Place::of(field.name.as_bytes(), head),
            value: Place::of(field.value, head),
        };
        Self { head: head.clone(), lines: found.iter().map(line).collect() }
    }

    /// All names, as they came, with their values.
    fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.lines.iter().map(|line| (line.name.within(&self.head), line.value.within(&self.head)))
    }

    /// All values of a name.
    fn all<'a, 'n>(&'a self, name: &'n HeaderName) -> impl Iterator<Item = &'a [u8]> + use<'a, 'n> {
        let wanted = name.as_str().as_bytes();
        // Most names differ in their lengths already, which lie side by side.
        let of_its_length =
            self.lines.iter().filter(|line| line.name.length as usize == wanted.len());
        let of_it =
            of_its_length.filter(|line| line.name.within(&self.head).eq_ignore_ascii_case(wanted));
        of_it.map(|line| line.value.within(&self.head))
    }

    /// All values of a name that are text: those with other characters than visible ASCII, spaces and
    /// tabs are none.
    pub fn texts<'a, 'n>(
        &'a self,
        name: &'n HeaderName,
    ) -> impl Iterator<Item = &'a str> + use<'a, 'n> {
        self.all(name).filter_map(text)
    }

    /// The first value of a name, if it is text.
    #[must_use]
    pub fn text<'a>(&'a self, name: &HeaderName) -> Option<&'a str> {
        self.all(name).next().and_then(text)
    }

    /// Whether there is a field of this name.
    #[must_use]
    pub fn contains(&self, name: &HeaderName) -> bool {
        self.all(name).next().is_some()
    }

    /// The answer of this status that has them.
    ///
    /// # Errors
    /// [`SendError::Protocol`] for what cannot be a header.
    pub(super) fn response<B>(
        &self,
        status: StatusCode,
        body: B,
    ) -> Result<Response<B>, SendError> {
        let mut response = Response::new(body);
        (*response.status_mut(), *response.headers_mut()) = (status, self.to_map()?);
        Ok(response)
    }

    /// A map of them, whose values stay where they were received.
    fn to_map(&self) -> Result<HeaderMap, SendError> {
        let mut map = HeaderMap::with_capacity(self.lines.len());
        for (name, value) in self.iter() {
            let name = HeaderName::from_bytes(name);
            let value = HeaderValue::from_maybe_shared(self.head.slice_ref(value));
            map.append(
                name.map_err(|error| SendError::Protocol(error.into()))?,
                value.map_err(|error| SendError::Protocol(error.into()))?,
            );
        }
        Ok(map)
    }
}

impl Place {
    fn of(part: &[u8], whole: &[u8]) -> Self {
        let start = part.as_ptr().addr() - whole.as_ptr().addr();
        let small = |number| u32::try_from(number).expect("heads have a limit far below");
        Self { start: small(start), length: small(part.len()) }
    }

    fn within(self, whole: &[u8]) -> &[u8] {
        let (start, length) = (self.start as usize, self.length as usize);
        &whole[start..start + length]
    }
}

/// A value as text, as [`HeaderValue::to_str`] has it.
fn text(value: &[u8]) -> Option<&str> {
    let is_text = value.iter().all(|byte| matches!(byte, b'\t' | b' '..=b'~'));
    std::str::from_utf8(value).ok().filter(|_| is_text)
}

impl fmt::Debug for Fields {
    /// The names: values may be cookies.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter().map(|(name, _)| String::from_utf8_lossy(name))).finish()
    }
}

/// As if they had been received.
#[cfg(test)]
impl<'a> FromIterator<(&'a str, &'a str)> for Fields {
    fn from_iter<I: IntoIterator<Item = (&'a str, &'a str)>>(fields: I) -> Self {
        let fields: Vec<_> = fields.into_iter().collect();
        let head: String = fields.iter().flat_map(|(name, value)| [*name, *value]).collect();
        let (head, mut at) = (Bytes::from(head), 0);
        let mut next = |text: &str| {
            at += text.len();
            at - text.len()..at
        };
        let place = |range: std::ops::Range<usize>| Place::of(&head[range], &head);
        let lines = fields
            .iter()
            .map(|(name, value)| Line { name: place(next(name)), value: place(next(value)) })
            .collect();
        Self { lines, head: head.clone() }
    }
}

#[cfg(test)]
mod tests {
    use http::header::{ETAG, VARY};

    use super::*;

    #[test]
    fn names_are_found_however_they_are_written() {
        let fields =
            Fields::from_iter([("ETag", "\"a\""), ("VARY", "a"), ("Vary", "b"), ("x", "")]);
        assert_eq!(fields.text(&ETAG), Some("\"a\""));
        assert_eq!(fields.texts(&VARY).collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(fields.text(&HeaderName::from_static("x")), Some(""));
        assert!(fields.contains(&VARY) && !fields.contains(&HeaderName::from_static("xx")));
        let map = fields.to_map().unwrap();
        assert_eq!((map.len(), map.get_all(VARY).iter().count()), (4, 2));
        assert_eq!(map[ETAG], "\"a\"");
    }

    #[test]
    fn text_is_what_a_header_value_has_as_text() {
        for byte in 0..=u8::MAX {
            let bytes = [b'a', byte];
            let theirs = HeaderValue::from_bytes(&bytes).ok();
            let theirs = theirs.as_ref().and_then(|value| value.to_str().ok());
            assert_eq!(text(&bytes), theirs, "{byte}");
        }
    }

    #[test]
    fn values_are_not_shown() {
        let fields = Fields::from_iter([("set-cookie", "secret")]);
        assert_eq!(format!("{fields:?}"), "[\"set-cookie\"]");
    }
}

//! An answer that lies in memory, read as one that comes over a connection.

use bytes::Bytes;
use http::Response;

use super::head::{Extent, Scan, parse};
use crate::chunked::{Chunked, Piece};

/// Reads an answer to a GET, and how many of the bytes are its own; `None` if it is refused or is not
/// whole. For the fuzzer.
#[doc(hidden)]
#[must_use]
pub fn read_answer(bytes: &[u8]) -> Option<(Response<Vec<u8>>, usize)> {
    let (mut at, mut scan) = (0, Scan::default());
    let head = loop {
        let end = scan.find_end(&bytes[at..]).ok()??;
        let head = Bytes::copy_from_slice(&bytes[at..at + end]);
        at += end;
        if let Some(head) = parse(&head, false).ok()? {
            break head;
        }
        scan.go_on().ok()?;
    };
    let rest = &bytes[at..];
    let (body, length) = match head.extent {
        Extent::Counted(length) => {
            let length = usize::try_from(length).ok()?;
            (rest.get(..length)?.to_vec(), length)
        }
        Extent::Chunked => joined(rest)?,
        Extent::UntilClose => (rest.to_vec(), rest.len()),
    };
    Some((head.fields.response(head.status, body).ok()?, at + length))
}

/// The data of chunks, and how many bytes they took.
fn joined(bytes: &[u8]) -> Option<(Vec<u8>, usize)> {
    let (mut chunked, mut data, mut at) = (Chunked::new(), Vec::new(), 0);
    while at < bytes.len() {
        match chunked.step(&bytes[at..]) {
            Piece::Framing(length) => at += length,
            Piece::Data(length) => {
                data.extend_from_slice(&bytes[at..at + length]);
                at += length;
            }
            Piece::End(length) => return Some((data, at + length)),
            Piece::Astray(_) => return None,
        }
    }
    None
}

//! Ranges and conditions: what a client asks for in them is a part of the object or nothing, and what
//! is malformed lets nothing through.
//!
//! The input is lines: `Range`, `Content-Range`, then fields of conditions, `name: value`.

#![no_main]

use std::time::SystemTime;

use http::header::{
    HeaderMap, HeaderName, HeaderValue, IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE,
    IF_UNMODIFIED_SINCE,
};
use libfuzzer_sys::fuzz_target;
use safelight::domain::{
    ContentRange, ETag, EtagList, IfRange, Precondition, RangeRequest, Validators,
};
use safelight::http::conditions::from_headers;

const FIELDS: [HeaderName; 5] =
    [IF_MATCH, IF_NONE_MATCH, IF_MODIFIED_SINCE, IF_UNMODIFIED_SINCE, IF_RANGE];

fuzz_target!(|data: &[u8]| {
    let mut lines = data.split(|byte| *byte == b'\n');
    if let Some(Ok(range)) = lines.next().map(str::from_utf8) {
        asked(range);
    }
    if let Some(Ok(range)) = lines.next().map(str::from_utf8) {
        answered(range);
    }
    let mut headers = HeaderMap::new();
    for line in lines.take(16) {
        let Some((choice, value)) = line.split_first() else { continue };
        let Ok(value) = HeaderValue::from_bytes(value) else { continue };
        headers.append(&FIELDS[usize::from(*choice) % FIELDS.len()], value);
    }
    conditions(&headers);
});

fn asked(text: &str) {
    let Some(request) = RangeRequest::parse(text) else { return };
    assert!(!text.contains(','), "several ranges are ignored");
    assert_eq!(RangeRequest::parse(&request.to_string()), Some(request));
    for size in [0, 1, 2, 100, 1 << 40, u64::MAX] {
        let Some(range) = request.resolve(size) else { continue };
        assert!(range.start <= range.end && range.end < size);
        assert!((1..=size).contains(&range.len()));
        match request {
            RangeRequest::From(first) => assert_eq!((range.start, range.end), (first, size - 1)),
            RangeRequest::Between(first, last) => {
                assert_eq!((range.start, range.end), (first, last.min(size - 1)));
            }
            RangeRequest::Last(count) => assert_eq!(range.len(), count.min(size)),
        }
    }
}

fn answered(text: &str) {
    if let Some(range) = ContentRange::parse(text) {
        assert!(range.range.start <= range.range.end && range.range.end < range.total);
        assert_eq!(ContentRange::parse(&range.to_string()), Some(range));
        assert_eq!(ContentRange::parse_unsatisfied(text), None);
    }
    if let Some(tag) = ETag::parse(text) {
        assert_eq!(ETag::parse(tag.as_str()).as_ref(), Some(&tag));
        assert!(tag.matches_weakly(&tag) && tag.matches_strongly(&tag) != tag.is_weak());
        assert!(HeaderValue::from_str(tag.as_str()).is_ok(), "it can be sent upstream");
    }
}

fn conditions(headers: &HeaderMap) {
    let read = from_headers(headers);
    let date = SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(784_111_777);
    let tag = ETag::parse("\"a\"").expect("a tag");
    for (etag, last_modified) in
        [(None, None), (Some(&tag), None), (None, Some(date)), (Some(&tag), Some(date))]
    {
        let current = Validators { etag, last_modified };
        let outcome = read.evaluate(current);
        if !read.may_refuse() {
            assert_eq!(outcome, Precondition::Holds);
        }
        if etag.is_none() && last_modified.is_none() {
            // Without validators there is nothing to be equal to, but existence.
            assert!(
                outcome != Precondition::NotModified || read.if_none_match == Some(EtagList::Any)
            );
            assert!(read.if_range.is_none() || !read.range_applies(current));
        }
        if headers.contains_key(IF_RANGE) && headers[IF_RANGE].to_str().is_ok() {
            assert!(read.if_range.is_some(), "an If-Range is never dropped");
        }
        if let Some(IfRange::Tag(asked)) = &read.if_range {
            assert!(!asked.is_weak() || !read.range_applies(current), "a weak tag never matches");
        }
    }
    for tag in read.unwanted_tags() {
        assert!(HeaderValue::from_str(tag.as_str()).is_ok(), "it can be sent upstream");
    }
}

//! The table of what counts as a failure of the CDN.

use http::StatusCode;

use super::verdict::judge;
use super::*;
use crate::domain::{ByteRange, ContentRange};

fn headers(list: &[(&'static str, &'static str)]) -> Fields {
    list.iter().copied().collect()
}

const WHOLE: Result<Shape, FallbackReason> = Ok(Shape::Whole);

fn part(start: u64, end: u64, total: u64) -> Result<Shape, FallbackReason> {
    Ok(Shape::Part(ContentRange { range: ByteRange { start, end }, total }))
}

/// What is asked, in each row of the table.
#[derive(Clone, Copy)]
enum Asked {
    Get,
    Head,
    Range(RangeRequest),
    Unless,
}

#[test]
fn the_head_of_an_answer() {
    use Asked::{Get, Head, Range, Unless};
    use FallbackReason::{
        Protocol, Redirect, Status5xx, Status403, Status404, Status429, StatusOther,
    };
    let first_ten = Range(RangeRequest::Between(0, 9));
    let last_ten = Range(RangeRequest::Last(10));
    let from_five = Range(RangeRequest::From(5));
    let length = [("content-length", "100")];
    let chunked = [("transfer-encoding", "chunked")];
    let ten = ("content-length", "10");
    let rows: Vec<(Asked, u16, Fields, Result<Shape, FallbackReason>)> = vec![
        (Get, 200, headers(&length), WHOLE),
        (Get, 200, headers(&chunked), WHOLE),
        (Get, 200, headers(&[]), Err(Protocol)),
        (Head, 200, headers(&[]), WHOLE),
        (first_ten, 200, headers(&length), WHOLE),
        (first_ten, 206, headers(&[("content-range", "bytes 0-9/100"), ten]), part(0, 9, 100)),
        (
            first_ten,
            206,
            headers(&[("content-range", "bytes 0-4/5"), ("content-length", "5")]),
            part(0, 4, 5),
        ),
        (last_ten, 206, headers(&[("content-range", "bytes 90-99/100"), ten]), part(90, 99, 100)),
        (from_five, 206, headers(&[("content-range", "bytes 5-14/15"), ten]), part(5, 14, 15)),
        (from_five, 206, headers(&[("content-range", "bytes 5-14/16"), ten]), Err(Protocol)),
        (first_ten, 206, headers(&[("content-range", "bytes 1-10/100"), ten]), Err(Protocol)),
        (first_ten, 206, headers(&[("content-range", "bytes 0-9/*"), ten]), Err(Protocol)),
        (
            first_ten,
            206,
            headers(&[("content-range", "bytes 0-9/100"), ("content-length", "11")]),
            Err(Protocol),
        ),
        (first_ten, 206, headers(&[("content-range", "bytes 0-9/100")]), Err(Protocol)),
        (first_ten, 206, headers(&[ten]), Err(Protocol)),
        (Get, 206, headers(&[("content-range", "bytes 0-9/100"), ten]), Err(Protocol)),
        (Unless, 304, headers(&[("etag", "\"a\"")]), Ok(Shape::NotModified)),
        (Get, 304, headers(&[]), Err(Protocol)),
        (
            first_ten,
            416,
            headers(&[("content-range", "bytes */5")]),
            Ok(Shape::Unsatisfiable(Some(5))),
        ),
        (first_ten, 416, headers(&[]), Ok(Shape::Unsatisfiable(None))),
        (Get, 416, headers(&[]), Err(StatusOther)),
        (Get, 204, headers(&[]), Err(Protocol)),
        (Get, 203, headers(&length), Err(Protocol)),
        (Get, 101, headers(&[]), Err(Protocol)),
        (Get, 301, headers(&[("location", "https://elsewhere.example/")]), Err(Redirect)),
        (Get, 302, headers(&[]), Err(Redirect)),
        (Get, 307, headers(&[]), Err(Redirect)),
        (Get, 400, headers(&[]), Err(StatusOther)),
        (Get, 401, headers(&[]), Err(StatusOther)),
        (Get, 403, headers(&[]), Err(Status403)),
        (Get, 404, headers(&[]), Err(Status404)),
        (Get, 410, headers(&[]), Err(Status404)),
        (Get, 412, headers(&[]), Err(StatusOther)),
        (Get, 429, headers(&[]), Err(Status429)),
        (Get, 500, headers(&[]), Err(Status5xx)),
        (Get, 502, headers(&[]), Err(Status5xx)),
        (Get, 503, headers(&[]), Err(Status5xx)),
        (Get, 504, headers(&[]), Err(Status5xx)),
        (Get, 599, headers(&[]), Err(Status5xx)),
        (Get, 600, headers(&[]), Err(StatusOther)),
    ];
    let path = StoragePath::from_listing("images/x.jpg");
    let tags = [ETag::parse("\"a\"").unwrap()];
    for (number, (asked, status, headers, expected)) in rows.into_iter().enumerate() {
        let question = CdnQuestion {
            path: &path,
            head_only: matches!(asked, Head),
            range: if let Range(range) = asked { Some(range) } else { None },
            if_none_match: if matches!(asked, Unless) { &tags } else { &[] },
            recorded: None,
        };
        let status = StatusCode::from_u16(status).unwrap();
        let judged = judge(&question, status, &headers).map_err(|failure| failure.reason);
        assert_eq!(judged, expected, "row {number}: {status} {headers:?}");
    }
}

#[test]
fn an_answer_against_the_record() {
    use FallbackReason::{Mismatch, Protocol};
    let recorded = Stored {
        size: 100,
        content_type: Some("image/webp".to_owned()),
        etag: ETag::parse("\"a\""),
        version: None,
        dimensions: None,
    };
    let all = Shape::Whole;
    let part = |total| Shape::Part(ContentRange { range: ByteRange { start: 0, end: 9 }, total });
    let shown = |size, etag: &str, encoding: &str| Representation {
        size,
        etag: ETag::parse(etag),
        content_encoding: (!encoding.is_empty()).then(|| encoding.to_owned()),
        ..Representation::default()
    };
    let outside = Shape::Unsatisfiable;
    let path = StoragePath::from_listing("images/x.jpg");
    for (head_only, shape, object, expected) in [
        (false, all, shown(Some(100), "\"a\"", ""), None),
        (false, all, shown(Some(100), "\"a\"", "identity"), None),
        (false, all, shown(Some(100), "", ""), None),
        (false, all, shown(Some(100), "\"b\"", ""), Some(Mismatch)),
        // The same tag in another form: every read counts, so that it shows.
        (false, all, shown(Some(100), "\"a-2\"", ""), Some(Mismatch)),
        (false, all, shown(Some(101), "\"a\"", ""), Some(Mismatch)),
        (false, all, shown(Some(99), "", ""), Some(Mismatch)),
        (false, all, shown(Some(0), "\"a\"", ""), Some(Protocol)),
        // Weak tags say nothing; the length does.
        (false, all, shown(Some(100), "W/\"b\"", ""), None),
        (false, all, shown(Some(99), "W/\"a\"", ""), Some(Mismatch)),
        (false, all, shown(Some(100), "\"a\"", "gzip"), Some(Mismatch)),
        // Chunked.
        (false, all, shown(None, "\"a\"", ""), None),
        (false, all, shown(None, "\"b\"", ""), Some(Mismatch)),
        (false, all, shown(None, "W/\"a\"", ""), Some(Mismatch)),
        (false, all, shown(None, "", ""), Some(Mismatch)),
        (true, all, shown(None, "", ""), None),
        (true, all, shown(Some(99), "", ""), Some(Mismatch)),
        (false, part(100), shown(Some(100), "\"a\"", ""), None),
        (false, part(100), shown(Some(100), "\"b\"", ""), Some(Mismatch)),
        (false, part(99), shown(Some(99), "", ""), Some(Mismatch)),
        (false, outside(Some(100)), shown(Some(100), "", ""), None),
        (false, outside(Some(9)), shown(Some(9), "", ""), Some(Mismatch)),
        (false, outside(None), shown(None, "", ""), None),
        (false, Shape::NotModified, shown(None, "", ""), None),
        (false, Shape::NotModified, shown(None, "\"a\"", ""), None),
        (false, Shape::NotModified, shown(None, "\"b\"", ""), Some(Mismatch)),
    ] {
        let question = CdnQuestion {
            path: &path,
            head_only,
            range: None,
            if_none_match: &[],
            recorded: Some(&recorded),
        };
        let compared = verdict::compare(&question, &recorded, shape, &object);
        let reason = compared.err().map(|failure| failure.reason);
        assert_eq!(reason, expected, "{shape:?} {object:?}");
    }
}

#[test]
fn failed_exchanges() {
    let io = || std::io::Error::from(std::io::ErrorKind::Other);
    for (error, reason) in [
        (crate::upstream::SendError::Resolve(io()), FallbackReason::Connect),
        (crate::upstream::SendError::Connect(io()), FallbackReason::Connect),
        (crate::upstream::SendError::ConnectTimeout, FallbackReason::Connect),
        (crate::upstream::SendError::Tls(io()), FallbackReason::Tls),
        (crate::upstream::SendError::TlsTimeout, FallbackReason::Tls),
        (crate::upstream::SendError::FirstByteTimeout, FallbackReason::Timeout),
        (crate::upstream::SendError::Protocol("x".into()), FallbackReason::Protocol),
    ] {
        assert_eq!(verdict::reason_of(&error), reason, "{error}");
    }
}

//! The conditions of a read, taken from its header fields.

use std::time::SystemTime;

use http::HeaderMap;
use http::header::{
    HeaderName, IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, IF_UNMODIFIED_SINCE,
};

use crate::domain::{Conditions, ETag, EtagList, IfRange};

/// Reads the conditional fields of a GET or HEAD. What cannot be parsed is ignored (RFC 9110 §13.1).
pub(super) fn from_headers(headers: &HeaderMap) -> Conditions {
    let text = |name: HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
    Conditions {
        if_match: text(IF_MATCH).and_then(EtagList::parse),
        if_none_match: text(IF_NONE_MATCH).and_then(EtagList::parse),
        if_modified_since: text(IF_MODIFIED_SINCE).and_then(date),
        if_unmodified_since: text(IF_UNMODIFIED_SINCE).and_then(date),
        if_range: text(IF_RANGE).and_then(|value| match date(value) {
            Some(date) => Some(IfRange::Date(date)),
            None => ETag::parse(value).map(IfRange::Tag),
        }),
    }
}

fn date(text: &str) -> Option<SystemTime> {
    httpdate::parse_http_date(text).ok()
}

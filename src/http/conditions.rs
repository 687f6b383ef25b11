//! The conditions of a read, taken from its header fields.

use std::time::SystemTime;

use http::header::{
    HeaderName, IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, IF_UNMODIFIED_SINCE,
};
use http::{HeaderMap, HeaderValue};

use crate::domain::{Conditions, ETag, EtagList, IfRange};

/// The fields that make a read conditional.
static CONDITIONAL: [HeaderName; 5] =
    [IF_MATCH, IF_NONE_MATCH, IF_MODIFIED_SINCE, IF_UNMODIFIED_SINCE, IF_RANGE];

/// Reads the conditional fields of a GET or HEAD. What is malformed is ignored (RFC 9110 §13.1), but
/// for an `If-Range`, which then never holds.
#[must_use]
pub fn from_headers(headers: &HeaderMap) -> Conditions {
    // Most reads have none, and five lookups cost more than one look at every name.
    if !headers.keys().any(|name| CONDITIONAL.contains(name)) {
        return Conditions::default();
    }
    let text =
        |name: HeaderName| headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
    Conditions {
        if_match: tags(headers, IF_MATCH),
        if_none_match: tags(headers, IF_NONE_MATCH),
        if_modified_since: text(IF_MODIFIED_SINCE).and_then(date),
        if_unmodified_since: text(IF_UNMODIFIED_SINCE).and_then(date),
        if_range: text(IF_RANGE).map(if_range),
    }
}

/// A list field may come in several lines (RFC 9110 §5.3).
fn tags(headers: &HeaderMap, name: HeaderName) -> Option<EtagList> {
    let mut lines = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
    let first = lines.next()?;
    match lines.next() {
        None => EtagList::parse(first),
        Some(second) => {
            let all: Vec<&str> = [first, second].into_iter().chain(lines).collect();
            EtagList::parse(&all.join(","))
        }
    }
}

/// An `If-Range` that cannot be read must not let a range through: as a date long before any object
/// it never holds.
fn if_range(text: &str) -> IfRange {
    let is_tag = text.starts_with('"') || text.starts_with("W/");
    match (is_tag.then(|| ETag::parse(text)).flatten(), date(text)) {
        (Some(tag), _) => IfRange::Tag(tag),
        (None, Some(date)) => IfRange::Date(date),
        (None, None) => IfRange::Date(SystemTime::UNIX_EPOCH),
    }
}

fn date(text: &str) -> Option<SystemTime> {
    httpdate::parse_http_date(text).ok()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn read(fields: &[(&'static str, &'static str)]) -> Conditions {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        from_headers(&headers)
    }

    #[test]
    fn lists_may_come_in_several_lines() {
        let list = read(&[("if-none-match", "\"a\""), ("if-none-match", "\"b\"")]).if_none_match;
        assert_eq!(list, EtagList::parse("\"a\", \"b\""));
    }

    #[test]
    fn what_is_malformed_is_ignored() {
        let fields =
            [("if-match", ""), ("if-modified-since", "yesterday"), ("if-none-match", "\"a")];
        assert_eq!(read(&fields), Conditions::default());
    }

    #[test]
    fn a_range_needs_a_readable_validator() {
        let date = "Sun, 06 Nov 1994 08:49:37 GMT";
        let at = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777);
        assert_eq!(read(&[("if-range", date)]).if_range, Some(IfRange::Date(at)));
        let tag = ETag::parse("\"a\"").unwrap();
        assert_eq!(read(&[("if-range", "\"a\"")]).if_range, Some(IfRange::Tag(tag)));
        let never = Some(IfRange::Date(SystemTime::UNIX_EPOCH));
        assert_eq!(read(&[("if-range", "abc")]).if_range, never);
    }
}

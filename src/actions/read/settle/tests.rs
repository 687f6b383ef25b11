//! The table of answers and what they mean.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::*;
use crate::domain::{ByteRange, Conditions, ETag, EtagList, IfRange, ObjectKey, RangeRequest};

fn at(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
}

fn tag(text: &str) -> ETag {
    ETag::parse(text).unwrap()
}

fn tags(text: &str) -> Option<EtagList> {
    EtagList::parse(text)
}

fn get(range: Option<RangeRequest>, conditions: Conditions) -> ReadRequest {
    ReadRequest {
        key: ObjectKey::Foreign(Arc::from("x")),
        head_only: false,
        range,
        conditions,
        needs_size: false,
        owned_by: None,
    }
}

fn head(conditions: Conditions) -> ReadRequest {
    ReadRequest { head_only: true, ..get(Some(RangeRequest::From(5)), conditions) }
}

/// The object: 100 bytes, version "a", modified at second 50.
fn object() -> Representation {
    Representation {
        size: Some(100),
        etag: Some(tag("\"a\"")),
        last_modified: Some(at(50)),
        ..Representation::default()
    }
}

fn part(start: u64, end: u64) -> ContentRange {
    ContentRange { range: ByteRange { start, end }, total: 100 }
}

const FIRST_TEN: RangeRequest = RangeRequest::Between(0, 9);
const OUTSIDE: RangeRequest = RangeRequest::From(100);

#[test]
fn answers_and_what_they_mean() {
    let none = Conditions::default;
    let has_a = || Conditions { if_none_match: tags("\"a\""), ..none() };
    let has_b = || Conditions { if_none_match: tags("\"b\""), ..none() };
    let wants_b = || Conditions { if_match: tags("\"b\""), ..none() };
    let range_of_a = || Conditions { if_range: Some(IfRange::Tag(tag("\"a\""))), ..none() };
    let range_of_b = || Conditions { if_range: Some(IfRange::Tag(tag("\"b\""))), ..none() };
    let since = |second| Conditions { if_modified_since: Some(at(second)), ..none() };
    let range = Question::RANGE;
    let rows = [
        ("whole", get(None, none()), Question::WHOLE, Shape::Whole, Settled::Whole),
        ("head", head(none()), Question::HEAD, Shape::Whole, Settled::Whole),
        ("head ignores the range", head(has_b()), Question::HEAD, Shape::Whole, Settled::Whole),
        ("head, not modified", head(has_a()), Question::HEAD, Shape::Whole, Settled::NotModified),
        (
            "part",
            get(Some(FIRST_TEN), none()),
            range,
            Shape::Part(part(0, 9)),
            Settled::Part(part(0, 9)),
        ),
        (
            "200 to a range is cut",
            get(Some(FIRST_TEN), none()),
            range,
            Shape::Whole,
            Settled::Cut(part(0, 9)),
        ),
        (
            "200 to a range outside",
            get(Some(OUTSIDE), none()),
            range,
            Shape::Whole,
            Settled::Unsatisfiable { size: 100 },
        ),
        (
            "416",
            get(Some(OUTSIDE), none()),
            range,
            Shape::Unsatisfiable(Some(100)),
            Settled::Unsatisfiable { size: 100 },
        ),
        (
            "416 that lies",
            get(Some(FIRST_TEN), none()),
            range,
            Shape::Unsatisfiable(Some(100)),
            Settled::Unfit("416 for a range that lies inside"),
        ),
        (
            "416 without a size",
            get(Some(OUTSIDE), none()),
            range,
            Shape::Unsatisfiable(None),
            Settled::AskAgain(Question::HEAD),
        ),
        (
            "416 under a condition",
            get(Some(OUTSIDE), has_a()),
            range,
            Shape::Unsatisfiable(Some(100)),
            Settled::AskAgain(Question::HEAD),
        ),
        (
            "the condition comes before the range",
            get(Some(OUTSIDE), has_a()),
            Question::HEAD,
            Shape::Whole,
            Settled::NotModified,
        ),
        (
            "then the range is outside",
            get(Some(OUTSIDE), has_b()),
            Question::HEAD,
            Shape::Whole,
            Settled::Unsatisfiable { size: 100 },
        ),
        (
            "head led on to the whole",
            get(None, has_b()),
            Question::HEAD,
            Shape::Whole,
            Settled::AskAgain(Question::WHOLE),
        ),
        (
            "head led on to the range",
            get(Some(FIRST_TEN), has_b()),
            Question::HEAD,
            Shape::Whole,
            Settled::AskAgain(range),
        ),
        (
            "304 asked for",
            get(None, has_a()),
            Question::WHOLE,
            Shape::NotModified,
            Settled::NotModified,
        ),
        (
            "304 for another version",
            get(None, has_b()),
            Question::WHOLE,
            Shape::NotModified,
            Settled::Unfit("304 for a version that the client does not have"),
        ),
        (
            "200 that the client has",
            get(None, has_a()),
            Question::WHOLE,
            Shape::Whole,
            Settled::NotModified,
        ),
        (
            "206 that the client has",
            get(Some(FIRST_TEN), has_a()),
            range,
            Shape::Part(part(0, 9)),
            Settled::NotModified,
        ),
        (
            "not modified since",
            get(None, since(50)),
            Question::WHOLE,
            Shape::Whole,
            Settled::NotModified,
        ),
        ("modified since", get(None, since(49)), Question::WHOLE, Shape::Whole, Settled::Whole),
        ("412", get(None, wants_b()), Question::WHOLE, Shape::Whole, Settled::PreconditionFailed),
        (
            "412 before the range",
            get(Some(FIRST_TEN), wants_b()),
            range,
            Shape::Part(part(0, 9)),
            Settled::PreconditionFailed,
        ),
        (
            "If-Range holds",
            get(Some(FIRST_TEN), range_of_a()),
            range,
            Shape::Part(part(0, 9)),
            Settled::Part(part(0, 9)),
        ),
        (
            "If-Range does not hold",
            get(Some(FIRST_TEN), range_of_b()),
            range,
            Shape::Part(part(0, 9)),
            Settled::AskAgain(Question::WHOLE),
        ),
        (
            "nor on a whole answer",
            get(Some(FIRST_TEN), range_of_b()),
            Question::WHOLE,
            Shape::Whole,
            Settled::Whole,
        ),
        (
            "If-Range overrules 416",
            get(Some(OUTSIDE), range_of_b()),
            range,
            Shape::Unsatisfiable(Some(100)),
            Settled::AskAgain(Question::HEAD),
        ),
        (
            "and leads to the whole",
            get(Some(OUTSIDE), range_of_b()),
            Question::HEAD,
            Shape::Whole,
            Settled::AskAgain(Question::WHOLE),
        ),
    ];
    for (name, request, question, shape, expected) in rows {
        assert_eq!(settle(&request, question, shape, &object()), expected, "{name}");
    }
}

#[test]
fn a_whole_answer_without_a_size_is_passed_on_whole() {
    let object = Representation { size: None, ..object() };
    let request = get(Some(FIRST_TEN), Conditions::default());
    assert_eq!(settle(&request, Question::RANGE, Shape::Whole, &object), Settled::Whole);
}

#[test]
fn a_client_that_knows_no_chunks_needs_a_size() {
    let object = Representation { size: None, ..object() };
    let request = ReadRequest { needs_size: true, ..get(None, Conditions::default()) };
    let settled = settle(&request, Question::WHOLE, Shape::Whole, &object);
    assert_eq!(settled, Settled::Unfit("no length, for a client that needs one"));
}

#[test]
fn storage_is_asked_for_the_head_first_only_under_conditions() {
    let plain = get(Some(FIRST_TEN), Conditions::default());
    assert_eq!(Question::first_of_storage(&plain), Question::RANGE);
    let with_if_range =
        Conditions { if_range: Some(IfRange::Date(at(1))), ..Conditions::default() };
    let ranged = get(Some(FIRST_TEN), with_if_range);
    assert_eq!(Question::first_of_storage(&ranged), Question::RANGE);
    let conditional = Conditions { if_none_match: tags("\"a\""), ..Conditions::default() };
    assert_eq!(Question::first_of_storage(&get(None, conditional)), Question::HEAD);
    assert_eq!(Question::first(&plain), Question::RANGE);
}

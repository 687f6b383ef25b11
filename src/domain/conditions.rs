//! Conditional requests (RFC 9110 §13), evaluated by the gateway itself, so that every source of
//! an object behaves the same.

use std::time::SystemTime;

use super::ETag;

/// The value of `If-Match` or `If-None-Match`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EtagList {
    /// `*`: any current representation.
    Any,
    /// One or more tags.
    Tags(Vec<ETag>),
}

/// The conditions of a read. Dates have a resolution of one second, as in HTTP.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Conditions {
    /// `If-Match`
    pub if_match: Option<EtagList>,
    /// `If-None-Match`
    pub if_none_match: Option<EtagList>,
    /// `If-Modified-Since`
    pub if_modified_since: Option<SystemTime>,
    /// `If-Unmodified-Since`
    pub if_unmodified_since: Option<SystemTime>,
    /// `If-Range`
    pub if_range: Option<IfRange>,
}

/// The value of `If-Range`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum IfRange {
    /// An entity tag; only a strong one can match.
    Tag(ETag),
    /// A date.
    Date(SystemTime),
}

/// What an answer says of the version it carries.
#[derive(Debug, Clone, Copy, Default)]
pub struct Validators<'a> {
    /// The entity tag.
    pub etag: Option<&'a ETag>,
    /// The modification date.
    pub last_modified: Option<SystemTime>,
}

/// The outcome of the preconditions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Precondition {
    /// Answer with the object.
    Holds,
    /// The client has this version already.
    NotModified,
    /// The client does not want this version.
    Failed,
}

impl EtagList {
    /// Parses a field value: `*`, or tags between commas. Commas are allowed inside a tag's quotes.
    /// `None` if nothing in it can be a tag.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim_matches([' ', '\t']);
        if text == "*" {
            return Some(Self::Any);
        }
        let mut tags = Vec::new();
        let mut rest = text;
        while !rest.is_empty() {
            let (tag, after) = split_tag(rest);
            tags.extend(ETag::parse(tag));
            rest = after.trim_start_matches([' ', '\t', ',']);
        }
        (!tags.is_empty()).then_some(Self::Tags(tags))
    }

    fn matches(&self, etag: Option<&ETag>, same: fn(&ETag, &ETag) -> bool) -> bool {
        match (self, etag) {
            // The representation exists: that is all that `*` asks.
            (Self::Any, _) => true,
            (Self::Tags(tags), Some(etag)) => tags.iter().any(|tag| same(tag, etag)),
            (Self::Tags(_), None) => false,
        }
    }
}

/// Cuts one member off a list, at the first comma that is not between quotes.
fn split_tag(list: &str) -> (&str, &str) {
    let mut quoted = false;
    for (at, byte) in list.bytes().enumerate() {
        match byte {
            b'"' => quoted = !quoted,
            b',' if !quoted => return (&list[..at], &list[at..]),
            _ => {}
        }
    }
    (list, "")
}

impl Conditions {
    /// Evaluates the preconditions of a GET or HEAD against the version that an answer carries, in
    /// the order of RFC 9110 §13.2.2 (`If-Range` apart, which decides only about the range).
    #[must_use]
    pub fn evaluate(&self, current: Validators<'_>) -> Precondition {
        // A date condition on an answer without a date is ignored (RFC 9110 §13.1.3, §13.1.4).
        let modified = current.last_modified;
        if let Some(tags) = &self.if_match {
            if !tags.matches(current.etag, ETag::matches_strongly) {
                return Precondition::Failed;
            }
        } else if let Some(since) = self.if_unmodified_since
            && modified.is_some_and(|modified| modified > since)
        {
            return Precondition::Failed;
        }
        let has_it = match (&self.if_none_match, self.if_modified_since) {
            (Some(tags), _) => tags.matches(current.etag, ETag::matches_weakly),
            (None, Some(since)) => modified.is_some_and(|modified| modified <= since),
            (None, None) => false,
        };
        if has_it { Precondition::NotModified } else { Precondition::Holds }
    }

    /// Whether a range may be applied to the version that an answer carries (RFC 9110 §13.1.5).
    #[must_use]
    pub fn range_applies(&self, current: Validators<'_>) -> bool {
        match &self.if_range {
            None => true,
            Some(IfRange::Tag(tag)) => current.etag.is_some_and(|now| now.matches_strongly(tag)),
            Some(IfRange::Date(date)) => current.last_modified == Some(*date),
        }
    }

    /// Whether there is no condition at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        !self.may_refuse() && self.if_range.is_none()
    }

    /// Whether there is a condition that can end with something other than the object.
    #[must_use]
    pub fn may_refuse(&self) -> bool {
        self.if_match.is_some()
            || self.if_none_match.is_some()
            || self.if_modified_since.is_some()
            || self.if_unmodified_since.is_some()
    }

    /// The tags of `If-None-Match`, where it names some.
    #[must_use]
    pub fn unwanted_tags(&self) -> &[ETag] {
        match &self.if_none_match {
            Some(EtagList::Tags(tags)) => tags,
            Some(EtagList::Any) | None => &[],
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    fn tag(text: &str) -> ETag {
        ETag::parse(text).unwrap()
    }

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    }

    #[test]
    fn lists_are_parsed_leniently() {
        let tags = |list: &[&str]| Some(EtagList::Tags(list.iter().map(|t| tag(t)).collect()));
        assert_eq!(EtagList::parse("*"), Some(EtagList::Any));
        assert_eq!(EtagList::parse("\"a\", W/\"b\""), tags(&["\"a\"", "W/\"b\""]));
        assert_eq!(EtagList::parse("\"a,b\",, \"c\""), tags(&["\"a,b\"", "\"c\""]));
        assert_eq!(EtagList::parse(""), None);
        assert_eq!(EtagList::parse("\"broken"), None);
    }

    #[test]
    fn the_order_of_rfc_9110_13_2_2() {
        let (a, weak_a) = (tag("\"a\""), tag("W/\"a\""));
        let only = |text: &str| EtagList::parse(text);
        let conditions = Conditions::default;
        for (name, asked, etag, expected) in [
            ("none", conditions(), Some(&a), Precondition::Holds),
            (
                "match",
                Conditions { if_match: only("\"a\""), ..conditions() },
                Some(&a),
                Precondition::Holds,
            ),
            (
                "match fails",
                Conditions { if_match: only("\"b\""), ..conditions() },
                Some(&a),
                Precondition::Failed,
            ),
            (
                "weak never matches strongly",
                Conditions { if_match: only("\"a\""), ..conditions() },
                Some(&weak_a),
                Precondition::Failed,
            ),
            (
                "match any",
                Conditions { if_match: only("*"), ..conditions() },
                None,
                Precondition::Holds,
            ),
            (
                "none-match",
                Conditions { if_none_match: only("W/\"a\""), ..conditions() },
                Some(&a),
                Precondition::NotModified,
            ),
            (
                "none-match other",
                Conditions { if_none_match: only("\"b\""), ..conditions() },
                Some(&a),
                Precondition::Holds,
            ),
            (
                "none-match without tag",
                Conditions { if_none_match: only("\"b\""), ..conditions() },
                None,
                Precondition::Holds,
            ),
            (
                "match before none-match",
                Conditions {
                    if_match: only("\"b\""),
                    if_none_match: only("\"a\""),
                    ..conditions()
                },
                Some(&a),
                Precondition::Failed,
            ),
            (
                "none-match overrules the date",
                Conditions {
                    if_none_match: only("\"b\""),
                    if_modified_since: Some(at(99)),
                    ..conditions()
                },
                Some(&a),
                Precondition::Holds,
            ),
            (
                "not modified since",
                Conditions { if_modified_since: Some(at(50)), ..conditions() },
                Some(&a),
                Precondition::NotModified,
            ),
            (
                "modified since",
                Conditions { if_modified_since: Some(at(49)), ..conditions() },
                Some(&a),
                Precondition::Holds,
            ),
            (
                "unmodified since",
                Conditions { if_unmodified_since: Some(at(50)), ..conditions() },
                Some(&a),
                Precondition::Holds,
            ),
            (
                "modified after all",
                Conditions { if_unmodified_since: Some(at(49)), ..conditions() },
                Some(&a),
                Precondition::Failed,
            ),
            (
                "match overrules the date",
                Conditions {
                    if_match: only("\"a\""),
                    if_unmodified_since: Some(at(1)),
                    ..conditions()
                },
                Some(&a),
                Precondition::Holds,
            ),
        ] {
            let current = Validators { etag, last_modified: Some(at(50)) };
            assert_eq!(asked.evaluate(current), expected, "{name}");
        }
    }

    #[test]
    fn if_range_needs_a_strong_match() {
        let (a, weak) = (tag("\"a\""), tag("W/\"a\""));
        let if_range = |value| Conditions { if_range: Some(value), ..Conditions::default() };
        let current = |etag| Validators { etag: Some(etag), last_modified: Some(at(50)) };
        assert!(if_range(IfRange::Tag(a.clone())).range_applies(current(&a)));
        assert!(!if_range(IfRange::Tag(weak.clone())).range_applies(current(&weak)));
        assert!(!if_range(IfRange::Tag(tag("\"b\""))).range_applies(current(&a)));
        assert!(if_range(IfRange::Date(at(50))).range_applies(current(&a)));
        assert!(!if_range(IfRange::Date(at(51))).range_applies(current(&a)));
    }

    proptest! {
        /// A tag may hold commas and a list may be spaced in any way: its members come back.
        #[test]
        fn members_of_lists_come_back(
            tags in prop::collection::vec(("(W/)?", "[!#-~]{0,8}"), 1..6),
            gap in "[ \t]{0,2},[ \t,]{0,3}",
        ) {
            let tags: Vec<String> =
                tags.into_iter().map(|(weak, opaque)| format!("{weak}\"{opaque}\"")).collect();
            let expected = tags.iter().map(|text| tag(text)).collect();
            prop_assert_eq!(EtagList::parse(&tags.join(&gap)), Some(EtagList::Tags(expected)));
        }

        /// Whatever a client sends as a condition, it is one that can be passed on, or none.
        #[test]
        fn any_text_is_tags_or_nothing(text in "([W/\"*, a]|\\PC){0,24}") {
            match EtagList::parse(&text) {
                Some(EtagList::Tags(tags)) => {
                    prop_assert!(!tags.is_empty());
                    for tag in tags {
                        prop_assert_eq!(ETag::parse(tag.as_str()), Some(tag));
                    }
                }
                Some(EtagList::Any) => prop_assert_eq!(text.trim(), "*"),
                None => {}
            }
        }

        /// A condition never lets through a version that it names against, nor refuses without one.
        #[test]
        fn conditions_agree_with_themselves(asked in 0u64..4, now in 0u64..4, date in 0u64..4) {
            let asked = tag(&format!("\"{asked}\""));
            let now = tag(&format!("\"{now}\""));
            let list = || Some(EtagList::Tags(vec![asked.clone()]));
            let current = Validators { etag: Some(&now), last_modified: Some(at(date)) };
            let wanted = Conditions { if_match: list(), ..Conditions::default() };
            let unwanted = Conditions { if_none_match: list(), ..Conditions::default() };
            prop_assert_eq!(wanted.evaluate(current) == Precondition::Holds, asked == now);
            prop_assert_eq!(unwanted.evaluate(current) == Precondition::NotModified, asked == now);
            // A tag outweighs a date (RFC 9110 §13.1.3).
            let both = Conditions { if_modified_since: Some(at(2)), ..unwanted.clone() };
            prop_assert_eq!(both.evaluate(current), unwanted.evaluate(current));
        }
    }
}

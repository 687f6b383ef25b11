//! The faults, and how they are ordered.

use http::{HeaderValue, StatusCode};
use serde::{Deserialize, Serialize};

/// One way to fail. Faults of the body leave a HEAD alone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "fault", rename_all = "snake_case", deny_unknown_fields)]
pub enum Fault {
    /// Another status instead of the object.
    Status {
        /// 300 to 599.
        status: FaultStatus,
        /// The `Location` of a redirect.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        location: Option<Location>,
        /// `Retry-After`, in seconds.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        retry_after: Option<u32>,
    },
    /// Takes the request and answers nothing, until the client leaves.
    Silence {},
    /// Closes the connection before the head.
    Close {},
    /// Resets the connection before the head.
    Reset {},
    /// Answers with something that is not HTTP.
    Garbage {},
    /// A right head; then closes the connection after so many bytes of the body.
    Truncate {
        /// In bytes.
        after: u64,
    },
    /// A right head; then resets the connection after so many bytes of the body. As with any reset,
    /// the client may lose bytes that it has not taken from its socket yet.
    ResetBody {
        /// In bytes.
        after: u64,
    },
    /// A right head; then sends no more after so many bytes of the body, until the client leaves.
    Stall {
        /// In bytes.
        after: u64,
    },
    /// The right answer, slowly.
    Trickle {
        /// At least 1.
        bytes_per_second: std::num::NonZeroU64,
    },
    /// The right answer, late.
    Delay {
        /// Milliseconds before the head.
        ms: u64,
    },
}

impl Fault {
    /// One order of each kind, for the message to whoever sent a wrong one.
    pub const EXAMPLES: [&str; 10] = [
        r#"{"fault": "status", "status": 503, "count": 3}"#,
        r#"{"fault": "silence"}"#,
        r#"{"fault": "close"}"#,
        r#"{"fault": "reset", "path_prefix": "images/"}"#,
        r#"{"fault": "garbage"}"#,
        r#"{"fault": "truncate", "after": 1000}"#,
        r#"{"fault": "reset_body", "after": 1000}"#,
        r#"{"fault": "stall", "after": 1000}"#,
        r#"{"fault": "trickle", "bytes_per_second": 4096}"#,
        r#"{"fault": "delay", "ms": 1500}"#,
    ];

    /// Whether the fault needs the body of an answer.
    #[must_use]
    pub const fn is_of_body(&self) -> bool {
        match self {
            Self::Truncate { .. }
            | Self::ResetBody { .. }
            | Self::Stall { .. }
            | Self::Trickle { .. } => true,
            Self::Status { .. }
            | Self::Silence {}
            | Self::Close {}
            | Self::Reset {}
            | Self::Garbage {}
            | Self::Delay { .. } => false,
        }
    }
}

/// A fault, and which requests it hits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order {
    /// What happens.
    pub fault: Fault,
    /// How many requests it hits; without a number, all until the faults are removed.
    pub count: Option<u64>,
    /// How the names of the objects begin that it is for; empty for all.
    pub path_prefix: String,
}

/// What an order has besides its fault.
#[derive(Deserialize)]
struct Scope {
    count: Option<u64>,
    #[serde(default)]
    path_prefix: String,
}

impl Order {
    /// Parses an order.
    ///
    /// # Errors
    /// A text that says what is wrong and what to write.
    pub fn parse(json: &[u8]) -> Result<Self, String> {
        Self::try_parse(json).map_err(|error| {
            let examples = Fault::EXAMPLES.join("\n  ");
            format!(
                "This fault cannot be ordered: {error}.\nWrite one of these; `count` and \
                 `path_prefix` may go with each:\n  {examples}"
            )
        })
    }

    fn try_parse(json: &[u8]) -> serde_json::Result<Self> {
        let mut fields: serde_json::Map<_, _> = serde_json::from_slice(json)?;
        // Apart, so that the fault can refuse every field that it does not know.
        let scope = ["count", "path_prefix"]
            .into_iter()
            .filter_map(|name| fields.remove_entry(name))
            .collect::<serde_json::Map<_, _>>();
        let scope: Scope = serde_json::from_value(scope.into())?;
        Ok(Self {
            fault: serde_json::from_value(fields.into())?,
            count: scope.count,
            path_prefix: scope.path_prefix.trim_start_matches('/').to_owned(),
        })
    }
}

/// A status that is a failure of a CDN: a redirect, or an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "u16", into = "u16")]
pub struct FaultStatus(StatusCode);

impl FaultStatus {
    /// The status.
    #[must_use]
    pub const fn code(self) -> StatusCode {
        self.0
    }
}

impl TryFrom<u16> for FaultStatus {
    type Error = String;

    fn try_from(number: u16) -> Result<Self, String> {
        let status = StatusCode::from_u16(number).ok();
        let status = status.filter(|_| (300..600).contains(&number));
        status.map(Self).ok_or_else(|| format!("`status` is {number}, but must be 300 to 599"))
    }
}

impl From<FaultStatus> for u16 {
    fn from(status: FaultStatus) -> Self {
        status.0.as_u16()
    }
}

/// The value of a `Location` field.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String")]
pub struct Location(String);

impl Location {
    /// The field value.
    pub(super) fn into_value(self) -> HeaderValue {
        HeaderValue::try_from(self.0).expect("checked when it was parsed")
    }
}

impl TryFrom<String> for Location {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        match HeaderValue::try_from(&text) {
            Ok(_) => Ok(Self(text)),
            Err(_) => Err("`location` cannot stand in a header field".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn there_is_one_example_of_each_kind() {
        let kinds = Fault::EXAMPLES.map(|example| {
            let order = Order::parse(example.as_bytes()).unwrap();
            let kind = match &order.fault {
                Fault::Status { .. } => 0,
                Fault::Silence {} => 1,
                Fault::Close {} => 2,
                Fault::Reset {} => 3,
                Fault::Garbage {} => 4,
                Fault::Truncate { .. } => 5,
                Fault::ResetBody { .. } => 6,
                Fault::Stall { .. } => 7,
                Fault::Trickle { .. } => 8,
                Fault::Delay { .. } => 9,
            };
            let json = serde_json::to_vec(&order.fault).unwrap();
            assert_eq!(Order::parse(&json).unwrap().fault, order.fault, "{example}");
            kind
        });
        assert_eq!(HashSet::from(kinds).len(), 10);
    }

    #[test]
    fn an_order_is_taken_apart() {
        let json =
            br#"{"fault":"status","status":302,"location":"/b","count":2,"path_prefix":"/i/"}"#;
        let order = Order::parse(json).unwrap();
        assert_eq!((order.count, &*order.path_prefix), (Some(2), "i/"));
        let Fault::Status { status, location, .. } = order.fault else { panic!("{order:?}") };
        assert_eq!((status.code().as_u16(), location.unwrap().0), (302, "/b".to_owned()));
    }

    #[test]
    fn a_wrong_order_is_told_what_to_write() {
        for (json, complaint) in [
            ("", "EOF"),
            ("[]", "expected a map"),
            ("{}", "missing field `fault`"),
            (r#"{"fault":"explode"}"#, "unknown variant `explode`"),
            (r#"{"fault":"status"}"#, "missing field `status`"),
            (r#"{"fault":"status","status":200}"#, "must be 300 to 599"),
            (r#"{"fault":"status","status":302,"location":"a\nb"}"#, "`location`"),
            (r#"{"fault":"close","cuont":3}"#, "unknown field `cuont`"),
            (r#"{"fault":"close","count":-1}"#, "invalid value"),
            (r#"{"fault":"trickle","bytes_per_second":0}"#, "nonzero"),
            (r#"{"fault":"truncate","after":"5"}"#, "invalid type"),
        ] {
            let text = Order::parse(json.as_bytes()).unwrap_err();
            assert!(text.contains(complaint), "{json}: {text}");
            assert!(text.contains(Fault::EXAMPLES[9]), "{text}");
        }
    }

    proptest! {
        #[test]
        fn whatever_is_ordered_is_an_order_or_a_complaint(
            kind in "status|silence|truncate|delay|[a-z_]{0,8}",
            field in "status|after|ms|count|path_prefix|[a-z_]{0,8}",
            value in "[0-9]{1,20}|-1|null|\"[ -~]{0,8}\"|[{}]",
        ) {
            let json = format!("{{\"fault\":\"{kind}\",\"{field}\":{value}}}");
            if let Ok(order) = Order::parse(json.as_bytes()) {
                let again = serde_json::to_vec(&order.fault).unwrap();
                prop_assert_eq!(Order::parse(&again).unwrap().fault, order.fault);
            }
        }
    }
}

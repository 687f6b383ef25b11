//! Where in which trace something happens, as it travels between servers: W3C Trace Context, Level 1.

use std::fmt;
use std::num::{NonZeroU64, NonZeroU128};

use http::header::HeaderName;
use http::{HeaderMap, HeaderValue};

pub(super) const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
pub(super) const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// The length of `traceparent` in version 00: `00-{32}-{16}-{2}`.
const TRACEPARENT_BYTES: usize = 55;

/// The flag that says that whoever came before records this trace.
const SAMPLED: u8 = 1;

/// The longest `tracestate` that is passed on, in bytes: as much as everybody should (§3.3.1.5).
const MAX_STATE_BYTES: usize = 512;

/// How many members a `tracestate` has at most (§3.3.1.1).
const MAX_STATE_MEMBERS: usize = 32;

/// The longest key and the longest value in a `tracestate`, in bytes (§3.3.1.3).
const MAX_STATE_TEXT: usize = 256;

/// A trace. Never 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TraceId(pub(super) NonZeroU128);

/// A span in a trace. Never 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct SpanId(pub(super) NonZeroU64);

/// Where in a trace something happens: what goes with a request to the next server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Context {
    pub(super) trace: TraceId,
    pub(super) span: SpanId,
    /// Whether the trace is recorded, as far as those before know.
    pub(super) sampled: bool,
    /// What others' systems keep with the trace, as it came.
    pub(super) state: Option<HeaderValue>,
}

impl TraceId {
    pub(super) fn random() -> Self {
        Self(NonZeroU128::new(fastrand::u128(..)).unwrap_or(NonZeroU128::MIN))
    }
}

impl SpanId {
    pub(super) fn random() -> Self {
        Self(NonZeroU64::new(fastrand::u64(..)).unwrap_or(NonZeroU64::MIN))
    }
}

/// 32 hexadecimal digits in lower case, as in `traceparent`.
impl fmt::Display for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl Context {
    /// The trace.
    #[must_use]
    pub const fn trace(&self) -> TraceId {
        self.trace
    }

    /// Reads `traceparent` and `tracestate`. Whoever calls this believes the peer: what it says
    /// decides whose trace a request belongs to, and whether it is recorded.
    ///
    /// `None` where there is no valid `traceparent`, or more than one. A `tracestate` that is
    /// malformed or long does not go on; the trace does.
    #[must_use]
    pub fn from_headers(headers: &HeaderMap) -> Option<Self> {
        let mut all = headers.get_all(TRACEPARENT).iter();
        let (Some(parent), None) = (all.next(), all.next()) else { return None };
        let context = Self::parse(parent.as_bytes())?;
        Some(Self { state: state(headers), ..context })
    }

    /// Parses a `traceparent`. Of later versions that is read which this one has (§4.3).
    fn parse(text: &[u8]) -> Option<Self> {
        let (known, more) = text.split_at_checked(TRACEPARENT_BYTES)?;
        let [version, trace, span, flags] = fields(known)?;
        let version = u8::try_from(hexadecimal(version)?).ok()?;
        let fits = match version {
            0 => more.is_empty(),
            0xff => false,
            _ => more.is_empty() || more.starts_with(b"-"),
        };
        let trace = NonZeroU128::new(hexadecimal(trace)?)?;
        let span = NonZeroU64::new(u64::try_from(hexadecimal(span)?).ok()?)?;
        let flags = u8::try_from(hexadecimal(flags)?).ok()?;
        let sampled = flags & SAMPLED != 0;
        fits.then_some(Self { trace: TraceId(trace), span: SpanId(span), sampled, state: None })
    }

    /// Sets the headers that tell the next server of it. Those that are there are replaced.
    #[doc(hidden)]
    pub fn write_to(&self, headers: &mut HeaderMap) {
        let parent = HeaderValue::try_from(self.traceparent());
        headers.insert(TRACEPARENT, parent.expect("digits and dashes are valid in a header"));
        match &self.state {
            Some(state) => headers.insert(TRACESTATE, state.clone()),
            None => headers.remove(TRACESTATE),
        };
    }

    fn traceparent(&self) -> String {
        let flags = if self.sampled { SAMPLED } else { 0 };
        format!("00-{}-{:016x}-{flags:02x}", self.trace, self.span.0)
    }
}

/// The four fields, by their lengths.
fn fields(text: &[u8]) -> Option<[&[u8]; 4]> {
    let dashes = [2, 35, 52].map(|at| text.get(at));
    (dashes == [Some(&b'-'); 3]).then(|| [&text[..2], &text[3..35], &text[36..52], &text[53..]])
}

/// A number in digits of lower case: of nothing else, not even a sign.
fn hexadecimal(digits: &[u8]) -> Option<u128> {
    let is_digit = |b: &u8| matches!(b, b'0'..=b'9' | b'a'..=b'f');
    let text = std::str::from_utf8(digits).ok().filter(|_| digits.iter().all(is_digit))?;
    u128::from_str_radix(text, 16).ok()
}

/// The `tracestate`, if it can be passed on as it came. Several headers are one list.
fn state(headers: &HeaderMap) -> Option<HeaderValue> {
    let lines: Vec<_> = headers.get_all(TRACESTATE).iter().map(HeaderValue::as_bytes).collect();
    let state = lines.join(&b',');
    // Copied: a value as it came holds all of the head that it came in, for as long as a span waits.
    let copy = || HeaderValue::from_bytes(&state);
    is_state(&state)
        .then(|| copy().expect("what was in headers is valid in one, and so is a comma"))
}

fn is_state(text: &[u8]) -> bool {
    let members = || text.split(|b| *b == b',').map(|m| m.trim_ascii()).filter(|m| !m.is_empty());
    let count = members().count();
    let well_formed = text.len() <= MAX_STATE_BYTES && (1..=MAX_STATE_MEMBERS).contains(&count);
    well_formed && members().all(is_member)
}

/// `key=value`.
fn is_member(member: &[u8]) -> bool {
    let Some(at) = member.iter().position(|b| *b == b'=') else { return false };
    let (key, value) = (&member[..at], &member[at + 1..]);
    let in_value = |b: &u8| matches!(b, 0x20..=0x7e) && *b != b'=';
    let value = (1..=MAX_STATE_TEXT).contains(&value.len()) && value.iter().all(in_value);
    value && is_key(key)
}

/// A name, or the name of a tenant at that of a system.
fn is_key(key: &[u8]) -> bool {
    let mut parts = key.split(|b| *b == b'@');
    let in_name = |b: &u8| {
        b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'_' | b'-' | b'*' | b'/')
    };
    let is_name = |name: &[u8], may_begin_with_digit: bool, longest: usize| {
        (1..=longest).contains(&name.len())
            && (name[0].is_ascii_lowercase() || may_begin_with_digit && name[0].is_ascii_digit())
            && name.iter().all(in_name)
    };
    match (parts.next(), parts.next(), parts.next()) {
        (Some(name), None, _) => is_name(name, false, MAX_STATE_TEXT),
        (Some(tenant), Some(system), None) => {
            is_name(tenant, true, 241) && is_name(system, false, 14)
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    fn headers(pairs: &[(HeaderName, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(name.clone(), HeaderValue::from_str(value).unwrap());
        }
        headers
    }

    #[test]
    fn what_is_a_traceparent() {
        let known = "4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7";
        for (text, sampled) in [
            (PARENT.to_owned(), Some(true)),
            (format!("00-{known}-00"), Some(false)),
            // Only the flag that is known counts, and only it goes on.
            (format!("00-{known}-ff"), Some(true)),
            (format!("00-{known}-fe"), Some(false)),
            // Later versions, as far as they are known.
            (format!("01-{known}-01"), Some(true)),
            (format!("cc-{known}-01-what-will-be"), Some(true)),
            (format!("cc-{known}-01."), None),
            (format!("cc-{known}-1"), None),
            (format!("00-{known}-01-what-will-be"), None),
            (format!("00-{known}-01-"), None),
            (format!("ff-{known}-01"), None),
            (format!("0-{known}-01"), None),
            (PARENT.to_ascii_uppercase(), None),
            (format!("00-{}-00f067aa0ba902b7-01", "0".repeat(32)), None),
            (format!("00-4bf92f3577b34da6a3ce929d0e0e4736-{}-01", "0".repeat(16)), None),
            (format!("00-{known}-0g"), None),
            (format!("00-{known}-+1"), None),
            (format!("00_{known}-01"), None),
            (format!(" {PARENT}"), None),
            (String::new(), None),
        ] {
            let parsed = Context::parse(text.as_bytes());
            assert_eq!(parsed.as_ref().map(|context| context.sampled), sampled, "{text}");
            if let Some(context) = parsed {
                let flags = if context.sampled { "01" } else { "00" };
                assert_eq!(context.traceparent(), format!("00-{known}-{flags}"));
            }
        }
    }

    #[test]
    fn one_parent_or_none() {
        assert!(Context::from_headers(&headers(&[(TRACEPARENT, PARENT)])).is_some());
        assert!(Context::from_headers(&headers(&[])).is_none());
        let twice = headers(&[(TRACEPARENT, PARENT), (TRACEPARENT, PARENT)]);
        assert!(Context::from_headers(&twice).is_none());
        assert!(Context::from_headers(&headers(&[(TRACESTATE, "a=1")])).is_none());
    }

    #[test]
    fn a_state_goes_on_as_it_came_or_not_at_all() {
        let long = |length: usize| format!("a={}", "x".repeat(length - 2));
        let two = format!("{},b={}", long(256), "y".repeat(253));
        let members = |count: usize| (0..count).map(|i| format!("k{i}=v")).collect::<Vec<_>>();
        for (lines, expected) in [
            (vec!["congo=t61rcWkgMzE,rojo=00f067aa0ba902b7"], true),
            (vec!["fw529a3039@dt=FfAb 1"], true),
            (vec!["1tenant@system=x"], true),
            (vec!["a=1, b=2 ,,c=3"], true),
            (vec!["a=1", "b=2"], true),
            (vec![&*two], true),
            (vec![&*format!("{two}z")], false),
            (vec![&*members(32).join(",")], true),
            (vec![&*members(33).join(",")], false),
            (vec![""], false),
            (vec![","], false),
            (vec!["A=1"], false),
            (vec!["1a=1"], false),
            (vec!["a@b@c=1"], false),
            (vec!["a@=1"], false),
            (vec!["a="], false),
            (vec!["a"], false),
            (vec!["a=1=2"], false),
            (vec!["a=\u{e9}"], false),
            (vec![&*long(259)], false),
        ] {
            let parent = std::iter::once((TRACEPARENT, PARENT));
            let given = parent.chain(lines.iter().map(|line| (TRACESTATE, *line)));
            let context = Context::from_headers(&headers(&given.collect::<Vec<_>>())).unwrap();
            let state = context.state.as_ref().map(HeaderValue::as_bytes);
            let whole = lines.join(",");
            assert_eq!(state, expected.then_some(whole.as_bytes()), "{lines:?}");
        }
    }

    #[test]
    fn what_was_there_is_replaced() {
        let mut sent = headers(&[(TRACEPARENT, "another's"), (TRACESTATE, "another=s")]);
        Context::parse(PARENT.as_bytes()).unwrap().write_to(&mut sent);
        assert_eq!(sent, headers(&[(TRACEPARENT, PARENT)]));
    }

    fn context() -> impl Strategy<Value = Context> {
        (1_u128.., 1_u64.., any::<bool>()).prop_map(|(trace, span, sampled)| Context {
            trace: TraceId(NonZeroU128::new(trace).unwrap()),
            span: SpanId(NonZeroU64::new(span).unwrap()),
            sampled,
            state: None,
        })
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(context in context()) {
            let mut sent = HeaderMap::new();
            context.write_to(&mut sent);
            prop_assert_eq!(Context::from_headers(&sent), Some(context));
        }

        /// One byte changed makes another context or none, never the same one; but for a flag that
        /// nobody knows, and for the version.
        #[test]
        fn no_byte_is_passed_over(context in context(), at in 3_usize..53, byte: u8) {
            let text = context.traceparent();
            let mut changed = text.clone().into_bytes();
            prop_assume!(changed[at] != byte);
            changed[at] = byte;
            prop_assert_ne!(Context::parse(&changed), Some(context));
        }

        #[test]
        fn nothing_panics(parent: Vec<u8>, state: Vec<u8>) {
            let _ = Context::parse(&parent);
            let _ = is_state(&state);
        }

        #[test]
        fn what_goes_on_of_a_state_is_short_and_plain(text in "[ -~]{0,600}") {
            let headers = headers(&[(TRACEPARENT, PARENT), (TRACESTATE, &text)]);
            if let Some(state) = Context::from_headers(&headers).unwrap().state {
                prop_assert!(state.len() <= MAX_STATE_BYTES);
                prop_assert_eq!(state.as_bytes(), text.as_bytes());
            }
        }
    }
}

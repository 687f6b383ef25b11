//! By what right a private image is read: a signed URL, or an identity that it belongs to.
//!
//! The right is looked at before anything else, also before the key, and nobody is asked about the
//! image: whoever has none gets the same answer for every key, and learns nothing of any.

use std::time::SystemTime;

use http::HeaderValue;

use crate::apps::App;
use crate::domain::{ObjectKey, OwnerId};
use crate::identity::SignedRead;

use super::error::Problem;
use super::uploads::Call;

/// The names of the query of a signed URL.
const EXPIRES: &str = "expires";
const SIGNATURE: &str = "signature";

/// By what right an image is read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum ReadRight {
    /// It is public.
    Everybodys,
    /// The URL is signed, and holds until then.
    Signed(SystemTime),
    /// The reader has proved who it is; with an owner, only that owner's images are read.
    Proven(Option<OwnerId>),
}

/// What the query of a URL says of a right to read.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Claim {
    /// Nothing.
    None,
    /// A right, true or forged.
    Signed(SignedRead),
    /// One that is half there, twice there, or spelled otherwise.
    Malformed,
}

/// By what right this read may be answered.
///
/// # Errors
/// [`Problem::InvalidSignature`] for a URL whose signature is not valid or not any more, whoever
/// asks; [`Problem::Unauthenticated`] without one and without an identity.
pub(super) async fn right(call: Call<'_>, raw_key: &str) -> Result<ReadRight, Problem> {
    let Call { app, services, head, .. } = call;
    if !app.is_private() {
        return Ok(ReadRight::Everybodys);
    }
    let now = SystemTime::now();
    match Claim::of(head.uri.query().unwrap_or_default()) {
        Claim::Signed(signed)
            if services.read_signatures.verify(&app.name, raw_key, &signed, now) =>
        {
            Ok(ReadRight::Signed(signed.expires_at()))
        }
        Claim::Signed(_) | Claim::Malformed => Err(Problem::InvalidSignature),
        Claim::None => {
            // Boxed: public reads have no use for its room.
            let caller = Box::pin(call.caller()).await?.ok_or(Problem::Unauthenticated)?;
            Ok(ReadRight::Proven(caller.acts_for().cloned()))
        }
    }
}

/// The query of a signed URL.
pub(super) fn query_of(signed: &SignedRead) -> String {
    format!("{EXPIRES}={}&{SIGNATURE}={}", signed.expires, signed.signature)
}

impl Claim {
    /// Reads a query as it stands, nothing decoded: a signed URL has one spelling. What others have
    /// added to it is ignored.
    fn of(query: &str) -> Self {
        let (mut expires, mut signature) = (None, None);
        for pair in query.split('&') {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let slot = match name {
                EXPIRES => &mut expires,
                SIGNATURE => &mut signature,
                _ => continue,
            };
            if slot.replace(value).is_some() {
                return Self::Malformed;
            }
        }
        match (expires, signature) {
            (None, None) => Self::None,
            (Some(expires), Some(signature)) => {
                SignedRead::parse(expires, signature).map_or(Self::Malformed, Self::Signed)
            }
            _ => Self::Malformed,
        }
    }
}

/// What the reader's own cache may do with a private image, and no shared one: for as long as the
/// app says and the right holds. A right without an end is asked for every time.
pub(super) fn cache_control(
    app: &App,
    key: &ObjectKey,
    right: &ReadRight,
    now: SystemTime,
) -> HeaderValue {
    let longest = if app.is_settled(key, now) { u64::MAX } else { super::read::YOUNG_SECONDS };
    own_cache_control(app.own_cache_life, longest, right, now)
}

fn own_cache_control(
    of_app: Option<u64>,
    longest: u64,
    right: &ReadRight,
    now: SystemTime,
) -> HeaderValue {
    match (of_app, right) {
        (None, _) => HeaderValue::from_static("private, no-store"),
        (Some(_), ReadRight::Everybodys | ReadRight::Proven(_)) => {
            HeaderValue::from_static("private, no-cache")
        }
        (Some(of_app), ReadRight::Signed(end)) => {
            let left = end.duration_since(now).unwrap_or_default().as_secs();
            let life = of_app.min(longest).min(left);
            let value = format!("private, max-age={life}, must-revalidate");
            HeaderValue::try_from(value).expect("digits are ASCII")
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn nothing_is_kept_for_longer_than_the_right_to_it() {
        let at = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        let (year, now) = (31_536_000, at(1000));
        let (signed, proven) = (|end| ReadRight::Signed(at(end)), ReadRight::Proven(None));
        for (of_app, longest, right, expected) in [
            (Some(year), u64::MAX, signed(4600), "private, max-age=3600, must-revalidate"),
            (Some(year), u64::MAX, signed(1001), "private, max-age=1, must-revalidate"),
            // It ended while the image was looked for.
            (Some(year), u64::MAX, signed(999), "private, max-age=0, must-revalidate"),
            (Some(year), 60, signed(4600), "private, max-age=60, must-revalidate"),
            (Some(300), u64::MAX, signed(4600), "private, max-age=300, must-revalidate"),
            (Some(0), u64::MAX, signed(4600), "private, max-age=0, must-revalidate"),
            (None, u64::MAX, signed(4600), "private, no-store"),
            (Some(year), u64::MAX, proven.clone(), "private, no-cache"),
            (None, u64::MAX, proven, "private, no-store"),
        ] {
            let value = own_cache_control(of_app, longest, &right, now);
            assert_eq!(value, expected, "{of_app:?} {longest} {right:?}");
        }
    }

    #[test]
    fn a_query_has_one_spelling() {
        let signed = |expires, signature: &str| {
            Claim::Signed(SignedRead { expires, signature: signature.to_owned() })
        };
        for (query, expected) in [
            ("", Claim::None),
            ("v=2", Claim::None),
            ("Expires=1&Signature=ab", Claim::None),
            ("%65xpires=1&signatur%65=ab", Claim::None),
            ("x=expires=1&y=signature=ab", Claim::None),
            ("expires=1&signature=ab", signed(1, "ab")),
            ("signature=ab&expires=1", signed(1, "ab")),
            ("utm_source=mail&expires=1&signature=ab&", signed(1, "ab")),
            ("expires=1&signature=", signed(1, "")),
            ("expires=1&signature=%61b", signed(1, "%61b")),
            ("expires=1", Claim::Malformed),
            ("signature=ab", Claim::Malformed),
            ("expires&signature=ab", Claim::Malformed),
            ("expires=01&signature=ab", Claim::Malformed),
            ("expires=%31&signature=ab", Claim::Malformed),
            ("expires=1;signature=ab", Claim::Malformed),
            ("expires=1&expires=1&signature=ab", Claim::Malformed),
            ("expires=1&signature=ab&signature=cd", Claim::Malformed),
        ] {
            assert_eq!(Claim::of(query), expected, "{query:?}");
        }
    }

    #[test]
    fn what_is_written_is_read() {
        let right = SignedRead { expires: 1_763_720_000, signature: "0a1b".to_owned() };
        assert_eq!(Claim::of(&query_of(&right)), Claim::Signed(right));
    }
}

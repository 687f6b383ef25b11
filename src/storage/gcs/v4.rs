//! Signed URLs by Google's V4 signing process: what is signed, and where the signature goes.
//!
//! Only what a signed URL of an object needs: RSA keys, `UNSIGNED-PAYLOAD`, no query of its own.
//! Signing itself stands between the two halves, because it may be a call to Google.
//!
//! The steps and their names are those of "V4 signing process with your own program" and "Canonical
//! requests" in the documentation of Google Cloud Storage.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use sha2::{Digest as _, Sha256};

use crate::domain::hex;

/// The longest life of a signed URL: seven days, by the protocol.
pub(super) const MAX_EXPIRY: Duration = Duration::from_secs(604_800);

const ALGORITHM: &str = "GOOG4-RSA-SHA256";

/// Everything but the unreserved characters of RFC 3986: the encoding of values in a canonical
/// query.
const QUERY: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// A request to be signed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Request<'a> {
    pub(super) method: &'a str,
    /// Scheme, host and port, without a `/` at the end.
    pub(super) endpoint: &'a str,
    /// The absolute path, encoded as it will be sent.
    pub(super) path: &'a str,
    /// The headers that the request must have, beyond `Host`: names in lower case and in order,
    /// values without a space at their ends or two in a row.
    pub(super) headers: &'a [(&'a str, &'a str)],
    /// Whole seconds, from 1 to [`MAX_EXPIRY`]; a fraction is cut off.
    pub(super) expires_in: Duration,
}

/// A request that lacks its signature.
pub(super) struct Unsigned {
    url: String,
    to_sign: String,
    expires_at: SystemTime,
}

/// Why a request is not signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum CannotSign {
    #[error("a signed URL lives from 1 second to 7 days, not {} seconds", .0.as_secs())]
    Expiry(Duration),
    #[error("the clock of this machine is outside of the years 1970 to 9999")]
    Clock,
}

impl Unsigned {
    /// Works out what the account is to sign.
    pub(super) fn new(
        request: &Request<'_>,
        client_email: &str,
        now: SystemTime,
    ) -> Result<Self, CannotSign> {
        let lifetime = request.expires_in.as_secs();
        if !(1..=MAX_EXPIRY.as_secs()).contains(&lifetime) {
            return Err(CannotSign::Expiry(request.expires_in));
        }
        let seconds = now.duration_since(UNIX_EPOCH).map_err(|_| CannotSign::Clock)?.as_secs();
        let time = timestamp(seconds).ok_or(CannotSign::Clock)?;
        let scope = format!("{}/auto/storage/goog4_request", &time[..8]);
        let credential = format!("{client_email}/{scope}");
        let names: Vec<_> = signed_headers(request).map(|(name, _)| name).collect();

        let Request { method, endpoint, path, .. } = request;
        let query = format!(
            "X-Goog-Algorithm={ALGORITHM}&X-Goog-Credential={}&X-Goog-Date={time}\
             &X-Goog-Expires={lifetime}&X-Goog-SignedHeaders={}",
            utf8_percent_encode(&credential, QUERY),
            names.join("%3B")
        );
        let mut canonical = format!("{method}\n{path}\n{query}\n");
        for (name, value) in signed_headers(request) {
            debug_assert!(value.trim() == value && !value.contains("  "), "canonical values");
            for part in [name, ":", value, "\n"] {
                canonical.push_str(part);
            }
        }
        canonical.push_str(&format!("\n{}\nUNSIGNED-PAYLOAD", names.join(";")));

        let digest = hex(&Sha256::digest(canonical));
        Ok(Self {
            url: format!("{endpoint}{path}?{query}"),
            to_sign: format!("{ALGORITHM}\n{time}\n{scope}\n{digest}"),
            // The life of the URL begins with the whole second that it names.
            expires_at: UNIX_EPOCH + Duration::from_secs(seconds + lifetime),
        })
    }

    /// What the account's key signs, by RSA PKCS #1 v1.5 with SHA-256.
    pub(super) fn string_to_sign(&self) -> &str {
        &self.to_sign
    }

    /// The URL, and when it ends.
    pub(super) fn with_signature(self, signature: &[u8]) -> (String, SystemTime) {
        (format!("{}&X-Goog-Signature={}", self.url, hex(signature)), self.expires_at)
    }
}

/// All signed headers, `Host` in its place among them.
fn signed_headers<'a>(request: &Request<'a>) -> impl Iterator<Item = (&'a str, &'a str)> {
    debug_assert!(request.headers.is_sorted(), "the order of the canonical headers");
    let host = request.endpoint.split_once("://").map_or("", |(_, host)| host);
    let (before, after) =
        request.headers.split_at(request.headers.partition_point(|(name, _)| *name < "host"));
    before.iter().copied().chain([("host", host)]).chain(after.iter().copied())
}

/// `20130524T235959Z`.
fn timestamp(seconds: u64) -> Option<String> {
    let timestamp = jiff::Timestamp::from_second(seconds.try_into().ok()?).ok()?;
    let utc = jiff::tz::Offset::UTC.to_datetime(timestamp);
    let (date, time) = (utc.date(), utc.time());
    Some(format!(
        "{:04}{:02}{:02}T{:02}{:02}{:02}Z",
        date.year(),
        date.month(),
        date.day(),
        time.hour(),
        time.minute(),
        time.second()
    ))
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use futures_util::FutureExt as _;
    use google_cloud_auth::signer::{Signer, SigningError, SigningProvider};
    use google_cloud_storage::builder::storage::SignedUrlBuilder;
    use proptest::prelude::*;

    use super::*;
    use crate::domain::StoragePath;

    const EMAIL: &str = "gateway@safelight-tests.iam.gserviceaccount.com";

    /// Signs as the tests of both sides do: the digest of what is to be signed.
    #[derive(Debug)]
    struct Digests;

    impl SigningProvider for Digests {
        async fn client_email(&self) -> Result<String, SigningError> {
            Ok(EMAIL.to_owned())
        }

        async fn sign(&self, content: &[u8]) -> Result<Bytes, SigningError> {
            Ok(Bytes::copy_from_slice(&Sha256::digest(content)))
        }
    }

    fn at(seconds: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(seconds)
    }

    fn example(expires_in: Duration) -> Request<'static> {
        Request {
            method: "GET",
            endpoint: "https://storage.googleapis.com",
            path: "/media/a.jpg",
            headers: &[],
            expires_in,
        }
    }

    #[test]
    fn the_string_to_sign_is_as_documented() {
        let request = Request { headers: &[("content-type", "image/jpeg")], ..example(MAX_EXPIRY) };
        let unsigned = Unsigned::new(&request, EMAIL, at(1_369_353_600)).unwrap();
        let credential = EMAIL.replace('@', "%40");
        let query = format!(
            "X-Goog-Algorithm=GOOG4-RSA-SHA256\
             &X-Goog-Credential={credential}%2F20130524%2Fauto%2Fstorage%2Fgoog4_request\
             &X-Goog-Date=20130524T000000Z&X-Goog-Expires=604800\
             &X-Goog-SignedHeaders=content-type%3Bhost"
        );
        let canonical = format!(
            "GET\n/media/a.jpg\n{query}\ncontent-type:image/jpeg\nhost:storage.googleapis.com\n\n\
             content-type;host\nUNSIGNED-PAYLOAD"
        );
        let expected = format!(
            "GOOG4-RSA-SHA256\n20130524T000000Z\n20130524/auto/storage/goog4_request\n{}",
            hex(&Sha256::digest(canonical))
        );
        assert_eq!(unsigned.string_to_sign(), expected);
        let (url, expires_at) = unsigned.with_signature(&[0x0a, 0xff]);
        let base = "https://storage.googleapis.com/media/a.jpg";
        assert_eq!(url, format!("{base}?{query}&X-Goog-Signature=0aff"));
        assert_eq!(expires_at, at(1_369_353_600 + 604_800));
    }

    #[test]
    fn what_no_url_can_say_is_refused() {
        let sign = |life, now| Unsigned::new(&example(life), EMAIL, now).map(|u| u.expires_at);
        for life in [Duration::ZERO, Duration::from_millis(999), MAX_EXPIRY + secs(1)] {
            assert_eq!(sign(life, at(0)), Err(CannotSign::Expiry(life)));
        }
        assert_eq!(sign(secs(1), UNIX_EPOCH - secs(1)), Err(CannotSign::Clock));
        assert_eq!(sign(secs(1), at(1 << 40)), Err(CannotSign::Clock));
        // A fraction of a second never makes a URL live longer.
        let odd = Duration::from_millis(1_999);
        assert_eq!(sign(odd, UNIX_EPOCH + Duration::from_millis(5_999)), Ok(at(6)));
    }

    fn secs(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    proptest! {
        /// Google's own crate, which signs at the time of its own clock, comes to the same URL.
        #[test]
        fn equal_to_googles_crate(
            object in "[ -~éß漢]{1,40}",
            method in prop::sample::select(vec!["GET", "PUT", "DELETE"]),
            life in 1..=604_800_u64,
            size in prop::option::of(any::<u64>()),
            typed in any::<bool>(),
            once in any::<bool>(),
        ) {
            let range = size.map(|size| format!("{size},{size}"));
            let mut headers = vec![];
            headers.extend(typed.then_some(("content-type", "image/jpeg")));
            headers.extend(range.as_deref().map(|range| ("x-goog-content-length-range", range)));
            headers.extend(once.then_some(("x-goog-if-generation-match", "0")));

            let method_of_theirs = http::Method::from_bytes(method.as_bytes()).unwrap();
            let theirs = SignedUrlBuilder::for_object("projects/_/buckets/media", object.as_str())
                .with_method(method_of_theirs)
                .with_expiration(secs(life));
            let theirs = headers.iter().fold(theirs, |b, (name, value)| b.with_header(*name, *value));
            let theirs = theirs.sign_with(&Signer::from(Digests)).now_or_never().unwrap().unwrap();

            let (_, date) = theirs.split_once("X-Goog-Date=").unwrap();
            let format = "%Y%m%dT%H%M%SZ%z";
            let now = jiff::Timestamp::strptime(format, format!("{}+0000", &date[..16])).unwrap();
            let path = format!("/media/{}", StoragePath::from_listing(&object).to_url_path());
            let ours = Request {
                method,
                endpoint: "https://storage.googleapis.com",
                path: &path,
                headers: &headers,
                expires_in: secs(life),
            };
            let unsigned = Unsigned::new(&ours, EMAIL, now.into()).unwrap();
            let signature = Sha256::digest(unsigned.string_to_sign());
            prop_assert_eq!(unsigned.with_signature(&signature).0, theirs);
        }
    }
}

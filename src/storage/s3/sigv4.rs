//! Presigned URLs by AWS Signature Version 4, without a network call and without the SDK.
//!
//! Only what a presigned S3 request needs: the signature in the query, `UNSIGNED-PAYLOAD`, paths
//! encoded once. The signing key holds for a day and is derived once a day, which leaves two HMACs
//! and one digest for a request.
//!
//! The steps and their names are those of "Authenticating Requests: Using Query Parameters (AWS
//! Signature Version 4)" in the Amazon S3 API reference.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::sync::{PoisonError, RwLock};
use std::time::{Duration, SystemTime};

use hmac::{Hmac, KeyInit as _, Mac as _};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use crate::domain::Secret;

/// The longest life of a presigned URL: seven days, by the protocol.
pub(super) const MAX_EXPIRY: Duration = Duration::from_secs(604_800);

const ALGORITHM: &str = "AWS4-HMAC-SHA256";
const SERVICE: &str = "s3";
const SECONDS_PER_DAY: u64 = 86_400;

/// Everything but the unreserved characters of RFC 3986: the encoding of names and values in a
/// canonical query.
const QUERY: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// A long-term or temporary access key.
#[derive(Debug, Clone)]
pub(super) struct Credentials {
    pub(super) access_key_id: String,
    pub(super) secret_access_key: Secret,
    /// Only temporary credentials have one.
    pub(super) session_token: Option<Secret>,
}

/// Signs requests with one set of credentials for one region.
pub(super) struct Presigner {
    credentials: Credentials,
    region: String,
    today: RwLock<Option<DayKey>>,
}

/// The signing key of one day (UTC).
#[derive(Clone)]
struct DayKey {
    /// Days since 1970.
    day: u64,
    key: Zeroizing<[u8; 32]>,
}

/// A request to be signed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Presign<'a> {
    pub(super) method: &'a str,
    /// `http` or `https`.
    pub(super) scheme: &'a str,
    /// The `Host` that the request will have, with the port if it is not the scheme's own.
    pub(super) host: &'a str,
    /// The absolute path, encoded as it will be sent.
    pub(super) path: &'a str,
    /// Query parameters of the request itself, not encoded.
    pub(super) query: &'a [(&'a str, &'a str)],
    /// The headers that the request must have, beyond `Host`, with lower-case names.
    pub(super) headers: &'a [(&'a str, &'a str)],
    /// Whole seconds, from 1 to [`MAX_EXPIRY`]; a fraction is cut off.
    pub(super) expires_in: Duration,
}

/// A signed request.
pub(super) struct Presigned {
    pub(super) url: String,
    pub(super) expires_at: SystemTime,
}

/// Why a request is not signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum CannotPresign {
    #[error("a presigned URL lives from 1 second to 7 days, not {} seconds", .0.as_secs())]
    Expiry(Duration),
    #[error("the clock of this machine is outside of the years 1970 to 9999")]
    Clock,
}

impl Presigner {
    pub(super) fn new(credentials: Credentials, region: String) -> Self {
        Self { credentials, region, today: RwLock::new(None) }
    }

    /// Signs a request.
    pub(super) fn presign(
        &self,
        request: &Presign<'_>,
        now: SystemTime,
    ) -> Result<Presigned, CannotPresign> {
        let lifetime = request.expires_in.as_secs();
        if !(1..=MAX_EXPIRY.as_secs()).contains(&lifetime) {
            return Err(CannotPresign::Expiry(request.expires_in));
        }
        let seconds =
            now.duration_since(SystemTime::UNIX_EPOCH).map_err(|_| CannotPresign::Clock)?.as_secs();
        let timestamp = timestamp(seconds).ok_or(CannotPresign::Clock)?;
        let scope = format!("{}/{}/{SERVICE}/aws4_request", &timestamp[..8], self.region);

        let (signed_headers, canonical_headers) = canonical_headers(request.host, request.headers);
        let query = self.canonical_query(request, &timestamp, &scope, lifetime, &signed_headers);
        let mut canonical_request = Sha256::new();
        for line in [request.method, request.path, &query, &canonical_headers, &signed_headers] {
            canonical_request.update(line);
            canonical_request.update("\n");
        }
        canonical_request.update("UNSIGNED-PAYLOAD");
        let mut to_sign = format!("{ALGORITHM}\n{timestamp}\n{scope}\n");
        push_hex(&mut to_sign, &canonical_request.finalize());
        let key = self.signing_key(seconds / SECONDS_PER_DAY, &timestamp[..8]);

        let mut url = String::with_capacity(query.len() + request.path.len() + 160);
        let _ = write!(
            url,
            "{}://{}{}?{query}&X-Amz-Signature=",
            request.scheme, request.host, request.path
        );
        push_hex(&mut url, &*hmac(&*key, to_sign.as_bytes()));
        // The life of the URL begins with the whole second that it names.
        let expires_at = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds + lifetime);
        Ok(Presigned { url, expires_at })
    }

    /// The query of the request and of the signature, encoded and sorted, without the signature.
    fn canonical_query(
        &self,
        request: &Presign<'_>,
        timestamp: &str,
        scope: &str,
        lifetime: u64,
        signed_headers: &str,
    ) -> String {
        let credential = format!("{}/{scope}", self.credentials.access_key_id);
        let mut parameters: Vec<(Cow<'_, str>, Cow<'_, str>)> =
            request.query.iter().map(|(name, value)| (encode(name), encode(value))).collect();
        parameters.extend([
            ("X-Amz-Algorithm".into(), ALGORITHM.into()),
            ("X-Amz-Credential".into(), encode(&credential)),
            ("X-Amz-Date".into(), timestamp.into()),
            ("X-Amz-Expires".into(), lifetime.to_string().into()),
            ("X-Amz-SignedHeaders".into(), encode(signed_headers)),
        ]);
        if let Some(token) = &self.credentials.session_token {
            let encoded = percent_encoding::percent_encode(token.expose(), QUERY).into();
            parameters.push(("X-Amz-Security-Token".into(), encoded));
        }
        parameters.sort_unstable();
        let mut query = String::with_capacity(512);
        for (name, value) in &parameters {
            if !query.is_empty() {
                query.push('&');
            }
            query.push_str(name);
            query.push('=');
            query.push_str(value);
        }
        query
    }

    /// The signing key of a day, derived on its first use.
    fn signing_key(&self, day: u64, date: &str) -> Zeroizing<[u8; 32]> {
        let cached = self.today.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(today) = cached.as_ref().filter(|today| today.day == day) {
            return today.key.clone();
        }
        drop(cached);
        let key = self.derive_key(date);
        let today = DayKey { day, key: key.clone() };
        *self.today.write().unwrap_or_else(PoisonError::into_inner) = Some(today);
        key
    }

    fn derive_key(&self, date: &str) -> Zeroizing<[u8; 32]> {
        let secret = self.credentials.secret_access_key.expose();
        let mut first = Zeroizing::new(Vec::with_capacity(4 + secret.len()));
        first.extend_from_slice(b"AWS4");
        first.extend_from_slice(secret);
        let mut key = hmac(&first, date.as_bytes());
        for step in [self.region.as_str(), SERVICE, "aws4_request"] {
            key = hmac(&*key, step.as_bytes());
        }
        key
    }
}

/// Encodes for a query; what needs no encoding is not copied.
fn encode(text: &str) -> Cow<'_, str> {
    utf8_percent_encode(text, QUERY).into()
}

/// The names of the signed headers (`a;b;c`), and the headers in canonical form, one a line.
fn canonical_headers(host: &str, headers: &[(&str, &str)]) -> (String, String) {
    let mut sorted = Vec::with_capacity(headers.len() + 1);
    sorted.push(("host", host));
    sorted.extend_from_slice(headers);
    sorted.sort_unstable();
    let (mut names, mut lines) = (String::with_capacity(80), String::with_capacity(256));
    for (name, value) in sorted {
        if !names.is_empty() {
            names.push(';');
        }
        names.push_str(name);
        lines.push_str(name);
        lines.push(':');
        // Spaces at the ends are cut off, several in a row become one.
        for (index, word) in value.split(' ').filter(|word| !word.is_empty()).enumerate() {
            if index > 0 {
                lines.push(' ');
            }
            lines.push_str(word);
        }
        lines.push('\n');
    }
    (names, lines)
}

/// `20130524T000000Z`.
fn timestamp(seconds: u64) -> Option<String> {
    let timestamp = jiff::Timestamp::from_second(seconds.try_into().ok()?).ok()?;
    let utc = jiff::tz::Offset::UTC.to_datetime(timestamp);
    Some(format!(
        "{:04}{:02}{:02}T{:02}{:02}{:02}Z",
        utc.year(),
        utc.month(),
        utc.day(),
        utc.hour(),
        utc.minute(),
        utc.second(),
    ))
}

fn hmac(key: &[u8], message: &[u8]) -> Zeroizing<[u8; 32]> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of any length");
    mac.update(message);
    Zeroizing::new(mac.finalize().into_bytes().into())
}

fn push_hex(text: &mut String, bytes: &[u8]) {
    for byte in bytes {
        for nibble in [byte >> 4, byte & 15] {
            text.push(char::from(b"0123456789abcdef"[usize::from(nibble)]));
        }
    }
}

#[cfg(test)]
mod tests {
    use aws_sigv4::http_request::{
        PayloadChecksumKind, PercentEncodingMode, SignableBody, SignableRequest, SignatureLocation,
        SigningSettings, UriPathNormalizationMode, sign,
    };
    use aws_sigv4::sign::v4;
    use proptest::prelude::*;

    use super::*;

    const EXAMPLE: Presign<'_> = Presign {
        method: "GET",
        scheme: "https",
        host: "examplebucket.s3.amazonaws.com",
        path: "/test.txt",
        query: &[],
        headers: &[],
        expires_in: Duration::from_secs(86_400),
    };

    fn credentials(token: Option<&str>) -> Credentials {
        Credentials {
            access_key_id: "AKIAIOSFODNN7EXAMPLE".to_owned(),
            secret_access_key: Secret::new("wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"),
            session_token: token.map(Secret::new),
        }
    }

    fn presigner(token: Option<&str>) -> Presigner {
        Presigner::new(credentials(token), "us-east-1".to_owned())
    }

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    }

    /// The example of the Amazon S3 API reference.
    #[test]
    fn signs_the_published_example() {
        let signed = presigner(None).presign(&EXAMPLE, at(1_369_353_600)).unwrap();
        assert_eq!(
            signed.url,
            "https://examplebucket.s3.amazonaws.com/test.txt\
             ?X-Amz-Algorithm=AWS4-HMAC-SHA256\
             &X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20130524%2Fus-east-1%2Fs3%2Faws4_request\
             &X-Amz-Date=20130524T000000Z&X-Amz-Expires=86400&X-Amz-SignedHeaders=host\
             &X-Amz-Signature=aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404"
        );
        assert_eq!(signed.expires_at, at(1_369_353_600 + 86_400));
    }

    #[test]
    fn a_life_outside_of_the_protocol_is_refused() {
        for (life, accepted) in [
            (Duration::ZERO, false),
            (Duration::from_millis(999), false),
            (Duration::from_secs(1), true),
            (MAX_EXPIRY, true),
            (MAX_EXPIRY + Duration::from_secs(1), false),
        ] {
            let request = Presign { expires_in: life, ..EXAMPLE };
            let signed = presigner(None).presign(&request, at(1_369_353_600));
            assert_eq!(signed.is_ok(), accepted, "{life:?}");
        }
    }

    #[test]
    fn the_key_of_yesterday_does_not_sign_today() {
        let signer = presigner(None);
        let midnight = 1_369_440_000;
        for seconds in [midnight - 1, midnight, midnight + 1, midnight - 1] {
            let fresh = presigner(None).presign(&EXAMPLE, at(seconds)).unwrap();
            assert_eq!(signer.presign(&EXAMPLE, at(seconds)).unwrap().url, fresh.url);
        }
    }

    #[test]
    fn fractions_of_a_second_do_not_lengthen_the_life() {
        let now = at(1_369_353_600) + Duration::from_millis(900);
        let request = Presign { expires_in: Duration::from_millis(5_900), ..EXAMPLE };
        let signed = presigner(None).presign(&request, now).unwrap();
        assert_eq!(signed.expires_at, at(1_369_353_605));
    }

    /// What the `aws-sigv4` crate makes of the same request: every query parameter, and the
    /// signature among them.
    fn reference(
        request: &Presign<'_>,
        token: Option<&str>,
        now: SystemTime,
    ) -> Vec<(String, String)> {
        let identity = aws_credential_types::Credentials::new(
            "AKIAIOSFODNN7EXAMPLE",
            "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
            token.map(str::to_owned),
            None,
            "test",
        )
        .into();
        let mut settings = SigningSettings::default();
        settings.signature_location = SignatureLocation::QueryParams;
        settings.expires_in = Some(request.expires_in);
        settings.percent_encoding_mode = PercentEncodingMode::Single;
        settings.uri_path_normalization_mode = UriPathNormalizationMode::Disabled;
        settings.payload_checksum_kind = PayloadChecksumKind::NoHeader;
        let params = v4::SigningParams::builder()
            .identity(&identity)
            .region("us-east-1")
            .name("s3")
            .time(now)
            .settings(settings)
            .build()
            .unwrap()
            .into();
        let mut url =
            url::Url::parse(&format!("{}://{}{}", request.scheme, request.host, request.path))
                .unwrap();
        if !request.query.is_empty() {
            let encode = |text: &str| utf8_percent_encode(text, QUERY).to_string();
            let pairs: Vec<_> = request
                .query
                .iter()
                .map(|(name, value)| format!("{}={}", encode(name), encode(value)))
                .collect();
            url.set_query(Some(&pairs.join("&")));
        }
        let headers = request.headers.iter().copied();
        let signable = SignableRequest::new(
            request.method,
            url.as_str(),
            headers,
            SignableBody::UnsignedPayload,
        )
        .unwrap();
        let (instructions, _) = sign(signable, &params).unwrap().into_parts();
        let mut parameters: Vec<_> = instructions
            .params()
            .iter()
            .map(|(name, value)| ((*name).to_owned(), value.to_string()))
            .chain(request.query.iter().map(|(name, value)| ((*name).into(), (*value).into())))
            .collect();
        parameters.sort();
        parameters
    }

    proptest! {
        #[test]
        fn equals_the_aws_sigv4_crate(
            // Not "." or "..": URL parsers, also those of clients, resolve them.
            key in "[a-zA-Z][a-zA-Z0-9 +%~._=&ü漢'()*!-]{0,20}(/[a-z ]{1,9}){0,2}",
            media_type in "image/[a-z+]{1,8}",
            size in proptest::option::of(any::<u64>()),
            checksum in proptest::option::of("[A-Za-z0-9+/]{43}="),
            create_once: bool,
            part in proptest::option::of((1u16..=10_000, "[A-Za-z0-9+/=._~-]{1,64}")),
            token in proptest::option::of("[A-Za-z0-9+/=]{1,90}"),
            seconds in 0u64..4_102_444_800,
            life in 1u64..=604_800,
            port in proptest::option::of(1024u16..),
        ) {
            let path = format!("/bucket/{}", crate::domain::StoragePath::from_listing(&key).to_url_path());
            let host = port.map_or("s3.example.com".to_owned(), |port| format!("s3.example.com:{port}"));
            let size = size.map(|size| size.to_string());
            let mut headers = vec![("content-type", media_type.as_str())];
            headers.extend(size.as_deref().map(|size| ("content-length", size)));
            headers.extend(checksum.as_deref().map(|sum| ("x-amz-checksum-sha256", sum)));
            headers.extend(create_once.then_some(("if-none-match", "*")));
            let number = part.as_ref().map(|(number, _)| number.to_string());
            let mut query = vec![];
            if let (Some(number), Some((_, upload))) = (&number, &part) {
                query = vec![("uploadId", upload.as_str()), ("partNumber", number.as_str())];
            }
            let request = Presign {
                method: "PUT", scheme: "https", host: &host, path: &path, query: &query,
                headers: &headers, expires_in: Duration::from_secs(life),
            };

            let token = token.as_deref();
            let signed = presigner(token).presign(&request, at(seconds)).unwrap();
            let url = url::Url::parse(&signed.url).unwrap();
            // A form decoder reads `+` as a space, but the encoding leaves no bare `+`.
            let mut parameters: Vec<_> = url.query_pairs().into_owned().collect();
            parameters.sort();
            prop_assert_eq!(parameters, reference(&request, token, at(seconds)));
            prop_assert_eq!(url.path(), path);
        }
    }
}

//! AWS Signature Version 4, without a network call and without the SDK: presigned URLs, and the
//! headers of the gateway's own reads.
//!
//! Only what an S3 request without a payload of ours needs: the signature in the query (or in a
//! header), `UNSIGNED-PAYLOAD` (or none), paths encoded once. What holds for a day — the signing key, as an HMAC that has taken it in already,
//! and the scope that it signs for — is made once a day. That leaves one digest and one HMAC for a
//! request, and the URL is its only text: the digest reads the canonical request out of it.
//!
//! The steps and their names are those of "Authenticating Requests: Using Query Parameters (AWS
//! Signature Version 4)" in the Amazon S3 API reference.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, SystemTime};

use hmac::{Hmac, KeyInit as _, Mac as _};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_encode, utf8_percent_encode};
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use super::credentials::AccessKey;
use crate::domain::Secret;

/// The longest life of a presigned URL: seven days, by the protocol.
pub(super) const MAX_EXPIRY: Duration = Duration::from_secs(604_800);

const ALGORITHM: &str = "AWS4-HMAC-SHA256";
const SERVICE: &str = "s3";
/// The SHA-256 of nothing: what the payload of a request without a body is signed as.
pub(super) const NOTHING: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
const SECONDS_PER_DAY: u64 = 86_400;

/// Everything but the unreserved characters of RFC 3986: the encoding of names and values in a
/// canonical query.
const QUERY: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Signs requests with one set of credentials for one region.
pub(super) struct Presigner {
    credentials: AccessKey,
    /// The session token as a query holds it.
    encoded_token: Option<Zeroizing<String>>,
    region: String,
    today: RwLock<Option<Arc<Day>>>,
}

/// What the signatures of one day (UTC) have in common.
struct Day {
    /// Days since 1970.
    number: u64,
    /// `20130524/us-east-1/s3/aws4_request`.
    scope: String,
    /// The access key and the scope, as a query holds them.
    encoded_credential: String,
    /// Has taken in the signing key of the day. It overwrites its memory when it is dropped.
    mac: Hmac<Sha256>,
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
    /// Query parameters of the request itself, not encoded, in the order of their names. The names
    /// begin with a lower-case letter, so that they come after those of the signature.
    pub(super) query: &'a [(&'a str, &'a str)],
    /// The headers that the request must have, beyond `Host`: names in lower case and in order,
    /// values without a space at their ends or two in a row.
    pub(super) headers: &'a [(&'a str, &'a str)],
    /// Whole seconds, from 1 to [`MAX_EXPIRY`]; a fraction is cut off.
    pub(super) expires_in: Duration,
}

/// A signed request.
pub(super) struct Presigned {
    pub(super) url: String,
    pub(super) expires_at: SystemTime,
}

/// What a request without a body carries to show who sends it.
pub(super) struct Authorization {
    /// `x-amz-date`.
    pub(super) date: String,
    /// `x-amz-security-token`, of temporary credentials.
    pub(super) token: Option<Secret>,
    /// `authorization`.
    pub(super) authorization: String,
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
    pub(super) fn new(credentials: AccessKey, region: String) -> Self {
        let encode = |token: &Secret| {
            // Never more than three bytes for one: no smaller copy is left behind by growing.
            let mut encoded = Zeroizing::new(String::with_capacity(3 * token.expose().len()));
            encoded.extend(percent_encode(token.expose(), QUERY));
            encoded
        };
        let encoded_token = credentials.session_token.as_ref().map(encode);
        Self { credentials, encoded_token, region, today: RwLock::new(None) }
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
        let day = self.day(seconds / SECONDS_PER_DAY)?;
        let time = time_of_day(seconds % SECONDS_PER_DAY);
        let time = std::str::from_utf8(&time).expect("digits are ASCII");

        let token = self.encoded_token.as_ref().map_or(0, |token| token.len());
        let mut url = String::with_capacity(512 + request.path.len() + token);
        for part in [request.scheme, "://", request.host, request.path, "?"] {
            url.push_str(part);
        }
        let query_at = url.len();
        self.push_query(&mut url, request, &day, time, lifetime);

        let mut digest = Sha256::new();
        digest_canonical_request(&mut digest, request, &url[query_at..]);
        url.push_str("&X-Amz-Signature=");
        let signature = day.sign(time, digest);
        url.push_str(std::str::from_utf8(&signature).expect("hexadecimal digits are ASCII"));
        // The life of the URL begins with the whole second that it names.
        let expires_at = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds + lifetime);
        Ok(Presigned { url, expires_at })
    }

    /// Signs a request without a body and without a query, to be sent now.
    pub(super) fn authorize(
        &self,
        method: &str,
        host: &str,
        path: &str,
        now: SystemTime,
    ) -> Result<Authorization, CannotPresign> {
        let since = now.duration_since(SystemTime::UNIX_EPOCH).map_err(|_| CannotPresign::Clock)?;
        let day = self.day(since.as_secs() / SECONDS_PER_DAY)?;
        let time = time_of_day(since.as_secs() % SECONDS_PER_DAY);
        let time = std::str::from_utf8(&time).expect("digits are ASCII");
        let date = format!("{}{time}", day.date());
        let token = self.credentials.session_token.clone();

        let mut digest = Sha256::new();
        for part in [method, "\n", path, "\n\nhost:", host, "\nx-amz-content-sha256:", NOTHING] {
            digest.update(part);
        }
        for part in ["\nx-amz-date:", &date, "\n"] {
            digest.update(part);
        }
        let signed_headers = match &token {
            Some(token) => {
                digest.update("x-amz-security-token:");
                digest.update(token.expose());
                digest.update("\n");
                "host;x-amz-content-sha256;x-amz-date;x-amz-security-token"
            }
            None => "host;x-amz-content-sha256;x-amz-date",
        };
        for part in ["\n", signed_headers, "\n", NOTHING] {
            digest.update(part);
        }
        let signature = day.sign(time, digest);
        let authorization = format!(
            "{ALGORITHM} Credential={}/{}, SignedHeaders={signed_headers}, Signature={}",
            self.credentials.access_key_id,
            day.scope,
            std::str::from_utf8(&signature).expect("hexadecimal digits are ASCII"),
        );
        Ok(Authorization { date, token, authorization })
    }

    /// Writes the canonical query: the parameters of the signature, but for the signature, and
    /// those of the request, encoded and in the order of their names.
    fn push_query(
        &self,
        url: &mut String,
        request: &Presign<'_>,
        day: &Day,
        time: &str,
        lifetime: u64,
    ) {
        for part in [
            "X-Amz-Algorithm=",
            ALGORITHM,
            "&X-Amz-Credential=",
            &day.encoded_credential,
            "&X-Amz-Date=",
            day.date(),
            time,
            "&X-Amz-Expires=",
            &lifetime.to_string(),
        ] {
            url.push_str(part);
        }
        if let Some(token) = &self.encoded_token {
            url.push_str("&X-Amz-Security-Token=");
            url.push_str(token);
        }
        url.push_str("&X-Amz-SignedHeaders=");
        for (index, (name, _)) in signed_headers(request).enumerate() {
            url.push_str(if index > 0 { "%3B" } else { "" });
            url.push_str(name);
        }
        debug_assert!(request.query.is_sorted(), "the order of the canonical query");
        for (name, value) in request.query {
            debug_assert!(name.starts_with(|c: char| c.is_ascii_lowercase()), "after X-Amz-…");
            url.push('&');
            url.extend(utf8_percent_encode(name, QUERY));
            url.push('=');
            url.extend(utf8_percent_encode(value, QUERY));
        }
    }

    /// What belongs to a day, made on its first use.
    fn day(&self, number: u64) -> Result<Arc<Day>, CannotPresign> {
        let cached = self.today.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(today) = cached.as_ref().filter(|today| today.number == number) {
            return Ok(Arc::clone(today));
        }
        drop(cached);
        let today = Arc::new(self.begin_day(number)?);
        *self.today.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&today));
        Ok(today)
    }

    fn begin_day(&self, number: u64) -> Result<Day, CannotPresign> {
        let date = date(number).ok_or(CannotPresign::Clock)?;
        let scope = format!("{date}/{}/{SERVICE}/aws4_request", self.region);
        let credential = format!("{}/{scope}", self.credentials.access_key_id);
        let encoded_credential = utf8_percent_encode(&credential, QUERY).to_string();
        let mac = hmac_with(&*self.signing_key(&date));
        Ok(Day { number, scope, encoded_credential, mac })
    }

    fn signing_key(&self, date: &str) -> Zeroizing<[u8; 32]> {
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

impl Day {
    /// `20130524`.
    fn date(&self) -> &str {
        &self.scope[..8]
    }

    /// The signature of a canonical request, in hexadecimal.
    fn sign(&self, time: &str, canonical_request: Sha256) -> [u8; 64] {
        let mut mac = self.mac.clone();
        for part in [ALGORITHM, "\n", self.date(), time, "\n", &self.scope, "\n"] {
            mac.update(part.as_bytes());
        }
        mac.update(&hex(&canonical_request.finalize().into()));
        hex(&mac.finalize().into_bytes().into())
    }
}

/// All signed headers, `Host` in its place among them.
fn signed_headers<'a>(request: &Presign<'a>) -> impl Iterator<Item = (&'a str, &'a str)> {
    debug_assert!(request.headers.is_sorted(), "the order of the canonical headers");
    let (before, after) =
        request.headers.split_at(request.headers.partition_point(|(name, _)| *name < "host"));
    before.iter().copied().chain([("host", request.host)]).chain(after.iter().copied())
}

/// Digests the canonical request, whose query is given.
fn digest_canonical_request(digest: &mut Sha256, request: &Presign<'_>, query: &str) {
    for part in [request.method, "\n", request.path, "\n", query, "\n"] {
        digest.update(part);
    }
    for (name, value) in signed_headers(request) {
        debug_assert!(value.trim() == value && !value.contains("  "), "canonical values");
        for part in [name, ":", value, "\n"] {
            digest.update(part);
        }
    }
    for (index, (name, _)) in signed_headers(request).enumerate() {
        digest.update(if index > 0 { ";" } else { "\n" });
        digest.update(name);
    }
    digest.update("\nUNSIGNED-PAYLOAD");
}

/// `20130524`.
fn date(days: u64) -> Option<String> {
    let seconds = days.checked_mul(SECONDS_PER_DAY)?;
    let timestamp = jiff::Timestamp::from_second(seconds.try_into().ok()?).ok()?;
    let utc = jiff::tz::Offset::UTC.to_datetime(timestamp);
    Some(format!("{:04}{:02}{:02}", utc.year(), utc.month(), utc.day()))
}

/// `T235959Z`.
fn time_of_day(seconds: u64) -> [u8; 8] {
    let mut text = *b"T000000Z";
    let fields = [seconds / 3600, seconds / 60 % 60, seconds % 60];
    for (digits, field) in text[1..7].chunks_exact_mut(2).zip(fields) {
        digits[0] += (field / 10 % 10) as u8;
        digits[1] += (field % 10) as u8;
    }
    text
}

fn hmac_with(key: &[u8]) -> Hmac<Sha256> {
    Hmac::new_from_slice(key).expect("HMAC takes keys of any length")
}

fn hmac(key: &[u8], message: &[u8]) -> Zeroizing<[u8; 32]> {
    Zeroizing::new(hmac_with(key).chain_update(message).finalize().into_bytes().into())
}

fn hex(bytes: &[u8; 32]) -> [u8; 64] {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut text = [0; 64];
    for (pair, byte) in text.chunks_exact_mut(2).zip(bytes) {
        pair[0] = DIGITS[usize::from(byte >> 4)];
        pair[1] = DIGITS[usize::from(byte & 15)];
    }
    text
}

#[cfg(test)]
mod tests {
    use aws_credential_types::Credentials;
    use aws_sigv4::http_request::{
        PayloadChecksumKind, PercentEncodingMode, SignableBody, SignableRequest, SignatureLocation,
        SigningParams, SigningSettings, UriPathNormalizationMode, sign,
    };
    use aws_sigv4::sign::v4;
    use aws_smithy_runtime_api::client::identity::Identity;
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

    fn credentials(token: Option<&str>) -> AccessKey {
        AccessKey {
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

    fn identity(token: Option<&str>) -> Identity {
        let secret = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";
        let token = token.map(str::to_owned);
        Credentials::new("AKIAIOSFODNN7EXAMPLE", secret, token, None, "test").into()
    }

    fn settings(location: SignatureLocation) -> SigningSettings {
        let mut settings = SigningSettings::default();
        settings.signature_location = location;
        settings.percent_encoding_mode = PercentEncodingMode::Single;
        settings.uri_path_normalization_mode = UriPathNormalizationMode::Disabled;
        settings.payload_checksum_kind = PayloadChecksumKind::NoHeader;
        settings
    }

    fn params(
        identity: &Identity,
        settings: SigningSettings,
        now: SystemTime,
    ) -> SigningParams<'_> {
        let params = v4::SigningParams::builder()
            .identity(identity)
            .region("us-east-1")
            .name("s3")
            .time(now)
            .settings(settings);
        params.build().unwrap().into()
    }

    /// The headers that the `aws-sigv4` crate adds to a request without a body.
    fn reference_headers(
        path: &str,
        token: Option<&str>,
        now: SystemTime,
    ) -> Vec<(String, String)> {
        let identity = identity(token);
        let mut settings = settings(SignatureLocation::Headers);
        settings.payload_checksum_kind = PayloadChecksumKind::XAmzSha256;
        let url = format!("https://s3.example.com{path}");
        let body = SignableBody::Bytes(b"");
        let signable = SignableRequest::new("GET", &url, std::iter::empty(), body).unwrap();
        let signed = sign(signable, &params(&identity, settings, now)).unwrap();
        let (instructions, _) = signed.into_parts();
        let (headers, _) = instructions.into_parts();
        let headers = headers.into_iter();
        let mut headers: Vec<_> =
            headers.map(|header| (header.name().to_owned(), header.value().to_owned())).collect();
        headers.sort();
        headers
    }

    /// What the `aws-sigv4` crate makes of the same request: every query parameter, and the
    /// signature among them.
    fn reference(
        request: &Presign<'_>,
        token: Option<&str>,
        now: SystemTime,
    ) -> Vec<(String, String)> {
        let identity = identity(token);
        let mut settings = settings(SignatureLocation::QueryParams);
        settings.expires_in = Some(request.expires_in);
        let params = params(&identity, settings, now);
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
        fn a_read_equals_the_aws_sigv4_crate(
            key in "[a-zA-Z][a-zA-Z0-9 +%~._=&ü漢'()*!-]{0,20}(/[a-z ]{1,9}){0,2}",
            token in proptest::option::of("[A-Za-z0-9+/=]{1,90}"),
            seconds in 0u64..4_102_444_800,
        ) {
            let path = crate::domain::StoragePath::from_listing(&key).to_url_path().into_owned();
            let (path, token) = (format!("/bucket/{path}"), token.as_deref());
            let now = at(seconds);
            let signed = presigner(token).authorize("GET", "s3.example.com", &path, now).unwrap();
            let token = signed.token.as_ref().map(|token| token.expose_str().unwrap().to_owned());
            let mut headers = vec![
                ("authorization".to_owned(), signed.authorization),
                ("x-amz-content-sha256".to_owned(), NOTHING.to_owned()),
                ("x-amz-date".to_owned(), signed.date),
            ];
            headers.extend(token.clone().map(|token| ("x-amz-security-token".to_owned(), token)));
            prop_assert_eq!(headers, reference_headers(&path, token.as_deref(), now));
        }

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
            let mut headers = Vec::from_iter(size.as_deref().map(|size| ("content-length", size)));
            headers.push(("content-type", media_type.as_str()));
            headers.extend(create_once.then_some(("if-none-match", "*")));
            headers.extend(checksum.as_deref().map(|sum| ("x-amz-checksum-sha256", sum)));
            let number = part.as_ref().map(|(number, _)| number.to_string());
            let mut query = vec![];
            if let (Some(number), Some((_, upload))) = (&number, &part) {
                query = vec![("partNumber", number.as_str()), ("uploadId", upload.as_str())];
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

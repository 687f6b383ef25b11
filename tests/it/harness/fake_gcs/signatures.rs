//! Verifies what Google verifies: V4 signatures of URLs and tokens of service accounts. Written
//! after Google's description of the canonical request, with no line in common with what signs.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::{HeaderMap, Method};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use ring::rand::SystemRandom;
use ring::signature::{
    KeyPair as _, RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_SHA256, RsaKeyPair, UnparsedPublicKey,
};
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::pki_types::pem::PemObject as _;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

const ALGORITHM: &str = "GOOG4-RSA-SHA256";
const LONGEST_LIFE: u64 = 7 * 24 * 3600;
/// How far the clocks of clients may be ahead.
const SKEW: Duration = Duration::from_secs(15 * 60);
const UNRESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// A service account as the server knows it.
pub struct Account {
    email: String,
    pair: RsaKeyPair,
}

/// A request as far as it is signed.
pub struct Signed<'a> {
    pub method: &'a Method,
    /// As it came, encoded.
    pub path: &'a str,
    pub query: &'a str,
    pub headers: &'a HeaderMap,
    pub now: SystemTime,
}

impl Account {
    /// The account of a key file: its public half.
    pub fn of(key_file: &str) -> Self {
        let file: Value = serde_json::from_str(key_file).unwrap();
        let pem = file["private_key"].as_str().unwrap();
        let der = PrivatePkcs8KeyDer::from_pem_slice(pem.as_bytes()).unwrap();
        let pair = RsaKeyPair::from_pkcs8(der.secret_pkcs8_der()).unwrap();
        Self { email: file["client_email"].as_str().unwrap().to_owned(), pair }
    }

    /// Signs as Google does for an account whose key it keeps.
    pub fn sign(&self, message: &[u8]) -> Vec<u8> {
        let mut signature = vec![0; self.pair.public().modulus_len()];
        self.pair
            .sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), message, &mut signature)
            .expect("the key signs");
        signature
    }

    fn signed(&self, message: &[u8], signature: &[u8]) -> bool {
        let key = UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, self.pair.public_key());
        key.verify(message, signature).is_ok()
    }

    /// Whether the account signed this request, and it still holds. The error is the code of the
    /// answer.
    pub fn verify_url(&self, request: &Signed<'_>) -> Result<(), &'static str> {
        let malformed = "AuthenticationRequired";
        let wrong = "SignatureDoesNotMatch";
        let mut pairs = decoded(request.query);
        let signature = pairs.remove("X-Goog-Signature").and_then(|hex| unhex(&hex));
        let signature = signature.ok_or(malformed)?;
        let get = |name: &str| pairs.get(name).cloned().ok_or(malformed);
        let (date, names) = (get("X-Goog-Date")?, get("X-Goog-SignedHeaders")?);
        let (day, life) = (date.get(..8).ok_or(malformed)?, get("X-Goog-Expires")?);
        let scope = format!("{day}/auto/storage/goog4_request");
        let is_ours = get("X-Goog-Credential")? == format!("{}/{scope}", self.email);
        if get("X-Goog-Algorithm")? != ALGORITHM || !is_ours {
            return Err(malformed);
        }
        let query: Vec<_> = pairs
            .iter()
            .map(|(name, value)| format!("{}={}", encode(name), encode(value)))
            .collect();
        let headers = canonical_headers(request.headers, &names)?;
        let canonical = format!(
            "{}\n{}\n{}\n{headers}\n{names}\nUNSIGNED-PAYLOAD",
            request.method,
            request.path,
            query.join("&")
        );
        let hash = hex(&Sha256::digest(canonical));
        let message = format!("{ALGORITHM}\n{date}\n{scope}\n{hash}");
        if !self.signed(message.as_bytes(), &signature) {
            return Err(wrong);
        }
        let life: u64 = life.parse().map_err(|_| malformed)?;
        let begins = seconds(&date).ok_or(malformed)?;
        let ends = begins + Duration::from_secs(life);
        if life > LONGEST_LIFE || request.now + SKEW < begins || request.now >= ends {
            return Err("ExpiredToken");
        }
        Ok(())
    }

    /// Whether an `Authorization` is a token that the account signed for the objects of storage.
    pub fn verify_bearer(&self, authorization: &str, now: SystemTime) -> Option<()> {
        let token = authorization.strip_prefix("Bearer ")?;
        let (message, signature) = token.rsplit_once('.')?;
        if !self.signed(message.as_bytes(), &url_safe(signature)?) {
            return None;
        }
        let (_, claims) = message.split_once('.')?;
        let claims: Value = serde_json::from_slice(&url_safe(claims)?).ok()?;
        let now = now.duration_since(UNIX_EPOCH).ok()?.as_secs();
        let holds = claims["iat"].as_u64()? <= now && now < claims["exp"].as_u64()?;
        let scope = "https://www.googleapis.com/auth/devstorage.read_write";
        (holds && claims["iss"] == self.email && claims["scope"] == scope).then_some(())
    }
}

/// The signed headers, as they came. Every `x-goog-…` header must be among them.
fn canonical_headers(headers: &HeaderMap, names: &str) -> Result<String, &'static str> {
    let signed: Vec<_> = names.split(';').collect();
    let mine = |name: &&http::HeaderName| name.as_str().starts_with("x-goog-");
    if headers.keys().filter(mine).any(|name| !signed.contains(&name.as_str())) {
        return Err("SignatureDoesNotMatch");
    }
    let mut text = String::new();
    for name in signed {
        let values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
        let value = values.collect::<Vec<_>>().join(",");
        let value = value.split_whitespace().collect::<Vec<_>>().join(" ");
        text.push_str(&format!("{name}:{value}\n"));
    }
    Ok(text)
}

pub fn decoded(query: &str) -> BTreeMap<String, String> {
    let decode = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
    let pairs = query.split('&').filter(|pair| !pair.is_empty());
    pairs
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .map(|(name, value)| (decode(name), decode(value)))
        .collect()
}

/// Everything but the unreserved characters of RFC 3986.
pub fn encode(text: &str) -> String {
    utf8_percent_encode(text, UNRESERVED).to_string()
}

fn seconds(date: &str) -> Option<SystemTime> {
    let time = jiff::fmt::strtime::parse("%Y%m%dT%H%M%SZ", date).ok()?.to_datetime().ok()?;
    Some(time.to_zoned(jiff::tz::TimeZone::UTC).ok()?.timestamp().into())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digits: Vec<u8> =
        text.chars().map(|c| c.to_digit(16).map(|digit| digit as u8)).collect::<Option<_>>()?;
    let pairs = digits.chunks_exact(2);
    pairs.remainder().is_empty().then(|| digits.chunks(2).map(|d| d[0] << 4 | d[1]).collect())
}

fn url_safe(text: &str) -> Option<Vec<u8>> {
    let padding = "=".repeat((4 - text.len() % 4) % 4);
    let standard = text.replace('-', "+").replace('_', "/");
    aws_smithy_types::base64::decode(standard + &padding).ok()
}

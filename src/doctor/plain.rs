//! A client without credentials, as a browser or a phone is one.

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::header::CONTENT_LENGTH;
use http::response::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode};
use http_body::Body;
use http_body_util::{BodyExt as _, Limited};
use url::{Position, Url};

use crate::storage::SignedRequest;
use crate::upstream::{Client, Origin, SendError, Timeouts};

/// Longer than a gateway waits: an answer that comes late says more than none.
const TIMEOUTS: Timeouts =
    Timeouts { connect: Duration::from_secs(5), first_byte: Duration::from_secs(15) };

/// How much of a body is read, in bytes, and for how long. The probe and the XML of an error are
/// far smaller.
const MAX_BODY_BYTES: usize = 64 * 1024;
const BODY_LIMIT: Duration = Duration::from_secs(10);

/// How much of a provider's message is shown, in characters.
const MAX_MESSAGE_CHARS: usize = 160;

const BUCKET_REGION: HeaderName = HeaderName::from_static("x-amz-bucket-region");

/// An answer, and when it came.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    body: Bytes,
    pub(super) came_at: SystemTime,
}

/// Sends a request to a URL, signed or not. The address policy of the process holds here too.
pub(super) async fn send(
    client: &Client,
    method: Method,
    url: &str,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Answer, SendError> {
    let url = Url::parse(url).map_err(|error| SendError::Protocol(error.into()))?;
    let origin = Origin::from_url(&url).map_err(|error| SendError::Protocol(error.into()))?;
    let target = &url[Position::BeforePath..];
    let mut request = Request::new(body.clone());
    *request.method_mut() = method;
    *request.uri_mut() = target.parse().map_err(|_| SendError::Protocol("not a URL".into()))?;
    *request.headers_mut() = headers;
    if !body.is_empty() {
        request.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(body.len()));
    }
    let response = client.send(&origin, request, &TIMEOUTS).await?;
    let came_at = SystemTime::now();
    let (Parts { status, headers, .. }, body) = response.into_parts();
    // An answer whose body breaks off is an answer all the same: its head says what counts.
    let body = read(body).await.unwrap_or_default();
    Ok(Answer { status, headers, body, came_at })
}

/// Reads a body that must be small and must end; a text says what it did instead.
pub(super) async fn read<B>(body: B) -> Result<Bytes, String>
where
    B: Body<Data = Bytes>,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let whole = tokio::time::timeout(BODY_LIMIT, Limited::new(body, MAX_BODY_BYTES).collect());
    match whole.await {
        Ok(Ok(whole)) => Ok(whole.to_bytes()),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err(format!("the body did not end within {} s", BODY_LIMIT.as_secs())),
    }
}

/// The headers that a signed request asks for.
pub(super) fn headers_of(signed: &SignedRequest) -> HeaderMap {
    let named = signed.headers.iter().filter_map(|(name, value)| {
        let name = HeaderName::try_from(*name).ok()?;
        Some((name, HeaderValue::try_from(value.as_str()).ok()?))
    });
    named.collect()
}

impl Answer {
    /// The provider's code of the error; empty if there is none.
    pub(super) fn code(&self) -> &str {
        self.xml_text("Code")
    }

    /// Whether it is a no to the request, and not to asking so often or so slowly.
    pub(super) fn is_refusal(&self) -> bool {
        self.status.is_client_error()
            && self.status != StatusCode::TOO_MANY_REQUESTS
            && self.status != StatusCode::REQUEST_TIMEOUT
    }

    /// What came of the body.
    pub(super) fn body(&self) -> &Bytes {
        &self.body
    }

    /// Status and code.
    pub(super) fn brief(&self) -> String {
        let code: String = self.code().chars().take(MAX_MESSAGE_CHARS).map(printable).collect();
        format!("{} {code}", self.status.as_u16()).trim_end().to_owned()
    }

    /// Status, code and message, in one line.
    pub(super) fn summary(&self) -> String {
        let mut line = self.status.as_u16().to_string();
        for part in [self.code(), self.xml_text("Message")] {
            if !part.is_empty() {
                line.push(' ');
                line.extend(part.chars().take(MAX_MESSAGE_CHARS).map(printable));
            }
        }
        // What Amazon says to whoever asks in the wrong region.
        let region = match self.header(BUCKET_REGION) {
            region if self.status.is_redirection() => region,
            _ => self.xml_text("Region"),
        };
        if !region.is_empty() {
            line.push_str(" (the bucket is in the region ");
            line.extend(region.chars().take(MAX_MESSAGE_CHARS).map(printable));
            line.push(')');
        }
        line
    }

    /// A header as text; empty if there is none.
    pub(super) fn header(&self, name: HeaderName) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    /// Whether the header lists this member, or `*`.
    pub(super) fn lists(&self, name: HeaderName, member: &str) -> bool {
        let values = self.headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
        let mut members = values.flat_map(|value| value.split(',')).map(str::trim);
        members.any(|known| known == "*" || known.eq_ignore_ascii_case(member))
    }

    /// The text of the first element of that name in an XML error.
    fn xml_text(&self, element: &str) -> &str {
        let body = std::str::from_utf8(&self.body).unwrap_or_default();
        let (open, close) = (format!("<{element}>"), format!("</{element}>"));
        let inside = body.split_once(&open).and_then(|(_, rest)| rest.split_once(&close));
        inside.map_or("", |(text, _)| text.trim())
    }
}

fn printable(c: char) -> char {
    if c.is_control() { ' ' } else { c }
}

#[cfg(test)]
mod tests {
    use http::header::ACCESS_CONTROL_ALLOW_HEADERS;

    use super::*;

    fn answer(body: &str, headers: &[(HeaderName, &'static str)]) -> Answer {
        Answer {
            status: StatusCode::FORBIDDEN,
            headers: headers
                .iter()
                .map(|(name, value)| (name.clone(), HeaderValue::from_static(value)))
                .collect(),
            body: Bytes::copy_from_slice(body.as_bytes()),
            came_at: SystemTime::UNIX_EPOCH,
        }
    }

    #[test]
    fn an_error_is_told_in_one_line_and_without_what_was_signed() {
        let xml = "<Error><Code>SignatureDoesNotMatch</Code><Message>The\nsignature</Message>\
                   <StringToSign>AWS4-HMAC-SHA256 …</StringToSign></Error>";
        assert_eq!(answer(xml, &[]).summary(), "403 SignatureDoesNotMatch The signature");
        assert_eq!(answer("<html>", &[]).summary(), "403");
        let named = [(BUCKET_REGION, "eu-west-1")];
        let elsewhere = Answer {
            status: StatusCode::MOVED_PERMANENTLY,
            ..answer("<Code>PermanentRedirect</Code>", &named)
        };
        let told = "301 PermanentRedirect (the bucket is in the region eu-west-1)";
        assert_eq!(elsewhere.summary(), told);
        assert_eq!(answer("<Code>AccessDenied</Code>", &named).summary(), "403 AccessDenied");
        let malformed = "<Code>AuthorizationQueryParametersError</Code><Region>eu-west-1</Region>";
        assert!(answer(malformed, &[]).summary().ends_with("the region eu-west-1)"));
    }

    #[test]
    fn a_list_is_read_in_any_case_and_over_several_lines() {
        let name = ACCESS_CONTROL_ALLOW_HEADERS;
        let two = [(name.clone(), "X-One, Content-Type"), (name.clone(), "etag")];
        assert!(answer("", &two).lists(name.clone(), "content-type"));
        assert!(answer("", &two).lists(name.clone(), "ETag"));
        assert!(!answer("", &two).lists(name.clone(), "x"));
        assert!(answer("", &[(name.clone(), "*")]).lists(name, "anything"));
    }
}

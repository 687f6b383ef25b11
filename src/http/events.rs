//! Where storage pushes its events. No app has these paths: a name cannot begin with `_`.

use std::time::SystemTime;

use bytes::Bytes;
use http::header::{CACHE_CONTROL, HeaderName, HeaderValue};
use http::{HeaderMap, Method, Response, StatusCode};
use http_body::Body;

use crate::background::events::{MAX_DOCUMENT_BYTES, Push, PushRefusal};
use crate::domain::EventSource;

use super::body::{ReplyBody, read_bytes};
use super::error::Problem;
use super::identity::bearer;

/// What a webhook proves itself with where it cannot set `Authorization`.
const WEBHOOK_SECRET: HeaderName = HeaderName::from_static("x-safelight-webhook-secret");

/// The source whose events come to a path.
pub(super) fn source_of(path: &str) -> Option<EventSource> {
    match path {
        "/darkroom/_events/pubsub" => Some(EventSource::PubSub),
        "/darkroom/_events/webhook" => Some(EventSource::Webhook),
        _ => None,
    }
}

/// The name of the route, for logs.
pub(super) const fn route_of(source: EventSource) -> &'static str {
    match source {
        EventSource::PubSub => "events_pubsub",
        EventSource::Webhook => "events_webhook",
        EventSource::Sqs => "none",
    }
}

/// The path, for traces.
pub(super) const fn path_of(source: EventSource) -> &'static str {
    match source {
        EventSource::PubSub => "/darkroom/_events/pubsub",
        EventSource::Webhook => "/darkroom/_events/webhook",
        EventSource::Sqs => "",
    }
}

/// Takes an event: who sends it, then a place, then what it says.
pub(super) async fn handle<B>(
    push: &Push,
    source: EventSource,
    head: &http::request::Parts,
    body: B,
) -> Result<Response<ReplyBody>, Problem>
where
    B: Body<Data = Bytes> + Unpin,
{
    if head.method != Method::POST {
        return Err(Problem::MethodNotAllowed { allow: "POST" });
    }
    let credential = credential(source, &head.headers);
    let admitted = push.admit(source, credential, SystemTime::now()).await?;
    let document = read_bytes(&head.headers, body, MAX_DOCUMENT_BYTES).await?;
    admitted.handle(&document, SystemTime::now()).await?;
    let mut response = Response::new(ReplyBody::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

/// What the sender proves itself with; `None` also if it is said twice.
fn credential(source: EventSource, headers: &HeaderMap) -> Option<&str> {
    let only = |name: &HeaderName| {
        let mut values = headers.get_all(name).iter();
        let value = values.next()?;
        values.next().is_none().then(|| value.to_str().ok())?
    };
    let bearer = bearer(headers).ok().flatten();
    match source {
        EventSource::Webhook => bearer.or_else(|| only(&WEBHOOK_SECRET)),
        EventSource::PubSub | EventSource::Sqs => bearer,
    }
}

impl From<PushRefusal> for Problem {
    fn from(refusal: PushRefusal) -> Self {
        match refusal {
            PushRefusal::UnknownSender => Self::UnknownRoute,
            PushRefusal::Unauthenticated => Self::Unauthenticated,
            PushRefusal::Overloaded => Self::Overloaded,
            PushRefusal::Malformed(malformed) => Self::InvalidJson(malformed.to_string()),
            PushRefusal::Failed(error) => Self::Action(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials() {
        let bearer = ("authorization", "Bearer token");
        let secret = ("x-safelight-webhook-secret", "secret");
        let (webhook, pubsub) = (EventSource::Webhook, EventSource::PubSub);
        for (source, headers, expected) in [
            (pubsub, vec![], None),
            (pubsub, vec![bearer], Some("token")),
            (pubsub, vec![("authorization", "bearer token")], Some("token")),
            (pubsub, vec![("authorization", "Basic token")], None),
            (pubsub, vec![("authorization", "token")], None),
            (pubsub, vec![bearer, bearer], None),
            (pubsub, vec![secret], None),
            (webhook, vec![secret], Some("secret")),
            (webhook, vec![bearer], Some("token")),
            (webhook, vec![bearer, secret], Some("token")),
            (webhook, vec![secret, secret], None),
        ] {
            let mut map = HeaderMap::new();
            for (name, value) in &headers {
                map.append(*name, HeaderValue::from_static(value));
            }
            assert_eq!(credential(source, &map), expected, "{source:?} {headers:?}");
        }
    }
}

//! The front before fake-gcs-server: it verifies every signature and token, enforces what was
//! signed, and speaks the XML API.
//!
//! fake-gcs-server 1.54 verifies nothing. Of the XML API it reads objects; its writes answer in
//! JSON without an ETag, its deletions know no condition, and its listings no pages. So the front
//! asks for these through the JSON API, and answers as Google's reference says.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, DATE};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use percent_encoding::percent_decode_str;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::Mutex;

use super::BUCKET;
use super::google::Google;
use super::manners::Manners;
use super::signatures::{Account, Signed, decoded, encode};
use crate::harness::plain_client::{Answer, Plain};

const LENGTH_RANGE: &str = "x-goog-content-length-range";
const IF_GENERATION: &str = "x-goog-if-generation-match";

/// What reads pass on of fake-gcs-server's answers.
const PASSED_ON: [&str; 8] = [
    "content-type",
    "content-length",
    "content-range",
    "etag",
    "last-modified",
    "x-goog-generation",
    "x-goog-stored-content-length",
    "x-goog-stored-content-encoding",
];

pub struct Front {
    /// Where fake-gcs-server is.
    peer: String,
    account: Account,
    manners: Manners,
    /// Whose tokens are accepted besides those that the account's key signs.
    google: Option<Arc<Google>>,
    /// Held by whoever looks at an object and then changes it.
    writing: Mutex<()>,
}

/// A request, read whole.
struct Received {
    method: Method,
    object: String,
    query: String,
    headers: HeaderMap,
    body: Bytes,
}

type Reply = Result<Response<Full<Bytes>>, Refusal>;

/// A status and the code that goes with it.
struct Refusal(u16, &'static str);

impl Received {
    fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }
}

impl Front {
    pub fn new(peer: String, key_file: &str, manners: Manners) -> Self {
        let account = Account::of(key_file);
        Self { peer, account, manners, google: None, writing: Mutex::new(()) }
    }

    /// Accepts the tokens that are handed out there, too.
    pub fn trusting(self, google: Arc<Google>) -> Self {
        Self { google: Some(google), ..self }
    }

    fn lets_in(&self, authorization: &str, now: SystemTime) -> bool {
        let handed_out = self.google.as_ref().is_some_and(|google| google.lets_in(authorization));
        handed_out || self.account.verify_bearer(authorization, now).is_some()
    }

    /// Serves until the runtime ends. Gives the endpoint.
    pub async fn serve(self) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let endpoint = format!("http://{}", listener.local_addr().expect("it is bound"));
        let front = Arc::new(self);
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let front = Arc::clone(&front);
                let service = service_fn(move |request| {
                    let front = Arc::clone(&front);
                    async move { Ok::<_, Infallible>(front.answer(request).await) }
                });
                let connection = hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(socket), service);
                tokio::spawn(connection);
            }
        });
        endpoint
    }

    async fn answer(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let is_head = request.method() == Method::HEAD;
        if request.method() == Method::OPTIONS {
            let mut response = Response::new(Full::default());
            response.headers_mut().extend(self.manners.preflight(request.headers()));
            return response;
        }
        let cors = self.manners.answer(request.headers());
        let mut response = self.answer_to(request, is_head).await;
        response.headers_mut().extend(cors);
        let date = HeaderValue::from_str(&httpdate::fmt_http_date(self.now())).unwrap();
        response.headers_mut().insert(DATE, date);
        response
    }

    fn now(&self) -> SystemTime {
        SystemTime::now() + self.manners.clock_ahead
    }

    async fn answer_to(&self, request: Request<Incoming>, is_head: bool) -> Response<Full<Bytes>> {
        match self.reply(request).await {
            Ok(response) => response,
            Err(Refusal(status, code)) => {
                let document = format!(
                    "<?xml version='1.0' encoding='UTF-8'?><Error><Code>{code}</Code>\
                     <Message>What happened.</Message></Error>"
                );
                let body = if is_head { Bytes::new() } else { document.into() };
                let response = Response::builder().status(status);
                response.header(CONTENT_TYPE, "application/xml").body(Full::new(body)).unwrap()
            }
        }
    }

    async fn reply(&self, request: Request<Incoming>) -> Reply {
        let (head, body) = request.into_parts();
        let body = body.collect().await.map_err(|_| Refusal(400, "IncompleteBody"))?.to_bytes();
        let (path, query) = (head.uri.path(), head.uri.query().unwrap_or_default());
        let now = self.now();
        if query.contains("X-Goog-Signature=") {
            let (method, headers) = (&head.method, &head.headers);
            let signed = Signed { method, path, query, headers, now };
            self.account
                .verify_url(&signed)
                .map_err(|code| Refusal(if code == "ExpiredToken" { 400 } else { 403 }, code))?;
        } else {
            let authorization = head.headers.get(AUTHORIZATION);
            let token = authorization.and_then(|value| value.to_str().ok());
            if !token.is_some_and(|token| self.lets_in(token, now)) {
                return Err(Refusal(401, "AuthenticationRequired"));
            }
        }
        let (bucket, object) =
            path.trim_start_matches('/').split_once('/').unwrap_or((&path[1..], ""));
        if bucket != BUCKET {
            return Err(Refusal(404, "NoSuchBucket"));
        }
        let object = percent_decode_str(object).decode_utf8_lossy().into_owned();
        let query = query.to_owned();
        let received = Received { method: head.method, object, query, headers: head.headers, body };
        match (&received.method, received.object.as_str()) {
            (&Method::GET, "") => self.list(&received).await,
            (&Method::GET | &Method::HEAD, _) => self.read(&received).await,
            (&Method::PUT, _) => self.write(&received).await,
            (&Method::DELETE, _) => self.delete(&received).await,
            _ => Err(Refusal(405, "MethodNotAllowed")),
        }
    }

    async fn read(&self, request: &Received) -> Reply {
        let name = encode(&request.object);
        let url = format!("{}/download/storage/v1/b/{BUCKET}/o/{name}", self.peer);
        let range = request.header("range");
        let found =
            Plain::new(request.method.clone(), url).with_header("Range", range).send().await;
        match found.status.as_u16() {
            404 if self.manners.denies_list => return Err(Refusal(403, "AccessDenied")),
            404 => return Err(Refusal(404, "NoSuchKey")),
            _ => {}
        }
        let names = |header: &str| {
            let list = request.header(header)?;
            Some(list.split(", ").any(|tag| tag == found.header("etag")))
        };
        if names("if-match") == Some(false) {
            return Err(Refusal(412, "PreconditionFailed"));
        }
        let mut response = Response::builder();
        if names("if-none-match") == Some(true) {
            response = response.status(StatusCode::NOT_MODIFIED);
            return Ok(response.body(Full::default()).unwrap());
        }
        response = response.status(found.status);
        for name in PASSED_ON {
            if let Some(value) = found.headers.get(name) {
                response = response.header(name, value);
            }
        }
        Ok(response.body(Full::new(found.body)).unwrap())
    }

    async fn write(&self, request: &Received) -> Reply {
        if let Some(range) = request.header(LENGTH_RANGE)
            && !self.manners.ignores.contains(&LENGTH_RANGE)
        {
            let (least, most) = range.split_once(',').ok_or(Refusal(400, "InvalidArgument"))?;
            let number = |text: &str| text.parse().map_err(|_| Refusal(400, "InvalidArgument"));
            let (least, most): (usize, usize) = (number(least)?, number(most)?);
            match request.body.len() {
                length if length < least => return Err(Refusal(400, "EntityTooSmall")),
                length if length > most => return Err(Refusal(400, "EntityTooLarge")),
                _ => {}
            }
        }
        let _writing = self.writing.lock().await;
        self.check_generation(request).await?;
        let name = encode(&request.object);
        let url =
            format!("{}/upload/storage/v1/b/{BUCKET}/o?uploadType=media&name={name}", self.peer);
        let written = Plain::new(Method::POST, url)
            .with_header("Content-Type", request.header("content-type"))
            .with_body(request.body.clone())
            .send()
            .await;
        written.assert_success();
        let object = written.json();
        let response = Response::builder()
            .header("etag", format!("\"{}\"", text(&object, "etag")))
            .header("x-goog-generation", text(&object, "generation"));
        Ok(response.body(Full::default()).unwrap())
    }

    async fn delete(&self, request: &Received) -> Reply {
        let _writing = self.writing.lock().await;
        self.check_generation(request).await?;
        let deleted = self.object(Method::DELETE, &request.object).await;
        if deleted.status == 404 {
            return Err(Refusal(404, "NoSuchKey"));
        }
        deleted.assert_success();
        Ok(Response::builder().status(StatusCode::NO_CONTENT).body(Full::default()).unwrap())
    }

    /// Whether the object is in the state that the request asks for: 0 is none.
    async fn check_generation(&self, request: &Received) -> Result<(), Refusal> {
        let Some(wanted) = request.header(IF_GENERATION) else { return Ok(()) };
        if self.manners.ignores.contains(&IF_GENERATION) {
            return Ok(());
        }
        let found = self.object(Method::GET, &request.object).await;
        let current = match found.status.as_u16() {
            404 => "0".to_owned(),
            _ => text(&found.json(), "generation").to_owned(),
        };
        if current == wanted { Ok(()) } else { Err(Refusal(412, "PreconditionFailed")) }
    }

    async fn list(&self, request: &Received) -> Reply {
        let asked = decoded(&request.query);
        let get = |name: &str| asked.get(name).map(String::as_str).unwrap_or_default();
        if self.manners.denies_list {
            return Err(Refusal(403, "AccessDenied"));
        }
        if get("list-type") != "2" || get("encoding-type") != "url" {
            return Err(Refusal(400, "InvalidArgument"));
        }
        let mut url = format!(
            "{}/storage/v1/b/{BUCKET}/o?prefix={}&maxResults={}",
            self.peer,
            encode(get("prefix")),
            get("max-keys")
        );
        if asked.contains_key("continuation-token") {
            url.push_str(&format!("&pageToken={}", encode(get("continuation-token"))));
        }
        let answer = Plain::new(Method::GET, url).send().await;
        answer.assert_success();
        let page = answer.json();
        let mut document = "<?xml version='1.0' encoding='UTF-8'?><ListBucketResult \
            xmlns='http://doc.s3.amazonaws.com/2006-03-01'><EncodingType>url</EncodingType>"
            .to_owned();
        let next = page["nextPageToken"].as_str().filter(|token| !token.is_empty());
        document.push_str(&format!("<IsTruncated>{}</IsTruncated>", next.is_some()));
        if let Some(next) = next {
            document.push_str(&format!("<NextContinuationToken>{next}</NextContinuationToken>"));
        }
        for object in page["items"].as_array().into_iter().flatten() {
            document.push_str(&format!(
                "<Contents><Key>{}</Key><LastModified>{}</LastModified>\
                 <ETag>&quot;{}&quot;</ETag><Size>{}</Size></Contents>",
                encode(text(object, "name")),
                text(object, "updated"),
                text(object, "etag"),
                text(object, "size"),
            ));
        }
        document.push_str("</ListBucketResult>");
        Ok(Response::new(Full::new(document.into())))
    }

    /// Asks for an object's record, or to delete it.
    async fn object(&self, method: Method, name: &str) -> Answer {
        let url = format!("{}/storage/v1/b/{BUCKET}/o/{}", self.peer, encode(name));
        Plain::new(method, url).send().await
    }
}

fn text<'a>(object: &'a Value, field: &str) -> &'a str {
    object[field].as_str().unwrap_or_else(|| panic!("{field} is a string in {object}"))
}

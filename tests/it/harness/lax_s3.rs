//! A front before SeaweedFS that is as lax as some servers that speak S3: it forgives what the server
//! refuses, keeps headers back, and lets strangers in.
//!
//! Requests pass as they came, `Host` and all, so that signatures hold.

use std::convert::Infallible;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, ETAG, HOST};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, Uri};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::handshake;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use percent_encoding::percent_decode_str;
use safelight::domain::StoragePath;
use safelight::storage::{GetOptions, ObjectStore as _, S3Config, S3Store};
use tokio::net::{TcpListener, TcpStream};

use super::seaweed::open;

/// What the front does otherwise than the server behind it.
#[derive(Clone, Default)]
pub struct Manners {
    /// Signed PUTs that are refused with one of these are accepted all the same.
    pub forgives: &'static [u16],
    /// PUTs with this header are refused with this status.
    pub refuses: Option<(&'static str, u16)>,
    /// The headers that answers have lost: those whose names begin so.
    pub keeps_back: &'static [&'static str],
    /// What is done for those without credentials.
    pub lets_strangers: &'static [Deed],
}

/// What a client wants.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Deed {
    Write,
    Read,
    List,
}

struct Front {
    manners: Manners,
    behind: S3Config,
    store: S3Store,
}

/// Puts a front before a bucket, for as long as the test's runtime lives. Gives its settings.
pub async fn before(bucket: &S3Config, manners: Manners) -> S3Config {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let endpoint = format!("http://{}", listener.local_addr().expect("it is bound"));
    let store = open(bucket.clone());
    let front = Arc::new(Front { manners, behind: bucket.clone(), store });
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
    S3Config { endpoint: Some(endpoint.parse().expect("a URL")), ..bucket.clone() }
}

impl Front {
    async fn answer(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let (head, body) = request.into_parts();
        let body = body.collect().await.expect("clients of tests end their bodies").to_bytes();
        let (method, uri, headers) = (head.method, head.uri, head.headers);
        let is_signed = uri.query().is_some_and(|query| query.contains("X-Amz-Signature="));
        let is_stranger = !is_signed && !headers.contains_key(AUTHORIZATION);
        if let Some((name, status)) = self.manners.refuses
            && headers.contains_key(name)
        {
            let document = "<Error><Code>Refused</Code></Error>";
            return Response::builder().status(status).body(Full::new(document.into())).unwrap();
        }
        let mut answer = self.ask(&method, &uri, &headers, &body).await;
        let status = answer.status().as_u16();
        let deed = self.deed(&method, &uri);
        let is_forgiven = is_signed && self.manners.forgives.contains(&status);
        if is_forgiven && deed == Some(Deed::Write)
            || is_stranger && deed.is_some_and(|deed| self.manners.lets_strangers.contains(&deed))
        {
            answer = self.carry_out(deed.expect("it is one"), &uri, &headers, body).await;
        }
        let kept_back: Vec<HeaderName> = answer
            .headers()
            .keys()
            .filter(|name| self.manners.keeps_back.iter().any(|k| name.as_str().starts_with(k)))
            .cloned()
            .collect();
        for name in kept_back {
            answer.headers_mut().remove(name);
        }
        answer
    }

    /// What the server says.
    async fn ask(
        &self,
        method: &Method,
        uri: &Uri,
        headers: &HeaderMap,
        body: &Bytes,
    ) -> Response<Full<Bytes>> {
        let endpoint = self.behind.endpoint.as_ref().expect("the tests' stores have endpoints");
        let address = endpoint.socket_addrs(|| None).expect("it has host and port");
        let stream = TcpStream::connect(&*address).await.expect("the server listens");
        let (mut sender, connection) = handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        let mut request = Request::new(Full::new(body.clone()));
        *request.method_mut() = method.clone();
        *request.uri_mut() = uri.clone();
        *request.headers_mut() = headers.clone();
        assert!(headers.contains_key(HOST));
        let (mut head, body) = sender.send_request(request).await.unwrap().into_parts();
        let bytes = body.collect().await.unwrap().to_bytes();
        if method != Method::HEAD {
            head.headers.remove("content-length");
            head.headers.remove("transfer-encoding");
        }
        Response::from_parts(head, Full::new(bytes))
    }

    fn deed(&self, method: &Method, uri: &Uri) -> Option<Deed> {
        let is_bucket = self.object(uri).is_empty();
        match *method {
            Method::PUT => Some(Deed::Write),
            Method::GET if is_bucket => Some(Deed::List),
            Method::GET => Some(Deed::Read),
            _ => None,
        }
    }

    /// The name of the object that is meant; empty for the bucket.
    fn object(&self, uri: &Uri) -> String {
        let bucket = format!("/{}/", self.behind.bucket);
        let name = uri.path().strip_prefix(&bucket).unwrap_or_default();
        percent_decode_str(name).decode_utf8_lossy().into_owned()
    }

    /// Does what is asked for, with the front's own credentials.
    async fn carry_out(
        &self,
        deed: Deed,
        uri: &Uri,
        headers: &HeaderMap,
        body: Bytes,
    ) -> Response<Full<Bytes>> {
        let path = StoragePath::from_listing(&self.object(uri));
        let mut response = Response::new(Full::default());
        match deed {
            Deed::Write => {
                let media_type = headers[CONTENT_TYPE].to_str().unwrap();
                let etag = self.store.put(&path, media_type, body).await.unwrap().etag;
                let etag = HeaderValue::from_str(etag.expect("it has one").as_str()).unwrap();
                response.headers_mut().insert(ETAG, etag);
            }
            Deed::Read => {
                let read = self.store.get(&path, &GetOptions::default()).await.unwrap();
                *response.body_mut() = Full::new(read.body.collect().await.unwrap().to_bytes());
            }
            Deed::List => {
                *response.body_mut() = Full::new("<ListBucketResult></ListBucketResult>".into());
            }
        }
        response
    }
}

//! The store's signed URLs: how they are made, and the server that they lead to. A signature covers
//! method, path, query and the headers that the query names, with their values.

use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use hmac::{Hmac, KeyInit as _, Mac as _};
use http::{HeaderMap, Method, Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use percent_encoding::percent_decode_str;
use safelight::domain::{ContentRange, RangeRequest, StoragePath};
use safelight::storage::{PartGrant, PutGrant, SignedRequest};
use sha2::{Digest as _, Sha256};
use tokio::net::TcpListener;
use url::form_urlencoded;

use super::contents::Contents;

/// Nobody else has these URLs.
const SECRET: &[u8] = b"a secret of the tests";

const CHECKSUM: &str = "x-amz-checksum-sha256";

/// Where the signed URLs lead to.
pub struct Front {
    base: String,
}

/// A status and the code that goes with it.
type Refusal = (u16, &'static str);

impl Front {
    pub async fn serve(contents: Arc<Mutex<Contents>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let base = format!("http://{}", listener.local_addr().expect("it is bound"));
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let contents = Arc::clone(&contents);
                let service = service_fn(move |request| {
                    let contents = Arc::clone(&contents);
                    async move { Ok::<_, Infallible>(answer(&contents, request).await) }
                });
                let connection = hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(socket), service);
                tokio::spawn(connection);
            }
        });
        Self { base }
    }

    pub fn sign_put(&self, grant: &PutGrant<'_>, now: SystemTime) -> SignedRequest {
        let mut signed = vec![("content-type", grant.media_type.as_str().to_owned())];
        let mut headers = vec![("Content-Type", grant.media_type.as_str().to_owned())];
        if let Some(size) = grant.size {
            // HTTP clients set it themselves.
            signed.push(("content-length", size.to_string()));
        }
        if grant.prevent_overwrite {
            signed.push(("if-none-match", "*".to_owned()));
            headers.push(("If-None-Match", "*".to_owned()));
        }
        if let Some(sum) = grant.sha256 {
            let sum = aws_smithy_types::base64::encode(sum);
            signed.push((CHECKSUM, sum.clone()));
            headers.push((CHECKSUM, sum));
        }
        let url = self.url("PUT", grant.path, "", &signed, now + grant.expires_in);
        SignedRequest { url, headers, expires_at: whole_seconds(now + grant.expires_in) }
    }

    pub fn sign_part(&self, grant: &PartGrant<'_>, now: SystemTime) -> SignedRequest {
        let query = format!("partNumber={}&uploadId={}&", grant.number, grant.upload.0);
        let sum = grant.sha256.map(|sum| (CHECKSUM, aws_smithy_types::base64::encode(sum)));
        let headers: Vec<_> = sum.into_iter().collect();
        let signed = [&[("content-length", grant.size.to_string())], &headers[..]].concat();
        let expires_at = now + grant.expires_in;
        let url = self.url("PUT", grant.path, &query, &signed, expires_at);
        SignedRequest { url, headers, expires_at: whole_seconds(expires_at) }
    }

    pub fn sign_get(&self, path: &StoragePath, expires_at: SystemTime) -> SignedRequest {
        let url = self.url("GET", path, "", &[], expires_at);
        SignedRequest { url, headers: Vec::new(), expires_at: whole_seconds(expires_at) }
    }

    fn url(
        &self,
        method: &str,
        path: &StoragePath,
        query: &str,
        headers: &[(&str, String)],
        expires_at: SystemTime,
    ) -> String {
        let names: Vec<&str> = headers.iter().map(|(name, _)| *name).collect();
        let expires = seconds(expires_at);
        let query = format!("{query}Expires={expires}&Headers={}", names.join(","));
        let path = format!("/{}", path.to_url_path());
        let values: Vec<&str> = headers.iter().map(|(_, value)| value.as_str()).collect();
        let signature = signature(method, &path, &query, &values);
        format!("{}{path}?{query}&Signature={signature}", self.base)
    }
}

async fn answer(contents: &Mutex<Contents>, request: Request<Incoming>) -> Response<Full<Bytes>> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.map(http_body_util::Collected::to_bytes);
    let done = body.map_err(|_| (400, "IncompleteBody")).and_then(|body| {
        let (uri, headers) = (&head.uri, &head.headers);
        let (path, query) = (uri.path(), uri.query().unwrap_or_default());
        verify(&head.method, path, query, headers)?;
        let name = percent_decode_str(&path[1..]).decode_utf8();
        let name = name.map_err(|_| (400, "InvalidURI"))?;
        // Nothing else is ever signed.
        if head.method == Method::GET {
            return read(contents, &name, headers);
        }
        let etag = write(contents, &name, query, headers, body)?;
        Ok(Response::builder().header("etag", etag).body(Full::default()).unwrap())
    });
    done.unwrap_or_else(|(status, code)| {
        let document = format!("<Error><Code>{code}</Code></Error>");
        Response::builder().status(status).body(Full::new(document.into())).unwrap()
    })
}

/// Reads an object or a part of it.
fn read(
    contents: &Mutex<Contents>,
    name: &str,
    headers: &HeaderMap,
) -> Result<Response<Full<Bytes>>, Refusal> {
    let contents = contents.lock().expect("no test panics while it holds the store");
    let object = contents.object(name).map_err(|_| (404, "NoSuchKey"))?;
    let meta = &object.meta;
    let range = headers.get("range").and_then(|value| value.to_str().ok());
    let range = range.and_then(RangeRequest::parse);
    let range = range.map(|range| range.resolve(meta.size).ok_or((416, "InvalidRange")));
    let content_type = meta.content_type.as_deref().unwrap_or("application/octet-stream");
    let etag = meta.etag.as_ref().expect("every object has a tag").as_str();
    let answer = Response::builder().header("content-type", content_type).header("etag", etag);
    Ok(match range.transpose()? {
        None => answer.body(Full::new(object.body.clone())).unwrap(),
        Some(range) => {
            let held = ContentRange { range, total: meta.size }.to_string();
            let answer = answer.status(206).header("content-range", held);
            answer.body(Full::new(object.part(range))).unwrap()
        }
    })
}

fn verify(method: &Method, path: &str, query: &str, headers: &HeaderMap) -> Result<(), Refusal> {
    let (signed, given) = query.split_once("&Signature=").ok_or((403, "AccessDenied"))?;
    let names = parameter(query, "Headers").ok_or((403, "AccessDenied"))?;
    let values = names.split(',').filter(|name| !name.is_empty()).map(|name| {
        let value = headers.get(name).and_then(|value| value.to_str().ok());
        value.ok_or((403, "AccessDenied"))
    });
    let values = values.collect::<Result<Vec<_>, _>>()?;
    if signature(method.as_str(), path, signed, &values) != given {
        return Err((403, "SignatureDoesNotMatch"));
    }
    let expires: u64 = parameter(query, "Expires").and_then(|e| e.parse().ok()).unwrap_or(0);
    if seconds(SystemTime::now()) >= expires {
        return Err((403, "AccessDenied"));
    }
    Ok(())
}

/// Writes an object or a part; gives its tag.
fn write(
    contents: &Mutex<Contents>,
    name: &str,
    query: &str,
    headers: &HeaderMap,
    body: Bytes,
) -> Result<String, Refusal> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    if let Some(sum) = text(CHECKSUM)
        && sum != aws_smithy_types::base64::encode(Sha256::digest(&body))
    {
        return Err((400, "BadDigest"));
    }
    let mut contents = contents.lock().expect("no test panics while it holds the store");
    if let Some(upload) = parameter(query, "uploadId") {
        let number = parameter(query, "partNumber").and_then(|number| number.parse().ok());
        let part = number.ok_or((400, "InvalidArgument"))?;
        let upload_of = contents.upload(name, &upload).map_err(|_| (404, "NoSuchUpload"))?;
        if upload_of.checksums != text(CHECKSUM).is_some() {
            return Err((400, "InvalidRequest"));
        }
        let etag = contents.put_part(name, &upload, part, body).ok_or((404, "NoSuchUpload"))?;
        return Ok(etag.as_str().to_owned());
    }
    if text("if-none-match") == Some("*") && contents.objects.contains_key(name) {
        return Err((412, "PreconditionFailed"));
    }
    let meta = contents.put(name, text("content-type").map(str::to_owned), body);
    Ok(meta.etag.expect("every object has a tag").as_str().to_owned())
}

fn signature(method: &str, path: &str, query: &str, values: &[&str]) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(SECRET).expect("a key of any length");
    mac.update([&[method, path, query], values].concat().join("\n").as_bytes());
    mac.finalize().into_bytes().iter().map(|b| format!("{b:02x}")).collect()
}

fn parameter(query: &str, name: &str) -> Option<String> {
    let mut pairs = form_urlencoded::parse(query.as_bytes());
    pairs.find(|(key, _)| key == name).map(|(_, value)| value.into_owned())
}

fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).expect("it is later than 1970").as_secs()
}

/// URLs tell the time in whole seconds.
fn whole_seconds(time: SystemTime) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(seconds(time))
}

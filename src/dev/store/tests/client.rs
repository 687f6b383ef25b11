//! A store on a temporary folder, and a client that signs with the field's own signer and speaks
//! plain HTTP.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials;
use aws_sigv4::http_request::{
    PayloadChecksumKind, PercentEncodingMode, SignableBody, SignableRequest, SignatureLocation,
    SigningSettings, UriPathNormalizationMode, sign,
};
use aws_sigv4::sign::v4;
use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use tempfile::TempDir;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::dev::store::{DevStore, DevStoreOptions};
use crate::domain::{Secret, StoragePath};

pub(super) const ACCESS_KEY: &str = "DEVKEY";
pub(super) const SECRET_KEY: &str = "dev-secret";
pub(super) const BUCKET: &str = "media";

/// A running store.
pub(super) struct Running {
    pub(super) dir: Arc<TempDir>,
    pub(super) address: SocketAddr,
    stop: oneshot::Sender<()>,
    served: JoinHandle<()>,
}

/// A whole answer.
pub(super) struct Reply {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

/// How a request is signed.
#[derive(Clone)]
pub(super) struct Signer {
    pub(super) access_key: &'static str,
    pub(super) secret_key: &'static str,
    pub(super) at: SystemTime,
}

impl Default for Signer {
    fn default() -> Self {
        Self { access_key: ACCESS_KEY, secret_key: SECRET_KEY, at: SystemTime::now() }
    }
}

pub(super) fn options() -> DevStoreOptions {
    DevStoreOptions {
        access_key: ACCESS_KEY.to_owned(),
        secret_key: Secret::new(SECRET_KEY),
        buckets: vec![BUCKET.to_owned()],
        cors_origins: vec!["https://app.example".to_owned()],
    }
}

impl Running {
    pub(super) async fn start() -> Self {
        Self::on(Arc::new(tempfile::tempdir().unwrap())).await
    }

    async fn on(dir: Arc<TempDir>) -> Self {
        let store = DevStore::open(dir.path(), options()).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel::<()>();
        let served = tokio::spawn(store.serve(listener, async {
            let _ = stopped.await;
        }));
        Self { dir, address, stop, served }
    }

    /// Stops the store and opens its folder again.
    pub(super) async fn restart(self) -> Self {
        Self::on(self.stop().await).await
    }

    pub(super) async fn stop(self) -> Arc<TempDir> {
        self.stop.send(()).unwrap();
        self.served.await.unwrap();
        self.dir
    }

    /// Sends a request as it is and leaves the body on its way.
    pub(super) async fn open(&self, mut request: Request<Bytes>) -> Response<Incoming> {
        let stream = TcpStream::connect(self.address).await.unwrap();
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        let host = self.address.to_string().parse().unwrap();
        request.headers_mut().insert(http::header::HOST, host);
        sender.send_request(request.map(Full::new)).await.unwrap()
    }

    /// Sends a request as it is.
    pub(super) async fn send(&self, request: Request<Bytes>) -> Reply {
        let (head, body) = self.open(request).await.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        Reply { status: head.status, headers: head.headers, body }
    }

    /// Signs a request in its header, and sends it.
    pub(super) async fn signed(&self, request: Request<Bytes>) -> Reply {
        self.signed_by(&Signer::default(), request, None).await
    }

    /// Signs a request in its header, with what is to stand for its body, and sends it.
    pub(super) async fn signed_by(
        &self,
        signer: &Signer,
        request: Request<Bytes>,
        body: Option<SignableBody<'_>>,
    ) -> Reply {
        self.send(self.sign(signer, request, body)).await
    }

    /// Signs a request in its header.
    pub(super) fn sign(
        &self,
        signer: &Signer,
        mut request: Request<Bytes>,
        body: Option<SignableBody<'_>>,
    ) -> Request<Bytes> {
        let bytes = request.body().clone();
        let body = body.unwrap_or(SignableBody::Bytes(&bytes));
        let mut settings = settings();
        settings.payload_checksum_kind = PayloadChecksumKind::XAmzSha256;
        let instructions = self.instructions(signer, settings, &request, body);
        instructions.apply_to_request_http1x(&mut request);
        request
    }

    /// Signs the URL of a request, with the header fields that it has, and sends nothing.
    pub(super) fn presign(
        &self,
        signer: &Signer,
        request: Request<Bytes>,
        expires_in: Duration,
    ) -> Request<Bytes> {
        let mut settings = settings();
        settings.signature_location = SignatureLocation::QueryParams;
        settings.expires_in = Some(expires_in);
        let mut request = request;
        let instructions =
            self.instructions(signer, settings, &request, SignableBody::UnsignedPayload);
        instructions.apply_to_request_http1x(&mut request);
        request
    }

    fn instructions(
        &self,
        signer: &Signer,
        settings: SigningSettings,
        request: &Request<Bytes>,
        body: SignableBody<'_>,
    ) -> aws_sigv4::http_request::SigningInstructions {
        let identity = Credentials::from_keys(signer.access_key, signer.secret_key, None).into();
        let params = v4::SigningParams::builder()
            .identity(&identity)
            .region("us-east-1")
            .name("s3")
            .time(signer.at)
            .settings(settings)
            .build()
            .unwrap()
            .into();
        let url = format!("http://{}{}", self.address, request.uri());
        let headers = request.headers().iter().map(|(n, v)| (n.as_str(), v.to_str().unwrap()));
        let signable = SignableRequest::new(request.method().as_str(), url, headers, body).unwrap();
        sign(signable, &params).unwrap().into_parts().0
    }

    /// How many blobs there are.
    pub(super) fn blobs(&self) -> usize {
        std::fs::read_dir(self.dir.path().join("blobs")).unwrap().count()
    }
}

fn settings() -> SigningSettings {
    let mut settings = SigningSettings::default();
    settings.percent_encoding_mode = PercentEncodingMode::Single;
    settings.uri_path_normalization_mode = UriPathNormalizationMode::Disabled;
    settings
}

impl Reply {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    pub(super) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    /// Every text of an XML element.
    pub(super) fn all(&self, element: &str) -> Vec<&str> {
        let (open, close) = (format!("<{element}>"), format!("</{element}>"));
        self.text().split(&*open).skip(1).map(|rest| rest.split(&*close).next().unwrap()).collect()
    }

    /// The status, and the code of an S3 error.
    pub(super) fn verdict(&self) -> (u16, &str) {
        let code = if self.status.is_success() { None } else { self.all("Code").first().copied() };
        (self.status.as_u16(), code.unwrap_or_default())
    }
}

/// The path of an object, with a query.
pub(super) fn url(key: &str, query: &str) -> String {
    format!("/{BUCKET}/{}{query}", StoragePath::from_listing(key).to_url_path())
}

/// A request for an object.
pub(super) fn request(method: &str, key: &str, headers: &[(&str, &str)]) -> Request<Bytes> {
    with_body(method, &url(key, ""), headers, "")
}

/// A PUT of an object.
pub(super) fn put(key: &str, body: impl Into<Bytes>, headers: &[(&str, &str)]) -> Request<Bytes> {
    with_body("PUT", &url(key, ""), headers, body)
}

pub(super) fn with_body(
    method: &str,
    uri: &str,
    headers: &[(&str, &str)],
    body: impl Into<Bytes>,
) -> Request<Bytes> {
    let mut request = Request::builder().method(method).uri(uri);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(body.into()).unwrap()
}

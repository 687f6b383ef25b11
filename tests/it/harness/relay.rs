//! A server that keeps what is sent to it until a test passes it on: a sender that must be told
//! where to send before the gateway is there, and a network in which things are lost, doubled and
//! reordered at will.

use bytes::Bytes;
use http::{Method, Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::sync::mpsc;

use super::plain_client::Plain;

/// Something that was sent.
#[derive(Debug, Clone)]
pub struct Sent {
    pub authorization: String,
    pub body: Bytes,
}

pub struct Relay {
    pub url: String,
    sent: mpsc::UnboundedReceiver<Sent>,
}

impl Relay {
    /// Starts; it ends with the runtime of the test.
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("http://{}/", listener.local_addr().expect("a bound socket"));
        let (sender, sent) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let sender = sender.clone();
                let take = service_fn(move |request| take(request, sender.clone()));
                tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), take));
            }
        });
        Self { url, sent }
    }

    /// The next that was sent.
    pub async fn next(&mut self) -> Sent {
        self.sent.recv().await.expect("the relay runs")
    }
}

async fn take(
    request: Request<Incoming>,
    sender: mpsc::UnboundedSender<Sent>,
) -> Result<Response<Full<Bytes>>, hyper::Error> {
    let authorization = request.headers().get("authorization");
    let authorization = authorization.map_or("", |value| value.to_str().unwrap_or_default());
    let authorization = authorization.to_owned();
    let body = request.into_body().collect().await?.to_bytes();
    // A test that has ended wants no more.
    let _ = sender.send(Sent { authorization, body });
    Ok(Response::new(Full::default()))
}

impl Sent {
    /// The same, to somebody else.
    pub fn to(&self, url: String) -> Plain {
        Plain::new(Method::POST, url)
            .with_header("Authorization", Some(&self.authorization))
            .with_header("Content-Type", Some("application/json"))
            .with_body(self.body.clone())
    }
}

//! The least that an answer costs in this stack: hyper and tokio, on one thread, with answers that are
//! ready made. A subject of `bench/run hits` and `presign`: `floor PORT FILE`.
//!
//! The file has four answers in JSON, which the gateway gave: to a whole read, to one of a range, to one
//! of what has not changed, and to a POST. Each has a status, headers, and the path of its body.

#![allow(clippy::print_stdout)]

use std::convert::Infallible;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{IF_NONE_MATCH, RANGE};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use tokio::net::TcpListener;

/// An answer as the file has it.
#[derive(Deserialize)]
struct Written {
    status: u16,
    headers: Vec<(String, String)>,
    body: Option<String>,
}

/// What the file has. What is not asked for may be missing.
#[derive(Deserialize)]
struct Answers<T> {
    whole: Option<T>,
    range: Option<T>,
    unmodified: Option<T>,
    post: Option<T>,
}

/// An answer as it is given: made once, its body shared.
struct Made {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
}

fn main() {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let [port, path] = &arguments[..] else {
        return println!("used by `bench/run`: see bench/README.md");
    };
    let Ok(port) = port.parse() else {
        return println!("{port} is no port");
    };
    let text = std::fs::read_to_string(path).expect("the file of answers");
    let written: Answers<Written> = serde_json::from_str(&text).expect("answers");
    let answers = Answers {
        whole: written.whole.map(make),
        range: written.range.map(make),
        unmodified: written.unmodified.map(make),
        post: written.post.map(make),
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("an event queue").block_on(run(port, Arc::new(answers)));
}

fn make(written: Written) -> Made {
    let header = |(name, value): &(String, String)| {
        let name = HeaderName::from_bytes(name.as_bytes()).expect("a name");
        (name, HeaderValue::from_str(value).expect("a value"))
    };
    Made {
        status: StatusCode::from_u16(written.status).expect("a status"),
        headers: written.headers.iter().map(header).collect(),
        body: written
            .body
            .map(|path| std::fs::read(path).expect("a body"))
            .unwrap_or_default()
            .into(),
    }
}

async fn run(port: u16, answers: Arc<Answers<Made>>) {
    let listener = TcpListener::bind(("127.0.0.1", port)).await.expect("the port is free");
    loop {
        let (stream, _) = listener.accept().await.expect("a connection");
        stream.set_nodelay(true).expect("an open connection");
        let answers = Arc::clone(&answers);
        let service = service_fn(move |request| answer(request, Arc::clone(&answers)));
        let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
        tokio::spawn(async move {
            // Clients hang up when a run is over.
            let _ = connection.await;
        });
    }
}

async fn answer(
    request: Request<Incoming>,
    answers: Arc<Answers<Made>>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let chosen = if request.method() == Method::POST {
        // Read to its end, as one must before the next request.
        let _ = request.into_body().collect().await;
        &answers.post
    } else if request.headers().contains_key(RANGE) {
        &answers.range
    } else if request.headers().contains_key(IF_NONE_MATCH) {
        &answers.unmodified
    } else {
        &answers.whole
    };
    let Some(made) = chosen else {
        let mut response = Response::new(Full::default());
        *response.status_mut() = StatusCode::NOT_FOUND;
        return Ok(response);
    };
    let mut response = Response::new(Full::new(made.body.clone()));
    *response.status_mut() = made.status;
    *response.headers_mut() = made.headers.clone();
    Ok(response)
}

//! The calls that order faults.

use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Limited};
use hyper::body::Incoming;

use super::board::Board;
use super::edge::Edge;
use super::fault::Order;
use super::{text, whole};
use crate::storage::ObjectBody;

/// The longest order, in bytes.
const MAX_ORDER: usize = 16 * 1024;

/// Answers a request to `/_faults`.
pub(super) async fn faults(board: &Board, request: Request<Incoming>) -> Response<ObjectBody> {
    match *request.method() {
        Method::GET => report(StatusCode::OK, board),
        Method::DELETE => {
            board.clear();
            report(StatusCode::OK, board)
        }
        Method::POST => match Limited::new(request.into_body(), MAX_ORDER).collect().await {
            Err(_) => text(StatusCode::PAYLOAD_TOO_LARGE, "A fault is a short JSON object."),
            Ok(body) => match Order::parse(&body.to_bytes()) {
                Err(complaint) => text(StatusCode::BAD_REQUEST, &complaint),
                Ok(order) => {
                    board.order(order);
                    report(StatusCode::CREATED, board)
                }
            },
        },
        _ => not_allowed("GET, POST, DELETE"),
    }
}

/// Answers a request to `/_cache`.
pub(super) fn cache(edge: &Edge, method: &Method) -> Response<ObjectBody> {
    if method != Method::DELETE {
        return not_allowed("DELETE");
    }
    edge.forget();
    text(StatusCode::OK, "The cache is empty.")
}

fn report(status: StatusCode, board: &Board) -> Response<ObjectBody> {
    let mut json = match serde_json::to_vec_pretty(&board.report()) {
        Ok(json) => json,
        Err(error) => return text(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string()),
    };
    json.push(b'\n');
    let mut response = Response::new(whole(json.into()));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

fn not_allowed(methods: &'static str) -> Response<ObjectBody> {
    let mut response = text(StatusCode::METHOD_NOT_ALLOWED, "Use one of the methods in Allow.");
    response.headers_mut().insert(ALLOW, HeaderValue::from_static(methods));
    response
}

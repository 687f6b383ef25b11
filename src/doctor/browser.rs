//! What a page needs to upload: an answer to the browser's preflight, and the tag of what it wrote.

use bytes::Bytes;
use http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_REQUEST_HEADERS, ACCESS_CONTROL_REQUEST_METHOD,
    ORIGIN,
};
use http::{HeaderMap, HeaderValue, Method};

use super::check::Finding;
use super::plain::{self, Answer};
use super::upload::page_of;
use super::{Examination, NO_PROBE};

const NO_PAGES: &str = "no [CORS] AllowedOrigins (try --origin)";
const APPLY: &str = "apply the CORS configuration below to the bucket";

pub(super) fn origin_allowed(exam: &Examination<'_>) -> Finding {
    let known = &exam.app.cors.allowed_origins;
    if exam.origins.is_empty() {
        return Finding::not_checked(NO_PAGES);
    }
    let allows = |origin: &String| known.iter().any(|known| known == "*" || known == origin);
    match exam.origins.iter().find(|origin| !allows(origin)) {
        None => Finding::pass(exam.origins.join(", ")),
        Some(other) => Finding::fail(
            format!("{other} is not among [CORS] AllowedOrigins"),
            format!("add \"{other}\" to [CORS] AllowedOrigins of the app's file"),
        ),
    }
}

pub(super) async fn preflight(exam: &Examination<'_>) -> Finding {
    if exam.origins.is_empty() {
        return Finding::not_checked(NO_PAGES);
    }
    if exam.put.is_none() {
        return Finding::not_checked(NO_PROBE);
    }
    for origin in &exam.origins {
        if let Err(why) = ask(exam, origin).await {
            return Finding::fail(format!("for {origin}: {why}"), APPLY);
        }
    }
    Finding::pass(format!("for {}", exam.origins.join(", ")))
}

/// Asks as a browser asks before a PUT whose client has declared whatever can be declared.
async fn ask(exam: &Examination<'_>, origin: &str) -> Result<(), String> {
    let signed = exam.sign_all(&exam.path("")).await?;
    // Browsers name them so: in lower case, sorted, without spaces (Fetch, "CORS-unsafe names").
    let mut names: Vec<String> =
        signed.headers.iter().map(|(name, _)| name.to_ascii_lowercase()).collect();
    names.sort_unstable();
    let page = page_of(origin).ok_or("not an origin")?;
    let mut headers = HeaderMap::new();
    headers.insert(ORIGIN, page.clone());
    headers.insert(ACCESS_CONTROL_REQUEST_METHOD, HeaderValue::from_static("PUT"));
    if let Ok(names) = HeaderValue::try_from(names.join(",")) {
        headers.insert(ACCESS_CONTROL_REQUEST_HEADERS, names);
    }
    let answer = plain::send(exam.client, Method::OPTIONS, &signed.url, headers, Bytes::new())
        .await
        .map_err(|error| error.to_string())?;
    judge(&answer, &page, &names)
}

/// What a browser makes of the answer to a preflight.
fn judge(answer: &Answer, page: &HeaderValue, names: &[String]) -> Result<(), String> {
    if !answer.status.is_success() {
        return Err(format!("the preflight is refused with {}", answer.summary()));
    }
    if !is_opened(answer, page) {
        return Err("Access-Control-Allow-Origin does not name it".into());
    }
    if !answer.lists(ACCESS_CONTROL_ALLOW_METHODS, "PUT") {
        return Err("Access-Control-Allow-Methods has no PUT".into());
    }
    match names.iter().find(|name| !answer.lists(ACCESS_CONTROL_ALLOW_HEADERS, name)) {
        Some(name) => Err(format!("Access-Control-Allow-Headers has no {name}")),
        None => Ok(()),
    }
}

fn is_opened(answer: &Answer, page: &HeaderValue) -> bool {
    let allowed = answer.headers.get(ACCESS_CONTROL_ALLOW_ORIGIN);
    allowed.is_some_and(|allowed| allowed == "*" || allowed == page)
}

/// Looks at the answer to the PUT that was really sent: a preflight says nothing of it.
pub(super) fn exposed_etag(exam: &Examination<'_>) -> Finding {
    let Some(origin) = exam.origins.first() else { return Finding::not_checked(NO_PAGES) };
    let Some(answer) = &exam.put else { return Finding::not_checked(NO_PROBE) };
    if !page_of(origin).is_some_and(|page| is_opened(answer, &page)) {
        let seen =
            format!("for {origin}: the answer to the PUT has no Access-Control-Allow-Origin");
        return Finding::fail(seen, APPLY);
    }
    if !answer.lists(ACCESS_CONTROL_EXPOSE_HEADERS, "etag") {
        let seen = format!("for {origin}: Access-Control-Expose-Headers has no ETag");
        return Finding::fail(seen, format!("{APPLY}: it exposes ETag"));
    }
    Finding::pass(format!("for {origin}"))
}

//! What is refused by the look of the request head alone, before anything is done for it.

use http::header::{EXPECT, HOST, HeaderName, HeaderValue, UPGRADE};
use http::request::Parts;
use http::uri::Authority;
use http::{HeaderMap, Version};

use crate::cdn::CDN_LOOP;

use super::ALL_METHODS;
use super::error::Problem;
use super::refusal::Refused;

/// The longest request target, in bytes.
pub const MAX_TARGET_BYTES: usize = 2048;

/// The largest head, in bytes: names, values, and the four that separate and end each line.
pub const MAX_HEAD_BYTES: usize = 16 * 1024;

/// Headers that few requests have, and that are looked at if one has any of them.
static RARE: [HeaderName; 3] = [EXPECT, UPGRADE, CDN_LOOP];

/// Checks a request head. What HTTP/1 says of the body's length was checked where its bytes were
/// still to be seen (`server/head.rs`).
///
/// # Errors
/// The first thing that is wrong with it.
pub fn check(request: &Parts, loop_token: &HeaderValue) -> Result<(), Problem> {
    if let Some(Refused(problem)) = request.extensions.get() {
        return Err(problem.clone());
    }
    let headers = &request.headers;
    let target = request.uri.path_and_query().map_or(0, |target| target.as_str().len());
    if target > MAX_TARGET_BYTES {
        return Err(Problem::UriTooLong);
    }
    let (mut size, mut has_rare) = (0, false);
    for (name, value) in headers {
        size += name.as_str().len() + value.len() + 4;
        has_rare |= RARE.contains(name);
    }
    if size > MAX_HEAD_BYTES {
        return Err(Problem::HeadersTooLarge);
    }
    check_host(request)?;
    if has_rare { check_rare(headers, loop_token) } else { Ok(()) }
}

/// Checks what few requests have.
fn check_rare(headers: &HeaderMap, loop_token: &HeaderValue) -> Result<(), Problem> {
    let is_met = |value: &HeaderValue| value.as_bytes().eq_ignore_ascii_case(b"100-continue");
    if !headers.get_all(EXPECT).iter().all(is_met) {
        return Err(Problem::ExpectationFailed);
    }
    if headers.get_all(UPGRADE).iter().any(|protocol| protocol != "h2c") {
        // Ignoring it is allowed, but a client that upgrades would then talk past us.
        return Err(Problem::MethodNotAllowed { allow: ALL_METHODS });
    }
    if comes_around(headers, loop_token) {
        return Err(Problem::LoopDetected);
    }
    Ok(())
}

/// Whom the request is for must be said once (RFC 9112 §3.2, RFC 9113 §8.3.1).
fn check_host(request: &Parts) -> Result<(), Problem> {
    let mut hosts = request.headers.get_all(HOST).iter();
    let (host, second) = (hosts.next(), hosts.next());
    if request.version == Version::HTTP_2 {
        let authority = request.uri.authority().map(Authority::as_str);
        let is_clear = match (authority, host) {
            // Names no user (RFC 9113 §8.3.1).
            (Some(authority), _) if authority.contains('@') => false,
            (Some(authority), Some(host)) => {
                host.as_bytes().eq_ignore_ascii_case(authority.as_bytes())
            }
            (named, host) => named.is_some() || host.is_some(),
        };
        return match is_clear && second.is_none() {
            true => Ok(()),
            false => Err(Problem::BadRequest("send :authority, and Host not at all or the same")),
        };
    }
    if second.is_some() || (host.is_none() && request.version == Version::HTTP_11) {
        return Err(Problem::BadRequest("send the Host header exactly once"));
    }
    Ok(())
}

/// Whether our own mark is among those of the CDNs that the request has passed (RFC 8586).
fn comes_around(headers: &HeaderMap, loop_token: &HeaderValue) -> bool {
    let Ok(own) = loop_token.to_str() else { return false };
    let passed = headers.get_all(CDN_LOOP).iter().filter_map(|value| value.to_str().ok());
    passed
        .flat_map(|value| value.split(','))
        .any(|member| member.split(';').next().is_some_and(|id| id.trim() == own))
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn request(headers: &[(&str, &str)]) -> Parts {
        let (mut request, ()) = Request::get("/x").body(()).unwrap().into_parts();
        for (name, value) in headers {
            let name: HeaderName = name.parse().unwrap();
            request.headers.append(name, value.parse().unwrap());
        }
        request
    }

    fn checked(headers: &[(&str, &str)]) -> Result<(), Problem> {
        check(&request(headers), &HeaderValue::from_static("safelight-1"))
    }

    #[test]
    fn heads() {
        let host = ("host", "media.example.com");
        let once = Problem::BadRequest("send the Host header exactly once");
        let no_upgrade = Problem::MethodNotAllowed { allow: ALL_METHODS };
        let big = "x".repeat(MAX_HEAD_BYTES);
        for (headers, expected) in [
            (vec![host], Ok(())),
            (vec![], Err(once.clone())),
            (vec![host, host], Err(once)),
            (vec![host, ("expect", "100-Continue")], Ok(())),
            (vec![host, ("expect", "200-ok")], Err(Problem::ExpectationFailed)),
            (vec![host, ("upgrade", "h2c")], Ok(())),
            (vec![host, ("upgrade", "h2c"), ("upgrade", "websocket")], Err(no_upgrade)),
            (vec![host, ("x-big", big.as_str())], Err(Problem::HeadersTooLarge)),
            (vec![host, ("cdn-loop", "cloudfront, safelight-1; v=1")], Err(Problem::LoopDetected)),
            (
                vec![host, ("cdn-loop", "cloudfront"), ("cdn-loop", "safelight-1")],
                Err(Problem::LoopDetected),
            ),
            (vec![host, ("cdn-loop", "safelight-2, safelight-10")], Ok(())),
        ] {
            assert_eq!(checked(&headers), expected, "{headers:?}");
        }
    }

    #[test]
    fn what_stands_for_a_refused_head_is_refused() {
        let mut request = request(&[("host", "h")]);
        request.extensions.insert(Refused(Problem::RequestTimeout));
        let checked = check(&request, &HeaderValue::from_static("safelight-1"));
        assert_eq!(checked, Err(Problem::RequestTimeout));
    }

    #[test]
    fn authorities_of_http_2() {
        let token = HeaderValue::from_static("safelight-1");
        for (uri, hosts, is_clear) in [
            ("https://media.example.com/x", vec![], true),
            ("https://media.example.com/x", vec!["MEDIA.example.com"], true),
            ("https://media.example.com/x", vec!["other.example.com"], false),
            ("https://media.example.com/x", vec!["media.example.com:443"], false),
            ("https://media.example.com/x", vec!["media.example.com", "media.example.com"], false),
            ("https://who@media.example.com/x", vec![], false),
            ("/x", vec!["media.example.com"], true),
            ("/x", vec!["media.example.com", "media.example.com"], false),
            ("/x", vec![], false),
        ] {
            let request = Request::get(uri).version(Version::HTTP_2).body(()).unwrap();
            let (mut request, ()) = request.into_parts();
            for host in &hosts {
                request.headers.append(HOST, host.parse().unwrap());
            }
            assert_eq!(check(&request, &token).is_ok(), is_clear, "{uri} {hosts:?}");
        }
    }

    #[test]
    fn targets() {
        let token = HeaderValue::from_static("safelight-1");
        let mut long = request(&[("host", "h")]);
        long.uri = format!("/{}", "x".repeat(2047)).parse().unwrap();
        assert_eq!(check(&long, &token), Ok(()));
        long.uri = format!("/{}?", "x".repeat(2047)).parse().unwrap();
        assert_eq!(check(&long, &token), Err(Problem::UriTooLong));
    }
}

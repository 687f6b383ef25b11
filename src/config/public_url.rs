//! The URL under which the world reaches the gateway.

use url::{Host, Url};

/// Parses a public base URL: `https://host[:port]`, without a path. Plain http is for development
/// only: with `http_on_loopback`, and for a host that is this machine.
///
/// # Errors
/// A text for the author of the file.
pub fn public_base_url(text: &str, http_on_loopback: bool) -> Result<Url, String> {
    let example = "write it like \"https://media.example.com\"";
    let url =
        Url::parse(text).map_err(|error| format!("this is not a URL ({error}); {example}"))?;
    let on_loopback = match url.host() {
        Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Some(Host::Ipv4(ip)) => ip.is_loopback(),
        Some(Host::Ipv6(ip)) => ip.is_loopback(),
        None => return Err(format!("the URL has no host; {example}")),
    };
    match url.scheme() {
        "https" => {}
        "http" if on_loopback && http_on_loopback => {}
        "http" if on_loopback => {
            return Err("plain http needs Server.AllowLoopbackUpstreams = true; it is for \
                        development"
                .to_owned());
        }
        _ => return Err(format!("the URL must begin with https://; {example}")),
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("the URL must not hold a user name or a password".to_owned());
    }
    if url.path() != "/" || url.query().is_some() || url.fragment().is_some() {
        return Err(format!("the URL must not have a path, a query or a fragment; {example}"));
    }
    Ok(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn https_and_nothing_but_a_host() {
        for (text, loopback, accepted) in [
            ("https://media.example.com", false, true),
            ("https://media.example.com/", false, true),
            ("https://media.example.com:8443", false, true),
            ("http://127.0.0.1:8080", true, true),
            ("http://localhost:8080", true, true),
            ("http://[::1]:8080", true, true),
            ("http://127.0.0.1:8080", false, false),
            ("http://media.example.com", true, false),
            ("ftp://media.example.com", true, false),
            ("https://media.example.com/images", false, false),
            ("https://media.example.com?x", false, false),
            ("https://media.example.com#x", false, false),
            ("https://user@media.example.com", false, false),
            ("https://:pass@media.example.com", false, false),
            ("media.example.com", false, false),
            ("data:text/plain,x", false, false),
            ("", false, false),
        ] {
            assert_eq!(public_base_url(text, loopback).is_ok(), accepted, "{text} {loopback}");
        }
    }
}

//! `[Tracing]`: who collects spans.

use std::path::Path;

use http::header::HeaderName;
use url::Url;

use crate::config::{Section, read_text};
use crate::domain::Secret;
use crate::traces::{Collector, SampleRatio};

/// Where a collector takes traces, behind the URL that is the same for all it takes (OTLP, "OTLP/HTTP
/// Request").
const PATH: &str = "v1/traces";

/// Headers that are not the operator's to set: they say how the request itself is made.
const OUR_OWN: [&str; 7] = [
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "host",
    "transfer-encoding",
    "user-agent",
];

/// A header that goes to the collector, which may be a key.
type Header = (HeaderName, Secret);

/// Reads the section; `None` where nobody collects.
pub(super) fn collector(section: &mut Section<'_>) -> Option<Collector> {
    let endpoint = section.key("OTLPEndpoint").text(endpoint);
    let ratio = section.key("SampleRatio").number().check(|share| match SampleRatio::new(*share) {
        Some(_) => Ok(()),
        None => Err("write a number from 0 to 1, such as 0.01"),
    });
    let service_name = section.key("ServiceName").text(service_name);
    let listed = section.key("Headers").texts(header);
    let filed = section.key("HeadersFile").text(headers_in_file);
    if listed.is_present() && filed.is_present() {
        let message = "Tracing.Headers and Tracing.HeadersFile are both set";
        section.error(filed.place(), message, Some("remove one of the two".to_owned()));
        return None;
    }
    let is_begun = section.is_written()
        || ratio.is_present()
        || service_name.is_present()
        || listed.is_present()
        || filed.is_present();
    if !is_begun && !endpoint.is_present() {
        return None;
    }
    let place = endpoint.place().clone();
    let url = endpoint.required("the URL of the collector, or \"\" for none")??;
    let headers = listed.optional().or(filed.optional()).unwrap_or_default();
    if !headers.is_empty() && url.scheme() != "https" && !is_this_machine(&url) {
        let message = "Tracing.Headers would go over the network in plain text";
        section.error(&place, message, Some("write an https: URL".to_owned()));
        return None;
    }
    Some(Collector {
        url,
        headers,
        service_name: service_name.or("safelight".to_owned()),
        sample_ratio: ratio.optional().and_then(SampleRatio::new).unwrap_or(SampleRatio::ALL),
    })
}

/// The collector's URL, to which the path of traces is added; `None` if there is to be none.
fn endpoint(text: &str) -> Result<Option<Url>, String> {
    if text.is_empty() {
        return Ok(None);
    }
    let mut url = Url::parse(text).map_err(|error| {
        format!("this is not a URL ({error}); write it like \"http://127.0.0.1:4318\"")
    })?;
    if !matches!(url.scheme(), "http" | "https") || url.host().is_none() {
        return Err("write an http: or https: URL, such as \"http://127.0.0.1:4318\"".to_owned());
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("the URL must not hold a user name or a password: see Headers".to_owned());
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err("the URL must not have a query or a fragment".to_owned());
    }
    if url.port() == Some(4317) {
        return Err("4317 is the port of OTLP over gRPC; spans are sent over HTTP, for which \
                    collectors have port 4318"
            .to_owned());
    }
    if url.path().trim_end_matches('/').ends_with(&format!("/{PATH}")) {
        return Err(format!("write it without /{PATH}, which is added"));
    }
    let path = format!("{}/{PATH}", url.path().trim_end_matches('/'));
    url.set_path(&path);
    Ok(Some(url))
}

fn is_this_machine(url: &Url) -> bool {
    match url.host() {
        Some(url::Host::Domain(name)) => name == "localhost",
        Some(url::Host::Ipv4(address)) => address.is_loopback(),
        Some(url::Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

fn service_name(text: &str) -> Result<String, &'static str> {
    if text.is_empty() || text.len() > 255 || text.chars().any(char::is_control) {
        return Err("write a name of 1 to 255 characters");
    }
    Ok(text.to_owned())
}

/// `Name: value`. The error does not tell the value.
fn header(text: &str) -> Result<Header, String> {
    let form = || "write a header as \"Name: value\"".to_owned();
    let (name, value) = text.split_once(':').ok_or_else(form)?;
    let (name, value) = (name.trim().to_ascii_lowercase(), value.trim());
    let name = HeaderName::try_from(name).map_err(|_| form())?;
    if OUR_OWN.contains(&name.as_str()) {
        return Err(format!("{name} is set by the gateway"));
    }
    if value.is_empty() || !value.bytes().all(|b| matches!(b, b' '..=b'~')) {
        return Err(format!("the value for {name} is empty, or is not in visible ASCII"));
    }
    Ok((name, Secret::new(value)))
}

/// Reads a file with a header in each line; empty lines do not count.
fn headers_in_file(path: &str) -> Result<Vec<Header>, String> {
    let text = read_text(Path::new(path)).map_err(|error| error.to_string())?;
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    lines
        .map(|(index, line)| header(line).map_err(|e| format!("{path}:{}: {e}", index + 1)))
        .collect()
}

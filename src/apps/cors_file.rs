//! `[CORS]` of an app's file: which pages may call the upload endpoints.

use std::time::Duration;

use http::HeaderName;
use url::Url;

use super::config::Cors;
use crate::config::Section;

/// How long a browser may keep the answer to a preflight, unless the file says otherwise: Chromium
/// keeps none longer.
const MAX_AGE: Duration = Duration::from_hours(2);

/// The longest that a file may ask for: what Firefox keeps.
const LONGEST_MAX_AGE: Duration = Duration::from_hours(24);

/// Reads the section.
pub(super) fn cors(section: &mut Section<'_>) -> Cors {
    let allowed_origins = section.key("AllowedOrigins").texts(parse_origin).or(Vec::new());
    let is_open = allowed_origins.iter().any(|origin| origin == "*");
    let allow_credentials =
        section.key("AllowCredentials").boolean().check(|wanted| match (wanted, is_open) {
            (true, true) => Err("credentials are for origins that are named: name them in \
                                 AllowedOrigins instead of \"*\""),
            _ => Ok(()),
        });
    Cors {
        allow_credentials: allow_credentials.or(false),
        allowed_headers: section.key("AllowedHeaders").texts(header_name).or(Vec::new()),
        max_age: section.key("MaxAge").duration().check(max_age).or(MAX_AGE),
        allowed_origins,
    }
}

fn header_name(text: &str) -> Result<HeaderName, &'static str> {
    // Not all browsers take `*` for every header, and none takes it for `Authorization`.
    let name = HeaderName::from_bytes(text.as_bytes()).ok().filter(|_| text != "*");
    name.ok_or("write the name of a header, such as \"X-Trace-Id\"")
}

fn max_age(age: &Duration) -> Result<(), &'static str> {
    if age.subsec_nanos() == 0 && *age <= LONGEST_MAX_AGE {
        Ok(())
    } else {
        Err("write whole seconds, from \"0s\" to \"24h\"")
    }
}

/// Reads `*`, or an origin exactly as browsers send it, so that comparing is enough.
///
/// # Errors
/// A text for whoever wrote it.
pub fn parse_origin(text: &str) -> Result<String, String> {
    if text == "*" {
        return Ok(text.to_owned());
    }
    let url = Url::parse(text).ok().filter(|url| matches!(url.scheme(), "http" | "https"));
    let serialized = url.map(|url| url.origin().ascii_serialization());
    match serialized {
        Some(origin) if origin == text => Ok(origin),
        Some(origin) => Err(format!("this is not an origin; did you mean \"{origin}\"?")),
        None => Err("write \"*\", or an origin such as \"https://www.example.com\"".to_owned()),
    }
}

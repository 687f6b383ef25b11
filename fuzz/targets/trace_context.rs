//! What a peer says of the trace that its request belongs to: what goes on of it is well formed, and
//! read again as the same.
//!
//! The first line is `traceparent`, each other one a `tracestate`.

#![no_main]

use http::header::{HeaderMap, HeaderName, HeaderValue};
use libfuzzer_sys::fuzz_target;
use safelight::traces::Context;

const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

fuzz_target!(|data: &[u8]| {
    let mut lines = data.split(|byte| *byte == b'\n').map(HeaderValue::from_bytes);
    let Some(Ok(parent)) = lines.next() else { return };
    let mut headers = HeaderMap::new();
    headers.append(TRACEPARENT, parent.clone());
    for state in lines.take(8).flatten() {
        headers.append(TRACESTATE, state);
    }
    let Some(context) = Context::from_headers(&headers) else { return };
    let mut sent = HeaderMap::new();
    context.write_to(&mut sent);
    let told = sent[TRACEPARENT].to_str().expect("it is ASCII");
    assert!(told.len() == 55 && told.starts_with("00-"), "version 0 is what is spoken");
    assert_eq!(told.as_bytes()[2..52], parent.as_bytes()[2..52], "the ids are the peer's");
    assert!(matches!(&told[52..], "-00" | "-01"), "no flag goes on that nobody knows");
    assert!(sent.get_all(TRACESTATE).iter().count() <= 1);
    assert!(sent.get(TRACESTATE).is_none_or(|state| state.len() <= 512));
    assert_eq!(Context::from_headers(&sent), Some(context), "whoever is next reads the same");
});

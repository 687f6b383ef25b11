//! Where the log goes: standard error, one line an event.

use std::io::IsTerminal as _;

use tracing_subscriber::EnvFilter;

/// What is logged unless `SAFELIGHT_LOG` says otherwise.
const DEFAULT: &str = "info";

/// Libraries that print what they sign, or log every refusal as a failure of their own.
const QUIET: [&str; 8] = [
    "aws_config=warn",
    "aws_sdk_sts=warn",
    "aws_sdk_s3=warn",
    "aws_runtime=warn",
    "aws_smithy_runtime=warn",
    "aws_smithy_runtime_api=warn",
    "hyper=warn",
    "s3s=off",
];

/// Structured, for machines: one JSON object a line.
pub(super) fn to_json() {
    let json = tracing_subscriber::fmt()
        .json()
        .flatten_event(true)
        .with_current_span(true)
        .with_span_list(false)
        .with_writer(std::io::stderr)
        .with_env_filter(filter());
    // A second call, in a test, keeps the first one's.
    let _ = json.try_init();
}

/// Readable, for a developer at a terminal.
pub(super) fn to_terminal() {
    let text = tracing_subscriber::fmt()
        .compact()
        .with_target(false)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr)
        .with_env_filter(filter());
    let _ = text.try_init();
}

/// Whatever the operator asks for, those libraries stay quiet.
fn filter() -> EnvFilter {
    let asked = std::env::var("SAFELIGHT_LOG").unwrap_or_else(|_| DEFAULT.to_owned());
    let mut filter = EnvFilter::try_new(&asked).unwrap_or_else(|_| EnvFilter::new(DEFAULT));
    for quiet in QUIET {
        filter = filter.add_directive(quiet.parse().expect("a valid directive"));
    }
    filter
}

//! Where the log goes: standard error, one line an event.

use std::io::IsTerminal as _;

use tracing::level_filters::LevelFilter;
use tracing::{Level, Metadata};
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer, Registry};

use super::ACCESS_TARGET;
use super::lines::{JsonLines, TextLines};

/// What is logged unless `SAFELIGHT_LOG` says otherwise.
const DEFAULT: &str = "info";

/// The most that a library may say, whatever `SAFELIGHT_LOG` asks for: what they say below it holds
/// requests with what signs them, tokens, and URLs with their queries.
const OF_LIBRARIES: LevelFilter = LevelFilter::WARN;

/// What logs every refusal as a failure of its own, and may say nothing.
const SILENT: &str = "s3s";

/// Structured, for machines: one JSON object a line. Says whether there is to be an access log.
pub(super) fn to_json() -> bool {
    init(tracing_subscriber::fmt::layer().event_format(JsonLines).with_writer(std::io::stderr));
    tracing::enabled!(target: ACCESS_TARGET, Level::INFO)
}

/// Readable, for a developer at a terminal.
pub(super) fn to_terminal() {
    let text = tracing_subscriber::fmt::layer()
        .with_ansi(std::io::stderr().is_terminal())
        .event_format(TextLines::default())
        .with_writer(std::io::stderr);
    init(text);
}

fn init(layer: impl Layer<Registry> + Send + Sync) {
    let asked = std::env::var("SAFELIGHT_LOG").unwrap_or_else(|_| DEFAULT.to_owned());
    let filter = EnvFilter::try_new(&asked).unwrap_or_else(|_| EnvFilter::new(DEFAULT));
    // Two filters, because among directives of one the operator's could be the more specific.
    let layer = layer.with_filter(filter_fn(may_be_said)).with_filter(filter);
    // A second call, in a test, keeps the first one's.
    let _ = tracing_subscriber::registry().with(layer).try_init();
}

fn may_be_said(metadata: &Metadata<'_>) -> bool {
    match metadata.target().split("::").next() {
        Some(env!("CARGO_CRATE_NAME")) => true,
        Some(SILENT) => false,
        _ => *metadata.level() <= OF_LIBRARIES,
    }
}

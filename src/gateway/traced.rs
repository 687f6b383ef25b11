//! How requests are traced, and who is told of it.

use std::sync::Arc;

use crate::http::Tracing;
use crate::metrics::Metrics;
use crate::records::{Records, TracedRecords};
use crate::server::shutdown;
use crate::settings::Settings;
use crate::traces::Exporter;
use crate::upstream::Client;

use super::Running;

/// Begins to export spans, where the settings name a collector.
///
/// # Errors
/// A text for the operator.
pub(super) fn start(
    settings: &Settings,
    metrics: &Metrics,
) -> Result<(Tracing, Option<Running>), String> {
    let is_tls = settings.tls.is_some();
    let Some(collector) = &settings.tracing else {
        return Ok((Tracing { tracer: None, is_tls }, None));
    };
    // The collector is the operator's own, and mostly in a private network.
    let client = Client::unrestricted()?;
    let (tracer, exporter) = Exporter::new(collector, client, metrics)
        .map_err(|error| format!("Tracing.OTLPEndpoint: {error}"))?;
    let (trigger, stop) = shutdown();
    let task = tokio::spawn(exporter.run_until(stop.wait()));
    Ok((Tracing { tracer: Some(tracer), is_tls }, Some(Running { trigger, task })))
}

/// The record store as requests see it: with spans of its calls, where spans are recorded.
pub(super) fn records(records: Arc<dyn Records>, tracing: &Tracing) -> Arc<dyn Records> {
    match tracing.tracer {
        Some(_) => Arc::new(TracedRecords::new(records)),
        None => records,
    }
}

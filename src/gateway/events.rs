//! How events of storage come in: who may push them, and what asks a queue for them.

use std::sync::Arc;
use std::time::Duration;

use crate::actions::Services;
use crate::apps::LiveApps;
use crate::background::events::{Handler, Push, Sender, SqsConsumer};
use crate::domain::EventSource;
use crate::identity::RemoteKeys;
use crate::identity::google_token::{ALGORITHM, ExpectedToken};
use crate::metrics::{EventMetrics, Metrics};
use crate::server::shutdown;
use crate::settings::{EventsSettings, PubSubSettings, WebhookSettings};
use crate::storage::ProcessCredentials;
use crate::upstream::Client;

use super::Running;

/// What handlers of storage events are made of.
pub(super) struct Handlers<'a> {
    pub(super) apps: &'a Arc<LiveApps>,
    pub(super) services: &'a Services,
    pub(super) metrics: &'a Arc<Metrics>,
}

impl Handlers<'_> {
    fn of(&self, source: EventSource) -> Handler {
        let metrics = EventMetrics::new(self.metrics, source);
        Handler::new(source, Arc::clone(self.apps), self.services.clone(), metrics)
    }
}

/// Who may push events.
pub(super) fn open_push(
    settings: &EventsSettings,
    client: &Client,
    handlers: &Handlers<'_>,
) -> Result<Option<Push>, String> {
    let mut senders = Vec::new();
    if let Some(PubSubSettings { audience, service_account, jwks_url }) = settings.pubsub.clone() {
        let expected = ExpectedToken { audience, email: service_account };
        let keys = RemoteKeys::new("Google", &jwks_url, ALGORITHM, client.clone())?;
        senders.push((Sender::PubSub { keys, expected }, handlers.of(EventSource::PubSub)));
    }
    if let Some(WebhookSettings { secrets }) = settings.webhook.clone() {
        senders.push((Sender::Webhook(secrets), handlers.of(EventSource::Webhook)));
    }
    Ok(Push::new(senders))
}

/// Starts taking events from a queue, if there is one. It is the operator's, and may be anywhere.
pub(super) fn start_consumer(
    settings: &EventsSettings,
    process: Option<ProcessCredentials>,
    handlers: &Handlers<'_>,
    drain: Duration,
) -> Result<Option<Running>, String> {
    let Some((sqs, process)) = settings.sqs.as_ref().zip(process) else { return Ok(None) };
    let client = Client::unrestricted()?;
    let consumer = SqsConsumer::new(sqs, process, client, handlers.of(EventSource::Sqs))?;
    let (trigger, stop) = shutdown();
    let task = tokio::spawn(async move {
        // Until the signal; and then no longer than requests have.
        let stopped = stop.clone();
        let overdue = async move {
            stopped.wait().await;
            tokio::time::sleep(drain).await;
        };
        tokio::select! {
            () = consumer.run(stop.wait()) => {}
            () = overdue => tracing::warn!("storage events were still being handled after the drain"),
        }
    });
    Ok(Some(Running { trigger, task }))
}

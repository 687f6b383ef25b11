//! Events from a queue of Amazon SQS: long polling, and deleting what was handled.
//!
//! What was not handled is never deleted. It comes again when its visibility timeout is over, and the
//! queue's own redrive policy decides when it has come often enough and is laid aside: that is where
//! an operator looks for such messages, and no consumer can know better. Without such a policy it
//! comes until the queue's retention ends. A message that came [`MANY_RECEIVES`] times is counted as
//! one that a dead-letter queue should have.

use std::time::{Duration, SystemTime};

use aws_sdk_sqs::config::retry::RetryConfig;
use aws_sdk_sqs::config::timeout::TimeoutConfig;
use aws_sdk_sqs::config::{
    BehaviorVersion, Config, IdentityCache, Region, StalledStreamProtectionConfig,
};
use aws_sdk_sqs::types::{DeleteMessageBatchRequestEntry, Message, MessageSystemAttributeName};
use futures_util::FutureExt as _;
use futures_util::future::join_all;
use url::Position;

use crate::domain::{Error, EventOutcome};
use crate::settings::SqsSettings;
use crate::storage::{AwsTransport, ProcessCredentials};
use crate::upstream::{Client, Origin, Timeouts};

use super::handle::{Disposition, Handler};

/// How many questions to the queue are under way at once. With [`BATCH`], also the bound of what is
/// handled at once: 40.
const POLLERS: usize = 4;

/// The most messages that one answer holds (API reference, `ReceiveMessage`).
const BATCH: i32 = 10;

/// How long the queue waits for a message, in seconds: the longest that it does.
const LONG_POLL: i32 = 20;

/// For one question, with the long poll in it.
const RECEIVE_LIMIT: Duration = Duration::from_secs(40);

/// For deleting what was handled, with all attempts.
const DELETE_LIMIT: Duration = Duration::from_secs(20);

/// For handling one message with all that it tells of. Less than the visibility timeout, so that
/// nobody else begins meanwhile; if somebody does, both come to the same record.
const HANDLE_LIMIT: Duration = Duration::from_secs(60);

/// For a connection, and from there to the head of an answer, which a long poll keeps back.
const TIMEOUTS: Timeouts =
    Timeouts { connect: Duration::from_secs(3), first_byte: Duration::from_secs(30) };

/// The shortest and the longest pause after a failure.
const PAUSE: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));

/// From which receive on a message is one that a dead-letter queue should have: above what redrive
/// policies usually say (3 to 5).
const MANY_RECEIVES: u32 = 10;

/// How much of an error goes into a log line, in characters.
const MAX_ERROR_CHARS: usize = 300;

/// Takes events from a queue.
pub struct SqsConsumer {
    client: aws_sdk_sqs::Client,
    queue_url: String,
    visibility_seconds: i32,
    handler: Handler,
}

impl SqsConsumer {
    /// A consumer of a queue, as whom the process is. The client must reach the queue's server.
    ///
    /// # Errors
    /// A text for the operator.
    pub fn new(
        settings: &SqsSettings,
        credentials: ProcessCredentials,
        client: Client,
        handler: Handler,
    ) -> Result<Self, String> {
        let endpoint = &settings.endpoint;
        let origin = Origin::from_url(endpoint)?;
        let authority = endpoint[Position::BeforeHost..Position::AfterPort].to_owned();
        // Deleting twice is deleting once; and messages of an answer that was lost come again.
        let transport = AwsTransport::new(client, origin, authority, TIMEOUTS).repeatable();
        let config = Config::builder()
            .behavior_version(BehaviorVersion::v2026_01_12())
            .region(Region::new(settings.region.clone()))
            .endpoint_url(endpoint.as_str().trim_end_matches('/'))
            .credentials_provider(credentials)
            .identity_cache(IdentityCache::no_cache())
            .retry_config(RetryConfig::standard())
            // A long poll without messages looks like a stream that has stalled.
            .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
            // Time limits are set per attempt by the transport, and per call here.
            .timeout_config(TimeoutConfig::disabled())
            .http_client(transport)
            .build();
        let seconds = settings.visibility_timeout.as_secs();
        Ok(Self {
            client: aws_sdk_sqs::Client::from_conf(config),
            queue_url: settings.queue_url.to_string(),
            visibility_seconds: i32::try_from(seconds)
                .map_err(|_| "Events.SQSVisibilityTimeout is too long")?,
            handler,
        })
    }

    /// Takes events until `stop`; what is being handled then is finished, and nothing more is asked
    /// for.
    pub async fn run(self, stop: impl Future<Output = ()> + Send) {
        let stop = stop.shared();
        join_all((0..POLLERS).map(|_| self.poll_until(stop.clone()))).await;
    }

    async fn poll_until(&self, stop: impl Future<Output = ()> + Clone) {
        let mut failures = 0;
        loop {
            let received = tokio::select! {
                biased;
                () = stop.clone() => return,
                received = self.receive() => received,
            };
            let went_well = match received {
                Ok(messages) => self.work(&messages).await,
                Err(error) => {
                    tracing::warn!(error, "the queue of storage events does not answer");
                    false
                }
            };
            if went_well {
                failures = 0;
                continue;
            }
            failures += 1;
            tokio::select! {
                () = stop.clone() => return,
                () = tokio::time::sleep(pause(failures, random_share())) => {}
            }
        }
    }

    async fn receive(&self) -> Result<Vec<Message>, String> {
        let asked = self
            .client
            .receive_message()
            .queue_url(&self.queue_url)
            .max_number_of_messages(BATCH)
            .wait_time_seconds(LONG_POLL)
            .visibility_timeout(self.visibility_seconds)
            .message_system_attribute_names(MessageSystemAttributeName::ApproximateReceiveCount)
            .send();
        let received = match tokio::time::timeout(RECEIVE_LIMIT, asked).await {
            Ok(Ok(received)) => Ok(received.messages.unwrap_or_default()),
            Ok(Err(error)) => Err(printable(&error)),
            Err(_) => Err(format!("no answer within {RECEIVE_LIMIT:?}")),
        };
        self.handler.metrics().polled(received.is_ok());
        received
    }

    /// Handles messages and deletes those that need not come again. False if not one of them could
    /// be handled for what failed: then storage or the record store has a trouble that asking for
    /// more would only add to, and every receive brings a message closer to the dead-letter queue.
    async fn work(&self, messages: &[Message]) -> bool {
        let handled = join_all(messages.iter().map(|message| self.handle(message))).await;
        let failed = handled.iter().filter(|one| matches!(one, Disposition::Retry(_))).count();
        let done = messages.iter().zip(&handled);
        let done = done.filter(|(_, one)| matches!(one, Disposition::Acknowledge));
        let receipts: Vec<_> = done.filter_map(|(message, _)| message.receipt_handle()).collect();
        if let Err(error) = self.delete(&receipts).await {
            // They come again, and are found to be done already.
            tracing::warn!(error, "handled storage events stay in the queue");
        }
        failed == 0 || failed < messages.len()
    }

    async fn handle(&self, message: &Message) -> Disposition {
        let document = message.body().unwrap_or_default().as_bytes();
        let handled = self.handler.handle(document, SystemTime::now());
        let disposition = match tokio::time::timeout(HANDLE_LIMIT, handled).await {
            Ok(disposition) => disposition,
            Err(_) => {
                self.handler.metrics().count(EventOutcome::Retry);
                Disposition::Retry(Error::StorageTimeout)
            }
        };
        if disposition != Disposition::Acknowledge && receives(message) >= MANY_RECEIVES {
            self.handler.metrics().count(EventOutcome::DeadLetter);
            let (id, receives) = (message.message_id(), receives(message));
            tracing::warn!(
                id,
                receives,
                "a storage event comes again and again: the queue needs a dead-letter queue"
            );
        }
        if let Disposition::Malformed(reason) = &disposition {
            tracing::warn!(id = message.message_id(), %reason, "a storage event cannot be read");
        }
        disposition
    }

    async fn delete(&self, receipts: &[&str]) -> Result<(), String> {
        if receipts.is_empty() {
            return Ok(());
        }
        let entries = receipts.iter().enumerate().map(|(index, receipt)| {
            let entry = DeleteMessageBatchRequestEntry::builder();
            entry.id(index.to_string()).receipt_handle(*receipt).build()
        });
        let entries: Result<Vec<_>, _> = entries.collect();
        let asked = self
            .client
            .delete_message_batch()
            .queue_url(&self.queue_url)
            .set_entries(Some(entries.map_err(|error| error.to_string())?))
            .send();
        match tokio::time::timeout(DELETE_LIMIT, asked).await {
            Ok(Ok(answer)) => match answer.failed().first() {
                None => Ok(()),
                Some(first) => Err(format!("{} of {}", first.code(), answer.failed().len())),
            },
            Ok(Err(error)) => Err(printable(&error)),
            Err(_) => Err(format!("no answer within {DELETE_LIMIT:?}")),
        }
    }
}

/// How often a message has been received, this time included.
fn receives(message: &Message) -> u32 {
    let count = message.attributes().and_then(|attributes| {
        attributes.get(&MessageSystemAttributeName::ApproximateReceiveCount)?.parse().ok()
    });
    count.unwrap_or(1)
}

/// How long to wait after so many failures in a row: twice as long each time, of which `share` (0 to
/// 1) of the second half is a matter of chance, so that nodes do not come back together.
fn pause(failures: u32, share: f64) -> Duration {
    let (shortest, longest) = PAUSE;
    let doubled = 2_u32.saturating_pow(failures.saturating_sub(1));
    let whole = shortest.saturating_mul(doubled).min(longest);
    whole / 2 + (whole / 2).mul_f64(share)
}

fn random_share() -> f64 {
    f64::from(getrandom::u32().unwrap_or_default()) / f64::from(u32::MAX)
}

/// An error with its causes, in a form that is fit for a log line.
fn printable(error: &(dyn std::error::Error + 'static)) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    let text = causes.map(ToString::to_string).collect::<Vec<_>>().join(": ");
    let clean = |c: char| if c.is_control() { ' ' } else { c };
    text.chars().take(MAX_ERROR_CHARS).map(clean).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_a_limit_and_differ() {
        let seconds = |failures, share| pause(failures, share).as_secs_f64();
        for (failures, shortest, longest) in
            [(1, 0.5, 1.0), (2, 1.0, 2.0), (3, 2.0, 4.0), (7, 30.0, 60.0), (u32::MAX, 30.0, 60.0)]
        {
            assert_eq!((seconds(failures, 0.0), seconds(failures, 1.0)), (shortest, longest));
        }
    }

    #[test]
    fn a_message_without_a_count_came_once() {
        assert_eq!(receives(&Message::builder().build()), 1);
        let name = MessageSystemAttributeName::ApproximateReceiveCount;
        assert_eq!(receives(&Message::builder().attributes(name.clone(), "12").build()), 12);
        assert_eq!(receives(&Message::builder().attributes(name, "many").build()), 1);
    }
}

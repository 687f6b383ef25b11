//! The metrics of one app: what it counts, and which of its series exist from the start.

mod storage;
mod usual;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

pub(super) use usual::AllUsual;
use usual::Usual;

pub use storage::BytesFrom;

use super::Metrics;
use super::outcomes::{DELETE_OUTCOMES, MULTIPART_OUTCOMES, PRESIGN_OUTCOMES, SIGNED_URL_OUTCOMES};
use crate::domain::{
    AbortCause, AppName, Discrepancy, FallbackReason, FallbackResult, HealReason, HedgeWinner,
    IdentityMethod, IdentityOutcome, LookOutcome, MemoryFill, MemoryLookup, MemoryRevalidation,
    Source, UploadState,
};

/// The metrics of one app, with the series that it can move present from the start.
#[derive(Debug, Clone)]
pub struct AppMetrics {
    app: AppName,
    all: Arc<Metrics>,
    usual: Arc<Usual>,
    /// Whether the app was removed: its gauges are gone then, and nobody brings them back.
    retired: Arc<AtomicBool>,
}

impl AppMetrics {
    /// The metrics of an app that reads from `storage` and, if it has one, from a CDN.
    #[must_use]
    pub fn new(all: &Arc<Metrics>, app: &AppName, storage: Source, has_cdn: bool) -> Self {
        let (all, usual) = (Arc::clone(all), all.usual.of(app));
        let this = Self { app: app.clone(), all, usual, retired: Arc::default() };
        this.touch(storage, has_cdn);
        this
    }

    /// The same for a new version of the app, with the series that only it can move.
    #[must_use]
    pub fn renewed(&self, storage: Source, has_cdn: bool) -> Self {
        self.touch(storage, has_cdn);
        self.clone()
    }

    /// Takes the app's gauges away, for good: what they say of an app that is no more would stay
    /// what it was. Its counters stay until the process ends, so that they never go back.
    pub fn retire(&self) {
        self.retired.store(true, Ordering::Release);
        self.without_cdn();
        // Absent where it never was.
        let _ = self.all.sweeper_overdue.remove_label_values(&[self.app.as_str()]);
        for limit in ["owner", "client_ip", "upload"] {
            let _ = self.all.limiter_keys.remove_label_values(&[self.app.as_str(), limit]);
        }
    }

    /// Takes away the gauge of a CDN that the app no longer has.
    pub fn without_cdn(&self) {
        let _ = self.all.cdn_breaker_state.remove_label_values(&[self.app.as_str()]);
    }

    fn touch(&self, storage: Source, has_cdn: bool) {
        let (all, name) = (&self.all, self.app.as_str());
        all.reads.with_label_values(&[name, storage.label(), "200"]);
        for failed in ["502", "503", "504"] {
            all.reads.with_label_values(&[name, Source::None.label(), failed]);
        }
        all.read_bytes.with_label_values(&[name, storage.label()]);
        self.touch_storage();
        for state in UploadState::ALL {
            all.uploads.with_label_values(&[name, state.as_str()]);
        }
        for outcome in PRESIGN_OUTCOMES {
            all.presigns.with_label_values(&[name, outcome]);
        }
        for outcome in DELETE_OUTCOMES {
            all.deletes.with_label_values(&[name, outcome]);
        }
        for outcome in SIGNED_URL_OUTCOMES {
            all.signed_urls.with_label_values(&[name, outcome]);
        }
        for (request, outcomes) in MULTIPART_OUTCOMES {
            for outcome in *outcomes {
                all.multipart_requests.with_label_values(&[name, request, outcome]);
            }
        }
        for limit in ["owner", "client_ip", "app", "upload"] {
            all.rate_limited.with_label_values(&[name, limit]);
        }
        for outcome in ["hit", "miss", "failed"] {
            all.record_lookups.with_label_values(&[name, outcome]);
        }
        for cause in AbortCause::ALL {
            all.streams_aborted.with_label_values(&[name, cause.label()]);
        }
        for reason in HealReason::ALL {
            all.streams_healed.with_label_values(&[name, reason.label()]);
        }
        for outcome in LookOutcome::ALL {
            all.sweeper_looks.with_label_values(&[name, outcome.label()]);
        }
        for finding in Discrepancy::ALL {
            all.reconcile_objects.with_label_values(&[name, finding.label()]);
        }
        all.sweeper_overdue.with_label_values(&[name]);
        if has_cdn {
            self.touch_cdn();
        }
    }

    /// Lets the series exist that an app with identities can move; its API keys have these names.
    pub fn touch_identity<'a>(
        &self,
        method: IdentityMethod,
        key_ids: impl Iterator<Item = &'a str>,
    ) {
        let name = self.app.as_str();
        for outcome in method.outcomes() {
            self.all.identity.with_label_values(&[name, method.label(), outcome.label()]);
        }
        for key_id in key_ids {
            self.all.api_key_requests.with_label_values(&[name, key_id]);
        }
        let refusals: &[&str] = match method {
            IdentityMethod::Jwt => &["unauthenticated", "forbidden", "identity_unavailable"],
            IdentityMethod::ApiKey | IdentityMethod::TrustedProxy => {
                &["unauthenticated", "forbidden"]
            }
        };
        for outcome in refusals {
            self.all.presigns.with_label_values(&[name, outcome]);
            for (request, _) in MULTIPART_OUTCOMES {
                self.all.multipart_requests.with_label_values(&[name, request, outcome]);
            }
        }
    }

    /// Counts a request that was asked who it is from.
    pub fn identity(&self, method: IdentityMethod, outcome: IdentityOutcome) {
        let labels = [self.app.as_str(), method.label(), outcome.label()];
        self.all.identity.with_label_values(&labels).inc();
    }

    /// Counts a request that came with the API key of this name.
    pub fn api_key(&self, key_id: &str) {
        self.all.api_key_requests.with_label_values(&[self.app.as_str(), key_id]).inc();
    }

    fn touch_cdn(&self) {
        let name = self.app.as_str();
        self.all.read_bytes.with_label_values(&[name, Source::Cdn.label()]);
        self.all.reads.with_label_values(&[name, Source::Cdn.label(), "200"]);
        self.all.cdn_requests.with_label_values(&[name, "ok"]);
        self.all.cdn_breaker_state.with_label_values(&[name]);
        for winner in HedgeWinner::ALL {
            self.all.hedges.with_label_values(&[name, winner.label()]);
        }
        for result in FallbackResult::ALL {
            self.all.origin_share.with_label_values(&[name, result.label()]);
        }
        for reason in FallbackReason::ALL {
            self.all.cdn_requests.with_label_values(&[name, reason.label()]);
            for result in FallbackResult::ALL {
                self.all.cdn_fallbacks.with_label_values(&[name, reason.label(), result.label()]);
            }
        }
    }

    /// Whose they are.
    #[must_use]
    pub const fn app(&self) -> &AppName {
        &self.app
    }

    /// Counts a read that was answered.
    pub fn read(&self, source: Source, code: &str) {
        self.usual.read(&self.all, &self.app, source, code);
    }

    /// Observes the time to the first byte, in seconds.
    pub fn first_byte(&self, source: Source, seconds: f64) {
        self.usual.first_byte(source, seconds);
    }

    /// Counts a request to the CDN that gave a usable answer.
    pub fn cdn_answered(&self) {
        self.usual.cdn_answered();
    }

    /// Counts a request to the CDN that failed.
    pub fn cdn_failed(&self, reason: FallbackReason) {
        self.all.cdn_requests.with_label_values(&[self.app.as_str(), reason.label()]).inc();
    }

    /// Counts a read for which storage was asked beside the CDN, by who answered.
    pub fn hedged(&self, winner: HedgeWinner) {
        self.all.hedges.with_label_values(&[self.app.as_str(), winner.label()]).inc();
    }

    /// Counts a read that was refused because storage had as many requests as it may have.
    pub fn storage_overloaded(&self) {
        self.all.overloaded.with_label_values(&["storage"]).inc();
    }

    /// Counts an upload that was refused because more was to be signed than could be in time.
    pub fn signing_overloaded(&self) {
        self.all.overloaded.with_label_values(&["signing"]).inc();
    }

    /// Counts a read that went straight to storage, so that the fallback is always in use.
    pub fn shared(&self, result: FallbackResult) {
        self.all.origin_share.with_label_values(&[self.app.as_str(), result.label()]).inc();
    }

    /// Sets the state of the CDN's breaker: 0 closed, 1 half-open, 2 open.
    pub fn breaker(&self, state: i64) {
        if self.retired.load(Ordering::Acquire) {
            return;
        }
        self.all.cdn_breaker_state.with_label_values(&[self.app.as_str()]).set(state);
    }

    /// Counts a read that fell back.
    pub fn fell_back(&self, reason: FallbackReason, result: FallbackResult) {
        let labels = [self.app.as_str(), reason.label(), result.label()];
        self.all.cdn_fallbacks.with_label_values(&labels).inc();
    }

    /// Makes the series of the memory cache that the app can move present.
    pub fn touch_memory(&self) {
        let name = self.app.as_str();
        self.all.reads.with_label_values(&[name, Source::Memory.label(), "200"]);
        self.all.read_bytes.with_label_values(&[name, Source::Memory.label()]);
        for outcome in MemoryLookup::ALL {
            self.all.memory_lookups.with_label_values(&[name, outcome.label()]);
        }
        for outcome in MemoryFill::ALL {
            self.all.memory_fills.with_label_values(&[name, outcome.label()]);
        }
        for outcome in MemoryRevalidation::ALL {
            self.all.memory_revalidations.with_label_values(&[name, outcome.label()]);
        }
    }

    /// Counts a look into the memory cache.
    pub fn looked_into_memory(&self, outcome: MemoryLookup) {
        self.usual.looked(&self.all, &self.app, outcome);
    }

    /// Counts a fetch for the memory cache.
    pub fn filled_memory(&self, outcome: MemoryFill) {
        self.all.memory_fills.with_label_values(&[self.app.as_str(), outcome.label()]).inc();
    }

    /// Counts a fetch of what was stale in memory.
    pub fn revalidated(&self, outcome: MemoryRevalidation) {
        let labels = [self.app.as_str(), outcome.label()];
        self.all.memory_revalidations.with_label_values(&labels).inc();
    }

    /// Counts a body that was continued from storage.
    pub fn healed(&self, reason: HealReason) {
        self.all.streams_healed.with_label_values(&[self.app.as_str(), reason.label()]).inc();
    }

    /// Counts a body that was broken off.
    pub fn aborted(&self, cause: AbortCause) {
        self.all.streams_aborted.with_label_values(&[self.app.as_str(), cause.label()]).inc();
    }

    /// Counts a presign request.
    pub fn presign(&self, outcome: &str) {
        self.usual.presign(&self.all, &self.app, outcome);
    }

    /// Counts a request for an upload in parts.
    pub fn multipart(&self, request: &str, outcome: &str) {
        let labels = [self.app.as_str(), request, outcome];
        self.all.multipart_requests.with_label_values(&labels).inc();
    }

    /// Counts a request to delete an image.
    pub fn delete(&self, outcome: &str) {
        self.all.deletes.with_label_values(&[self.app.as_str(), outcome]).inc();
    }

    /// Counts a request for a signed URL.
    pub fn signed_url(&self, outcome: &str) {
        self.all.signed_urls.with_label_values(&[self.app.as_str(), outcome]).inc();
    }

    /// Counts an upload that entered a state.
    pub fn upload(&self, state: UploadState) {
        self.usual.upload(&self.all, &self.app, state);
    }

    /// Counts a record that a read wanted: `hit`, `miss` or `failed`.
    pub fn record_lookup(&self, outcome: &str) {
        self.all.record_lookups.with_label_values(&[self.app.as_str(), outcome]).inc();
    }

    /// Counts a request that a limit refused.
    pub fn rate_limited(&self, limit: &str) {
        self.all.rate_limited.with_label_values(&[self.app.as_str(), limit]).inc();
    }

    /// Sets how many keys a limit remembers.
    pub fn limiter_keys(&self, limit: &str, keys: usize) {
        if self.retired.load(Ordering::Acquire) {
            return;
        }
        let keys = i64::try_from(keys).unwrap_or(i64::MAX);
        self.all.limiter_keys.with_label_values(&[self.app.as_str(), limit]).set(keys);
    }

    /// Counts a look of the sweeper's.
    pub fn looked(&self, outcome: LookOutcome) {
        self.all.sweeper_looks.with_label_values(&[self.app.as_str(), outcome.label()]).inc();
    }

    /// Sets for how long the oldest look has been due.
    pub fn overdue(&self, time: Duration) {
        if self.retired.load(Ordering::Acquire) {
            return;
        }
        let seconds = i64::try_from(time.as_secs()).unwrap_or(i64::MAX);
        self.all.sweeper_overdue.with_label_values(&[self.app.as_str()]).set(seconds);
    }

    /// Counts an object that differs from its record.
    pub fn differs(&self, found: Discrepancy) {
        self.all.reconcile_objects.with_label_values(&[self.app.as_str(), found.label()]).inc();
    }
}

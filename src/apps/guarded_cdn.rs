//! An app's CDN together with what is known of its health, and what follows from that.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use crate::cdn::Cdn;
use crate::cdn::health::{Breaker, OriginShare};
use crate::domain::EarnedBudget;
use crate::domain::HedgeAfter;
use crate::metrics::AppMetrics;

use super::config::ReadPolicy;

/// One redirect in a hundred: at 10 a second a CDN that fails is found within a minute.
const PROBED_SHARE: f64 = 0.01;

/// A CDN, asked as long as it is well.
pub struct GuardedCdn {
    /// The CDN.
    pub cdn: Cdn,
    /// Whether it is asked at all.
    pub breaker: Arc<Breaker>,
    /// When storage is asked beside it.
    pub hedge_after: HedgeAfter,
    /// How often that may be.
    pub hedges: Arc<EarnedBudget>,
    /// Which reads go to storage in any case.
    pub share: OriginShare,
    /// Which redirects are an occasion to ask the CDN how it does.
    pub probes: OriginShare,
    /// Whether the app has another breaker by now, and this one says nothing more in the metrics.
    is_mute: Arc<AtomicBool>,
}

impl GuardedCdn {
    /// Guards a CDN as an app's file says. What `before` has learnt of the same CDN stays known.
    ///
    /// # Errors
    /// A text for the tenant.
    pub(super) fn new(
        cdn: Cdn,
        read: &ReadPolicy,
        metrics: &AppMetrics,
        before: Option<&Self>,
    ) -> Result<Self, String> {
        let seed = seed()?;
        let share = OriginShare::new(read.origin_share, seed).map_err(|error| error.to_string())?;
        let probes = OriginShare::new(PROBED_SHARE, seed).map_err(|error| error.to_string())?;
        let hedge_after = read.hedge_after;
        if let Some(Self { breaker, hedges, is_mute, .. }) = before {
            let (breaker, hedges) = (Arc::clone(breaker), Arc::clone(hedges));
            let is_mute = Arc::clone(is_mute);
            return Ok(Self { cdn, breaker, hedge_after, hedges, share, probes, is_mute });
        }
        let is_mute = Arc::new(AtomicBool::new(false));
        let (told, has_no_say) = (metrics.clone(), Arc::clone(&is_mute));
        let breaker = Breaker::new(Instant::now(), seed, move |change| {
            if has_no_say.load(Ordering::Acquire) {
                return;
            }
            told.breaker(change.state.gauge());
            tracing::warn!(
                app = told.app().as_str(),
                state = change.state.label(),
                why = change.why.text(),
                "the breaker of the CDN"
            );
        });
        let hedges = Arc::new(EarnedBudget::for_hedges());
        Ok(Self { cdn, breaker, hedge_after, hedges, share, probes, is_mute })
    }

    /// Lets the breaker of a CDN that the app has no longer say nothing more: requests that began
    /// before may still move it.
    pub(super) fn mute(&self) {
        self.is_mute.store(true, Ordering::Release);
    }
}

/// A number that differs from process to process.
fn seed() -> Result<u64, String> {
    let mut bytes = [0; 8];
    getrandom::fill(&mut bytes)
        .map_err(|error| format!("the system gives no random numbers: {error}"))?;
    Ok(u64::from_le_bytes(bytes))
}

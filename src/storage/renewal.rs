//! When credentials that end are looked for again.

use std::time::{Duration, SystemTime};

use tokio::sync::watch;

/// The shortest and the longest wait after a failure.
pub(super) const RETRY: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));

/// The longest sleep before the clock is looked at again: it may have been set, or the machine may
/// have slept.
const LONGEST_SLEEP: Duration = Duration::from_secs(30);

/// Waits for the next look. `false`: nobody is left who would use what is found.
pub(super) async fn rest<T>(sender: &watch::Sender<T>, wait: Duration) -> bool {
    let due = SystemTime::now() + wait;
    while let Ok(left) = due.duration_since(SystemTime::now())
        && !left.is_zero()
    {
        tokio::select! {
            () = sender.closed() => return false,
            () = tokio::time::sleep(left.min(LONGEST_SLEEP)) => {}
        }
    }
    true
}

/// When to look again at credentials that end in so long: `lead` before, and then closer and closer
/// to their end, as long as there are no others.
pub(super) fn before_end(left: Duration, lead: Duration) -> Duration {
    if left > 2 * lead { left.saturating_sub(lead) } else { (left / 2).max(RETRY.0) }
}

/// When to look again after a failure, where what there is can still be used for so long.
pub(super) fn after_failure(left: Option<Duration>) -> Duration {
    let (shortest, longest) = RETRY;
    left.map_or(longest, |left| left / 2).clamp(shortest, longest)
}

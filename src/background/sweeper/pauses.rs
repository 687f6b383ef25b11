//! Apps that are left alone for a while because their storage fails.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::domain::AppName;

/// The longest pause. Its end is what an app waits for that works again.
const LONGEST: Duration = Duration::from_secs(3600);

/// The pauses of all apps; none at first, and none kept over a restart.
#[derive(Debug, Default)]
pub(super) struct Pauses(Mutex<HashMap<AppName, Pause>>);

#[derive(Debug, Clone, Copy)]
struct Pause {
    length: Duration,
    until: Instant,
}

impl Pauses {
    /// Whether the app is left alone.
    pub(super) fn is_paused(&self, app: &AppName, now: Instant) -> bool {
        self.lock().get(app).is_some_and(|pause| pause.until > now)
    }

    /// Begins a pause that is twice as long as the last, if the app has not worked since.
    pub(super) fn failed(&self, app: &AppName, shortest: Duration, now: Instant) {
        let mut pauses = self.lock();
        let longest = LONGEST.max(shortest);
        let length = pauses.get(app).map_or(shortest, |last| (last.length * 2).min(longest));
        pauses.insert(app.clone(), Pause { length, until: now + length });
    }

    /// Forgets the app's pauses.
    pub(super) fn forget(&self, app: &AppName) {
        self.lock().remove(app);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<AppName, Pause>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_an_hour_and_end_when_it_works() {
        let (pauses, begun) = (Pauses::default(), Instant::now());
        let (shop, blog) = (AppName::parse("shop").unwrap(), AppName::parse("blog").unwrap());
        let interval = Duration::from_secs(300);
        let mut now = begun;
        assert!(!pauses.is_paused(&shop, now));
        for seconds in [300, 600, 1200, 2400, 3600, 3600] {
            pauses.failed(&shop, interval, now);
            let length = Duration::from_secs(seconds);
            assert!(pauses.is_paused(&shop, now + length - Duration::from_millis(1)), "{seconds}");
            assert!(!pauses.is_paused(&blog, now), "a pause is one app's own");
            now += length;
            assert!(!pauses.is_paused(&shop, now), "{seconds}");
        }
        pauses.forget(&shop);
        pauses.failed(&shop, interval, now);
        assert!(!pauses.is_paused(&shop, now + interval));
    }
}

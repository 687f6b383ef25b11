//! The clock of all limits.

use std::sync::LazyLock;

use governor::clock::{Clock, DefaultClock};

/// The monotonic clock, one for the process. A limit that had one of its own would carry the calibration
/// of the processor's counter along, and so be a line of cache longer: each upload request looks at the
/// limits of its app, of which there may be thousands.
#[derive(Debug, Clone, Copy, Default)]
pub struct SharedClock;

impl Clock for SharedClock {
    type Instant = <DefaultClock as Clock>::Instant;

    fn now(&self) -> Self::Instant {
        static CLOCK: LazyLock<DefaultClock> = LazyLock::new(DefaultClock::default);
        CLOCK.now()
    }
}

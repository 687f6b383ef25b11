//! `[Sweeper]`: when uploads that nobody asks about are looked at.

use std::time::Duration;

use crate::config::Section;

/// Five minutes: what nobody finalized is ready soon after its session, and an idle gateway asks its
/// records 12 times an hour.
const INTERVAL: Duration = Duration::from_secs(300);

/// An hour: longer than a PUT takes that was begun at the very end of its URL.
const GRACE: Duration = Duration::from_secs(3600);

/// `[Sweeper]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SweeperSettings {
    /// The time between two runs, give or take a fifth.
    pub interval: Duration,
    /// How long after its end a signed URL may still be at work.
    pub grace: Duration,
    /// Whether buckets are compared with the records.
    pub reconcile: Reconcile,
}

/// Whether buckets are compared with the records, and to what end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reconcile {
    /// They are not.
    Off,
    /// What differs is told.
    Report,
    /// What differs and passes is recorded.
    Adopt,
}

impl SweeperSettings {
    pub(super) fn from_section(section: &mut Section<'_>) -> Self {
        let interval =
            section.key("Interval").duration().check(|interval| match (Duration::from_millis(100)
                ..=Duration::from_secs(86_400))
                .contains(interval)
            {
                true => Ok(()),
                false => Err("write a time from \"100ms\" to \"1d\""),
            });
        let grace = section.key("Grace").duration().check(|grace| {
            match *grace <= Duration::from_secs(7 * 86_400) {
                true => Ok(()),
                false => Err("write a time of at most \"7d\""),
            }
        });
        Self {
            interval: interval.or(INTERVAL),
            grace: grace.or(GRACE),
            reconcile: section.key("Reconcile").text(Reconcile::parse).or(Reconcile::Off),
        }
    }
}

impl Reconcile {
    fn parse(text: &str) -> Result<Self, &'static str> {
        match text {
            "off" => Ok(Self::Off),
            "report" => Ok(Self::Report),
            "adopt" => Ok(Self::Adopt),
            _ => Err("write \"off\", \"report\" or \"adopt\""),
        }
    }
}

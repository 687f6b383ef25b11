//! The reads that go straight to storage, so that the way that every fallback takes is in daily
//! use: `OriginShare` of an app's file.

use std::sync::atomic::{AtomicU64, Ordering};

/// Two to the power of 64: the circle that the share goes round.
const CIRCLE: f64 = 18_446_744_073_709_551_616.0;

/// Picks a fixed share of reads, evenly spread: of any `n` reads in a row `n` times the share, give
/// or take one.
///
/// Each read goes on by the share of a circle; whoever comes round is picked. That costs one atomic
/// addition and needs no chance.
#[derive(Debug)]
pub struct OriginShare {
    share: Share,
    place: AtomicU64,
}

#[derive(Debug, Clone, Copy)]
enum Share {
    All,
    /// The share of the circle, in 2⁻⁶⁴.
    Step(u64),
}

/// A share that is not between 0 and 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a share of reads is a number from 0 to 1, such as 0.01 for one in a hundred")]
pub struct InvalidShare;

impl OriginShare {
    /// A share from 0 (none) to 1 (all). `seed` says where it begins: any number that differs from
    /// process to process, so that a process that is restarted often has its share as well.
    ///
    /// # Errors
    /// [`InvalidShare`] for any other number.
    pub fn new(share: f64, seed: u64) -> Result<Self, InvalidShare> {
        if !(0.0..=1.0).contains(&share) {
            return Err(InvalidShare);
        }
        let share = if share >= 1.0 { Share::All } else { Share::Step(step(share)) };
        let place = fastrand::Rng::with_seed(seed).u64(..);
        Ok(Self { share, place: AtomicU64::new(place) })
    }

    /// Whether the next read is one of them.
    pub fn takes_next(&self) -> bool {
        match self.share {
            Share::All => true,
            Share::Step(0) => false,
            Share::Step(step) => {
                let place = self.place.fetch_add(step, Ordering::Relaxed);
                place.checked_add(step).is_none()
            }
        }
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "the share is in 0..1, so the product fits and is not negative"
)]
fn step(share: f64) -> u64 {
    (share * CIRCLE) as u64
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn refuses_what_is_no_share() {
        for share in [-0.01, 1.01, f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            assert!(OriginShare::new(share, 0).is_err(), "{share}");
        }
    }

    #[test]
    fn none_and_all() {
        let (none, all) = (OriginShare::new(0.0, 7).unwrap(), OriginShare::new(1.0, 7).unwrap());
        assert!((0..10_000).all(|_| !none.takes_next() && all.takes_next()));
    }

    #[test]
    fn restarts_do_not_starve_the_share() {
        let firsts =
            (0..10_000).filter(|seed| OriginShare::new(0.01, *seed).unwrap().takes_next()).count();
        assert!((50..200).contains(&firsts), "{firsts} of 10000 begin with one");
    }

    proptest! {
        #[test]
        fn any_run_of_reads_has_its_share(
            share in 0.0..=1.0_f64, seed: u64, skipped in 0..500_u32, reads in 1..5_000_u32,
        ) {
            let picker = OriginShare::new(share, seed).unwrap();
            for _ in 0..skipped {
                picker.takes_next();
            }
            let picked = (0..reads).filter(|_| picker.takes_next()).count();
            let expected = f64::from(reads) * share;
            let picked = f64::from(u32::try_from(picked).unwrap());
            prop_assert!((picked - expected).abs() <= 1.001, "{picked} for {expected}");
        }
    }
}

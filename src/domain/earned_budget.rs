//! A budget that is earned by what is done anyway: five hedges for a hundred reads, ten retries for
//! a hundred requests.
//!
//! A rate a second would be wrong for both: it would allow a quiet app to double its load and a
//! busy one next to nothing. What may be spent grows with the traffic, and not with time, so that
//! there is no clock in it.

use std::sync::atomic::{AtomicU64, Ordering};

/// What one spending costs, in the unit of the account: so one thousandth is the finest share.
const COST: u64 = 1000;

/// At most a share of what is done, and a few at once. Over any run of `n` earnings at most
/// `n × share + burst` are spent.
#[derive(Debug)]
pub struct EarnedBudget {
    /// What each earning brings.
    income: u64,
    ceiling: u64,
    account: AtomicU64,
}

impl EarnedBudget {
    /// A budget with `per_thousand` spendings for a thousand earnings, and at most `burst` saved
    /// up. It begins full, so that a quiet app can spend at all.
    #[must_use]
    pub const fn new(per_thousand: u16, burst: u16) -> Self {
        let ceiling = burst as u64 * COST;
        Self { income: per_thousand as u64, ceiling, account: AtomicU64::new(ceiling) }
    }

    /// Hedged reads: at most 5 % of all, as the contract with storage's bill and load has it. Ten at
    /// once is what a slow page of one reader takes.
    #[must_use]
    pub const fn for_hedges() -> Self {
        Self::new(50, 10)
    }

    /// Repeated requests to storage: at most 10 % of all. While storage works, far fewer fail; when
    /// it is failing, retries add a tenth to its load and do not multiply it. Ten at once is what
    /// one dropped connection pool takes.
    #[must_use]
    pub const fn for_retries() -> Self {
        Self::new(100, 10)
    }

    /// Notes that one was done.
    pub fn earn(&self) {
        let full = |saved: u64| {
            let more = (saved + self.income).min(self.ceiling);
            (more != saved).then_some(more)
        };
        // A full account is left alone, and its cache line shared.
        let _ = self.account.fetch_update(Ordering::Relaxed, Ordering::Relaxed, full);
    }

    /// Spends one, if there is one.
    #[must_use]
    pub fn try_spend(&self) -> bool {
        let less = |saved: u64| saved.checked_sub(COST);
        self.account.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_burst_and_then_one_in_twenty() {
        let budget = EarnedBudget::for_hedges();
        assert_eq!((0..100).filter(|_| budget.try_spend()).count(), 10);
        for read in 1..=100 {
            budget.earn();
            assert_eq!(budget.try_spend(), read % 20 == 0, "read {read}");
        }
    }

    #[test]
    fn nothing_is_saved_beyond_the_burst() {
        let budget = EarnedBudget::for_retries();
        (0..100_000).for_each(|_| budget.earn());
        assert_eq!((0..100).filter(|_| budget.try_spend()).count(), 10);
    }

    proptest! {
        #[test]
        fn no_run_spends_more_than_its_share(
            per_thousand in 0..=1000_u16,
            burst in 0..20_u16,
            wanted in prop::collection::vec(0..4_usize, 1..400),
        ) {
            let budget = EarnedBudget::new(per_thousand, burst);
            // How many were spent after each earning: any run is a difference of two of these.
            let mut spent = vec![0_u64];
            for tries in wanted {
                budget.earn();
                let here = (0..tries).filter(|_| budget.try_spend()).count();
                spent.push(spent[spent.len() - 1] + here as u64);
            }
            for from in 0..spent.len() {
                for to in from..spent.len() {
                    let allowed = (to - from) as u64 * u64::from(per_thousand)
                        + u64::from(burst) * 1000;
                    prop_assert!((spent[to] - spent[from]) * 1000 <= allowed);
                }
            }
        }
    }
}

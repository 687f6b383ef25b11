//! What beginning an upload takes: one of the quota of the client's address, one of the app's, one of
//! the owner's. It is taken before anything else is done for a request, and put back if nothing comes
//! of it, so that a refused request costs nobody anything.
//!
//! The order is that of a flood. One that comes from few addresses ends at those, whatever owners it
//! makes up. One that comes from everywhere ends at the app, before an owner is remembered. And what
//! ends at its own owner puts back at once what it took of the others: at any moment that is one for
//! each thread, of quotas of hundreds.

use std::sync::Arc;

use governor::clock::Clock;

use super::clock::SharedClock;
use super::keyed::{Bucket, KeyedLimiter};
use super::single::SingleLimiter;
use crate::domain::{ClientNetwork, OwnerId, Rate, RateLimitVerdict};

/// The three quotas of one app.
pub struct Quotas<C: Clock = SharedClock> {
    rates: UploadRates,
    client: Arc<KeyedLimiter<C>>,
    app: Arc<SingleLimiter<C>>,
    owner: Arc<KeyedLimiter<C>>,
}

/// How many uploads may begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UploadRates {
    /// Of one owner.
    pub per_owner: Rate,
    /// Of one client, where clients are told apart.
    pub per_client_ip: Rate,
    /// Of the whole app.
    pub per_app: Rate,
}

/// Room in the quotas for one upload. Dropped without being spent, it is put back.
#[must_use = "dropped, it is put back"]
pub struct Admission<C: Clock = SharedClock> {
    quotas: Arc<Quotas<C>>,
    taken: Vec<(Token, RateLimitVerdict)>,
}

/// What was taken, and from whom.
#[derive(Debug, Clone, Copy)]
enum Token {
    Client(Bucket),
    App,
    Owner(Bucket),
}

impl Quotas {
    /// The quotas, full. `max_keys` is how many owners are remembered, and how many clients.
    #[must_use]
    pub fn new(rates: UploadRates, max_keys: usize) -> Self {
        Self::with_clock(rates, max_keys, SharedClock)
    }

    /// The quotas under these rates. One whose rate is as it was is the same, with all that was taken
    /// of it.
    #[must_use]
    pub fn continued(self: &Arc<Self>, rates: UploadRates, max_keys: usize) -> Arc<Self> {
        if self.rates == rates {
            return Arc::clone(self);
        }
        let fresh = Self::new(rates, max_keys);
        let kept = |same: bool, was: &Arc<_>, new: Arc<_>| if same { Arc::clone(was) } else { new };
        let UploadRates { per_owner, per_client_ip, per_app } = self.rates;
        Arc::new(Self {
            rates,
            client: kept(per_client_ip == rates.per_client_ip, &self.client, fresh.client),
            owner: kept(per_owner == rates.per_owner, &self.owner, fresh.owner),
            app: if per_app == rates.per_app { Arc::clone(&self.app) } else { fresh.app },
        })
    }
}

impl<C: Clock + Clone> Quotas<C> {
    /// The same, by another clock.
    #[must_use]
    pub fn with_clock(rates: UploadRates, max_keys: usize, clock: C) -> Self {
        let UploadRates { per_owner, per_client_ip, per_app } = rates;
        let keyed =
            |name, rate| Arc::new(KeyedLimiter::with_clock(name, rate, max_keys, clock.clone()));
        Self {
            rates,
            client: keyed("client_ip", per_client_ip),
            owner: keyed("owner", per_owner),
            app: Arc::new(SingleLimiter::with_clock("app", per_app, clock)),
        }
    }
}

impl<C: Clock> Quotas<C> {
    /// Takes what one upload of this owner takes. `client` is who asks, where clients are told apart.
    ///
    /// # Errors
    /// The verdict of the first quota that is used up. Then nothing was taken of any.
    pub fn admit(
        self: &Arc<Self>,
        owner: &OwnerId,
        client: Option<ClientNetwork>,
    ) -> Result<Admission<C>, RateLimitVerdict> {
        let client = client.map(|client| Token::Client(self.client.bucket(&client)));
        let owner = Token::Owner(self.owner.bucket(owner.as_str()));
        let mut admission = Admission { quotas: Arc::clone(self), taken: Vec::with_capacity(3) };
        for token in client.into_iter().chain([Token::App, owner]) {
            // An admission that ends here puts back what it has.
            let verdict = self.take(token)?;
            admission.taken.push((token, verdict));
        }
        Ok(admission)
    }

    /// Forgets whose quotas are full again, on a thread that may take milliseconds for it.
    pub fn sweep(&self) {
        self.client.sweep();
        self.owner.sweep();
    }

    /// Sets another bound for how many owners are remembered, and how many clients.
    pub fn set_max_keys(&self, max_keys: usize) {
        self.client.set_max_keys(max_keys);
        self.owner.set_max_keys(max_keys);
    }

    /// How many owners are remembered, and how many clients.
    #[must_use]
    pub fn keys(&self) -> [usize; 2] {
        [self.owner.keys(), self.client.keys()]
    }

    /// Which quotas are one and the same in these and those, by name.
    #[cfg(test)]
    pub(crate) fn shared_with(&self, other: &Self) -> Vec<&'static str> {
        let parts = [
            ("clients", Arc::ptr_eq(&self.client, &other.client)),
            ("app", Arc::ptr_eq(&self.app, &other.app)),
            ("owners", Arc::ptr_eq(&self.owner, &other.owner)),
        ];
        parts.into_iter().filter(|(_, same)| *same).map(|(part, _)| part).collect()
    }

    fn take(&self, token: Token) -> Result<RateLimitVerdict, RateLimitVerdict> {
        match token {
            Token::Client(bucket) => self.client.take(bucket),
            Token::App => self.app.check(),
            Token::Owner(bucket) => self.owner.take(bucket),
        }
    }

    fn give_back(&self, token: Token) {
        match token {
            Token::Client(bucket) => self.client.give_back(bucket),
            Token::App => self.app.give_back(),
            Token::Owner(bucket) => self.owner.give_back(bucket),
        }
    }
}

impl<C: Clock> Admission<C> {
    /// Uses it up: from here on the request costs something. Gives what is left of each quota, the
    /// owner's first.
    #[must_use]
    pub fn spend(mut self) -> Vec<RateLimitVerdict> {
        std::mem::take(&mut self.taken).into_iter().rev().map(|(_, verdict)| verdict).collect()
    }
}

impl<C: Clock> Drop for Admission<C> {
    fn drop(&mut self) {
        for (token, _) in &self.taken {
            self.quotas.give_back(*token);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};
    use std::time::Duration;

    use governor::clock::FakeRelativeClock;
    use proptest::prelude::*;

    use super::*;

    fn rates(per_owner: u32, per_client_ip: u32, per_app: u32) -> UploadRates {
        // One an hour: none is refilled unless the test says that an hour has gone by.
        let rate = |burst| Rate::parse("1/h", burst).unwrap();
        UploadRates {
            per_owner: rate(per_owner),
            per_client_ip: rate(per_client_ip),
            per_app: rate(per_app),
        }
    }

    fn quotas(rates: UploadRates) -> (Arc<Quotas<FakeRelativeClock>>, FakeRelativeClock) {
        let clock = FakeRelativeClock::default();
        (Arc::new(Quotas::with_clock(rates, 1_000_000, clock.clone())), clock)
    }

    fn owner(name: &str) -> OwnerId {
        OwnerId::parse(name.as_bytes()).unwrap()
    }

    fn client(number: u32) -> Option<ClientNetwork> {
        Some(ClientNetwork::of(IpAddr::V4(Ipv4Addr::from_bits(number))))
    }

    /// What one upload leaves of each quota, or which of them refuses.
    fn spend(
        quotas: &Arc<Quotas<FakeRelativeClock>>,
        name: &str,
        from: Option<ClientNetwork>,
    ) -> Result<Vec<(&'static str, u32)>, &'static str> {
        let admission = quotas.admit(&owner(name), from).map_err(|verdict| verdict.limit)?;
        Ok(admission.spend().iter().map(|left| (left.limit, left.remaining)).collect())
    }

    #[test]
    fn one_of_each_is_taken() {
        let (quotas, _) = quotas(rates(3, 5, 7));
        let left = [("owner", 2), ("app", 6), ("client_ip", 4)];
        assert_eq!(spend(&quotas, "ann", client(1)), Ok(left.to_vec()));
        let left = [("owner", 1), ("app", 5)];
        assert_eq!(spend(&quotas, "ann", None), Ok(left.to_vec()), "where nobody is told apart");
        let left = [("owner", 2), ("app", 4), ("client_ip", 3)];
        assert_eq!(spend(&quotas, "bob", client(1)), Ok(left.to_vec()));
    }

    #[test]
    fn whoever_is_refused_takes_nothing_of_anybody() {
        let (quotas, _) = quotas(rates(1, 5, 6));
        spend(&quotas, "ann", client(1)).unwrap();
        for _ in 0..1000 {
            assert_eq!(spend(&quotas, "ann", client(1)), Err("owner"));
        }
        let left = [("owner", 0), ("app", 4), ("client_ip", 3)];
        assert_eq!(spend(&quotas, "bob", client(1)), Ok(left.to_vec()));
        for name in ["cid", "dan", "eve"] {
            spend(&quotas, name, client(1)).unwrap();
        }
        for _ in 0..1000 {
            assert_eq!(spend(&quotas, "fay", client(1)), Err("client_ip"));
        }
        let left = [("owner", 0), ("app", 0), ("client_ip", 4)];
        assert_eq!(spend(&quotas, "fay", client(2)), Ok(left.to_vec()), "elsewhere she is let in");
        assert_eq!(spend(&quotas, "gus", client(2)), Err("app"));
    }

    #[test]
    fn what_is_not_spent_is_put_back() {
        let (quotas, clock) = quotas(rates(1, 1, 1));
        for _ in 0..10 {
            let held = quotas.admit(&owner("ann"), client(1)).ok();
            assert_eq!(spend(&quotas, "bob", client(2)), Err("app"), "while it is held");
            drop(held);
        }
        spend(&quotas, "ann", client(1)).unwrap();
        clock.advance(Duration::from_hours(1));
        spend(&quotas, "ann", client(1)).unwrap();
    }

    /// From one address, with a new owner each time: it ends at the address, and leaves nothing.
    #[test]
    fn made_up_owners_of_one_client() {
        let (quotas, _) = quotas(rates(20, 60, 600));
        let known = spend(&quotas, "known", client(1)).unwrap();
        assert_eq!(known[0], ("owner", 19));
        let admitted = (0..100_000)
            .filter(|number| spend(&quotas, &format!("made-up-{number}"), client(2)).is_ok())
            .count();
        assert_eq!(admitted, 60);
        assert_eq!(quotas.owner.keys(), 61, "of whom nothing was taken, nothing is known");
        let left = [("owner", 18), ("app", 600 - 62), ("client_ip", 58)];
        assert_eq!(spend(&quotas, "known", client(1)), Ok(left.to_vec()));
        assert!(spend(&quotas, "new", client(3)).is_ok());
    }

    /// From as many addresses: it ends at the app, and the memory is bounded.
    #[test]
    fn made_up_owners_of_many_clients() {
        let clock = FakeRelativeClock::default();
        let quotas = Arc::new(Quotas::with_clock(rates(20, 60, 600), 10_000, clock));
        spend(&quotas, "known", client(1)).unwrap();
        let admitted = (0..100_000)
            .filter(|number| spend(&quotas, &format!("made-up-{number}"), client(*number)).is_ok())
            .count();
        assert_eq!(admitted, 599);
        assert_eq!((quotas.owner.keys(), quotas.client.keys()), (600, 10_000));
        assert_eq!(quotas.owner.check("known").unwrap().remaining, 18);
    }

    proptest! {
        /// However requests come, are spent or dropped: of nobody more is spent than there was.
        #[test]
        fn no_quota_is_overdrawn_and_nothing_is_lost(
            requests in prop::collection::vec((0..4_u32, 0..4_u32, any::<bool>()), 0..200),
        ) {
            let (quotas, _) = quotas(rates(5, 7, 12));
            let (mut of_owner, mut of_client, mut of_app) = ([0; 4], [0; 4], 0);
            for (name, from, spent) in requests {
                let admission = quotas.admit(&owner(&format!("owner-{name}")), client(from));
                let (name, from) = (name as usize, from as usize);
                let room = of_owner[name] < 5 && of_client[from] < 7 && of_app < 12;
                prop_assert_eq!(admission.is_ok(), room);
                if let Some(admission) = admission.ok().filter(|_| spent) {
                    let _ = admission.spend();
                    of_owner[name] += 1;
                    of_client[from] += 1;
                    of_app += 1;
                }
            }
        }
    }
}

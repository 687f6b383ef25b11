//! How many connections there may be: in all, and of one client.

use std::collections::HashMap;
use std::net::IpAddr;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::domain::{ClientNetwork, TrustedProxies};

/// How many connections one client may have.
#[derive(Debug, Clone)]
pub struct PerClient {
    /// The most.
    pub most: NonZeroUsize,
    /// Who has as many as it likes: those who bring the connections of many clients.
    pub except: TrustedProxies,
}

/// The places of a listener.
pub(super) struct Places {
    all: Arc<Semaphore>,
    per_client: Option<(PerClient, Arc<Open>)>,
}

/// The open connections by client. It has an entry for each client that is connected, and no other.
type Open = Mutex<HashMap<ClientNetwork, usize>>;

/// A connection's place, given back when dropped.
pub(super) struct Place {
    _one_of_all: OwnedSemaphorePermit,
    _one_of_clients: Option<ClientPlace>,
}

struct ClientPlace {
    client: ClientNetwork,
    open: Arc<Open>,
}

impl Places {
    pub(super) fn new(most: usize, per_client: Option<PerClient>) -> Self {
        let per_client = per_client.map(|cap| (cap, Arc::default()));
        Self { all: Arc::new(Semaphore::new(most)), per_client }
    }

    /// A place for a connection of this peer.
    ///
    /// # Errors
    /// The name of the cap that is reached, as it is counted.
    pub(super) fn take(&self, peer: IpAddr) -> Result<Place, &'static str> {
        let one_of_clients = match &self.per_client {
            Some((cap, open)) if !cap.except.contains(peer) => {
                let client = ClientNetwork::of(peer);
                Some(ClientPlace::take(client, cap.most, open).ok_or("connections_per_ip")?)
            }
            _ => None,
        };
        let one_of_all = Arc::clone(&self.all).try_acquire_owned().map_err(|_| "connections")?;
        Ok(Place { _one_of_all: one_of_all, _one_of_clients: one_of_clients })
    }
}

impl ClientPlace {
    fn take(client: ClientNetwork, most: NonZeroUsize, open: &Arc<Open>) -> Option<Self> {
        let mut counts = lock(open);
        let count = counts.entry(client).or_default();
        if *count >= most.get() {
            return None;
        }
        *count += 1;
        Some(Self { client, open: Arc::clone(open) })
    }
}

impl Drop for ClientPlace {
    fn drop(&mut self) {
        let mut counts = lock(&self.open);
        if let Some(count) = counts.get_mut(&self.client) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.client);
            }
        }
    }
}

fn lock(open: &Open) -> MutexGuard<'_, HashMap<ClientNetwork, usize>> {
    // A count is whole at every moment.
    open.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(most: usize, per_client: usize) -> Places {
        let most_per_client = NonZeroUsize::new(per_client).unwrap();
        let except = TrustedProxies::new(vec!["10.0.0.0/8".parse().unwrap()]);
        Places::new(most, Some(PerClient { most: most_per_client, except }))
    }

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_client_has_so_many_and_a_proxy_as_many_as_there_are() {
        let places = places(5, 2);
        let taken: Vec<_> =
            ["203.0.113.1", "203.0.113.1"].map(|a| places.take(address(a)).unwrap()).into();
        assert_eq!(places.take(address("203.0.113.1")).err(), Some("connections_per_ip"));
        assert_eq!(places.take(address("::ffff:203.0.113.1")).err(), Some("connections_per_ip"));
        let proxied: Vec<_> = (0..3).map(|_| places.take(address("10.0.0.1")).unwrap()).collect();
        assert_eq!(places.take(address("203.0.113.2")).err(), Some("connections"));
        drop((taken, proxied));
        assert!(places.take(address("203.0.113.1")).is_ok());
        let (_, open) = places.per_client.as_ref().unwrap();
        assert!(lock(open).is_empty(), "a client that is gone is forgotten");
    }

    #[test]
    fn a_refused_connection_takes_no_place() {
        let places = places(1, 1);
        let held = places.take(address("203.0.113.1")).unwrap();
        assert_eq!(places.take(address("203.0.113.2")).err(), Some("connections"));
        drop(held);
        assert!(places.take(address("203.0.113.2")).is_ok());
    }

    #[test]
    fn clients() {
        for (one, other, are_one) in [
            ("203.0.113.1", "203.0.113.2", false),
            ("203.0.113.1", "::ffff:203.0.113.1", true),
            ("2001:db8:0:1::1", "2001:db8:0:1:ffff::2", true),
            ("2001:db8:0:1::1", "2001:db8:0:2::1", false),
        ] {
            let places = places(2, 1);
            let _held = places.take(address(one)).unwrap();
            let refusal = places.take(address(other)).err();
            assert_eq!(refusal, are_one.then_some("connections_per_ip"), "{one} {other}");
        }
    }
}

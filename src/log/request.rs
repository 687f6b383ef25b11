//! Which request a line of the log belongs to. The id goes with the task that answers the request,
//! and every line that is logged meanwhile carries it.

use std::collections::hash_map::RandomState;
use std::future::Future;
use std::hash::BuildHasher as _;

use crate::traces::Place;

tokio::task_local! {
    static CURRENT: RequestId;
}

/// The length of an id.
const DIGITS: usize = 16;

/// The id of one request: 16 hexadecimal digits, made here, never taken from the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequestId([u8; DIGITS]);

impl RequestId {
    /// Makes an id.
    #[must_use]
    pub fn new() -> Self {
        // Random keys, new ones for each state, for which the system is asked once a thread: an id
        // is to be told from others, not to be kept from anybody.
        let number: u64 = RandomState::new().hash_one(());
        let mut digits = [0; DIGITS];
        for (digit, shift) in digits.iter_mut().rev().zip((0..).step_by(4)) {
            *digit = b"0123456789abcdef"[(number >> shift) as usize & 0xf];
        }
        Self(digits)
    }

    /// The request that this task answers, if it answers one.
    #[must_use]
    pub fn current() -> Option<Self> {
        CURRENT.try_with(|id| *id).ok()
    }

    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).expect("hexadecimal digits are text")
    }

    /// The id as bytes of ASCII.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; DIGITS] {
        &self.0
    }

    /// Does something for this request.
    pub fn scope<T>(self, action: impl FnOnce() -> T) -> T {
        CURRENT.sync_scope(self, action)
    }

    /// A future that answers this request.
    pub fn follow<F: Future>(self, answering: F) -> impl Future<Output = F::Output> {
        CURRENT.scope(self, answering)
    }
}

impl Default for RequestId {
    fn default() -> Self {
        Self::new()
    }
}

/// A future for a task of its own, which goes on with what the current task does for a request, at
/// the same place of its trace.
pub fn of_this_request<F: Future>(going_on: F) -> impl Future<Output = F::Output> {
    // Boxed, so that what runs beside a request is not copied with each wrapping.
    let going_on = Place::current().follow(Box::pin(going_on));
    let id = RequestId::current();
    async move {
        match id {
            Some(id) => id.follow(going_on).await,
            None => going_on.await,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn ids_are_16_digits_and_never_the_same() {
        let on_a_thread = || (0..1000).map(|_| RequestId::new()).collect::<Vec<_>>();
        let threads: Vec<_> = (0..4).map(|_| std::thread::spawn(on_a_thread)).collect();
        let ids: Vec<_> = threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect();
        let digits =
            |id: &RequestId| id.as_str().bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        assert!(ids.iter().all(|id| id.as_str().len() == 16 && digits(id)));
        let distinct: HashSet<_> = ids.iter().map(RequestId::as_str).collect();
        assert_eq!(distinct.len(), ids.len());
    }

    #[tokio::test]
    async fn an_id_goes_with_its_task_and_with_those_that_go_on_for_it() {
        assert_eq!(RequestId::current(), None);
        let id = RequestId::new();
        let in_both = id.follow(async {
            let here = RequestId::current();
            let there = tokio::spawn(of_this_request(async { RequestId::current() }));
            let elsewhere = tokio::spawn(async { RequestId::current() });
            (here, there.await.unwrap(), elsewhere.await.unwrap())
        });
        assert_eq!(in_both.await, (Some(id), Some(id), None));
        assert_eq!(
            tokio::spawn(of_this_request(async { RequestId::current() })).await.unwrap(),
            None
        );
        assert_eq!(id.scope(RequestId::current), Some(id));
    }
}

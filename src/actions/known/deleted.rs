//! The ids of deleted uploads, in memory, so that every read can look whether its key was deleted
//! without asking anybody.
//!
//! An id is kept as 64 of its bits. Two ids have the same ones once in 2⁶⁴ pairs, so a hit is a
//! reason to ask the record, and no more; what is not here was not deleted, as far as this process
//! has heard.

use std::array;
use std::collections::HashSet;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{PoisonError, RwLock};

use crate::domain::UploadId;

/// How many parts there are, so that reads on many cores do not meet at one lock.
const SHARDS: usize = 16;

/// The ids. Measured with a million of them: 21 bytes each.
pub(super) struct DeletedKeys {
    /// While this is 0, as it is for most, a read takes no lock.
    count: AtomicUsize,
    shards: [RwLock<HashSet<u64, BuildHasherDefault<AsItIs>>>; SHARDS],
}

/// Fingerprints are random already.
#[derive(Default)]
struct AsItIs(u64);

impl Hasher for AsItIs {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, _: &[u8]) {
        unreachable!("only u64 are hashed");
    }

    fn write_u64(&mut self, fingerprint: u64) {
        self.0 = fingerprint;
    }
}

impl DeletedKeys {
    pub(super) fn new() -> Self {
        Self { count: AtomicUsize::new(0), shards: array::from_fn(|_| RwLock::default()) }
    }

    /// Adds an id; whether it is new here.
    pub(super) fn insert(&self, id: UploadId) -> bool {
        let fingerprint = id.fingerprint();
        let mut shard = self.shard(fingerprint).write().unwrap_or_else(PoisonError::into_inner);
        let is_new = shard.insert(fingerprint);
        if is_new {
            // Before the lock is released: whoever has seen the insertion sees the count.
            self.count.fetch_add(1, Ordering::Release);
        }
        is_new
    }

    /// Whether an id is here, or one that looks like it.
    pub(super) fn contains(&self, id: UploadId) -> bool {
        if self.count.load(Ordering::Acquire) == 0 {
            return false;
        }
        let fingerprint = id.fingerprint();
        let shard = self.shard(fingerprint).read().unwrap_or_else(PoisonError::into_inner);
        shard.contains(&fingerprint)
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    /// The part of a fingerprint, by bits that the sets use neither for the place of an entry (the
    /// lowest) nor for its mark (the highest).
    fn shard(&self, fingerprint: u64) -> &RwLock<HashSet<u64, BuildHasherDefault<AsItIs>>> {
        let part = (fingerprint >> 40) % SHARDS as u64;
        &self.shards[usize::try_from(part).expect("it is below 16")]
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::domain::{AppName, CleanName, MINT_ENTROPY_BYTES, MintSecrets, MintedKey, Secret};

    fn id(number: u64) -> UploadId {
        let secrets = MintSecrets::new(vec![Secret::new("a secret")]).unwrap();
        let app = AppName::parse("shop").unwrap();
        let mut entropy = [0; MINT_ENTROPY_BYTES];
        entropy.copy_from_slice(&number.to_be_bytes()[2..]);
        let now = std::time::SystemTime::UNIX_EPOCH;
        MintedKey::mint(&secrets, &app, now, entropy, &CleanName::image(), "jpg").id()
    }

    proptest! {
        #[test]
        fn holds_what_was_inserted_and_nothing_else(
            inserted in proptest::collection::hash_set(0u64..500, 0..100),
        ) {
            let deleted = DeletedKeys::new();
            for number in &inserted {
                prop_assert!(deleted.insert(id(*number)));
            }
            for number in 0..500 {
                prop_assert_eq!(deleted.contains(id(number)), inserted.contains(&number));
            }
            for number in &inserted {
                prop_assert!(!deleted.insert(id(*number)), "the second time it is not new");
            }
            prop_assert_eq!(deleted.len(), inserted.len());
        }
    }
}

//! The cache against a model of it, and single flight.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use proptest::prelude::*;
use tokio::sync::oneshot;

use super::*;
use crate::domain::{Caching, ETag, Representation};
use crate::zero_copy::Chunk;

const SIZE: u64 = 1 << 20;
const ORIGIN: Origin = Origin { source: Source::Cdn, fallback: None };

fn cache() -> Arc<MemoryCache> {
    Arc::new(MemoryCache::new(SIZE, &Metrics::new()))
}

fn sought(key: &str) -> Sought<'_> {
    Sought { sources: 1, key }
}

/// An object that tells its key and version, and that is fresh at first or already stale for
/// so many seconds.
fn entry(key: usize, version: usize, bytes: usize, stale_for: Option<u64>) -> Entry {
    entry_kept(key, version, bytes, stale_for, Shared::Here)
}

/// The same, with its bytes where they are put.
fn entry_kept(
    key: usize,
    version: usize,
    bytes: usize,
    stale_for: Option<u64>,
    keep: impl FnOnce(Bytes) -> Shared,
) -> Entry {
    let mut text = format!("{key}/{version}/").into_bytes();
    text.resize(bytes.max(text.len()), b'.');
    let etag = ETag::parse(&format!("\"{key}-{version}\""));
    let object =
        Representation { size: Some(text.len() as u64), etag, ..Representation::default() };
    let caching = Caching::parse("max-age=1000");
    let age = Duration::from_secs(stale_for.map_or(0, |stale| 1000 + stale));
    let life = Life::of(caching, caching, age, true).unwrap();
    Entry::new(Arc::new(Kept::new(object, keep(text.into()))), Instant::now(), age, life)
}

/// What it begins with.
fn text_of(entry: &Entry) -> String {
    let bytes = Chunk::from(entry.kept.bytes.clone()).into_bytes().unwrap();
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn kept(entry: &Entry) -> Filled {
    Filled::Kept(entry.clone(), ORIGIN)
}

fn refused(error: Error) -> Filled {
    Filled::Refused { error, origin: ORIGIN, remember: true }
}

/// Lets a fetch land that brings this.
async fn fill(cache: &Arc<MemoryCache>, key: &str, filled: Filled) -> Filled {
    match cache.join(&sought(key), || async move { filled }) {
        Joined::Own(waiting) | Joined::Others(waiting) => waiting.await,
        Joined::Found(found) => panic!("{found:?}"),
    }
}

#[derive(Debug, Clone)]
enum Act {
    /// A fetch that brings an object of this size, fresh or stale.
    Fill {
        key: usize,
        bytes: usize,
        stale_for: Option<u64>,
    },
    /// A fetch that brings a 404, a failure, or something that is not for memory.
    Missing(usize),
    Failed(usize),
    Unfit(usize),
    /// A fetch that is purged on its way.
    Purged {
        key: usize,
        bytes: usize,
    },
    Forget(usize),
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let key = 0usize..24;
    let bytes = prop_oneof![4 => 0usize..2_000, 1 => 50_000usize..200_000];
    let age = prop_oneof![3 => Just(None), 1 => (0u64..40).prop_map(Some)];
    let act = prop_oneof![
        6 => (key.clone(), bytes.clone(), age)
            .prop_map(|(key, bytes, stale_for)| Act::Fill { key, bytes, stale_for }),
        1 => key.clone().prop_map(Act::Missing),
        1 => key.clone().prop_map(Act::Failed),
        1 => key.clone().prop_map(Act::Unfit),
        1 => (key.clone(), bytes).prop_map(|(key, bytes)| Act::Purged { key, bytes }),
        2 => key.prop_map(Act::Forget),
    ];
    proptest::collection::vec(act, 1..120)
}

/// What the cache may still have: the version of each object that was filled last, and not purged.
#[derive(Default)]
struct Model {
    current: HashMap<usize, usize>,
    next: usize,
}

impl Model {
    async fn play(&mut self, cache: &Arc<MemoryCache>, act: &Act) {
        let name = |key: &usize| format!("key-{key}");
        // Where there is an answer, nobody fetches.
        let may_fetch = |key: &usize| !cache.look(&sought(&name(key)), Instant::now()).is_settled();
        match act {
            Act::Fill { key, bytes, stale_for } if may_fetch(key) => {
                self.next += 1;
                fill(cache, &name(key), kept(&entry(*key, self.next, *bytes, *stale_for))).await;
                self.current.insert(*key, self.next);
            }
            Act::Missing(key) if may_fetch(key) => {
                fill(cache, &name(key), refused(Error::NotFound)).await;
                self.current.remove(key);
            }
            Act::Failed(key) if may_fetch(key) => {
                fill(cache, &name(key), refused(Error::StorageFailed)).await;
            }
            Act::Unfit(key) if may_fetch(key) => {
                fill(cache, &name(key), Filled::Unfit).await;
                self.current.remove(key);
            }
            Act::Purged { key, bytes } if may_fetch(key) => {
                self.next += 1;
                let (brought, filled) = (kept(&entry(*key, self.next, *bytes, None)), name(key));
                let joined = cache.join(&sought(&filled), || async move { brought });
                let Joined::Own(waiting) = joined else { panic!("nobody else fetches") };
                cache.forget(&sought(&filled));
                assert!(matches!(waiting.await, Filled::Kept(..)), "who asked before gets it");
                self.current.remove(key);
            }
            Act::Forget(key) => {
                cache.forget(&sought(&name(key)));
                self.current.remove(key);
                let found = cache.look(&sought(&name(key)), Instant::now());
                assert!(matches!(found, Found::Nothing), "{found:?}");
            }
            _ => {}
        }
        for key in 0..24 {
            self.check(key, &cache.look(&sought(&name(&key)), Instant::now()));
        }
    }

    fn check(&self, key: usize, found: &Found) {
        if let Found::Kept(entry, _) | Found::Stale(entry) = found {
            let version = self.current.get(&key).expect("what was purged is not served");
            let begins = format!("{key}/{version}/");
            assert!(text_of(entry).starts_with(&begins), "{begins}: {entry:?}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]
    #[test]
    fn serves_the_last_version_or_nothing_within_its_bound(acts in acts()) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let (cache, mut model) = (cache(), Model::default());
            for act in &acts {
                model.play(&cache, act).await;
                assert!(cache.kept.weighted_size() <= SIZE, "{} B", cache.kept.weighted_size());
                let held: usize = cache.kept.iter().map(|(_, entry)| entry.kept.bytes.len()).sum();
                assert!(held as u64 <= SIZE, "{held} B");
            }
        });
    }
}

#[tokio::test]
async fn the_bound_holds_for_ten_times_as_much() {
    let metrics = Metrics::new();
    let cache = Arc::new(MemoryCache::new(SIZE, &metrics));
    for key in 0..100 {
        fill(&cache, &format!("key-{key}"), kept(&entry(key, 0, 100_000, None))).await;
        assert!(metrics.memory_bytes.get() <= i64::try_from(SIZE).unwrap());
    }
    let entries = metrics.memory_entries.get();
    assert!((1..=10).contains(&entries), "{entries}");
    assert_eq!(metrics.memory_evictions.get(), 100 - u64::try_from(entries).unwrap());
}

#[cfg(target_os = "linux")]
#[test]
fn what_is_worth_it_lies_in_a_file() {
    let metrics = Metrics::new();
    let cache = Arc::new(MemoryCache::new(SIZE, &metrics).with_files(MemoryFiles::new()));
    let keep = |cache: &MemoryCache, length| cache.keep(vec![b'a'; length].into());
    assert!(matches!(keep(&cache, WORTH_A_FILE - 1), Shared::Here(_)));
    assert!(matches!(keep(&cache, WORTH_A_FILE), Shared::Filed(_)));
    let without = MemoryCache::new(SIZE, &metrics);
    assert!(matches!(keep(&without, WORTH_A_FILE), Shared::Here(_)));
    assert!(keep(&cache, WORTH_A_FILE).weight() > WORTH_A_FILE, "a file costs more than its bytes");
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn files_are_bounded_as_all_is() {
    let metrics = Metrics::new();
    let cache = Arc::new(MemoryCache::new(SIZE, &metrics).with_files(MemoryFiles::new()));
    for key in 0..1_000 {
        let entry = entry_kept(key, 0, 50_000, None, |bytes| cache.keep(bytes));
        fill(&cache, &format!("key-{key}"), kept(&entry)).await;
        assert!(metrics.memory_bytes.get() <= i64::try_from(SIZE).unwrap());
    }
    let (entries, files) = (metrics.memory_entries.get(), metrics.memory_files.get());
    assert!((1..=10).contains(&entries), "{entries}");
    // The cache lets go of what it has evicted a little later.
    assert!((entries..entries + 100).contains(&files), "{files} files of {entries} objects");
}

#[tokio::test]
async fn many_wait_for_one_fetch() {
    let (cache, begun) = (cache(), Arc::new(AtomicUsize::new(0)));
    let (go, gone) = oneshot::channel::<()>();
    let mut gone = Some(gone);
    let mut join = || {
        cache.join(&sought("a"), || {
            begun.fetch_add(1, Ordering::Relaxed);
            let gone = gone.take().unwrap();
            async move {
                let _ = gone.await;
                kept(&entry(0, 0, 10, None))
            }
        })
    };
    let Joined::Own(first) = join() else { panic!("the first fetches") };
    let mut others = Vec::new();
    for _ in 0..100 {
        let Joined::Others(waiting) = join() else { panic!("the others wait") };
        others.push(tokio::spawn(waiting));
    }
    // The one who began it leaves.
    drop(first);
    go.send(()).unwrap();
    for other in others {
        assert!(matches!(other.await.unwrap(), Filled::Kept(..)));
    }
    assert_eq!(begun.load(Ordering::Relaxed), 1);
    assert!(matches!(join(), Joined::Found(Found::Kept(_, Use::Fresh))), "it is here now");
}

#[tokio::test]
async fn a_fetch_that_nobody_waits_for_ends() {
    struct Ended(Option<oneshot::Sender<()>>);
    impl Drop for Ended {
        fn drop(&mut self) {
            let _ = self.0.take().unwrap().send(());
        }
    }
    let cache = cache();
    let (ended, told) = oneshot::channel();
    let ended = Ended(Some(ended));
    let fetch = || async move {
        let _ended = ended;
        std::future::pending().await
    };
    let Joined::Own(waiting) = cache.join(&sought("a"), fetch) else { panic!("it is ours") };
    let waits = tokio::spawn(waiting);
    tokio::task::yield_now().await;
    waits.abort();
    told.await.unwrap();
    // And the next one begins anew.
    let filled = fill(&cache, "a", kept(&entry(0, 0, 10, None))).await;
    assert!(matches!(filled, Filled::Kept(..)));
}

#[tokio::test]
async fn a_fetch_that_panics_is_over() {
    let cache = cache();
    let joined = cache.join(&sought("a"), || async { panic!("as a test does") });
    let Joined::Own(waiting) = joined else { panic!("it is ours") };
    assert!(matches!(waiting.await, Filled::Nothing));
    assert!(matches!(cache.look(&sought("a"), Instant::now()), Found::Nothing));
    fill(&cache, "a", kept(&entry(0, 0, 10, None))).await;
}

#[tokio::test]
async fn other_sources_are_other_objects() {
    let cache = cache();
    fill(&cache, "a", kept(&entry(0, 0, 10, None))).await;
    let moved = Sought { sources: 2, key: "a" };
    assert!(matches!(cache.look(&moved, Instant::now()), Found::Nothing));
}

#[tokio::test]
async fn what_failed_a_moment_ago_is_served_stale_and_not_asked_again() {
    let cache = cache();
    for (stale_for, expected) in
        [(0, Use::ServeAndRevalidate), (40, Use::RevalidateOrServe), (90_000, Use::Revalidate)]
    {
        cache.forget(&sought("a"));
        fill(&cache, "a", kept(&entry(0, 0, 10, Some(stale_for)))).await;
        let found = cache.look(&sought("a"), Instant::now());
        assert!(matches!(found, Found::Kept(_, allowed) if allowed == expected), "{found:?}");
        fill(&cache, "a", refused(Error::StorageTimeout)).await;
        let found = cache.look(&sought("a"), Instant::now());
        let as_it_should = match expected {
            Use::Revalidate => matches!(found, Found::Refused(Error::StorageTimeout)),
            _ => matches!(found, Found::Stale(_)),
        };
        assert!(as_it_should, "{stale_for}: {found:?}");
    }
}

#[test]
fn a_refusal_from_before_something_was_forgotten_is_not_remembered() {
    let cache = cache();
    let looked = || cache.look(&sought("a"), Instant::now());
    cache.refuse(&sought("a"), Error::NotFound, cache.moment());
    assert!(matches!(looked(), Found::Refused(Error::NotFound)));
    let before = cache.moment();
    cache.forget(&sought("a"));
    assert!(matches!(looked(), Found::Nothing));
    cache.refuse(&sought("a"), Error::NotFound, before);
    assert!(matches!(looked(), Found::Nothing));
}

#[test]
fn fetches_have_an_eighth_or_half_of_a_small_cache() {
    for (size, largest) in
        [(1 << 20, 512 << 10), (4 << 20, 2 << 20), (16 << 20, 4 << 20), (256 << 20, 32 << 20)]
    {
        let cache = MemoryCache::new(size, &Metrics::new());
        assert_eq!(cache.largest(), largest, "{size}");
        let all = cache.room(largest).expect("it is all free");
        assert!(cache.room(1).is_none(), "{size}");
        drop(all);
        assert!(cache.room(1).is_some(), "{size}");
        assert!(cache.room(largest + 1).is_none(), "{size}");
    }
}

#[test]
fn what_a_source_says_again_is_what_counts() {
    let known = entry(0, 0, 10, Some(5));
    let said = Representation { etag: known.etag().cloned(), ..Representation::default() };
    let caching = Caching::parse("max-age=1000");
    let life = Life::of(caching, caching, Duration::ZERO, true).unwrap();
    let now = Instant::now();
    let renewed = known.renewed(&said, now, Duration::ZERO, life);
    assert_eq!(renewed.use_at(now), Use::Fresh);
    assert!(Arc::ptr_eq(&renewed.kept, &known.kept), "nothing is copied");
    let typed = Representation { content_type: Some("image/webp".to_owned()), ..said };
    let renewed = known.renewed(&typed, now, Duration::ZERO, life);
    assert_eq!(renewed.kept.object.content_type, typed.content_type);
    assert_eq!(renewed.kept.object.size, known.kept.object.size);
    assert!(renewed.kept.bytes.are_those_of(&known.kept.bytes));
}

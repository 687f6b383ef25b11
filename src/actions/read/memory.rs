//! Memory as a source: what it answers by itself, and how it gets what it has not.
//!
//! Only a plain GET of a whole object fetches one for memory; ranges, conditions and HEAD are
//! answered from it where it is there, and passed on where it is not. A fetch is a read like any
//! other, but without memory, so that CDN, storage and healing work as they always do.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use bytes::{Bytes, BytesMut};
use futures_util::future::BoxFuture;
use http_body_util::BodyExt as _;
use tokio::sync::oneshot;

use super::body::{Payload, ReadBody};
use super::settle::{Question, Settled, settle};
use super::{Delivery, ReadReply, ReadRequest, deliver};
use crate::actions::Services;
use crate::apps::App;
use crate::domain::{
    Caching, Conditions, Error, EtagList, MemoryFill, MemoryLookup, MemoryRevalidation, ObjectKey,
    Representation, Shape, Source, Stored,
};
use crate::log::of_this_request;
use crate::memory::{
    Entry, Filled, Found, Joined, Kept, Life, MemoryCache, Moment, Origin, Sought, Use,
};
use crate::zero_copy::Shared;

/// How often an object is fetched whose body breaks off and cannot be healed. The second time it is
/// the new version of one that changed, or else it is not to be had.
const MAX_FETCHES: usize = 2;

/// What caches may keep of an object that may still change: see [`App::is_settled`].
const YOUNG: Caching = Caching { no_store: false, strict: false, lifetime: Some(60) };

/// That an answer came from memory.
pub struct FromMemory {
    /// The object.
    pub kept: Arc<Kept>,
    /// How old it is, in seconds.
    pub age: u64,
    /// Whether what was there was stale: it is served as it is, if memory is the source, and was
    /// asked about, if another is.
    pub stale: bool,
    /// Whether another read had it fetched, for which this one waited.
    pub collapsed: bool,
}

/// A read of an app that has its small objects kept in memory.
pub(super) struct Memory<'a> {
    app: &'a Arc<App>,
    services: &'a Services,
    cache: &'a Arc<MemoryCache>,
    request: &'a ReadRequest,
    sought: Sought<'a>,
    begun: Moment,
}

impl<'a> Memory<'a> {
    /// `None` where nothing is kept.
    pub(super) fn of(
        app: &'a Arc<App>,
        services: &'a Services,
        request: &'a ReadRequest,
    ) -> Option<Self> {
        let cache = services.memory.as_ref().filter(|_| app.memory_cache_max_object > 0)?;
        let sought = Sought { sources: app.sources, key: request.key.as_str() };
        Some(Self { app, services, cache, request, sought, begun: cache.moment() })
    }

    /// Answers from memory, with what is there or comes; `None` if the sources are to be asked for
    /// this read alone. Where there is a record, only the object that it describes is served.
    pub(super) async fn ask(&self, recorded: Option<&Stored>) -> Option<ReadReply> {
        let mut found = self.cache.look(&self.sought, Instant::now());
        if let Found::Kept(entry, _) | Found::Stale(entry) = &found
            && !is_recorded(entry, recorded)
        {
            self.cache.drop_version(&self.sought, entry);
            found = Found::Nothing;
        }
        match found {
            Found::Kept(entry, Use::Fresh) => self.hit(&entry, MemoryLookup::Hit),
            Found::Kept(entry, Use::ServeAndRevalidate) => {
                self.revalidate_behind(&entry);
                self.hit(&entry, MemoryLookup::Stale)
            }
            Found::Kept(entry, Use::RevalidateOrServe) => {
                self.wait(Some(&entry), Some(&entry), recorded).await
            }
            Found::Kept(entry, Use::Revalidate) => self.wait(Some(&entry), None, recorded).await,
            Found::Nothing if self.is_plain() => self.wait(None, None, recorded).await,
            settled => self.settled(settled, recorded),
        }
    }

    /// Remembers the refusal of a read that was passed on.
    pub(super) fn note(&self, reply: &ReadReply) {
        if let Err(error) = &reply.outcome
            && is_for_others(self.app, error, reply.source)
        {
            self.cache.refuse(&self.sought, error.clone(), self.begun);
        }
    }

    /// Whether the whole object is wanted, whatever it is.
    fn is_plain(&self) -> bool {
        let ReadRequest { head_only, range, conditions, needs_size, .. } = self.request;
        !head_only && range.is_none() && conditions.is_empty() && !needs_size
    }

    /// Answers with what needs no fetch, or passes.
    fn settled(&self, found: Found, recorded: Option<&Stored>) -> Option<ReadReply> {
        match found {
            Found::Kept(entry, Use::Fresh) if is_recorded(&entry, recorded) => {
                self.hit(&entry, MemoryLookup::Hit)
            }
            Found::Stale(entry) if is_recorded(&entry, recorded) => {
                self.hit(&entry, MemoryLookup::Stale)
            }
            Found::Refused(error) => {
                self.count(MemoryLookup::Refused);
                Some(refusal(error, OUR_OWN))
            }
            Found::Kept(..) | Found::Stale(_) | Found::Unfit | Found::Nothing => {
                self.count(MemoryLookup::Passed);
                None
            }
        }
    }

    /// Waits for the object, which is fetched once for all. `known` is what is there, and `stale`
    /// what is served where nobody answers.
    async fn wait(
        &self,
        known: Option<&Entry>,
        stale: Option<&Entry>,
        recorded: Option<&Stored>,
    ) -> Option<ReadReply> {
        let (give, mut given) = oneshot::channel();
        let fetch = || of_this_request(self.fetch(known).run(give));
        let (waiting, lookup) = match self.cache.join(&self.sought, fetch) {
            Joined::Found(found) => return self.settled(found, recorded),
            Joined::Others(waiting) => (waiting, MemoryLookup::Joined),
            Joined::Own(waiting) => (waiting, MemoryLookup::Miss),
        };
        self.count(lookup);
        match waiting.await {
            Filled::Kept(entry, origin) if is_recorded(&entry, recorded) => {
                self.deliver(&entry, known.is_some(), lookup == MemoryLookup::Joined, origin)
            }
            Filled::Refused { error, origin, .. } => match stale {
                Some(stale) if error != Error::NotFound => {
                    self.deliver(stale, true, false, OUR_OWN)
                }
                _ => Some(refusal(error, origin)),
            },
            Filled::Kept(..) => None,
            // What was fetched may be the answer to this very read.
            Filled::Unfit | Filled::Nothing => given.try_recv().ok().filter(|_| self.is_plain()),
        }
    }

    /// Sees whether an entry still holds, unless somebody does already. Nobody waits for it.
    fn revalidate_behind(&self, entry: &Entry) {
        let (give, _) = oneshot::channel();
        if let Joined::Own(waiting) =
            self.cache.join(&self.sought, || of_this_request(self.fetch(Some(entry)).run(give)))
        {
            tokio::spawn(waiting);
        }
    }

    fn fetch(&self, known: Option<&Entry>) -> Fetch {
        Fetch {
            app: Arc::clone(self.app),
            services: self.services.clone(),
            cache: Arc::clone(self.cache),
            key: self.request.key.clone(),
            known: known.cloned(),
        }
    }

    fn hit(&self, entry: &Entry, lookup: MemoryLookup) -> Option<ReadReply> {
        self.count(lookup);
        self.deliver(entry, lookup == MemoryLookup::Stale, false, OUR_OWN)
    }

    /// Delivers what is there, under the same conditions and ranges as of every source.
    fn deliver(
        &self,
        entry: &Entry,
        stale: bool,
        collapsed: bool,
        Origin { source, fallback }: Origin,
    ) -> Option<ReadReply> {
        let kept = Arc::clone(&entry.kept);
        let question = Question::first(self.request);
        let outcome = match settle(self.request, question, Shape::Whole, &kept.object) {
            Settled::Whole if self.request.head_only => {
                Ok(Delivery::Whole(Payload::Here(Shared::default())))
            }
            Settled::Whole => Ok(Delivery::Whole(self.here(kept.bytes.clone()))),
            Settled::Part(part) | Settled::Cut(part) => {
                let at = |offset| usize::try_from(offset).expect("it lies in the object");
                let (start, end) = (at(part.range.start), at(part.range.end));
                Ok(Delivery::Part(part, self.here(kept.bytes.slice(start..end + 1))))
            }
            Settled::NotModified => Ok(Delivery::NotModified),
            Settled::PreconditionFailed => Err(Error::PreconditionFailed),
            Settled::Unsatisfiable { size } => Err(Error::RangeNotSatisfiable { size }),
            // A whole answer of known length leaves nothing open.
            Settled::AskAgain(_) | Settled::Unfit(_) => return None,
        };
        let age = entry.age(Instant::now()).as_secs();
        let memory = Some(FromMemory { kept, age, stale, collapsed });
        Some(ReadReply { outcome, object: Representation::default(), source, fallback, memory })
    }

    /// Bytes of memory, which are counted.
    fn here(&self, bytes: Shared) -> Payload {
        self.app.metrics.gave(Source::Memory, bytes.len() as u64);
        Payload::Here(bytes)
    }

    fn count(&self, lookup: MemoryLookup) {
        self.app.metrics.looked_into_memory(lookup);
    }
}

/// One fetch for memory, in a task of its own.
struct Fetch {
    app: Arc<App>,
    services: Services,
    cache: Arc<MemoryCache>,
    key: ObjectKey,
    /// What is in memory, and stale.
    known: Option<Entry>,
}

impl Fetch {
    /// Fetches the object. What is not for memory is given to the one who asked for it.
    async fn run(self, give: oneshot::Sender<ReadReply>) -> Filled {
        let mut give = Some(give);
        let mut tries = 0;
        let (fill, filled) = loop {
            tries += 1;
            match self.attempt(&mut give).await {
                (MemoryFill::Broken, _) if tries < MAX_FETCHES => {}
                ended => break ended,
            }
        };
        self.app.metrics.filled_memory(fill);
        if let Some(known) = &self.known {
            self.app.metrics.revalidated(revalidation(known, &filled));
        }
        filled
    }

    async fn attempt(&self, give: &mut Option<oneshot::Sender<ReadReply>>) -> (MemoryFill, Filled) {
        let asked = Instant::now();
        let mut reply = self.read().await;
        self.keep_what_is_not_said_again(&mut reply);
        let origin = Origin { source: reply.source, fallback: reply.fallback };
        let age = Duration::from_secs(reply.object.age.unwrap_or(0));
        let life = self.life(&reply.object, age);
        if let Err(error) = reply.outcome {
            let remember = is_for_others(&self.app, &error, origin.source);
            return (MemoryFill::Refused, Filled::Refused { error, origin, remember });
        }
        if let (Ok(Delivery::NotModified), Some(known)) = (&reply.outcome, &self.known) {
            let Some(life) = life else { return (MemoryFill::Unfit, Filled::Unfit) };
            let entry = known.renewed(&reply.object, asked, age, life);
            return (MemoryFill::Kept, Filled::Kept(entry, origin));
        }
        let size = reply.object.size.filter(|size| self.may_keep(*size));
        let (Some(size), Some(life)) = (size, life) else {
            hand_over(give, reply);
            return (MemoryFill::Unfit, Filled::Unfit);
        };
        let Some(_room) = self.cache.room(size) else {
            hand_over(give, reply);
            return (MemoryFill::NoRoom, Filled::Nothing);
        };
        match self.collect(reply, size).await {
            Some(kept) => {
                let entry = Entry::new(Arc::new(kept), asked, age, life);
                (MemoryFill::Kept, Filled::Kept(entry, origin))
            }
            None => (MemoryFill::Broken, broken()),
        }
    }

    /// A 304 that says nothing of caching leaves it as it was (RFC 9111 §3.2).
    fn keep_what_is_not_said_again(&self, reply: &mut ReadReply) {
        if let (Ok(Delivery::NotModified), Some(known)) = (&reply.outcome, &self.known)
            && reply.object.caching == Caching::default()
        {
            reply.object.caching = known.kept.object.caching;
        }
    }

    /// Reads the object as any read does, but for memory. Boxed: a read has such a fetch in it.
    fn read(&self) -> BoxFuture<'static, ReadReply> {
        let (app, services) = (Arc::clone(&self.app), self.services.clone());
        let tag = self.known.as_ref().and_then(Entry::etag).cloned();
        let if_none_match = tag.map(|tag| EtagList::Tags(vec![tag]));
        let request = ReadRequest {
            key: self.key.clone(),
            head_only: false,
            range: None,
            conditions: Conditions { if_none_match, ..Conditions::default() },
            needs_size: false,
            owned_by: None,
        };
        Box::pin(async move { deliver(&app, &services, &request).await })
    }

    /// Reads all of an object; `None` if its body breaks off. A break is counted and logged where it
    /// happens.
    async fn collect(&self, reply: ReadReply, size: u64) -> Option<Kept> {
        let Ok(Delivery::Whole(payload)) = reply.outcome else { return None };
        let bytes = match payload {
            Payload::Here(bytes) => bytes,
            Payload::OnItsWay(body) => self.cache.keep(read_to_end(*body, size).await?),
        };
        (bytes.len() as u64 == size).then(|| Kept::new(reply.object, bytes))
    }

    fn may_keep(&self, size: u64) -> bool {
        size <= self.app.memory_cache_max_object.min(self.cache.largest())
    }

    /// How long an answer may be served; `None` if it must not be kept.
    fn life(&self, object: &Representation, age: Duration) -> Option<Life> {
        let app = match self.app.is_settled(&self.key, SystemTime::now()) {
            true => self.app.caching,
            false => self.app.caching.capped_by(YOUNG),
        };
        Life::of(object.caching, app, age, object.etag.is_some())
    }
}

/// Gives an answer that is not for memory to the one who asked, if he is still there.
fn hand_over(give: &mut Option<oneshot::Sender<ReadReply>>, reply: ReadReply) {
    if let Some(give) = give.take() {
        let _ = give.send(reply);
    }
}

/// Memory itself, as the one who answers.
const OUR_OWN: Origin = Origin { source: Source::Memory, fallback: None };

/// What nobody could read to its end.
fn broken() -> Filled {
    let origin = Origin { source: Source::None, fallback: None };
    Filled::Refused { error: Error::StorageFailed, origin, remember: true }
}

async fn read_to_end(mut body: ReadBody, size: u64) -> Option<Bytes> {
    let mut bytes = BytesMut::with_capacity(usize::try_from(size).ok()?);
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.ok()?.into_data() else { continue };
        bytes.extend_from_slice(&data);
    }
    Some(bytes.freeze())
}

/// Whether an entry is the object that its record describes, where there is a record.
fn is_recorded(entry: &Entry, recorded: Option<&Stored>) -> bool {
    recorded
        .is_none_or(|recorded| recorded.etag.is_some() && recorded.etag.as_ref() == entry.etag())
}

/// Whether a refusal is one for all who ask within a second. What the record says is its own
/// business, and a 404 under a record that says otherwise may be over at any moment.
fn is_for_others(app: &App, error: &Error, source: Source) -> bool {
    match error {
        Error::NotFound => source != Source::None && !app.serves_only_ready(),
        Error::StorageFailed | Error::StorageTimeout => true,
        _ => false,
    }
}

fn revalidation(known: &Entry, filled: &Filled) -> MemoryRevalidation {
    match filled {
        Filled::Kept(entry, _) if entry.kept.bytes.are_those_of(&known.kept.bytes) => {
            MemoryRevalidation::Unchanged
        }
        Filled::Kept(..) | Filled::Unfit | Filled::Nothing => MemoryRevalidation::Changed,
        Filled::Refused { error: Error::NotFound, .. } => MemoryRevalidation::Missing,
        Filled::Refused { .. } => MemoryRevalidation::Failed,
    }
}

fn refusal(error: Error, Origin { source, fallback }: Origin) -> ReadReply {
    let object = Representation::default();
    ReadReply { outcome: Err(error), object, source, fallback, memory: None }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::ETag;

    #[test]
    fn only_the_recorded_version_is_served() {
        let tag = |text: Option<&str>| text.and_then(ETag::parse);
        let life = Life::of(YOUNG, YOUNG, Duration::ZERO, true).unwrap();
        for (kept, recorded, expected) in [
            (Some("\"a\""), Some(Some("\"a\"")), true),
            (Some("\"a\""), Some(Some("\"b\"")), false),
            (Some("W/\"a\""), Some(Some("\"a\"")), false),
            (None, Some(Some("\"a\"")), false),
            (None, Some(None), false),
            (Some("\"a\""), None, true),
            (None, None, true),
        ] {
            let object = Representation { etag: tag(kept), ..Representation::default() };
            let here = Arc::new(Kept::new(object, Shared::default()));
            let entry = Entry::new(here, Instant::now(), Duration::ZERO, life);
            let stored = recorded.map(|recorded| Stored {
                size: 0,
                content_type: None,
                etag: tag(recorded),
                version: None,
                dimensions: None,
            });
            let served = is_recorded(&entry, stored.as_ref());
            assert_eq!(served, expected, "{kept:?} and {recorded:?}");
        }
    }
}

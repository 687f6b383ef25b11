//! The healing body against sources that break at chosen bytes. The oracle is the object itself:
//! what is delivered as complete must be it, byte for byte; everything else must be broken off.

use std::collections::VecDeque;
use std::sync::Mutex;
use std::time::SystemTime;

use async_trait::async_trait;
use http_body_util::{BodyExt as _, StreamBody};
use proptest::prelude::*;

use super::*;
use crate::domain::{AppName, MediaType, ObjectMeta, Source, StoragePath};
use crate::metrics::Metrics;
use crate::storage::{
    ListPage, MultipartId, ObjectRead, PartGrant, PutGrant, SignedRequest, StorageError,
    UploadedPart,
};

/// How a source ends.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Ending {
    /// After this many bytes, with a broken connection.
    Break(usize),
    /// After this many bytes, as if that were all.
    Short(usize),
    /// Nothing more comes after this many bytes.
    Stall(usize),
    /// Where it should.
    Whole,
    /// This many bytes later than it should.
    Overrun(usize),
}

/// What a store does when it is asked to continue.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Store {
    /// The right bytes, ending like this.
    Right(Ending),
    /// Another version, saying so.
    OtherTag,
    /// Another version under `If-Match`.
    Refuses,
    /// The right version, but all of it: the range was ignored.
    IgnoresRange,
    /// A part that begins elsewhere.
    OtherPart,
    /// The object has another length by now.
    OtherLength,
    /// Nothing there.
    Missing,
    /// Fails.
    Down,
}

fn body_of(bytes: &[u8], chunk: usize, ending: Ending) -> ObjectBody {
    let (end, error, stall) = match ending {
        Ending::Break(at) => (at.min(bytes.len()), true, false),
        Ending::Short(at) => (at.min(bytes.len()), false, false),
        Ending::Stall(at) => (at.min(bytes.len()), false, true),
        Ending::Whole | Ending::Overrun(_) => (bytes.len(), false, false),
    };
    let mut sent = bytes[..end].to_vec();
    if let Ending::Overrun(more) = ending {
        sent.extend(std::iter::repeat_n(b'!', more));
    }
    let mut frames: VecDeque<Result<Frame<Bytes>, crate::storage::BodyError>> = sent
        .chunks(chunk.max(1))
        .map(|chunk| Ok(Frame::data(Bytes::copy_from_slice(chunk))))
        .collect();
    if error {
        frames.push_back(Err(Box::new(upstream::BodyError::Reset)));
    }
    ObjectBody::new(StreamBody::new(futures_util::stream::poll_fn(move |_| {
        match frames.pop_front() {
            None if stall => Poll::Pending,
            next => Poll::Ready(next),
        }
    })))
}

/// A store whose answers to `get` are scripted.
struct Scripted {
    object: Bytes,
    chunk: usize,
    answers: Mutex<VecDeque<Store>>,
}

fn etag(text: &str) -> ETag {
    ETag::parse(text).unwrap()
}

#[async_trait]
impl ObjectStore for Scripted {
    fn source(&self) -> Source {
        Source::S3
    }

    async fn get(&self, _: &StoragePath, options: &GetOptions) -> Result<ObjectRead, StorageError> {
        let answer = self.answers.lock().unwrap().pop_front().unwrap_or(Store::Down);
        let size = self.object.len() as u64;
        assert_eq!(options.if_match, Some(etag("\"v1\"")), "every continuation names its version");
        let range = options.range.unwrap().resolve(size).expect("never asks beyond the object");
        let (start, end) = (range.start as usize, range.end as usize + 1);
        let refuse = |kind| Err(StorageError::new(kind, "scripted"));
        let right = ContentRange { range, total: size };
        let (tag, part, body) = match answer {
            Store::Right(ending) => {
                ("\"v1\"", Some(right), body_of(&self.object[start..end], self.chunk, ending))
            }
            Store::OtherTag => (
                "\"v2\"",
                Some(right),
                body_of(&vec![b'?'; end - start], self.chunk, Ending::Whole),
            ),
            Store::IgnoresRange => {
                ("\"v1\"", None, body_of(&self.object, self.chunk, Ending::Whole))
            }
            Store::OtherPart => {
                let range = ByteRange { start: 0, end: range.end - range.start };
                (
                    "\"v1\"",
                    Some(ContentRange { range, total: size + 1 }),
                    body_of(&self.object, self.chunk, Ending::Whole),
                )
            }
            Store::OtherLength => (
                "\"v1\"",
                Some(ContentRange { range, total: size + 1 }),
                body_of(&self.object[start..end], self.chunk, Ending::Whole),
            ),
            Store::Refuses => return refuse(StorageErrorKind::PreconditionFailed),
            Store::Missing => return refuse(StorageErrorKind::NotFound),
            Store::Down => return refuse(StorageErrorKind::Unavailable),
        };
        let meta = ObjectMeta { size, etag: Some(etag(tag)), ..ObjectMeta::default() };
        Ok(ObjectRead { meta, part, body })
    }

    async fn sign_put(
        &self,
        _: &PutGrant<'_>,
        _: SystemTime,
    ) -> Result<SignedRequest, StorageError> {
        unreachable!("a body only reads")
    }
    async fn sign_get(
        &self,
        _: &StoragePath,
        _: Duration,
        _: SystemTime,
    ) -> Result<SignedRequest, StorageError> {
        unreachable!("a body only reads")
    }
    async fn head(&self, _: &StoragePath) -> Result<ObjectMeta, StorageError> {
        unreachable!("a body only reads")
    }
    async fn put(&self, _: &StoragePath, _: &str, _: Bytes) -> Result<ObjectMeta, StorageError> {
        unreachable!("a body only reads")
    }
    async fn delete(&self, _: &StoragePath, _: Option<&ObjectMeta>) -> Result<(), StorageError> {
        unreachable!("a body only reads")
    }
    async fn list(&self, _: &str, _: Option<&str>, _: u16) -> Result<ListPage, StorageError> {
        unreachable!("a body only reads")
    }
    async fn create_multipart(
        &self,
        _: &StoragePath,
        _: MediaType,
        _: bool,
    ) -> Result<MultipartId, StorageError> {
        unreachable!("a body only reads")
    }
    async fn sign_part(
        &self,
        _: &PartGrant<'_>,
        _: SystemTime,
    ) -> Result<SignedRequest, StorageError> {
        unreachable!("a body only reads")
    }
    async fn list_parts(
        &self,
        _: &StoragePath,
        _: &MultipartId,
    ) -> Result<Vec<UploadedPart>, StorageError> {
        unreachable!("a body only reads")
    }
    async fn complete_multipart(
        &self,
        _: &StoragePath,
        _: &MultipartId,
        _: &[UploadedPart],
    ) -> Result<(), StorageError> {
        unreachable!("a body only reads")
    }
    async fn abort_multipart(&self, _: &StoragePath, _: &MultipartId) -> Result<(), StorageError> {
        unreachable!("a body only reads")
    }
}

/// One read: an object, what of it is wanted, how the first source ends, and what storage does.
struct Case {
    object: Bytes,
    wanted: Option<ByteRange>,
    cut: bool,
    version: Option<Version>,
    chunk: usize,
    first: Ending,
    store: Vec<Store>,
}

impl Case {
    fn whole(size: usize, first: Ending, store: &[Store]) -> Self {
        let object: Bytes = (0..size).map(|n| (n % 251) as u8).collect();
        let version = Some(Version { etag: etag("\"v1\""), size: size as u64 });
        Self { object, wanted: None, cut: false, version, chunk: 7, first, store: store.to_vec() }
    }

    fn expected(&self) -> &[u8] {
        match self.wanted {
            Some(range) => &self.object[range.start as usize..=range.end as usize],
            None => &self.object,
        }
    }

    /// Reads it all; the bytes that came, and whether the end was clean.
    fn run(&self) -> (Vec<u8>, Result<(), BrokenOff>, Arc<Metrics>) {
        let metrics = Metrics::new();
        let app = AppName::parse("shop").unwrap();
        let store = Scripted {
            object: self.object.clone(),
            chunk: self.chunk,
            answers: Mutex::new(self.store.iter().copied().collect()),
        };
        let rescue = Rescue {
            store: Arc::new(store),
            prefix: KeyPrefix::parse("images/").unwrap(),
            key: ObjectKey::Foreign("x".into()),
            version: self.version.clone(),
            stall_timeout: Duration::from_secs(5),
            metrics: AppMetrics::new(&metrics, &app, Source::S3, true),
        };
        let size = self.object.len() as u64;
        let part = self.wanted.map(|range| ContentRange { range, total: size });
        let (window, source) = match part {
            None => (Window::whole(Some(size)), &self.object[..]),
            Some(part) if self.cut => (Window::cut(part), &self.object[..]),
            Some(part) => (Window::part(part), self.expected()),
        };
        let bytes = sources::Bytes::Storage(body_of(source, self.chunk, self.first));
        let mut body = ReadBody::new(bytes, window, rescue);
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
        let (got, end) = runtime.unwrap().block_on(async move {
            let mut got = Vec::new();
            loop {
                match body.frame().await {
                    None => return (got, Ok(())),
                    Some(Ok(frame)) => got.extend_from_slice(&frame.into_data().unwrap()),
                    Some(Err(broken)) => return (got, Err(broken)),
                }
            }
        });
        (got, end, metrics)
    }
}

fn counter(metrics: &Metrics, series: &str) -> u64 {
    let text = metrics.to_text().unwrap();
    let line = text.lines().find(|line| line.starts_with(series)).expect("the series exists");
    line.rsplit(' ').next().unwrap().parse().unwrap()
}

#[test]
fn every_way_to_break_is_healed_and_counted() {
    let right = Store::Right(Ending::Whole);
    for (first, reason) in
        [(Ending::Break(40), "reset"), (Ending::Short(40), "short"), (Ending::Stall(40), "stall")]
    {
        let case = Case::whole(100, first, &[right]);
        let (got, end, metrics) = case.run();
        assert_eq!((got.as_slice(), end), (case.expected(), Ok(())), "{first:?}");
        let series = format!("safelight_streams_healed_total{{app=\"shop\",reason=\"{reason}\"}}");
        assert_eq!(counter(&metrics, &series), 1, "{first:?}");
    }
}

#[test]
fn bytes_are_counted_under_the_source_that_gave_them() {
    let bytes = |case: &Case| {
        let (_, _, metrics) = case.run();
        counter(&metrics, "safelight_read_bytes_total{app=\"shop\",source=\"s3\"}")
    };
    assert_eq!(bytes(&Case::whole(100, Ending::Whole, &[])), 100);
    let healed = Case::whole(100, Ending::Break(40), &[Store::Right(Ending::Whole)]);
    assert_eq!(bytes(&healed), 100, "40 of the first answer, and the rest of the second");
    let large = Case::whole(3_000_000, Ending::Whole, &[]);
    assert_eq!(bytes(&large), 3_000_000, "counted in pieces, none twice");
    let broken = Case::whole(100, Ending::Break(40), &[Store::Down]);
    assert_eq!(bytes(&broken), 40, "also of a body that was broken off");
}

#[test]
fn what_cannot_be_continued_is_broken_off_with_its_cause() {
    let broken = Ending::Break(40);
    let again = Store::Right(Ending::Break(5));
    for (name, first, store, cause) in [
        ("another tag", broken, vec![Store::OtherTag], AbortCause::Changed),
        ("If-Match refused", broken, vec![Store::Refuses], AbortCause::Changed),
        ("gone", broken, vec![Store::Missing], AbortCause::Changed),
        ("another length", broken, vec![Store::OtherLength], AbortCause::Changed),
        ("another part", broken, vec![Store::OtherPart], AbortCause::Changed),
        ("the range ignored", broken, vec![Store::IgnoresRange], AbortCause::StorageFailed),
        ("storage down", broken, vec![Store::Down], AbortCause::StorageFailed),
        ("three breaks", broken, vec![again, again], AbortCause::Limit),
        ("more than promised", Ending::Overrun(3), vec![], AbortCause::Overrun),
    ] {
        let case = Case::whole(100, first, &store);
        let (got, end, metrics) = case.run();
        assert_eq!(end, Err(BrokenOff(cause)), "{name}");
        assert!(case.object.starts_with(&got), "{name}: what came before is right");
        let series =
            format!("safelight_streams_aborted_total{{app=\"shop\",cause=\"{}\"}}", cause.label());
        assert_eq!(counter(&metrics, &series), 1, "{name}");
    }
}

#[test]
fn without_a_strong_version_nothing_is_continued() {
    let case = Case {
        version: None,
        ..Case::whole(100, Ending::Break(40), &[Store::Right(Ending::Whole)])
    };
    let (got, end, _) = case.run();
    assert_eq!(end, Err(BrokenOff(AbortCause::NoValidator)));
    assert_eq!(got, &case.object[..40]);
}

#[test]
fn a_break_at_the_very_end_costs_nothing() {
    let case = Case::whole(100, Ending::Break(100), &[]);
    let (got, end, _) = case.run();
    assert_eq!((got.as_slice(), end), (case.expected(), Ok(())));
}

fn ending() -> impl Strategy<Value = Ending> {
    prop_oneof![
        (0usize..400).prop_map(Ending::Break),
        (0usize..400).prop_map(Ending::Short),
        (0usize..400).prop_map(Ending::Stall),
        Just(Ending::Whole),
        (1usize..50).prop_map(Ending::Overrun),
    ]
}

fn store() -> impl Strategy<Value = Store> {
    prop_oneof![
        6 => ending().prop_map(Store::Right),
        1 => Just(Store::OtherTag),
        1 => Just(Store::Refuses),
        1 => Just(Store::IgnoresRange),
        1 => Just(Store::OtherPart),
        1 => Just(Store::OtherLength),
        1 => Just(Store::Down),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn delivered_whole_and_right_or_visibly_broken(
        size in 0usize..300,
        bounds in (0usize..300, 0usize..300),
        (ranged, cut) in (any::<bool>(), any::<bool>()),
        chunk in 1usize..64,
        first in ending(),
        store in prop::collection::vec(store(), 0..4),
    ) {
        let mut case = Case { chunk, cut, ..Case::whole(size, first, &store) };
        if ranged && size > 0 {
            let (a, b) = (bounds.0 % size, bounds.1 % size);
            case.wanted = Some(ByteRange { start: a.min(b) as u64, end: a.max(b) as u64 });
        }
        let (got, end, _) = case.run();
        match end {
            Ok(()) => prop_assert_eq!(got.as_slice(), case.expected()),
            Err(_) => {
                prop_assert!(case.expected().starts_with(&got));
                prop_assert!(got.len() < case.expected().len() || matches!(first, Ending::Overrun(_))
                    || store.iter().any(|s| matches!(s, Store::Right(Ending::Overrun(_)))));
            }
        }
    }
}

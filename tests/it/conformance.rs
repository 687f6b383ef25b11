//! What every object store must do, whoever provides it. Each topic is a test for each store: see
//! the end of the file.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use futures_util::future::join_all;
use http::Method;
use http_body_util::BodyExt as _;
use safelight::domain::{ETag, MediaType, RangeRequest, StoragePath};
use safelight::storage::{
    GetOptions, MultipartId, ObjectMeta, ObjectRead, ObjectStore, PartGrant, PutGrant,
    SignedRequest, StorageErrorKind as Kind, UploadedPart,
};
use sha2::{Digest as _, Sha256};

use crate::harness::embedded as embedded_store;
use crate::harness::fake_gcs::{self, FakeGcs};
use crate::harness::memory_store::MemoryStore;
use crate::harness::plain_client::{Answer, Plain};
use crate::harness::seaweed::{Seaweed, open};

const JPEG: &str = "image/jpeg";
const QUARTER_HOUR: Duration = Duration::from_secs(900);

/// The smallest part that Amazon accepts, but for the last one.
const PART_BYTES: usize = 5 << 20;

/// How a server says no to a request that its signature does not cover.
const NOT_SIGNED: &[u16] = &[400, 401, 403];

/// How a server says that the object exists already, or is being written.
const EXISTS: &[u16] = &[409, 412];

/// A store, and the corner of it that one topic has for itself: stores may share a server.
struct Subject {
    store: Arc<dyn ObjectStore>,
    topic: String,
}

impl Subject {
    fn path(&self, name: &str) -> StoragePath {
        StoragePath::from_listing(&format!("{}/{name}", self.topic))
    }

    async fn put(&self, name: &str, body: &'static str) -> ObjectMeta {
        let body = Bytes::from_static(body.as_bytes());
        self.store.put(&self.path(name), JPEG, body).await.unwrap()
    }

    async fn head(&self, name: &str) -> Result<ObjectMeta, Kind> {
        self.store.head(&self.path(name)).await.map_err(|error| error.kind)
    }

    async fn get(&self, name: &str, options: GetOptions) -> Result<ObjectRead, Kind> {
        self.store.get(&self.path(name), &options).await.map_err(|error| error.kind)
    }

    async fn content(&self, name: &str) -> Bytes {
        let read = self.get(name, GetOptions::default()).await.unwrap();
        read.body.collect().await.unwrap().to_bytes()
    }

    async fn delete(&self, name: &str, only: Option<&ObjectMeta>) -> Result<(), Kind> {
        self.store.delete(&self.path(name), only).await.map_err(|error| error.kind)
    }

    /// Signs a PUT, after `change` has changed the plainest of grants.
    async fn grant(&self, name: &str, change: impl FnOnce(&mut PutGrant<'_>)) -> SignedRequest {
        let path = self.path(name);
        let mut grant = PutGrant {
            path: &path,
            media_type: MediaType::Jpeg,
            size: None,
            sha256: None,
            prevent_overwrite: false,
            expires_in: QUARTER_HOUR,
        };
        change(&mut grant);
        self.store.sign_put(&grant, SystemTime::now()).await.unwrap()
    }

    /// Sends each request, which the store must refuse without a trace of it.
    async fn refuses(&self, name: &str, requests: Vec<(&str, Plain)>) {
        for (why, request) in requests {
            request.send().await.assert_refused_with(NOT_SIGNED, why);
            assert_eq!(self.head(name).await, Err(Kind::NotFound), "{why}");
        }
    }
}

/// Writing and reading.
mod objects {
    use super::*;

    pub(super) async fn what_is_put_is_there(s: Subject) {
        let put = s.put("a.jpg", "hello").await;
        let head = s.head("a.jpg").await.unwrap();
        assert_eq!(head.size, 5);
        assert_eq!(head.content_type.as_deref(), Some(JPEG));
        assert!(head.etag.is_some());
        assert_eq!(head.etag, put.etag);
        let age = SystemTime::now().duration_since(head.last_modified.unwrap());
        assert!(age.unwrap_or_default() < Duration::from_secs(600), "{:?}", head.last_modified);

        let read = s.get("a.jpg", GetOptions::default()).await.unwrap();
        assert_eq!((&read.meta, read.part), (&head, None));
        assert_eq!(read.body.collect().await.unwrap().to_bytes(), "hello");

        let changed = s.put("a.jpg", "other").await;
        assert_ne!(changed.etag, put.etag);
        assert_eq!(s.content("a.jpg").await, "other");
    }

    pub(super) async fn an_empty_object_is_an_object(s: Subject) {
        s.put("empty.jpg", "").await;
        assert_eq!(s.head("empty.jpg").await.unwrap().size, 0);
        assert_eq!(s.content("empty.jpg").await, "");
        let range = Some(RangeRequest::From(0));
        let read = s.get("empty.jpg", GetOptions { range, ..GetOptions::default() }).await;
        // RFC 9110 §14.1.2 makes it unsatisfiable; a server may as well ignore the range.
        match read {
            Err(kind) => assert!(matches!(kind, Kind::RangeNotSatisfiable { .. }), "{kind:?}"),
            Ok(read) => assert_eq!((read.meta.size, read.part), (0, None)),
        }
    }

    pub(super) async fn what_is_missing_is_not_found(s: Subject) {
        assert_eq!(s.head("missing.jpg").await, Err(Kind::NotFound));
        let whole = s.get("missing.jpg", GetOptions::default()).await;
        assert_eq!(whole.err(), Some(Kind::NotFound));
        let range = Some(RangeRequest::Last(1));
        let part = s.get("missing.jpg", GetOptions { range, ..GetOptions::default() }).await;
        assert_eq!(part.err(), Some(Kind::NotFound));
    }

    pub(super) async fn a_large_object_arrives_whole(s: Subject) {
        let body: Bytes = (0..3_000_000u32).map(|i| (i * 31 % 251) as u8).collect();
        s.store.put(&s.path("large.jpg"), JPEG, body.clone()).await.unwrap();
        assert!(s.content("large.jpg").await == body);
    }

    pub(super) async fn parts_of_an_object(s: Subject) {
        s.put("ten.jpg", "0123456789").await;
        for (range, expected, start) in [
            (RangeRequest::Between(2, 4), "234", 2),
            (RangeRequest::Between(0, 0), "0", 0),
            (RangeRequest::Between(8, 100), "89", 8),
            (RangeRequest::From(7), "789", 7),
            (RangeRequest::From(0), "0123456789", 0),
            (RangeRequest::Last(3), "789", 7),
            (RangeRequest::Last(30), "0123456789", 0),
        ] {
            let options = GetOptions { range: Some(range), ..GetOptions::default() };
            let read = s.get("ten.jpg", options).await.unwrap();
            let part = read.part.unwrap_or_else(|| panic!("{range} is answered with a part"));
            assert_eq!((part.range.start, part.total, read.meta.size), (start, 10, 10), "{range}");
            assert_eq!(part.range.len(), expected.len() as u64, "{range}");
            assert_eq!(read.body.collect().await.unwrap().to_bytes(), expected, "{range}");
        }
        for range in [RangeRequest::From(10), RangeRequest::Between(10, 12)] {
            let options = GetOptions { range: Some(range), ..GetOptions::default() };
            let kind = s.get("ten.jpg", options).await.err();
            let unsatisfiable =
                matches!(kind, Some(Kind::RangeNotSatisfiable { size: None | Some(10) }));
            assert!(unsatisfiable, "{range}: {kind:?}");
        }
    }

    pub(super) async fn conditions(s: Subject) {
        let tag = s.put("a.jpg", "hello").await.etag.unwrap();
        let other = ETag::parse("\"0123456789abcdef0123456789abcdef\"").unwrap();
        let matching =
            |tag: &ETag| GetOptions { if_match: Some(tag.clone()), ..GetOptions::default() };
        let none_of = |tags: &[&ETag]| GetOptions {
            if_none_match: tags.iter().map(|tag| (*tag).clone()).collect(),
            ..GetOptions::default()
        };
        let range = Some(RangeRequest::From(3));

        assert!(s.get("a.jpg", matching(&tag)).await.is_ok());
        assert!(s.get("a.jpg", none_of(&[&other])).await.is_ok());
        let rest = s.get("a.jpg", GetOptions { range, ..matching(&tag) }).await.unwrap();
        assert_eq!(rest.body.collect().await.unwrap().to_bytes(), "lo");

        for (options, expected) in [
            (matching(&other), Kind::PreconditionFailed),
            (GetOptions { range, ..matching(&other) }, Kind::PreconditionFailed),
            (none_of(&[&tag]), Kind::NotModified),
            (none_of(&[&other, &tag]), Kind::NotModified),
        ] {
            let kind = s.get("a.jpg", options.clone()).await.err();
            assert_eq!(kind, Some(expected), "{options:?}");
        }
    }

    pub(super) async fn keys_of_every_kind(s: Subject) {
        // Each pair would be one object, if a space or a percent sign were encoded once too often
        // or too seldom.
        let names = [
            "a b.jpg",
            "a+b.jpg",
            "a%20b.jpg",
            "a%2Bb.jpg",
            "café.jpg",
            "漢字.jpg",
            "100%.jpg",
            "q?x=1&y=2.jpg",
            "#1.jpg",
            "(1)'*!~.jpg",
            "a:b@c;d,e.jpg",
            "deep/er/path.jpg",
        ];
        for (index, name) in names.into_iter().enumerate() {
            let body = Bytes::from(format!("body {index}"));
            s.store.put(&s.path(name), JPEG, body).await.unwrap_or_else(|e| panic!("{name}: {e}"));
        }
        let page = s.store.list(&format!("{}/", s.topic), None, 1_000).await.unwrap();
        let mut listed: Vec<_> = page.objects.iter().map(|o| o.path.as_str().to_owned()).collect();
        listed.sort_unstable();
        let mut expected: Vec<_> = names.map(|name| s.path(name).as_str().to_owned()).to_vec();
        expected.sort_unstable();
        assert_eq!(listed, expected);
        for (index, name) in names.into_iter().enumerate() {
            assert_eq!(s.content(name).await, format!("body {index}"), "{name}");
            let signed = s.grant(name, |_| ()).await;
            Plain::put(&signed, "by the client").send().await.assert_success();
            assert_eq!(s.content(name).await, "by the client", "{name}");
            s.delete(name, None).await.unwrap();
            assert_eq!(s.head(name).await, Err(Kind::NotFound), "{name}");
        }
    }
}

/// Deleting and listing.
mod housekeeping {
    use super::*;

    pub(super) async fn deleting(s: Subject) {
        s.put("a.jpg", "hello").await;
        s.delete("a.jpg", None).await.unwrap();
        assert_eq!(s.head("a.jpg").await, Err(Kind::NotFound));
        s.delete("a.jpg", None).await.expect("deleting again is a success");
    }

    pub(super) async fn deleting_one_version_only(s: Subject) {
        s.put("a.jpg", "first").await;
        let first = s.head("a.jpg").await.unwrap();
        s.put("a.jpg", "second").await;
        let second = s.head("a.jpg").await.unwrap();

        // Where the store keeps versions, the first one may still be there to be deleted.
        match s.delete("a.jpg", Some(&first)).await {
            Ok(()) => assert!(first.version.is_some(), "nothing tells the first version"),
            refused => assert_eq!(refused, Err(Kind::PreconditionFailed)),
        }
        assert_eq!(s.content("a.jpg").await, "second");
        s.delete("a.jpg", Some(&second)).await.unwrap();
        assert_eq!(s.head("a.jpg").await, Err(Kind::NotFound));
        s.delete("a.jpg", Some(&second)).await.expect("deleting again is a success");
    }

    pub(super) async fn listing_in_pages(s: Subject) {
        for name in ["p/c", "p/a", "p/e", "p/b", "p/d", "q/a"] {
            s.put(name, "hello").await;
        }
        let prefix = format!("{}/p/", s.topic);
        let (mut names, mut pages, mut from) = (vec![], 0, None);
        loop {
            let page = s.store.list(&prefix, from.as_deref(), 2).await.unwrap();
            assert!(page.objects.len() <= 2);
            assert!(page.objects.iter().all(|o| o.size == 5 && o.etag.is_some()));
            names.extend(page.objects.into_iter().map(|object| object.path));
            pages += 1;
            match page.next {
                Some(next) => from = Some(next),
                None => break,
            }
        }
        assert_eq!(names, ["p/a", "p/b", "p/c", "p/d", "p/e"].map(|name| s.path(name)));
        assert_eq!(pages, 3);

        let meta = s.head("p/a").await.unwrap();
        let page = s.store.list(&prefix, None, 1_000).await.unwrap();
        assert_eq!((page.objects[0].etag.clone(), page.next), (meta.etag, None));
        let nothing = s.store.list(&format!("{}/nothing/", s.topic), None, 10).await.unwrap();
        assert_eq!((nothing.objects, nothing.next), (vec![], None));
    }
}

/// Multipart uploads.
mod multipart {
    use super::*;

    struct Upload {
        path: StoragePath,
        id: MultipartId,
    }

    impl Upload {
        async fn begin(s: &Subject) -> Self {
            Self::begin_with(s, false).await
        }

        async fn begin_with(s: &Subject, checksums: bool) -> Self {
            let path = s.path("assembled.jpg");
            let id = s.store.create_multipart(&path, MediaType::Jpeg, checksums).await.unwrap();
            Self { path, id }
        }

        fn grant(&self, number: u16, body: &[u8]) -> PartGrant<'_> {
            PartGrant {
                path: &self.path,
                upload: &self.id,
                number,
                size: body.len() as u64,
                sha256: None,
                expires_in: QUARTER_HOUR,
            }
        }

        async fn sign(&self, s: &Subject, number: u16, body: &[u8]) -> SignedRequest {
            s.store.sign_part(&self.grant(number, body), SystemTime::now()).await.unwrap()
        }

        async fn send(&self, s: &Subject, number: u16, body: Bytes) -> UploadedPart {
            let size = body.len() as u64;
            let answer = Plain::put(&self.sign(s, number, &body).await, body).send().await;
            answer.assert_success();
            UploadedPart { number, size, etag: etag(&answer), sha256: None }
        }

        async fn complete(&self, s: &Subject, parts: &[UploadedPart]) -> Result<(), Kind> {
            let completed = s.store.complete_multipart(&self.path, &self.id, parts).await;
            completed.map_err(|error| error.kind)
        }

        async fn parts(&self, s: &Subject) -> Result<Vec<UploadedPart>, Kind> {
            s.store.list_parts(&self.path, &self.id).await.map_err(|error| error.kind)
        }
    }

    fn etag(answer: &Answer) -> ETag {
        ETag::parse(answer.headers["etag"].to_str().unwrap()).unwrap()
    }

    fn large(fill: u8) -> Bytes {
        vec![fill; PART_BYTES].into()
    }

    pub(super) async fn assembling(s: Subject) {
        let upload = Upload::begin(&s).await;
        assert_eq!(upload.parts(&s).await, Ok(vec![]));
        // Out of order, and one of them again, as after an answer that was lost.
        let second = upload.send(&s, 2, Bytes::from_static(b"the end")).await;
        upload.send(&s, 1, large(b'a')).await;
        let first = upload.send(&s, 1, large(b'a')).await;
        let parts = vec![first, second];
        assert_eq!(upload.parts(&s).await, Ok(parts.clone()));
        assert_eq!(s.head("assembled.jpg").await, Err(Kind::NotFound));

        upload.complete(&s, &parts).await.unwrap();
        let meta = s.head("assembled.jpg").await.unwrap();
        assert_eq!(meta.size, PART_BYTES as u64 + 7);
        assert_eq!(meta.content_type.as_deref(), Some(JPEG));
        let content = s.content("assembled.jpg").await;
        assert!(content.starts_with(b"aaa") && content.ends_with(b"athe end"));
        assert_eq!(upload.parts(&s).await, Err(Kind::NoSuchUpload));
    }

    pub(super) async fn wrong_parts_assemble_nothing(s: Subject) {
        let upload = Upload::begin(&s).await;
        let first = upload.send(&s, 1, large(b'a')).await;
        let second = upload.send(&s, 2, Bytes::from_static(b"the end")).await;
        let never_sent = UploadedPart { number: 3, ..second.clone() };
        let wrong_tag = UploadedPart { etag: first.etag.clone(), ..second.clone() };
        for (why, parts) in [
            ("no parts", vec![]),
            ("a part that was never sent", vec![first.clone(), second.clone(), never_sent]),
            ("a part with the tag of another", vec![first.clone(), wrong_tag]),
            ("parts out of order", vec![second.clone(), first.clone()]),
        ] {
            assert_eq!(upload.complete(&s, &parts).await, Err(Kind::WrongParts), "{why}");
            assert_eq!(s.head("assembled.jpg").await, Err(Kind::NotFound), "{why}");
        }
        upload.complete(&s, &[first, second]).await.expect("the right parts still can be");
    }

    pub(super) async fn giving_up(s: Subject) {
        let upload = Upload::begin(&s).await;
        let part = upload.send(&s, 1, Bytes::from_static(b"all")).await;
        s.store.abort_multipart(&upload.path, &upload.id).await.unwrap();
        s.store.abort_multipart(&upload.path, &upload.id).await.expect("again is a success");
        assert_eq!(upload.parts(&s).await, Err(Kind::NoSuchUpload));
        assert_eq!(upload.complete(&s, &[part]).await, Err(Kind::NoSuchUpload));
        let late = Plain::put(&upload.sign(&s, 2, b"late").await, "late").send().await;
        late.assert_refused_with(&[404], "a part of an upload that was given up");
        assert_eq!(s.head("assembled.jpg").await, Err(Kind::NotFound));
    }

    pub(super) async fn a_part_url_is_good_for_that_part_only(s: Subject) {
        let upload = Upload::begin(&s).await;
        let signed = upload.sign(&s, 1, b"x").await;
        let mut other_part = Plain::put(&signed, "x");
        other_part.url = other_part.url.replace("partNumber=1&", "partNumber=2&");
        assert_ne!(other_part.url, signed.url);
        let early = SystemTime::now() - 2 * QUARTER_HOUR;
        let expired = s.store.sign_part(&upload.grant(1, b"x"), early).await.unwrap();
        for (why, request) in [
            ("another part", other_part),
            ("a longer part", Plain::put(&signed, "xx")),
            ("a shorter part", Plain::put(&signed, "")),
            ("an expired URL", Plain::put(&expired, "x")),
        ] {
            request.send().await.assert_refused_with(NOT_SIGNED, why);
        }
        assert_eq!(upload.parts(&s).await, Ok(vec![]));
    }

    /// Each part is held to its own checksum, and the whole is still assembled.
    pub(super) async fn parts_with_checksums(s: Subject) {
        let upload = Upload::begin_with(&s, true).await;
        let bodies = [large(b'a'), Bytes::from_static(b"the end")];
        for (number, body) in (1..).zip(&bodies) {
            let sha256 = Some(Sha256::digest(body).into());
            let grant = PartGrant { sha256, ..upload.grant(number, body) };
            let signed = s.store.sign_part(&grant, SystemTime::now()).await.unwrap();
            let mut other = body.to_vec();
            other[0] ^= 1;
            let other = Plain::put(&signed, other).send().await;
            other.assert_refused_with(NOT_SIGNED, "other bytes of the same length");
            assert_eq!(upload.parts(&s).await.unwrap().len(), usize::from(number) - 1);
            Plain::put(&signed, body.clone()).send().await.assert_success();
        }
        // Not every server tells in its list what it wants to hear again.
        let mut parts = upload.parts(&s).await.unwrap();
        for (part, body) in parts.iter_mut().zip(&bodies) {
            let sha256 = Some(Sha256::digest(body).into());
            assert!(part.sha256.is_none() || part.sha256 == sha256);
            part.sha256 = sha256;
        }
        upload.complete(&s, &parts).await.unwrap();
        assert_eq!(s.content("assembled.jpg").await, bodies.concat());
    }
}

/// What a signed PUT lets its holder do, and what it does not.
mod grants {
    use super::*;

    pub(super) async fn the_right_put_succeeds(s: Subject) {
        let signed = s.grant("a.jpg", |_| ()).await;
        Plain::put(&signed, "hello").send().await.assert_success();
        let meta = s.head("a.jpg").await.unwrap();
        assert_eq!((meta.size, meta.content_type.as_deref()), (5, Some(JPEG)));
        assert_eq!(s.content("a.jpg").await, "hello");
    }

    pub(super) async fn another_request_is_refused(s: Subject) {
        let signed = s.grant("a.jpg", |_| ()).await;
        let put = || Plain::put(&signed, "hello");
        let bend = |change: &dyn Fn(&mut Plain)| {
            let mut request = put();
            change(&mut request);
            request
        };
        let (rest, last) = signed.url.split_at(signed.url.len() - 1);
        let tampered = format!("{rest}{}", if last == "0" { "1" } else { "0" });
        s.refuses(
            "a.jpg",
            vec![
                ("another type", put().with_header("Content-Type", Some("text/html"))),
                ("no type", put().with_header("Content-Type", None)),
                ("another method", bend(&|r| r.method = Method::GET)),
                ("deletion", bend(&|r| r.method = Method::DELETE)),
                ("another key", bend(&|r| r.url = r.url.replace("a.jpg", "b.jpg"))),
                ("a longer life", bend(&|r| r.url = r.url.replace("Expires=", "Expires=9"))),
                ("another signature", bend(&|r| r.url.clone_from(&tampered))),
                ("no signature", bend(&|r| r.url.truncate(r.url.find('?').unwrap()))),
            ],
        )
        .await;
        assert_eq!(s.head("b.jpg").await, Err(Kind::NotFound));
        put().send().await.assert_success();
    }

    pub(super) async fn the_declared_size_is_the_only_one(s: Subject) {
        let signed = s.grant("a.jpg", |grant| grant.size = Some(5)).await;
        let put = |body: &'static str| Plain::put(&signed, body);
        let others = vec![("longer", put("hello!")), ("shorter", put("hell")), ("none", put(""))];
        s.refuses("a.jpg", others).await;
        put("hello").send().await.assert_success();
        assert_eq!(s.content("a.jpg").await, "hello");
    }

    pub(super) async fn what_exists_is_kept(s: Subject) {
        let signed = s.grant("a.jpg", |grant| grant.prevent_overwrite = true).await;
        let put = |body: &'static str| Plain::put(&signed, body);
        let unconditional =
            signed.headers.iter().fold(put("x"), |request, (name, _)| match *name {
                "Content-Type" => request,
                condition => request.with_header(condition, None),
            });
        s.refuses("a.jpg", vec![("without the condition", unconditional)]).await;
        put("first").send().await.assert_success();
        put("second").send().await.assert_refused_with(EXISTS, "the second PUT");
        assert_eq!(s.content("a.jpg").await, "first");
    }

    pub(super) async fn of_many_at_once_one_creates(s: Subject) {
        let signed = s.grant("a.jpg", |grant| grant.prevent_overwrite = true).await;
        let bodies: Vec<String> = (0..8).map(|writer| format!("writer {writer:02}")).collect();
        let puts = bodies.iter().map(|body| Plain::put(&signed, body.clone()).send());
        let answers = join_all(puts).await;
        let winners: Vec<_> =
            answers.iter().zip(&bodies).filter(|(answer, _)| answer.status.is_success()).collect();
        assert_eq!(winners.len(), 1);
        for answer in answers.iter().filter(|answer| !answer.status.is_success()) {
            answer.assert_refused_with(EXISTS, "a writer that came second");
        }
        assert_eq!(s.content("a.jpg").await, winners[0].1.as_str());
    }
}

/// What a signed GET lets its holder do, and what it does not.
mod signed_reads {
    use super::*;

    async fn sign(s: &Subject, name: &str, expires_in: Duration, now: SystemTime) -> SignedRequest {
        s.store.sign_get(&s.path(name), expires_in, now).await.unwrap()
    }

    fn get(signed: &SignedRequest) -> Plain {
        assert!(signed.headers.is_empty(), "a reader has no headers to send");
        Plain::new(Method::GET, signed.url.clone())
    }

    pub(super) async fn the_object_is_read(s: Subject) {
        s.put("a b+é%.jpg", "hello").await;
        let now = SystemTime::now();
        let signed = sign(&s, "a b+é%.jpg", QUARTER_HOUR, now).await;
        let left = signed.expires_at.duration_since(now).unwrap();
        assert!(left <= QUARTER_HOUR && left > QUARTER_HOUR - Duration::from_secs(2), "{left:?}");
        let answer = get(&signed).send().await;
        answer.assert_success();
        assert_eq!((answer.text().as_str(), answer.header("content-type")), ("hello", JPEG));
        let part = get(&signed).with_header("Range", Some("bytes=1-2")).send().await;
        assert_eq!((part.status.as_u16(), part.text().as_str()), (206, "el"));
        // A permission for what is not there is no statement about it.
        let missing = sign(&s, "missing.jpg", QUARTER_HOUR, now).await;
        get(&missing).send().await.assert_refused_with(&[404], "a missing object");
    }

    pub(super) async fn another_request_is_refused(s: Subject) {
        s.put("a.jpg", "hello").await;
        s.put("b.jpg", "of another").await;
        let now = SystemTime::now();
        let signed = sign(&s, "a.jpg", QUARTER_HOUR, now).await;
        let bend = |change: &dyn Fn(&mut Plain)| {
            let mut request = get(&signed);
            change(&mut request);
            request
        };
        let (rest, last) = signed.url.split_at(signed.url.len() - 1);
        let tampered = format!("{rest}{}", if last == "0" { "1" } else { "0" });
        let write = Plain { method: Method::PUT, ..get(&signed).with_body("changed") };
        for (why, request) in [
            ("another key", bend(&|r| r.url = r.url.replace("a.jpg", "b.jpg"))),
            ("a write", write),
            ("deletion", bend(&|r| r.method = Method::DELETE)),
            ("a longer life", bend(&|r| r.url = r.url.replace("Expires=", "Expires=9"))),
            ("another signature", bend(&|r| r.url.clone_from(&tampered))),
            ("no signature", bend(&|r| r.url.truncate(r.url.find('?').unwrap()))),
        ] {
            let answer = request.send().await;
            answer.assert_refused_with(NOT_SIGNED, why);
            assert!(!answer.text().contains("hello") && !answer.text().contains("of another"));
        }
        assert_eq!(
            (s.content("a.jpg").await, s.content("b.jpg").await),
            ("hello".into(), "of another".into())
        );

        let long_ago = now - QUARTER_HOUR - Duration::from_secs(5);
        let expired = sign(&s, "a.jpg", QUARTER_HOUR, long_ago).await;
        assert!(expired.expires_at < now);
        get(&expired).send().await.assert_refused_with(NOT_SIGNED, "an expired URL");
        let week = Duration::from_secs(7 * 86_400);
        for life in [Duration::ZERO, week + Duration::from_secs(1)] {
            let refused = s.store.sign_get(&s.path("a.jpg"), life, now).await;
            match refused {
                Err(error) => assert_eq!(error.kind, Kind::Unsupported, "{life:?}"),
                // Where a key of the provider's signs, no URL lives longer than that.
                Ok(signed) => assert!(signed.expires_at < now + week && life > week, "{life:?}"),
            }
        }
    }
}

/// What can be said of the content of an upload, where the provider checks it.
mod checksums {
    use super::*;

    pub(super) async fn the_declared_checksum_is_the_only_one(s: Subject) {
        let sha256 = Sha256::digest("hello").into();
        let signed = s.grant("a.jpg", |grant| grant.sha256 = Some(sha256)).await;
        let put = |body: &'static str| Plain::put(&signed, body);
        let matching_lie = signed
            .headers
            .iter()
            .find(|(name, _)| *name == "x-amz-checksum-sha256")
            .map(|(name, _)| {
                let sum = aws_smithy_types::base64::encode(Sha256::digest("other"));
                ("other content with its own checksum", put("other").with_header(name, Some(&sum)))
            });
        let mut others = vec![("other content of the same length", put("other"))];
        others.extend(matching_lie);
        s.refuses("a.jpg", others).await;
        put("hello").send().await.assert_success();
        assert_eq!(s.content("a.jpg").await, "hello");
    }
}

/// What has run out.
mod clocks {
    use super::*;

    pub(super) async fn an_expired_url_is_refused(s: Subject) {
        let path = s.path("a.jpg");
        let grant = PutGrant {
            path: &path,
            media_type: MediaType::Jpeg,
            size: None,
            sha256: None,
            prevent_overwrite: false,
            expires_in: QUARTER_HOUR,
        };
        let early = SystemTime::now() - QUARTER_HOUR - Duration::from_secs(5);
        let signed = s.store.sign_put(&grant, early).await.unwrap();
        assert!(signed.expires_at < SystemTime::now());
        s.refuses("a.jpg", vec![("an expired URL", Plain::put(&signed, "hello"))]).await;
    }
}

/// Makes each topic a test of one store. What not every provider has is named after the store.
macro_rules! conformance {
    ($store:ident, $open:expr $(, $feature:ident)*) => {
        mod $store {
            use super::*;
            conformance! { @room $open; objects: what_is_put_is_there,
                an_empty_object_is_an_object, what_is_missing_is_not_found,
                a_large_object_arrives_whole, parts_of_an_object, conditions, keys_of_every_kind }
            conformance! { @room $open; housekeeping: deleting, deleting_one_version_only,
                listing_in_pages }
            conformance! { @room $open; grants: the_right_put_succeeds, another_request_is_refused,
                the_declared_size_is_the_only_one, what_exists_is_kept,
                of_many_at_once_one_creates }
            conformance! { @room $open; signed_reads: the_object_is_read,
                another_request_is_refused }
            conformance! { @room $open; clocks: an_expired_url_is_refused }
            $(conformance! { @feature $feature $open })*
        }
    };
    (@feature multipart $open:expr) => {
        conformance! { @room $open; multipart: assembling, wrong_parts_assemble_nothing, giving_up,
            a_part_url_is_good_for_that_part_only,
            parts_with_checksums }
    };
    (@feature checksums $open:expr) => {
        conformance! { @room $open; checksums: the_declared_checksum_is_the_only_one }
    };
    (@room $open:expr; $room:ident: $($topic:ident),+) => {
        mod $room {
            use super::*;
            $(#[tokio::test]
            async fn $topic() {
                let store: Arc<dyn ObjectStore> = Arc::new($open);
                let topic = format!("{}/{}", module_path!(), stringify!($topic));
                let topic = topic.replace("::", "/");
                super::super::$room::$topic(Subject { store, topic }).await;
            })+
        }
    };
}

// A new store is one more line here.
conformance!(embedded, open(embedded_store::start().await), multipart, checksums);
conformance!(seaweed, open(Seaweed::shared().await.config()), multipart, checksums);
conformance!(
    seaweed_versioned,
    open(Seaweed::shared().await.versioned_config()),
    multipart,
    checksums
);
conformance!(memory, MemoryStore::start().await, multipart, checksums);
conformance!(gcs, fake_gcs::open(FakeGcs::shared().await.config().await));
conformance!(gcs_keyless, fake_gcs::open(FakeGcs::shared().await.keyless_config().await));

//! What the bucket must do: take signed PUTs and hold them to what was signed, be read as the
//! gateway reads, tell what is missing, delete.

use std::time::{Duration, SystemTime};

use http::header::{CONTENT_TYPE, DATE, ORIGIN};
use http::{HeaderMap, HeaderValue, Method};

use crate::domain::{ETag, ObjectMeta, RangeRequest, StoragePath};
use crate::storage::{GetOptions, ObjectRead, StorageError, StorageErrorKind};

use super::check::Finding;
use super::fix::Place;
use super::{Examination, NO_PROBE, PROBE, PROBE_TYPE, plain};

/// The type that was not signed: what an attacker would store, for its script.
const OTHER_TYPE: HeaderValue = HeaderValue::from_static("text/html");

/// How long ago the expired URL was signed. Servers allow clocks to differ by 15 minutes.
const LONG_AGO: Duration = Duration::from_secs(3_600);

/// How far the clocks may be apart. At 15 minutes Amazon refuses requests, and before that URLs
/// live longer or shorter than they should.
const MAX_SKEW: Duration = Duration::from_secs(5 * 60);

/// The range that is asked for: the name and size of the probe's first chunk.
const FIRST: u64 = 8;
const LAST: u64 = 15;

const PUT_OBJECT: &str = "s3:PutObject";
const GET_OBJECT: &str = "s3:GetObject";
const DELETE_OBJECT: &str = "s3:DeleteObject (where the bucket keeps versions, \
    s3:GetObjectVersion and s3:DeleteObjectVersion too)";

/// Why there must be a difference between missing and forbidden.
const LIST_BUCKET: &str = "without it storage answers 403 for an object that does not exist, and \
    the gateway answers 502 instead of 404 wherever it cannot be sure: broken credentials must \
    never look like missing photos";

impl Examination<'_> {
    fn place(&self) -> Place<'_> {
        Place { app: self.app, bucket: self.bucket }
    }

    fn call_failed(&self, error: &StorageError, permission: &str) -> Finding {
        Finding::fail(error.detail.as_str(), self.place().of_call(error.kind, permission))
    }
}

pub(super) async fn put(exam: &mut Examination<'_>) -> Finding {
    let path = exam.path("");
    let signed = match exam.sign(&path, SystemTime::now()).await {
        Ok(signed) => signed,
        Err(error) => return exam.call_failed(&error, PUT_OBJECT),
    };
    let mut headers = plain::headers_of(&signed);
    if let Some(origin) = exam.origins.first().and_then(|origin| page_of(origin)) {
        headers.insert(ORIGIN, origin);
    }
    exam.written.push(path);
    let sent = plain::send(exam.client, Method::PUT, &signed, headers, Examination::probe()).await;
    if let Ok(answer) = &sent {
        let theirs = httpdate::parse_http_date(answer.header(DATE)).ok();
        exam.clocks = theirs.map(|theirs| (answer.came_at, theirs));
    }
    match sent {
        Err(error) => {
            if error.means_unsent() {
                exam.written.pop();
            }
            Finding::fail(error.to_string(), exam.place().of_silence(&error))
        }
        Ok(answer) if answer.status.is_success() => {
            let finding = Finding::pass(format!("{} with {} bytes", answer.status, PROBE.len()));
            exam.put = Some(answer);
            finding
        }
        Ok(answer) => {
            if !answer.status.is_server_error() {
                exam.written.pop();
            }
            let status = answer.status.as_u16();
            Finding::fail(
                answer.summary(),
                exam.place().of_refusal(status, answer.code(), PUT_OBJECT),
            )
        }
    }
}

/// The page that asks on behalf of an origin: where all are allowed, any.
pub(super) fn page_of(origin: &str) -> Option<HeaderValue> {
    let page = if origin == "*" { "https://any-page.example" } else { origin };
    HeaderValue::try_from(page).ok()
}

/// Compares the clocks by the first answer, whatever it was: a wrong clock is why some are refused.
pub(super) fn clock(exam: &Examination<'_>) -> Finding {
    match exam.clocks {
        Some((ours, theirs)) => compare_clocks(ours, theirs),
        None => Finding::not_checked("storage does not tell its time"),
    }
}

fn compare_clocks(ours: SystemTime, theirs: SystemTime) -> Finding {
    let (skew, how) = match ours.duration_since(theirs) {
        Ok(ahead) => (ahead, "ahead of"),
        Err(behind) => (behind.duration(), "behind"),
    };
    // Their time is told in whole seconds.
    if skew <= Duration::from_secs(1) {
        return Finding::pass("to the second");
    }
    let seen = format!("this machine is {} s {how} storage", skew.as_secs());
    if skew <= MAX_SKEW {
        return Finding::pass(seen);
    }
    Finding::fail(seen, "set this machine's clock, and let NTP keep it: signatures carry the time")
}

pub(super) async fn other_type(exam: &mut Examination<'_>) -> Finding {
    let change = |headers: &mut HeaderMap| {
        headers.insert(CONTENT_TYPE, OTHER_TYPE);
    };
    refused(exam, "-other-type", SystemTime::now(), change).await
}

pub(super) async fn expired(exam: &mut Examination<'_>) -> Finding {
    refused(exam, "-expired", SystemTime::now() - LONG_AGO, |_| {}).await
}

/// Sends a PUT that must be refused, to an object of its own.
async fn refused(
    exam: &mut Examination<'_>,
    suffix: &str,
    signed_at: SystemTime,
    change: impl FnOnce(&mut HeaderMap),
) -> Finding {
    if exam.put.is_none() {
        // Then a refusal would prove nothing.
        return Finding::not_checked(NO_PROBE);
    }
    let path = exam.path(suffix);
    let signed = match exam.sign(&path, signed_at).await {
        Ok(signed) => signed,
        Err(error) => return exam.call_failed(&error, PUT_OBJECT),
    };
    let mut headers = plain::headers_of(&signed);
    change(&mut headers);
    exam.written.push(path);
    let sent = plain::send(exam.client, Method::PUT, &signed, headers, Examination::probe()).await;
    match sent {
        Err(error) => Finding::fail(error.to_string(), exam.place().of_silence(&error)),
        Ok(answer) if answer.status.is_client_error() => {
            exam.written.pop();
            Finding::pass(format!("{} {}", answer.status.as_u16(), answer.code()).trim_end())
        }
        Ok(answer) if answer.status.is_success() => Finding::fail(
            format!("{}: it was accepted", answer.status.as_u16()),
            "do not open uploads on this storage: it does not hold clients to what was signed",
        ),
        Ok(answer) => Finding::fail(
            answer.summary(),
            exam.place().of_refusal(answer.status.as_u16(), answer.code(), PUT_OBJECT),
        ),
    }
}

pub(super) async fn create_once(exam: &mut Examination<'_>) -> Finding {
    if !exam.app.upload.prevent_overwrite {
        return Finding::not_checked("Upload.PreventOverwrite is off");
    }
    if exam.put.is_none() {
        return Finding::not_checked(NO_PROBE);
    }
    let signed = match exam.sign(&exam.path(""), SystemTime::now()).await {
        Ok(signed) => signed,
        Err(error) => return exam.call_failed(&error, PUT_OBJECT),
    };
    let headers = plain::headers_of(&signed);
    let sent = plain::send(exam.client, Method::PUT, &signed, headers, Examination::probe()).await;
    match sent {
        Err(error) => Finding::fail(error.to_string(), exam.place().of_silence(&error)),
        Ok(answer) if answer.status.as_u16() == 412 => {
            Finding::pass("412 to a second PUT with If-None-Match: *")
        }
        Ok(answer) => Finding::fail(
            format!("{} to a second PUT with If-None-Match: *", answer.summary()),
            "this storage does not keep what exists: Upload.PreventOverwrite = false, or other \
             storage",
        ),
    }
}

pub(super) async fn head(exam: &mut Examination<'_>) -> Finding {
    if exam.put.is_none() {
        return Finding::not_checked(NO_PROBE);
    }
    let meta = match exam.app.store.head(&exam.path("")).await {
        Ok(meta) => meta,
        Err(error) => return exam.call_failed(&error, GET_OBJECT),
    };
    let finding = describe(&meta);
    exam.meta = Some(meta);
    finding
}

fn describe(meta: &ObjectMeta) -> Finding {
    let tag = meta.etag.as_ref().map_or("no ETag", ETag::as_str);
    let media_type = meta.content_type.as_deref().unwrap_or("no type");
    let seen = format!("{} bytes, {media_type}, {tag}", meta.size);
    if meta.size != PROBE.len() as u64 || media_type != PROBE_TYPE.as_str() {
        let sent = format!("{} bytes of {}", PROBE.len(), PROBE_TYPE.as_str());
        return Finding::fail(
            seen,
            format!("{sent} were sent: something rewrites objects or their metadata on the way"),
        );
    }
    if meta.etag.as_ref().is_none_or(ETag::is_weak) {
        return Finding::fail(
            seen,
            "this storage gives no strong ETag: a body that breaks off could not be continued \
             (aborted under `no_validator`); use other storage",
        );
    }
    Finding::pass(seen)
}

pub(super) async fn range(exam: &Examination<'_>) -> Finding {
    if exam.put.is_none() {
        return Finding::not_checked(NO_PROBE);
    }
    let range = Some(asked_part());
    let options = GetOptions { range, ..GetOptions::default() };
    let ObjectRead { part, body, .. } = match exam.app.store.get(&exam.path(""), &options).await {
        Ok(read) => read,
        Err(error) => return exam.call_failed(&error, GET_OBJECT),
    };
    let Some(part) = part else {
        return Finding::fail(
            "the whole object came",
            "this storage ignores Range: a body that breaks off cannot be continued from it; \
             something in front of it that removes Range must not",
        );
    };
    match plain::read(body).await {
        Ok(bytes) if bytes == expected_part() => Finding::pass(format!("206, {part}")),
        Ok(_) => Finding::fail(
            format!("{part}, with other bytes"),
            "something between here and storage rewrites answers",
        ),
        Err(error) => Finding::fail(error, "storage is ill, or something cuts its answers"),
    }
}

/// The bytes of the range.
pub(super) fn expected_part() -> &'static [u8] {
    let at = |offset: u64| usize::try_from(offset).expect("the probe is small");
    &PROBE[at(FIRST)..=at(LAST)]
}

/// The range that is asked for.
pub(super) const fn asked_part() -> RangeRequest {
    RangeRequest::Between(FIRST, LAST)
}

pub(super) async fn if_match(exam: &Examination<'_>) -> Finding {
    let Some(tag) = exam.meta.as_ref().and_then(|meta| meta.etag.clone()) else {
        return Finding::not_checked("HEAD gave no ETag to ask for");
    };
    let path = exam.path("");
    let only = |tag| GetOptions { if_match: Some(tag), ..GetOptions::default() };
    if let Err(error) = exam.app.store.get(&path, &only(tag)).await {
        return exam.call_failed(&error, GET_OBJECT);
    }
    let other = ETag::parse("\"safelight-doctor\"").expect("a tag");
    match exam.app.store.get(&path, &only(other)).await {
        Err(error) if error.kind == StorageErrorKind::PreconditionFailed => {
            Finding::pass(error.detail)
        }
        Err(error) => exam.call_failed(&error, GET_OBJECT),
        Ok(_) => Finding::fail(
            "another version was sent",
            "this storage ignores If-Match: do not serve from it what may change",
        ),
    }
}

pub(super) async fn missing(exam: &Examination<'_>) -> Finding {
    if exam.put.is_none() {
        return Finding::not_checked(NO_PROBE);
    }
    match exam.app.store.head(&exam.path("-missing")).await {
        Err(error) => match error.kind {
            StorageErrorKind::NotFound => Finding::pass("404"),
            StorageErrorKind::AccessDenied => Finding::fail(
                error.detail,
                format!(
                    "allow s3:ListBucket on arn:aws:s3:::{} to the access key of [Storage]: \
                     {LIST_BUCKET}",
                    exam.bucket
                ),
            ),
            kind => Finding::fail(error.detail, exam.place().of_call(kind, GET_OBJECT)),
        },
        Ok(_) => Finding::fail(
            "an object was found under a name that nobody has used",
            "Storage.Endpoint answers everything: it is not storage",
        ),
    }
}

/// Deletes as finalising does, this version and no other; then looks.
pub(super) async fn delete(exam: &mut Examination<'_>) -> Finding {
    let probe = exam.path("");
    if let (Some(meta), true) = (exam.meta.clone(), exam.written.contains(&probe)) {
        if let Err(error) = exam.app.store.delete(&probe, Some(&meta)).await {
            let left = delete_rest(exam).await.is_err();
            return undeleted(exam, &probe, &error, left);
        }
        exam.written.retain(|path| *path != probe);
    }
    if let Err((path, error)) = delete_rest(exam).await {
        return undeleted(exam, &path, &error, true);
    }
    if exam.put.is_none() {
        return Finding::not_checked(NO_PROBE);
    }
    match exam.app.store.head(&probe).await {
        Err(StorageError {
            kind: StorageErrorKind::NotFound | StorageErrorKind::AccessDenied,
            ..
        }) => Finding::pass("it is gone"),
        Err(error) => exam.call_failed(&error, GET_OBJECT),
        Ok(_) => Finding::fail(
            format!("{probe:?} is still there"),
            "a lock or retention rule of the bucket keeps objects: the gateway cannot delete what \
             it refuses; delete the probe by hand",
        ),
    }
}

fn undeleted(
    exam: &Examination<'_>,
    path: &StoragePath,
    error: &StorageError,
    is_left: bool,
) -> Finding {
    let mut fix = exam.place().of_call(error.kind, DELETE_OBJECT);
    if is_left {
        fix.push_str(&format!("; and delete {path:?} by hand"));
    }
    Finding::fail(error.detail.as_str(), fix)
}

/// Deletes whatever may be left, as far as it goes; gives the first failure.
pub(super) async fn delete_rest(
    exam: &mut Examination<'_>,
) -> Result<(), (StoragePath, StorageError)> {
    let mut left = Vec::new();
    for path in std::mem::take(&mut exam.written) {
        if let Err(error) = exam.app.store.delete(&path, None).await {
            left.push((path, error));
        }
    }
    exam.written = left.iter().map(|(path, _)| path.clone()).collect();
    left.into_iter().next().map_or(Ok(()), Err)
}

#[cfg(test)]
mod tests {
    use super::super::check::Verdict;
    use super::*;

    #[test]
    fn clocks_may_differ_by_five_minutes_and_no_more() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
        let seconds = Duration::from_secs;
        for (theirs, verdict, words) in [
            (now, Verdict::Pass, "to the second"),
            (now - seconds(300), Verdict::Pass, "300 s ahead"),
            (now - seconds(301), Verdict::Fail, "301 s ahead"),
            (now + seconds(300), Verdict::Pass, "300 s behind"),
            (now + seconds(301), Verdict::Fail, "301 s behind"),
        ] {
            let found = compare_clocks(now, theirs);
            assert_eq!(found.verdict, verdict, "{}", found.detail);
            assert!(found.detail.contains(words), "{}", found.detail);
        }
    }

    #[test]
    fn what_storage_must_say_of_the_probe() {
        let right = ObjectMeta {
            size: PROBE.len() as u64,
            content_type: Some("image/png".into()),
            etag: ETag::parse("\"abc\""),
            ..ObjectMeta::default()
        };
        let verdict = |meta: ObjectMeta| describe(&meta).verdict;
        assert_eq!(verdict(right.clone()), Verdict::Pass);
        assert_eq!(verdict(ObjectMeta { size: 1, ..right.clone() }), Verdict::Fail);
        assert_eq!(verdict(ObjectMeta { content_type: None, ..right.clone() }), Verdict::Fail);
        assert_eq!(verdict(ObjectMeta { etag: None, ..right.clone() }), Verdict::Fail);
        assert_eq!(verdict(ObjectMeta { etag: ETag::parse("W/\"abc\""), ..right }), Verdict::Fail);
    }

    #[test]
    fn the_part_is_the_one_that_is_asked_for() {
        let whole = asked_part().resolve(PROBE.len() as u64).unwrap();
        assert_eq!(whole.len(), expected_part().len() as u64);
        assert_eq!(&expected_part()[4..], b"IHDR");
    }
}

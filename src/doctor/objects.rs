//! What the gateway itself asks of the bucket: to be read, to tell what is there and what is not, to
//! delete.

use std::fmt::Write as _;

use crate::domain::{ETag, ObjectMeta, RangeRequest, StoragePath};
use crate::storage::{GetOptions, ObjectRead, StorageError, StorageErrorKind};

use super::check::Finding;
use super::provider::{Permission, Provider};
use super::{Examination, NO_PROBE, PROBE, PROBE_TYPE, plain};

/// The range that is asked for: the name and size of the probe's first chunk.
const FIRST: u64 = 8;
const LAST: u64 = 15;

/// How many objects a listing is asked for. A few more than have names like the probe's.
const LISTED: u16 = 20;

/// Why there must be a difference between missing and forbidden.
const MISSING: &str = "without it storage answers 403 for an object that does not exist, and \
    the gateway answers 502 instead of 404 wherever it cannot be sure: broken credentials must \
    never look like missing photos";

pub(super) async fn head(exam: &mut Examination<'_>) -> Finding {
    if exam.put.is_none() {
        return Finding::not_checked(NO_PROBE);
    }
    let meta = match exam.app.store.head(&exam.path("")).await {
        Ok(meta) => meta,
        Err(error) => return exam.call_failed(&error, Permission::Read),
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
    Finding::pass(format!("{} bytes, {media_type}, a strong ETag", meta.size))
}

pub(super) async fn range(exam: &Examination<'_>) -> Finding {
    if exam.put.is_none() {
        return Finding::not_checked(NO_PROBE);
    }
    let range = Some(asked_part());
    let options = GetOptions { range, ..GetOptions::default() };
    let ObjectRead { part, body, .. } = match exam.app.store.get(&exam.path(""), &options).await {
        Ok(read) => read,
        Err(error) => return exam.call_failed(&error, Permission::Read),
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
    if exam.put.is_none() {
        return Finding::not_checked(NO_PROBE);
    }
    let Some(tag) = exam.meta.as_ref().and_then(|meta| meta.etag.clone()) else {
        return Finding::not_checked("HEAD gave no ETag to ask for");
    };
    let path = exam.path("");
    let only = |tag| GetOptions { if_match: Some(tag), ..GetOptions::default() };
    if let Err(error) = exam.app.store.get(&path, &only(tag)).await {
        return exam.call_failed(&error, Permission::Read);
    }
    let other = ETag::parse("\"safelight-doctor\"").expect("a tag");
    match exam.app.store.get(&path, &only(other)).await {
        Err(error) if error.kind == StorageErrorKind::PreconditionFailed => {
            Finding::pass("its own tag, and 412 for another")
        }
        Err(error) => exam.call_failed(&error, Permission::Read),
        Ok(_) => Finding::fail(
            "another version was sent",
            "this storage ignores If-Match: do not serve from it what may change",
        ),
    }
}

pub(super) async fn list(exam: &mut Examination<'_>) -> Finding {
    if exam.put.is_none() {
        return Finding::not_checked(NO_PROBE);
    }
    let path = exam.path("");
    let prefix = path.as_str().trim_end_matches(".png");
    match exam.app.store.list(prefix, None, LISTED).await {
        Err(error) => exam.call_failed(&error, Permission::List),
        Ok(page) if page.objects.iter().any(|object| object.path == path) => {
            exam.may_list = true;
            Finding::pass("under its prefix")
        }
        Ok(page) => Finding::fail(
            format!("the probe is not among {} objects under its prefix", page.objects.len()),
            "this storage lists what it has late, or not at all: what compares the bucket with the \
             records cannot be relied on",
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
            StorageErrorKind::AccessDenied => {
                let fix = match exam.provider() {
                    // A HEAD names no prefix, so a condition on one never holds for it.
                    Provider::S3 if exam.may_list => {
                        "the permission s3:ListBucket has a condition \
                        (s3:prefix) that lets listings through and nothing else: remove it"
                            .to_owned()
                    }
                    Provider::S3 | Provider::Gcs => exam.place().grant(Permission::List),
                };
                Finding::fail(error.detail, format!("{fix}: {MISSING}"))
            }
            kind => Finding::fail(error.detail, exam.place().of_call(kind, Permission::Read)),
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
            let _ = delete_rest(exam).await;
            return undeleted(exam, &error);
        }
        exam.written.retain(|path| *path != probe);
    }
    if let Err(error) = delete_rest(exam).await {
        return undeleted(exam, &error);
    }
    if exam.put.is_none() {
        return Finding::not_checked(NO_PROBE);
    }
    match exam.app.store.head(&probe).await {
        Err(StorageError {
            kind: StorageErrorKind::NotFound | StorageErrorKind::AccessDenied,
            ..
        }) => Finding::pass("it is gone"),
        Err(error) => exam.call_failed(&error, Permission::Read),
        Ok(_) => Finding::fail(
            format!("{probe:?} is still there"),
            "a lock or retention rule of the bucket keeps objects: the gateway cannot delete what \
             it refuses; delete the probe by hand",
        ),
    }
}

/// Says why, and names what is left behind.
fn undeleted(exam: &Examination<'_>, error: &StorageError) -> Finding {
    let mut fix = exam.place().of_call(error.kind, Permission::Delete);
    if !exam.written.is_empty() {
        let _ = write!(fix, "; and delete {} by hand", left_behind(exam));
    }
    Finding::fail(error.detail.as_str(), fix)
}

/// The names of what may be left, in one line.
pub(super) fn left_behind(exam: &Examination<'_>) -> String {
    let names: Vec<_> = exam.written.iter().map(StoragePath::as_str).collect();
    names.join(", ")
}

/// Deletes whatever may be left, as far as it goes; gives the first failure.
pub(super) async fn delete_rest(exam: &mut Examination<'_>) -> Result<(), StorageError> {
    let mut outcome = Ok(());
    let mut paths = exam.written.clone();
    paths.dedup();
    let mut left = Vec::new();
    for path in paths {
        if let Err(error) = delete_one(exam, &path).await {
            left.push(path);
            outcome = outcome.and(Err(error));
        }
    }
    exam.written = left;
    outcome
}

/// Deletes an object; where the bucket keeps versions, the version that is there.
async fn delete_one(exam: &Examination<'_>, path: &StoragePath) -> Result<(), StorageError> {
    let store = &exam.app.store;
    if let Ok(meta) = store.head(path).await
        && meta.version.is_some()
        && store.delete(path, Some(&meta)).await.is_ok()
    {
        return Ok(());
    }
    store.delete(path, None).await
}

#[cfg(test)]
mod tests {
    use super::super::check::Verdict;
    use super::*;

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

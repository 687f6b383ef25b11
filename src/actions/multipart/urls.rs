//! The signed URLs of parts: each is good for one part, of its exact length.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, SystemTime};

use aws_smithy_types::base64;

use crate::actions::begin::parse_sha256;
use crate::actions::renew::{life_of_next_url, record_life};
use crate::actions::upload::Right;
use crate::actions::{Services, upload};
use crate::apps::App;
use crate::domain::{Error, PartPlan, UploadId, UploadRecord};
use crate::storage::{PartGrant, SignedRequest};

use super::{cut, still_pending, storage_failed};

/// How many URLs are signed at once.
pub const MAX_URLS: usize = 100;

/// The request that uploads one part.
#[derive(Debug, Clone)]
pub struct PartUrl {
    /// The number of the part.
    pub number: u16,
    /// The request.
    pub request: SignedRequest,
}

/// The requests that upload some parts.
#[derive(Debug, Clone)]
pub struct PartUrls {
    /// One for each part.
    pub urls: Vec<PartUrl>,
    /// When the first of them ends.
    pub expire_at: SystemTime,
}

/// Signs URLs for parts of an upload. `checksums` are the SHA-256 of these parts, by their numbers
/// as text.
///
/// # Errors
/// [`Error::InvalidRequest`] for parts that there are not, too many at once, or checksums where the
/// upload was begun without (or none where it was begun with them); [`Error::UploadExpired`] once
/// the session is over or the upload was given up, [`Error::Conflict`] if it is complete,
/// [`Error::UploadNotFound`], and the failures of records and signing.
pub async fn part_urls(
    app: &App,
    services: &Services,
    id: UploadId,
    right: &Right,
    numbers: &[u64],
    checksums: &BTreeMap<String, String>,
    now: SystemTime,
) -> Result<PartUrls, Error> {
    let record = upload::ask(app, services, id, right).await?;
    let (multipart, plan) = cut(&record)?;
    still_pending(&record)?;
    let numbers = check_numbers(numbers, plan)?;
    let checksums = parse_checksums(checksums, plan)?;
    check_coverage(&numbers, &checksums, multipart.checksums)?;
    issue(app, services, &record, &numbers, &checksums, now).await
}

/// Signs URLs for a pending upload, and records how long they live before they are handed out.
pub(super) async fn issue(
    app: &App,
    services: &Services,
    record: &UploadRecord,
    numbers: &[u16],
    checksums: &BTreeMap<u16, [u8; 32]>,
    now: SystemTime,
) -> Result<PartUrls, Error> {
    let expires_in = life_of_next_url(record, app.upload.url_expiry, now)?;
    let urls = sign(app, record, numbers, checksums, expires_in, now).await?;
    record_life(services, record, expires_in, now).await?;
    Ok(urls)
}

/// Signs URLs.
pub(super) async fn sign(
    app: &App,
    record: &UploadRecord,
    numbers: &[u16],
    checksums: &BTreeMap<u16, [u8; 32]>,
    expires_in: Duration,
    now: SystemTime,
) -> Result<PartUrls, Error> {
    let (multipart, plan) = cut(record)?;
    let path = app.key_prefix.path_of_minted(&record.key);
    let mut urls = Vec::with_capacity(numbers.len());
    let mut expire_at = now + expires_in;
    for &number in numbers {
        let grant = PartGrant {
            path: &path,
            upload: &multipart.id,
            number,
            size: plan.length_of(number).ok_or_else(|| no_such_part(number.into(), plan))?,
            sha256: checksums.get(&number).copied(),
            expires_in,
        };
        let signed = app.store.sign_part(&grant, now).await;
        let request = signed.map_err(|error| storage_failed(app, &error))?;
        expire_at = expire_at.min(request.expires_at);
        urls.push(PartUrl { number, request });
    }
    Ok(PartUrls { urls, expire_at })
}

/// The numbers that a client names, if there are such parts.
fn check_numbers(named: &[u64], plan: PartPlan) -> Result<Vec<u16>, Error> {
    if named.is_empty() || named.len() > MAX_URLS {
        let text = format!("partNumbers takes 1 to {MAX_URLS} numbers");
        return Err(Error::InvalidRequest(text));
    }
    let mut seen = BTreeSet::new();
    let checked = named.iter().map(|&number| {
        let known = u16::try_from(number).ok().filter(|n| plan.length_of(*n).is_some());
        let known = known.ok_or_else(|| no_such_part(number, plan))?;
        match seen.insert(known) {
            true => Ok(known),
            false => Err(Error::InvalidRequest(format!("part {number} is named twice"))),
        }
    });
    checked.collect()
}

fn no_such_part(number: u64, plan: PartPlan) -> Error {
    let count = plan.count();
    Error::InvalidRequest(format!("there is no part {number}: parts are numbered 1 to {count}"))
}

/// The checksums that a client gives: numbers as text, each a SHA-256 in hexadecimal or base64.
pub(super) fn parse_checksums(
    given: &BTreeMap<String, String>,
    plan: PartPlan,
) -> Result<BTreeMap<u16, [u8; 32]>, Error> {
    let parsed = given.iter().map(|(name, digest)| {
        // One spelling, so that no part is named twice.
        let number = name.parse::<u16>().ok().filter(|number| number.to_string() == *name);
        let number = number.filter(|number| plan.length_of(*number).is_some());
        let number = number.ok_or_else(|| {
            let count = plan.count();
            Error::InvalidRequest(format!("checksums takes part numbers from 1 to {count}"))
        })?;
        let digest = checksum(digest).ok_or_else(|| {
            let text = format!("the checksum of part {number} is no SHA-256 in hex or base64");
            Error::InvalidRequest(text)
        })?;
        Ok((number, digest))
    });
    parsed.collect()
}

/// A SHA-256 in hexadecimal or base64.
pub(super) fn checksum(text: &str) -> Option<[u8; 32]> {
    // 32 bytes are 43 digits and their padding.
    let from_base64 = || base64::decode(text).ok().filter(|_| text.len() == 44)?.try_into().ok();
    parse_sha256(text).ok().or_else(from_base64)
}

/// Every part has a checksum, or none has, as the upload was begun.
fn check_coverage(
    numbers: &[u16],
    checksums: &BTreeMap<u16, [u8; 32]>,
    wanted: bool,
) -> Result<(), Error> {
    let refuse = |text: String| Err(Error::InvalidRequest(text));
    match (wanted, checksums.keys().find(|number| !numbers.contains(number))) {
        (false, _) if !checksums.is_empty() => {
            refuse("this upload was begun without checksums: leave them out".into())
        }
        (_, Some(number)) => refuse(format!("part {number} has a checksum and is not asked for")),
        (false, None) => Ok(()),
        (true, None) => match numbers.iter().find(|number| !checksums.contains_key(number)) {
            Some(number) => refuse(format!(
                "this upload was begun with checksums, and part {number} has none: give its SHA-256"
            )),
            None => Ok(()),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    /// Three parts.
    fn plan() -> PartPlan {
        PartPlan::new(20 * MIB, Some(8 * MIB)).unwrap()
    }

    #[test]
    fn numbers_are_those_of_parts_and_named_once() {
        let many: Vec<_> = (1..=101).collect();
        for (named, expected) in [
            (&[1, 3, 2][..], Ok(vec![1, 3, 2])),
            (&[], Err("partNumbers takes 1 to 100 numbers")),
            (&many, Err("partNumbers takes 1 to 100 numbers")),
            (&[1, 0], Err("there is no part 0: parts are numbered 1 to 3")),
            (&[4], Err("there is no part 4: parts are numbered 1 to 3")),
            (&[65_537], Err("there is no part 65537: parts are numbered 1 to 3")),
            (&[2, 1, 2], Err("part 2 is named twice")),
        ] {
            let expected = expected.map_err(|text| Error::InvalidRequest(text.into()));
            assert_eq!(check_numbers(named, plan()), expected, "{named:?}");
        }
    }

    #[test]
    fn checksums_are_hex_or_base64_under_the_numbers_of_parts() {
        let hex = "00".repeat(32);
        let base64 = format!("{}=", "A".repeat(43));
        let parse = |name: &str, digest: &str| {
            parse_checksums(&BTreeMap::from([(name.to_owned(), digest.to_owned())]), plan())
        };
        for digest in [&hex, &base64] {
            assert_eq!(parse("3", digest), Ok(BTreeMap::from([(3, [0; 32])])));
        }
        for name in ["", "0", "4", "01", "+1", " 1", "1.0", "99999", "one"] {
            assert!(parse(name, &hex).is_err(), "{name}");
        }
        let too_long = base64::encode([0; 33]);
        for digest in ["", "00", &hex[1..], &base64[1..], &too_long, &"!".repeat(44)] {
            assert!(parse("1", digest).is_err(), "{digest}");
        }
    }

    #[test]
    fn all_parts_have_checksums_or_none_has() {
        let sums = |numbers: &[u16]| numbers.iter().map(|number| (*number, [0; 32])).collect();
        for (numbers, with, wanted, right) in [
            (&[1, 2][..], &[][..], false, true),
            (&[1, 2], &[1, 2], true, true),
            (&[1, 2], &[1], true, false),
            (&[1, 2], &[], true, false),
            (&[1, 2], &[1, 2, 3], true, false),
            (&[1, 2], &[1, 2], false, false),
            (&[1, 2], &[1], false, false),
        ] {
            let covered = check_coverage(numbers, &sums(with), wanted);
            assert_eq!(covered.is_ok(), right, "{numbers:?} with {with:?}, wanted: {wanted}");
        }
    }
}

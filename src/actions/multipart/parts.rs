//! Which parts storage has, and whether they are those that make the file.

use std::collections::BTreeMap;
use std::time::SystemTime;

use crate::actions::inspect::head;
use crate::actions::upload::Right;
use crate::actions::{Services, upload};
use crate::apps::App;
use crate::domain::{ETag, Error, PartPlan, UploadId};
use crate::storage::{StorageErrorKind, UploadedPart};

use super::urls::checksum;
use super::{cut, still_pending, storage_failed};

/// A part as a client names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedPart {
    /// Its number.
    pub number: u64,
    /// The ETag that its upload was answered with, quoted or bare.
    pub etag: String,
    /// Its SHA-256 in hexadecimal or base64: for storage that does not tell what it was given.
    pub checksum: Option<String>,
}

/// The parts that need not be sent again. What a completion would refuse is not among them.
///
/// # Errors
/// [`Error::UploadExpired`] once the session is over or the upload was given up,
/// [`Error::Conflict`] if it is complete, [`Error::InvalidRequest`] if it does not come in parts,
/// [`Error::UploadNotFound`], and the failures of storage and records.
pub async fn uploaded_parts(
    app: &App,
    services: &Services,
    id: UploadId,
    right: &Right,
    now: SystemTime,
) -> Result<Vec<UploadedPart>, Error> {
    let record = upload::ask(app, services, id, right).await?;
    let (multipart, plan) = cut(&record)?;
    still_pending(&record)?;
    if record.session_expires_at <= now {
        return Err(Error::UploadExpired);
    }
    let path = app.key_prefix.path_of_minted(&record.key);
    match app.store.list_parts(&path, &multipart.id).await {
        Ok(stored) => Ok(usable(plan, stored)),
        // Assembled, and the record does not know it yet; or given up by somebody else.
        Err(error) if error.kind == StorageErrorKind::NoSuchUpload => {
            let object = head(app, &record).await?;
            Err(object.map_or(Error::UploadExpired, |_| Error::Conflict))
        }
        Err(error) => Err(storage_failed(app, &error)),
    }
}

/// The parts of the right size that storage has once. They are in the order of their numbers.
fn usable(plan: PartPlan, stored: Vec<UploadedPart>) -> Vec<UploadedPart> {
    let of_one_number = stored.chunk_by(|one, other| one.number == other.number);
    let only = of_one_number.filter_map(|parts| match parts {
        [part] if plan.length_of(part.number) == Some(part.size) => Some(part.clone()),
        _ => None,
    });
    only.collect()
}

/// The list that a completion takes: every part, as storage has it, if that is what the client names
/// (in any order), and each is of its length. `checksums` says whether storage wants those too.
///
/// # Errors
/// [`Error::WrongParts`] for the first part that is not right.
pub(super) fn whole_list(
    plan: PartPlan,
    checksums: bool,
    named: Option<&[NamedPart]>,
    stored: &[UploadedPart],
) -> Result<Vec<UploadedPart>, Error> {
    let named = named.map(|named| by_number(plan, named)).transpose().map_err(Error::WrongParts)?;
    let parts = (1..=plan.count()).map(|number| {
        let of_client = match &named {
            None => None,
            Some(named) => Some(named.get(&number).ok_or_else(|| {
                format!("part {number} is missing from parts: name every part, or leave parts out")
            })?),
        };
        let mut part = choose(number, of_client, stored)?;
        let length = plan.length_of(number).unwrap_or_default();
        if part.size != length {
            let size = part.size;
            return Err(format!(
                "part {number} has {size} bytes in storage instead of {length}: upload it again"
            ));
        }
        if checksums {
            part.sha256 = Some(digest_of(&part, of_client)?);
        }
        Ok(part)
    });
    parts.collect::<Result<_, _>>().map_err(Error::WrongParts)
}

/// What a client says of one part.
struct Word {
    etag: ETag,
    sha256: Option<[u8; 32]>,
}

fn by_number(plan: PartPlan, named: &[NamedPart]) -> Result<BTreeMap<u16, Word>, String> {
    let mut words = BTreeMap::new();
    for part in named {
        let number = part.number;
        let known = u16::try_from(number).ok().filter(|n| plan.length_of(*n).is_some());
        let known = known.ok_or_else(|| {
            format!("there is no part {number}: this upload has {} parts", plan.count())
        })?;
        let etag = ETag::parse(&part.etag).ok_or_else(|| {
            format!("the etag of part {number} is none: name the one its upload was answered with")
        })?;
        let sha256 = part.checksum.as_deref().map(|text| {
            checksum(text).ok_or_else(|| {
                format!("the checksum of part {number} is no SHA-256 in hex or base64")
            })
        });
        if words.insert(known, Word { etag, sha256: sha256.transpose()? }).is_some() {
            return Err(format!("part {number} is named twice: name each part once"));
        }
    }
    Ok(words)
}

/// The part of this number in storage; where it has more than one, the one that the client means.
fn choose(
    number: u16,
    of_client: Option<&Word>,
    stored: &[UploadedPart],
) -> Result<UploadedPart, String> {
    let begin = stored.partition_point(|part| part.number < number);
    let there: Vec<_> = stored[begin..].iter().take_while(|part| part.number == number).collect();
    match (&there[..], of_client) {
        ([], _) => Err(format!("part {number} is not in storage: upload it, then complete again")),
        (there, Some(word)) => {
            let meant = there.iter().find(|part| part.etag == word.etag);
            meant.map(|part| (*part).clone()).ok_or_else(|| {
                format!(
                    "part {number} has another ETag in storage: name the one that its last upload \
                     was answered with, or upload it again"
                )
            })
        }
        ([part], None) => Ok((*part).clone()),
        (_, None) => Err(format!(
            "part {number} is in storage twice, with different content: upload it again"
        )),
    }
}

/// The SHA-256 of a part, from storage or from the client; the two must not differ.
fn digest_of(part: &UploadedPart, of_client: Option<&Word>) -> Result<[u8; 32], String> {
    let number = part.number;
    match (part.sha256, of_client.and_then(|word| word.sha256)) {
        (Some(stored), Some(said)) if stored != said => {
            Err(format!("part {number} has another checksum in storage: upload it again"))
        }
        (Some(digest), _) | (None, Some(digest)) => Ok(digest),
        (None, None) => Err(format!(
            "this app's storage does not tell the checksum of part {number}: name it in parts, as \
             checksum"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    /// Three parts, the last of 4 MiB.
    fn plan() -> PartPlan {
        PartPlan::new(20 * MIB, Some(8 * MIB)).unwrap()
    }

    fn part(number: u16, size: u64, tag: &str) -> UploadedPart {
        UploadedPart { number, size, etag: ETag::parse(tag).unwrap(), sha256: None }
    }

    fn all() -> Vec<UploadedPart> {
        vec![part(1, 8 * MIB, "a"), part(2, 8 * MIB, "b"), part(3, 4 * MIB, "c")]
    }

    fn named(list: &[(u64, &str)]) -> Vec<NamedPart> {
        let name =
            |&(number, etag): &(u64, &str)| NamedPart { number, etag: etag.into(), checksum: None };
        list.iter().map(name).collect()
    }

    #[track_caller]
    fn assert_wrong(listed: Result<Vec<UploadedPart>, Error>, expected: &str) {
        match listed {
            Err(Error::WrongParts(text)) => assert!(text.starts_with(expected), "{text}"),
            other => panic!("{other:?} instead of: {expected}"),
        }
    }

    #[test]
    fn a_right_list_may_be_quoted_bare_shuffled_or_absent() {
        for list in [
            &[(1, "a"), (2, "b"), (3, "c")][..],
            &[(1, "\"a\""), (2, "\"b\""), (3, "c")],
            &[(3, "c"), (1, "a"), (2, "b")],
        ] {
            assert_eq!(whole_list(plan(), false, Some(&named(list)), &all()), Ok(all()));
        }
        assert_eq!(whole_list(plan(), false, None, &all()), Ok(all()));
    }

    #[test]
    fn a_wrong_list_names_the_part() {
        for (list, expected) in [
            (&[][..], "part 1 is missing from parts"),
            (&[(1, "a"), (3, "c")], "part 2 is missing from parts"),
            (&[(1, "a"), (2, "b"), (3, "c"), (4, "d")], "there is no part 4"),
            (&[(0, "a"), (2, "b"), (3, "c")], "there is no part 0"),
            (&[(1, "a"), (2, "b"), (65_539, "c")], "there is no part 65539"),
            (&[(1, "a"), (2, "b"), (3, "c"), (2, "b")], "part 2 is named twice"),
            (&[(1, "a"), (2, "a"), (3, "c")], "part 2 has another ETag"),
            (&[(1, "a"), (2, "W/\"b\""), (3, "c")], "part 2 has another ETag"),
            (&[(1, "a"), (2, ""), (3, "c")], "the etag of part 2 is none"),
        ] {
            assert_wrong(whole_list(plan(), false, Some(&named(list)), &all()), expected);
        }
    }

    #[test]
    fn what_storage_has_must_be_the_file() {
        let right = [(1, "a"), (2, "b"), (3, "c")];
        let mut short = all();
        short[1].size -= 1;
        let mut long = all();
        long[2].size += 1;
        for (stored, expected) in [
            (vec![], "part 1 is not in storage"),
            (vec![part(1, 8 * MIB, "a"), part(3, 4 * MIB, "c")], "part 2 is not in storage"),
            (short, "part 2 has 8388607 bytes in storage instead of 8388608"),
            (long, "part 3 has 4194305 bytes in storage instead of 4194304"),
        ] {
            for list in [None, Some(&named(&right)[..])] {
                assert_wrong(whole_list(plan(), false, list, &stored), expected);
            }
            assert!(usable(plan(), stored).len() < 3);
        }
        assert_eq!(usable(plan(), all()), all());
        assert_eq!(usable(plan(), vec![part(4, MIB, "d")]), vec![], "there is no such part");
    }

    #[test]
    fn of_a_part_that_is_there_twice_the_client_says_which() {
        let mut stored = all();
        stored.insert(1, part(2, 8 * MIB, "other"));
        assert_wrong(whole_list(plan(), false, None, &stored), "part 2 is in storage twice");
        let list = named(&[(1, "a"), (2, "b"), (3, "c")]);
        assert_eq!(whole_list(plan(), false, Some(&list), &stored), Ok(all()));
        let numbers: Vec<_> = usable(plan(), stored).iter().map(|part| part.number).collect();
        assert_eq!(numbers, [1, 3], "it is to be sent again");
    }

    #[test]
    fn checksums_come_from_storage_or_from_the_client() {
        let told = |parts: Vec<UploadedPart>| -> Vec<_> {
            parts.into_iter().map(|part| UploadedPart { sha256: Some([7; 32]), ..part }).collect()
        };
        assert_eq!(whole_list(plan(), true, None, &told(all())), Ok(told(all())));
        assert_wrong(whole_list(plan(), true, None, &all()), "this app's storage does not tell");
        let mut list = named(&[(1, "a"), (2, "b"), (3, "c")]);
        for part in &mut list {
            part.checksum = Some("07".repeat(32));
        }
        for stored in [all(), told(all())] {
            assert_eq!(whole_list(plan(), true, Some(&list), &stored), Ok(told(all())));
        }
        list[1].checksum = Some("08".repeat(32));
        let listed = whole_list(plan(), true, Some(&list), &told(all()));
        assert_wrong(listed, "part 2 has another checksum");
        list[1].checksum = Some("no".into());
        assert_wrong(whole_list(plan(), true, Some(&list), &all()), "the checksum of part 2");
    }
}

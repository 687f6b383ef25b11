//! The `[Storage]` of an app's file.

use super::config::StorageConfig;
use super::secrets::SecretScope;
use crate::config::Section;
use crate::domain::KeyPrefix;
use crate::storage::{FileContext, Kind, StorageKind};
use crate::upstream::guard::AddressPolicy;

/// Reads `[Storage]`: here what all providers have, in their own folders the rest.
pub(super) fn storage(
    section: &mut Section<'_>,
    policy: &AddressPolicy,
    secrets: &SecretScope<'_>,
) -> Option<StorageConfig> {
    let kind = section.key("Kind").text(Kind::parse);
    if kind.is_wrong() {
        // What the other keys mean hangs on it.
        section.ignore_rest();
        return None;
    }
    let bucket = section.key("Bucket").non_empty().text(bucket).required("the bucket's name");
    let key_prefix = section.key("KeyPrefix").text(KeyPrefix::parse);
    let key_prefix = key_prefix.or(KeyPrefix::parse("").expect("the empty prefix is valid"));
    let context = FileContext {
        app: secrets.app,
        policy,
        grants: secrets.grants,
        secret: &|text| secrets.resolve(text),
        document: &|name| secrets.document(name),
    };
    let kind = StorageKind::read(kind.or(Kind::S3), section, bucket.as_deref(), &context);
    Some(StorageConfig { kind: kind?, bucket: bucket?, key_prefix })
}

/// A bucket's name goes into host names and paths. Amazon's rules, and the upper case and `_` that
/// older buckets and other stores have.
fn bucket(text: &str) -> Result<String, &'static str> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    let valid = (3..=63).contains(&text.len())
        && text.bytes().all(plain)
        && text.as_bytes()[0].is_ascii_alphanumeric()
        && text.as_bytes()[text.len() - 1].is_ascii_alphanumeric()
        && !text.contains("..");
    if valid {
        Ok(text.to_owned())
    } else {
        Err("a bucket's name is 3 to 63 letters, digits, '-', '_' and '.', with a letter or a \
             digit at both ends")
    }
}

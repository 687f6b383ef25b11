//! Which apps could write the same objects: no two may.

use super::config::StorageConfig;
use super::load::Located;
use crate::config::ConfigError;

/// What is said of the app `one`, whose part of a bucket overlaps with that of another file.
pub(super) fn overlap(
    file: &str,
    one: &Located,
    other_file: &str,
    other: &StorageConfig,
) -> ConfigError {
    let storage = &one.config.storage;
    let message = format!(
        "the bucket {:?} with the prefix {:?} overlaps with {other_file}, which has the prefix {:?} \
         there",
        storage.bucket,
        storage.key_prefix.as_str(),
        other.key_prefix.as_str(),
    );
    let error = ConfigError::at_place(file, &one.text, &one.storage_place, message);
    error.with_hint("give each app a KeyPrefix of its own, such as \"my-app/\"")
}

/// For each part of a bucket, another one in which the same object could be written: one of the
/// prefixes begins with the other. In the order of store, bucket and prefix, whatever begins with a
/// prefix follows it directly, so that one pass finds all of them.
pub(super) fn rivals(parts: &[&StorageConfig]) -> Vec<Option<usize>> {
    let mut places: Vec<_> = parts
        .iter()
        .enumerate()
        .map(|(index, StorageConfig { kind, bucket, key_prefix })| {
            (kind.namespace(), bucket.as_str(), key_prefix.as_str(), index)
        })
        .collect();
    places.sort();
    let mut rivals = vec![None; parts.len()];
    let mut shortest: Option<&(String, &str, &str, usize)> = None;
    for place in &places {
        let (store, bucket, prefix, index) = place;
        match shortest {
            Some((s, b, p, owner)) if s == store && b == bucket && prefix.starts_with(p) => {
                rivals[*index] = Some(*owner);
                rivals[*owner].get_or_insert(*index);
            }
            _ => shortest = Some(place),
        }
    }
    rivals
}

/// Whether two parts of buckets are the same.
pub(super) fn is_same_part(one: &StorageConfig, other: &StorageConfig) -> bool {
    one.bucket == other.bucket
        && one.key_prefix == other.key_prefix
        && one.kind.namespace() == other.kind.namespace()
}

//! From what an event names to an upload of ours.

use crate::apps::{App, Apps};
use crate::domain::{MintSecrets, MintedKey};

/// The app whose part of the bucket an object lies in, and its key, with its MAC verified. `None`
/// for every object that is not an upload of this gateway.
///
/// A key holds its app in its MAC, so apps with buckets of the same name (at different providers)
/// are told apart by it. A prefix is exact: `images/` is not the beginning of `images2/`.
#[must_use]
pub fn locate<'a>(
    apps: &'a Apps,
    secrets: &MintSecrets,
    bucket: &str,
    key: &str,
) -> Option<(&'a App, MintedKey)> {
    apps.iter().filter(|app| app.bucket == bucket).find_map(|app| {
        let rest = key.strip_prefix(app.key_prefix.as_str())?;
        MintedKey::verify(secrets, &app.name, rest).map(|key| (app, key))
    })
}

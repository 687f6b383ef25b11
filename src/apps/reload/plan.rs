//! What a reload has to do: a pure function from the apps that are live, and the files as they were
//! read, to a verdict on each.
//!
//! No two apps of the outcome share a part of a bucket. An app that is live keeps its part: whoever
//! wants it, newcomer or not, is refused. Of two that want a part which nobody has, both are.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::super::config::{AppConfig, StorageConfig};
use super::super::load::{AppFile, Located};
use super::super::overlap::{is_same_part, overlap, rivals};
use crate::config::ConfigError;
use crate::domain::AppName;

/// An app that is live.
#[derive(Clone, Copy)]
pub(super) struct Live<'a> {
    /// What it was made of.
    pub config: &'a AppConfig,
    /// The path of its file.
    pub file: &'a str,
    /// Since when that is gone.
    pub missing_since: Option<Instant>,
}

/// What becomes of an app.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It is what its file says: not a hair of it changes.
    Stay,
    /// Its file says something new, which is to be built.
    Take,
    /// Its file is refused: it goes on as it is, if it is live.
    Refuse(Vec<ConfigError>),
    /// Its file is gone: it goes on for a while.
    Wait {
        /// Since when.
        since: Instant,
    },
    /// Its file has been gone for long enough.
    Remove,
}

/// A part of a bucket that an app has, or wants.
struct Claim<'a> {
    name: &'a AppName,
    file: &'a str,
    storage: &'a StorageConfig,
    /// For a part that the app does not have yet: what its file says.
    wanted_by: Option<&'a Located>,
}

/// Decides on every app that is live or has a file.
pub(super) fn plan<'a>(
    live: &BTreeMap<&'a AppName, Live<'a>>,
    files: &'a [AppFile],
    now: Instant,
    grace: Duration,
) -> BTreeMap<AppName, Verdict> {
    let mut verdicts = BTreeMap::new();
    for (name, app) in live {
        let since = app.missing_since.unwrap_or(now);
        let is_over = now.saturating_duration_since(since) >= grace;
        let verdict = if is_over { Verdict::Remove } else { Verdict::Wait { since } };
        verdicts.insert((*name).clone(), verdict);
    }
    for file in files {
        let verdict = match &file.read {
            Ok(Located { config, .. }) if is_unchanged(live, &file.name, config) => Verdict::Stay,
            Ok(_) => Verdict::Take,
            Err(errors) => Verdict::Refuse(errors.clone()),
        };
        verdicts.insert(file.name.clone(), verdict);
    }
    // Who is refused falls back to the part that it has, which somebody else may have counted on.
    loop {
        let losers = losers(&claims(live, files, &verdicts));
        if losers.is_empty() {
            return verdicts;
        }
        verdicts
            .extend(losers.into_iter().map(|(name, error)| (name, Verdict::Refuse(vec![error]))));
    }
}

fn is_unchanged(live: &BTreeMap<&AppName, Live<'_>>, name: &AppName, config: &AppConfig) -> bool {
    live.get(name).is_some_and(|live| live.config == config)
}

/// The parts of buckets that the apps would have, if these were the verdicts.
fn claims<'a>(
    live: &BTreeMap<&'a AppName, Live<'a>>,
    files: &'a [AppFile],
    verdicts: &BTreeMap<AppName, Verdict>,
) -> Vec<Claim<'a>> {
    let mut claims = Vec::new();
    for (name, Live { config, file, .. }) in live {
        let keeps = match verdicts.get(*name) {
            Some(Verdict::Stay | Verdict::Refuse(_) | Verdict::Wait { .. }) => true,
            Some(Verdict::Take | Verdict::Remove) | None => false,
        };
        if keeps {
            claims.push(Claim { name, file, storage: &config.storage, wanted_by: None });
        }
    }
    for AppFile { name, file, read, .. } in files {
        let Some(located) = read.as_ref().ok().filter(|_| verdicts[name] == Verdict::Take) else {
            continue;
        };
        let storage = &located.config.storage;
        let has_it = live.get(name).is_some_and(|live| is_same_part(&live.config.storage, storage));
        let wanted_by = (!has_it).then_some(located);
        claims.push(Claim { name, file, storage, wanted_by });
    }
    claims
}

/// Who cannot have what it wants, and why. Those whom somebody keeps from it who has it come first, and
/// alone: they keep nobody else from anything.
fn losers(claims: &[Claim<'_>]) -> BTreeMap<AppName, ConfigError> {
    let parts: Vec<_> = claims.iter().map(|claim| claim.storage).collect();
    let (mut to_live, mut to_each_other) = (BTreeMap::new(), BTreeMap::new());
    for (index, rival) in rivals(&parts).into_iter().enumerate() {
        let Some(rival) = rival else { continue };
        for (one, other) in [(index, rival), (rival, index)] {
            let (one, other) = (&claims[one], &claims[other]);
            let Some(located) = one.wanted_by else { continue };
            let error = overlap(one.file, located, other.file, other.storage);
            let losers = match other.wanted_by {
                None => &mut to_live,
                Some(_) => &mut to_each_other,
            };
            losers.entry(one.name.clone()).or_insert(error);
        }
    }
    if to_live.is_empty() { to_each_other } else { to_live }
}

#[cfg(test)]
mod tests;

//! Files that change while the gateway runs. A file is read, checked and built before it takes the
//! place of the app that is there; one that is refused, half-written or deleted by mistake changes
//! nothing but what is told of it.
//!
//! | file | what it knows |
//! |---|---|
//! | `watch.rs` | when the files are to be read again |
//! | `plan.rs` | what becomes of each app |
//!
//! Nothing here waits for anybody or is waited for by requests: they have the app that they began
//! with.

mod plan;
mod watch;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use super::app::{App, Workshop};
use super::config::AppConfig;
use super::continued::Before;
use super::files::{AppFiles, fingerprint};
use super::live::{LiveApps, Standing};
use super::load::{AppFile, Directory};
use crate::config::ConfigError;
use crate::domain::{AppName, FileState, ReloadOutcome};
use crate::metrics::Metrics;

use plan::{Live, Verdict, plan};

pub use watch::{LOOK_EVERY, Look, Occasion, Watch};

/// Keeps the live apps as their files say.
pub struct Reloader {
    files: AppFiles,
    live: Arc<LiveApps>,
    metrics: Arc<Metrics>,
    /// Whether objects are kept in memory.
    has_memory: bool,
    entries: BTreeMap<AppName, Entry>,
    /// What was said last about files that gave no app: by path.
    rejected: BTreeMap<String, Rejected>,
    secret_files: BTreeSet<PathBuf>,
}

/// An app that is live.
struct Entry {
    app: Arc<App>,
    config: AppConfig,
    file: String,
    since: SystemTime,
    fingerprint: Option<String>,
    newest: Newest,
}

/// How an app stands to its newest file.
#[derive(PartialEq)]
enum Newest {
    Live,
    Refused(Vec<ConfigError>),
    Missing { since: Instant },
}

/// A file that gave no app.
#[derive(PartialEq)]
struct Rejected {
    name: Option<AppName>,
    errors: Vec<ConfigError>,
}

/// What was read, and the look before it.
pub struct Reading {
    begun: Instant,
    look: Look,
    directory: Result<Directory, ConfigError>,
}

impl Reading {
    /// Whether an app uses credentials of this kind, as far as its file can be read.
    pub fn any(&self, uses: impl Fn(&AppConfig) -> bool) -> bool {
        let files = self.directory.iter().flat_map(|directory| &directory.files);
        files.filter_map(|file| file.read.as_ref().ok()).any(|located| uses(&located.config))
    }

    /// Refuses the files of all apps of this kind, and says why.
    pub fn refuse(&mut self, of_kind: impl Fn(&AppConfig) -> bool, why: &str) {
        for file in self.directory.iter_mut().flat_map(|directory| &mut directory.files) {
            if file.read.as_ref().is_ok_and(|located| of_kind(&located.config)) {
                file.read = Err(vec![ConfigError::of_file(&*file.file, why)]);
            }
        }
    }
}

impl Reloader {
    /// Keeps these apps, which were made of these configurations, as the files say.
    #[must_use]
    pub fn new(
        files: AppFiles,
        live: Arc<LiveApps>,
        configs: Vec<AppConfig>,
        metrics: Arc<Metrics>,
        has_memory: bool,
    ) -> Self {
        let (apps, since) = (live.snapshot(), SystemTime::now());
        let entries = configs.into_iter().filter_map(|config| {
            let app = Arc::clone(apps.get(config.name.as_str())?);
            let file = files.dir.join(format!("{}.toml", app.name)).display().to_string();
            let (fingerprint, newest) = (None, Newest::Live);
            Some((app.name.clone(), Entry { app, config, file, since, fingerprint, newest }))
        });
        let entries = entries.collect();
        let (rejected, secret_files) = (BTreeMap::new(), BTreeSet::new());
        Self { files, live, metrics, has_memory, entries, rejected, secret_files }
    }

    /// Looks at the files.
    #[must_use]
    pub fn look(&self) -> Look {
        Look::take(&self.files.dir, &self.secret_files)
    }

    /// Reads the files, each by itself.
    #[must_use]
    pub fn read(&self) -> Reading {
        Reading { begun: Instant::now(), look: self.look(), directory: self.files.read() }
    }

    /// Whether the time of an app is up whose file is gone.
    #[must_use]
    pub fn removal_is_due(&self, now: Instant) -> bool {
        let grace = self.files.removal_grace;
        self.entries.values().any(|entry| match entry.newest {
            Newest::Missing { since } => now.saturating_duration_since(since) >= grace,
            Newest::Live | Newest::Refused(_) => false,
        })
    }

    /// Puts into force what was read, as far as it can be. Returns what was seen just before it was
    /// read. Takes as long as building the apps that have changed.
    pub fn apply(
        &mut self,
        reading: Reading,
        occasion: Occasion,
        workshop: &Workshop<'_>,
        now: Instant,
    ) -> Look {
        let Reading { begun, mut look, directory } = reading;
        let (outcome, has_changed) = match directory {
            Ok(directory) => {
                let has_changed = self.take_over(directory, occasion, workshop, now);
                (self.outcome(has_changed), has_changed)
            }
            // What cannot be read says nothing about any app.
            Err(error) => (ReloadOutcome::Failed, self.reject_all(error, occasion)),
        };
        self.publish(has_changed);
        let is_told = has_changed || matches!(occasion, Occasion::Change | Occasion::Signal);
        if is_told && occasion != Occasion::Start {
            self.metrics.config_reloads.with_label_values(&[outcome.label()]).inc();
            let (apps, took) = (self.entries.len(), begun.elapsed());
            tracing::info!(outcome = outcome.label(), apps, ?took, "the apps' files were read");
        }
        look.follow(&self.secret_files);
        look
    }

    /// Whether anything has changed, in the apps or in what is said of them.
    fn take_over(
        &mut self,
        directory: Directory,
        occasion: Occasion,
        workshop: &Workshop<'_>,
        now: Instant,
    ) -> bool {
        let Directory { mut files, strays } = directory;
        let (verdicts, mut built) = self.decide_and_build(&mut files, workshop, now);
        let mut files: BTreeMap<_, _> =
            files.into_iter().map(|file| (file.name.clone(), file)).collect();
        let mut rejected = BTreeMap::new();
        let mut has_changed = false;
        self.secret_files = files.values().flat_map(|file| file.secret_files.clone()).collect();
        for error in strays {
            let errors = vec![error.clone()];
            rejected.insert(error.file, Rejected { name: None, errors });
        }
        for (name, verdict) in verdicts {
            let file = files.remove(&name);
            has_changed |= match verdict {
                Verdict::Stay | Verdict::Take => {
                    self.accept(file.expect("it has a file"), built.remove(&name))
                }
                Verdict::Refuse(errors) => match self.entries.get_mut(&name) {
                    Some(entry) => entry.stand(Newest::Refused(errors), occasion),
                    None => {
                        let file = file.expect("it has a file").file;
                        rejected.insert(file, Rejected { name: Some(name), errors });
                        false
                    }
                },
                Verdict::Wait { since } => {
                    let entry = self.entries.get_mut(&name).expect("it is live");
                    entry.stand(Newest::Missing { since }, occasion)
                }
                Verdict::Remove => self.remove(&name),
            };
        }
        has_changed | self.reject(rejected, occasion)
    }

    /// Decides on every app, and builds what is to be built. What cannot be built is refused, which
    /// may change what is decided about others.
    fn decide_and_build(
        &self,
        files: &mut [AppFile],
        workshop: &Workshop<'_>,
        now: Instant,
    ) -> (BTreeMap<AppName, Verdict>, BTreeMap<AppName, Arc<App>>) {
        let live = self.entries.iter().map(|(name, Entry { config, file, newest, .. })| {
            let missing_since = match newest {
                Newest::Missing { since } => Some(*since),
                Newest::Live | Newest::Refused(_) => None,
            };
            (name, Live { config, file, missing_since })
        });
        let live = live.collect();
        let mut built = BTreeMap::new();
        loop {
            let verdicts = plan(&live, files, now, self.files.removal_grace);
            let apps = verdicts.values().filter(|verdict| **verdict != Verdict::Remove).count();
            let workshop = Workshop { apps, ..*workshop };
            let mut is_final = true;
            for file in files.iter_mut() {
                let is_new =
                    verdicts[&file.name] == Verdict::Take && !built.contains_key(&file.name);
                let Some(located) = file.read.as_ref().ok().filter(|_| is_new) else { continue };
                let before = self.entries.get(&file.name);
                let before = before.map(|Entry { app, config, .. }| Before { app, config });
                match App::build_after(located.config.clone(), &workshop, before) {
                    Ok(app) => {
                        built.insert(file.name.clone(), Arc::new(app));
                    }
                    Err(why) => {
                        file.read = Err(vec![ConfigError::of_file(&*file.file, why)]);
                        is_final = false;
                    }
                }
            }
            if is_final {
                return (verdicts, built);
            }
        }
    }

    /// Puts an app into force, or finds that it is. Returns whether anything has changed.
    fn accept(&mut self, file: AppFile, built: Option<Arc<App>>) -> bool {
        let AppFile { name, file, read, .. } = file;
        let located = read.expect("a file that is accepted was read");
        let fingerprint = Some(fingerprint(&located.text));
        let since = SystemTime::now();
        let Some(app) = built else {
            let entry = self.entries.get_mut(&name).expect("an app that stays is there");
            let is_back = entry.newest != Newest::Live;
            if is_back {
                tracing::info!(app = %name, file, "the app's file is in force again");
            }
            let is_other = entry.fingerprint.is_some() && entry.fingerprint != fingerprint;
            (entry.newest, entry.fingerprint) = (Newest::Live, fingerprint);
            return is_back || is_other;
        };
        let entry = Entry {
            app: Arc::clone(&app),
            config: located.config,
            file,
            since,
            fingerprint,
            newest: Newest::Live,
        };
        if self.has_memory && app.memory_cache_max_object > 0 {
            app.metrics.touch_memory();
        }
        let before = self.entries.insert(name, entry);
        let change = if before.is_some() { "changed" } else { "new" };
        if let Some(before) = before {
            before.app.replaced_by(&app);
        }
        tracing::info!(app = %app.name, change, "the app's file is in force");
        true
    }

    fn remove(&mut self, name: &AppName) -> bool {
        let Some(entry) = self.entries.remove(name) else { return false };
        entry.app.metrics.retire();
        tracing::warn!(app = %name, file = entry.file, "the app is removed: its file is gone");
        true
    }

    /// Notes which files gave no app. Returns whether that is news.
    fn reject(&mut self, rejected: BTreeMap<String, Rejected>, occasion: Occasion) -> bool {
        for (file, now) in &rejected {
            if self.rejected.get(file) != Some(now) || occasion == Occasion::Signal {
                for error in &now.errors {
                    tracing::error!(%error, "a file is refused");
                }
            }
        }
        let is_news = self.rejected != rejected;
        self.rejected = rejected;
        is_news
    }

    /// Notes that the directory cannot be read. Returns whether that is news.
    fn reject_all(&mut self, error: ConfigError, occasion: Occasion) -> bool {
        let file = error.file.clone();
        let rejected = Rejected { name: None, errors: vec![error] };
        self.reject(BTreeMap::from([(file, rejected)]), occasion)
    }

    fn outcome(&self, has_changed: bool) -> ReloadOutcome {
        let is_refused = |entry: &Entry| matches!(entry.newest, Newest::Refused(_));
        if !self.rejected.is_empty() || self.entries.values().any(is_refused) {
            ReloadOutcome::Refused
        } else if has_changed {
            ReloadOutcome::Ok
        } else {
            ReloadOutcome::Unchanged
        }
    }

    /// Lets everybody have the apps as they are now, and tells how they stand.
    fn publish(&self, has_changed: bool) {
        if has_changed {
            let apps = self.entries.values().map(|entry| Arc::clone(&entry.app)).collect();
            let before = self.live.replace(apps);
            for entry in self.entries.values() {
                entry.app.share_memory(self.entries.len());
            }
            // Here, and not where a request that was the last to need them would have to wait.
            drop(before);
        }
        let grace = self.files.removal_grace;
        let mut standings: Vec<_> =
            self.entries.values().map(|entry| entry.standing(grace)).collect();
        standings.extend(self.rejected.iter().map(|(file, rejected)| {
            let Rejected { name, errors } = rejected;
            Standing::refused(name.clone(), file.clone(), errors.clone())
        }));
        standings.sort_by(|one, other| (&one.name, &one.file).cmp(&(&other.name, &other.file)));
        self.live.tell(standings);
        self.live.count_in(&self.metrics);
    }
}

impl Entry {
    /// Notes how the app stands to its file, and logs it where it is news. Returns whether it is.
    fn stand(&mut self, newest: Newest, occasion: Occasion) -> bool {
        let is_news = self.newest != newest;
        if is_news || occasion == Occasion::Signal {
            match &newest {
                Newest::Live => {}
                Newest::Refused(errors) => {
                    for error in errors {
                        let app = self.app.name.as_str();
                        tracing::error!(app, %error, "a file is refused: the app goes on as it was");
                    }
                }
                Newest::Missing { .. } => {
                    let (app, file) = (self.app.name.as_str(), &self.file);
                    tracing::warn!(app, file, "the file is gone: the app goes on for a while");
                }
            }
        }
        self.newest = newest;
        is_news
    }

    fn standing(&self, grace: Duration) -> Standing {
        let Self { app, file, since, fingerprint, newest, .. } = self;
        let live = Standing::live(app, file.clone(), *since, fingerprint.clone());
        match newest {
            Newest::Live => live,
            Newest::Refused(errors) => {
                Standing { state: FileState::Refused, errors: errors.clone(), ..live }
            }
            Newest::Missing { since } => {
                let since = SystemTime::now() - since.elapsed();
                let missing = Some((since, since + grace));
                Standing { state: FileState::Missing, missing, ..live }
            }
        }
    }
}

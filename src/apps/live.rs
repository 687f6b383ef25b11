//! The apps as they are now, for everybody who serves them, and how each stands to its file.

use std::sync::Arc;
use std::time::SystemTime;

use arc_swap::ArcSwap;

use super::app::{App, Apps};
use crate::config::ConfigError;
use crate::domain::{AppName, FileState};
use crate::metrics::Metrics;

/// The apps, one snapshot after another. Whoever has a snapshot, or an app of one, keeps it for as long
/// as it is needed; a reload waits for nobody, and nobody waits for it.
#[derive(Default)]
pub struct LiveApps {
    apps: ArcSwap<Apps>,
    standings: ArcSwap<Vec<Standing>>,
}

/// How an app stands to its file.
pub struct Standing {
    /// The app's name; `None` for a file whose name cannot be an app's.
    pub name: Option<AppName>,
    /// The app, if there is one.
    pub app: Option<Arc<App>>,
    /// The path of its file.
    pub file: String,
    /// How it stands to that.
    pub state: FileState,
    /// Since when this version of the app is live.
    pub since: Option<SystemTime>,
    /// The [`fingerprint`](super::fingerprint) of the text that it was made of, where there is one.
    pub fingerprint: Option<String>,
    /// Why the file is refused.
    pub errors: Vec<ConfigError>,
    /// Since when the file is missing, and when the app goes as well.
    pub missing: Option<(SystemTime, SystemTime)>,
}

impl LiveApps {
    /// Apps that no reload changes.
    #[must_use]
    pub fn fixed(apps: Apps) -> Self {
        let now = SystemTime::now();
        let live = |app: &Arc<App>| Standing::live(app, String::new(), now, None);
        let standings = apps.shared().map(live).collect();
        Self { apps: ArcSwap::from_pointee(apps), standings: ArcSwap::from_pointee(standings) }
    }

    /// The app of that name, as it is now.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<Arc<App>> {
        self.apps.load().get(name).cloned()
    }

    /// All apps, as they are now.
    #[must_use]
    pub fn snapshot(&self) -> Arc<Apps> {
        self.apps.load_full()
    }

    /// How each app stands to its file, and each file that gave no app; in the order of names.
    #[must_use]
    pub fn standings(&self) -> Arc<Vec<Standing>> {
        self.standings.load_full()
    }

    /// Counts the apps by their states.
    pub fn count_in(&self, metrics: &Metrics) {
        let standings = self.standings.load();
        for state in FileState::ALL {
            let count = standings.iter().filter(|standing| standing.state == state).count();
            let count = i64::try_from(count).unwrap_or(i64::MAX);
            metrics.config_apps.with_label_values(&[state.label()]).set(count);
        }
    }

    /// Puts other apps in the place of those that are here, and gives back these.
    pub(super) fn replace(&self, apps: Apps) -> Arc<Apps> {
        self.apps.swap(Arc::new(apps))
    }

    /// Tells how the apps stand now.
    pub(super) fn tell(&self, standings: Vec<Standing>) {
        self.standings.store(Arc::new(standings));
    }
}

impl Standing {
    /// An app that is what its file says.
    pub(super) fn live(
        app: &Arc<App>,
        file: String,
        since: SystemTime,
        fingerprint: Option<String>,
    ) -> Self {
        Self {
            name: Some(app.name.clone()),
            app: Some(Arc::clone(app)),
            file,
            state: FileState::Live,
            since: Some(since),
            fingerprint,
            errors: Vec::new(),
            missing: None,
        }
    }

    /// A file that is refused, and gave no app so far.
    pub(super) const fn refused(
        name: Option<AppName>,
        file: String,
        errors: Vec<ConfigError>,
    ) -> Self {
        Self {
            name,
            app: None,
            file,
            state: FileState::Refused,
            since: None,
            fingerprint: None,
            errors,
            missing: None,
        }
    }
}

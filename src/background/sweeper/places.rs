//! Where the objects of each app were when the sweeper last looked: what it has learnt of a place
//! says nothing of another one.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use crate::apps::{App, Apps};
use crate::domain::{AppName, KeyPrefix};
use crate::storage::ObjectStore;

/// The places of all apps.
#[derive(Default)]
pub(super) struct Places(Mutex<HashMap<AppName, Place>>);

/// A store (another one where the credentials are others) and a part of its bucket.
struct Place {
    store: Weak<dyn ObjectStore>,
    prefix: KeyPrefix,
}

impl Place {
    fn of(app: &App) -> Self {
        Self { store: Arc::downgrade(&app.store), prefix: app.key_prefix.clone() }
    }

    fn is_of(&self, app: &App) -> bool {
        // The memory of a store that somebody still points to is given to no other.
        std::ptr::addr_eq(self.store.as_ptr(), Arc::as_ptr(&app.store))
            && self.prefix == app.key_prefix
    }
}

impl Places {
    /// Takes note of where the apps are now. Returns those that are elsewhere than before, or no more.
    pub(super) fn left(&self, apps: &Apps) -> Vec<AppName> {
        let mut places = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let has_left = |name: &AppName, place: &Place| {
            apps.get(name.as_str()).is_none_or(|app| !place.is_of(app))
        };
        let left = places.iter().filter(|(name, place)| has_left(name, place));
        let left: Vec<_> = left.map(|(name, _)| name.clone()).collect();
        *places = apps.iter().map(|app| (app.name.clone(), Place::of(app))).collect();
        left
    }
}

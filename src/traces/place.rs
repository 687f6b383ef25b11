//! Where in a trace a task is. It goes with the task, as the id of its request does.

use std::future::Future;
use std::sync::Arc;

use http::HeaderMap;

use super::context::{Context, TraceId};
use super::tracer::Tracer;

tokio::task_local! {
    static CURRENT: Arc<Here>;
}

/// Where a task is in a trace: which span it works for. Nowhere, where there is no trace.
#[derive(Debug, Clone, Default)]
pub struct Place(Option<Arc<Here>>);

/// A place in a trace.
#[derive(Debug)]
pub(super) struct Here {
    /// What goes on to others.
    pub(super) context: Context,
    /// Who records the spans from here on; `None` where the trace is only passed on.
    pub(super) tracer: Option<Tracer>,
}

impl Place {
    pub(super) const fn at(here: Arc<Here>) -> Self {
        Self(Some(here))
    }

    /// Where this task is.
    #[must_use]
    pub fn current() -> Self {
        Self(CURRENT.try_with(Arc::clone).ok())
    }

    /// The trace, if there is one.
    #[must_use]
    pub fn trace(&self) -> Option<TraceId> {
        self.0.as_ref().map(|here| here.context.trace)
    }

    /// The trace that this task works for, if there is one.
    #[must_use]
    pub fn current_trace() -> Option<TraceId> {
        CURRENT.try_with(|here| here.context.trace).ok()
    }

    /// Does something at this place.
    pub fn scope<T>(&self, action: impl FnOnce() -> T) -> T {
        match &self.0 {
            Some(here) => CURRENT.sync_scope(Arc::clone(here), action),
            None => action(),
        }
    }

    /// A future that runs at this place. It is one that is pinned where it lies, because a future
    /// that is handed on takes its room twice.
    pub async fn follow<F: Future + Unpin>(self, running: F) -> F::Output {
        match self.0 {
            Some(here) => CURRENT.scope(here, running).await,
            None => running.await,
        }
    }
}

/// Looks at where this task is, if it is anywhere.
pub(super) fn look<T>(look: impl FnOnce(&Arc<Here>) -> Option<T>) -> Option<T> {
    CURRENT.try_with(look).ok().flatten()
}

/// Tells the next server of the trace that this task works for. Without one, nothing is told.
pub fn pass_on(headers: &mut HeaderMap) {
    let _ = CURRENT.try_with(|here| here.context.write_to(headers));
}

//! What every handler and every background job shares. Built once, cloned cheaply.

use std::{sync::Arc, time::UNIX_EPOCH};

use axum::extract::FromRef;
use tidegate_chassis::{Clock, Drain};
use tidegate_contract::id::MediaId;
use tokio::sync::{Notify, broadcast};
use tokio_util::task::TaskTracker;

use crate::{database::Database, metrics::Metrics, objects::Objects, web::Tokens};

/// The shared parts of the program.
#[derive(Debug, Clone)]
pub struct App {
    /// The relational store.
    pub database: Database,
    /// The object store.
    pub objects: Objects,
    /// The time.
    pub clock: Clock,
    /// Every number.
    pub metrics: Metrics,
    /// Tells when to stop taking new work.
    pub drain: Drain,
    /// What must end before the process does: connections, and uploads whose client went away mid-write.
    pub tasks: TaskTracker,
    /// Who may upload.
    pub tokens: Tokens,
    /// Media that changed, for open event streams; one that lags reads the store again.
    pub changed_media: broadcast::Sender<MediaId>,
    /// Rings when a purge was put into the outbox.
    pub purge_waits: Arc<Notify>,
}

impl App {
    /// Puts the parts together.
    #[must_use]
    pub fn new(
        database: Database,
        objects: Objects,
        clock: Clock,
        metrics: Metrics,
        drain: Drain,
    ) -> Self {
        Self {
            database,
            objects,
            clock,
            metrics,
            drain,
            tasks: TaskTracker::new(),
            tokens: Tokens::default(),
            changed_media: broadcast::Sender::new(CHANGES_KEPT),
            purge_waits: Arc::new(Notify::new()),
        }
    }

    /// Milliseconds since 1970, as times stand in the database.
    #[must_use]
    pub fn now_ms(&self) -> i64 {
        let since = self.clock.now().duration_since(UNIX_EPOCH).unwrap_or_default();
        i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
    }

    /// Tells open event streams that a media changed.
    pub fn tell_change(&self, media: &MediaId) {
        // An error says that nobody listens, which is fine.
        let _ = self.changed_media.send(media.clone());
    }

    /// A new id: ordered by time, so that lists by id are lists by time.
    #[must_use]
    pub fn new_id() -> String {
        uuid::Uuid::now_v7().simple().to_string()
    }

    /// Runs work again and again, with a pause, until the drain begins. A failure is logged and tried again.
    pub async fn repeat<F>(
        &self,
        name: &'static str,
        pause: std::time::Duration,
        mut work: impl FnMut() -> F,
    ) where
        F: Future<Output = anyhow::Result<()>>,
    {
        while !self.drain.is_started() {
            if let Err(error) = work().await {
                tracing::error!(job = name, error = %format!("{error:#}"), "background work failed");
            }
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = self.drain.started() => {}
            }
        }
    }
}

impl FromRef<App> for Tokens {
    fn from_ref(app: &App) -> Self {
        app.tokens.clone()
    }
}

const CHANGES_KEPT: usize = 1024;

//! Files that are read again when they change: the fleet, and places.
//!
//! Invariant: what is wrong is refused with its reason, counted, and what was read before serves on.

use std::{
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, ensure};
use tidegate_chassis::Drain;
use tokio::time::{MissedTickBehavior, interval};

use super::{config::PlacesConfig, inbox::Inbox, metrics::Metrics};
use crate::{
    fleet::Fleet,
    locate::{Files, LocateError, listed},
    unit::Units,
};

/// How often a file is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Files as they were when somebody looked; a folder stands for the files in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Stamps {
    paths: Vec<PathBuf>,
    stamps: Vec<(PathBuf, Option<Stamp>)>,
}

/// What tells a file from the one that was there before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    device: u64,
    inode: u64,
    size: u64,
    changed: (i64, i64),
}

impl Stamps {
    /// Looks at files, before they are read: what changes while they are is noticed then.
    pub(super) fn of<'a>(paths: impl IntoIterator<Item = &'a PathBuf>) -> Self {
        let mut stamps = Self { paths: paths.into_iter().cloned().collect(), stamps: Vec::new() };
        stamps.stamps = stamps.now();
        stamps
    }

    fn now(&self) -> Vec<(PathBuf, Option<Stamp>)> {
        // What cannot be listed is said when it is read.
        let files = listed(&self.paths).unwrap_or_default();
        let stamped = |path: PathBuf| {
            let stamp = stamp(&path);
            (path, stamp)
        };
        files.into_iter().map(stamped).collect()
    }
}

/// Reads the places of a configuration.
pub(super) fn places(config: &PlacesConfig) -> Result<Units, LocateError> {
    Files::open(&config.places, &config.networks)?.units()
}

/// The fleet of a file.
pub(super) fn fleet(path: &Path) -> anyhow::Result<Fleet> {
    let named = || path.display().to_string();
    let bytes = fs::metadata(path).with_context(named)?.len();
    ensure!(bytes <= FLEET_BYTES_MAX, "{}: more than {FLEET_BYTES_MAX} bytes", named());
    let text = fs::read_to_string(path).with_context(named)?;
    Fleet::from_toml(&text).with_context(named)
}

/// Reads the files of places again whenever they change.
pub(super) async fn follow_places(
    config: PlacesConfig,
    read: Stamps,
    inbox: Arc<Inbox>,
    metrics: Metrics,
    drain: Drain,
) {
    follow(read, drain, move || match places(&config) {
        Ok(units) => {
            tracing::info!(units = units.all().len(), "places are read again");
            inbox.tell(|news| news.places = Some(Arc::new(units)));
        }
        Err(error) => {
            metrics.refused.with_label_values(&["places"]).inc();
            tracing::error!(%error, "places are refused; those that were read before serve on");
        }
    })
    .await;
}

/// Reads the file of the fleet again whenever it changes. `told` hears of every good one.
pub(super) async fn follow_fleet(
    path: PathBuf,
    read: Stamps,
    inbox: Arc<Inbox>,
    metrics: Metrics,
    drain: Drain,
    told: impl Fn(&Fleet) + Clone + Send + 'static,
) {
    follow(read, drain, move || match fleet(&path) {
        Ok(fleet) => {
            tracing::info!(pops = fleet.pops().len(), "the fleet is read again");
            told(&fleet);
            inbox.tell(|news| news.fleet = Some(fleet));
        }
        Err(error) => {
            metrics.refused.with_label_values(&["fleet"]).inc();
            tracing::error!(error = %format!("{error:#}"), "a fleet is refused; the one before serves on");
        }
    })
    .await;
}

/// Calls `read`, off the runtime's threads, whenever one of the files is another one than before.
async fn follow(mut known: Stamps, drain: Drain, read: impl Fn() + Clone + Send + 'static) {
    if known.paths.is_empty() {
        return drain.started().await;
    }
    let mut ticks = interval(LOOK_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = drain.started() => return,
            _ = ticks.tick() => {}
        }
        let now = known.now();
        // A file that is being replaced is not there for a moment.
        if now != known.stamps && now.iter().all(|(_, stamp)| stamp.is_some()) {
            known.stamps = now;
            let read = read.clone();
            if let Err(error) = tokio::task::spawn_blocking(read).await {
                tracing::error!(%error, "reading a file again failed");
            }
        }
    }
}

fn stamp(path: &Path) -> Option<Stamp> {
    let metadata = fs::metadata(path).ok()?;
    Some(Stamp {
        device: metadata.dev(),
        inode: metadata.ino(),
        size: metadata.size(),
        changed: (metadata.mtime(), metadata.mtime_nsec()),
    })
}

/// A fleet of 4,096 PoPs has less.
const FLEET_BYTES_MAX: u64 = 16 * 1024 * 1024;

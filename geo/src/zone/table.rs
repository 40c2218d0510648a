//! The newest zones, from all sources.
//!
//! A zone in a file goes before one of the same name from the control plane: whoever stands at the node has the last word.
//! Invariant: there are always zones, if only none, so no question waits for a change.

use std::{
    collections::BTreeMap,
    io,
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use arc_swap::ArcSwap;
use tokio::sync::watch;

use crate::zone::{
    error::Refused,
    folder::Folder,
    holding::{Holding, Standing, Text, Told},
    zones::Zones,
};

/// The newest zones.
#[derive(Debug)]
pub struct ZoneTable {
    newest: ArcSwap<Zones>,
    sources: Mutex<Sources>,
    changed: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct Sources {
    folder: Folder,
    files: Holding,
    feed: Holding,
}

impl ZoneTable {
    /// Begins without any.
    #[must_use]
    pub fn new() -> Arc<Self> {
        Arc::new(Self {
            newest: ArcSwap::default(),
            sources: Mutex::default(),
            changed: watch::Sender::new(0),
        })
    }

    /// The newest.
    #[must_use]
    pub fn newest(&self) -> arc_swap::Guard<Arc<Zones>> {
        self.newest.load()
    }

    /// The newest, for longer than a question.
    #[must_use]
    pub fn newest_full(&self) -> Arc<Zones> {
        self.newest.load_full()
    }

    /// Tells of every change by a number that grows.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// Puts zones in the place of all there are, whatever their source.
    pub fn replace(&self, zones: Zones) {
        if !self.newest.load().is_same(&zones) {
            self.newest.store(Arc::new(zones));
            self.changed.send_modify(|number| *number += 1);
        }
    }

    /// Takes the zones of the control plane: master files by the names of their zones. Gives back what is newly wrong.
    pub fn take_feed(&self, zones: &BTreeMap<String, String>) -> Vec<Refused> {
        let told = |(name, text): (&String, &String)| {
            let source = format!("{name} of the control plane");
            (source, Told { name: name.clone(), text: Text::Is(text.clone()) })
        };
        let mut sources = self.lock();
        let complaints = sources.feed.take(zones.iter().map(told).collect());
        self.put(&sources);
        complaints
    }

    /// Takes the `*.zone` files of a folder. Gives back what is newly wrong.
    ///
    /// # Errors
    /// The folder cannot be read; the zones stay as they were.
    pub fn take_folder(&self, folder: &Path) -> io::Result<Vec<Refused>> {
        let mut sources = self.lock();
        let told = sources.folder.look(folder)?;
        let complaints = sources.files.take(told);
        self.put(&sources);
        Ok(complaints)
    }

    /// How it stands with every zone of every source.
    #[must_use]
    pub fn standing(&self) -> Vec<Standing> {
        let sources = self.lock();
        sources.files.standing().chain(sources.feed.standing()).collect()
    }

    fn put(&self, sources: &Sources) {
        // Of two with one name, the later counts.
        let all = sources.feed.zones().chain(sources.files.zones());
        self.replace(Zones::new(all.cloned()));
    }

    fn lock(&self) -> MutexGuard<'_, Sources> {
        self.sources.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

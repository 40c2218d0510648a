//! The newest zones, from all sources.
//!
//! A zone in a file goes before one of the same name from the control plane: whoever stands at the node has the last word.
//! Invariant: there are always zones, if only none, so no question waits for a change.

use std::{
    collections::BTreeMap,
    fs, io,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
};

use arc_swap::ArcSwap;
use tokio::sync::watch;

use crate::zone::{
    error::ZoneError,
    holding::{FILE_END, Holding, Standing},
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
        if **self.newest.load() != zones {
            self.newest.store(Arc::new(zones));
            self.changed.send_modify(|number| *number += 1);
        }
    }

    /// Takes the zones of the control plane: master files by the names of their zones. Gives back what is newly wrong.
    pub fn take_feed(&self, zones: &BTreeMap<String, String>) -> Vec<ZoneError> {
        let texts = zones.iter().map(|(name, text)| (name.clone(), Ok(text.clone()))).collect();
        self.take(texts, |sources| &mut sources.feed)
    }

    /// Takes the `*.zone` files of a folder. Gives back what is newly wrong.
    ///
    /// # Errors
    /// The folder cannot be read; the zones stay as they were.
    pub fn take_folder(&self, folder: &Path) -> io::Result<Vec<ZoneError>> {
        let mut texts = BTreeMap::new();
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            let Some(name) = path.file_name().and_then(|name| name.to_str()) else { continue };
            if name.ends_with(FILE_END) && !name.starts_with('.') {
                let text = fs::read_to_string(&path).map_err(|error| error.to_string());
                texts.insert(path.display().to_string(), text);
            }
        }
        Ok(self.take(texts, |sources| &mut sources.files))
    }

    /// How it stands with every zone of every source.
    #[must_use]
    pub fn standing(&self) -> Vec<Standing> {
        let sources = self.sources.lock().unwrap_or_else(PoisonError::into_inner);
        sources.files.standing().chain(sources.feed.standing()).collect()
    }

    fn take(
        &self,
        texts: BTreeMap<String, Result<String, String>>,
        holding: impl FnOnce(&mut Sources) -> &mut Holding,
    ) -> Vec<ZoneError> {
        let mut sources = self.sources.lock().unwrap_or_else(PoisonError::into_inner);
        let complaints = holding(&mut sources).take(texts);
        // Of two with one name, the later counts.
        let all = sources.feed.zones().chain(sources.files.zones());
        self.replace(Zones::new(all.cloned()));
        complaints
    }
}

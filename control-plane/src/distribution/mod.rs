//! From the desired state to what each PoP gets.
//!
//! A snapshot is compiled once for each PoP and generation, however many nodes ask for it. Its bytes follow from
//! the state alone, so the generation names them.

mod compile;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;
use tidegate_contract::{
    id::{Generation, PopId},
    snapshot::digest_of,
};
use tokio::sync::watch;

use crate::store::{Change, DesiredError, Registry, StoreError};

pub use compile::compile;

/// A snapshot as it travels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Release {
    /// Its generation.
    pub generation: Generation,
    /// JSON of the snapshot.
    pub body: Bytes,
    /// BLAKE3 of the body.
    pub digest: [u8; 32],
}

/// Makes releases. Cheap to clone.
#[derive(Clone)]
pub struct Distribution {
    store: Registry,
    compiled: Arc<Mutex<Compiled>>,
}

#[derive(Default)]
struct Compiled {
    generation: Generation,
    by_pop: HashMap<PopId, Option<Arc<Release>>>,
}

impl Distribution {
    /// Releases of a store's desired state.
    #[must_use]
    pub fn new(store: Registry) -> Self {
        Self { store, compiled: Arc::default() }
    }

    /// The generation of the desired state, now and on every change.
    #[must_use]
    pub fn generation(&self) -> watch::Receiver<u64> {
        self.store.generation()
    }

    /// The newest release of a PoP; `None` when there is no such PoP.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn release(&self, pop: &PopId) -> Result<Option<Arc<Release>>, StoreError> {
        let newest = Generation(*self.store.generation().borrow());
        if let Some(known) = self.known(newest, pop) {
            return Ok(known);
        }
        let desired = self.store.desired().await?;
        let release = compile(&desired, pop).map(|snapshot| {
            let body = Bytes::from(snapshot.to_bytes());
            let digest = digest_of(&body);
            Arc::new(Release { generation: desired.generation, body, digest })
        });
        self.keep(desired.generation, pop, release.clone());
        Ok(release)
    }

    /// Lifts the generation above one that a node already has, see [`Registry::raise_above`].
    ///
    /// # Errors
    /// [`DesiredError`]
    pub async fn raise_above(&self, seen: Generation) -> Result<Change, DesiredError> {
        self.store.raise_above(seen).await
    }

    fn known(&self, generation: Generation, pop: &PopId) -> Option<Option<Arc<Release>>> {
        let compiled = self.lock();
        if compiled.generation == generation { compiled.by_pop.get(pop).cloned() } else { None }
    }

    fn keep(&self, generation: Generation, pop: &PopId, release: Option<Arc<Release>>) {
        let mut compiled = self.lock();
        if compiled.generation > generation {
            return;
        }
        if compiled.generation < generation {
            *compiled = Compiled { generation, by_pop: HashMap::new() };
        }
        compiled.by_pop.insert(pop.clone(), release);
    }

    fn lock(&self) -> MutexGuard<'_, Compiled> {
        self.compiled.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

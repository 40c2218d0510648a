//! Which engine holds the state: chosen once, at the start.
//!
//! Everything above sees the three faces alone. The parts of one control plane are opened together, so that they never
//! lie in two places.

use std::{path::Path, sync::Arc};

use tidegate_contract::id::StreamId;

use super::{
    Config, Store,
    error::StoreError,
    etcd::{self, EtcdLease, EtcdLog, EtcdRecords},
    lease::Lease,
    log::Log,
    records::Records,
    sqlite_lease::SqliteLease,
    sqlite_log::SqliteLog,
    sqlite_records::SqliteRecords,
    writer::WriterEnd,
};
use crate::metrics::Metrics;

/// The state of one control plane.
pub struct Stores {
    /// Its records.
    pub records: Arc<dyn Records>,
    /// Its leases.
    pub lease: Arc<dyn Lease>,
    engine: Engine,
    queue_writes_max: usize,
}

enum Engine {
    Sqlite(Store),
    Etcd(etcd::Client),
}

/// Ends when the engine does, which before it is dropped is a failure.
pub struct StoreEnd(Option<WriterEnd>);

impl Stores {
    /// Opens the state that the settings name.
    ///
    /// # Errors
    /// [`StoreError`] when the engine cannot be used or reached, or its name is not known.
    pub async fn open(
        data_dir: &Path,
        config: &Config,
        metrics: Metrics,
    ) -> Result<(Self, StoreEnd), StoreError> {
        let queue_writes_max = config.queue_writes_max;
        if let Some(members) = config.url.strip_prefix("etcd:") {
            let client = etcd::Client::new(members, &config.etcd)?;
            let stores = Self {
                records: Arc::new(EtcdRecords::open(client.clone()).await?),
                lease: Arc::new(EtcdLease::new(client.clone())),
                engine: Engine::Etcd(client),
                queue_writes_max,
            };
            return Ok((stores, StoreEnd(None)));
        }
        if config.url != "sqlite:" {
            let detail = "it begins with sqlite: or etcd:".to_owned();
            return Err(StoreError::Address { address: config.url.clone(), detail });
        }
        let (store, end) = Store::open(data_dir, config, metrics)?;
        let records = SqliteRecords::new(store.clone());
        let stores = Self {
            records: Arc::new(records.clone()),
            lease: Arc::new(SqliteLease::new(records)),
            engine: Engine::Sqlite(store),
            queue_writes_max,
        };
        Ok((stores, StoreEnd(Some(end))))
    }

    /// Opens a stream of the purge log, see [`SqliteLog::open`].
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn log(
        &self,
        stream: StreamId,
        tail_entries_max: usize,
        replacements_max: u64,
    ) -> Result<Arc<dyn Log>, StoreError> {
        match &self.engine {
            Engine::Sqlite(store) => {
                let log =
                    SqliteLog::open(store.clone(), stream, tail_entries_max, replacements_max);
                Ok(Arc::new(log.await?))
            }
            Engine::Etcd(client) => {
                let (client, queue_max) = (client.clone(), self.queue_writes_max);
                let log =
                    EtcdLog::open(client, stream, tail_entries_max, replacements_max, queue_max);
                Ok(Arc::new(log.await?))
            }
        }
    }

    /// Whether other replicas may use the same state.
    #[must_use]
    pub fn is_shared(&self) -> bool {
        matches!(self.engine, Engine::Etcd(_))
    }

    /// The cluster, when the state lies in one.
    #[must_use]
    pub fn etcd(&self) -> Option<&etcd::Client> {
        match &self.engine {
            Engine::Sqlite(_) => None,
            Engine::Etcd(client) => Some(client),
        }
    }

    /// The database, when the state lies in one.
    #[must_use]
    pub fn sqlite(&self) -> Option<&Store> {
        match &self.engine {
            Engine::Sqlite(store) => Some(store),
            Engine::Etcd(_) => None,
        }
    }
}

impl StoreEnd {
    /// Waits until the engine has ended; for ever, when it is another process.
    pub async fn wait(self) {
        match self.0 {
            Some(end) => end.wait().await,
            None => std::future::pending().await,
        }
    }
}

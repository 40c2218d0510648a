//! A few connections that only read, beside the writer.
//!
//! In WAL mode readers neither wait for the writer nor hold it up. Each read runs in one transaction, so that what
//! it puts together belongs to one state, and on a thread that may block.

use std::{
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use rusqlite::Connection;
use tokio::sync::Semaphore;

use super::{Config, connect, error::StoreError};

pub(super) struct Readers {
    path: PathBuf,
    busy_timeout: Duration,
    idle: Arc<Mutex<Vec<Connection>>>,
    permits: Arc<Semaphore>,
}

impl Readers {
    pub(super) fn new(path: PathBuf, config: &Config) -> Self {
        Self {
            path,
            busy_timeout: config.busy_timeout,
            idle: Arc::default(),
            permits: Arc::new(Semaphore::new(config.readers_max.max(1))),
        }
    }

    pub(super) async fn read<T, E, F>(&self, work: F) -> Result<T, E>
    where
        F: FnOnce(&Connection) -> Result<T, E> + Send + 'static,
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
    {
        let permit = Arc::clone(&self.permits).acquire_owned().await;
        let (path, busy_timeout) = (self.path.clone(), self.busy_timeout);
        let idle = Arc::clone(&self.idle);
        let read = move || {
            let _permit = permit;
            let kept = lock(&idle).pop();
            let connection = kept.map_or_else(|| open(&path, busy_timeout), Ok)?;
            let outcome = in_transaction(&connection, work);
            lock(&idle).push(connection);
            outcome
        };
        tokio::task::spawn_blocking(read).await.map_err(|_| StoreError::Closed)?
    }
}

fn open(path: &std::path::Path, busy_timeout: Duration) -> Result<Connection, StoreError> {
    let connection = connect(path, busy_timeout)?;
    connection.pragma_update(None, "query_only", true)?;
    Ok(connection)
}

fn in_transaction<T, E: From<StoreError>>(
    connection: &Connection,
    work: impl FnOnce(&Connection) -> Result<T, E>,
) -> Result<T, E> {
    let transaction = connection.unchecked_transaction().map_err(StoreError::from)?;
    let outcome = work(&transaction);
    transaction.finish().map_err(StoreError::from)?;
    outcome
}

fn lock(idle: &Mutex<Vec<Connection>>) -> std::sync::MutexGuard<'_, Vec<Connection>> {
    idle.lock().unwrap_or_else(PoisonError::into_inner)
}

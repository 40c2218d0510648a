//! The process before this one, as long as it lives: it is told what is applied here.
//!
//! Whoever tells does not wait. Invariant: what waits to be told is bounded; past the bound telling ends for good, and
//! what the other had applied by then stays the limit until it has ended.

use std::{
    collections::BTreeMap,
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::SystemTime,
};

use tidegate_contract::{id::StreamId, purge::PurgeOrder};
use tokio::{
    io::{AsyncWriteExt, BufReader},
    net::{
        UnixStream,
        unix::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::{Notify, watch},
};

use super::{Said, Told, read_line};

/// A handle on it; all clones are the same.
#[derive(Clone)]
pub(in crate::control) struct Predecessor {
    waiting: Arc<Waiting>,
    applied: watch::Receiver<Applied>,
}

/// Up to where the other has applied every stream; absent when there is no other.
type Applied = Option<BTreeMap<StreamId, u64>>;

#[derive(Default)]
struct Waiting {
    lines: Mutex<Lines>,
    is_filled: Notify,
}

#[derive(Default)]
struct Lines {
    bytes: Vec<u8>,
    is_given_up: bool,
}

impl Predecessor {
    /// No process before this one.
    pub(in crate::control) fn none() -> Self {
        Self { waiting: Arc::default(), applied: watch::channel(None).1 }
    }

    /// One at the other end of a line, and what keeps the line going.
    pub(in crate::control) fn at(line: UnixStream) -> (Self, impl Future<Output = ()> + Send) {
        let waiting = Arc::<Waiting>::default();
        let (applied, seen) = watch::channel(Some(BTreeMap::new()));
        (Self { waiting: waiting.clone(), applied: seen }, tell_all(line, waiting, applied))
    }

    /// A purge is applied here.
    pub(in crate::control) fn purged(&self, stream: &StreamId, offset: u64, order: &PurgeOrder) {
        if self.lives() {
            let order = serde_json::to_value(order).unwrap_or_default();
            self.tell(&Told::Purge { stream: stream.clone(), offset, order });
        }
    }

    /// A stream goes on from an offset without what led there.
    pub(in crate::control) fn began(&self, stream: &StreamId, offset: u64) {
        if self.lives() {
            self.tell(&Told::Began { stream: stream.clone(), offset });
        }
    }

    /// The control plane was heard; its logs end here.
    pub(in crate::control) fn heard(&self, at: SystemTime, head: BTreeMap<StreamId, u64>) {
        if self.lives() {
            let at = at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
            let at_unix_ms = u64::try_from(at.as_millis()).unwrap_or(u64::MAX);
            self.tell(&Told::Heard { at_unix_ms, head });
        }
    }

    /// Up to where it has applied every stream; absent when there is none.
    pub(in crate::control) fn applied(&self) -> Option<BTreeMap<StreamId, u64>> {
        self.applied.borrow().clone()
    }

    /// Returns when it has applied more, or has ended; never when there is none.
    pub(in crate::control) async fn changed(&mut self) {
        if self.applied.changed().await.is_err() {
            std::future::pending().await
        }
    }

    fn lives(&self) -> bool {
        self.applied.borrow().is_some()
    }

    fn tell(&self, told: &Told) {
        let mut lines = self.waiting.lines();
        if lines.is_given_up {
            return;
        }
        let is_written = serde_json::to_writer(&mut lines.bytes, told).is_ok();
        lines.bytes.push(b'\n');
        if !is_written || lines.bytes.len() > WAITING_BYTES_MAX {
            tracing::error!("the process before does not take purges any more");
            *lines = Lines { bytes: Vec::new(), is_given_up: true };
        }
        drop(lines);
        self.waiting.is_filled.notify_one();
    }
}

impl Waiting {
    fn lines(&self) -> MutexGuard<'_, Lines> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Keeps the line going until the other process has ended.
async fn tell_all(line: UnixStream, waiting: Arc<Waiting>, applied: watch::Sender<Applied>) {
    let (read, write) = line.into_split();
    let telling = async {
        if let Err(error) = tell(write, &waiting).await {
            tracing::debug!(%error, "the process before does not hear");
        }
        // Its end is seen by the reading.
        std::future::pending::<()>().await;
    };
    tokio::select! {
        () = hear(read, &applied) => {}
        () = telling => {}
    }
    applied.send_replace(None);
}

/// Writes what waits; ends when that is given up, which the other sees as the end of the line.
async fn tell(mut write: OwnedWriteHalf, waiting: &Waiting) -> io::Result<()> {
    loop {
        let bytes = {
            let mut lines = waiting.lines();
            if lines.is_given_up {
                return Ok(());
            }
            std::mem::take(&mut lines.bytes)
        };
        if bytes.is_empty() {
            waiting.is_filled.notified().await;
        } else {
            write.write_all(&bytes).await?;
        }
    }
}

async fn hear(read: OwnedReadHalf, applied: &watch::Sender<Applied>) {
    let (mut read, mut line) = (BufReader::new(read), Vec::new());
    while let Ok(Some(said)) = read_line(&mut read, &mut line).await {
        match said {
            Ok(Said::Applied(positions)) => drop(applied.send_replace(Some(positions))),
            Err(error) => tracing::error!(%error, "the process before is not understood"),
        }
    }
}

/// What may wait to be told, about 100,000 purges.
const WAITING_BYTES_MAX: usize = 16 << 20;

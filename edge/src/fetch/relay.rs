//! A body that turns out to be larger than what may be kept, while clients are reading it: from there on it passes,
//! piece by piece, at the pace of the slowest of those who were there.
//!
//! Only fills of unknown length have a relay, and only those readers that joined before it began. Invariant: the end is
//! told only when upstream's body has ended; a reader that is left behind, or whose upstream broke off, is never told.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use tokio::{
    sync::{mpsc, watch},
    time::timeout,
};

/// The relays of all fills of unknown length, by the number of the fill.
#[derive(Clone, Default)]
pub(super) struct Relays {
    by_fill: Arc<Mutex<HashMap<u64, Relay>>>,
}

/// One fill's relay; all clones share it.
#[derive(Clone)]
struct Relay {
    /// Who reads; absent once it has begun.
    readers: Arc<Mutex<Option<Vec<mpsc::Sender<Piece>>>>>,
    /// Where it begins, once that is known.
    from: watch::Sender<Option<u64>>,
}

/// The writer's end.
pub(super) struct Sending {
    relays: Relays,
    fill: u64,
    relay: Relay,
    /// Who reads, once it has begun.
    readers: Vec<mpsc::Sender<Piece>>,
}

/// A reader's end.
pub struct Receiving {
    from: watch::Receiver<Option<u64>>,
    pieces: mpsc::Receiver<Piece>,
}

enum Piece {
    Data(Bytes),
    End,
}

/// The rest does not come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct BrokeOff;

impl Relays {
    /// A relay for a fill that begins.
    pub(super) fn begin(&self, fill: u64) -> Sending {
        let relay = Relay {
            readers: Arc::new(Mutex::new(Some(Vec::new()))),
            from: watch::Sender::new(None),
        };
        self.table().insert(fill, relay.clone());
        Sending { relays: self.clone(), fill, relay, readers: Vec::new() }
    }

    /// Joins the readers of a fill; `None` when it has no relay, or when it is too late.
    pub(super) fn join(&self, fill: u64) -> Option<Receiving> {
        let relay = self.table().get(&fill)?.clone();
        let (sender, pieces) = mpsc::channel(PIECES_MAX);
        relay.readers().as_mut()?.push(sender);
        Some(Receiving { from: relay.from.subscribe(), pieces })
    }

    fn table(&self) -> MutexGuard<'_, HashMap<u64, Relay>> {
        self.by_fill.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Relay {
    fn readers(&self) -> MutexGuard<'_, Option<Vec<mpsc::Sender<Piece>>>> {
        self.readers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Sending {
    /// From now on it passes; `from` is how much of it can be read from the fill.
    pub(super) fn start(&mut self, from: u64) {
        self.readers = self.relay.readers().take().unwrap_or_default();
        self.relay.from.send_replace(Some(from));
    }

    /// Hands a piece to every reader, and leaves those behind that do not take it in time. False when nobody is left.
    pub(super) async fn send(&mut self, data: &Bytes) -> bool {
        let mut kept = Vec::with_capacity(self.readers.len());
        for reader in self.readers.drain(..) {
            let sent = timeout(PATIENCE, reader.send(Piece::Data(data.clone()))).await;
            if matches!(sent, Ok(Ok(()))) {
                kept.push(reader);
            }
        }
        self.readers = kept;
        !self.readers.is_empty()
    }

    /// Tells every reader that this was all.
    pub(super) async fn end(mut self) {
        for reader in self.readers.drain(..) {
            let _ = timeout(PATIENCE, reader.send(Piece::End)).await;
        }
    }
}

impl Drop for Sending {
    fn drop(&mut self) {
        self.relays.table().remove(&self.fill);
    }
}

impl Receiving {
    /// Where the relay begins; never returns when it does not. May be dropped and called again.
    pub(super) async fn from(&mut self) -> u64 {
        match self.from.wait_for(Option::is_some).await.map(|from| *from) {
            Ok(Some(from)) => from,
            _ => std::future::pending().await,
        }
    }

    /// The next bytes; `None` at the end. May be dropped and called again.
    pub(super) async fn next(&mut self) -> Result<Option<Bytes>, BrokeOff> {
        match self.pieces.recv().await {
            Some(Piece::Data(data)) => Ok(Some(data)),
            Some(Piece::End) => Ok(None),
            None => Err(BrokeOff),
        }
    }
}

/// Pieces that wait for one reader: with upstream's pieces, some hundred kilobytes.
const PIECES_MAX: usize = 8;
/// How long one reader may hold up the others. The listener cuts clients off that are slower than they may be.
const PATIENCE: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn who_joined_before_gets_everything_behind_the_mark() {
        let relays = Relays::default();
        let mut sending = relays.begin(7);
        let mut reader = relays.join(7).unwrap();
        let gone = relays.join(7).unwrap();
        sending.start(100);
        assert!(relays.join(7).is_none(), "too late");
        drop(gone);
        assert_eq!(reader.from().await, 100);
        assert!(sending.send(&Bytes::from_static(b"abc")).await);
        assert_eq!(reader.next().await, Ok(Some(Bytes::from_static(b"abc"))));
        sending.end().await;
        assert_eq!(reader.next().await, Ok(None));
        assert!(relays.table().is_empty());
    }

    #[tokio::test]
    async fn a_writer_that_goes_away_is_no_end() {
        let relays = Relays::default();
        let mut sending = relays.begin(7);
        let mut reader = relays.join(7).unwrap();
        sending.start(0);
        drop(sending);
        assert_eq!(reader.next().await, Err(BrokeOff));
        assert!(relays.join(7).is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn who_does_not_take_it_in_time_is_left_behind() {
        let relays = Relays::default();
        let mut sending = relays.begin(7);
        let mut slow = relays.join(7).unwrap();
        sending.start(0);
        let mut sent = 0;
        while sending.send(&Bytes::from_static(b"x")).await {
            sent += 1;
        }
        assert_eq!(sent, PIECES_MAX);
        for _ in 0..PIECES_MAX {
            assert!(slow.next().await.unwrap().is_some());
        }
        assert_eq!(slow.next().await, Err(BrokeOff));
    }
}

//! One thread of the fast path: receives, answers, sends, and hands on what is unusual.
//!
//! It shares nothing with others but the newest table and counters that it adds to once a batch. Invariant: it never waits
//! for anything but its socket.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use prometheus::{IntCounter, Registry};
use tidegate_chassis::metrics::counter;
use tokio::sync::mpsc::Sender;

use super::{
    batch::{Batch, Slot},
    engine::{Engine, Verdict},
    socket::Socket,
};

/// A query that the handler answers.
#[derive(Debug)]
pub struct Unusual {
    /// What came.
    pub packet: Box<[u8]>,
    /// From whom.
    pub peer: SocketAddr,
    /// At which address, where a socket has all of them.
    pub asked: Option<IpAddr>,
}

/// What one thread works with.
pub struct Lane {
    /// Where queries come.
    pub socket: Arc<Socket>,
    /// What answers them.
    pub engine: Engine,
    /// Where unusual ones go.
    pub unusual: Sender<Unusual>,
    /// What is counted.
    pub counts: Counts,
    /// Set when the thread shall end.
    pub stop: Arc<AtomicBool>,
}

/// What the fast path counts, all threads together.
#[derive(Debug, Clone)]
pub struct Counts {
    answered: IntCounter,
    handed: IntCounter,
    dropped: IntCounter,
    unsent: IntCounter,
}

impl Counts {
    /// Declares them.
    #[must_use]
    pub fn new(registry: &Registry) -> Self {
        Self {
            answered: counter(
                registry,
                "geo_fast_answers_total",
                "Queries over UDP that were answered from the table.",
            ),
            handed: counter(
                registry,
                "geo_fast_handed_total",
                "Queries over UDP that were handed to the handler.",
            ),
            dropped: counter(
                registry,
                "geo_fast_dropped_total",
                "Queries over UDP that were dropped since too many waited for the handler.",
            ),
            unsent: counter(
                registry,
                "geo_fast_unsent_total",
                "Answers over UDP that the network did not take.",
            ),
        }
    }

    /// An answer of the handler could not be sent.
    pub fn unsent(&self) {
        self.unsent.inc();
    }
}

impl Lane {
    /// Works until it is told to stop and nothing is left to be read.
    ///
    /// # Errors
    /// When the socket fails.
    pub fn run(mut self) -> io::Result<()> {
        let mut batch = Batch::new(&self.socket);
        let (mut after_stop, mut failures) = (0, 0);
        loop {
            let stops = self.stop.load(Ordering::Relaxed);
            match batch.receive(&self.socket, !stops) {
                Ok(()) => failures = 0,
                Err(error) if is_nothing(&error) => {
                    if stops {
                        return Ok(());
                    }
                    continue;
                }
                Err(error) => {
                    failures += 1;
                    if stops || failures > FAILURES_MAX {
                        return Err(error);
                    }
                    thread::sleep(FAILURE_PAUSE);
                    continue;
                }
            }
            self.turn(&mut batch);
            if stops {
                after_stop += 1;
                if after_stop > BATCHES_AFTER_STOP_MAX {
                    return Ok(());
                }
            }
        }
    }

    fn turn(&mut self, batch: &mut Batch) {
        let Self { engine, unusual, socket, counts, .. } = self;
        let (mut answered, mut handed, mut dropped) = (0, 0, 0);
        batch.each(|Slot { packet, peer, asked, answer }| {
            match engine.answer(packet, peer.ip(), answer) {
                Verdict::Answered(length) => {
                    answered += 1;
                    length
                }
                Verdict::NotMine => {
                    // Room first: a flood is not to cost memory for each of its packets.
                    match unusual.try_reserve() {
                        Ok(room) => {
                            handed += 1;
                            room.send(Unusual { packet: packet.into(), peer, asked });
                        }
                        Err(_) => dropped += 1,
                    }
                    0
                }
            }
        });
        let unsent = batch.send(socket);
        for (counter, count) in [
            (&counts.answered, answered),
            (&counts.handed, handed),
            (&counts.dropped, dropped),
            (&counts.unsent, unsent as u64),
        ] {
            if count > 0 {
                counter.inc_by(count);
            }
        }
    }
}

fn is_nothing(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}

/// What waits in a socket when the drain begins is answered, but not what comes for ever.
const BATCHES_AFTER_STOP_MAX: usize = 256;
/// A socket that fails so often in a row is of no use any more.
const FAILURES_MAX: usize = 100;
/// What is short of memory now may have some again then.
const FAILURE_PAUSE: Duration = Duration::from_millis(10);

//! One thread of the fast path: receives, answers, sends, and hands on what is unusual.
//!
//! It shares nothing with others but the newest table and counters that it adds to once a batch. Invariant: it never waits
//! for anything but its socket, and, when much comes, a moment for more of it, as network cards do with interrupts: nearly all
//! that a query costs is the kernel's, most of that is waking up, and that is paid once a batch.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::{Receiver, SyncSender},
    },
    thread,
    time::Duration,
};

use prometheus::{IntCounter, Registry};
use tidegate_chassis::metrics::counter;

use super::{
    batch::{Batch, Slot},
    engine::{Engine, Verdict},
    socket::Socket,
};
use crate::dns::{handler::Handler, transport::Transport};

/// A query that the handler answers.
#[derive(Debug)]
pub struct Unusual {
    packet: Box<[u8]>,
    peer: SocketAddr,
    /// At which address, where a socket has all of them.
    asked: Option<IpAddr>,
}

/// What one thread works with.
pub struct Lane {
    /// Where queries come.
    pub socket: Arc<Socket>,
    /// What answers them.
    pub engine: Engine,
    /// What answers the others, and has the clock.
    pub handler: Arc<Handler>,
    /// Where those go.
    pub unusual: SyncSender<Unusual>,
    /// What is counted.
    pub counts: Counts,
    /// How long it waits for more when much comes.
    pub gather: Duration,
    /// Set when the thread shall end.
    pub stop: Arc<AtomicBool>,
}

/// What the fast path counts beside what is answered, all threads together.
#[derive(Debug, Clone)]
pub struct Counts {
    overflowed: IntCounter,
    unsent: IntCounter,
}

impl Counts {
    /// Declares them.
    #[must_use]
    pub fn new(registry: &Registry) -> Self {
        Self {
            overflowed: counter(
                registry,
                "geo_udp_overflowed_total",
                "Queries over UDP that were dropped since too many waited for the handler.",
            ),
            unsent: counter(
                registry,
                "geo_udp_unsent_total",
                "Answers over UDP that the network did not take.",
            ),
        }
    }
}

/// The other thread of a socket: answers what is unusual, until nobody hands anything on any more.
pub fn answer_unusual(
    waiting: &Receiver<Unusual>,
    socket: &Socket,
    handler: &Handler,
    counts: &Counts,
) {
    while let Ok(Unusual { packet, peer, asked }) = waiting.recv() {
        if let Some(answer) = handler.answer_bytes(&packet, peer, Transport::Udp)
            && socket.send(&answer, peer, asked).is_err()
        {
            counts.unsent.inc();
        }
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
            if !stops && !self.gather.is_zero() && batch.is_worth_a_wait() {
                thread::sleep(self.gather);
            }
            if stops {
                after_stop += 1;
                if after_stop > BATCHES_AFTER_STOP_MAX {
                    return Ok(());
                }
            }
        }
    }

    fn turn(&mut self, batch: &mut Batch) {
        let Self { engine, handler, unusual, socket, counts, .. } = self;
        let now = handler.limiter_now();
        let mut overflowed = 0;
        batch.each(|Slot { packet, peer, asked, answer }| {
            match engine.answer(packet, peer, now, answer) {
                Verdict::Answered(length) => length,
                Verdict::Dropped => 0,
                Verdict::NotMine => {
                    let one = Unusual { packet: packet.into(), peer, asked };
                    overflowed += u64::from(unusual.try_send(one).is_err());
                    0
                }
            }
        });
        // Before: whoever got an answer finds it counted.
        engine.flush();
        let unsent = batch.send(socket);
        for (counter, count) in [(&counts.overflowed, overflowed), (&counts.unsent, unsent as u64)]
        {
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

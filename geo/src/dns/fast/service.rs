//! Sockets, threads, and the newest table for them.
//!
//! A task makes the table anew when zones or world change, away from the threads that answer; those see the new one with
//! their next batch. Invariant: a change of the table costs no query.

use std::{
    future::Future,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use anyhow::Context;
use arc_swap::ArcSwap;
use prometheus::{IntCounter, IntGauge};
use tidegate_chassis::{
    Process,
    metrics::{counter, gauge},
};
use tokio::{
    sync::mpsc::{Receiver, channel},
    task::spawn_blocking,
};

use super::{
    config::Config,
    engine::{Engine, Limits},
    lane::{Counts, Lane, Unusual},
    names::Names,
    socket::Socket,
    table::Table,
};
use crate::{
    world::{World, Worlds},
    zone::{ZoneTable, Zones},
};

/// Who answers what is unusual.
pub trait Fallback: Send + Sync + 'static {
    /// The answer to a packet from somebody; `None`: none.
    fn answer(
        &self,
        packet: &[u8],
        peer: SocketAddr,
    ) -> impl Future<Output = Option<Vec<u8>>> + Send;
}

/// The fast path, bound to its addresses.
#[derive(Debug)]
pub struct Fast {
    sockets: Vec<Arc<Socket>>,
    addresses: Vec<SocketAddr>,
}

/// What is served from.
#[derive(Debug, Clone)]
pub struct Sources {
    /// The zones.
    pub zones: Arc<ZoneTable>,
    /// The worlds.
    pub worlds: Arc<Worlds>,
}

impl Fast {
    /// Binds every address. Nothing is received yet.
    ///
    /// # Errors
    /// An address that cannot be had.
    pub fn bind(addresses: &[SocketAddr], config: &Config) -> anyhow::Result<Self> {
        let (mut sockets, mut bound) = (Vec::new(), Vec::new());
        for address in addresses {
            let all = Socket::bind_all(*address, config.sockets())
                .with_context(|| format!("UDP {address}"))?;
            bound.extend(all.first().map(Socket::address));
            sockets.extend(all.into_iter().map(Arc::new));
        }
        Ok(Self { sockets, addresses: bound })
    }

    /// Where it is bound, in the order that was asked for.
    #[must_use]
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Serves until the process drains.
    ///
    /// # Errors
    /// When a thread cannot be started.
    pub fn serve(
        self,
        sources: Sources,
        limits: Limits,
        config: &Config,
        fallback: Arc<impl Fallback>,
        process: &Process,
    ) -> anyhow::Result<()> {
        let table = Tables::start(sources, process);
        let counts = Counts::new(process.registry());
        let stop = Arc::new(AtomicBool::new(false));
        let mut threads = Vec::new();
        for (number, socket) in self.sockets.into_iter().enumerate() {
            let (unusual, waiting) = channel(config.queue_max);
            let answering =
                hand_on(waiting, Arc::clone(&socket), Arc::clone(&fallback), counts.clone());
            process.spawn("dns handler", answering);
            let lane = Lane {
                socket,
                engine: Engine::new(Arc::clone(&table), limits),
                unusual,
                counts: counts.clone(),
                stop: Arc::clone(&stop),
            };
            let thread = thread::Builder::new().name(format!("dns-{number}"));
            threads.push(thread.spawn(move || lane.run()).context("a thread")?);
        }
        let drain = process.drain();
        process.spawn("dns threads", async move {
            let mut ended = spawn_blocking(move || {
                for thread in threads {
                    match thread.join() {
                        Ok(ended) => ended.context("a UDP socket")?,
                        Err(_) => anyhow::bail!("a thread of DNS panicked"),
                    }
                }
                Ok(())
            });
            tokio::select! {
                ended = &mut ended => ended?,
                () = drain.started() => {
                    stop.store(true, Ordering::Relaxed);
                    ended.await?
                }
            }
        });
        Ok(())
    }
}

/// Answers what is unusual, one after the other: a flood of it takes one core for each socket at most.
async fn hand_on(
    mut waiting: Receiver<Unusual>,
    socket: Arc<Socket>,
    fallback: Arc<impl Fallback>,
    counts: Counts,
) -> anyhow::Result<()> {
    while let Some(Unusual { packet, peer, asked }) = waiting.recv().await {
        if let Some(answer) = fallback.answer(&packet, peer).await
            && socket.send(&answer, peer, asked).is_err()
        {
            counts.unsent();
        }
    }
    Ok(())
}

/// Makes tables.
struct Tables {
    sources: Sources,
    newest: Arc<ArcSwap<Table>>,
    made: IntCounter,
    names: IntGauge,
}

impl Tables {
    fn start(sources: Sources, process: &Process) -> Arc<ArcSwap<Table>> {
        let (zones, worlds) = (sources.zones.changes(), sources.worlds.changes());
        let (held, first) = make(&sources.zones.newest_full(), sources.worlds.newest_full(), None);
        let newest = Arc::new(ArcSwap::from_pointee(first));
        let registry = process.registry();
        let tables = Self {
            sources,
            newest: Arc::clone(&newest),
            made: counter(registry, "geo_fast_tables_total", "Tables made for the fast path."),
            names: gauge(registry, "geo_fast_names", "Names in the table of the fast path."),
        };
        tables.names.set(newest.load().names().count() as i64);
        let drain = process.drain();
        process.spawn("dns table", async move {
            tokio::select! {
                () = tables.follow(held, zones, worlds) => Ok(()),
                () = drain.started() => Ok(()),
            }
        });
        newest
    }

    async fn follow(
        self,
        mut held: Arc<Zones>,
        mut zones: tokio::sync::watch::Receiver<u64>,
        mut worlds: tokio::sync::watch::Receiver<u64>,
    ) {
        loop {
            let changed = tokio::select! {
                changed = zones.changed() => changed,
                changed = worlds.changed() => changed,
            };
            if changed.is_err() {
                return;
            }
            zones.borrow_and_update();
            worlds.borrow_and_update();
            let (newest, world) =
                (self.sources.zones.newest_full(), self.sources.worlds.newest_full());
            let names = Arc::ptr_eq(&held, &newest).then(|| Arc::clone(self.newest.load().names()));
            let Ok((zones, table)) = spawn_blocking(move || make(&newest, world, names)).await
            else {
                tracing::error!("the table could not be made; the last one serves on");
                continue;
            };
            held = zones;
            self.names.set(table.names().count() as i64);
            self.newest.store(Arc::new(table));
            self.made.inc();
            tokio::time::sleep(PAUSE).await;
        }
    }
}

fn make(zones: &Arc<Zones>, world: Arc<World>, names: Option<Arc<Names>>) -> (Arc<Zones>, Table) {
    let names = names.unwrap_or_else(|| Arc::new(Names::new(zones, &world)));
    (Arc::clone(zones), Table::new(names, zones, world))
}

/// Between two tables: what changes at once is one change, and a dead PoP is out of answers soon enough.
const PAUSE: Duration = Duration::from_millis(50);

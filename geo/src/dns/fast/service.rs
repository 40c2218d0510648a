//! Sockets, threads, and the newest table for them.
//!
//! A task makes the table anew when zones or world change, away from the threads that answer; those see the new one with
//! their next batch. Invariant: a change of the table costs no query.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::sync_channel,
    },
    thread::{self, JoinHandle},
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
    sync::{oneshot, watch},
    task::spawn_blocking,
};

use super::{
    config::Config,
    engine::Engine,
    lane::{Counts, Lane, answer_unusual},
    names::Names,
    socket::Socket,
    table::Table,
};
use crate::{dns::handler::Handler, world::World, zone::Zones};

/// The fast path, bound to its addresses.
#[derive(Debug)]
pub struct Fast {
    sockets: Vec<Arc<Socket>>,
    addresses: Vec<SocketAddr>,
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
        handler: &Arc<Handler>,
        config: &Config,
        process: &Process,
    ) -> anyhow::Result<()> {
        // A node that only steers has no sockets, hence no threads whose end could mean anything.
        if self.sockets.is_empty() {
            return Ok(());
        }
        let table = Tables::start(Arc::clone(handler), process);
        let counts = Counts::new(process.registry());
        let stop = Arc::new(AtomicBool::new(false));
        let mut threads: Vec<JoinHandle<anyhow::Result<()>>> = Vec::new();
        for (number, socket) in self.sockets.into_iter().enumerate() {
            let (unusual, waiting) = sync_channel(config.queue_max);
            let (own, same, counting) = (Arc::clone(&socket), Arc::clone(handler), counts.clone());
            let lane = Lane {
                socket,
                engine: Engine::new(Arc::clone(&table), Arc::clone(handler)),
                handler: Arc::clone(handler),
                unusual,
                counts: counts.clone(),
                gather: config.gather,
                stop: Arc::clone(&stop),
            };
            let named = |what: &str| thread::Builder::new().name(format!("{what}-{number}"));
            let fast = named("dns").spawn(move || lane.run().context("a UDP socket"));
            threads.push(fast.context("a thread")?);
            let other = named("dns-other").spawn(move || {
                answer_unusual(&waiting, &own, &same, &counting);
                Ok(())
            });
            threads.push(other.context("a thread")?);
        }
        let (told, ended) = oneshot::channel();
        let joining = move || drop(told.send(joined(threads)));
        thread::Builder::new().name("dns-join".to_owned()).spawn(joining).context("a thread")?;
        let (stop, drain) = (Stop(stop), process.drain());
        process.spawn("udp", async move {
            let mut ended = ended;
            tokio::select! {
                ended = &mut ended => ended?,
                () = drain.started() => {
                    drop(stop);
                    ended.await?
                }
            }
        });
        Ok(())
    }
}

/// Stops the threads when it goes, also with a runtime that goes before the drain.
struct Stop(Arc<AtomicBool>);

impl Drop for Stop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Waits for threads; the first that fails is told at once.
fn joined(mut threads: Vec<JoinHandle<anyhow::Result<()>>>) -> anyhow::Result<()> {
    while !threads.is_empty() {
        for thread in threads.extract_if(.., |thread| thread.is_finished()) {
            thread.join().map_err(|_| anyhow::anyhow!("a thread of DNS panicked"))??;
        }
        thread::sleep(LOOK_EVERY);
    }
    Ok(())
}

/// Makes tables.
struct Tables {
    handler: Arc<Handler>,
    is_signing: bool,
    newest: Arc<ArcSwap<Table>>,
    made: IntCounter,
    names: IntGauge,
}

impl Tables {
    fn start(handler: Arc<Handler>, process: &Process) -> Arc<ArcSwap<Table>> {
        let parts = handler.parts();
        let is_signing = parts.signer.is_some();
        let (zones, worlds) = (parts.zones.changes(), parts.worlds.changes());
        let held = parts.zones.newest_full();
        let first = make(&held, parts.worlds.newest_full(), None, is_signing);
        let newest = Arc::new(ArcSwap::from_pointee(first));
        let registry = process.registry();
        let tables = Self {
            newest: Arc::clone(&newest),
            is_signing,
            made: counter(registry, "geo_tables_total", "Tables made for the fast path of UDP."),
            names: gauge(registry, "geo_table_names", "Names in the table of the fast path."),
            handler,
        };
        tables.made.inc();
        tables.names.set(newest.load().names().count() as i64);
        let drain = process.drain();
        process.spawn("table", async move {
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
        mut zones: watch::Receiver<u64>,
        mut worlds: watch::Receiver<u64>,
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
            let parts = self.handler.parts();
            let (newest, world) = (parts.zones.newest_full(), parts.worlds.newest_full());
            // Names stay as they are when only the world is another.
            let names = Arc::ptr_eq(&held, &newest).then(|| Arc::clone(self.newest.load().names()));
            let (is_signing, of) = (self.is_signing, Arc::clone(&newest));
            let made = spawn_blocking(move || make(&newest, world, names, is_signing));
            match made.await {
                Ok(table) => {
                    held = of;
                    self.names.set(table.names().count() as i64);
                    self.newest.store(Arc::new(table));
                    self.made.inc();
                }
                Err(_) => tracing::error!("no table could be made; the last one serves on"),
            }
            tokio::time::sleep(PAUSE).await;
        }
    }
}

fn make(
    zones: &Arc<Zones>,
    world: Arc<World>,
    names: Option<Arc<Names>>,
    is_signing: bool,
) -> Table {
    let names = names.unwrap_or_else(|| Arc::new(Names::new(zones, &world)));
    Table::new(names, zones, world, is_signing)
}

/// How often is looked whether a thread ended.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// Between two tables: what changes at once is one change, and a dead PoP is out of answers soon enough.
const PAUSE: Duration = Duration::from_millis(50);

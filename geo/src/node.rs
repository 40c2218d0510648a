//! Builds the parts, binds sockets first, serves, drains.
//!
//! Invariant: what can be wrong with the surroundings (addresses, files) is said before the first query is answered.

use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, SystemTime},
};

use anyhow::Context;
use tidegate_chassis::Process;
use tokio::net::TcpListener;

use crate::{
    config::Config,
    dns::{
        cookie::Cookies,
        encrypted::Listeners,
        fast::Fast,
        handler::{Handler, Parts},
        metrics::Metrics,
        query_log::QueryLog,
        rate::Limiter,
        sign::Signer,
        tcp::{self, Connections},
    },
    metrics, standing,
    world::Worlds,
    zone::{self, ZoneTable},
};

/// Runs the node until it is drained.
///
/// # Errors
/// When it cannot start, or a part of it fails.
pub async fn run(config: Arc<Config>, process: Process) -> anyhow::Result<()> {
    Node::start(&config, &process).await?.serve().await
}

/// A node that is bound and has its first zones and its first world.
pub struct Node {
    process: Process,
    /// What answers are made from, shared by all that answers.
    pub worlds: Arc<Worlds>,
    /// The zones, shared by all that answers.
    pub zones: Arc<ZoneTable>,
    /// What answers.
    pub handler: Arc<Handler>,
    udp: Fast,
    tcp: Vec<TcpListener>,
    encrypted: Listeners,
    config: Config,
}

impl Node {
    /// Binds every address and builds every part.
    ///
    /// # Errors
    /// When an address is taken or a file cannot be read.
    pub async fn start(config: &Config, process: &Process) -> anyhow::Result<Self> {
        let udp = Fast::bind(&config.listen.udp, &config.fast)?;
        for addr in udp.addresses() {
            process.announce("udp", *addr);
        }
        let mut tcp = Vec::new();
        for addr in &config.listen.tcp {
            // A port that nobody chose is the same for both, as clients expect.
            let addr = match (addr.port(), udp.addresses().first()) {
                (0, Some(udp)) => SocketAddr::new(addr.ip(), udp.port()),
                _ => *addr,
            };
            let listener =
                TcpListener::bind(addr).await.with_context(|| format!("TCP at {addr}"))?;
            process.announce("tcp", listener.local_addr()?);
            tcp.push(listener);
        }
        let encrypted = Listeners::bind(&config.encrypted, process).await?;
        let worlds = Worlds::new(standing::world(&config.places, &config.fleet)?);
        let zones = ZoneTable::new();
        zone::watch(&zones, &config.zones, process)?;
        let cookies = Cookies::new(&config.cookies).context("cookies.secret_file")?.map(Arc::new);
        if let Some(cookies) = cookies.clone() {
            follow(cookies, process);
        }
        let handler = Arc::new(Handler::new(Parts {
            zones: zones.clone(),
            worlds: worlds.clone(),
            answers: config.answers.clone(),
            idle: config.listen.tcp_idle,
            cookies,
            signer: Signer::watch(&config.dnssec, process)?,
            limiter: Limiter::new(&config.rate)?.map(Arc::new),
            log: QueryLog::every(config.answers.log_every),
            metrics: Metrics::register(process.registry()),
        }));
        publish(worlds.clone(), process);
        let (process, config) = (process.clone(), config.clone());
        Ok(Self { process, worlds, zones, handler, udp, tcp, encrypted, config })
    }

    /// Serves until the process drains.
    ///
    /// # Errors
    /// When a socket fails.
    pub async fn serve(self) -> anyhow::Result<()> {
        let process = self.process;
        let drain = process.drain();
        let is_listening = process.ready("listener");
        self.udp.serve(&self.handler, &self.config.fast, &process)?;
        let connections =
            Connections::new(&self.config.listen, self.handler.parts().metrics.clone());
        for listener in self.tcp {
            let served = tcp::serve(
                listener,
                self.config.listen.clone(),
                self.handler.clone(),
                connections.clone(),
                drain.clone(),
            );
            process.spawn("tcp", async { served.await.context("TCP") });
        }
        let encrypted = self.encrypted.serve(&self.handler, &process)?;
        is_listening.set(true);
        drain.started().await;
        connections.closed().await;
        encrypted.closed().await;
        Ok(())
    }
}

/// Takes the secrets of cookies again when they change.
fn follow(cookies: Arc<Cookies>, process: &Process) {
    let drain = process.drain();
    process.spawn("cookies", async move {
        let mut ticks = tokio::time::interval(SECRETS_INTERVAL);
        loop {
            tokio::select! {
                _ = ticks.tick() => {}
                () = drain.started() => return Ok(()),
            }
            let cookies = cookies.clone();
            if let Ok(Err(error)) = tokio::task::spawn_blocking(move || cookies.reload()).await {
                tracing::error!(
                    error = format!("{error:#}"),
                    "the secrets of cookies stay as they were"
                );
            }
        }
    });
}

/// Keeps the gauges of the world up to date.
fn publish(worlds: Arc<Worlds>, process: &Process) {
    let (gauges, drain) = (metrics::Metrics::register(process.registry()), process.drain());
    process.spawn("gauges", async move {
        let mut ticks = tokio::time::interval(GAUGE_INTERVAL);
        loop {
            tokio::select! {
                _ = ticks.tick() => gauges.world(&worlds.newest(), SystemTime::now()),
                () = drain.started() => return Ok(()),
            }
        }
    });
}

/// How often is looked whether the secrets changed: a change takes an hour as a whole.
const SECRETS_INTERVAL: Duration = Duration::from_secs(10);
/// How often gauges are brought up to date: more often than anything scrapes.
const GAUGE_INTERVAL: Duration = Duration::from_secs(1);

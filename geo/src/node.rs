//! Builds the parts, binds sockets first, serves, drains.
//!
//! Invariant: what can be wrong with the surroundings (addresses, files) is said before the first query is answered.

use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, SystemTime},
};

use anyhow::Context;
use tidegate_chassis::{Clock, Process};
use tokio::net::TcpListener;

use crate::{
    admin::{self, Admin},
    asked,
    config::Config,
    dns::{
        cookie::Cookies,
        encrypted::Listeners,
        fast::Fast,
        handler::{Handler, Parts},
        metrics::Metrics,
        query_log::QueryLog,
        rate::Limiter,
        sign::keeper::Keeper,
        tcp::{self, Connections},
    },
    live::{Above, Live},
    metrics,
    steer::{Policies, Steering},
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
    /// The steering policies.
    pub policies: Arc<Policies>,
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
        let (udp, tcp) = bind(config).await?;
        for addr in udp.addresses() {
            process.announce("udp", *addr);
        }
        for listener in &tcp {
            process.announce("tcp", listener.local_addr()?);
        }
        let encrypted = Listeners::bind(&config.encrypted, process).await?;
        let live = Live::open(config.live(), process, Clock::system())?;
        let worlds = live.worlds().clone();
        let zones = ZoneTable::new();
        zone::watch(&zones, &config.zones, process)?;
        let policies = Policies::new(config.steering.policies.clone());
        Steering::start(&config.steering, Arc::clone(&worlds), Arc::clone(&policies), process)?;
        let keeper = Keeper::watch(&config.dnssec, process)?;
        let signer = keeper.as_ref().map(|keeper| keeper.signer().clone());
        let above = asked::above(&zones, &worlds, &policies, keeper.as_ref());
        follow_map(live, config, above, (&zones, &policies, keeper), process)?;
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
            signer,
            limiter: Limiter::new(&config.rate)?.map(Arc::new),
            log: QueryLog::every(config.answers.log_every),
            metrics: Metrics::register(process.registry()),
        }));
        publish(worlds.clone(), process);
        let (process, config) = (process.clone(), config.clone());
        Ok(Self { process, worlds, zones, policies, handler, udp, tcp, encrypted, config })
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

/// Binds UDP and TCP. A port that nobody chose is the same for both, as clients expect: another one is taken when TCP cannot
/// have that of UDP.
async fn bind(config: &Config) -> anyhow::Result<(Fast, Vec<TcpListener>)> {
    let is_anyones = |addr: &SocketAddr| addr.port() == 0;
    let mut left = PORT_TRIES;
    loop {
        left -= 1;
        let udp = Fast::bind(&config.listen.udp, &config.fast)?;
        match bind_tcp(&config.listen.tcp, udp.addresses().first()).await {
            Ok(tcp) => return Ok((udp, tcp)),
            Err((addr, error))
                if left > 0
                    && error.kind() == std::io::ErrorKind::AddrInUse
                    && config.listen.udp.iter().any(is_anyones) =>
            {
                tracing::debug!(%addr, "TCP cannot have the port of UDP");
            }
            Err((addr, error)) => return Err(error).with_context(|| format!("TCP at {addr}")),
        }
    }
}

async fn bind_tcp(
    addresses: &[SocketAddr],
    udp: Option<&SocketAddr>,
) -> Result<Vec<TcpListener>, (SocketAddr, std::io::Error)> {
    let mut listeners = Vec::new();
    for addr in addresses {
        let addr = match (addr.port(), udp) {
            (0, Some(udp)) => SocketAddr::new(addr.ip(), udp.port()),
            _ => *addr,
        };
        listeners.push(TcpListener::bind(addr).await.map_err(|error| (addr, error))?);
    }
    Ok(listeners)
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

/// Follows what the map is made from, shows it at the admin port, and takes the zones, steering policies and keys that the control
/// plane tells.
fn follow_map(
    live: Live,
    config: &Config,
    above: Above,
    (zones, policies, keeper): (&Arc<ZoneTable>, &Arc<Policies>, Option<Arc<Keeper>>),
    process: &Process,
) -> anyhow::Result<()> {
    let (state, hold, mut views) = (live.state().clone(), live.hold(), live.views());
    let is_made = process.ready("map");
    let mut changes = state.worlds().changes();
    // Whoever has nobody to wait for serves what there is.
    let mut is_ready =
        config.control.urls.is_empty() || !state.worlds().newest().map.fleet().pops().is_empty();
    is_made.set(is_ready);
    let worlds = state.worlds().clone();
    let answers = live.start(config.live(), process, above)?;
    process.admin_routes(admin::routes(Admin { state, answers, hold, clock: Clock::system() }));
    let (zones, policies, drain) = (zones.clone(), policies.clone(), process.drain());
    views.mark_changed();
    let mut is_told = true;
    process.spawn("views", async move {
        loop {
            tokio::select! {
                () = drain.started() => return Ok(()),
                changed = views.changed(), if is_told => {
                    if changed.is_err() {
                        // Without a control plane nobody tells anything.
                        is_told = false;
                        continue;
                    }
                    let view = views.borrow_and_update().clone();
                    for (name, reason) in policies.replace(&view.steering) {
                        tracing::error!(policy = %name, reason, "a steering policy is refused");
                    }
                    let (zones, keeper) = (zones.clone(), keeper.clone());
                    let taken = tokio::task::spawn_blocking(move || {
                        if let Some(keeper) = keeper {
                            keeper.take(&view.keys);
                        }
                        zones.take_feed(&view.zones)
                    });
                    for error in taken.await.unwrap_or_default() {
                        tracing::error!(%error, "a zone is refused; what was told of it before serves on");
                    }
                }
                changed = changes.changed(), if !is_ready => {
                    changed.context("the worlds")?;
                    is_ready = !worlds.newest().map.fleet().pops().is_empty();
                    is_made.set(is_ready);
                }
            }
        }
    });
    Ok(())
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

/// Ports that are tried when nobody chose one: others take and leave them all the time.
const PORT_TRIES: u32 = 16;
/// How often is looked whether the secrets changed: a change takes an hour as a whole.
const SECRETS_INTERVAL: Duration = Duration::from_secs(10);
/// How often gauges are brought up to date: more often than anything scrapes.
const GAUGE_INTERVAL: Duration = Duration::from_secs(1);

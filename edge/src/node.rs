//! Builds the parts, binds sockets first or takes those of the process before, takes the last good configuration, starts
//! the agent, serves, drains.
//!
//! Invariant: a node that cannot serve as configured says so before it takes the first connection, and a control
//! plane that is away never keeps it from serving what it knows.

use std::{
    net::SocketAddr,
    os::fd::OwnedFd,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    task::Poll,
    time::Duration,
};

use crate::{
    admin, anycast,
    config::Config,
    control::{self, Agent},
    engine::{Engine, Handles},
    exchange::Edge,
    listener::Listener,
    self_check,
    upgrade::{self, Held, Upgrade},
};
use anyhow::Context;
use tidegate_chassis::{Clock, Drain, Process, handover::Predecessor};
use tidegate_contract::{
    demand::Demand, geo_feed::RoundTrips, purge::PurgeOrder, replacement::Replacement,
    telemetry::Load,
};

/// Runs a node until it is drained.
///
/// # Errors
/// When it cannot start, or a part of it fails.
pub async fn run(config: Arc<Config>, process: Process) -> anyhow::Result<()> {
    Node::start(&config, &process, Clock::system()).await?.serve().await
}

/// A node that is bound and configured.
pub struct Node {
    listener: Listener,
    edge: Arc<Edge>,
    handles: Handles,
    process: Process,
    predecessor: Option<Predecessor>,
    /// Whether there is no process before this one any more.
    is_alone: Arc<AtomicBool>,
    lines: Held,
    /// Absent: there is no control plane.
    agent: Option<Agent>,
    config: Config,
}

impl Node {
    /// Binds every address, builds every part, and puts the first configuration to use if there is one.
    ///
    /// # Errors
    /// When an address is taken, a file cannot be read, or a setting makes no sense.
    pub async fn start(config: &Config, process: &Process, clock: Clock) -> anyhow::Result<Self> {
        let mut predecessor = process.predecessor();
        let mut listener =
            Listener::bind_after(&config.listen, process.registry(), predecessor.as_mut()).await?;
        let legacy = predecessor.as_ref().map(|predecessor| {
            let legacy = predecessor.state().get(upgrade::CACHE_KEY);
            serde_json::from_value(legacy.cloned().unwrap_or_default()).unwrap_or_default()
        });
        for (name, address) in listener.addresses() {
            process.announce(name, address);
        }
        let (registry, alt_svc) = (process.registry(), listener.alt_svc());
        let engine = Engine::build_after(config, registry, &clock, alt_svc, legacy)?;
        let Engine { edge, handles } = engine;
        let is_alone = Arc::new(AtomicBool::new(predecessor.is_none()));
        let (estate, outcomes) = (listener.take_estate(), handles.metrics.upgrades.clone());
        let upgrade = Upgrade::new(&config.upgrade, estate, process, outcomes, is_alone.clone())?;
        let line = predecessor.as_mut().and_then(|before| before.take(control::LINE).pop());
        let line = line.map(|passed| passed.socket);
        let mut node = Self {
            listener,
            edge,
            handles,
            process: process.clone(),
            predecessor,
            is_alone,
            lines: upgrade.lines(),
            agent: None,
            config: config.clone(),
        };
        node.follow(config, &clock, line, upgrade.orders())?;
        node.await_upgrade(upgrade);
        node.certify();
        process.admin_routes(admin::explain_route(node.edge.clone()));
        if let Some(traces) = node.listener.traces() {
            process.admin_routes(admin::trace_route(traces));
        }
        node.publish(clock);
        let limits = &node.handles.metrics.memory_limits;
        for (limit, bytes) in
            [("worst_case", config.worst_case().sum()), ("max", config.memory_max())]
        {
            let bytes = i64::try_from(bytes).unwrap_or(i64::MAX);
            limits.with_label_values(&[limit]).set(bytes);
        }
        node.watch_upstreams();
        Ok(node)
    }

    /// The bound addresses, by the listener's names.
    #[must_use]
    pub fn addresses(&self) -> Vec<(&'static str, SocketAddr)> {
        self.listener.addresses()
    }

    /// The self-signed certificate in PEM, when one was made.
    #[must_use]
    pub fn self_signed_pem(&self) -> Option<String> {
        self.listener.self_signed_pem()
    }

    /// What moves it.
    #[must_use]
    pub fn handles(&self) -> &Handles {
        &self.handles
    }

    /// What answers requests.
    #[must_use]
    pub fn edge(&self) -> Arc<Edge> {
        self.edge.clone()
    }

    /// Serves until the process drains.
    ///
    /// # Errors
    /// When the listener fails.
    pub async fn serve(self) -> anyhow::Result<()> {
        let drain = self.process.drain();
        let is_listening = self.process.ready("listener");
        let is_configured = self.process.ready("configuration");
        let policy = self.handles.policy.clone();
        self.process.spawn("readiness", {
            let drain = drain.clone();
            async move {
                tokio::select! {
                    () = policy.installed() => is_configured.set(true),
                    () = drain.started() => {}
                }
                drain.started().await;
                Ok(())
            }
        });
        if let Some(predecessor) = &self.predecessor {
            tokio::select! {
                () = self.handles.policy.installed() => {}
                () = drain.started() => return Ok(()),
            }
            predecessor.take_over().await.context("taking over")?;
            if let Some(agent) = &self.agent {
                agent.take_over();
            }
        }
        is_listening.set(true);
        let mut serving = pin!(self.listener.serve(self.edge, drain.clone()));
        // The first turn starts the workers.
        if let Poll::Ready(ended) = futures::poll!(&mut serving) {
            return Ok(ended?);
        }
        if let Err(error) = upgrade::tell_supervisor("READY=1") {
            tracing::warn!(%error, "the supervisor does not hear that this process serves");
        }
        if let Some(predecessor) = self.predecessor {
            predecessor.serving().await;
            let following = follow(predecessor, self.handles, self.config, self.is_alone, drain);
            self.process.spawn("succession", following);
        }
        serving.await?;
        // Now nobody has anything to hand back, or to be told of purges for.
        drop((self.lines, self.agent));
        Ok(())
    }

    /// Hands over to a new process when that is asked for.
    fn await_upgrade(&self, upgrade: Upgrade) {
        let handles = self.handles.clone();
        let legacy = Box::new(move || serde_json::to_value(handles.legacy()));
        let agent = self.agent.clone();
        self.process.spawn("upgrade", async move {
            upgrade.watch(legacy, agent).await;
            Ok(())
        });
    }

    /// Takes the configuration from the control plane or from the file.
    fn follow(
        &mut self,
        config: &Config,
        clock: &Clock,
        line: Option<OwnedFd>,
        restart: control::Restart,
    ) -> anyhow::Result<()> {
        let Handles { policy, purges, lease, store, metrics, fetcher, demand, .. } =
            self.handles.clone();
        let replace = {
            let policy = policy.clone();
            move |order: &PurgeOrder, new: &Replacement, made_at| {
                fetcher.replace(policy.current().as_ref(), order, new, made_at)
            }
        };
        let Some(control) = &config.control else {
            policy.install(config.standalone()).context("the properties of the file")?;
            let replace = {
                let clock = clock.clone();
                Arc::new(move |order: &PurgeOrder, new: &Replacement| {
                    replace(order, new, clock.now())
                })
            };
            self.process.admin_routes(admin::purge_route(purges, replace));
            return Ok(());
        };
        let agent = self.agent(config, clock)?;
        let looks = self_check::Parts {
            process: self.process.clone(),
            tester: agent.tester,
            report: agent.report.clone(),
            certificates: self.listener.certificates(),
            policy: policy.clone(),
            upstreams: self.handles.upstreams.clone(),
            clock: clock.clone(),
        };
        let drain = self.process.drain();
        let started = clock.now();
        let vitals = {
            let process = self.process.clone();
            move || {
                let totals = metrics.exchange_totals();
                control::Health {
                    ready: process.is_ready(),
                    draining: drain.is_started(),
                    requests_total: totals.requests,
                    hits_total: totals.hits,
                    errors_total: totals.errors,
                    cache_bytes: store.sizes().memory_bytes,
                    started,
                }
            }
        };
        let seams = control::Seams {
            policy,
            purges,
            replace: Arc::new(move |order, new, made_at| {
                replace(order, new, made_at);
            }),
            lease,
            vitals: Arc::new(vitals),
            telemetry: Some(control::Telemetry {
                report: agent.report,
                round_trips: control.round_trips.then(|| {
                    let measurements = self.listener.measurements();
                    measurements.turn_on();
                    let take = move || measurements.take();
                    Arc::new(take) as Arc<dyn Fn() -> RoundTrips + Send + Sync>
                }),
                demand: (!control.demand_interval.is_zero()).then(|| {
                    demand.turn_on();
                    Arc::new(move || demand.take()) as Arc<dyn Fn() -> Demand + Send + Sync>
                }),
                orders: agent.orders,
                log: self.process.recent_log(),
                checks: Some(self_check::checks(looks)),
            }),
            restart: Some(restart),
            clock: clock.clone(),
            is_successor: self.predecessor.is_some(),
            predecessor: line,
        };
        self.agent = Some(control::start(control, seams, &self.process)?);
        Ok(())
    }

    /// Starts what orders move and reports are made of.
    fn agent(&self, config: &Config, clock: &Clock) -> anyhow::Result<anycast::agent::Agent> {
        let address = |wanted: &str| {
            let found = self.listener.addresses().into_iter().find(|(name, _)| *name == wanted);
            found.map(|(_, address)| anycast::self_test::reachable(address))
        };
        let (metrics, traffic) = (self.handles.metrics.clone(), self.listener.traffic());
        let load = move || {
            let totals = metrics.exchange_totals();
            Load {
                requests_total: totals.requests,
                errors_total: totals.errors,
                resets_total: traffic.resets(),
                sent_bytes_total: metrics.sent_bytes(),
                connections: traffic.connections(),
            }
        };
        let parts = anycast::agent::Parts {
            speaker: config.anycast.clone(),
            self_test: config.self_test.clone(),
            places: anycast::self_test::Places {
                https: address("https"),
                h3: address("quic"),
                disk: config.cache.disk.path.clone(),
            },
            permits_file: config
                .control
                .as_ref()
                .map(|control| control.state_dir.join(PERMITS_FILE)),
            clock: clock.clone(),
            leaving: self.listener.leaving(),
            load: Arc::new(load),
        };
        anycast::agent::start(parts, &self.process).context("a socket for the self-test")
    }

    /// Checks upstreams and sweeps connections to them.
    fn watch_upstreams(&self) {
        let upstreams = self.handles.upstreams.clone();
        let (policy, drain) = (self.handles.policy.clone(), self.process.drain());
        self.process.spawn("upstreams", async move {
            upstreams.watch(policy, drain).await;
            Ok(())
        });
    }

    /// Puts the certificates of every configuration to use.
    fn certify(&self) {
        let Some(certificates) = self.listener.certificates() else { return };
        let (policy, drain) = (self.handles.policy.clone(), self.process.drain());
        self.process.spawn("certificates", async move {
            let mut generations = policy.generations();
            loop {
                tokio::select! {
                    changed = generations.changed() => changed.context("the policy is gone")?,
                    () = drain.started() => return Ok(()),
                }
                let Some(policy) = policy.current() else { continue };
                if let Err(error) = certificates.install(&policy.snapshot) {
                    // Those in use stay; the configuration itself serves.
                    tracing::error!(%error, "the certificates of a configuration cannot be used");
                }
            }
        });
    }

    /// Keeps the gauges up to date.
    fn publish(&self, clock: Clock) {
        let (handles, account) = (self.handles.clone(), self.listener.account());
        let drain = self.process.drain();
        self.process.spawn("gauges", async move {
            let mut ticks = tokio::time::interval(GAUGE_INTERVAL);
            loop {
                tokio::select! {
                    _ = ticks.tick() => {
                        handles.publish(&clock);
                        let bytes = i64::try_from(account.taken()).unwrap_or(i64::MAX);
                        handles.metrics.client_buffers.set(bytes);
                    }
                    () = drain.started() => return Ok(()),
                }
            }
        });
    }
}

/// Waits for the end of the process before, and takes over what only one can have.
async fn follow(
    predecessor: Predecessor,
    handles: Handles,
    config: Config,
    is_alone: Arc<AtomicBool>,
    drain: Drain,
) -> anyhow::Result<()> {
    tokio::select! {
        () = predecessor.ended() => {}
        () = drain.started() => return Ok(()),
    }
    tracing::info!("the process before has ended");
    loop {
        let (handles, config) = (handles.clone(), config.clone());
        if tokio::task::spawn_blocking(move || handles.take_disk(&config)).await? {
            break;
        }
        // The kernel takes a moment to clear up after a process.
        tokio::select! {
            () = tokio::time::sleep(DISK_PAUSE) => {}
            () = drain.started() => return Ok(()),
        }
    }
    is_alone.store(true, SeqCst);
    drain.started().await;
    Ok(())
}

/// Between two looks whether the disk is free.
const DISK_PAUSE: Duration = Duration::from_millis(20);
/// How often gauges are brought up to date: more often than anything scrapes.
const GAUGE_INTERVAL: Duration = Duration::from_secs(1);
/// Which permits were followed, beside what the control plane told.
const PERMITS_FILE: &str = "permits.json";

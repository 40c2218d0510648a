//! Builds the parts, binds sockets first, takes the last good configuration, starts the agent, serves, drains.
//!
//! Invariant: a node that cannot serve as configured says so before it takes the first connection, and a control
//! plane that is away never keeps it from serving what it knows.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use crate::{
    admin,
    config::Config,
    control,
    engine::{Engine, Handles},
    exchange::Edge,
    listener::Listener,
};
use anyhow::Context;
use tidegate_chassis::{Clock, Process};
use tidegate_contract::{purge::PurgeOrder, replacement::Replacement};

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
}

impl Node {
    /// Binds every address, builds every part, and puts the first configuration to use if there is one.
    ///
    /// # Errors
    /// When an address is taken, a file cannot be read, or a setting makes no sense.
    pub async fn start(config: &Config, process: &Process, clock: Clock) -> anyhow::Result<Self> {
        let listener = Listener::bind(&config.listen, process.registry()).await?;
        for (name, address) in listener.addresses() {
            process.announce(name, address);
        }
        let engine = Engine::build(config, process.registry(), &clock, listener.alt_svc())?;
        let Engine { edge, handles } = engine;
        let node = Self { listener, edge, handles, process: process.clone() };
        node.follow(config, &clock)?;
        node.certify();
        process.admin_routes(admin::explain_route(node.edge.clone()));
        node.publish(clock);
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
        is_listening.set(true);
        self.listener.serve(self.edge, drain).await?;
        Ok(())
    }

    /// Takes the configuration from the control plane or from the file.
    fn follow(&self, config: &Config, clock: &Clock) -> anyhow::Result<()> {
        let Handles { policy, purges, lease, store, metrics, fetcher, .. } = self.handles.clone();
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
            clock: clock.clone(),
        };
        control::start(control, seams, &self.process)?;
        Ok(())
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
        let handles = self.handles.clone();
        let drain = self.process.drain();
        self.process.spawn("gauges", async move {
            let mut ticks = tokio::time::interval(GAUGE_INTERVAL);
            loop {
                tokio::select! {
                    _ = ticks.tick() => handles.publish(&clock),
                    () = drain.started() => return Ok(()),
                }
            }
        });
    }
}

/// How often gauges are brought up to date: more often than anything scrapes.
const GAUGE_INTERVAL: Duration = Duration::from_secs(1);

//! The parts of a node that answer, built from its settings: store, upstreams, guard, exchange.
//!
//! No socket is bound here, so that tests and benchmarks can have an engine without a listener. Invariant: everything
//! that counts does so in the one registry that is handed in.

use std::sync::Arc;

use anyhow::Context;
use prometheus::Registry;
use tidegate_chassis::Clock;

use crate::{
    cache::{
        self,
        lease::Lease,
        purge::{self, PurgeTable},
        store::Store,
    },
    config::Config,
    demand::Demand,
    exchange::{self, Edge, LogPolicy},
    fetch::{self, Fetcher},
    guard::Guard,
    metrics::Metrics,
    policy::PolicyHandle,
    upstream::{self, Upstreams},
};

/// What moves a running node: for its agent, its admin port, and tests.
#[derive(Clone)]
pub struct Handles {
    /// The configuration in use.
    pub policy: PolicyHandle,
    /// The purges that were applied.
    pub purges: PurgeTable,
    /// Whether every purge is known.
    pub lease: Lease,
    /// What is stored.
    pub store: Store,
    /// Its fetches.
    pub fetcher: Fetcher,
    /// Where they go.
    pub upstreams: Arc<Upstreams>,
    /// What its clients ask for most.
    pub demand: Demand,
    /// Its numbers.
    pub metrics: Metrics,
}

/// Everything behind the listener.
pub struct Engine {
    /// What answers requests.
    pub edge: Arc<Edge>,
    /// What moves it.
    pub handles: Handles,
}

impl Engine {
    /// Builds the parts.
    ///
    /// # Errors
    /// When a file or folder of the settings cannot be used.
    pub fn build(
        config: &Config,
        registry: &Registry,
        clock: &Clock,
        alt_svc: Option<String>,
    ) -> anyhow::Result<Self> {
        Self::build_after(config, registry, clock, alt_svc, None)
    }

    /// The same after another process, which still uses the disk: see [`Handles::take_disk`].
    ///
    /// # Errors
    /// As [`Engine::build`].
    pub fn build_after(
        config: &Config,
        registry: &Registry,
        clock: &Clock,
        alt_svc: Option<String>,
        legacy: Option<purge::Legacy>,
    ) -> anyhow::Result<Self> {
        let handles = handles(config, registry, clock, legacy)?;
        let edge = Edge::new(exchange::Parts {
            policy: handles.policy.clone(),
            fetcher: handles.fetcher.clone(),
            guard: Guard::new(registry, None, std::time::Instant::now()),
            metrics: handles.metrics.clone(),
            demand: handles.demand.clone(),
            players: exchange::PlayerMetrics::register(registry),
            alt_svc,
            log: LogPolicy { is_on: config.access_log, every: config.access_log_every },
            purge_wait_max: config.cache.purge_wait_max,
        });
        Ok(Self { edge: Arc::new(edge), handles })
    }
}

impl Handles {
    /// What a process that follows must know of purges and fills.
    #[must_use]
    pub fn legacy(&self) -> purge::Legacy {
        self.purges.legacy(self.store.last_fill(), self.lease.seen())
    }

    /// Takes the disk over from a process that has ended; waits for the disk. False when it is still in use.
    pub fn take_disk(&self, config: &Config) -> bool {
        let Some(folder) = &config.cache.disk.path else { return true };
        if self.purges.identity().is_none() {
            match self.purges.attach(folder) {
                Ok(()) if config.control.is_none() => self.purges.trust_restored(),
                Ok(()) => {}
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return false,
                Err(error) => {
                    tracing::error!(%error, "the journal of purges cannot be taken over: no disk tier");
                    self.purges.give_up_journal(folder);
                    return true;
                }
            }
        }
        if let Err(error) = self.store.attach_disk(&config.cache.disk) {
            tracing::error!(%error, "the disk tier cannot be taken over");
        }
        true
    }

    /// Brings the gauges up to date.
    pub fn publish(&self, clock: &Clock) {
        let gauge = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
        let (sizes, metrics) = (self.store.sizes(), &self.metrics);
        metrics.cache_bytes.with_label_values(&["memory"]).set(gauge(sizes.memory_bytes));
        metrics.cache_bytes.with_label_values(&["in_flight"]).set(gauge(sizes.in_flight_bytes));
        metrics.cache_objects.set(gauge(sizes.objects));
        metrics.fills_in_flight.set(gauge(sizes.fills));
        metrics.purged_names.set(gauge(self.purges.len() as u64));
        metrics.lease_certain.set(i64::from(self.lease.is_certain(clock.now())));
        metrics.purge_lag.set(gauge(self.lease.lag()));
        self.fetcher.settle();
    }
}

fn handles(
    config: &Config,
    registry: &Registry,
    clock: &Clock,
    legacy: Option<purge::Legacy>,
) -> anyhow::Result<Handles> {
    let metrics = Metrics::register(registry);
    let limits =
        purge::Limits { names_max: config.cache.purged_names_max, keep_max: config.cache.keep_max };
    let purges = purges(config, clock, limits, legacy)?.counted(metrics.purges.clone());
    let lease = match &config.control {
        Some(control) => Lease::new(control.lease),
        None => Lease::standalone(),
    };
    if config.control.is_some() {
        lease.attach(purges.clone());
    }
    let store_metrics = cache::metrics::Metrics::register(registry);
    let store = Store::open(&config.cache, purges.clone(), clock.clone(), store_metrics)
        .context("the store")?;
    let upstreams =
        Upstreams::new(&config.upstream, upstream::Metrics::register(registry), clock.clone())
            .context("upstream.ca")?;
    let upstreams = Arc::new(upstreams);
    let fetcher = Fetcher::new(fetch::Parts {
        store: store.clone(),
        purges: purges.clone(),
        lease: lease.clone(),
        upstreams: upstreams.clone(),
        clock: clock.clone(),
        cache: config.cache.clone(),
        config: config.fetch.clone(),
        metrics: fetch::Metrics::register(registry),
    });
    Ok(Handles {
        policy: PolicyHandle::default(),
        purges,
        lease,
        store,
        fetcher,
        upstreams,
        demand: Demand::new(),
        metrics,
    })
}

/// The table of purges; kept beside the disk tier, if there is one, because what was purged must not come back with it.
fn purges(
    config: &Config,
    clock: &Clock,
    limits: purge::Limits,
    legacy: Option<purge::Legacy>,
) -> anyhow::Result<PurgeTable> {
    let Some(folder) = &config.cache.disk.path else {
        return Ok(PurgeTable::after(legacy.unwrap_or_default(), clock.clone(), limits));
    };
    if let Some(legacy) = legacy {
        return Ok(PurgeTable::awaiting(legacy, clock.clone(), limits));
    }
    let purges = PurgeTable::open(folder, clock.clone(), limits)
        .with_context(|| format!("cache.disk.path {}", folder.display()))?;
    if config.control.is_none() {
        // Purges come from nowhere else than this node's own admin port.
        purges.trust_restored();
    }
    Ok(purges)
}

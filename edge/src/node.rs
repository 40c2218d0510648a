//! Builds the parts, binds sockets first, takes the last good configuration, starts the agent, serves, drains.
//!
//! Invariant: a node that cannot serve as configured says so before it takes the first connection, and a control
//! plane that is away never keeps it from serving what it knows.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use anyhow::Context;
use axum::{
    Json, Router,
    extract::State,
    response::{IntoResponse, Response},
    routing::post,
};
use http::{StatusCode, header};
use pingora::proxy::HttpProxy;
use tidegate_chassis::{Clock, Process};
use tidegate_contract::{
    problem::{self, Problem},
    purge::{PurgeOrder, PurgeTarget, PurgeUrlError},
};

use crate::{
    cache::{
        lease::Lease,
        purge::{self, PurgeTable},
        store::{self, Store},
    },
    config::Config,
    control,
    listener::Listener,
    metrics::Metrics,
    policy::PolicyHandle,
    proxy::{self, EdgeProxy, Parts, StoreAdapter},
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
    proxy: Arc<HttpProxy<EdgeProxy>>,
    handles: Handles,
    process: Process,
}

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
    /// Its numbers.
    pub metrics: Metrics,
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
        let handles = handles(config, process, &clock);
        // Pingora wants its storage to live for ever, and so it does: there is one per process.
        let adapter =
            Box::leak(Box::new(StoreAdapter::new(handles.store.clone(), handles.metrics.clone())));
        let parts = Parts {
            policy: handles.policy.clone(),
            adapter,
            purges: handles.purges.clone(),
            lease: handles.lease.clone(),
            cache: config.cache.clone(),
            metrics: handles.metrics.clone(),
            clock: clock.clone(),
            alt_svc: listener.alt_svc(),
            has_access_log: config.access_log,
        };
        let proxy = proxy::build(parts, &config.upstream);
        let node = Self { listener, proxy, handles, process: process.clone() };
        node.follow(config, &clock)?;
        node.publish(clock);
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
        self.listener.serve(self.proxy, drain).await?;
        Ok(())
    }

    /// Takes the configuration from the control plane or from the file.
    fn follow(&self, config: &Config, clock: &Clock) -> anyhow::Result<()> {
        let Handles { policy, purges, lease, store, metrics } = self.handles.clone();
        let Some(control) = &config.control else {
            policy.install(config.standalone()).context("the properties of the file")?;
            self.process.admin_routes(purge_route(purges));
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
            lease,
            vitals: Arc::new(vitals),
            clock: clock.clone(),
        };
        control::start(control, seams, &self.process)?;
        Ok(())
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

impl Handles {
    fn publish(&self, clock: &Clock) {
        let gauge = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
        let (sizes, metrics) = (self.store.sizes(), &self.metrics);
        metrics.cache_bytes.with_label_values(&["memory"]).set(gauge(sizes.memory_bytes));
        metrics.cache_bytes.with_label_values(&["in_flight"]).set(gauge(sizes.in_flight_bytes));
        metrics.cache_objects.set(gauge(sizes.objects));
        metrics.fills_in_flight.set(gauge(sizes.fills));
        metrics.purged_names.set(gauge(self.purges.len() as u64));
        metrics.lease_certain.set(i64::from(self.lease.is_certain(clock.now())));
        metrics.purge_lag.set(gauge(self.lease.lag()));
    }
}

fn handles(config: &Config, process: &Process, clock: &Clock) -> Handles {
    let metrics = Metrics::register(process.registry());
    let limits =
        purge::Limits { names_max: config.cache.purged_names_max, keep_max: config.cache.keep_max };
    let purges = PurgeTable::new(clock.clone(), limits).counted(metrics.purges.clone());
    let lease = match &config.control {
        Some(control) => Lease::new(control.lease),
        None => Lease::standalone(),
    };
    if config.control.is_some() {
        lease.attach(purges.clone());
    }
    let limits = store::Limits {
        memory_bytes_max: config.cache.memory.as_u64(),
        in_flight_bytes_max: config.cache.in_flight.as_u64(),
        keep_max: config.cache.keep_max,
    };
    let store = Store::new(limits, purges.clone(), clock.clone());
    Handles { policy: PolicyHandle::default(), purges, lease, store, metrics }
}

/// `POST /purge` with a purge order, for a node that stands alone. One that has a control plane takes purges from
/// there alone: they have to reach every node.
fn purge_route(purges: PurgeTable) -> Router {
    async fn purge(
        State(purges): State<PurgeTable>,
        Json(mut order): Json<PurgeOrder>,
    ) -> Response {
        if let PurgeTarget::Url { host, path } = &order.target {
            match PurgeTarget::from_url(&format!("http://{host}{path}")) {
                Ok(target) => order.target = target,
                Err(error) => return refused(&error),
            }
        }
        let seq = purges.apply(&order);
        // Not the order: the query of a URL may be signed.
        tracing::info!(soft = order.soft, seq, "purged by hand");
        Json(serde_json::json!({ "seq": seq })).into_response()
    }

    fn refused(error: &PurgeUrlError) -> Response {
        let problem = Problem::new(400, "purge-url", "not a URL to purge", error.to_string());
        let content_type = [(header::CONTENT_TYPE, problem::CONTENT_TYPE)];
        (StatusCode::BAD_REQUEST, content_type, Json(problem)).into_response()
    }

    Router::new().route("/purge", post(purge)).with_state(purges)
}

/// How often gauges are brought up to date: more often than anything scrapes.
const GAUGE_INTERVAL: Duration = Duration::from_secs(1);

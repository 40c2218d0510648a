//! HTTP API v1, over TLS with bearer tokens: one file per resource.
//!
//! A handler reads the request, makes one call into the store, the fleet or the purges, and writes the answer.
//! Every change leaves one audit line that says who and what. Errors are problem details (RFC 9457).

mod purges;
mod releases;
mod changes;
mod resources;
mod replicas;
mod backup;
mod authority;
mod pops;
mod properties;
mod openapi;
mod status;
mod approvals;
mod tokens;
mod health_history;
mod node_orders;
mod questions;
mod top;
mod anycast;
mod catchment;
mod steering;
mod zones;
mod signing;
mod geo;
mod drain;
mod auth;
mod trail;
mod request;
mod error;
pub mod access_model;
pub mod model;
pub mod anycast_model;
pub mod geo_model;

use std::{path::PathBuf, sync::Arc, time::Duration};

use axum::{
    Router,
    extract::{DefaultBodyLimit, Request, State},
    http::HeaderValue,
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::{delete, get, post, put},
};
use bytesize::ByteSize;
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::{conn::auto, graceful::GracefulShutdown},
    service::TowerToHyperService,
};
use serde::{Deserialize, Serialize};
use tidegate_chassis::{Clock, Drain};
use tokio::sync::{Semaphore, mpsc};
use tracing::Instrument;

use crate::{
    access::Access,
    demand::Demand,
    drain::Drains,
    errands::Errands,
    fleet::{self, Fleet},
    geo::Geo,
    listener::Connection,
    metrics::Metrics,
    page,
    purge::Purges,
    questions::Questions,
    rate::{Buckets, Rate},
    release::Releases,
    rotation::Rotation,
    store::Registry,
    unix_time::unix_ms,
};

use self::error::ApiError;

/// Settings of the HTTP API.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// The longest that a client may take to send the head of a request.
    #[serde(with = "humantime_serde")]
    pub head_timeout: Duration,
    /// The longest that a client may take to send the body of a request.
    #[serde(with = "humantime_serde")]
    pub body_timeout: Duration,
    /// The largest body; a property with many hosts is the largest thing that is sent.
    pub body_bytes_max: ByteSize,
    /// Requests at a time on one connection.
    pub requests_per_connection_max: u32,
    /// Requests that wait for confirmations at a time.
    pub waits_max: usize,
    /// How often one token may order a purge.
    pub purge_rate: Rate,
    /// How often one token may purge a folder or a property: each one concerns many objects.
    pub purge_wide_rate: Rate,
    /// How often one token may purge everything: each one sends every PoP back to the origins.
    pub purge_all_rate: Rate,
    /// How often one token may purge with a body that replaces: each one goes to every node and may have 256 KiB.
    pub replace_rate: Rate,
    /// How often one token may ask the nodes of a PoP for their logs, or to look at themselves.
    pub ask_rate: Rate,
    /// How long an enrolment token is good.
    #[serde(with = "humantime_serde")]
    pub enrolment_token_lifetime: Duration,
    /// A node that was not heard of for so long is shown as down.
    #[serde(with = "humantime_serde")]
    pub down_after: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            head_timeout: Duration::from_secs(10),
            body_timeout: Duration::from_secs(30),
            body_bytes_max: ByteSize::mib(1),
            requests_per_connection_max: 128,
            waits_max: 1024,
            purge_rate: Rate { per_second: 2000.0, burst: 4000.0 },
            purge_wide_rate: Rate { per_second: 20.0, burst: 200.0 },
            purge_all_rate: Rate { per_second: 0.2, burst: 5.0 },
            replace_rate: Rate { per_second: 20.0, burst: 100.0 },
            ask_rate: Rate { per_second: 5.0, burst: 20.0 },
            enrolment_token_lifetime: Duration::from_secs(15 * 60),
            down_after: Duration::from_secs(15),
        }
    }
}

/// What the API needs of the program.
pub struct Parts {
    /// What is registered.
    pub store: Registry,
    /// The purges.
    pub purges: Purges,
    /// The releases.
    pub releases: Releases,
    /// Tokens, approvals, the audit log.
    pub access: Access,
    /// The folder of the database, when the state lies in one.
    pub database_dir: Option<PathBuf>,
    /// The fleet.
    pub fleet: Fleet,
    /// What clients ask for most.
    pub demand: Demand,
    /// What single nodes shall do once.
    pub errands: Errands,
    /// What single nodes are asked.
    pub questions: Questions,
    /// Drains, groups, and what nodes say.
    pub drains: Drains,
    /// What the DNS is told and asked.
    pub geo: Geo,
    /// What moves the authority to the next.
    pub rotation: Rotation,
    /// The time of day.
    pub clock: Clock,
    /// The metrics.
    pub metrics: Metrics,
    /// The drain.
    pub drain: Drain,
}

/// What handlers share.
struct Api {
    config: Config,
    parts: Parts,
    purge_rate: Buckets,
    purge_wide_rate: Buckets,
    purge_all_rate: Buckets,
    replace_rate: Buckets,
    ask_rate: Buckets,
    waits: Semaphore,
    /// One backup at a time.
    backups: Semaphore,
}

impl Api {
    /// Whether anything tells clients where to go, by what it said of itself lately.
    fn steers(&self) -> bool {
        let now = unix_ms(self.parts.clock.now());
        self.parts.drains.readers().standing(0, now).0
    }

    fn limits(&self) -> fleet::Limits {
        fleet::Limits {
            lease: self.parts.purges.config().lease,
            down_after: self.config.down_after,
        }
    }
}

/// The routes.
fn router(config: Config, parts: Parts) -> Router {
    let body_bytes_max = usize::try_from(config.body_bytes_max.as_u64()).unwrap_or(usize::MAX);
    let api = Arc::new(Api {
        purge_rate: Buckets::new(config.purge_rate, TOKENS_IN_USE_MAX),
        purge_wide_rate: Buckets::new(config.purge_wide_rate, TOKENS_IN_USE_MAX),
        purge_all_rate: Buckets::new(config.purge_all_rate, TOKENS_IN_USE_MAX),
        replace_rate: Buckets::new(config.replace_rate, TOKENS_IN_USE_MAX),
        ask_rate: Buckets::new(config.ask_rate, TOKENS_IN_USE_MAX),
        waits: Semaphore::new(config.waits_max),
        backups: Semaphore::new(1),
        config,
        parts,
    });
    Router::new()
        .route("/v1/purges", post(purges::order).get(purges::list))
        .route("/v1/purges/lag", get(purges::lag))
        .route("/v1/purges/{id}", get(purges::show))
        .route("/v1/replicas", get(replicas::list))
        .route("/v1/backup", post(backup::make))
        .route("/v1/authority", get(authority::show))
        .route("/v1/authority/rotation", post(authority::rotate))
        .route("/v1/pops", get(pops::list))
        .route("/v1/pops/{pop}", get(pops::show).put(pops::put).delete(pops::remove))
        .route("/v1/pops/{pop}/enrolment-tokens", post(pops::enrol))
        .route("/v1/pops/{pop}/log", get(questions::log))
        .route("/v1/pops/{pop}/check", get(questions::check))
        .route("/v1/pops/{pop}/nodes", delete(pops::revoke_nodes))
        .route("/v1/pops/{pop}/nodes/{node}", delete(pops::remove_node))
        .route("/v1/pops/{pop}/nodes/{node}/order", get(node_orders::show).post(node_orders::give))
        .route("/v1/pops/{pop}/drain", get(drain::show).post(drain::begin).delete(drain::undo))
        .route("/v1/pops/{pop}/speaker-trial", post(anycast::trial))
        .route("/v1/fleet", get(drain::fleet))
        .route("/v1/anycast", get(anycast::list))
        .route("/v1/anycast/{group}", get(anycast::show))
        .route("/v1/anycast/{group}/level", post(anycast::level))
        .route("/v1/anycast/{group}/catchment", get(catchment::show))
        .route("/v1/anycast/{group}/interlock", get(anycast::interlock).put(anycast::set_interlock))
        .route("/v1/geo/feed", get(geo::feed))
        .route("/v1/geo/answers/{id}", post(geo::answer))
        .route("/v1/dns/nodes", get(geo::nodes))
        .route("/v1/dns/resolve", get(geo::resolve))
        .route("/v1/dns/zones", get(zones::list))
        .route("/v1/dns/zones/{zone}", get(zones::show))
        .route("/v1/dns/signing", get(signing::list))
        .route("/v1/dns/signing/{zone}/roll", post(signing::roll))
        .route("/v1/steering/manifest", get(steering::manifest))
        .route("/v1/dns/map", get(geo::map))
        .route("/v1/dns/map/diff", get(geo::map_diff))
        .route("/v1/dns/map/hold", get(geo::hold))
        .route("/v1/dns/map/freeze", post(geo::freeze))
        .route("/v1/dns/map/thaw", post(geo::thaw))
        .route("/v1/health", get(anycast::health))
        .route("/v1/health-history", get(health_history::list))
        .route("/v1/top", get(top::show))
        .route("/v1/health/{pop}", get(anycast::health_of_pop))
        .route("/v1/properties", get(properties::list))
        .route(
            "/v1/properties/{id}",
            get(properties::show).put(properties::put).delete(properties::remove),
        )
        .route("/", get(page::index))
        .route("/status.css", get(page::style))
        .route("/status.js", get(page::script))
        .route("/v1/openapi.json", get(openapi::document))
        .route("/v1/status", get(status::status))
        .route("/v1/tokens", get(tokens::list).post(tokens::make))
        .route("/v1/tokens/{id}", delete(tokens::revoke))
        .route("/v1/roles", get(tokens::roles))
        .route("/v1/roles/{name}", put(tokens::put_role).delete(tokens::remove_role))
        .route("/v1/whoami", get(tokens::whoami))
        .route("/v1/can-i", post(tokens::can_i))
        .route("/v1/approvals", get(approvals::list))
        .route("/v1/approvals/{id}/approve", post(approvals::approve))
        .route("/v1/approvals/{id}/reject", post(approvals::reject))
        .route("/v1/audit", get(approvals::audit))
        .route("/v1/audit/verify", get(approvals::verify_audit))
        .route("/v1/resources/{kind}", get(resources::list))
        .route(
            "/v1/resources/{kind}/{name}",
            get(resources::show).put(resources::put).delete(resources::remove),
        )
        .route("/v1/validate", post(changes::validate))
        .route("/v1/changes", get(changes::list).post(changes::draft))
        .route("/v1/changes/{id}", get(changes::show))
        .route("/v1/changes/{id}/approve", post(changes::approve))
        .route("/v1/changes/{id}/abandon", post(changes::abandon))
        .route("/v1/changes/{id}/publish", post(changes::publish))
        .route("/v1/releases", get(releases::list))
        .route("/v1/releases/status", get(releases::status))
        .route("/v1/releases/promote", post(releases::promote))
        .route("/v1/releases/pause", post(releases::pause))
        .route("/v1/releases/resume", post(releases::resume))
        .route("/v1/releases/rollback", post(releases::roll_back))
        .route("/v1/releases/{version}", get(releases::show))
        .route("/v1/releases/{version}/diff", get(releases::diff))
        .fallback(async || ApiError::NoRoute)
        .method_not_allowed_fallback(async || ApiError::Method)
        .layer(DefaultBodyLimit::max(body_bytes_max))
        .layer(middleware::from_fn_with_state(Arc::clone(&api), trail::audit))
        .layer(middleware::from_fn_with_state(Arc::clone(&api), count))
        .with_state(api)
}

/// Serves connections until the drain, then finishes the requests that have begun.
pub async fn serve(config: Config, parts: Parts, mut connections: mpsc::Receiver<Connection>) {
    let drain = parts.drain.clone();
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(config.head_timeout)
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(Some(config.head_timeout))
        .max_concurrent_streams(config.requests_per_connection_max);
    let service = TowerToHyperService::new(router(config, parts));
    let graceful = GracefulShutdown::new();
    loop {
        let connection = tokio::select! {
            connection = connections.recv() => connection,
            () = drain.started() => None,
        };
        let Some(connection) = connection else { break };
        let served = builder.serve_connection(TokioIo::new(connection), service.clone());
        let served = graceful.watch(served.into_owned());
        tokio::spawn(async move {
            if let Err(error) = served.await {
                tracing::debug!(error, "a connection failed");
            }
        });
    }
    graceful.shutdown().await;
}

async fn count(State(api): State<Arc<Api>>, request: Request, next: Next) -> Response {
    let method = match request.method().as_str() {
        known @ ("GET" | "PUT" | "POST" | "DELETE") => known.to_owned(),
        _ => "other".to_owned(),
    };
    let id = hex::encode(rand::random::<[u8; 8]>());
    let span = tracing::info_span!("call", id);
    // In a task of its own: a client that goes away leaves no change half done and none without its audit line.
    let mut response = match tokio::spawn(next.run(request).instrument(span)).await {
        Ok(response) => response,
        Err(_) => ApiError::Panicked.into_response(),
    };
    if let Ok(id) = HeaderValue::from_str(&id) {
        response.headers_mut().insert(ID_HEADER, id);
    }
    let class = format!("{}xx", response.status().as_u16() / 100);
    api.parts.metrics.requests.with_label_values(&[&method, &class]).inc();
    response
}

/// The id of a call, in its answer and in the log.
const ID_HEADER: &str = "tidegate-request-id";
const TOKENS_IN_USE_MAX: usize = 4096;

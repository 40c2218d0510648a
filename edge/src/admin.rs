//! What operators ask of a node at its admin port: what it knows of a resource, traces of connections, and, when it stands
//! alone, purges.
//!
//! Invariant: nothing here is reachable from the public port.

use std::sync::Arc;

use axum::{
    Json, Router,
    extract::{Query, State},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header, uri::PathAndQuery};
use serde::Deserialize;
use tidegate_contract::{
    problem::{self, Problem},
    purge::{PurgeOrder, PurgeTarget, PurgeUrlError},
    replacement::Replacement,
};

use crate::{cache::purge::PurgeTable, exchange::Edge, listener::quic::Traces};

/// `GET /explain?url=https://host/path&header=name:%20value`
pub(crate) fn explain_route(edge: Arc<Edge>) -> Router {
    Router::new().route("/explain", get(explain)).with_state(edge)
}

/// `POST /purge` with a purge order, and what replaces, for a node that stands alone. One that has a control plane
/// takes purges from there alone: they have to reach every node.
pub(crate) fn purge_route(purges: PurgeTable, replace: Replace) -> Router {
    Router::new().route("/purge", post(purge)).with_state(ByHand { purges, replace })
}

/// Applies a purge and stores what came with it; gives back the number of the purge.
pub(crate) type Replace = Arc<dyn Fn(&PurgeOrder, &Replacement) -> u64 + Send + Sync>;

#[derive(Clone)]
struct ByHand {
    purges: PurgeTable,
    replace: Replace,
}

/// A purge as it is ordered here.
#[derive(Deserialize)]
struct Ordered {
    #[serde(flatten)]
    order: PurgeOrder,
    #[serde(default)]
    replace: Option<Replacement>,
}

/// `POST /trace?connections=5` traces that many of the next QUIC connections.
pub(crate) fn trace_route(traces: Traces) -> Router {
    Router::new().route("/trace", post(trace)).with_state(traces)
}

async fn trace(
    State(traces): State<Traces>,
    Query(asked): Query<Trace>,
    headers: HeaderMap,
) -> Response {
    // A browser sends this with every POST, a script does not.
    if headers.contains_key(header::ORIGIN) {
        return problem(403, "trace-origin", "not from a browser", String::new());
    }
    let connections = traces.ask(asked.connections);
    tracing::info!(connections, "traces asked for at the admin port");
    let answer =
        serde_json::json!({ "connections": connections, "bytes_left": traces.bytes_left() });
    Json(answer).into_response()
}

/// How many.
#[derive(Debug, serde::Deserialize)]
struct Trace {
    connections: u32,
}

async fn explain(
    State(edge): State<Arc<Edge>>,
    Query(asked): Query<Vec<(String, String)>>,
) -> Response {
    let url = asked.iter().find(|(name, _)| name == "url").map_or("", |(_, url)| url);
    let (host, path) = match PurgeTarget::from_url(url) {
        Ok(PurgeTarget::Url { host, path }) => (host, path),
        Ok(_) => return refused("explain-url", "not a URL", url.to_owned()),
        Err(error) => return refused("explain-url", "not a URL", error.to_string()),
    };
    let Ok(target) = path.parse::<PathAndQuery>() else {
        return refused("explain-url", "not a URL", path);
    };
    let mut headers = HeaderMap::new();
    for (_, line) in asked.iter().filter(|(name, _)| name == "header") {
        match field(line) {
            Some((name, value)) => headers.append(name, value),
            None => return refused("explain-header", "not a header", line.clone()),
        };
    }
    match edge.explain(&host, &target, &headers).await {
        Some(explanation) => Json(explanation).into_response(),
        None => problem(404, "unknown-host", "no property serves this host", host),
    }
}

async fn purge(State(by_hand): State<ByHand>, Json(ordered): Json<Ordered>) -> Response {
    let Ordered { mut order, replace } = ordered;
    match order.target.checked() {
        Ok(target) => order.target = target,
        Err(error) => return refused_purge(&error),
    }
    let seq = match replace.map(Replacement::checked) {
        None => by_hand.purges.apply(&order),
        Some(Ok(new)) if is_replaceable(&order) => (by_hand.replace)(&order, &new),
        Some(Ok(_)) => {
            let detail = "only a hard purge of a URL takes a body that replaces".to_owned();
            return refused("purge-replace", "not a body that replaces", detail);
        }
        Some(Err(error)) => {
            return refused("purge-replace", "not a body that replaces", error.to_string());
        }
    };
    // As for the control plane: acknowledged is what survives a crash.
    by_hand.purges.settled(seq).await;
    // Not the order: the query of a URL may be signed.
    tracing::info!(soft = order.soft, seq, "purged by hand");
    Json(serde_json::json!({ "seq": seq })).into_response()
}

fn is_replaceable(order: &PurgeOrder) -> bool {
    matches!(order.target, PurgeTarget::Url { .. }) && !order.soft
}

fn field(line: &str) -> Option<(HeaderName, HeaderValue)> {
    let (name, value) = line.split_once(':')?;
    Some((name.trim().parse().ok()?, value.trim().parse().ok()?))
}

fn refused_purge(error: &PurgeUrlError) -> Response {
    refused("purge-url", "not a URL to purge", error.to_string())
}

fn refused(kind: &str, title: &str, detail: String) -> Response {
    problem(400, kind, title, detail)
}

fn problem(status: u16, kind: &str, title: &str, detail: String) -> Response {
    let problem = Problem::new(status, kind, title, detail);
    let content_type = [(header::CONTENT_TYPE, problem::CONTENT_TYPE)];
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    (status, content_type, Json(problem)).into_response()
}

//! The port where Prometheus reads a run: `/metrics`, and `/livez` and `/readyz` for whoever started it.
//!
//! It has no login: it belongs on loopback or a closed network. Invariant: it answers until the program ends.

use std::net::SocketAddr;

use axum::{Router, extract::State, http::header, response::IntoResponse, routing::get};
use prometheus::{Registry, TextEncoder};
use tokio::{net::TcpListener, task::spawn_local};

use super::{exit::Failure, say::note};

/// Binds the port and serves it from a task of the `LocalSet`.
pub(super) async fn serve(addr: SocketAddr, registry: Registry) -> Result<(), Failure> {
    let bound = TcpListener::bind(addr).await;
    let listener = bound.map_err(|error| Failure::usage(format!("--metrics {addr}: {error}")))?;
    if let Ok(addr) = listener.local_addr() {
        note(&format!("metrics at http://{addr}/metrics"));
    }
    let routes = Router::new()
        .route("/livez", get("ok\n"))
        .route("/readyz", get("ready\n"))
        .route("/metrics", get(text))
        .with_state(registry);
    spawn_local(async move {
        // Only a listener that breaks ends it; a run goes on without.
        let _ = axum::serve(listener, routes).await;
    });
    Ok(())
}

async fn text(State(registry): State<Registry>) -> impl IntoResponse {
    let text = TextEncoder::new().encode_to_string(&registry.gather()).unwrap_or_default();
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text)
}

//! The admin port: /livez, /readyz, /metrics, /config, POST /drain, and what the program adds.
//!
//! It has no login: it belongs on loopback or a closed network, which the config enforces.
//!
//! **Invariant.** It answers until the process ends, also in the drain, so that the end can be watched; unless another
//! process has taken over.

use std::{convert::Infallible, net::SocketAddr, sync::Arc, time::Duration};

use anyhow::Context;
use axum::{
    Json, Router,
    body::Body,
    extract::{Request, State},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
};
use tower::ServiceExt;

use crate::{metrics, process::Process};

#[derive(Clone)]
struct Admin {
    process: Process,
    config: Arc<serde_json::Value>,
}

/// Binds the admin port, or takes the listener of the process before, and serves it from a supervised task. `config` is
/// the config in effect, secrets hidden.
pub(crate) fn start(
    process: &Process,
    addr: SocketAddr,
    passed: Option<std::net::TcpListener>,
    config: serde_json::Value,
) -> anyhow::Result<()> {
    let is_asked = |listener: &std::net::TcpListener| {
        listener.local_addr().is_ok_and(|at| at == addr || addr.port() == 0 && at.ip() == addr.ip())
    };
    let bound = match passed.filter(is_asked) {
        Some(listener) => Ok(listener),
        None => std::net::TcpListener::bind(addr),
    };
    let listener = bound.with_context(|| format!("cannot bind the admin port {addr}"))?;
    listener.set_nonblocking(true)?;
    process.keep_admin(listener.try_clone()?);
    let listener = TcpListener::from_std(listener)?;
    let addr = listener.local_addr().context("the admin port has no address")?;
    tracing::info!(listener = "admin", %addr, "listening");
    process.readiness().announce_admin(addr);
    process.spawn("admin", accept(listener, routes(process.clone(), config), process.clone()));
    Ok(())
}

/// The routes, before they are bound to a port.
fn routes(process: Process, config: serde_json::Value) -> Router {
    Router::new()
        .route("/livez", get("ok\n"))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics_text))
        .route(
            "/config",
            get(|State(admin): State<Admin>| async move { Json((*admin.config).clone()) }),
        )
        .route("/drain", post(drain))
        .fallback(added_by_the_program)
        .with_state(Admin { process, config: Arc::new(config) })
}

async fn readyz(State(admin): State<Admin>) -> (StatusCode, String) {
    if admin.process.drain().is_started() {
        return (StatusCode::SERVICE_UNAVAILABLE, "draining\n".to_owned());
    }
    let status = admin.process.readiness().status();
    if status.is_ready() {
        return (StatusCode::OK, "ready\n".to_owned());
    }
    let waiting = status.waiting();
    let waiting = if waiting.is_empty() { "start".to_owned() } else { waiting.join("\n") };
    (StatusCode::SERVICE_UNAVAILABLE, format!("not ready:\n{waiting}\n"))
}

async fn metrics_text(State(admin): State<Admin>) -> impl IntoResponse {
    let text = metrics::text(admin.process.registry());
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text)
}

/// Starts the drain. A browser sends `Origin` with every POST, a script does not: no web page drains a process.
async fn drain(State(admin): State<Admin>, headers: HeaderMap) -> (StatusCode, &'static str) {
    if headers.contains_key(header::ORIGIN) {
        return (StatusCode::FORBIDDEN, "not from a browser\n");
    }
    tracing::info!("drain asked for at the admin port");
    admin.process.drain().begin();
    (StatusCode::ACCEPTED, "draining\n")
}

async fn added_by_the_program(
    State(admin): State<Admin>,
    request: Request<Body>,
) -> Result<Response, Infallible> {
    admin.process.extra_routes().oneshot(request).await
}

/// Serves until the program's `main` has returned, through the whole drain.
async fn accept(listener: TcpListener, routes: Router, process: Process) -> anyhow::Result<()> {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = process.end().started() => return Ok(()),
            // Connections that are open are still answered.
            () = process.is_admin_given().cancelled() => {
                process.end().started().await;
                return Ok(());
            }
        };
        match accepted {
            Ok((stream, _)) => {
                // Full: closing the connection says so soonest.
                let Ok(place) = places.clone().try_acquire_owned() else { continue };
                let routes = routes.clone();
                tokio::spawn(async move {
                    serve(stream, routes).await;
                    drop(place);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept on the admin port");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn serve(stream: TcpStream, routes: Router) {
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(HEADER_WAIT).max_headers(HEADERS_MAX);
    let served =
        http.serve_connection(TokioIo::new(stream), TowerToHyperService::new(routes)).await;
    if let Err(error) = served {
        tracing::debug!(%error, "an admin connection broke off");
    }
}

/// Connections at one time; more are closed at once.
const CONNECTIONS_MAX: usize = 128;
/// How long a client may take over a request's header, and stay idle between requests.
const HEADER_WAIT: Duration = Duration::from_secs(30);
/// Header fields of one request.
const HEADERS_MAX: usize = 64;
/// The wait after a failed accept (out of file descriptors, mostly).
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;

    async fn ask(routes: &Router, method: &str, path: &str, origin: Option<&str>) -> (u16, String) {
        let mut request = Request::builder().method(method).uri(path);
        if let Some(origin) = origin {
            request = request.header(header::ORIGIN, origin);
        }
        let request = request.body(Body::empty()).unwrap();
        let response = routes.clone().oneshot(request).await.unwrap();
        let status = response.status().as_u16();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        (status, String::from_utf8(body.to_vec()).unwrap())
    }

    #[tokio::test]
    async fn readyz_lists_what_is_not_ready_and_turns_in_the_drain() {
        let process = Process::for_test();
        let routes = routes(process.clone(), serde_json::Value::Null);
        let ready = |status, body: &str| (status, body.to_owned());
        assert_eq!(ask(&routes, "GET", "/readyz", None).await, ready(503, "not ready:\nstart\n"));

        let cache = process.ready("cache");
        let listener = process.ready("listener");
        cache.set(true);
        assert_eq!(
            ask(&routes, "GET", "/readyz", None).await,
            ready(503, "not ready:\nlistener\n")
        );
        listener.set(true);
        assert_eq!(ask(&routes, "GET", "/readyz", None).await, ready(200, "ready\n"));

        process.drain().begin();
        assert_eq!(ask(&routes, "GET", "/readyz", None).await, ready(503, "draining\n"));
        assert_eq!(ask(&routes, "GET", "/livez", None).await, ready(200, "ok\n"));
    }

    #[tokio::test]
    async fn only_a_post_from_outside_a_browser_starts_the_drain() {
        let process = Process::for_test();
        let routes = routes(process.clone(), serde_json::Value::Null);
        assert_eq!(ask(&routes, "GET", "/drain", None).await.0, 405);
        assert_eq!(ask(&routes, "POST", "/drain", Some("http://evil.example")).await.0, 403);
        assert!(!process.drain().is_started());
        assert_eq!(ask(&routes, "POST", "/drain", None).await.0, 202);
        assert!(process.drain().is_started());
    }

    #[tokio::test]
    async fn a_program_adds_routes_after_the_port_is_up_and_takes_none_away() {
        let process = Process::for_test();
        let routes = routes(process.clone(), serde_json::json!({ "part": 1 }));
        assert_eq!(ask(&routes, "GET", "/cache", None).await.0, 404);
        process.admin_routes(Router::new().route("/cache", get("42 objects")));
        process.admin_routes(Router::new().route("/config", get("mine")));
        assert_eq!(ask(&routes, "GET", "/cache", None).await, (200, "42 objects".to_owned()));
        assert_eq!(ask(&routes, "GET", "/config", None).await, (200, "{\"part\":1}".to_owned()));
    }
}

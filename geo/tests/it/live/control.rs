//! A control plane that tells what a test wants it to tell.

use std::{
    convert::Infallible,
    fs,
    net::SocketAddr,
    os::unix::fs::PermissionsExt,
    path::Path,
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{
    Json, Router,
    body::{Body, Bytes},
    extract::{Path as Segment, State},
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use serde_json::Value;
use tidegate_contract::geo_feed::{FeedLine, FleetView};
use tokio::{net::TcpListener, sync::watch, task::JoinHandle};

use super::pop::hold;

/// The token that it takes.
pub(crate) const TOKEN: &str = "a-token-of-a-test";

/// A replica.
pub(crate) struct FakeControl {
    pub(crate) addr: SocketAddr,
    told: Arc<Told>,
    server: JoinHandle<()>,
}

struct Told {
    lines: watch::Sender<Vec<String>>,
    answers: Mutex<Vec<(u64, Value)>>,
}

impl FakeControl {
    pub(crate) async fn start() -> Self {
        Self::start_at(SocketAddr::from(([127, 0, 0, 1], 0))).await
    }

    pub(crate) async fn start_at(addr: SocketAddr) -> Self {
        let addr = hold(addr);
        let listener = TcpListener::bind(addr).await.expect("a port");
        let told =
            Arc::new(Told { lines: watch::Sender::new(Vec::new()), answers: Mutex::default() });
        let routes = Router::new()
            .route("/v1/geo/feed", get(feed))
            .route("/v1/geo/answers/{id}", post(answer))
            .with_state(Arc::clone(&told));
        let server = tokio::spawn(async move {
            axum::serve(listener, routes).await.expect("it serves");
        });
        Self { addr, told, server }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.addr)
    }

    pub(crate) fn tell_fleet(&self, view: &FleetView) {
        self.tell(&FeedLine::Fleet(Box::new(view.clone())));
    }

    /// Tells a line to everybody who follows, and to those who come later.
    pub(crate) fn tell(&self, line: &FeedLine) {
        self.tell_text(serde_json::to_string(line).expect("plain data"));
    }

    pub(crate) fn tell_text(&self, line: String) {
        self.told.lines.send_modify(|lines| lines.push(line));
    }

    pub(crate) fn answers(&self) -> Vec<(u64, Value)> {
        self.told.answers.lock().expect("nobody panicked").clone()
    }

    /// Is gone from one moment to the next, connections included.
    pub(crate) async fn die(self) {
        self.told.lines.send_modify(Vec::clear);
        self.server.abort();
        let _ = self.server.await;
    }
}

/// The file of a token.
pub(crate) fn token_file(folder: &Path) -> std::path::PathBuf {
    let path = folder.join("token");
    fs::write(&path, TOKEN).expect("writable");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("ours");
    path
}

async fn feed(State(told): State<Arc<Told>>, headers: HeaderMap) -> Response {
    if !is_known(&headers) {
        return StatusCode::UNAUTHORIZED.into_response();
    }
    let lines = told.lines.subscribe();
    let stream =
        futures::stream::unfold((lines, 0, false), |(mut lines, mut sent, is_over)| async move {
            if is_over {
                return None;
            }
            let news = tokio::time::timeout(
                Duration::from_millis(100),
                lines.wait_for(|all| all.len() != sent),
            );
            let mut text = String::from("{\"beat\":{}}\n");
            let mut is_over = false;
            if let Ok(all) = news.await {
                // Fewer than before: it dies.
                match all {
                    Ok(all) if all.len() > sent => {
                        all[sent..].iter().for_each(|line| text.push_str(&format!("{line}\n")));
                        sent = all.len();
                    }
                    Ok(_) | Err(_) => is_over = true,
                }
            }
            Some((Ok::<_, Infallible>(Bytes::from(text)), (lines, sent, is_over)))
        });
    Body::from_stream(stream).into_response()
}

async fn answer(
    State(told): State<Arc<Told>>,
    headers: HeaderMap,
    Segment(id): Segment<u64>,
    Json(value): Json<Value>,
) -> StatusCode {
    if !is_known(&headers) {
        return StatusCode::UNAUTHORIZED;
    }
    told.answers.lock().expect("nobody panicked").push((id, value));
    StatusCode::NO_CONTENT
}

fn is_known(headers: &HeaderMap) -> bool {
    headers.get("authorization").is_some_and(|value| value == &format!("Bearer {TOKEN}"))
}

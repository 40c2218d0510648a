//! What operators ask of a node at its admin port: why a client gets what it gets, the map as a table, what has changed,
//! and the hold on it.
//!
//! Invariant: nothing here is reachable from the public ports, and a browser that was led here changes nothing.

use std::{net::IpAddr, sync::Arc, time::Duration};

use axum::{
    Json, Router,
    extract::{Query, State as Given},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use http::{HeaderMap, StatusCode, header};
use serde::Deserialize;
use serde_json::{Value, json};
use tidegate_chassis::Clock;
use tidegate_contract::problem::{self, Problem};

use crate::live::{Answers, Difference, Hold, MapView, State};

/// What the routes need.
#[derive(Clone)]
pub struct Admin {
    /// What is known.
    pub state: Arc<State>,
    /// What names are answered.
    pub answers: Answers,
    /// The hold on the map.
    pub hold: Hold,
    /// The time.
    pub clock: Clock,
}

/// Who asks for what.
#[derive(Debug, Deserialize)]
struct Asked {
    client: IpAddr,
    #[serde(default)]
    name: Option<String>,
    #[serde(default = "address", rename = "type")]
    record: String,
}

#[derive(Debug, Deserialize)]
struct Back {
    /// Seconds.
    #[serde(default = "five_minutes")]
    ago: u64,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Freeze {
    reason: String,
}

/// The routes of the admin port.
pub fn routes(admin: Admin) -> Router {
    Router::new()
        .route("/explain", get(explain))
        .route("/map", get(map))
        .route("/map/diff", get(difference))
        .route("/map/freeze", post(freeze))
        .route("/map/thaw", post(thaw))
        .with_state(admin)
}

/// `GET /explain?client=192.0.2.1&name=video.example.&type=A`; without a name only the PoP is explained.
async fn explain(Given(admin): Given<Admin>, Query(asked): Query<Asked>) -> Response {
    let Asked { client, name, record } = asked;
    match name {
        None => Json(admin.state.explain(client, admin.clock.now())).into_response(),
        Some(name) => match admin.answers.resolve(&name, &record, client, None) {
            Ok(answer) => Json(answer).into_response(),
            Err(error) => refused(400, "explain-name", "not a question", error),
        },
    }
}

/// `GET /map`
async fn map(Given(admin): Given<Admin>) -> Json<MapView> {
    Json(admin.state.map(admin.clock.now()))
}

/// `GET /map/diff?ago=300`
async fn difference(
    Given(admin): Given<Admin>,
    Query(Back { ago }): Query<Back>,
) -> Json<Difference> {
    Json(admin.state.difference(Duration::from_secs(ago), admin.clock.now()))
}

/// `POST /map/freeze` with `{"reason": "…"}`
async fn freeze(
    Given(admin): Given<Admin>,
    headers: HeaderMap,
    Json(Freeze { reason }): Json<Freeze>,
) -> Response {
    if let Some(refused) = from_browser(&headers) {
        return refused;
    }
    let reason = reason.trim();
    if reason.is_empty() || reason.len() > REASON_BYTES_MAX || reason.contains(char::is_control) {
        let detail = format!("a reason is one line of 1 to {REASON_BYTES_MAX} bytes");
        return refused(400, "freeze-reason", "not a reason", detail);
    }
    tracing::warn!(reason, "the map is held");
    admin.hold.freeze(reason.to_owned());
    Json(held(Some(reason))).into_response()
}

/// `POST /map/thaw`
async fn thaw(Given(admin): Given<Admin>, headers: HeaderMap) -> Response {
    if let Some(refused) = from_browser(&headers) {
        return refused;
    }
    tracing::warn!("the map is let go");
    admin.hold.thaw();
    Json(held(None)).into_response()
}

fn held(reason: Option<&str>) -> Value {
    json!({ "frozen": reason })
}

/// A browser says where it comes from with every POST, a script does not.
fn from_browser(headers: &HeaderMap) -> Option<Response> {
    let is_browser = headers.contains_key(header::ORIGIN);
    is_browser.then(|| refused(403, "map-origin", "not from a browser", String::new()))
}

fn refused(status: u16, kind: &str, title: &str, detail: String) -> Response {
    let problem = Problem::new(status, kind, title, detail);
    let content_type = [(header::CONTENT_TYPE, problem::CONTENT_TYPE)];
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    (status, content_type, Json(problem)).into_response()
}

fn address() -> String {
    "A".to_owned()
}

fn five_minutes() -> u64 {
    300
}

/// One line that a colleague reads.
const REASON_BYTES_MAX: usize = 256;

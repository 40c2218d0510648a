//! An origin that does what the test says: versions, delays, sizes; it counts what it is asked for.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use axum::{
    Router,
    body::Body,
    extract::State,
    http::{HeaderName, StatusCode, Uri},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use futures::stream;
use tokio::{net::TcpListener, sync::watch, task::JoinHandle};

/// A running origin; dropping it closes it.
pub struct FakeOrigin {
    pub address: SocketAddr,
    shared: Arc<Shared>,
    serving: JoinHandle<()>,
}

#[derive(Default)]
struct Shared {
    resources: Mutex<HashMap<String, Resource>>,
    fetches: Mutex<HashMap<String, u64>>,
}

/// One resource.
#[derive(Clone)]
pub struct Resource {
    body: Bytes,
    headers: Vec<(HeaderName, String)>,
    gate: Option<watch::Receiver<bool>>,
}

/// Holds back the second half of a resource's body until it is opened.
pub struct Gate(watch::Sender<bool>);

impl FakeOrigin {
    pub async fn start() -> Self {
        let shared = Arc::new(Shared::default());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let routes = Router::new().fallback(answer).with_state(shared.clone());
        let serving = tokio::spawn(async move { axum::serve(listener, routes).await.unwrap() });
        Self { address, shared, serving }
    }

    /// Makes or replaces a resource.
    pub fn put(&self, path: &str, resource: Resource) {
        lock(&self.shared.resources).insert(path.to_owned(), resource);
    }

    /// How often a path was asked for.
    pub fn fetches(&self, path: &str) -> u64 {
        lock(&self.shared.fetches).get(path).copied().unwrap_or(0)
    }
}

impl Drop for FakeOrigin {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl Resource {
    /// A body that may be kept for a while.
    pub fn new(body: impl Into<Bytes>) -> Self {
        Self { body: body.into(), headers: vec![], gate: None }
            .header("cache-control", "max-age=3600")
    }

    /// So many bytes.
    pub fn of_bytes(bytes: usize) -> Self {
        let pattern: Vec<u8> = (0..bytes).map(|n| (n * 31 % 251) as u8).collect();
        Self::new(pattern)
    }

    /// What a client gets.
    pub fn bytes(&self) -> Bytes {
        self.body.clone()
    }

    pub fn header(mut self, name: &'static str, value: &str) -> Self {
        let name = HeaderName::from_static(name);
        self.headers.retain(|(other, _)| *other != name);
        self.headers.push((name, value.to_owned()));
        self
    }

    pub fn key(self, key: &str) -> Self {
        self.header("surrogate-key", key)
    }

    /// Half of the body is sent at once, the rest when the gate is opened.
    pub fn gated(mut self) -> (Self, Gate) {
        let (open, opened) = watch::channel(false);
        self.gate = Some(opened);
        (self, Gate(open))
    }
}

impl Gate {
    pub fn open(&self) {
        self.0.send_replace(true);
    }
}

async fn answer(State(shared): State<Arc<Shared>>, uri: Uri) -> Response {
    *lock(&shared.fetches).entry(uri.path().to_owned()).or_default() += 1;
    let found = lock(&shared.resources).get(uri.path()).cloned();
    let Some(Resource { body, headers, gate }) = found else {
        return StatusCode::NOT_FOUND.into_response();
    };
    let length = body.len();
    let mut response = match gate {
        None => Response::new(Body::from(body)),
        Some(gate) => Response::new(gated(body, gate)),
    };
    response.headers_mut().insert("content-length", length.into());
    for (name, value) in headers {
        response.headers_mut().insert(name, value.parse().unwrap());
    }
    response
}

fn gated(mut body: Bytes, gate: watch::Receiver<bool>) -> Body {
    let second = body.split_off(body.len() / 2);
    let first = stream::once(async move { Ok::<_, std::io::Error>(body) });
    let rest = stream::once(async move {
        let mut gate = gate;
        let opened = tokio::time::timeout(GATE_TIME_MAX, gate.wait_for(|open| *open)).await;
        match opened {
            Ok(Ok(_)) => Ok(second),
            _ => Err(std::io::Error::other("the gate stayed closed")),
        }
    });
    Body::from_stream(futures::StreamExt::chain(first, rest))
}

fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

const GATE_TIME_MAX: Duration = Duration::from_secs(300);

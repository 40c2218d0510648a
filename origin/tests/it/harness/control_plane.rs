//! A control plane that writes down which purges were ordered, and answers what it is told to.

use std::{
    collections::VecDeque,
    path::Path,
    sync::{Arc, Mutex},
};

use axum::{
    Json, Router,
    extract::State,
    http::{HeaderMap, StatusCode},
    routing::post,
};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto::Builder,
    service::TowerToHyperService,
};
use serde_json::Value;
use tidegate_origin::server::Config;

use crate::harness::authority::Authority;

/// A running control plane; it ends with the test.
#[derive(Clone)]
pub struct FakeControlPlane {
    pub url: String,
    book: Arc<Mutex<Book>>,
}

#[derive(Default)]
struct Book {
    orders: Vec<(String, Value)>,
    answers: VecDeque<StatusCode>,
}

impl FakeControlPlane {
    pub const TOKEN: &str = "for purges";

    pub async fn start() -> Self {
        let book = Arc::<Mutex<Book>>::default();
        let router = Router::new().route("/v1/purges", post(take)).with_state(book.clone());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { url, book }
    }

    /// The same over TLS, under the name `localhost`.
    pub async fn start_tls(authority: &Authority) -> Self {
        let tls = Config {
            tls_cert: Some(authority.cert_file.clone()),
            tls_key: Some(authority.key_file.clone()),
            ..Config::default()
        };
        let tls = tls.tls().unwrap().expect("it has a certificate");
        let book = Arc::<Mutex<Book>>::default();
        let router = Router::new().route("/v1/purges", post(take)).with_state(book.clone());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("https://localhost:{}", listener.local_addr().unwrap().port());
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let Ok(stream) = tls.accept(stream).await else { continue };
                let service = TowerToHyperService::new(router.clone());
                let builder = Builder::new(TokioExecutor::new());
                // One connection at a time is enough for one client.
                let _ = builder.serve_connection(TokioIo::new(stream), service).await;
            }
        });
        Self { url, book }
    }

    /// What the next orders are answered with, before all others are accepted.
    pub fn answer_next(&self, statuses: &[u16]) {
        let statuses = statuses.iter().map(|s| StatusCode::from_u16(*s).unwrap());
        self.book.lock().unwrap().answers.extend(statuses);
    }

    /// Keys that were ordered and accepted so far, in order.
    pub fn purged(&self) -> Vec<String> {
        let book = self.book.lock().unwrap();
        let name = |(_, order): &(String, Value)| match order["kind"].as_str().unwrap() {
            "key" => order["key"].as_str().unwrap().to_owned(),
            kind => kind.to_owned(),
        };
        book.orders.iter().map(name).collect()
    }

    /// Writes the file that the origin reads its token from.
    pub fn write_token(&self, folder: &Path) -> std::path::PathBuf {
        let file = folder.join("purge-token");
        std::fs::write(&file, Self::TOKEN).unwrap();
        file
    }
}

async fn take(
    State(book): State<Arc<Mutex<Book>>>,
    headers: HeaderMap,
    Json(order): Json<Value>,
) -> StatusCode {
    let expected = format!("Bearer {}", FakeControlPlane::TOKEN);
    if headers["authorization"] != expected {
        return StatusCode::UNAUTHORIZED;
    }
    let mut book = book.lock().unwrap();
    match book.answers.pop_front() {
        Some(status) => status,
        None => {
            book.orders.push((headers["idempotency-key"].to_str().unwrap().to_owned(), order));
            StatusCode::ACCEPTED
        }
    }
}

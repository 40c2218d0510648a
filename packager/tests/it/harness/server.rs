//! Serves what was published, as origin would: manifests below `/v/v1/`, objects below `/m/`.

use std::{collections::HashMap, sync::Arc};

use axum::{
    Router,
    extract::{Path, State},
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::get,
};
use tidegate_contract::package_job::Publication;

use super::FakeOrigin;

#[derive(Clone)]
struct Tree {
    origin: FakeOrigin,
    manifests: Arc<HashMap<String, String>>,
}

/// Serves a publication; gives the base of its manifests.
pub(crate) async fn serve(origin: &FakeOrigin, publication: &Publication) -> String {
    let manifests = publication.manifests.iter();
    let manifests = manifests.map(|manifest| (manifest.name.clone(), manifest.body.clone()));
    let tree = Tree { origin: origin.clone(), manifests: Arc::new(manifests.collect()) };
    let routes = Router::new()
        .route("/v/v1/{name}", get(manifest))
        .route("/m/{*path}", get(object))
        .with_state(tree);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move { axum::serve(listener, routes).await });
    format!("http://{address}/v/v1")
}

async fn manifest(State(tree): State<Tree>, Path(name): Path<String>) -> Response {
    match tree.manifests.get(&name) {
        Some(body) => body.clone().into_response(),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

async fn object(State(tree): State<Tree>, Path(path): Path<String>) -> Response {
    match std::fs::read(tree.origin.object(&format!("m/{path}"))) {
        Ok(bytes) => bytes.into_response(),
        Err(_) => StatusCode::NOT_FOUND.into_response(),
    }
}

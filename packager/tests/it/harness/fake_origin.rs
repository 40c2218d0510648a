//! The job API in memory, with the fencing of the real one: an old epoch gets 409.
//!
//! At each publication it checks what origin relies on: every object that a manifest names is already stored.

use std::{
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use axum::{
    Json, Router,
    extract::{Path, State},
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
    routing::post,
};
use sha2::{Digest, Sha256};
use tempfile::TempDir;
use tidegate_contract::{
    id::{JobId, MediaId},
    package_job::{Failure, LeaseReply, LeaseRequest, PackageJob, Publication, Renewal},
};

use super::{references, wait_for};

/// One job, one object store in a folder, and a listener.
#[derive(Clone)]
pub(crate) struct FakeOrigin {
    pub(crate) url: String,
    state: Arc<Mutex<Inner>>,
    folder: Arc<TempDir>,
}

/// How renewals are answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Renewals {
    Granted,
    /// As if the network were cut.
    Unavailable,
}

struct Inner {
    job: Option<PackageJob>,
    is_free: bool,
    lease: Duration,
    renewals: Renewals,
    is_down: bool,
    epoch: u64,
    publications: Vec<Publication>,
    failures: Vec<Failure>,
    leases: Vec<LeaseRequest>,
    renewed: Vec<Renewal>,
    refused: usize,
}

impl FakeOrigin {
    /// An origin without work.
    pub(crate) async fn start() -> Self {
        let inner = Inner {
            job: None,
            is_free: false,
            lease: Duration::from_secs(30),
            renewals: Renewals::Granted,
            is_down: false,
            epoch: 0,
            publications: Vec::new(),
            failures: Vec::new(),
            leases: Vec::new(),
            renewed: Vec::new(),
            refused: 0,
        };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let origin = Self {
            url: format!("http://{}", listener.local_addr().expect("an address")),
            state: Arc::new(Mutex::new(inner)),
            folder: Arc::new(tempfile::tempdir().expect("a folder")),
        };
        let routes = Router::new()
            .route("/internal/v1/jobs/lease", post(lease))
            .route("/internal/v1/jobs/{job}/renew", post(renew))
            .route("/internal/v1/jobs/{job}/publish", post(publish))
            .route("/internal/v1/jobs/{job}/fail", post(fail))
            .layer(axum::extract::DefaultBodyLimit::max(64 << 20))
            .with_state(origin.clone());
        tokio::spawn(async move { axum::serve(listener, routes).await });
        origin
    }

    /// Stores an upload and makes a job of it.
    pub(crate) fn upload(&self, content: &[u8]) {
        let path = self.source();
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        std::fs::write(&path, content).expect("written");
        let mut inner = self.inner();
        inner.is_free = true;
        inner.job = Some(PackageJob {
            job: JobId::parse("j1").expect("an id"),
            epoch: 0,
            lease: inner.lease,
            media: MediaId::parse("m1").expect("an id"),
            source_key: "upload/u1/source".into(),
            source_bytes: content.len() as u64,
            source_sha256: hex::encode(Sha256::digest(content)),
        });
    }

    /// Changes how long leases last.
    pub(crate) fn set_lease(&self, lease: Duration) {
        self.inner().lease = lease;
    }

    /// Changes how renewals are answered.
    pub(crate) fn set_renewals(&self, renewals: Renewals) {
        self.inner().renewals = renewals;
    }

    /// Answers everything with 503, or not.
    pub(crate) fn set_down(&self, is_down: bool) {
        self.inner().is_down = is_down;
    }

    /// The lease ran out: the job may be leased again, under a new epoch.
    pub(crate) fn expire_lease(&self) {
        self.inner().is_free = true;
    }

    /// Somebody else leases the job.
    pub(crate) fn lease_to_somebody_else(&self) {
        let mut inner = self.inner();
        inner.is_free = false;
        inner.epoch += 1;
    }

    /// Where the upload lies.
    pub(crate) fn source(&self) -> PathBuf {
        self.object("upload/u1/source")
    }

    /// Where an object lies.
    pub(crate) fn object(&self, key: &str) -> PathBuf {
        self.folder.path().join("objects").join(key)
    }

    /// The object store's URL.
    pub(crate) fn store_url(&self) -> String {
        format!("file://{}", self.folder.path().join("objects").display())
    }

    pub(crate) fn publications(&self) -> Vec<Publication> {
        self.inner().publications.clone()
    }

    pub(crate) fn failures(&self) -> Vec<Failure> {
        self.inner().failures.clone()
    }

    pub(crate) fn renewed(&self) -> Vec<Renewal> {
        self.inner().renewed.clone()
    }

    /// Requests refused for their epoch.
    pub(crate) fn refused(&self) -> usize {
        self.inner().refused
    }

    pub(crate) fn leases(&self) -> usize {
        self.inner().leases.len()
    }

    /// Waits for the last publication.
    pub(crate) async fn completed(&self) -> Publication {
        wait_for("a complete publication", || {
            let failures = self.failures();
            assert!(failures.is_empty(), "{failures:?}");
            self.publications().last().is_some_and(|publication| publication.complete)
        })
        .await;
        self.publications().pop().expect("just seen")
    }

    /// Waits for a failure.
    pub(crate) async fn failed(&self) -> Failure {
        wait_for("a failure", || {
            let publications = self.publications();
            assert!(publications.iter().all(|publication| !publication.complete));
            !self.failures().is_empty()
        })
        .await;
        self.failures().pop().expect("just seen")
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.state.lock().expect("no test panics while it holds this")
    }

    /// What is wrong with a message of this epoch.
    fn refusal(&self, epoch: u64) -> Option<Response> {
        let mut inner = self.inner();
        if inner.is_down {
            return Some(StatusCode::SERVICE_UNAVAILABLE.into_response());
        }
        if epoch != inner.epoch || inner.is_free {
            inner.refused += 1;
            return Some(StatusCode::CONFLICT.into_response());
        }
        None
    }

    fn reply(&self) -> Response {
        Json(LeaseReply { lease: self.inner().lease }).into_response()
    }
}

async fn lease(
    State(origin): State<FakeOrigin>,
    headers: HeaderMap,
    Json(request): Json<LeaseRequest>,
) -> Response {
    let mut inner = origin.inner();
    if inner.is_down {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    }
    if headers.get("authorization").is_none_or(|value| value != TOKEN_HEADER) {
        return StatusCode::UNAUTHORIZED.into_response();
    }
    let Some(job) = inner.job.clone().filter(|_| inner.is_free) else {
        return StatusCode::NO_CONTENT.into_response();
    };
    inner.is_free = false;
    inner.epoch += 1;
    inner.leases.push(request);
    Json(PackageJob { epoch: inner.epoch, lease: inner.lease, ..job }).into_response()
}

async fn renew(
    State(origin): State<FakeOrigin>,
    Path(_): Path<String>,
    Json(renewal): Json<Renewal>,
) -> Response {
    if origin.inner().renewals == Renewals::Unavailable {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    }
    if let Some(refusal) = origin.refusal(renewal.epoch) {
        return refusal;
    }
    origin.inner().renewed.push(renewal);
    origin.reply()
}

async fn publish(
    State(origin): State<FakeOrigin>,
    Path(_): Path<String>,
    Json(publication): Json<Publication>,
) -> Response {
    if let Some(refusal) = origin.refusal(publication.epoch) {
        return refusal;
    }
    for manifest in &publication.manifests {
        for reference in references(manifest) {
            let path = origin.object(&reference);
            assert!(path.is_file(), "{} names {reference}, which is not there", manifest.name);
        }
    }
    let mut inner = origin.inner();
    inner.publications.push(publication);
    drop(inner);
    origin.reply()
}

async fn fail(
    State(origin): State<FakeOrigin>,
    Path(_): Path<String>,
    Json(failure): Json<Failure>,
) -> Response {
    if let Some(refusal) = origin.refusal(failure.epoch) {
        return refusal;
    }
    origin.inner().failures.push(failure);
    StatusCode::NO_CONTENT.into_response()
}

/// The token of the job API.
pub(crate) const TOKEN: &str = "the-packagers-token";
const TOKEN_HEADER: &str = "Bearer the-packagers-token";

//! A control plane in this process, on free ports and a folder of its own, and an operator who calls its API.

use std::{net::SocketAddr, path::PathBuf, sync::Arc, time::SystemTime};

use serde_json::{Value, json};
use tempfile::TempDir;
use tidegate_chassis::{Clock, Process};
use tidegate_control::{
    config::Config, drain::Drains, offline, purge::Purges, release::Releases, server::Control,
    token::Scope,
};
use tokio::task::JoinHandle;

use super::{TestNode, within};

/// A control plane that runs.
pub(crate) struct TestControl {
    folder: Arc<TempDir>,
    process: Process,
    task: JoinHandle<anyhow::Result<()>>,
    http: reqwest::Client,
    change: fn(&mut Config),
    /// The time of day that it goes by.
    pub(crate) clock: Clock,
    /// Where its API listens.
    pub(crate) api: SocketAddr,
    /// Where nodes connect.
    pub(crate) sync: SocketAddr,
    /// PEM of its authority.
    pub(crate) ca_pem: String,
    /// A token that may do everything.
    pub(crate) admin: String,
    /// Its purges, for stories that need many at once.
    pub(crate) purges: Purges,
    /// Its drains, for stories that look behind the API.
    pub(crate) drains: Drains,
    /// Its releases, for the same.
    pub(crate) releases: Releases,
}

/// An answer of the API.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: reqwest::header::HeaderMap,
    pub(crate) body: Value,
}

impl TestControl {
    /// A control plane with nothing in it.
    pub(crate) async fn start() -> Self {
        Self::start_with(|_| {}).await
    }

    /// As [`Self::start`], with other settings than the defaults.
    pub(crate) async fn start_with(change: fn(&mut Config)) -> Self {
        let folder = Arc::new(tempfile::tempdir().expect("a folder"));
        Self::start_on(folder, change, Clock::system()).await
    }

    /// As [`Self::start`], with a clock that the story moves.
    pub(crate) async fn start_at(now: SystemTime) -> Self {
        Self::start_at_with(now, |_| {}).await
    }

    /// As [`Self::start_at`], with other settings than the defaults.
    pub(crate) async fn start_at_with(now: SystemTime, change: fn(&mut Config)) -> Self {
        let folder = Arc::new(tempfile::tempdir().expect("a folder"));
        Self::start_on(folder, change, Clock::manual(now)).await
    }

    async fn start_on(folder: Arc<TempDir>, change: fn(&mut Config), clock: Clock) -> Self {
        let mut config = Config { data_dir: folder.path().join("data"), ..Config::default() };
        let free = SocketAddr::from(([127, 0, 0, 1], 0));
        (config.listen.api, config.listen.sync) = (free, free);
        change(&mut config);
        let data_dir = config.data_dir.clone();
        let process = Process::for_test();
        let control = Control::bind(Arc::new(config), process.clone(), clock.clone()).await;
        let control = control.expect("a fresh folder and free ports");
        let (api, sync) = (control.api_addr().expect("bound"), control.sync_addr().expect("bound"));
        let purges = control.parts().purges.clone();
        let drains = control.parts().drains.clone();
        let releases = control.parts().releases.clone();
        let ca_pem = offline::ca_pem(&data_dir).expect("there");
        let admin = offline::create_token(&data_dir, &[Scope::Admin], "test").await;
        let ca = reqwest::Certificate::from_pem(ca_pem.as_bytes()).expect("pem");
        Self {
            folder,
            process,
            task: tokio::spawn(control.serve()),
            http: reqwest::Client::builder().tls_certs_only([ca]).build().expect("a client"),
            change,
            clock,
            api,
            sync,
            ca_pem,
            admin: admin.expect("writable"),
            purges,
            drains,
            releases,
        }
    }

    /// Drains it, and starts another on the same folder, at other ports.
    pub(crate) async fn restart(self) -> Self {
        let Self { folder, process, task, change, clock, purges, drains, releases, .. } = self;
        process.drain().begin();
        within(task).await.expect("no panic").expect("a clean end");
        drop((purges, drains, releases));
        Self::start_on(folder, change, clock).await
    }

    /// A file in the folder of the story, with a text in it.
    pub(crate) fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.folder.path().join(name);
        std::fs::write(&path, text).expect("writable");
        path
    }

    /// Where it keeps everything.
    pub(crate) fn data_dir(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// A token with some scopes.
    pub(crate) async fn token(&self, scopes: &[Scope]) -> String {
        let data_dir = self.folder.path().join("data");
        offline::create_token(&data_dir, scopes, "test").await.expect("writable")
    }

    /// A token of a person, made on the machine itself.
    pub(crate) async fn token_of(&self, scopes: &[String], label: &str) -> String {
        let data_dir = self.folder.path().join("data");
        offline::create_token(&data_dir, scopes, label).await.expect("writable")
    }

    /// A request of the API.
    pub(crate) fn request(&self, method: &str, path: &str) -> reqwest::RequestBuilder {
        let method = method.parse().expect("a method");
        self.http.request(method, format!("https://localhost:{}{path}", self.api.port()))
    }

    /// Calls the API with the admin's token.
    pub(crate) async fn call(&self, method: &str, path: &str, body: Value) -> Answer {
        self.call_as(&self.admin, method, path, body).await
    }

    /// Calls the API with some token.
    pub(crate) async fn call_as(
        &self,
        token: &str,
        method: &str,
        path: &str,
        body: Value,
    ) -> Answer {
        let request = self.request(method, path).bearer_auth(token);
        let request = if body.is_null() { request } else { request.json(&body) };
        Answer::of(request).await
    }

    /// Makes an edge PoP.
    pub(crate) async fn edge(&self, pop: &str) {
        let answer = self.call("PUT", &format!("/v1/pops/{pop}"), json!({"role": "edge"})).await;
        answer.expect(201);
    }

    /// A token that enrols a node of a PoP.
    pub(crate) async fn enrolment_token(&self, pop: &str) -> String {
        let path = format!("/v1/pops/{pop}/enrolment-tokens");
        let answer = self.call("POST", &path, Value::Null).await.expect(201);
        answer.body["token"].as_str().expect("a token").to_owned()
    }

    /// Enrols a node of a PoP.
    pub(crate) async fn node(&self, pop: &str, node: &str) -> TestNode {
        let token = self.enrolment_token(pop).await;
        TestNode::enrol(self, &token, node).await.expect("a good token")
    }

    /// Makes a property with one host.
    pub(crate) async fn property(&self, id: &str, host: &str) -> Answer {
        let property = property(id, host);
        self.call("PUT", &format!("/v1/properties/{id}"), property).await
    }

    /// Orders a purge of a surrogate key and returns its offset.
    pub(crate) async fn purge(&self, key: &str) -> u64 {
        let order = json!({"kind": "key", "key": key});
        let answer = self.call("POST", "/v1/purges", order).await.expect(202);
        answer.body["offset"].as_u64().expect("an offset")
    }

    /// Orders a purge of a surrogate key and waits for everybody.
    pub(crate) async fn purge_and_wait(&self, key: &str, deadline: &str) -> Answer {
        let order = json!({"kind": "key", "key": key, "wait": "all", "deadline": deadline});
        self.call("POST", "/v1/purges", order).await.expect(200)
    }

    /// The only node of a PoP as the API shows it.
    pub(crate) async fn node_view(&self, pop: &str) -> Value {
        let answer = self.call("GET", &format!("/v1/pops/{pop}"), Value::Null).await.expect(200);
        answer.body["nodes"][0].clone()
    }
}

impl Answer {
    /// Sends a request.
    pub(crate) async fn of(request: reqwest::RequestBuilder) -> Self {
        let response = within(request.send()).await.expect("an answer");
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let body = response.bytes().await.expect("a whole body");
        let body = if body.is_empty() {
            Value::Null
        } else {
            serde_json::from_slice(&body).expect("json")
        };
        Self { status, headers, body }
    }

    /// Checks the status; errors must be problem details.
    #[track_caller]
    pub(crate) fn expect(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{}", self.body);
        if status >= 400 {
            assert_eq!(self.headers["content-type"], "application/problem+json");
            assert_eq!(self.body["status"], status);
        }
        self
    }
}

/// A property with one host, as the API takes it.
pub(crate) fn property(id: &str, host: &str) -> Value {
    json!({"id": id, "hosts": [host], "origins": [{"authority": "127.0.0.1:1"}]})
}

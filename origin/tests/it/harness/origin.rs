//! An origin in this process, with a clock that stands until it is moved.

use std::{
    path::PathBuf,
    time::{Duration, SystemTime},
};

use tempfile::TempDir;
use tidegate_chassis::{Clock, Process};
use tidegate_origin::{config::Config, node::Node, web};

use crate::harness::{FakePackager, PATIENCE, TusClient};

/// A running origin; it drains when dropped.
pub struct TestOrigin {
    pub url: String,
    pub internal: String,
    pub clock: Clock,
    pub http: reqwest::Client,
    token: String,
    process: Process,
    node: Option<Node>,
    home: TempDir,
}

impl TestOrigin {
    pub async fn start() -> Self {
        Self::with(|_| ()).await
    }

    /// Starts with other settings.
    pub async fn with(change: impl FnOnce(&mut Config)) -> Self {
        tidegate_chassis::init_crypto();
        let home = tempfile::tempdir().unwrap();
        let token = web::create_token(&home.path().join("tokens"), "demo").unwrap();
        std::fs::write(home.path().join("packager-token"), "for packagers").unwrap();
        let mut config = config_in(&home);
        change(&mut config);
        let clock = Clock::manual(SystemTime::now());
        let process = Process::for_test();
        let node = Node::start(&config, &process, clock.clone()).await.unwrap();
        Self {
            url: format!("http://{}", node.http()),
            internal: format!("http://{}", node.internal()),
            clock,
            http: client(),
            token,
            process,
            node: Some(node),
            home,
        }
    }

    /// A tus client with the token of `demo`.
    pub fn tus(&self) -> TusClient {
        TusClient::new(&self.url, &self.token)
    }

    /// A tus client with another, new token.
    pub async fn tus_of(&self, name: &str) -> TusClient {
        let token = web::create_token(&self.home.path().join("tokens"), name).unwrap();
        let client = TusClient::new(&self.url, &token);
        crate::harness::until("the new token is known", || async {
            let answer = client.create(1).await;
            (answer.status == 201).then_some(())
        })
        .await;
        client
    }

    pub fn packager(&self, name: &str) -> FakePackager {
        FakePackager::new(name, &self.internal, "for packagers", self.objects())
    }

    /// Uploads in one request and says which video it became.
    pub async fn upload(&self, body: &[u8]) -> String {
        let answer = self.tus().create_with(body.len() as u64, body, &[]).await;
        assert_eq!(answer.status, 201, "{answer:?}");
        answer.video.expect("a finished upload is a video")
    }

    /// What the API says of a video.
    pub async fn video(&self, id: &str) -> serde_json::Value {
        let response = self.get(&format!("/api/v1/videos/{id}")).await;
        assert_eq!(response.status(), 200);
        response.json().await.unwrap()
    }

    pub async fn get(&self, path: &str) -> reqwest::Response {
        self.http.get(format!("{}{path}", self.url)).send().await.unwrap()
    }

    pub fn authorised(&self, method: reqwest::Method, path: &str) -> reqwest::RequestBuilder {
        self.http.request(method, format!("{}{path}", self.url)).bearer_auth(&self.token)
    }

    /// The folder of the object store.
    pub fn objects(&self) -> PathBuf {
        self.home.path().join("objects")
    }

    /// The folder of the spool files.
    pub fn spool(&self) -> PathBuf {
        self.home.path().join("spool")
    }

    /// The value of a metric with all its labels, as the text format writes it.
    pub fn metric(&self, line: &str) -> f64 {
        use prometheus::TextEncoder;
        let text = TextEncoder::new().encode_to_string(&self.process.registry().gather()).unwrap();
        let value = text.lines().find_map(|l| l.strip_prefix(line)?.strip_prefix(' '));
        value.map_or(0.0, |value| value.parse().unwrap())
    }

    /// Waits until a request has begun to write to an upload. Asking by another request would take its place.
    pub async fn until_written_to(&self) {
        crate::harness::until("an upload is written to", || async {
            (self.metric("origin_upload_writers") == 1.0).then_some(())
        })
        .await;
    }

    /// Drains and waits until everything has ended.
    pub async fn stop(mut self) {
        self.process.drain().begin();
        let node = self.node.take().expect("stopped once");
        tokio::time::timeout(PATIENCE, node.finish()).await.expect("the drain ends");
    }
}

impl Drop for TestOrigin {
    fn drop(&mut self) {
        self.process.drain().begin();
    }
}

fn config_in(home: &TempDir) -> Config {
    let path = |name: &str| home.path().join(name);
    let mut config = Config {
        database: format!("sqlite:{}", path("origin.db").display()),
        object_store: format!("file://{}", path("objects").display()),
        ..Config::default()
    };
    config.listen.http = ([127, 0, 0, 1], 0).into();
    config.listen.internal = ([127, 0, 0, 1], 0).into();
    config.auth.tokens_file = Some(path("tokens"));
    config.auth.reload_interval = SOON;
    config.package.token_file = Some(path("packager-token"));
    config.package.sweep_interval = SOON;
    config.upload.spool_dir = path("spool");
    config.upload.sweep_interval = SOON;
    config.upload.disk_free_min = bytesize::ByteSize::mib(1);
    config.catalog.sweep_interval = SOON;
    config
}

pub fn client() -> reqwest::Client {
    reqwest::Client::builder().timeout(PATIENCE).build().unwrap()
}

const SOON: Duration = Duration::from_millis(20);

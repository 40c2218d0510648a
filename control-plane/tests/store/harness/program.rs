//! The control plane as a process, and an operator who calls it.

use std::{net::SocketAddr, path::Path, process::Stdio, time::Duration};

use serde_json::Value;
use tidegate_control::store::Config;
use tokio::process::{Child, Command};

use super::{until, within};

/// A `tidegate-control serve` that runs; killed when dropped.
pub(crate) struct Program {
    child: Child,
    pub(crate) api: SocketAddr,
    pub(crate) sync: SocketAddr,
}

/// An operator with a token.
#[derive(Clone)]
pub(crate) struct Caller {
    http: reqwest::Client,
    token: String,
    pub(crate) ca_pem: String,
}

impl Program {
    /// Starts a control plane on a folder and a store, and waits until it is ready.
    pub(crate) async fn serve(folder: &Path, store: &Config) -> Self {
        let ready_file = folder.join("ready.json");
        let _ = std::fs::remove_file(&ready_file);
        let mut child = control()
            .arg("serve")
            .args(["--api", "127.0.0.1:0", "--sync", "127.0.0.1:0", "--data-dir"])
            .arg(folder.join("data"))
            .args(settings(store))
            .args(["--set", "leader.ttl=3s"])
            .arg("--set")
            .arg(format!("process.ready_file={}", ready_file.display()))
            .args(["--set", "process.log_level=warn"])
            .spawn()
            .expect("the program");
        let ready: Value = until(async || {
            assert_eq!(child.try_wait().expect("a child"), None, "it ended");
            let text = std::fs::read_to_string(&ready_file).ok()?;
            serde_json::from_str(&text).ok()
        })
        .await;
        let at = |name: &str| {
            let addr = ready["listeners"][name].as_str().expect("an address");
            addr.parse().expect("an address")
        };
        Self { api: at("api"), sync: at("sync"), child }
    }

    /// Kills it where it stands.
    pub(crate) async fn kill(mut self) {
        self.child.kill().await.expect("it runs");
    }
}

/// Begins a command of `tidegate-control`; it is killed when dropped.
pub(crate) fn begin(folder: &Path, store: &Config, words: &[&str]) -> Child {
    let mut command = control();
    command.args(words).args(settings(store));
    command.arg("--data-dir").arg(folder.join("data"));
    command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("the program")
}

/// Runs a command of `tidegate-control` on a folder and a store; its output, or what it says of its failure.
pub(crate) async fn command(
    folder: &Path,
    store: &Config,
    words: &[&str],
) -> Result<String, String> {
    let mut command = control();
    command.args(words).args(settings(store));
    command.arg("--data-dir").arg(folder.join("data"));
    let output = within(command.output()).await.expect("it runs");
    let text = |bytes| String::from_utf8(bytes).expect("text").trim().to_owned();
    if output.status.success() { Ok(text(output.stdout)) } else { Err(text(output.stderr)) }
}

impl Caller {
    /// An operator who may do everything on a folder and a store.
    pub(crate) async fn new(folder: &Path, store: &Config) -> Self {
        tidegate_chassis::init_crypto();
        let words = ["token", "create", "--scope", "admin", "--scope", "breakglass"];
        let token = command(folder, store, &words).await.expect("a token");
        let ca_pem = command(folder, store, &["ca", "show"]).await.expect("the authority");
        Self { http: client(&ca_pem), token, ca_pem }
    }

    /// The same operator, who believes these authorities alone.
    pub(crate) fn believing(&self, ca_pem: &str) -> Self {
        let (token, ca_pem) = (self.token.clone(), ca_pem.to_owned());
        Self { http: client(&ca_pem), token, ca_pem }
    }

    /// Calls a replica; the body of a good answer, or the status of another, or nothing.
    pub(crate) async fn call(
        &self,
        method: &str,
        api: SocketAddr,
        path: &str,
        body: &Value,
    ) -> Result<Value, Option<(u16, String)>> {
        let method = method.parse().expect("a method");
        let url = format!("https://localhost:{}{path}", api.port());
        let request = self.http.request(method, url).bearer_auth(&self.token);
        let request = if body.is_null() { request } else { request.json(body) };
        let response = request.send().await.map_err(|_| None)?;
        let status = response.status();
        let text = response.text().await.map_err(|_| None)?;
        if status.is_success() {
            Ok(serde_json::from_str(&text).unwrap_or(Value::Null))
        } else {
            Err(Some((status.as_u16(), text)))
        }
    }

    /// What a replica answers, byte for byte.
    pub(crate) async fn bytes(&self, method: &str, api: SocketAddr, path: &str) -> Vec<u8> {
        let method = method.parse().expect("a method");
        let url = format!("https://localhost:{}{path}", api.port());
        let request = self.http.request(method, url).bearer_auth(&self.token);
        let response = within(request.send()).await.expect("an answer");
        assert!(response.status().is_success(), "{}", response.status());
        within(response.bytes()).await.expect("whole").to_vec()
    }

    /// Calls a replica that must answer well.
    pub(crate) async fn must(
        &self,
        method: &str,
        api: SocketAddr,
        path: &str,
        body: Value,
    ) -> Value {
        let called = self.call(method, api, path, &body).await;
        called.unwrap_or_else(|error| panic!("{method} {path}: {error:?}"))
    }
}

fn client(ca_pem: &str) -> reqwest::Client {
    let believed = reqwest::Certificate::from_pem_bundle(ca_pem.as_bytes()).expect("pem");
    let client = reqwest::Client::builder().tls_certs_only(believed);
    client.timeout(Duration::from_secs(20)).build().expect("a client")
}

/// The store on a command line.
fn settings(store: &Config) -> Vec<String> {
    let etcd = &store.etcd;
    let files = [
        ("ca_file", &etcd.ca_file),
        ("certificate_file", &etcd.certificate_file),
        ("key_file", &etcd.key_file),
    ];
    let files = files.into_iter().filter_map(|(name, file)| {
        Some(format!("--set=store.etcd.{name}={}", file.as_ref()?.display()))
    });
    files.chain([format!("--set=store.url={}", store.url)]).collect()
}

fn control() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tidegate-control"));
    command.kill_on_drop(true).stdin(Stdio::null());
    command
}

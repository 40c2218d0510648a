//! A control plane and agents of PoPs as real processes on ports of their own, and an operator.

use std::{
    collections::BTreeMap,
    env, fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::Mutex,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use tokio::net::TcpSocket;

/// A process; killed when dropped.
pub(crate) struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Where they all run.
pub(crate) struct Rig {
    folder: tempfile::TempDir,
    api: u16,
    sync: u16,
    token: String,
    http: Mutex<reqwest::Client>,
    settings: Vec<String>,
    /// Keep the ports for a control plane that comes back.
    _held: [TcpSocket; 2],
}

impl Rig {
    pub(crate) fn new() -> Self {
        tidegate_chassis::init_crypto();
        let folder = tempfile::tempdir().expect("a folder");
        let run = |words: &[&str]| {
            let mut command = Command::new(program("tidegate-control"));
            let data = folder.path().join("data");
            let output = command.args(words).arg("--data-dir").arg(data).output().expect("it runs");
            assert!(output.status.success(), "{output:?}");
            String::from_utf8(output.stdout).expect("text").trim().to_owned()
        };
        let token = run(&["token", "create", "--scope", "admin"]);
        let ca = run(&["ca", "show"]);
        fs::write(folder.path().join("ca.pem"), &ca).expect("writable");
        let http = Mutex::new(client(&ca));
        let [(api_held, api), (sync_held, sync)] = [held_port(), held_port()];
        let _held = [api_held, sync_held];
        Self { folder, api, sync, token, http, settings: Vec::new(), _held }
    }

    /// The same, with other settings of the control plane than the defaults.
    pub(crate) fn with(self, settings: &[&str]) -> Self {
        Self { settings: settings.iter().map(ToString::to_string).collect(), ..self }
    }

    /// The operator goes by these authorities from now on.
    pub(crate) fn believe(&self, ca_pem: &str) {
        *self.http.lock().expect("no panic") = client(ca_pem);
    }

    /// Where the control plane keeps everything.
    pub(crate) fn data_dir(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    pub(crate) async fn control(&self) -> Killed {
        let child = Command::new(program("tidegate-control"))
            .arg("serve")
            .args(["--api", &format!("127.0.0.1:{}", self.api)])
            .args(["--sync", &format!("127.0.0.1:{}", self.sync)])
            .arg("--data-dir")
            .arg(self.folder.path().join("data"))
            .args(["--set", "process.log_level=error"])
            .args(self.settings.iter().flat_map(|setting| ["--set", setting]))
            .stdin(Stdio::null())
            .spawn();
        let child = Killed(child.expect("the program"));
        until("the API answers", async || self.call("GET", "/v1/pops", &Value::Null).await).await;
        child
    }

    pub(crate) async fn prepare(&self, pops: usize) -> Vec<String> {
        let mut tokens = Vec::new();
        for pop in 0..pops {
            let role = json!({"role": "edge"});
            self.call("PUT", &format!("/v1/pops/pop-{pop}"), &role).await.expect("a PoP");
            let path = format!("/v1/pops/pop-{pop}/enrolment-tokens");
            let token = self.call("POST", &path, &Value::Null).await.expect("a token");
            tokens.push(token["token"].as_str().expect("text").to_owned());
        }
        tokens
    }

    pub(crate) fn agent(&self, pop: usize, token: &str, name: &str) -> Killed {
        let state = self.folder.path().join(format!("pop-{pop}"));
        fs::create_dir_all(&state).expect("writable");
        fs::write(state.join("token"), token).expect("writable");
        let child = Command::new(env!("CARGO_BIN_EXE_tidegate-bench-purge"))
            .arg("agent")
            .arg("--state")
            .arg(&state)
            .arg("--journal")
            .arg(state.join("journal"))
            .arg("--ca")
            .arg(self.folder.path().join("ca.pem"))
            .args(["--endpoint", &format!("https://127.0.0.1:{}", self.sync)])
            .args(["--endpoint", &format!("https://localhost:{}", self.sync)])
            .arg("--out")
            .arg(self.folder.path().join(name))
            .stdin(Stdio::piped())
            .spawn();
        Killed(child.expect("the program"))
    }

    /// Every PoP is there, and none is behind.
    pub(crate) async fn settled(&self, pops: usize) {
        until("every PoP has caught up", async || {
            let lag = self.call("GET", "/v1/purges/lag", &Value::Null).await?;
            let items = lag["items"].as_array()?;
            let is_there = |item: &&Value| item["lag"] == 0 && item["subscriptions"] != 0;
            (items.iter().filter(is_there).count() == pops).then_some(())
        })
        .await;
    }

    /// Every purge that the control plane knows.
    pub(crate) async fn log(&self) -> BTreeMap<u64, String> {
        let mut log = BTreeMap::new();
        loop {
            let after = log.keys().next_back().copied().unwrap_or(0);
            let path = format!("/v1/purges?after={after}");
            let page = self.call("GET", &path, &Value::Null).await.expect("readable");
            let purges = page["purges"].as_array().expect("a list");
            if purges.is_empty() {
                return log;
            }
            for purge in purges {
                let id = purge["id"].as_str().expect("an id").to_owned();
                log.insert(purge["offset"].as_u64().expect("an offset"), id);
            }
        }
    }

    /// Ends an agent in order, and reads what it saw.
    pub(crate) fn end(&self, mut agent: Killed, name: &str) -> BTreeMap<u64, u64> {
        drop(agent.0.stdin.take());
        assert!(agent.0.wait().expect("it runs").success());
        let text = fs::read_to_string(self.folder.path().join(name)).expect("written");
        let line = |line: &str| {
            let (offset, ns) = line.split_once(' ').expect("two numbers");
            (offset.parse().expect("a number"), ns.parse().expect("a number"))
        };
        text.lines().map(line).collect()
    }

    pub(crate) async fn call(&self, method: &str, path: &str, body: &Value) -> Option<Value> {
        let (status, answer) = self.ask(method, path, body).await?;
        (200..300).contains(&status).then_some(answer)
    }

    /// A call with its status; nothing where nobody answers.
    pub(crate) async fn ask(&self, method: &str, path: &str, body: &Value) -> Option<(u16, Value)> {
        let url = format!("https://localhost:{}{path}", self.api);
        let http = self.http.lock().expect("no panic").clone();
        let request = http.request(method.parse().expect("a method"), url);
        let request = request.bearer_auth(&self.token);
        let request = if body.is_null() { request } else { request.json(body) };
        let response = request.send().await.ok()?;
        Some((response.status().as_u16(), response.json().await.ok()?))
    }
}

fn client(ca_pem: &str) -> reqwest::Client {
    let ca = reqwest::Certificate::from_pem_bundle(ca_pem.as_bytes()).expect("pem");
    reqwest::Client::builder().tls_certs_only(ca).build().expect("a client")
}

/// Asks again and again, within a limit.
pub(crate) async fn until<T>(what: &str, mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    let end = Instant::now() + LIMIT;
    loop {
        if let Some(answer) = ask().await {
            return answer;
        }
        assert!(Instant::now() < end, "{what}: not within {LIMIT:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// A socket that never listens: nobody is given its port, and who sets `SO_REUSEADDR` may listen there all the same.
fn held_port() -> (TcpSocket, u16) {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.set_reuseaddr(true).expect("possible");
    socket.bind(([127, 0, 0, 1], 0).into()).expect("a free port");
    let port = socket.local_addr().expect("bound").port();
    (socket, port)
}

/// A program that was built with this test: beside it, or where the environment says.
fn program(name: &str) -> PathBuf {
    let own = Path::new(env!("CARGO_BIN_EXE_tidegate-bench-purge"));
    let folder = env::var_os("TIDEGATE_BIN_DIR").map(PathBuf::from);
    let folder = folder.unwrap_or_else(|| own.parent().expect("a folder").to_owned());
    folder.join(name)
}

/// The longest that anything may take, on a busy machine.
const LIMIT: Duration = Duration::from_secs(90);

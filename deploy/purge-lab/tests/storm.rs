//! A storm of purges over real processes that are killed in the middle: nothing that was acknowledged is lost.
//!
//! The points are drawn from a seed, `TIDEGATE_SEED` or one that is printed.

use std::{
    collections::BTreeMap,
    env, fs,
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use serde_json::{Value, json};

struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

struct Storm {
    folder: tempfile::TempDir,
    api: u16,
    sync: u16,
    token: String,
    http: reqwest::Client,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_acknowledged_purge_is_lost_when_everything_is_killed_at_some_point() {
    let seed =
        env::var("TIDEGATE_SEED").map_or_else(|_| 20_261, |text| text.parse().expect("a number"));
    println!("TIDEGATE_SEED={seed}");
    let mut chance: u64 = seed;
    let storm = Arc::new(Storm::new());
    let mut control = storm.control().await;
    let tokens = storm.prepare(2).await;
    let witness = storm.agent(0, &tokens[0], "witness");
    let mut victim = storm.agent(1, &tokens[1], "victim");
    storm.settled(2).await;

    let acknowledged: Arc<Mutex<BTreeMap<u64, String>>> = Arc::default();
    let is_over = Arc::new(AtomicBool::new(false));
    let callers: Vec<_> = (0..8)
        .map(|_| {
            let (storm, acknowledged) = (Arc::clone(&storm), Arc::clone(&acknowledged));
            let is_over = Arc::clone(&is_over);
            tokio::spawn(async move {
                while !is_over.load(Relaxed) {
                    let order = json!({"kind": "key", "key": "benchmark"});
                    let Some(answer) = storm.call("POST", "/v1/purges", &order).await else {
                        tokio::time::sleep(Duration::from_millis(20)).await;
                        continue;
                    };
                    let id = answer["id"].as_str().expect("an id").to_owned();
                    let offset = answer["offset"].as_u64().expect("an offset");
                    let before = acknowledged.lock().expect("no panic").insert(offset, id);
                    assert_eq!(before, None, "one offset for two purges");
                }
            })
        })
        .collect();

    let count = || acknowledged.lock().expect("no panic").len() as u64;
    for round in 0..4 {
        chance =
            chance.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let aim = count() + 20 + (chance >> 33) % 200;
        until("more purges", async || (count() >= aim).then_some(())).await;
        if round % 2 == 0 {
            drop(control);
            control = storm.control().await;
        } else {
            drop(victim);
            victim = storm.agent(1, &tokens[1], "victim");
        }
    }
    is_over.store(true, Relaxed);
    for caller in callers {
        caller.await.expect("no panic");
    }
    storm.settled(2).await;

    let acknowledged = acknowledged.lock().expect("no panic").clone();
    let log = storm.log().await;
    for (offset, id) in &acknowledged {
        assert_eq!(log.get(offset), Some(id), "offset {offset} after all kills");
    }
    let seen = storm.end(witness, "witness");
    let offsets: Vec<_> = seen.keys().copied().collect();
    let all: Vec<_> = log.keys().copied().collect();
    assert_eq!(offsets, all, "the PoP that lived applied each purge of the log once, in order");
    drop((control, victim));
}

impl Storm {
    fn new() -> Self {
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
        let ca = reqwest::Certificate::from_pem(ca.as_bytes()).expect("pem");
        let http = reqwest::Client::builder().tls_certs_only([ca]).build().expect("a client");
        // It comes back where it was; nothing else takes these meanwhile but by a great chance.
        let free = || {
            TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("bound").port()
        };
        let (api, sync) = (free(), free());
        Self { folder, api, sync, token, http }
    }

    async fn control(&self) -> Killed {
        let child = Command::new(program("tidegate-control"))
            .arg("serve")
            .args(["--api", &format!("127.0.0.1:{}", self.api)])
            .args(["--sync", &format!("127.0.0.1:{}", self.sync)])
            .arg("--data-dir")
            .arg(self.folder.path().join("data"))
            .args(["--set", "process.log_level=error"])
            .stdin(Stdio::null())
            .spawn();
        let child = Killed(child.expect("the program"));
        until("the API answers", async || self.call("GET", "/v1/pops", &Value::Null).await).await;
        child
    }

    async fn prepare(&self, pops: usize) -> Vec<String> {
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

    fn agent(&self, pop: usize, token: &str, name: &str) -> Killed {
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
    async fn settled(&self, pops: usize) {
        until("every PoP has caught up", async || {
            let lag = self.call("GET", "/v1/purges/lag", &Value::Null).await?;
            let items = lag["items"].as_array()?;
            let is_there = |item: &&Value| item["lag"] == 0 && item["subscriptions"] != 0;
            (items.iter().filter(is_there).count() == pops).then_some(())
        })
        .await;
    }

    /// Every purge that the control plane knows.
    async fn log(&self) -> BTreeMap<u64, String> {
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
    fn end(&self, mut agent: Killed, name: &str) -> BTreeMap<u64, u64> {
        drop(agent.0.stdin.take());
        assert!(agent.0.wait().expect("it runs").success());
        let text = fs::read_to_string(self.folder.path().join(name)).expect("written");
        let line = |line: &str| {
            let (offset, ns) = line.split_once(' ').expect("two numbers");
            (offset.parse().expect("a number"), ns.parse().expect("a number"))
        };
        text.lines().map(line).collect()
    }

    async fn call(&self, method: &str, path: &str, body: &Value) -> Option<Value> {
        let url = format!("https://localhost:{}{path}", self.api);
        let request = self.http.request(method.parse().expect("a method"), url);
        let request = request.bearer_auth(&self.token);
        let request = if body.is_null() { request } else { request.json(body) };
        let response = request.send().await.ok()?.error_for_status().ok()?;
        response.json().await.ok()
    }
}

/// Asks again and again, within a limit.
async fn until<T>(what: &str, mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    let end = Instant::now() + LIMIT;
    loop {
        if let Some(answer) = ask().await {
            return answer;
        }
        assert!(Instant::now() < end, "{what}: not within {LIMIT:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// A program that was built with this test: beside it, or where the environment says.
fn program(name: &str) -> PathBuf {
    let own = Path::new(env!("CARGO_BIN_EXE_tidegate-bench-purge"));
    let folder = env::var_os("TIDEGATE_BIN_DIR").map(PathBuf::from);
    let folder = folder.unwrap_or_else(|| own.parent().expect("a folder").to_owned());
    folder.join(name)
}

const LIMIT: Duration = Duration::from_secs(90);

//! A whole system as `tidegate dev up` starts it, and its processes one by one: killed, stopped, started again.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    time::Duration,
};

use serde::Deserialize;
use serde_json::Value;
use tempfile::TempDir;

use crate::{
    tus::Uploader,
    viewer::{PROTOCOLS, Protocol, Viewer},
    wait::{PATIENCE, until},
};

/// A running system in a folder of its own.
pub struct System {
    pub ready: Ready,
    pub ca_pem: String,
    folder: TempDir,
    dev: Child,
    /// Programs that a story started again after it killed them.
    again: BTreeMap<String, Child>,
    /// Processes that took over from others: nobody's children.
    followed: Vec<u32>,
}

/// What `tidegate dev up` tells scripts.
#[derive(Debug, Clone, Deserialize)]
pub struct Ready {
    pub ca_cert: PathBuf,
    pub origin: String,
    pub upload_url: String,
    pub api_token_file: PathBuf,
    pub control_plane: String,
    pub cli_context: PathBuf,
    pub dns: String,
    pub dns_name: String,
    pub pops: Vec<Pop>,
}

#[derive(Debug, Clone, Deserialize)]
pub struct Pop {
    pub name: String,
    pub role: String,
    pub authority: String,
    pub http_authority: String,
    pub admin: String,
}

impl System {
    /// Starts everything without a clip, with fast settings.
    pub async fn start() -> Self {
        tidegate_chassis::init_crypto();
        let folder = tempfile::tempdir().unwrap();
        let (dev, ready) = start_in(folder.path()).await;
        let ca_pem = fs::read_to_string(&ready.ca_cert).unwrap();
        Self { ready, ca_pem, folder, dev, again: BTreeMap::new(), followed: Vec::new() }
    }

    /// `kill -9` for `tidegate dev up` alone: it must take all its children with it. Then it starts again on the
    /// data that is there.
    pub async fn crash_and_start_again(&mut self) {
        let names = fs::read_dir(self.data().join("ready")).unwrap();
        let pid_files = names.map(|entry| entry.unwrap().path());
        let pids: Vec<u32> = pid_files
            .filter(|path| path.extension().is_some_and(|extension| extension == "pid"))
            .map(|path| fs::read_to_string(path).unwrap().trim().parse().unwrap())
            .collect();
        for mut child in std::mem::take(&mut self.again).into_values() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
        self.dev.kill().unwrap();
        self.dev.wait().unwrap();
        until("no child is left", PATIENCE, || async {
            (!pids.iter().any(|pid| is_running(*pid))).then_some(())
        })
        .await;
        (self.dev, self.ready) = start_in(self.folder.path()).await;
    }

    /// Ends everything in order.
    pub async fn stop(mut self) {
        for child in self.again.values_mut() {
            let _ = child.kill();
            let _ = child.wait();
        }
        signal(self.dev.id(), "TERM");
        let status = until("the system ends", PATIENCE, || {
            let status = self.dev.try_wait().unwrap();
            async move { status }
        })
        .await;
        assert!(status.success(), "{status}");
    }

    pub fn edges(&self) -> impl Iterator<Item = &Pop> {
        self.ready.pops.iter().filter(|pop| pop.role == "edge")
    }

    pub fn pop(&self, name: &str) -> &Pop {
        self.ready.pops.iter().find(|pop| pop.name == name).unwrap()
    }

    /// A client that believes the system's authority.
    pub fn viewer(&self, protocol: Protocol) -> Viewer {
        Viewer::new(protocol, &self.ca_pem)
    }

    /// One viewer for each protocol at each edge: who sees what a player anywhere would see.
    pub fn everywhere(&self) -> Vec<(String, Viewer)> {
        let at = |pop: &Pop| {
            let authority = pop.authority.clone();
            PROTOCOLS.map(|protocol| (authority.clone(), self.viewer(protocol)))
        };
        self.edges().flat_map(at).collect()
    }

    pub fn uploader(&self) -> Uploader {
        let token = fs::read_to_string(&self.ready.api_token_file).unwrap();
        Uploader::new(&self.ready.origin, token.trim())
    }

    /// Where the object store keeps an object.
    pub fn object(&self, key: &str) -> PathBuf {
        self.data().join("state/objects").join(key)
    }

    pub fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// Runs the operators' CLI.
    pub async fn tidegate(&self, arguments: &[&str]) -> Output {
        tokio::process::Command::new(program("tidegate"))
            .arg("--context-file")
            .arg(&self.ready.cli_context)
            .args(arguments)
            .stdin(Stdio::null())
            .output()
            .await
            .unwrap()
    }

    /// Runs the CLI and reads the JSON that it prints.
    pub async fn tidegate_json(&self, arguments: &[&str]) -> Value {
        let (code, value) = self.tidegate_says(arguments).await;
        assert_eq!(code, 0, "tidegate {arguments:?}: {value}");
        value
    }

    /// The exit code of the CLI and the JSON that it prints: a condition that is not met is an answer, too.
    pub async fn tidegate_says(&self, arguments: &[&str]) -> (i32, Value) {
        let output = self.tidegate(&[&["-o", "json"], arguments].concat()).await;
        let value = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| {
            let text = String::from_utf8_lossy(&output.stderr);
            panic!("tidegate {arguments:?}: {}: no JSON ({error}): {text}", output.status);
        });
        (output.status.code().unwrap_or(-1), value)
    }

    /// One number of a PoP's metrics, summed over its labels.
    pub async fn metric(&self, pop: &str, name: &str) -> f64 {
        let url = format!("http://{}/metrics", self.pop(pop).admin);
        let text = reqwest::get(url).await.unwrap().text().await.unwrap();
        let values = text.lines().filter_map(|line| {
            let (series, value) = line.rsplit_once(' ')?;
            let is_it = series == name || series.starts_with(&format!("{name}{{"));
            is_it.then(|| value.parse::<f64>().unwrap())
        });
        values.sum()
    }

    /// `kill -9`.
    pub async fn kill(&mut self, name: &str) {
        let pid = self.pid(name);
        signal(pid, "KILL");
        if let Some(mut child) = self.again.remove(name) {
            child.wait().unwrap();
        }
        until("the process is gone", PATIENCE, || async { (!is_running(pid)).then_some(()) }).await;
    }

    /// Stops a process without ending it: for everybody else it is cut off.
    pub fn freeze(&self, name: &str) {
        signal(self.pid(name), "STOP");
    }

    pub fn thaw(&self, name: &str) {
        signal(self.pid(name), "CONT");
    }

    /// Asks a program to hand over to a new process of itself, and waits until that is ready; the old one's number.
    pub async fn upgrade(&mut self, name: &str) -> u32 {
        let old = self.pid(name);
        let ready = self.data().join(format!("ready/{name}.json"));
        signal(old, "USR2");
        let new = until("a new process is ready", START_TIME_MAX, || async {
            let ready: Value = serde_json::from_slice(&fs::read(&ready).ok()?).ok()?;
            u32::try_from(ready["pid"].as_u64()?).ok().filter(|new| *new != old)
        })
        .await;
        self.followed.push(new);
        fs::write(ready.with_extension("pid"), new.to_string()).unwrap();
        old
    }

    /// Starts a program that was killed, with the settings it had, and waits until it is ready.
    pub async fn start_again(&mut self, name: &str) {
        let (binary, verb): (&str, &[&str]) = match name {
            "control" => ("tidegate-control", &["serve"]),
            "origin" => ("tidegate-origin", &["serve"]),
            "packager" => ("tidegate-packager", &[]),
            "geo" => ("tidegate-geo", &["serve"]),
            _ => ("tidegate-edge", &["serve"]),
        };
        let data = self.data();
        let ready = data.join(format!("ready/{name}.json"));
        let _ = fs::remove_file(&ready);
        let log = File::options().append(true).open(data.join(format!("log/{name}.log"))).unwrap();
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "--"]).arg(program(binary)).args(verb);
        command.arg("--config").arg(data.join(format!("config/{name}.toml")));
        for setting in SETTINGS {
            if let Some((program, setting)) = setting.split_once(':')
                && program == name
            {
                command.args(["--set", setting]);
            }
        }
        let child = command.stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap();
        fs::write(ready.with_extension("pid"), child.id().to_string()).unwrap();
        let child = self.again.entry(name.to_owned()).insert_entry(child).into_mut();
        until("the program is ready again", START_TIME_MAX, || {
            let ended = child.try_wait().unwrap();
            assert!(ended.is_none(), "{name} ended: {ended:?}");
            let is_ready = ready.exists();
            async move { is_ready.then_some(()) }
        })
        .await;
    }

    /// The ends of all logs, for whoever has to find out what went wrong.
    pub fn print_logs(&self) {
        let logs = fs::read_dir(self.data().join("log")).into_iter().flatten().flatten();
        let own = self.folder.path().join("dev.log");
        for path in logs.map(|entry| entry.path()).chain([own]) {
            let text = fs::read(&path).unwrap_or_default();
            let text = String::from_utf8_lossy(&text);
            let lines: Vec<_> = text.lines().collect();
            println!("-- {}", path.display());
            for line in &lines[lines.len().saturating_sub(LOG_LINES)..] {
                println!("   {line}");
            }
        }
    }

    /// The number of a program's process.
    pub fn pid(&self, name: &str) -> u32 {
        let file = self.data().join(format!("ready/{name}.pid"));
        fs::read_to_string(file).unwrap().trim().parse().unwrap()
    }
}

impl Drop for System {
    fn drop(&mut self) {
        for child in self.again.values_mut() {
            let _ = child.kill();
        }
        for pid in self.followed.iter().filter(|pid| is_running(**pid)) {
            signal(*pid, "KILL");
        }
        let _ = self.dev.kill();
        let _ = self.dev.wait();
    }
}

async fn start_in(folder: &Path) -> (Child, Ready) {
    let data = folder.join("data");
    let _ = fs::remove_file(data.join("ready.json"));
    let log_file = folder.join("dev.log");
    let log = File::create(&log_file).unwrap();
    let mut command = Command::new("setpriv");
    command
        .args(["--pdeathsig", "TERM", "--"])
        .arg(program("tidegate"))
        .args(["dev", "up", "--no-clip", "--keep-going", "--data"])
        .arg(&data)
        .stdin(Stdio::null())
        .stdout(log.try_clone().unwrap())
        .stderr(log);
    for setting in SETTINGS {
        command.args(["--set", setting]);
    }
    let web = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../origin/web/dist");
    if web.exists() {
        command.arg("--web-root").arg(web);
    }
    let mut dev = command.spawn().unwrap();
    let ready = until("the system is up", START_TIME_MAX, || {
        let ended = dev.try_wait().unwrap();
        assert!(ended.is_none(), "{}", fs::read_to_string(&log_file).unwrap());
        let text = fs::read(data.join("ready.json")).ok();
        async move { text.map(|text| serde_json::from_slice::<Ready>(&text).unwrap()) }
    })
    .await;
    (dev, ready)
}

/// A program as it was built with this test: beside the test's own executable, or where the environment says.
pub fn program(name: &str) -> PathBuf {
    let folder = match std::env::var_os("TIDEGATE_BIN_DIR") {
        Some(folder) => PathBuf::from(folder),
        None => {
            let own = std::env::current_exe().unwrap();
            own.ancestors().nth(2).unwrap().to_owned()
        }
    };
    let path = folder.join(name);
    assert!(path.exists(), "{} is missing: `cargo build --workspace --bins` first", path.display());
    path
}

fn signal(pid: u32, name: &str) {
    let status = Command::new("kill").args(["-s", name, &pid.to_string()]).status().unwrap();
    assert!(status.success(), "kill -s {name} {pid}: {status}");
}

/// A process that is dead but not waited for still has a number; it counts as gone when its last thread is: only
/// then are its sockets closed.
#[must_use]
pub fn is_running(pid: u32) -> bool {
    let process = Path::new("/proc").join(pid.to_string());
    let Ok(stat) = fs::read_to_string(process.join("stat")) else { return false };
    let is_dead = stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('Z'));
    let threads = fs::read_dir(process.join("task")).map_or(0, Iterator::count);
    !is_dead || threads > 1
}

/// Fast encoders, short leases: a story is about what happens, not about how good the picture is.
const SETTINGS: [&str; 5] = [
    "packager:ladder.h264_preset=ultrafast",
    "packager:ladder.hevc=false",
    "packager:jobs.poll=200ms",
    "origin:package.lease=4s",
    "origin:package.retry_backoff=200ms",
];
/// Lines of each log that a failure shows.
const LOG_LINES: usize = 15;
/// Debug builds on a busy machine.
const START_TIME_MAX: Duration = Duration::from_secs(180);

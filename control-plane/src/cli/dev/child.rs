//! The programs of the system as child processes: started, watched, and stopped in reverse order.
//!
//! A child never outlives this process: `setpriv` asks the kernel to kill it when its parent dies, however that
//! happens. A child that ends by itself ends everything; nothing is restarted silently.

use std::{
    ffi::OsString,
    fs::{self, File},
    io::{Read, Seek, SeekFrom},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    time::Duration,
};

use anyhow::{Context, bail};
use serde::Deserialize;
use tokio::{
    process::Command,
    sync::{mpsc, oneshot},
    task::JoinHandle,
    time::{sleep, timeout},
};

/// What is to be started.
pub(super) struct Spec {
    /// The child's name: in messages, and of its log file.
    pub(super) name: String,
    pub(super) program: PathBuf,
    pub(super) arguments: Vec<OsString>,
    pub(super) log: PathBuf,
    /// The program writes this file once it serves; its process id stands beside it, for people and scripts.
    pub(super) ready_file: PathBuf,
}

/// What a program says once it serves.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Ready {
    pub(super) admin: Option<SocketAddr>,
}

/// A child that ended.
pub(super) struct Death {
    name: String,
    status: String,
    log: PathBuf,
}

/// All children, in the order of their start.
pub(super) struct Children {
    running: Vec<Running>,
    died: mpsc::Sender<Death>,
    deaths: mpsc::Receiver<Death>,
}

struct Running {
    name: String,
    admin: Option<SocketAddr>,
    kill: oneshot::Sender<()>,
    watching: JoinHandle<()>,
}

impl Children {
    pub(super) fn new() -> Self {
        let (died, deaths) = mpsc::channel(CHILDREN_MAX);
        Self { running: Vec::new(), died, deaths }
    }

    /// Starts a program and waits until it serves.
    ///
    /// # Errors
    /// When it cannot be started, or it (or another child) ends instead, or [`START_TIME_MAX`] passes.
    pub(super) async fn start(&mut self, spec: Spec) -> anyhow::Result<Ready> {
        let _ = fs::remove_file(&spec.ready_file);
        self.running.push(spawn(&spec, self.died.clone())?);
        let ready = tokio::select! {
            ready = until_ready(&spec.ready_file) => ready,
            death = self.death() => bail!(death.explain()),
            () = sleep(START_TIME_MAX) => {
                bail!("{} did not get ready; its last lines:\n{}", spec.name, tail(&spec.log));
            }
        };
        if let Some(child) = self.running.last_mut() {
            child.admin = ready.admin;
        }
        Ok(ready)
    }

    /// Waits until any child ends by itself.
    pub(super) async fn death(&mut self) -> Death {
        self.deaths.recv().await.expect("this struct holds a sender")
    }

    /// Stops all, the last started first, each after it has finished what it was doing.
    pub(super) async fn stop(&mut self) {
        while let Some(child) = self.running.pop() {
            child.stop().await;
        }
    }
}

impl Running {
    async fn stop(self) {
        let Self { name, admin, kill, mut watching } = self;
        if watching.is_finished() {
            return;
        }
        let is_asked = match admin {
            Some(admin) => ask_to_drain(admin).await,
            None => false,
        };
        if is_asked && timeout(DRAIN_TIME_MAX, &mut watching).await.is_ok() {
            return;
        }
        if is_asked {
            tracing::warn!(child = name, "did not end in time and is killed");
        }
        let _ = kill.send(());
        let _ = watching.await;
    }
}

impl Death {
    /// What to tell the person at the terminal.
    pub(super) fn explain(&self) -> String {
        let Self { name, status, log } = self;
        format!(
            "{name} ended by itself ({status}); the last lines of {}:\n{}",
            log.display(),
            tail(log)
        )
    }
}

fn spawn(spec: &Spec, died: mpsc::Sender<Death>) -> anyhow::Result<Running> {
    let log =
        File::create(&spec.log).with_context(|| format!("cannot write {}", spec.log.display()))?;
    let mut child = Command::new("setpriv")
        .args(["--pdeathsig", "KILL", "--"])
        .arg(&spec.program)
        .args(&spec.arguments)
        .stdin(Stdio::null())
        .stdout(log.try_clone().context("cannot use the log file twice")?)
        .stderr(log)
        // Ctrl-C on the terminal is for this process, which then stops its children in order.
        .process_group(0)
        .kill_on_drop(true)
        .spawn()
        .with_context(|| format!("cannot start {} (by setpriv of util-linux)", spec.name))?;
    if let Some(pid) = child.id() {
        let file = spec.ready_file.with_extension("pid");
        fs::write(&file, format!("{pid}\n"))
            .with_context(|| format!("cannot write {}", file.display()))?;
    }
    let (kill, killed) = oneshot::channel();
    let (name, log) = (spec.name.clone(), spec.log.clone());
    let watching = tokio::spawn(async move {
        tokio::select! {
            status = child.wait() => {
                let status = status_text(status.as_ref());
                let _ = died.send(Death { name, status, log }).await;
            }
            _ = killed => {
                let _ = child.kill().await;
            }
        }
    });
    Ok(Running { name: spec.name.clone(), admin: None, kill, watching })
}

async fn until_ready(file: &Path) -> Ready {
    loop {
        // Written whole and renamed by the program, so what can be read is complete.
        if let Ok(text) = fs::read(file)
            && let Ok(ready) = serde_json::from_slice(&text)
        {
            return ready;
        }
        sleep(READY_LOOK_INTERVAL).await;
    }
}

async fn ask_to_drain(admin: SocketAddr) -> bool {
    let client = reqwest::Client::new();
    let asked =
        client.post(format!("http://{admin}/drain")).timeout(DRAIN_ASK_TIME_MAX).send().await;
    asked.is_ok_and(|answer| answer.status().is_success())
}

fn status_text(status: Result<&ExitStatus, &std::io::Error>) -> String {
    match status {
        Ok(status) => status.to_string(),
        Err(error) => error.to_string(),
    }
}

/// The last lines of a log.
fn tail(log: &Path) -> String {
    let read = || -> std::io::Result<String> {
        let mut file = File::open(log)?;
        let bytes = file.metadata()?.len();
        file.seek(SeekFrom::Start(bytes.saturating_sub(TAIL_BYTES)))?;
        let mut text = Vec::new();
        file.read_to_end(&mut text)?;
        Ok(String::from_utf8_lossy(&text).into_owned())
    };
    let text = read().unwrap_or_else(|error| error.to_string());
    let lines: Vec<_> = text.lines().collect();
    let from = lines.len().saturating_sub(TAIL_LINES);
    lines[from..].iter().map(|line| format!("    {line}\n")).collect()
}

/// More than the system has programs.
const CHILDREN_MAX: usize = 64;
/// A debug build on a busy machine enrols and opens its stores within this time.
const START_TIME_MAX: Duration = Duration::from_secs(120);
/// What a child may take to finish open exchanges before it is killed.
const DRAIN_TIME_MAX: Duration = Duration::from_secs(10);
const DRAIN_ASK_TIME_MAX: Duration = Duration::from_secs(2);
const READY_LOOK_INTERVAL: Duration = Duration::from_millis(20);
const TAIL_BYTES: u64 = 16 * 1024;
const TAIL_LINES: usize = 20;

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(folder: &Path, script: &str) -> Spec {
        let ready_file = folder.join("ready.json");
        Spec {
            name: "child".to_owned(),
            program: "sh".into(),
            arguments: vec![
                "-c".into(),
                script.replace("READY", &ready_file.to_string_lossy()).into(),
            ],
            log: folder.join("child.log"),
            ready_file,
        }
    }

    #[tokio::test]
    async fn a_child_that_ends_is_reported_with_its_last_lines() {
        let folder = tempfile::tempdir().unwrap();
        let mut children = Children::new();
        let started = children.start(spec(folder.path(), "echo no disk; exit 3")).await;
        let text = format!("{:#}", started.unwrap_err());
        assert!(text.contains("exit status: 3") && text.contains("no disk"), "{text}");
    }

    #[tokio::test]
    async fn a_ready_child_runs_until_it_is_stopped() {
        let folder = tempfile::tempdir().unwrap();
        let mut children = Children::new();
        let script = r#"echo '{"admin":null,"listeners":{}}' > READY; sleep 1000"#;
        let ready = children.start(spec(folder.path(), script)).await.unwrap();
        assert_eq!(ready.admin, None);
        children.stop().await;
        assert!(
            children.deaths.try_recv().is_err(),
            "a child that was stopped did not die by itself"
        );
    }
}

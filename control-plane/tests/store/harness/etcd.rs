//! A real etcd on free ports of this machine.

use std::{
    net::{SocketAddr, TcpListener},
    path::Path,
    process::Stdio,
};

use tempfile::TempDir;
use tokio::process::{Child, Command};

use super::until;

/// An etcd of one member; killed when dropped.
pub(crate) struct Etcd {
    child: Child,
    folder: TempDir,
    client: SocketAddr,
    peer: SocketAddr,
}

impl Etcd {
    /// Starts one; `None`, and loudly, where the program is not installed.
    pub(crate) async fn start() -> Option<Self> {
        tidegate_chassis::init_crypto();
        let Ok(found) = std::process::Command::new(PROGRAM).arg("--version").output() else {
            // Whoever reads the tests must see it.
            #[allow(clippy::print_stderr)]
            {
                eprintln!("SKIPPED: {PROGRAM} is not installed (Debian: etcd-server)");
            }
            return None;
        };
        assert!(found.status.success());
        // A port that was free a moment ago may be taken: then etcd ends, and others are tried.
        until(async || {
            let folder = tempfile::tempdir().expect("a folder");
            let (client, peer) = (free(), free());
            let child = spawn(folder.path(), client, peer);
            let mut etcd = Self { child, folder, client, peer };
            etcd.is_ready().await.then_some(etcd)
        })
        .await
        .into()
    }

    /// What a control plane is told.
    pub(crate) fn url(&self) -> String {
        format!("etcd:http://{}", self.client)
    }

    /// Kills it where it stands and starts it anew on what it wrote.
    pub(crate) async fn restart(&mut self) {
        self.child.kill().await.expect("it runs");
        self.child = spawn(self.folder.path(), self.client, self.peer);
        assert!(self.is_ready().await, "its ports were free until now");
    }

    async fn is_ready(&mut self) -> bool {
        until(async || {
            if self.child.try_wait().expect("a child").is_some() {
                return Some(false);
            }
            let health = reqwest::get(format!("http://{}/health", self.client)).await.ok()?;
            health.text().await.ok()?.contains("true").then_some(true)
        })
        .await
    }
}

fn spawn(folder: &Path, client: SocketAddr, peer: SocketAddr) -> Child {
    let (client, peer) = (format!("http://{client}"), format!("http://{peer}"));
    Command::new(PROGRAM)
        .arg("--data-dir")
        .arg(folder)
        .args(["--name", "one", "--log-level", "error", "--logger", "zap"])
        .args(["--listen-client-urls", &client, "--advertise-client-urls", &client])
        .args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer])
        .args(["--initial-cluster", &format!("one={peer}")])
        .kill_on_drop(true)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("etcd")
}

fn free() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("bound")
}

const PROGRAM: &str = "etcd";

//! A real etcd on free ports of this machine: one member, or three over TLS that know each other by certificate.
//!
//! Nobody but who shows a certificate of the cluster's authority is let into a cluster over TLS.

use std::{net::SocketAddr, path::Path, process::Stdio};

use tempfile::TempDir;
use tidegate_control::store::Config;
use tokio::{
    net::TcpSocket,
    process::{Child, Command},
};

use super::{cluster_tls::ClusterTls, until};

/// A cluster; killed when dropped.
pub(crate) struct Etcd {
    members: Vec<Member>,
    tls: Option<ClusterTls>,
    folder: TempDir,
}

struct Member {
    client: SocketAddr,
    peer: SocketAddr,
    /// Where it says without TLS how it is.
    state: SocketAddr,
    child: Option<Child>,
    /// What keeps its ports from being given to anybody else, also while it is dead.
    _held: [TcpSocket; 3],
}

impl Etcd {
    /// Starts one member; `None`, and loudly, where the program is not installed.
    pub(crate) async fn start() -> Option<Self> {
        Self::start_members(1, false).await
    }

    /// Starts three members over TLS, or says as [`Self::start`] why not.
    pub(crate) async fn start_three() -> Option<Self> {
        Self::start_members(3, true).await
    }

    async fn start_members(count: usize, is_tls: bool) -> Option<Self> {
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
            let tls = is_tls.then(|| ClusterTls::make(folder.path()));
            let members = (0..count).map(|_| Member::planned()).collect();
            let mut etcd = Self { members, tls, folder };
            (0..count).for_each(|n| etcd.spawn(n));
            etcd.are_ready().await.then_some(etcd)
        })
        .await
        .into()
    }

    /// What a control plane is told.
    pub(crate) fn config(&self) -> Config {
        let mut config = Config { url: self.url(), ..Config::default() };
        if let Some(tls) = &self.tls {
            config.etcd.ca_file = Some(tls.authority.clone());
            config.etcd.certificate_file = Some(tls.client.certificate.clone());
            config.etcd.key_file = Some(tls.client.key.clone());
        }
        config
    }

    fn url(&self) -> String {
        let members: Vec<_> = self.members.iter().map(|member| self.http(member.client)).collect();
        format!("etcd:{}", members.join(","))
    }

    /// The member that leads the others.
    pub(crate) async fn leader(&self) -> usize {
        until(async || {
            for (n, member) in self.members.iter().enumerate() {
                let metrics = member.asks("metrics").await.unwrap_or_default();
                if member.child.is_some() && metrics.contains("\netcd_server_is_leader 1\n") {
                    return Some(n);
                }
            }
            None
        })
        .await
    }

    /// Kills a member where it stands.
    pub(crate) async fn kill(&mut self, n: usize) {
        let mut child = self.members[n].child.take().expect("it runs");
        child.kill().await.expect("it runs");
    }

    /// Starts a killed member anew on what it wrote.
    pub(crate) async fn revive(&mut self, n: usize) {
        self.spawn(n);
        assert!(self.are_ready().await, "its ports were free until now");
    }

    /// Kills all and starts them anew on what they wrote.
    pub(crate) async fn restart(&mut self) {
        self.kill_all().await;
        self.spawn_all().await;
    }

    /// Stops it, keeps what it wrote, and starts it anew: a snapshot.
    pub(crate) async fn snapshot(&mut self) -> TempDir {
        self.kill_all().await;
        let kept = tempfile::tempdir().expect("a folder");
        copy(self.folder.path(), kept.path()).await;
        self.spawn_all().await;
        kept
    }

    /// Stops it, puts a snapshot in the place of what it wrote, and starts it anew.
    pub(crate) async fn restore(&mut self, snapshot: &TempDir) {
        self.kill_all().await;
        for n in 0..self.members.len() {
            let place = self.folder.path().join(n.to_string());
            std::fs::remove_dir_all(place).expect("there");
        }
        copy(snapshot.path(), self.folder.path()).await;
        self.spawn_all().await;
    }

    async fn kill_all(&mut self) {
        for n in 0..self.members.len() {
            self.kill(n).await;
        }
    }

    async fn spawn_all(&mut self) {
        (0..self.members.len()).for_each(|n| self.spawn(n));
        assert!(self.are_ready().await, "their ports were free until now");
    }

    /// Whether all members that should run do; a member that ends is not ready.
    async fn are_ready(&mut self) -> bool {
        for member in &mut self.members {
            let is_ready = until(async || {
                let child = member.child.as_mut()?;
                if child.try_wait().expect("a child").is_some() {
                    return Some(false);
                }
                member.asks("health").await?.contains("true").then_some(true)
            });
            if !is_ready.await {
                return false;
            }
        }
        true
    }

    fn http(&self, address: SocketAddr) -> String {
        format!("{}://{address}", if self.tls.is_some() { "https" } else { "http" })
    }

    fn spawn(&mut self, n: usize) {
        let child = self.command(n).spawn().expect("etcd");
        self.members[n].child = Some(child);
    }

    fn command(&self, n: usize) -> Command {
        let member = &self.members[n];
        let (client, peer) = (self.http(member.client), self.http(member.peer));
        let everybody: Vec<_> = (self.members.iter().enumerate())
            .map(|(n, member)| format!("m{n}={}", self.http(member.peer)))
            .collect();
        let mut command = Command::new(PROGRAM);
        command
            .arg("--data-dir")
            .arg(self.folder.path().join(n.to_string()))
            .args(["--name", &format!("m{n}"), "--log-level", "error", "--logger", "zap"])
            .args(["--listen-client-urls", &client, "--advertise-client-urls", &client])
            .args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer])
            .args(["--listen-metrics-urls", &format!("http://{}", member.state)])
            .args(["--initial-cluster", &everybody.join(",")])
            .kill_on_drop(true)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        if let Some(tls) = &self.tls {
            for whose in ["", "peer-"] {
                let file = |command: &mut Command, name: &str, file: &Path| {
                    command.arg(format!("--{whose}{name}")).arg(file);
                };
                file(&mut command, "cert-file", &tls.member.certificate);
                file(&mut command, "key-file", &tls.member.key);
                file(&mut command, "trusted-ca-file", &tls.authority);
                command.arg(format!("--{whose}client-cert-auth"));
            }
        }
        command
    }
}

impl Member {
    fn planned() -> Self {
        let [client, peer, state] = [(); 3].map(|()| held());
        let _held = [client.0, peer.0, state.0];
        Self { client: client.1, peer: peer.1, state: state.1, child: None, _held }
    }

    async fn asks(&self, what: &str) -> Option<String> {
        let answer = reqwest::get(format!("http://{}/{what}", self.state)).await.ok()?;
        answer.text().await.ok()
    }
}

async fn copy(from: &Path, to: &Path) {
    let (from, to) = (from.join("."), to.to_owned());
    let copied = Command::new("cp").arg("-a").arg(from).arg(to).status().await;
    assert!(copied.expect("cp").success());
}

/// A socket that never listens: nobody is given its port, and who sets `SO_REUSEADDR` may listen there all the same.
fn held() -> (TcpSocket, SocketAddr) {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.set_reuseaddr(true).expect("possible");
    socket.bind(([127, 0, 0, 1], 0).into()).expect("a free port");
    let address = socket.local_addr().expect("bound");
    (socket, address)
}

const PROGRAM: &str = "etcd";

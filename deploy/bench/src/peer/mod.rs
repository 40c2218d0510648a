//! Starts and stops the servers that are compared, each with one worker on the servers' CPU.

mod edge;
mod h2o;
mod haproxy;
mod nginx;

use std::{
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::PathBuf,
    process::{Child, Command},
    time::{Duration, Instant},
};

use anyhow::{Context, Result};

use crate::{core::Cores, load::Protocol, material::Material};

/// How long a server may take until it accepts connections.
const START_MAX: Duration = Duration::from_secs(20);

/// Where the servers' programs are.
pub(crate) struct Programs {
    pub(crate) bin_dir: PathBuf,
    pub(crate) nginx: String,
    pub(crate) haproxy: String,
    pub(crate) h2o: String,
    /// Names of the peers to start; all when empty.
    pub(crate) only: Vec<String>,
}

/// A running server.
pub(crate) struct Peer {
    pub(crate) name: &'static str,
    pub(crate) https: SocketAddr,
    /// Where it takes purges.
    pub(crate) admin: Option<SocketAddr>,
    speaks_h3: bool,
    process: Child,
}

/// Starts one kind of server; `None` when it is not installed.
type Start = fn(&Programs, &Material, Cores) -> Result<Option<Peer>>;

/// Starts the edge alone.
pub(crate) async fn start_edge(
    programs: &Programs,
    material: &Material,
    cores: Cores,
) -> Result<Peer> {
    edge::start(programs, material, cores)?.once_listening().await
}

/// Starts the edge and every peer that is installed.
pub(crate) async fn start_all(
    programs: &Programs,
    material: &Material,
    cores: Cores,
) -> Result<Vec<Peer>> {
    let is_wanted =
        |name: &str| programs.only.is_empty() || programs.only.iter().any(|n| n == name);
    let mut peers = vec![start_edge(programs, material, cores).await?];
    let starts: [(&str, Start); 3] =
        [("nginx", nginx::start), ("haproxy", haproxy::start), ("h2o", h2o::start)];
    for (name, start) in starts.into_iter().filter(|(name, _)| is_wanted(name)) {
        match start(programs, material, cores)? {
            Some(peer) => peers.push(peer.once_listening().await?),
            None => println!("{name} is not installed and left out"),
        }
    }
    Ok(peers)
}

impl Peer {
    pub(crate) fn speaks(&self, protocol: Protocol) -> bool {
        protocol != Protocol::H3 || self.speaks_h3
    }

    pub(crate) fn pid(&self) -> u32 {
        self.process.id()
    }

    async fn once_listening(mut self) -> Result<Self> {
        let end = Instant::now() + START_MAX;
        while tokio::net::TcpStream::connect(self.https).await.is_err() {
            if let Some(status) = self.process.try_wait()? {
                anyhow::bail!("{} ended with {status} before it listened", self.name);
            }
            anyhow::ensure!(Instant::now() < end, "{} does not listen", self.name);
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Ok(self)
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // all end cleanly on SIGTERM; std can only send SIGKILL, which nginx's workers notice
        let _ = Command::new("kill").arg(self.process.id().to_string()).status();
        let _ = self.process.wait();
    }
}

fn free_address() -> Result<SocketAddr> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?)
}

/// What a program prints when it is asked for its version; `None` when it is not there.
fn version(program: &str, flag: &str) -> Option<String> {
    let output = Command::new(program).arg(flag).output().ok()?;
    Some(String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned())
}

/// A configuration file in the folder of this run.
fn write(material: &Material, name: &str, text: &str) -> Result<PathBuf> {
    let path = material.dir.path().join(name);
    std::fs::write(&path, text).with_context(|| format!("writing {}", path.display()))?;
    Ok(path)
}

/// The cipher of the comparison, as servers call it.
const CIPHER: &str = "TLS_AES_128_GCM_SHA256";

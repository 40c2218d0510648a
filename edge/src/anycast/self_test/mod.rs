//! Does this node serve? Real requests to its own public listeners, the disk, the interfaces.
//!
//! A request is answered by the same listeners, workers and handshakes as any client's. Invariant: nothing outside of
//! this machine is asked, so that only this node can fail its own test.

mod https; // a request over TLS
mod h3; // the same over QUIC
mod disk; // a write and a read
mod nic; // are interfaces up?
mod verdict; // good or bad, with hysteresis
mod trust; // any certificate will do

use std::{
    collections::BTreeSet,
    net::SocketAddr,
    path::PathBuf,
    time::{Duration, Instant},
};

use serde::{Deserialize, Serialize};
use tidegate_contract::telemetry::Probe;
use tokio::time::timeout;

pub use self::verdict::Verdict;
use self::{disk::Disk, h3::H3Client, https::HttpsClient};

/// The settings of section `[self_test]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// The name in SNI and `Host`; absent: `localhost`. Any certificate is taken: an old one is no reason to send
    /// clients elsewhere.
    pub server_name: Option<String>,
    /// The longest that one request may take, the handshake included.
    #[serde(with = "humantime_serde")]
    pub timeout: Duration,
    /// The interfaces that carry clients. Empty: not looked at.
    pub interfaces: Vec<String>,
    /// The longest that the disk of the cache may take for a small write; a busy one is slow and not dead.
    #[serde(with = "humantime_serde")]
    pub disk_timeout: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            server_name: None,
            timeout: Duration::from_millis(450),
            interfaces: Vec::new(),
            disk_timeout: Duration::from_secs(10),
        }
    }
}

/// Where the node's own listeners are.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Places {
    /// TLS over TCP.
    pub https: Option<SocketAddr>,
    /// QUIC.
    pub h3: Option<SocketAddr>,
    /// The folder of the disk tier.
    pub disk: Option<PathBuf>,
}

/// How one probe ended.
#[derive(Debug, Clone)]
pub struct Tried {
    /// Which.
    pub probe: Probe,
    /// Whether it went well.
    pub is_good: bool,
    /// What was found, in a few words.
    pub found: String,
    /// How long it took.
    pub took: Duration,
}

/// What tries.
pub struct SelfTester {
    config: Config,
    places: Places,
    https: HttpsClient,
    h3: Option<H3Client>,
    disk: Option<Disk>,
}

impl SelfTester {
    /// Prepares the probes.
    ///
    /// # Errors
    /// When there is no socket to be had for QUIC.
    pub fn new(config: &Config, places: Places) -> std::io::Result<Self> {
        let name = config.server_name.clone().unwrap_or_else(|| "localhost".to_owned());
        let h3 = match places.h3 {
            Some(address) => Some(H3Client::new(address, &name)?),
            None => None,
        };
        let disk = places.disk.clone().map(|folder| Disk::start(folder, config.disk_timeout));
        Ok(Self { config: config.clone(), https: HttpsClient::new(&name), h3, disk, places })
    }

    /// What fails now. Takes no longer than the timeout.
    pub async fn failed(&self) -> BTreeSet<Probe> {
        let bad = self.tried().await.into_iter().filter(|tried| !tried.is_good);
        bad.map(|tried| tried.probe).collect()
    }

    /// How every probe that this node has ends now. Takes no longer than the timeout.
    pub async fn tried(&self) -> Vec<Tried> {
        let https = async {
            match self.places.https {
                Some(address) => {
                    Some(self.asked(Probe::Https, address, self.https.ask(address)).await)
                }
                None => None,
            }
        };
        let h3 = async {
            match (&self.h3, self.places.h3) {
                (Some(client), Some(address)) => {
                    Some(self.asked(Probe::H3, address, client.ask(address)).await)
                }
                _ => None,
            }
        };
        let (https, h3) = tokio::join!(https, h3);
        let disk = self.disk.as_ref().map(looked_at_disk);
        https.into_iter().chain(h3).chain(disk).chain(self.looked_at_interfaces()).collect()
    }

    async fn asked(
        &self,
        probe: Probe,
        address: SocketAddr,
        asking: impl Future<Output = bool>,
    ) -> Tried {
        let began = Instant::now();
        let is_good = timeout(self.config.timeout, asking).await.unwrap_or(false);
        let found = if is_good {
            format!("{address} answers with status 200")
        } else {
            let limit = self.config.timeout.as_millis();
            format!("{address} does not answer with status 200 within {limit} ms")
        };
        Tried { probe, is_good, found, took: began.elapsed() }
    }

    fn looked_at_interfaces(&self) -> Option<Tried> {
        let names = &self.config.interfaces;
        if names.is_empty() {
            return None;
        }
        let began = Instant::now();
        let down: Vec<_> = names.iter().filter(|name| !nic::is_up(name)).cloned().collect();
        let found = match down.as_slice() {
            [] => format!("up: {}", names.join(", ")),
            down => format!("down: {}", down.join(", ")),
        };
        Some(Tried { probe: Probe::Nic, is_good: down.is_empty(), found, took: began.elapsed() })
    }
}

fn looked_at_disk(disk: &Disk) -> Tried {
    let (found, took) = match disk.last() {
        Ok(last) => {
            let ago = last.ended.elapsed().as_secs();
            let how = if last.is_good { "was written and read" } else { "takes nothing" };
            (format!("the folder of the cache {how}, {ago} s ago"), last.took)
        }
        Err(since) => ("a write into the folder of the cache goes on".to_owned(), since),
    };
    Tried { probe: Probe::Disk, is_good: disk.is_good(), found, took }
}

/// Asks a node anywhere for the local object of its self-test, over TLS.
pub(super) async fn ask(address: SocketAddr, name: Option<&str>, limit: Duration) -> bool {
    timeout(limit, HttpsClient::new(name.unwrap_or("localhost")).ask(address))
        .await
        .unwrap_or(false)
}

/// An address that listens, as it is reached from this machine.
#[must_use]
pub fn reachable(mut address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        address.set_ip(match address {
            SocketAddr::V4(_) => std::net::Ipv4Addr::LOCALHOST.into(),
            SocketAddr::V6(_) => std::net::Ipv6Addr::LOCALHOST.into(),
        });
    }
    address
}

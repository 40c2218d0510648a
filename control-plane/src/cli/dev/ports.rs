//! The ports of the system on this machine: chosen once, kept in a file, so that URLs survive a restart.
//!
//! They lie below the range from which the kernel draws ports for outgoing connections, so a port that is free now
//! is still free when a child binds it.

use std::{
    collections::BTreeMap,
    fs, io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, UdpSocket},
    path::Path,
};

use anyhow::{Context, bail};
use rand::RngExt as _;

/// Ports by the name of what listens there.
pub(super) struct Ports(BTreeMap<String, u16>);

impl Ports {
    /// Reads the ports of the last start, and chooses one for each name that has none or whose port is taken now.
    pub(super) fn choose(file: &Path, names: &[String]) -> anyhow::Result<Self> {
        let known: BTreeMap<String, u16> = match fs::read(file) {
            Ok(text) => serde_json::from_slice(&text)
                .with_context(|| format!("{} does not hold ports", file.display()))?,
            Err(_) => BTreeMap::new(),
        };
        let mut chosen = BTreeMap::new();
        for name in names {
            let port = match known.get(name) {
                Some(port) if is_free(*port) => *port,
                Some(port) => {
                    tracing::warn!(name, port, "this port is taken now; another one is used");
                    free_port(&chosen)?
                }
                None => free_port(&chosen)?,
            };
            chosen.insert(name.clone(), port);
        }
        let text = serde_json::to_vec_pretty(&chosen).context("ports are plain numbers")?;
        fs::write(file, text).with_context(|| format!("cannot write {}", file.display()))?;
        Ok(Self(chosen))
    }

    /// The address of a name.
    ///
    /// # Panics
    /// For a name that was not asked for.
    pub(super) fn address(&self, name: &str) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, self.0[name]))
    }
}

fn free_port(taken: &BTreeMap<String, u16>) -> anyhow::Result<u16> {
    let mut random = rand::rng();
    for _ in 0..TRIES_MAX {
        let port = random.random_range(PORTS);
        if !taken.values().any(|other| *other == port) && is_free(port) {
            return Ok(port);
        }
    }
    bail!("no free port between {} and {}", PORTS.start, PORTS.end)
}

/// Whether both TCP and UDP are free, in every family that this machine has: HTTP/3 shares the number.
fn is_free(port: u16) -> bool {
    let families: [IpAddr; 2] = [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
    families.iter().all(|ip| {
        let is_taken = |error: io::Error| error.kind() == io::ErrorKind::AddrInUse;
        let (tcp, udp) = (TcpListener::bind((*ip, port)), UdpSocket::bind((*ip, port)));
        !tcp.err().is_some_and(is_taken) && !udp.err().is_some_and(is_taken)
    })
}

const PORTS: std::ops::Range<u16> = 20_000..32_000;
const TRIES_MAX: usize = 1_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_kept_and_a_taken_one_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("ports.json");
        let two = ["a", "b"].map(str::to_owned);
        let three = ["a", "b", "c"].map(str::to_owned);
        let first = Ports::choose(&file, &two).unwrap();
        let again = Ports::choose(&file, &three).unwrap();
        assert_eq!(first.address("a"), again.address("a"));

        let _taken = TcpListener::bind(first.address("a")).unwrap();
        let moved = Ports::choose(&file, &two).unwrap();
        assert_ne!(first.address("a"), moved.address("a"));
        assert_eq!(first.address("b"), moved.address("b"));
    }
}

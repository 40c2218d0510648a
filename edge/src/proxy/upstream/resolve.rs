//! Names to addresses, kept for a moment.
//!
//! Invariant: a name that cannot be resolved any more keeps its last addresses; a lookup never waits longer than a
//! connection attempt may.

use std::{
    collections::HashMap,
    io,
    net::SocketAddr,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use tokio::time::timeout;

/// Looks names up and remembers the answers.
pub(super) struct Resolver {
    ttl: Duration,
    wait_max: Duration,
    known: Mutex<HashMap<String, Known>>,
}

#[derive(Clone)]
struct Known {
    at: Instant,
    addresses: Vec<SocketAddr>,
    /// Turns with every use, so that all addresses are used.
    turn: usize,
}

impl Resolver {
    pub(super) fn new(ttl: Duration, wait_max: Duration) -> Self {
        Self { ttl, wait_max, known: Mutex::default() }
    }

    /// An address of `host:port`.
    pub(super) async fn address(&self, authority: &str) -> io::Result<SocketAddr> {
        if let Ok(address) = authority.parse() {
            return Ok(address);
        }
        if let Some(address) = self.remembered(authority, self.ttl) {
            return Ok(address);
        }
        let lookup = async { tokio::net::lookup_host(authority).await.map(Vec::from_iter) };
        let looked_up = timeout(self.wait_max, lookup).await;
        match looked_up.map_err(|_| io::Error::from(io::ErrorKind::TimedOut)).flatten() {
            Ok(addresses) if !addresses.is_empty() => {
                let first = addresses[0];
                self.remember(authority, addresses);
                Ok(first)
            }
            failed => self.remembered(authority, Duration::MAX).ok_or_else(|| match failed {
                Err(error) => error,
                Ok(_) => io::Error::from(io::ErrorKind::NotFound),
            }),
        }
    }

    fn remembered(&self, authority: &str, age_max: Duration) -> Option<SocketAddr> {
        let mut known = self.known();
        let known = known.get_mut(authority).filter(|known| known.at.elapsed() <= age_max)?;
        known.turn = known.turn.wrapping_add(1);
        known.addresses.get(known.turn % known.addresses.len()).copied()
    }

    fn remember(&self, authority: &str, addresses: Vec<SocketAddr>) {
        let mut known = self.known();
        if known.len() >= NAMES_MAX && !known.contains_key(authority) {
            known.clear();
        }
        known.insert(authority.to_owned(), Known { at: Instant::now(), addresses, turn: 0 });
    }

    fn known(&self) -> MutexGuard<'_, HashMap<String, Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Names that are remembered at the same time.
const NAMES_MAX: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    fn resolver(ttl: Duration) -> Resolver {
        Resolver::new(ttl, Duration::from_secs(5))
    }

    #[tokio::test]
    async fn addresses_need_no_lookup_and_names_get_one() {
        let resolver = resolver(Duration::from_secs(60));
        assert_eq!(resolver.address("127.0.0.1:80").await.unwrap(), ([127, 0, 0, 1], 80).into());
        assert!(resolver.address("localhost:80").await.unwrap().ip().is_loopback());
        assert!(resolver.address("no port").await.is_err());
    }

    #[tokio::test]
    async fn old_addresses_are_better_than_none() {
        let resolver = resolver(Duration::ZERO);
        let address = SocketAddr::from(([127, 0, 0, 9], 80));
        resolver.remember("no such name:80", vec![address]);
        assert_eq!(resolver.address("no such name:80").await.unwrap(), address);
    }
}

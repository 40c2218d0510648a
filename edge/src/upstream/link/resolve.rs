//! Names to addresses, kept for a moment.
//!
//! Invariant: a name that cannot be resolved any more keeps its last addresses; a lookup never waits longer than a
//! connection attempt may, and only the first one of a name keeps a request waiting.

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

struct Known {
    at: Instant,
    /// Who looks it up again, and since when; the others use what is known meanwhile.
    looking_since: Option<Instant>,
    addresses: Vec<SocketAddr>,
    /// Turns with every use, so that all addresses are used.
    turn: usize,
}

impl Resolver {
    pub(super) fn new(ttl: Duration, wait_max: Duration) -> Self {
        Self { ttl, wait_max, known: Mutex::default() }
    }

    /// The addresses of `host:port`, the one to try first at the front, IPv6 and IPv4 taking turns.
    pub(super) async fn addresses(&self, authority: &str) -> io::Result<Vec<SocketAddr>> {
        if let Ok(address) = authority.parse() {
            return Ok(vec![address]);
        }
        if let Some(addresses) = self.remembered(authority, false) {
            return Ok(addresses);
        }
        let lookup = async { tokio::net::lookup_host(authority).await.map(Vec::from_iter) };
        let looked_up = timeout(self.wait_max, lookup).await;
        match looked_up.map_err(|_| io::Error::from(io::ErrorKind::TimedOut)).flatten() {
            Ok(addresses) if !addresses.is_empty() => {
                let addresses = in_turns(addresses);
                self.remember(authority, addresses.clone());
                Ok(addresses)
            }
            failed => self.remembered(authority, true).ok_or_else(|| match failed {
                Err(error) => error,
                Ok(_) => io::Error::from(io::ErrorKind::NotFound),
            }),
        }
    }

    /// What is known of a name, if it is young enough or somebody else looks it up already. After a failure what is
    /// known counts for another while.
    fn remembered(&self, authority: &str, has_failed: bool) -> Option<Vec<SocketAddr>> {
        let mut known = self.known();
        let known = known.get_mut(authority)?;
        let now = Instant::now();
        if has_failed {
            known.at = now;
            known.looking_since = None;
        } else if now.duration_since(known.at) > self.ttl {
            let is_looked_up =
                known.looking_since.is_some_and(|since| now.duration_since(since) < self.wait_max);
            if !is_looked_up {
                known.looking_since = Some(now);
                return None;
            }
        }
        known.turn = known.turn.wrapping_add(1);
        let mut addresses = known.addresses.clone();
        let turn = known.turn % addresses.len();
        addresses.rotate_left(turn);
        Some(addresses)
    }

    fn remember(&self, authority: &str, addresses: Vec<SocketAddr>) {
        let mut known = self.known();
        if known.len() >= NAMES_MAX && !known.contains_key(authority) {
            known.clear();
        }
        let turn = known.get(authority).map_or(0, |known| known.turn);
        let at = Instant::now();
        known.insert(authority.to_owned(), Known { at, looking_since: None, addresses, turn });
    }

    fn known(&self) -> MutexGuard<'_, HashMap<String, Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The first few addresses, the two families taking turns, the first one's family first.
fn in_turns(mut addresses: Vec<SocketAddr>) -> Vec<SocketAddr> {
    let mut unique = Vec::with_capacity(addresses.len());
    addresses.retain(|address| {
        let is_new = !unique.contains(address);
        unique.push(*address);
        is_new
    });
    let is_first_v6 = addresses.first().is_some_and(SocketAddr::is_ipv6);
    let (one, other): (Vec<_>, Vec<_>) =
        addresses.into_iter().partition(|address| address.is_ipv6() == is_first_v6);
    let mut mixed = Vec::with_capacity(one.len() + other.len());
    let (mut one, mut other) = (one.into_iter(), other.into_iter());
    loop {
        let (a, b) = (one.next(), other.next());
        if a.is_none() && b.is_none() {
            break;
        }
        mixed.extend(a.into_iter().chain(b));
    }
    mixed.truncate(ADDRESSES_MAX);
    mixed
}

/// Names that are remembered at the same time.
const NAMES_MAX: usize = 4096;
/// Addresses of one name that are used.
const ADDRESSES_MAX: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    fn resolver(ttl: Duration) -> Resolver {
        Resolver::new(ttl, Duration::from_secs(5))
    }

    fn address(n: u8) -> SocketAddr {
        ([127, 0, 0, n], 80).into()
    }

    fn v6(n: u16) -> SocketAddr {
        ([0, 0, 0, 0, 0, 0, 0, n], 80).into()
    }

    #[tokio::test]
    async fn addresses_need_no_lookup_and_names_get_one() {
        let resolver = resolver(Duration::from_secs(60));
        assert_eq!(resolver.addresses("127.0.0.1:80").await.unwrap(), [address(1)]);
        let local = resolver.addresses("localhost:80").await.unwrap();
        assert!(local.iter().all(|address| address.ip().is_loopback()), "{local:?}");
        assert!(resolver.addresses("no port").await.is_err());
    }

    #[tokio::test]
    async fn old_addresses_are_better_than_none() {
        let resolver = resolver(Duration::ZERO);
        resolver.remember("no such name:80", vec![address(9)]);
        assert_eq!(resolver.addresses("no such name:80").await.unwrap(), [address(9)]);
    }

    #[test]
    fn one_looks_up_again_while_the_others_use_what_is_known_in_turns() {
        let old = resolver(Duration::ZERO);
        old.remember("a:80", vec![address(1), address(2)]);
        std::thread::yield_now();
        assert_eq!(old.remembered("a:80", false), None, "this one looks it up");
        assert_eq!(old.remembered("a:80", false).unwrap(), [address(2), address(1)]);
        assert_eq!(old.remembered("a:80", false).unwrap(), [address(1), address(2)]);
    }

    #[test]
    fn the_families_take_turns() {
        let mixed = in_turns(vec![v6(1), v6(2), v6(1), address(1), address(2), address(3)]);
        assert_eq!(mixed, [v6(1), address(1), v6(2), address(2), address(3)]);
        assert_eq!(in_turns((0..40).map(address).collect()).len(), ADDRESSES_MAX);
    }
}

//! Where a name leads: settings first, then DNS, whose answers are kept for a while.
//!
//! Invariant: however many sessions want a name at once, it is asked for once.

use std::{
    cell::RefCell,
    collections::HashMap,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    rc::Rc,
    time::Duration,
};

use tokio::{sync::OnceCell, time::Instant};
use url::Host;

use super::{Failure, config::NetConfig};
use crate::kind::FailureClass;

/// The names of one worker.
#[derive(Debug, Default)]
pub(super) struct Names(RefCell<HashMap<(String, u16), Rc<Name>>>);

#[derive(Debug)]
struct Name {
    asked_at: Instant,
    addresses: OnceCell<Vec<SocketAddr>>,
}

impl Names {
    /// The addresses of a server, and how long DNS took when it had to be asked.
    pub(super) async fn find(
        &self,
        config: &NetConfig,
        host: &Host<String>,
        port: u16,
    ) -> Result<(Vec<SocketAddr>, Option<Duration>), Failure> {
        if let Some(places) = overridden(config, host, port) {
            return Ok((places.clone(), None));
        }
        let domain = match host {
            Host::Ipv4(address) => return Ok((vec![(*address, port).into()], None)),
            Host::Ipv6(address) => return Ok((vec![(*address, port).into()], None)),
            // Not every system's resolver knows what every browser does (RFC 6761 6.3).
            Host::Domain(domain) if domain.ends_with(".localhost") => {
                let here = [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
                return Ok((here.map(|address| SocketAddr::new(address, port)).into(), None));
            }
            Host::Domain(domain) => domain,
        };
        let name = self.name((domain.clone(), port), config.dns_keep);
        if let Some(addresses) = name.addresses.get() {
            return Ok((addresses.clone(), None));
        }
        let began = Instant::now();
        let ask = name.addresses.get_or_try_init(|| look_up(domain, port, config.dns_timeout));
        let addresses = ask.await?.clone();
        Ok((addresses, Some(began.elapsed())))
    }

    fn name(&self, key: (String, u16), keep: Duration) -> Rc<Name> {
        let mut names = self.0.borrow_mut();
        let is_fresh = |name: &Rc<Name>| name.asked_at.elapsed() < keep;
        if let Some(name) = names.get(&key)
            && is_fresh(name)
        {
            return Rc::clone(name);
        }
        if names.len() >= NAMES_MAX {
            names.retain(|_, name| is_fresh(name));
        }
        let name = Rc::new(Name { asked_at: Instant::now(), addresses: OnceCell::new() });
        // Beyond the limit a name is asked for each time.
        if names.len() < NAMES_MAX {
            names.insert(key, Rc::clone(&name));
        }
        name
    }
}

async fn look_up(domain: &str, port: u16, limit: Duration) -> Result<Vec<SocketAddr>, Failure> {
    let failed = |detail: String| Failure::new(FailureClass::Dns, detail);
    let answer = tokio::time::timeout(limit, tokio::net::lookup_host((domain, port))).await;
    let answer = answer.map_err(|_| failed("the name was not found in time".to_owned()))?;
    let addresses: Vec<SocketAddr> = match answer {
        Ok(addresses) => addresses.take(ADDRESSES_MAX).collect(),
        Err(error) => return Err(failed(error.to_string())),
    };
    match addresses.is_empty() {
        true => Err(failed("the name has no address".to_owned())),
        false => Ok(addresses),
    }
}

fn overridden<'a>(
    config: &'a NetConfig,
    host: &Host<String>,
    port: u16,
) -> Option<&'a Vec<SocketAddr>> {
    if config.resolve.is_empty() {
        return None;
    }
    let resolve = &config.resolve;
    resolve
        .get(&format!("{host}:{port}"))
        .or_else(|| resolve.get(&format!("*:{port}")))
        .or_else(|| resolve.get("*"))
}

/// Names of a run; a catalogue seldom has more than a few.
const NAMES_MAX: usize = 1024;
/// Addresses of a name that are tried.
pub(super) const ADDRESSES_MAX: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn names_below_localhost_are_this_machine() {
        assert_eq!(find(&[], "steer.localhost").await, ["127.0.0.1:443", "[::1]:443"]);
    }

    async fn find(overrides: &[&str], host: &str) -> Vec<String> {
        let mut config = NetConfig::default();
        for place in overrides {
            config.add_override(place).unwrap();
        }
        let host = Host::parse(host).unwrap();
        let (addresses, took) = Names::default().find(&config, &host, 443).await.unwrap();
        assert_eq!(took, None);
        addresses.iter().map(ToString::to_string).collect()
    }

    #[tokio::test]
    async fn settings_come_before_dns_and_the_closest_first() {
        let all = ["a.example:443=127.0.0.1:1,[::1]:2", "*:443=127.0.0.1:3", "*=127.0.0.1:4"];
        assert_eq!(find(&all, "a.example").await, ["127.0.0.1:1", "[::1]:2"]);
        assert_eq!(find(&all, "b.example").await, ["127.0.0.1:3"]);
        assert_eq!(find(&all[2..], "192.0.2.1").await, ["127.0.0.1:4"]);
        assert_eq!(find(&[], "192.0.2.1").await, ["192.0.2.1:443"]);
        assert_eq!(
            find(&["[2001:db8::1]:443=127.0.0.1:5"], "[2001:db8::1]").await,
            ["127.0.0.1:5"]
        );
    }

    #[test]
    fn names_are_kept_for_their_time_and_limited() {
        let names = Names::default();
        let hour = Duration::from_secs(3600);
        let first = names.name(("a".to_owned(), 1), hour);
        assert!(Rc::ptr_eq(&first, &names.name(("a".to_owned(), 1), hour)));
        assert!(!Rc::ptr_eq(&first, &names.name(("a".to_owned(), 1), Duration::ZERO)));
        for port in 0..3000 {
            names.name(("b".to_owned(), port), hour);
        }
        assert_eq!(names.0.borrow().len(), NAMES_MAX);
    }
}

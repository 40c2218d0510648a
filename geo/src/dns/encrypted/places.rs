//! The connections that there are, by transport and client.
//!
//! Invariant: whoever has a place gives it back by ending.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
};

use prometheus::IntGauge;
use tokio::sync::Notify;

use super::{config::Config, metrics::Metrics};
use crate::dns::{subnet::host, transport::Transport};

/// The connections of one transport.
#[derive(Debug)]
pub(super) struct Places {
    all_max: usize,
    client_max: usize,
    taken: Mutex<Taken>,
    freed: Notify,
    open: IntGauge,
}

#[derive(Debug, Default)]
struct Taken {
    all: usize,
    by_client: HashMap<IpAddr, usize>,
}

/// A place that a connection has; its client counts once it is known not to be forged.
#[derive(Debug)]
pub(super) struct Place {
    places: Arc<Places>,
    client: Option<IpAddr>,
}

impl Places {
    pub(super) fn new(config: &Config, transport: Transport, metrics: &Metrics) -> Arc<Self> {
        Arc::new(Self {
            all_max: config.connections_max,
            client_max: config.connections_per_client_max,
            taken: Mutex::default(),
            freed: Notify::new(),
            open: metrics.connections(transport),
        })
    }

    /// One place of all; `None`: there is none.
    pub(super) fn take(self: &Arc<Self>) -> Option<Place> {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        if taken.all >= self.all_max {
            return None;
        }
        taken.all += 1;
        self.open.inc();
        Some(Place { places: self.clone(), client: None })
    }

    /// Whether more than half are taken: strangers have to prove their address then.
    pub(super) fn is_crowded(&self) -> bool {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner).all > self.all_max / 2
    }

    /// Waits until all places are free.
    pub(super) async fn all_free(&self) {
        loop {
            let freed = self.freed.notified();
            if self.taken.lock().unwrap_or_else(PoisonError::into_inner).all == 0 {
                return;
            }
            freed.await;
        }
    }
}

impl Place {
    /// Counts the place for a client; whether it may have one more.
    pub(super) fn is_granted(&mut self, client: IpAddr) -> bool {
        let client = host(client);
        let mut taken = self.places.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let own = taken.by_client.entry(client).or_default();
        if *own >= self.places.client_max {
            return false;
        }
        *own += 1;
        self.client = Some(client);
        true
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.taken.lock().unwrap_or_else(PoisonError::into_inner);
        taken.all -= 1;
        self.places.open.dec();
        if let Some(client) = self.client
            && let Some(own) = taken.by_client.get_mut(&client)
        {
            *own -= 1;
            if *own == 0 {
                taken.by_client.remove(&client);
            }
        }
        if taken.all == 0 {
            self.places.freed.notify_waiters();
        }
    }
}

#[cfg(test)]
mod tests {
    use prometheus::Registry;

    use super::*;

    #[test]
    fn all_and_each_client_have_so_many_places() {
        let config =
            Config { connections_max: 3, connections_per_client_max: 2, ..Config::default() };
        let places = Places::new(&config, Transport::Tls, &Metrics::new(&Registry::new()));
        let client = |text: &str| text.parse::<IpAddr>().unwrap();
        let mut one = places.take().unwrap();
        assert!(one.is_granted(client("2001:db8::1")));
        assert!(!places.is_crowded());
        let mut two = places.take().unwrap();
        assert!(two.is_granted(client("2001:db8::2")) && places.is_crowded());
        let mut three = places.take().unwrap();
        assert!(!three.is_granted(client("2001:db8::3")), "of the same /64");
        assert!(three.is_granted(client("192.0.2.1")));
        assert!(places.take().is_none());
        drop(one);
        assert!(places.take().unwrap().is_granted(client("2001:db8::3")));
        drop((two, three));
        let taken = places.taken.lock().unwrap();
        assert_eq!((taken.all, taken.by_client.len(), places.open.get()), (0, 0, 0));
    }
}

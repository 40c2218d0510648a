//! Round trips and traffic of clients, by subnet, until they are told to the control plane.
//!
//! A connection that has finished its handshake knows the way to its client for nothing; all PoPs together know from it
//! which of them is near to whom. A connection touches the table once when it begins and once when it ends or has sent
//! much, never for a request. Invariant: nothing finer than a /24 or a /48 is kept, and whatever addresses come, the
//! table has at most [`SUBNETS_MAX`] entries of at most [`PENDING_MAX`] pairs.

use std::{
    collections::HashMap,
    hash::{BuildHasher, RandomState},
    net::IpAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use prometheus::{IntCounter, IntCounterVec};
use tdigest::{Centroid, TDigest};
use tidegate_contract::{
    geo_feed::{
        CENTROIDS_MAX, REACHED_MAX, Reached, RoundTrips, SUBNET_PREFIX_MAX, SUBNETS_PER_BATCH_MAX,
        SubnetRoundTrips,
    },
    network::Network,
};
use tokio::time::{Instant, interval};

use super::metrics::Metrics;

/// The table of a listener; all clones are the same.
#[derive(Debug, Clone)]
pub struct Measurements(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    is_on: AtomicBool,
    hasher: RandomState,
    shards: [Mutex<HashMap<Network, Subnet>>; SHARDS],
    since: Mutex<Instant>,
    samples: IntCounter,
    left_out: IntCounterVec,
}

/// What is known of one subnet since the table was taken.
#[derive(Debug, Default)]
struct Subnet {
    /// Round trips in ms and how many there were, in no order.
    round_trips: Vec<(f64, f64)>,
    sent_bytes: u64,
    /// By address of ours, at most [`ADDRESSES_MAX`]; what comes to further ones is not told of.
    reached: Vec<Reached>,
}

/// The part of one connection; what it has not told yet it tells when it is dropped.
#[derive(Debug)]
pub(super) struct Measured {
    table: Measurements,
    subnet: Network,
    /// The address of ours that the client came to, where that is known.
    at: Option<IpAddr>,
    /// Bytes that were told.
    told: u64,
    /// Bytes that were sent.
    sent: u64,
}

impl Measurements {
    /// An empty table that nobody writes to yet.
    pub(super) fn new(metrics: &Metrics) -> Self {
        Self(Arc::new(Inner {
            is_on: AtomicBool::new(false),
            hasher: RandomState::new(),
            shards: std::array::from_fn(|_| Mutex::default()),
            since: Mutex::new(Instant::now()),
            samples: metrics.round_trips.clone(),
            left_out: metrics.subnets_left_out.clone(),
        }))
    }

    /// Begins to measure; before that a connection costs nothing here.
    pub fn turn_on(&self) {
        self.0.is_on.store(true, Relaxed);
    }

    /// The part of a connection that came to an address of ours; `None` when nobody wants to know.
    pub(super) fn connection(&self, client: IpAddr, at: Option<IpAddr>) -> Option<Measured> {
        if !self.0.is_on.load(Relaxed) {
            return None;
        }
        let subnet = subnet_of(client);
        let at = at.map(|at| at.to_canonical());
        Some(Measured { table: self.clone(), subnet, at, told: 0, sent: 0 })
    }

    /// Everything since it was taken last, the subnets with the most traffic first.
    #[must_use]
    pub fn take(&self) -> RoundTrips {
        let now = Instant::now();
        let since = std::mem::replace(&mut *lock(&self.0.since), now);
        let mut all: Vec<(Network, Subnet)> = Vec::new();
        for shard in &self.0.shards {
            all.extend(std::mem::take(&mut *lock(shard)));
        }
        all.sort_by_key(|(_, subnet)| {
            std::cmp::Reverse((subnet.sent_bytes, subnet.round_trips.len()))
        });
        let quiet = all.len().saturating_sub(SUBNETS_PER_BATCH_MAX);
        self.left_out("quiet", quiet as u64);
        all.truncate(SUBNETS_PER_BATCH_MAX);
        let period_ms = u32::try_from((now - since).as_millis()).unwrap_or(u32::MAX);
        let subnets = all.into_iter().map(|(network, subnet)| SubnetRoundTrips {
            subnet: network,
            centroids: told(digest(&subnet.round_trips, CENTROIDS_MAX)),
            sent_bytes: subnet.sent_bytes,
            reached: busiest(subnet.reached),
        });
        RoundTrips { pop: None, period_ms, subnets: subnets.collect() }
    }

    fn note(&self, network: Network, write: impl FnOnce(&mut Subnet)) {
        let mut shard = lock(&self.0.shards[self.0.hasher.hash_one(network) as usize % SHARDS]);
        if shard.len() >= SUBNETS_MAX / SHARDS && !shard.contains_key(&network) {
            drop(shard);
            return self.left_out("full", 1);
        }
        write(shard.entry(network).or_default());
    }

    fn left_out(&self, reason: &str, count: u64) {
        self.0.left_out.with_label_values(&[reason]).inc_by(count);
    }
}

impl Subnet {
    /// What came to an address of ours; `None` when it is one too many.
    fn reached(&mut self, at: IpAddr) -> Option<&mut Reached> {
        match self.reached.iter().position(|one| one.at == at) {
            Some(place) => self.reached.get_mut(place),
            None if self.reached.len() >= ADDRESSES_MAX => None,
            None => {
                self.reached.push(Reached { at, connections: 0, sent_bytes: 0 });
                self.reached.last_mut()
            }
        }
    }
}

impl Measured {
    /// Counts the connection where it came to: once, when its handshake is done.
    pub(super) fn begun(&self) {
        let Some(at) = self.at else { return };
        self.table.note(self.subnet, |subnet| {
            if let Some(reached) = subnet.reached(at) {
                reached.connections = reached.connections.saturating_add(1);
            }
        });
    }

    /// Adds a round trip. Zero is what a kernel says that has none.
    pub(super) fn round_trip(&self, time: Duration) {
        let ms = time.as_secs_f64() * 1000.0;
        if !(f64::MIN_POSITIVE..=RTT_MS_MAX).contains(&ms) {
            return;
        }
        self.table.0.samples.inc();
        self.table.note(self.subnet, |subnet| {
            if subnet.round_trips.len() >= PENDING_MAX {
                subnet.round_trips = digest(&subnet.round_trips, PENDING_MAX / 2);
            }
            subnet.round_trips.push((ms, 1.0));
        });
    }

    /// Adds bytes that were sent.
    pub(super) fn sent(&mut self, bytes: u64) {
        self.sent += bytes;
        if self.sent - self.told >= TELL_BYTES {
            self.tell();
        }
    }

    /// Runs a connection to its end, and tells now and then of the bytes that it has sent so far.
    pub(super) async fn during<T>(
        &mut self,
        connection: impl Future<Output = T>,
        sent: impl Fn() -> u64,
    ) -> T {
        let mut connection = std::pin::pin!(connection);
        let mut pulse = interval(TELL_EVERY);
        loop {
            tokio::select! {
                biased;
                ended = &mut connection => {
                    self.sent = sent().max(self.sent);
                    return ended;
                }
                _ = pulse.tick() => {
                    self.sent = sent().max(self.sent);
                    self.tell();
                }
            }
        }
    }

    fn tell(&mut self) {
        let bytes = self.sent - self.told;
        self.told = self.sent;
        if bytes > 0 {
            self.table.note(self.subnet, |subnet| {
                subnet.sent_bytes = subnet.sent_bytes.saturating_add(bytes);
                if let Some(reached) = self.at.and_then(|at| subnet.reached(at)) {
                    reached.sent_bytes = reached.sent_bytes.saturating_add(bytes);
                }
            });
        }
    }
}

impl Drop for Measured {
    fn drop(&mut self) {
        self.tell();
    }
}

fn subnet_of(client: IpAddr) -> Network {
    let client = client.to_canonical();
    let prefix = if client.is_ipv4() { SUBNET_PREFIX_MAX.0 } else { SUBNET_PREFIX_MAX.1 };
    Network::new(client, prefix).expect("shorter than an address")
}

/// A t-digest of pairs, in order and with at most so many centroids.
fn digest(pairs: &[(f64, f64)], centroids_max: usize) -> Vec<(f64, f64)> {
    let centroids = pairs.iter().map(|(mean, weight)| Centroid::new(*mean, *weight)).collect();
    let sum = pairs.iter().map(|(mean, weight)| mean * weight).sum();
    let count = pairs.iter().map(|(_, weight)| weight).sum();
    let means = || pairs.iter().map(|(mean, _)| *mean);
    let (max, min) = (means().reduce(f64::max), means().reduce(f64::min));
    let digest = TDigest::new(centroids, sum, count, max, min, centroids_max);
    digest.centroids().iter().map(|centroid| (centroid.mean(), centroid.weight())).collect()
}

/// The addresses that most came to.
fn busiest(mut reached: Vec<Reached>) -> Vec<Reached> {
    reached.sort_by_key(|one| std::cmp::Reverse((one.sent_bytes, one.connections)));
    reached.truncate(REACHED_MAX);
    reached
}

/// To a hundredth of a millisecond: what is finer is noise, and takes room.
fn told(mut pairs: Vec<(f64, f64)>) -> Vec<(f64, f64)> {
    for (ms, _) in &mut pairs {
        *ms = (*ms * 100.0).round() / 100.0;
    }
    pairs
}

fn lock<T>(what: &Mutex<T>) -> MutexGuard<'_, T> {
    what.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Subnets that the table holds: sixteen times what goes up, so that the busiest are found among them.
const SUBNETS_MAX: usize = 16 * SUBNETS_PER_BATCH_MAX;
const SHARDS: usize = 16;
/// Round trips of a subnet that are held before they become a digest; with all of the table, 8 MiB.
const PENDING_MAX: usize = 32;
/// Addresses of ours that are told apart for a subnet until it is told: one of the PoP's own and an anycast one, of more
/// than one group.
const ADDRESSES_MAX: usize = 4;
/// Longer round trips are no client's.
const RTT_MS_MAX: f64 = 10_000.0;
/// A connection that has sent so much tells of it before it ends.
const TELL_BYTES: u64 = 4 << 20;
/// So does one that lasts longer than this, where that can be asked.
const TELL_EVERY: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use prometheus::Registry;
    use proptest::prelude::*;

    use super::*;

    fn table() -> Measurements {
        let table = Measurements::new(&Metrics::register(&Registry::new()).unwrap());
        table.turn_on();
        table
    }

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn clients_count_by_subnet_and_private_ones_too() {
        let table = table();
        for (client, ms, bytes) in [
            ("192.0.2.1", 10, 5),
            ("192.0.2.200", 30, 5),
            ("::ffff:192.0.2.7", 20, 1),
            ("2001:db8:1:2::1", 7, 100),
            ("127.0.0.1", 1, 1),
        ] {
            let mut measured = table.connection(address(client), None).unwrap();
            measured.round_trip(Duration::from_millis(ms));
            measured.sent(bytes);
        }
        let taken = table.take();
        assert!(taken.check().is_ok());
        let read: Vec<_> = taken
            .subnets
            .iter()
            .map(|one| (one.subnet.to_string(), one.centroids.clone(), one.sent_bytes))
            .collect();
        let expected = [
            ("2001:db8:1::/48".to_owned(), vec![(7.0, 1.0)], 100),
            ("192.0.2.0/24".to_owned(), vec![(10.0, 1.0), (20.0, 1.0), (30.0, 1.0)], 11),
            ("127.0.0.0/24".to_owned(), vec![(1.0, 1.0)], 1),
        ];
        assert_eq!(read, expected);
        assert!(table.take().subnets.is_empty());
    }

    #[test]
    fn connections_and_bytes_count_by_the_address_that_they_came_to() {
        let table = table();
        let come = |at: Option<&str>, bytes| {
            let mut measured = table.connection(address("192.0.2.1"), at.map(address)).unwrap();
            measured.begun();
            measured.sent(bytes);
        };
        come(None, 1 << 30);
        for _ in 0..3 {
            come(Some("203.0.113.1"), 10);
        }
        come(Some("::ffff:203.0.113.1"), 1);
        for (at, bytes) in [("2001:db8::1", 7), ("203.0.113.2", 50), ("203.0.113.3", 2)] {
            come(Some(at), bytes);
        }
        // One address too many: of it nothing is known.
        come(Some("203.0.113.4"), 1 << 20);
        let taken = table.take();
        assert!(taken.check().is_ok());
        let reached: Vec<_> = taken.subnets[0]
            .reached
            .iter()
            .map(|one| (one.at, one.connections, one.sent_bytes))
            .collect();
        assert_eq!(
            reached,
            [(address("203.0.113.2"), 1, 50), (address("203.0.113.1"), 4, 31)],
            "the busiest first, and no more than travel"
        );
        assert_eq!(taken.subnets[0].sent_bytes, (1 << 30) + 31 + 7 + 50 + 2 + (1 << 20));
    }

    #[test]
    fn what_is_switched_off_or_no_round_trip_is_not_kept() {
        let off = Measurements::new(&Metrics::register(&Registry::new()).unwrap());
        assert!(off.connection(address("192.0.2.1"), None).is_none());
        let table = table();
        let measured = table.connection(address("192.0.2.1"), None).unwrap();
        measured.round_trip(Duration::ZERO);
        measured.round_trip(Duration::from_secs(11));
        drop(measured);
        assert!(table.take().subnets.is_empty());
    }

    #[test]
    fn a_flood_of_addresses_is_bounded_and_the_busiest_go_up() {
        let table = table();
        let client = |number: u32| IpAddr::V4((number << 8).into());
        for number in 0..3 * SUBNETS_MAX as u32 {
            table.connection(client(number), None).unwrap().sent(u64::from(number % 3) + 1);
        }
        let full = table.0.left_out.with_label_values(&["full"]).get();
        assert!(full >= 2 * SUBNETS_MAX as u64, "{full}");
        let taken = table.take();
        assert_eq!(taken.subnets.len(), SUBNETS_PER_BATCH_MAX);
        assert!(taken.subnets.iter().all(|one| one.sent_bytes == 3));
        assert!(taken.check().is_ok());
        let quiet = table.0.left_out.with_label_values(&["quiet"]).get();
        assert_eq!(quiet + full + SUBNETS_PER_BATCH_MAX as u64, 3 * SUBNETS_MAX as u64);
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_that_lasts_tells_of_its_bytes_while_it_does() {
        let table = table();
        let mut measured = table.connection(address("192.0.2.1"), None).unwrap();
        measured.sent(TELL_BYTES);
        assert_eq!(table.take().subnets[0].sent_bytes, TELL_BYTES, "much at once");
        measured.sent(1);
        drop(measured);
        assert_eq!(table.take().subnets[0].sent_bytes, 1, "the rest");
        let mut measured = table.connection(address("192.0.2.1"), None).unwrap();
        let begun = Instant::now();
        let sent = || begun.elapsed().as_secs();
        let watch = async {
            tokio::time::sleep(Duration::from_secs(15)).await;
            table.take().subnets[0].sent_bytes
        };
        let connection = tokio::time::sleep(Duration::from_secs(25));
        let (early, ()) = tokio::join!(watch, measured.during(connection, sent));
        drop(measured);
        assert_eq!((early, table.take().subnets[0].sent_bytes), (10, 15));
    }

    proptest! {
        #[test]
        fn a_batch_passes_the_check_whatever_was_measured(
            micros in prop::collection::vec(0u64..20_000_000, 0..300),
        ) {
            let table = table();
            let measured = table.connection(address("192.0.2.1"), None).unwrap();
            for time in &micros {
                measured.round_trip(Duration::from_micros(*time));
            }
            let good = micros.iter().filter(|time| (1..=10_000_000).contains(*time)).count();
            let taken = table.take();
            prop_assert!(taken.check().is_ok());
            let weight: f64 = taken.subnets.iter().flat_map(|one| &one.centroids).map(|(_, w)| w).sum();
            prop_assert!((weight - good as f64).abs() < 1e-6, "{} of {}", weight, good);
        }
    }
}

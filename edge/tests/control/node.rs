//! The agent of one node with the seams that the rest of the node would read.

use std::{
    net::Ipv4Addr,
    os::fd::OwnedFd,
    path::Path,
    sync::{Arc, Mutex},
    time::{Duration, SystemTime},
};

use futures::FutureExt;
use tidegate_chassis::{
    Clock, Process,
    recent::{Limits, Recent},
};
use tidegate_contract::{
    demand::{Asked, Demand},
    geo_feed::{RoundTrips, SUBNETS_PER_BATCH_MAX, SubnetRoundTrips},
    id::PropertyId,
    network::Network,
    node_question::Check,
    purge::PurgeOrder,
    replacement::Replacement,
    surrogate_key::SurrogateKey,
    telemetry::{Orders, Report},
};
use tidegate_edge::{
    cache::{
        lease::Lease,
        purge::{self, PurgeTable, Verdict},
    },
    control::{self, Agent, Config, Health, Seams, StartError, Telemetry},
    policy::PolicyHandle,
};

use tokio::sync::{mpsc, oneshot, watch};

use super::fake::{FakeControl, TOKEN};

pub(crate) struct TestNode {
    pub(crate) policy: PolicyHandle,
    pub(crate) purges: PurgeTable,
    /// What came with purges.
    pub(crate) replaced: Arc<Mutex<Vec<Replaced>>>,
    pub(crate) lease: Lease,
    /// What it was ordered to do.
    pub(crate) orders: watch::Sender<Orders>,
    pub(crate) clock: Clock,
    /// What the node tells of itself.
    health: Arc<Mutex<Health>>,
    pub(crate) agent: Agent,
    /// What its process logged of late; filled by the story.
    pub(crate) recent: Recent,
    /// Where it asks for a process in its place.
    pub(crate) restarts: mpsc::Receiver<oneshot::Sender<Result<(), String>>>,
    /// Kept: the tasks of the agent live as long as their process.
    _process: Process,
}

/// A purge with what came with it, and when it was accepted.
pub(crate) type Replaced = (PurgeOrder, Replacement, SystemTime);

/// Much longer than a story is silent, on a machine that has much else to do.
const LEASE: Duration = Duration::from_secs(600);

impl TestNode {
    /// A node that keeps its state in a folder and knows the token.
    pub(crate) fn start(control: &FakeControl, folder: &Path) -> Self {
        Self::try_start(&settings(control, folder)).unwrap()
    }

    pub(crate) fn try_start(config: &Config) -> Result<Self, StartError> {
        Self::start_with(config, Clock::system())
    }

    /// A node whose time of day is the test's.
    pub(crate) fn start_with(config: &Config, clock: Clock) -> Result<Self, StartError> {
        let purges = PurgeTable::new(clock.clone(), purge::Limits::default());
        Self::start_with_purges(config, clock, purges)
    }

    /// A node that knows some purges already.
    pub(crate) fn start_with_purges(
        config: &Config,
        clock: Clock,
        purges: PurgeTable,
    ) -> Result<Self, StartError> {
        Self::start_after(config, clock, purges, None)
    }

    /// A process of a node that follows another one.
    pub(crate) fn start_after(
        config: &Config,
        clock: Clock,
        purges: PurgeTable,
        predecessor: Option<OwnedFd>,
    ) -> Result<Self, StartError> {
        tidegate_chassis::init_crypto();
        let process = Process::for_test();
        let (policy, lease) = (PolicyHandle::default(), Lease::new(config.lease));
        let replaced = Arc::<Mutex<Vec<Replaced>>>::default();
        lease.attach(purges.clone());
        let orders = watch::Sender::default();
        let health = Arc::new(Mutex::new(Health {
            ready: true,
            draining: false,
            requests_total: 7,
            hits_total: 5,
            errors_total: 1,
            cache_bytes: 1000,
            started: SystemTime::UNIX_EPOCH + Duration::from_secs(1),
        }));
        let (restart, restarts) = mpsc::channel(8);
        let recent = Recent::new(Limits { lines: 5, bytes: 1 << 20 });
        let seams = Seams {
            policy: policy.clone(),
            purges: purges.clone(),
            replace: {
                let (purges, replaced) = (purges.clone(), replaced.clone());
                Arc::new(move |order: &PurgeOrder, new: &Replacement, made_at| {
                    purges.apply(order);
                    replaced.lock().unwrap().push((order.clone(), new.clone(), made_at));
                })
            },
            lease: lease.clone(),
            vitals: {
                let health = health.clone();
                Arc::new(move || *health.lock().unwrap())
            },
            telemetry: Some(Telemetry {
                report: Arc::new(|| Report { is_leaving: true, ..Report::default() }),
                round_trips: Some(Arc::new(measured)),
                demand: Some(Arc::new(asked)),
                orders: orders.clone(),
                log: Some(recent.clone()),
                checks: Some(Arc::new(|| {
                    let disk = Check {
                        check: "disk".into(),
                        is_ok: false,
                        found: "takes nothing".into(),
                        took_ms: 3,
                    };
                    async { vec![disk] }.boxed()
                })),
            }),
            restart: Some(restart),
            clock: clock.clone(),
            is_successor: predecessor.is_some(),
            predecessor,
        };
        let agent = control::start(config, seams, &process)?;
        Ok(Self {
            policy,
            purges,
            replaced,
            lease,
            orders,
            clock,
            health,
            agent,
            recent,
            restarts,
            _process: process,
        })
    }

    /// Exchanges end, some of them badly.
    pub(crate) fn exchanged(&self, requests: u64, errors: u64) {
        let mut health = self.health.lock().unwrap();
        health.requests_total += requests;
        health.errors_total += errors;
    }

    pub(crate) fn generation(&self) -> Option<u64> {
        self.policy.current().map(|policy| policy.snapshot.generation.0)
    }

    /// What the cache would think of an object with a key that was fetched at some point.
    pub(crate) fn verdict(&self, key: &str, born: u64) -> Verdict {
        self.purges.verdict([SurrogateKey::parse(key).unwrap().hash()], born, true)
    }

    pub(crate) fn is_certain(&self) -> bool {
        self.lease.is_certain(self.clock.now())
    }
}

pub(crate) fn settings(control: &FakeControl, folder: &Path) -> Config {
    let token_file = folder.join("token");
    std::fs::write(&token_file, format!("{TOKEN}\n")).unwrap();
    Config {
        endpoints: vec![format!("https://localhost:{}", control.address.port())],
        ca: control.write_ca(folder),
        state_dir: folder.join("state"),
        enrolment_token_file: Some(token_file),
        lease: LEASE,
        backoff_min: Duration::from_millis(10),
        backoff_max: Duration::from_millis(100),
        health_interval: Duration::from_millis(50),
        checker: Some(env!("CARGO_BIN_EXE_tidegate-edge").into()),
        round_trips_interval: Duration::from_millis(50),
        demand_interval: Duration::from_millis(50),
        ..Config::default()
    }
}

/// What clients always ask for.
pub(crate) fn asked() -> Demand {
    let property = PropertyId::parse("demo").unwrap();
    let asset = Asked { property, path: "/a".into(), requests: 3, bytes: 7 };
    let properties = vec![Asked { path: String::new(), ..asset.clone() }];
    Demand { period_ms: 50, properties, assets: vec![asset] }
}

/// As many subnets as a batch may have.
pub(crate) fn measured() -> RoundTrips {
    let one = |number: usize| SubnetRoundTrips {
        subnet: Network::new(Ipv4Addr::from_bits((number as u32) << 8).into(), 24).unwrap(),
        centroids: vec![(12.5, 3.0)],
        sent_bytes: 1,
        reached: Vec::new(),
    };
    let subnets = (0..SUBNETS_PER_BATCH_MAX).map(one).collect();
    RoundTrips { pop: None, period_ms: 50, subnets }
}

//! The agent of one node with the seams that the rest of the node would read.

use std::{
    path::Path,
    sync::{Arc, Mutex},
    time::{Duration, SystemTime},
};

use tidegate_chassis::{Clock, Process};
use tidegate_contract::{purge::PurgeOrder, replacement::Replacement, surrogate_key::SurrogateKey};
use tidegate_edge::{
    cache::{
        lease::Lease,
        purge::{Limits, PurgeTable, Verdict},
    },
    control::{self, Config, Health, Seams, StartError},
    policy::PolicyHandle,
};

use super::fake::{FakeControl, TOKEN};

pub(crate) struct TestNode {
    pub(crate) policy: PolicyHandle,
    pub(crate) purges: PurgeTable,
    /// What came with purges.
    pub(crate) replaced: Arc<Mutex<Vec<Replaced>>>,
    pub(crate) lease: Lease,
    pub(crate) clock: Clock,
    /// What the node tells of itself.
    health: Arc<Mutex<Health>>,
    /// Kept: the tasks of the agent live as long as their process.
    _process: Process,
}

/// A purge with what came with it, and when it was accepted.
pub(crate) type Replaced = (PurgeOrder, Replacement, SystemTime);

pub(crate) const LEASE: Duration = Duration::from_millis(400);

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
        let purges = PurgeTable::new(clock.clone(), Limits::default());
        Self::start_with_purges(config, clock, purges)
    }

    /// A node that knows some purges already.
    pub(crate) fn start_with_purges(
        config: &Config,
        clock: Clock,
        purges: PurgeTable,
    ) -> Result<Self, StartError> {
        tidegate_chassis::init_crypto();
        let node = Self {
            policy: PolicyHandle::default(),
            purges,
            replaced: Arc::default(),
            lease: Lease::new(config.lease),
            clock: clock.clone(),
            health: Arc::new(Mutex::new(Health {
                ready: true,
                draining: false,
                requests_total: 7,
                hits_total: 5,
                errors_total: 1,
                cache_bytes: 1000,
                started: SystemTime::UNIX_EPOCH + Duration::from_secs(1),
            })),
            _process: Process::for_test(),
        };
        node.lease.attach(node.purges.clone());
        let seams = Seams {
            policy: node.policy.clone(),
            purges: node.purges.clone(),
            replace: {
                let (purges, replaced) = (node.purges.clone(), node.replaced.clone());
                Arc::new(move |order: &PurgeOrder, new: &Replacement, made_at| {
                    purges.apply(order);
                    replaced.lock().unwrap().push((order.clone(), new.clone(), made_at));
                })
            },
            lease: node.lease.clone(),
            vitals: {
                let health = node.health.clone();
                Arc::new(move || *health.lock().unwrap())
            },
            clock,
            is_successor: false,
        };
        control::start(config, seams, &node._process)?;
        Ok(node)
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
        ..Config::default()
    }
}

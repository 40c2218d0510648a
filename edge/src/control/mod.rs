//! What the control plane tells us and what we tell it: snapshots and purges in, acknowledgements and health out.
//!
//! The node dials out. It keeps a lane for configuration and one or two for purges open for as long as the process
//! lives, each with a connection of its own: with two endpoints or more every purge comes twice, by two ways, and the
//! first copy counts. Before the network is touched, the last good snapshot is put to use.
//!
//! **Invariant.** No client exchange ever waits for anything in this folder: it only writes what others read.

mod config;
mod config_feed; // snapshots in, verified, swapped, kept on disk as last good
mod enrolment; // how a node gets its identity and keeps it fresh
mod health_report; // what a node tells of itself
mod last_good; // the snapshots on disk
mod purge_feed; // subscriptions to the purges
mod audit_witness; // what was heard of the control plane's audit log
mod link; // connect, keep a lane open, back off
mod place; // which endpoint each subscription uses
pub mod follower; // purge orders in, applied in order, acknowledged: without sockets
mod backoff; // how long to wait before the next try
mod identity; // key and certificate
pub mod question; // when the control plane was asked, and what an answer speaks of
mod position; // up to where each stream is applied
mod private_file; // files that only their owner may read
pub mod wire; // the messages

use std::{
    fs, io,
    path::PathBuf,
    sync::{Arc, Mutex},
    time::SystemTime,
};

use tidegate_chassis::{Clock, Process};
use tidegate_contract::{purge::PurgeOrder, replacement::Replacement};
use tokio::sync::watch;

pub use self::{
    config::{Config, ConfigError},
    health_report::{Health, Vitals},
};
use self::{
    config_feed::{ConfigFeed, InUse},
    enrolment::Registrar,
    follower::Follower,
    identity::Identity,
    last_good::LastGood,
    link::{LaneError, Link},
    purge_feed::PurgeFeed,
};
use crate::{
    cache::{lease::Lease, purge::PurgeTable},
    policy::{PolicyError, PolicyHandle},
};

/// Applies a purge and stores in the same step what arrived with it, made at some time.
pub type Replace = Arc<dyn Fn(&PurgeOrder, &Replacement, SystemTime) + Send + Sync>;

/// What the agent writes to, and what it reads its reports from.
pub struct Seams {
    /// Where snapshots are put to use.
    pub policy: PolicyHandle,
    /// Where purges are applied.
    pub purges: PurgeTable,
    /// Where purges are applied that bring a body.
    pub replace: Replace,
    /// What knows whether every purge is known.
    pub lease: Lease,
    /// The node's figures.
    pub vitals: Vitals,
    /// The time of day.
    pub clock: Clock,
}

/// Why the agent cannot start. All of these are about this machine: that the control plane is away is no reason.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The settings are wrong.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The state folder cannot be made.
    #[error("cannot make the state folder {0}: {1}")]
    StateDir(PathBuf, io::Error),
    /// The authority's certificate cannot be read.
    #[error("cannot read control.ca {0}: {1}")]
    Ca(PathBuf, io::Error),
    /// An endpoint cannot be used.
    #[error("control.endpoints: {0}")]
    Endpoint(String),
    /// The kept snapshot does not fit the policy in use.
    #[error("the last good snapshot: {0}")]
    Policy(#[from] PolicyError),
}

/// Puts the last good snapshot to use, then keeps the link to the control plane in supervised tasks.
///
/// # Errors
/// [`StartError`] when this machine lacks what the agent needs. An unreachable control plane is not an error.
pub fn start(config: &Config, seams: Seams, process: &Process) -> Result<(), StartError> {
    config.check()?;
    private_file::create_folder(&config.state_dir)
        .map_err(|error| StartError::StateDir(config.state_dir.clone(), error))?;
    let last_good = LastGood::new(&config.state_dir);
    let in_use = restore(&last_good, &seams.policy)?;

    let ca_pem = fs::read(&config.ca).map_err(|error| StartError::Ca(config.ca.clone(), error))?;
    let link = Link::new(config, &ca_pem)
        .map_err(|error: LaneError| StartError::Endpoint(error.to_string()))?;
    let (identity, identity_in_use) = watch::channel(known_identity(config));

    let registrar = Registrar {
        link: link.clone(),
        clock: seams.clock.clone(),
        policy: seams.policy.clone(),
        state_dir: config.state_dir.clone(),
        node: config.node.clone(),
        token_file: config.enrolment_token_file.clone(),
        call_timeout: config.connect_timeout,
        in_use: identity,
    };
    let follower = Follower::new(seams.purges, seams.replace, seams.lease);
    let follower = Arc::new(Mutex::new(follower));
    let clock = seams.clock;
    let config_feed = ConfigFeed {
        policy: seams.policy,
        last_good,
        in_use,
        vitals: seams.vitals,
        health_interval: config.health_interval,
        open_timeout: config.connect_timeout,
    };
    process.spawn("control identity", registrar.run());
    let places = link.places(SUBSCRIPTIONS_MAX);
    for (number, subscription) in (0..places.lanes()).zip(0_u32..) {
        let feed = PurgeFeed {
            witness: audit_witness::AuditWitness::default(),
            follower: Arc::clone(&follower),
            subscription,
            clock: clock.clone(),
            silence_max: config.lease,
        };
        let (link, identity) = (link.clone(), identity_in_use.clone());
        let places = places.clone();
        process.spawn("control purges", async move {
            link.keep(feed, identity, places, number).await;
            Ok(())
        });
    }
    let config_places = link.places(1);
    process.spawn("control config", async move {
        link.keep(config_feed, identity_in_use, config_places, 0).await;
        Ok(())
    });
    Ok(())
}

/// Puts the newest readable snapshot to use.
fn restore(last_good: &LastGood, policy: &PolicyHandle) -> Result<InUse, PolicyError> {
    let Some(kept) = last_good.load() else { return Ok(InUse::default()) };
    let in_use = InUse::of(&kept);
    policy.install(kept.snapshot)?;
    tracing::info!(generation = %in_use.generation, "the last good snapshot is in use");
    Ok(in_use)
}

/// The identity on disk. A damaged one is as good as none: the node enrols again if it has a token.
fn known_identity(config: &Config) -> Option<Arc<Identity>> {
    match Identity::load(&config.state_dir) {
        Ok(identity) => identity.map(Arc::new),
        Err(error) => {
            tracing::error!(%error, "the kept identity is unusable");
            None
        }
    }
}

/// What the control plane is told about this build.
const BUILD: &str = env!("CARGO_PKG_VERSION");
/// A second subscription halves what a lost packet costs the last of many PoPs; a third one adds nothing.
const SUBSCRIPTIONS_MAX: usize = 2;

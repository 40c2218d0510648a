//! What the control plane tells us and what we tell it: snapshots and purges in, acknowledgements and health out.
//!
//! The node dials out; two lanes, each with a connection of its own, are kept open for as long as the process
//! lives. Before the network is touched, the last good snapshot is put to use.
//!
//! **Invariant.** No client exchange ever waits for anything in this folder: it only writes what others read.

mod config;
mod config_feed; // snapshots in, verified, swapped, kept on disk as last good
mod enrolment; // how a node gets its identity and keeps it fresh
mod health_report; // what a node tells of itself
mod last_good; // the snapshots on disk
mod purge_feed; // purge orders in, applied in order, acknowledged
mod relay; // purges to the process before this one, while it serves its last connections
mod link; // connect, keep a lane open, back off
mod turn; // which of two processes talks
mod backoff; // how long to wait before the next try
mod identity; // key and certificate
mod position; // up to where each stream is applied
mod private_file; // files that only their owner may read
mod wire; // the messages

use std::{
    fs, io,
    os::{fd::OwnedFd, unix::net::UnixStream as StdUnixStream},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::SystemTime,
};

use tidegate_chassis::{Clock, Process, handover::Passed};
use tidegate_contract::{purge::PurgeOrder, replacement::Replacement};
use tokio::{net::UnixStream, sync::watch};
use tokio_util::task::AbortOnDropHandle;

pub use self::{
    config::{Config, ConfigError},
    health_report::{Health, Vitals},
};
use self::{
    config_feed::{ConfigFeed, InUse},
    enrolment::Registrar,
    identity::Identity,
    last_good::LastGood,
    link::{LaneError, Link},
    position::Positions,
    purge_feed::PurgeFeed,
    relay::{Predecessor, Successor},
    turn::Turn,
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
    /// The line to the process before this one ([`Agent::line_to_pass`]). With it nothing is said to the control plane
    /// until [`Agent::take_over`].
    pub predecessor: Option<OwnedFd>,
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
    /// The line to the process before this one cannot be used.
    #[error("the line to the process before: {0}")]
    Predecessor(io::Error),
}

/// The agent of this process; all clones are the same.
#[derive(Clone)]
pub struct Agent(Arc<Parts>);

struct Parts {
    state_dir: PathBuf,
    policy: PolicyHandle,
    identity: Arc<watch::Sender<Option<Arc<Identity>>>>,
    turn: Turn,
    successor: Successor,
    /// Our end of the line to a process that is to follow.
    line: Mutex<Option<StdUnixStream>>,
    listening: Mutex<Option<AbortOnDropHandle<()>>>,
}

/// Puts the last good snapshot to use, then keeps the link to the control plane in supervised tasks.
///
/// # Errors
/// [`StartError`] when this machine lacks what the agent needs. An unreachable control plane is not an error.
pub fn start(config: &Config, seams: Seams, process: &Process) -> Result<Agent, StartError> {
    config.check()?;
    private_file::create_folder(&config.state_dir)
        .map_err(|error| StartError::StateDir(config.state_dir.clone(), error))?;
    let last_good = LastGood::new(&config.state_dir);
    let in_use = restore(&last_good, &seams.policy)?;

    let ca_pem = fs::read(&config.ca).map_err(|error| StartError::Ca(config.ca.clone(), error))?;
    let link = Link::new(config, &ca_pem)
        .map_err(|error: LaneError| StartError::Endpoint(error.to_string()))?;
    let identity = Arc::new(watch::Sender::new(known_identity(&config.state_dir)));
    let identity_in_use = identity.subscribe();
    let turn = Turn::new(seams.predecessor.is_none());
    let predecessor = match seams.predecessor {
        Some(line) => follow(line, process).map_err(StartError::Predecessor)?,
        None => Predecessor::none(),
    };
    let agent = Agent(Arc::new(Parts {
        state_dir: config.state_dir.clone(),
        policy: seams.policy.clone(),
        identity: identity.clone(),
        turn: turn.clone(),
        successor: Successor { purges: seams.purges.clone(), lease: seams.lease.clone() },
        line: Mutex::default(),
        listening: Mutex::default(),
    }));

    let registrar = Registrar {
        link: link.clone(),
        clock: seams.clock.clone(),
        policy: seams.policy.clone(),
        state_dir: config.state_dir.clone(),
        node: config.node.clone(),
        token_file: config.enrolment_token_file.clone(),
        call_timeout: config.connect_timeout,
        in_use: identity,
        whose: turn.clone(),
    };
    // What was purged before the last end is known still, so that only what came since is asked for.
    let positions = Positions::restored(seams.purges.positions());
    for (stream, offset) in positions.iter() {
        seams.lease.set_applied(stream, offset);
    }
    let purge_feed = PurgeFeed {
        purges: seams.purges,
        replace: seams.replace,
        lease: seams.lease,
        clock: seams.clock,
        silence_max: config.lease,
        positions,
        predecessor,
    };
    let config_feed = ConfigFeed {
        policy: seams.policy,
        last_good,
        in_use,
        vitals: seams.vitals,
        health_interval: config.health_interval,
        open_timeout: config.connect_timeout,
        adopting: None,
    };
    let (purge_link, purge_identity) = (link.clone(), identity_in_use.clone());
    let purge_turn = turn.clone();
    process.spawn("control identity", registrar.run());
    process.spawn("control purges", async move {
        purge_link.keep(purge_feed, purge_identity, purge_turn).await;
        Ok(())
    });
    process.spawn("control config", async move {
        link.keep(config_feed, identity_in_use, turn).await;
        Ok(())
    });
    Ok(agent)
}

impl Agent {
    /// An end of a line for a process that is to follow; over it that one tells of the purges that it applies.
    ///
    /// # Errors
    /// When there is no room for more descriptors.
    pub fn line_to_pass(&self) -> io::Result<Passed> {
        let (ours, theirs) = StdUnixStream::pair()?;
        *lock(&self.0.line) = Some(ours);
        Ok(Passed { name: LINE.to_owned(), asked: String::new(), socket: theirs.into() })
    }

    /// Leaves the control plane to the process that follows, and applies what that one tells.
    ///
    /// # Errors
    /// When the line to it cannot be used; nothing has changed then.
    pub async fn let_go(&self) -> io::Result<()> {
        let Some(line) = lock(&self.0.line).take() else { return Ok(()) };
        line.set_nonblocking(true)?;
        let line = UnixStream::from_std(line)?;
        self.0.turn.let_go().await;
        let listening = tokio::spawn(self.0.successor.clone().listen(line));
        *lock(&self.0.listening) = Some(AbortOnDropHandle::new(listening));
        Ok(())
    }

    /// The other process has failed: this one talks again.
    pub fn take_back(&self) {
        lock(&self.0.line).take();
        lock(&self.0.listening).take();
        self.take_over();
    }

    /// This process talks to the control plane from now on, as who the node is now and with the newest snapshot that was
    /// kept: the other one may have got both while this one was built.
    pub fn take_over(&self) {
        let Parts { state_dir, policy, identity, turn, .. } = &*self.0;
        if let Err(error) = restore(&LastGood::new(state_dir), policy) {
            tracing::error!(%error, "the last good snapshot");
        }
        if let Some(known) = known_identity(state_dir) {
            identity.send_replace(Some(known));
        }
        turn.take();
    }
}

/// Takes the line to the process before this one, and keeps it going.
fn follow(line: OwnedFd, process: &Process) -> io::Result<Predecessor> {
    let line = StdUnixStream::from(line);
    line.set_nonblocking(true)?;
    let (predecessor, telling) = Predecessor::at(UnixStream::from_std(line)?);
    let drain = process.drain();
    process.spawn("control predecessor", async move {
        telling.await;
        drain.started().await;
        Ok(())
    });
    Ok(predecessor)
}

/// Puts the newest readable snapshot to use.
fn restore(last_good: &LastGood, policy: &PolicyHandle) -> Result<InUse, PolicyError> {
    let Some(kept) = last_good.load() else { return Ok(InUse::default()) };
    let in_use = InUse::of(&kept);
    if policy.generation() >= Some(in_use.generation) {
        return Ok(in_use);
    }
    policy.install(kept.snapshot)?;
    tracing::info!(generation = %in_use.generation, "the last good snapshot is in use");
    Ok(in_use)
}

/// The identity on disk. A damaged one is as good as none: the node enrols again if it has a token.
fn known_identity(state_dir: &Path) -> Option<Arc<Identity>> {
    match Identity::load(state_dir) {
        Ok(identity) => identity.map(Arc::new),
        Err(error) => {
            tracing::error!(%error, "the kept identity is unusable");
            None
        }
    }
}

fn lock<T>(what: &Mutex<T>) -> MutexGuard<'_, T> {
    what.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The name of the line among what is handed over.
pub const LINE: &str = "purges";
/// What the control plane is told about this build.
const BUILD: &str = env!("CARGO_PKG_VERSION");

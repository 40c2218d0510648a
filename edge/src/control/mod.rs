//! What the control plane tells us and what we tell it: releases and purges in, acknowledgements and health out.
//!
//! The node dials out. It keeps a lane for configuration and one or two for purges open for as long as the process
//! lives, each with a connection of its own: with two endpoints or more every purge comes twice, by two ways, and the
//! first copy counts. Before the network is touched, the last good release is put to use.
//!
//! **Invariant.** No client exchange ever waits for anything in this folder: it only writes what others read.

mod config;
mod config_feed; // releases in, acknowledgements and health out
mod errands; // what this node alone shall do, once
mod way_back; // to the release before
mod intake; // verified, bounded, judged, put to use, kept, watched
mod checker; // what another process thinks of a release
mod probation; // the first seconds of a release
mod enrolment; // how a node gets its identity and keeps it fresh
mod health_report; // what a node tells of itself
mod kept; // the releases on disk
mod held; // a release as this node holds it
mod trust; // whom a node believes
mod sealing_key; // what secrets are sealed for
mod purge_feed; // subscriptions to the purges
mod telemetry; // reports up, orders down; questions down, answers up
mod answers; // what operators are told who ask this node
mod log_page; // lines of the log that somebody asks for
mod own_checks; // what the agent finds when it looks at itself
mod audit_witness; // what was heard of the control plane's audit log
mod relay; // purges to the process before this one, while it serves its last connections
mod link; // connect, keep a lane open, back off
mod lane_board; // which lanes are open
mod turn; // which of two processes talks
mod place; // which endpoint each subscription uses
pub mod follower; // purge orders in, applied in order, acknowledged: without sockets
mod backoff; // how long to wait before the next try
mod identity; // key and certificate
pub mod question; // when the control plane was asked, and what an answer speaks of
mod position; // up to where each stream is applied
mod authorities; // whose word counts, also while one authority takes another's place
mod private_file; // files that only their owner may read
pub mod wire; // the messages

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

pub(crate) use self::own_checks::left;
use self::{
    answers::Answers,
    authorities::Authorities,
    checker::Checker,
    config_feed::ConfigFeed,
    enrolment::Registrar,
    errands::Errands,
    follower::Follower,
    identity::Identity,
    intake::Intake,
    kept::Kept,
    link::{LaneError, Link},
    own_checks::OwnChecks,
    purge_feed::PurgeFeed,
    relay::{Predecessor, Successor},
    sealing_key::SealingKey,
    telemetry::TelemetryFeed,
    trust::Trust,
    turn::Turn,
};
pub use self::{
    checker::{CHECK_BYTES_MAX, judge},
    config::{Config, ConfigError},
    errands::Restart,
    health_report::{Health, Vitals},
    telemetry::{Checks, Telemetry},
};
use crate::{
    cache::{lease::Lease, purge::PurgeTable},
    policy::PolicyHandle,
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
    /// What the third lane reads and writes; absent: it is never opened.
    pub telemetry: Option<Telemetry>,
    /// How a new process is asked for; absent: there is none to be had.
    pub restart: Option<Restart>,
    /// The time of day.
    pub clock: Clock,
    /// Whether a process before this one still runs, so that nobody crashed.
    pub is_successor: bool,
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
    /// The key that secrets are sealed for can be neither read nor made.
    #[error("the sealing key in {0}: {1}")]
    SealingKey(PathBuf, io::Error),
    /// The line to the process before this one cannot be used.
    #[error("the line to the process before: {0}")]
    Predecessor(io::Error),
}

/// The agent of this process; all clones are the same.
#[derive(Clone)]
pub struct Agent(Arc<Parts>);

struct Parts {
    state_dir: PathBuf,
    intake: Arc<Intake>,
    follower: Arc<Mutex<Follower>>,
    identity: Arc<watch::Sender<Option<Arc<Identity>>>>,
    turn: Turn,
    errands: Errands,
    successor: Successor,
    /// Our end of the line to a process that is to follow.
    line: Mutex<Option<StdUnixStream>>,
    listening: Mutex<Option<AbortOnDropHandle<()>>>,
}

/// Puts the last good release to use, then keeps the link to the control plane in supervised tasks.
///
/// # Errors
/// [`StartError`] when this machine lacks what the agent needs. An unreachable control plane is not an error.
pub fn start(config: &Config, seams: Seams, process: &Process) -> Result<Agent, StartError> {
    config.check()?;
    private_file::create_folder(&config.state_dir)
        .map_err(|error| StartError::StateDir(config.state_dir.clone(), error))?;
    let pinned = fs::read(&config.ca).map_err(|error| StartError::Ca(config.ca.clone(), error))?;
    let authorities = Authorities::open(&config.state_dir, pinned);
    let sealing_key = SealingKey::open(&config.state_dir)
        .map_err(|error| StartError::SealingKey(config.state_dir.clone(), error))?;
    let known = known_identity(&config.state_dir);
    let intake = Arc::new(Intake {
        policy: seams.policy.clone(),
        trust: Trust::new(authorities.clone()),
        sealing_key,
        checker: Checker::new(config.checker.clone()),
        kept: Kept::new(&config.state_dir),
        vitals: seams.vitals.clone(),
        clock: seams.clock.clone(),
        probation: config.probation,
        process: hex::encode(rand::random::<[u8; 8]>()),
        state: Mutex::default(),
        trial: watch::Sender::new(None),
        refused: watch::Sender::new(None),
        putting: Arc::default(),
    });
    intake.restore(known.as_ref().map(|identity| identity.pop.clone()), seams.is_successor);
    let link = Link::new(config, authorities.clone())
        .map_err(|error: LaneError| StartError::Endpoint(error.to_string()))?;
    let identity = Arc::new(watch::Sender::new(known));
    let identity_in_use = identity.subscribe();
    let turn = Turn::new(seams.predecessor.is_none());
    let predecessor = match seams.predecessor {
        Some(line) => follow(line, process).map_err(StartError::Predecessor)?,
        None => Predecessor::none(),
    };
    let follower = Follower::new(seams.purges.clone(), seams.replace, seams.lease.clone())
        .telling(predecessor.clone());
    let follower = Arc::new(Mutex::new(follower));
    let errands =
        Errands::new(&config.state_dir, Arc::clone(&intake), seams.restart, seams.clock.clone());
    if !seams.is_successor {
        errands.take_over();
    }
    let agent = Agent(Arc::new(Parts {
        state_dir: config.state_dir.clone(),
        intake: Arc::clone(&intake),
        follower: Arc::clone(&follower),
        identity: identity.clone(),
        turn: turn.clone(),
        errands: errands.clone(),
        successor: Successor { purges: seams.purges.clone(), lease: seams.lease.clone() },
        line: Mutex::default(),
        listening: Mutex::default(),
    }));

    let registrar = Registrar {
        link: link.clone(),
        authorities: authorities.clone(),
        clock: seams.clock.clone(),
        policy: seams.policy.clone(),
        state_dir: config.state_dir.clone(),
        node: config.node.clone(),
        token_file: config.enrolment_token_file.clone(),
        call_timeout: config.connect_timeout,
        in_use: identity,
        whose: turn.clone(),
    };
    let clock = seams.clock;
    let (believed, watched) = (authorities.clone(), Arc::clone(&intake));
    let config_feed = ConfigFeed {
        refused: intake.refused.subscribe(),
        intake: Arc::clone(&intake),
        vitals: seams.vitals,
        authorities,
        in_use: identity_in_use.clone(),
        health_interval: config.health_interval,
        open_timeout: config.connect_timeout,
    };
    let drain = process.drain();
    process.spawn("release journal", {
        let intake = Arc::clone(&intake);
        async move {
            drain.started().await;
            tokio::task::spawn_blocking(move || intake.ended()).await?;
            Ok(())
        }
    });
    let drain = process.drain();
    process.spawn("release probation", async move {
        tokio::select! {
            () = intake.watch() => {}
            () = drain.started() => {}
        }
        Ok(())
    });
    process.spawn("control identity", registrar.run());
    let places = link.places(SUBSCRIPTIONS_MAX);
    for (number, subscription) in (0..places.lanes()).zip(0_u32..) {
        let feed = PurgeFeed {
            witness: audit_witness::AuditWitness::default(),
            follower: Arc::clone(&follower),
            predecessor: predecessor.clone(),
            subscription,
            clock: clock.clone(),
            silence_max: config.lease,
        };
        let (link, identity) = (link.clone(), identity_in_use.clone());
        let places = places.clone();
        let turn = turn.clone();
        process.spawn("control purges", async move {
            link.keep(feed, identity, (places, number), turn).await;
            Ok(())
        });
    }
    let config_places = link.places(1);
    if let Some(seam) = seams.telemetry {
        let own = OwnChecks {
            identity: identity_in_use.clone(),
            authorities: believed,
            board: link.board(),
            intake: watched,
            lease: seams.lease,
            clock: clock.clone(),
        };
        let (log, checks) = (seam.log.clone(), seam.checks.clone());
        let answers = Arc::new(Answers { log, own, checks, clock: clock.clone() });
        let carrying_out = errands.clone().run(seam.orders.subscribe(), process.drain());
        process.spawn("node orders", async move {
            carrying_out.await;
            Ok(())
        });
        let (link, identity) = (link.clone(), identity_in_use.clone());
        let feed = TelemetryFeed {
            seam,
            errands,
            answers,
            open_timeout: config.connect_timeout,
            round_trips_interval: config.round_trips_interval,
            demand_interval: config.demand_interval,
        };
        let places = link.places(1);
        let turn = turn.clone();
        process.spawn("control telemetry", async move {
            link.keep(feed, identity, (places, 0), turn).await;
            Ok(())
        });
    }
    process.spawn("control config", async move {
        link.keep(config_feed, identity_in_use, (config_places, 0), turn).await;
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

    /// This process talks to the control plane from now on, as who the node is now and with the newest release that was
    /// kept: the other one may have got both while this one was built.
    pub fn take_over(&self) {
        let Parts { state_dir, intake, follower, identity, turn, errands, .. } = &*self.0;
        intake.catch_up();
        errands.take_over();
        lock(follower).catch_up();
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
/// A second subscription halves what a lost packet costs the last of many PoPs; a third one adds nothing.
const SUBSCRIPTIONS_MAX: usize = 2;

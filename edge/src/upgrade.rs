//! An upgrade without a gap: on SIGUSR2, or when the control plane orders a restart, a new process gets the sockets of this one, serves, and this one drains.
//!
//! The new one is the program as it stands on disk then, with the arguments of this one. It builds everything before it
//! says that it could serve; only then this process lets go of what two cannot hold. Invariant: a new process that cannot
//! start, fails or stays silent costs nothing: this one serves on.

use std::{
    io,
    os::{
        linux::net::SocketAddrExt,
        unix::{
            ffi::OsStrExt,
            net::{SocketAddr, UnixDatagram},
        },
    },
    path::PathBuf,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    time::Duration,
};

use anyhow::Context;
use prometheus::IntCounterVec;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tidegate_chassis::{
    Process,
    handover::{HandoverError, Successor},
};
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::{mpsc, oneshot},
    time::timeout,
};

use crate::{
    control::{Agent, Restart},
    listener::{self, Estate, Lines},
};

/// Section `[upgrade]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// The program that takes over on SIGUSR2. Default: the one that runs, from where it was started.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub program: Option<PathBuf>,
    /// How long it may take until it could serve. Default 60s; then it is ended, and the old process goes on.
    #[serde(with = "humantime_serde")]
    pub start_timeout: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self { program: None, start_timeout: Duration::from_secs(60) }
    }
}

/// What waits for the signal.
pub struct Upgrade {
    asked: Signal,
    ordered: mpsc::Receiver<oneshot::Sender<Result<(), String>>>,
    orders: Restart,
    program: PathBuf,
    start_timeout: Duration,
    estate: Estate,
    /// Absent: there is no control plane.
    agent: Option<Agent>,
    lines: Held,
    process: Process,
    outcomes: IntCounterVec,
    /// Whether the process before has ended; it cannot be followed by two.
    is_alone: Arc<AtomicBool>,
}

/// Over which the new process hands back what belongs to connections of this one, once there is one. Held until the last
/// connection is closed.
pub type Held = Arc<Mutex<Option<Lines>>>;

/// What else the new process must know, at the moment of the handover.
pub type Legacy = Box<dyn Fn() -> serde_json::Result<Value> + Send + Sync>;

impl Upgrade {
    /// From now on the signal does not end the process.
    ///
    /// # Errors
    /// When signals cannot be listened for, or nobody knows which program this is.
    pub fn new(
        config: &Config,
        estate: Estate,
        process: &Process,
        outcomes: IntCounterVec,
        is_alone: Arc<AtomicBool>,
    ) -> anyhow::Result<Self> {
        let program = match &config.program {
            Some(program) => program.clone(),
            // Later it would be the name of a file that was replaced.
            None => std::env::current_exe().context("which program is this?")?,
        };
        let (orders, ordered) = mpsc::channel(ORDERS_MAX);
        Ok(Self {
            ordered,
            orders,
            asked: signal(SignalKind::user_defined2()).context("cannot listen for SIGUSR2")?,
            program,
            start_timeout: config.start_timeout,
            estate,
            agent: None,
            lines: Held::default(),
            process: process.clone(),
            outcomes,
            is_alone,
        })
    }

    /// How else than by the signal it is asked for.
    #[must_use]
    pub fn orders(&self) -> Restart {
        self.orders.clone()
    }

    /// Where the lines will be.
    #[must_use]
    pub fn lines(&self) -> Held {
        self.lines.clone()
    }

    /// Hands over when it is asked for, and then drains this process; ends with the drain.
    pub async fn watch(mut self, legacy: Legacy, agent: Option<Agent>) {
        self.agent = agent;
        let drain = self.process.drain();
        loop {
            let asking = tokio::select! {
                // The sockets are closed with this.
                () = drain.started() => return,
                _ = self.asked.recv() => None,
                asking = self.ordered.recv() => asking,
            };
            // Who asked may have gone.
            let answer = |answer| asking.map(|asking| asking.send(answer)).and_then(Result::ok);
            if !self.is_alone.load(SeqCst) {
                tracing::error!("no upgrade: the process before has not ended yet");
                self.outcomes.with_label_values(&["refused"]).inc();
                answer(Err("the process before has not ended yet".to_owned()));
                continue;
            }
            match self.hand_over(&legacy).await {
                Ok(pid) => {
                    answer(Ok(()));
                    return self.leave(pid);
                }
                Err(error) => {
                    self.estate.take_back();
                    if let Some(agent) = &self.agent {
                        agent.take_back();
                    }
                    self.outcomes.with_label_values(&["failed"]).inc();
                    tracing::error!(%error, program = %self.program.display(), "no upgrade: this process goes on");
                    answer(Err(error.to_string()));
                }
            }
        }
    }

    async fn hand_over(&self, legacy: &Legacy) -> Result<u32, HandoverError> {
        tracing::info!(program = %self.program.display(), "handing over to a new process");
        let (mut sockets, known) = self.estate.will()?;
        sockets.extend(self.process.admin_to_pass());
        if let Some(agent) = &self.agent {
            sockets.push(agent.line_to_pass()?);
        }
        let mut state = serde_json::Map::new();
        state.insert(listener::STATE_KEY.to_owned(), known);
        state.insert(CACHE_KEY.to_owned(), legacy().map_err(io::Error::from)?);
        let args = std::env::args_os().skip(1).collect();
        let starting = Successor::start(&self.program, args, sockets, state.into());
        let limit = self.start_timeout;
        let starting = timeout(limit, starting).await;
        let mut successor = starting.map_err(|_| HandoverError::Silent(limit))??;
        successor.ready(limit).await?;
        if let Some(agent) = &self.agent {
            agent.let_go().await?;
        }
        self.estate.let_go().await;
        successor.go(GO_TIME).await?;
        Ok(successor.pid())
    }

    fn leave(self, pid: u32) {
        tracing::info!(pid, "the new process serves; this one drains");
        self.outcomes.with_label_values(&["done"]).inc();
        if let Err(error) = tell_supervisor(&format!("MAINPID={pid}")) {
            tracing::warn!(%error, "the supervisor does not know the new process");
        }
        self.process.give_admin();
        let lines = self.estate.into_lines();
        *self.lines.lock().unwrap_or_else(PoisonError::into_inner) = Some(lines);
        self.process.drain().begin();
    }
}

/// Tells systemd, or whoever else set `NOTIFY_SOCKET`, in the form of `sd_notify`.
///
/// # Errors
/// When it does not listen.
pub fn tell_supervisor(what: &str) -> io::Result<()> {
    let Some(name) = std::env::var_os("NOTIFY_SOCKET") else { return Ok(()) };
    let socket = UnixDatagram::unbound()?;
    let name = name.as_encoded_bytes();
    match name.strip_prefix(b"@") {
        Some(name) => socket.send_to_addr(what.as_bytes(), &SocketAddr::from_abstract_name(name)?),
        None => {
            let path = std::ffi::OsStr::from_bytes(name);
            socket.send_to(what.as_bytes(), path)
        }
    }
    .map(drop)
}

/// Under which key of what is handed over the cache's part stands.
pub const CACHE_KEY: &str = "cache";
/// Orders wait for one another: the node takes one at a time.
const ORDERS_MAX: usize = 1;
/// For the new process to begin to serve, with everything built.
const GO_TIME: Duration = Duration::from_secs(10);

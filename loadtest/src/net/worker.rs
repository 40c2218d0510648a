//! The connections of one worker: made once per thread, and asked for sessions.
//!
//! Invariant: it stays on its thread; sessions of one worker share names, tickets, sockets and a read buffer.

use std::rc::Rc;

use super::{
    config::{ConfigError, NetConfig},
    counters::Counters,
    endpoints::Endpoints,
    resolve::Names,
    session::{Session, SessionPlan},
    shared::Shared,
    transport,
    trust::{Trust, TrustError},
    turns::Turns,
};

/// The network of one worker. It lives in a `LocalSet` on a current-thread runtime.
pub struct Net(Rc<Shared>);

impl Net {
    pub fn new(config: NetConfig) -> Result<Self, NetError> {
        config.check()?;
        let trust = Trust::new(&config)?;
        Ok(Self(Rc::new(Shared {
            config,
            trust,
            names: Names::default(),
            endpoints: Endpoints::default(),
            buffer: transport::buffer(),
            turns: Rc::default(),
            tally: Rc::default(),
            sources: std::cell::Cell::new(0),
        })))
    }

    /// A session without connections yet; they are made as its fetches need them.
    pub fn session(&self, plan: SessionPlan) -> Session {
        Session::new(Rc::clone(&self.0), plan)
    }

    /// The turns in which its connections read, for whoever keeps them.
    pub fn turns(&self) -> Rc<Turns> {
        Rc::clone(&self.0.turns)
    }

    /// What its connections have come to so far.
    pub fn counters(&self) -> Counters {
        self.0.tally.read()
    }
}

/// Why there is no network.
#[derive(Debug, thiserror::Error)]
pub enum NetError {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(transparent)]
    Trust(#[from] TrustError),
}

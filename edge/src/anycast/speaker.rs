//! What every speaker of BGP can do for a node: announce prefixes at levels, and close a gate behind all of them.
//!
//! Invariant: whatever a speaker was told stays until it is told otherwise; that whoever told it is gone changes nothing.

use std::{collections::BTreeMap, time::Duration};

use async_trait::async_trait;
use tidegate_contract::{anycast::Level, id::PrefixId};

/// What a speaker does now.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SpeakerState {
    /// What each prefix is announced as, the gate aside.
    pub levels: BTreeMap<PrefixId, Level>,
    /// Whether the gate is closed: no neighbour hears of anything.
    pub is_gate_closed: bool,
    /// Sessions with neighbours that are established, and all of them.
    pub established: u32,
    /// As above.
    pub sessions: u32,
}

/// Why a speaker did not do as it was told.
#[derive(Debug, thiserror::Error)]
pub enum SpeakerError {
    /// It does not answer.
    #[error("the speaker does not answer: {0}")]
    Silent(String),
    /// It answers something that cannot be understood.
    #[error("the speaker's answer cannot be read: {0}")]
    Unreadable(String),
    /// It says no.
    #[error("the speaker refuses: {0}")]
    Refused(String),
    /// Nothing is prepared for it.
    #[error("{0}")]
    NotPrepared(String),
}

/// A speaker.
#[async_trait]
pub trait Speaker: Send + Sync {
    /// Announces a prefix at a level. On the way from one announced level to another the prefix is announced all the time.
    async fn announce(&self, prefix: &PrefixId, level: &Level) -> Result<(), SpeakerError>;

    /// What it does now.
    async fn state(&self) -> Result<SpeakerState, SpeakerError>;

    /// Withdraws everything, whatever the levels say, or undoes that.
    async fn close_gate(&self, is_closed: bool) -> Result<(), SpeakerError>;

    /// Reads its configuration file anew; takes that back by itself when no confirmation comes in time.
    async fn guard(&self, timeout: Duration) -> Result<(), SpeakerError>;

    /// Confirms what [`Speaker::guard`] began.
    async fn confirm(&self) -> Result<(), SpeakerError>;
}

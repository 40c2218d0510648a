//! Who may do what, what needs a second person, and what was done.
//!
//! Tokens, roles, approvals and the audit rows are records, so that every replica knows the same. Decisions (what a
//! grant covers, whether an approval is good, whether a chain is whole) are functions over values; around them is thin
//! reading and writing. Invariant: nothing here ever holds, writes or logs a token's secret.

mod audit;
mod approvals;
mod tokens;
mod roles;
mod chain;
mod danger;
mod scope;

use std::{sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};
use tidegate_chassis::Clock;

use crate::store::{CommitError, Records, StoreError};

pub use approvals::Clearance;
pub use audit::{AuditEnd, AuditLog, append_once};
pub use chain::{ChainBreak, Entry, Head, Link, Row, verify};
pub use danger::{Approval, ApprovalState, Claim, Danger, TwoPerson};
pub use roles::{BUILT_IN, Role};
pub use scope::{Grant, GrantError, Scopes, Verb};
pub use tokens::{NewGrant, TokenRecord, list_tokens, revoke_token};

/// Settings of access.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Whether a dangerous act needs a second person: `never`, `when_several` (as soon as tokens of two persons may
    /// approve) or `always`.
    pub two_person: TwoPerson,
    /// How long an approval may be asked for, given and used.
    #[serde(with = "humantime_serde")]
    pub approval_lifetime: Duration,
    /// Approvals that wait at a time; more are refused.
    pub approvals_max: usize,
    /// API tokens that there may be.
    pub tokens_max: usize,
    /// Audit rows that are kept; older ones are forgotten, and the chain is checked from the oldest that is there.
    pub audit_rows_max: u64,
    /// Calls that wait for their audit row; more are answered 503.
    pub audit_queue_rows_max: usize,
    /// Whether the status page and its data are shown to who has no token.
    pub open_status_page: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            two_person: TwoPerson::WhenSeveral,
            approval_lifetime: Duration::from_secs(30 * 60),
            approvals_max: 256,
            tokens_max: 4096,
            audit_rows_max: 2_000_000,
            audit_queue_rows_max: 4096,
            open_status_page: false,
        }
    }
}

/// Tokens, roles, approvals and the audit log of one control plane. Cheap to clone.
#[derive(Clone)]
pub struct Access {
    records: Arc<dyn Records>,
    config: Arc<Config>,
    clock: Clock,
    audit: AuditLog,
}

/// Why something of access was not done.
#[derive(Debug, thiserror::Error)]
pub enum AccessError {
    /// A name is not there.
    #[error("there is no {what} {id}")]
    NotFound {
        /// What kind of thing.
        what: &'static str,
        /// Its name.
        id: String,
    },
    /// The value cannot be kept.
    #[error("{0}")]
    Invalid(String),
    /// Who asks may not give this.
    #[error("{0}")]
    Forbidden(String),
    /// Somebody else changed it in between.
    #[error("{0} was changed in between")]
    Conflict(String),
    /// A second person must approve first.
    #[error("a second person must approve: tidegate approval approve {id}")]
    ApprovalNeeded {
        /// The approval that waits.
        id: String,
    },
    /// The approval that was shown does not allow this.
    #[error("approval {id}: {why}")]
    ApprovalRefused {
        /// The approval.
        id: String,
        /// Why not.
        why: &'static str,
    },
    /// The audit log cannot take the row.
    #[error("the audit log cannot be written")]
    Audit,
    /// The store cannot answer.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Access {
    /// Opens access on records. The second value ends when the writer of the audit log does, which before the last
    /// [`Access`] is dropped is a failure.
    #[must_use]
    pub fn open(records: Arc<dyn Records>, config: Config, clock: Clock) -> (Self, AuditEnd) {
        let (audit, end) = AuditLog::start(
            Arc::clone(&records),
            config.audit_queue_rows_max,
            config.audit_rows_max,
        );
        (Self { records, config: Arc::new(config), clock, audit }, end)
    }

    /// The audit log.
    #[must_use]
    pub fn audit(&self) -> &AuditLog {
        &self.audit
    }

    /// The settings.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.config
    }
}

impl From<CommitError> for AccessError {
    fn from(error: CommitError) -> Self {
        match error {
            CommitError::Conflict { key, .. } => Self::Conflict(key.to_string()),
            CommitError::TooLarge(what) => Self::Invalid(what.to_owned()),
            CommitError::Store(error) => Self::Store(error),
        }
    }
}

/// Reads a record's value.
fn decode<T: serde::de::DeserializeOwned>(
    what: &'static str,
    value: &[u8],
) -> Result<T, StoreError> {
    serde_json::from_slice(value).map_err(|error| StoreError::damaged(what, error))
}

/// A record's value.
fn encode(value: &impl Serialize) -> bytes::Bytes {
    serde_json::to_vec(value).expect("plain data").into()
}

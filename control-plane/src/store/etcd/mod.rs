//! State in etcd: several replicas of the control plane over one cluster.
//!
//! Only replicas talk to etcd, never nodes. A record, a purge and a lease are each written in one transaction that
//! compares what its writer had read, so two replicas never undo each other's work.

mod raise;
mod append;
mod trim;
mod log;
mod log_entry;
mod lease;
mod records;
mod watch;
mod client;
mod wire;

use std::{path::PathBuf, time::Duration};

use serde::{Deserialize, Serialize};

pub use client::Client;
pub use lease::EtcdLease;
pub use log::EtcdLog;
pub use raise::raise;
pub use records::EtcdRecords;

/// Settings of the way to etcd.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// What all keys begin with, so that several control planes may share a cluster.
    pub prefix: String,
    /// PEM of the authority that signed the members' certificates; needed for https.
    pub ca_file: Option<PathBuf>,
    /// PEM of the certificate that this replica shows to etcd, with `key_file`.
    pub certificate_file: Option<PathBuf>,
    /// PEM of its key.
    pub key_file: Option<PathBuf>,
    /// The longest that one member may take to answer before the next is asked; above an election of etcd, 1 s.
    #[serde(with = "humantime_serde")]
    pub call_timeout: Duration,
    /// How long members are asked in turn before a call fails; an election and a retry fit into it.
    #[serde(with = "humantime_serde")]
    pub give_up_after: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            prefix: "/tidegate".to_owned(),
            ca_file: None,
            certificate_file: None,
            key_file: None,
            call_timeout: Duration::from_secs(2),
            give_up_after: Duration::from_secs(5),
        }
    }
}

/// A number of etcd, which counts from 1 and is signed on its wire.
fn unsigned(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}

fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

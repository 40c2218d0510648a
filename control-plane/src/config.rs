//! The settings of the control plane: each part's own, put together.
//!
//! Only `main` and `server` read this; a part sees its own section alone.

use std::{path::PathBuf, time::Duration};

use anyhow::ensure;
use serde::{Deserialize, Serialize};
use tidegate_chassis::{ProcessConfig, Program, ProgramConfig};

use crate::{access, api, ca, drain, leader, listener, purge, release, rollout, store, sync};

/// This program.
pub const PROGRAM: Program = Program { name: "tidegate-control", env_prefix: "TIDEGATE_CONTROL" };

/// All settings.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Folder of the database, the CA and its key; made if absent, readable by its owner alone. One process alone
    /// uses it.
    pub data_dir: PathBuf,
    /// The process: logs, admin port, drain.
    pub process: ProcessConfig,
    /// The two ports.
    pub listen: listener::Config,
    /// The HTTP API.
    pub api: api::Config,
    /// Tokens, approvals, the audit log.
    pub access: access::Config,
    /// The port for nodes.
    pub sync: sync::Config,
    /// Purges and their log.
    pub purge: purge::Config,
    /// Releases: how long they are good, how many are kept.
    pub release: release::Config,
    /// How releases go out.
    pub rollout: rollout::Config,
    /// How PoPs are drained.
    pub drain: drain::Times,
    /// The authority for identities.
    pub ca: ca::Config,
    /// The store.
    pub store: store::Config,
    /// Who leads, when several replicas share the store.
    pub leader: leader::Config,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            data_dir: PathBuf::from("data/control"),
            process: ProcessConfig::default(),
            listen: listener::Config::default(),
            api: api::Config::default(),
            access: access::Config::default(),
            sync: sync::Config::default(),
            purge: purge::Config::default(),
            release: release::Config::default(),
            rollout: rollout::Config::default(),
            drain: drain::Times::default(),
            ca: ca::Config::default(),
            store: store::Config::default(),
            leader: leader::Config::default(),
        }
    }
}

impl ProgramConfig for Config {
    fn check(&self) -> anyhow::Result<()> {
        let (heartbeat, lease) = (self.sync.heartbeat, self.purge.lease);
        ensure!(!heartbeat.is_zero(), "sync.heartbeat must not be 0");
        ensure!(
            heartbeat * 2 <= lease,
            "sync.heartbeat is {heartbeat:?}: one may be lost within the lease of {lease:?}, so it \
             must be at most half of it"
        );
        ensure!(self.release.lifetime >= MINUTE, "release.lifetime must be at least a minute");
        ensure!(self.release.keep_versions >= 2, "release.keep_versions must be at least 2");
        ensure!(!self.purge.trim_every.is_zero(), "purge.trim_every must not be 0");
        ensure!(self.ca.server_lifetime >= MINUTE, "ca.server_lifetime must be at least a minute");
        ensure!(!self.ca.node_lifetime.is_zero(), "ca.node_lifetime must not be 0");
        ensure!(
            self.store.url == "sqlite:" || self.purge.lease_margin >= SECOND,
            "purge.lease_margin must be at least a second: so old may a replica's knowledge be"
        );
        ensure!(self.leader.ttl >= SECOND, "leader.ttl must be at least a second");
        ensure!(!self.leader.retry.is_zero(), "leader.retry must not be 0");
        ensure!(!self.access.approval_lifetime.is_zero(), "access.approval_lifetime must not be 0");
        ensure!(self.access.audit_rows_max >= 1, "access.audit_rows_max must be at least 1");
        ensure!(!self.listen.names.is_empty(), "listen.names must name this server");
        for (name, rate) in [
            ("api.purge_rate", self.api.purge_rate),
            ("api.purge_all_rate", self.api.purge_all_rate),
            ("api.replace_rate", self.api.replace_rate),
            ("listen.handshake_rate", self.listen.handshake_rate),
            ("sync.enrolment_rate", self.sync.enrolment_rate),
            ("sync.renewal_rate", self.sync.renewal_rate),
        ] {
            ensure!(
                rate.per_second > 0.0 && rate.burst >= 1.0,
                "{name}: per_second must be above 0 and burst at least 1"
            );
        }
        Ok(())
    }

    fn process(&self) -> &ProcessConfig {
        &self.process
    }
}

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reference_config_says_what_the_code_does() {
        let reference = include_str!("../../deploy/config/tidegate-control.toml");
        if let Err(differences) = tidegate_chassis::config::check_reference::<Config>(reference) {
            panic!("{differences}");
        }
    }

    #[test]
    fn a_heartbeat_longer_than_half_the_lease_is_refused() {
        let mut config = Config::default();
        assert!(config.check().is_ok());
        config.sync.heartbeat = config.purge.lease;
        assert!(config.check().is_err());
    }
}

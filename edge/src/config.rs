//! The node's settings, part by part; every part owns its own.
//!
//! Invariant: the reference configuration in `deploy/config` says the same as the defaults here.

use serde::{Deserialize, Serialize};
use tidegate_chassis::{ProcessConfig, ProgramConfig};
use tidegate_contract::{
    id::{Generation, PopId},
    property::Property,
    snapshot::{PopRole, Snapshot},
    tier::TierKey,
};

use crate::{cache, control, listener, upstream};

/// Everything that a node can be told by file, environment and command line.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// The process: admin port, logs, drain.
    pub process: ProcessConfig,
    /// Where clients connect.
    pub listen: listener::Config,
    /// What is kept.
    pub cache: cache::Config,
    /// How upstreams are asked.
    pub upstream: upstream::Config,
    /// Whether a line is written for every exchange. Default true.
    pub access_log: bool,
    /// The control plane; absent: the node stands alone and serves `property`.
    pub control: Option<control::Config>,
    /// What a node that stands alone calls itself in `Via` and `Cache-Status`. Default `standalone`.
    pub pop: PopId,
    /// What a node that stands alone serves.
    pub property: Vec<Property>,
}

impl Config {
    /// The snapshot of a node that stands alone.
    #[must_use]
    pub fn standalone(&self) -> Snapshot {
        Snapshot {
            generation: Generation(1),
            pop: self.pop.clone(),
            role: PopRole::Edge,
            properties: self.property.clone(),
            // Nobody shares it, so nobody is believed to be another node.
            tier_key: TierKey::new(rand::random()),
            shields: Vec::new(),
        }
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            process: ProcessConfig::default(),
            listen: listener::Config::default(),
            cache: cache::Config::default(),
            upstream: upstream::Config::default(),
            access_log: true,
            control: None,
            pop: PopId::parse("standalone").expect("a plain id"),
            property: Vec::new(),
        }
    }
}

impl ProgramConfig for Config {
    fn check(&self) -> anyhow::Result<()> {
        self.listen.check()?;
        self.cache.check()?;
        self.upstream.check()?;
        match &self.control {
            Some(control) => {
                anyhow::ensure!(
                    self.property.is_empty(),
                    "property: a node with a control plane gets its properties from there"
                );
                control.check()?;
            }
            None => {
                anyhow::ensure!(
                    !self.property.is_empty(),
                    "property: a node without a control plane needs at least one (or --origin)"
                );
                self.standalone().check()?;
            }
        }
        Ok(())
    }

    fn process(&self) -> &ProcessConfig {
        &self.process
    }
}

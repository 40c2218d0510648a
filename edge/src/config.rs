//! The node's settings, part by part; every part owns its own.
//!
//! Invariant: the reference configuration in `deploy/config` says the same as the defaults here.

use bytesize::ByteSize;
use serde::{Deserialize, Serialize, Serializer};
use tidegate_chassis::{ProcessConfig, ProgramConfig, recent};
use tidegate_contract::{
    id::{Generation, PopId},
    property::Property,
    snapshot::{PopRole, Snapshot},
    tier::TierKey,
};

use crate::{
    anycast, cache, control, fetch, listener,
    memory::{self, WorstCase},
    upgrade, upstream,
};

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
    /// What is fetched, and how long things are remembered or waited for.
    pub fetch: fetch::Config,
    /// How upstreams are asked.
    pub upstream: upstream::Config,
    /// The most memory that the settings together may allow. Default: what the control group or the machine has.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_max: Option<ByteSize>,
    /// How a new process takes over.
    pub upgrade: upgrade::Config,
    /// How the node finds out whether it serves.
    pub self_test: anycast::self_test::Config,
    /// What this site announces by BGP; absent: nothing is steered from here.
    pub anycast: Option<anycast::Config>,
    /// Whether lines are written for exchanges. Default true.
    pub access_log: bool,
    /// For one in how many exchanges; those that failed always have one. Default 1: for every exchange.
    pub access_log_every: u32,
    /// The control plane; absent: the node stands alone and serves `property`.
    pub control: Option<control::Config>,
    /// What a node that stands alone calls itself in `Via` and `Cache-Status`. Default `standalone`.
    pub pop: PopId,
    /// What a node that stands alone serves. Shown without the secrets in it.
    #[serde(serialize_with = "redacted")]
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
            certificates: Vec::new(),
        }
    }
}

impl Config {
    /// The most memory that these settings allow.
    #[must_use]
    pub fn worst_case(&self) -> WorstCase {
        let log_bytes = self.control.as_ref().map_or(0, |control| control.log_bytes_max.as_u64());
        WorstCase::of(&self.listen, &self.cache, &self.fetch, &self.upstream)
            .and("control.log_bytes_max", log_bytes)
    }

    /// The most memory that there is for them.
    #[must_use]
    pub fn memory_max(&self) -> u64 {
        self.memory_max.map_or_else(|| memory::available().unwrap_or(u64::MAX), |max| max.as_u64())
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            process: ProcessConfig::default(),
            listen: listener::Config::default(),
            cache: cache::Config::default(),
            fetch: fetch::Config::default(),
            upstream: upstream::Config::default(),
            memory_max: None,
            upgrade: upgrade::Config::default(),
            self_test: anycast::self_test::Config::default(),
            anycast: None,
            access_log: true,
            access_log_every: 1,
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
        self.fetch.check()?;
        self.upstream.check()?;
        self.worst_case().check(self.memory_max())?;
        if let Some(anycast) = &self.anycast {
            anycast.check()?;
        }
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
                    self.upstream.siblings.nodes.is_empty(),
                    "upstream.siblings: nodes know one another's requests and purges through a control plane"
                );
                anyhow::ensure!(
                    !self.property.is_empty(),
                    "property: a node without a control plane needs at least one (or --origin)"
                );
                self.standalone().check()?;
            }
        }
        Ok(())
    }

    fn summary(&self) -> String {
        let (worst, max) = (self.worst_case(), ByteSize(self.memory_max()));
        format!("memory: at most {} of {max}\n{worst}", ByteSize(worst.sum()))
    }

    fn recent_log(&self) -> recent::Limits {
        // Without a control plane nobody asks for it.
        self.control.as_ref().map_or(recent::Limits::NONE, control::Config::recent_log)
    }

    fn process(&self) -> &ProcessConfig {
        &self.process
    }
}

/// Configurations are printed and shown on the admin port.
fn redacted<S: Serializer>(properties: &[Property], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(properties.iter().map(Property::redacted))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn siblings_need_a_control_plane() {
        let text = "[[property]]\nid = \"a\"\nhosts = [\"*\"]\norigins = [{ authority = \"127.0.0.1:1\" }]\n";
        let mut config: Config = toml::from_str(text).unwrap();
        config.check().unwrap();
        let siblings = "own = \"10.0.0.1:443\"\nnodes = [{ authority = \"10.0.0.2:443\" }]";
        config.upstream.siblings = toml::from_str(siblings).unwrap();
        assert!(config.check().unwrap_err().to_string().starts_with("upstream.siblings"));
    }

    #[test]
    fn a_configuration_is_shown_without_secrets() {
        let secret = "c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0LXNlY3JldCE";
        let text = format!(
            "[[property]]\nid = \"a\"\nhosts = [\"*\"]\norigins = [{{ authority = \"127.0.0.1:1\" }}]\n\
             [[property.guard.tokens.keys]]\nid = \"k\"\nalgorithm = \"HS256\"\nsecret = \"{secret}\"\n"
        );
        let config: Config = toml::from_str(&text).unwrap();
        config.check().unwrap();
        for shown in [
            toml::to_string(&config).unwrap(),
            serde_json::to_string(&config).unwrap(),
            format!("{config:?}"),
        ] {
            assert!(!shown.contains("c2VjcmV0"), "{shown}");
        }
        let snapshot = serde_json::to_string(&config.standalone()).unwrap();
        assert!(snapshot.contains(secret), "a snapshot carries it");
    }
}

//! Section `[upstream]`: time limits, attempts and health of upstreams.
//!
//! Invariant: every wait on an upstream ends.

use std::{path::PathBuf, time::Duration};

use serde::{Deserialize, Serialize};
use tidegate_contract::property::Upstream;

/// The settings of section `[upstream]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Time to connect, TLS included. Default 3s: a lost SYN is sent again after 1s, so two losses are survived.
    #[serde(with = "humantime_serde")]
    pub connect_timeout: Duration,
    /// Time from a request to the head of its answer. Default 30s: long polls of the origin answer before that.
    #[serde(with = "humantime_serde")]
    pub first_byte_timeout: Duration,
    /// Time between two pieces of an answer's body. Default 30s.
    #[serde(with = "humantime_serde")]
    pub read_timeout: Duration,
    /// Time between two pieces of a request that are taken. Default 30s.
    #[serde(with = "humantime_serde")]
    pub write_timeout: Duration,
    /// How long an unused connection is kept. Default 55s: below the 60s after which many servers close theirs.
    #[serde(with = "humantime_serde")]
    pub idle_timeout: Duration,
    /// Unused connections that are kept, over all upstreams. Default 1024.
    pub idle_connections_max: usize,
    /// Whether HTTP/2 is offered to upstreams with TLS, where a property does not say otherwise. Default true.
    pub h2: bool,
    /// Requests under way to one upstream at the same time, where a property does not say otherwise. Default 1024:
    /// above what an origin takes, below what makes this node run out of sockets.
    pub asks_max: u32,
    /// How long a request waits for another one to end at that limit. Default 500ms; as many may wait as may be
    /// under way.
    #[serde(with = "humantime_serde")]
    pub asks_wait_max: Duration,
    /// Upstreams that one exchange may ask, one after the other. Default 3.
    pub attempts_max: u32,
    /// Repeated requests in percent of first ones, over ten seconds and the node, so that a failing upstream is not
    /// hit by a multiple of its load. Default 20. A few are always allowed.
    pub retry_percent: u32,
    /// Failures in a row after which an upstream is not asked while there is another. Default 3.
    pub failures_max: u32,
    /// How long that holds, doubling up to eight times that while it goes on failing. Default 5s. Then one request
    /// tries it.
    #[serde(with = "humantime_serde")]
    pub eject_time: Duration,
    /// How much more than the mean of all shields, or of the nodes of the PoP, one may have in flight before the next
    /// one is asked, in percent. Default 125.
    pub load_percent_max: u32,
    /// How long the addresses of a name are used. Default 10s.
    #[serde(with = "humantime_serde")]
    pub resolve_ttl: Duration,
    /// PEM file of the authorities for upstreams that name none. Default: the platform's.
    pub ca: Option<PathBuf>,
    /// The other nodes of the PoP.
    pub siblings: Siblings,
}

/// Section `[upstream.siblings]`: the nodes of the PoP, each of which asks beyond it for its share of the resources.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Siblings {
    /// The authority of this node in the lists of its siblings. Default: none.
    pub own: Option<String>,
    /// The nodes of the PoP, this one among them or not, so that all can have one list. Every node writes an authority
    /// alike: who owns a resource is decided by it. Default: none, every node asks for itself.
    pub nodes: Vec<Upstream>,
    /// Time to connect, TLS included. Default 500ms: they stand side by side, and one without power does not answer.
    #[serde(with = "humantime_serde")]
    pub connect_timeout: Duration,
    /// Time from a request to the head of its answer. Default 5s: the owner may have to ask beyond the PoP. Then this
    /// node does so itself.
    #[serde(with = "humantime_serde")]
    pub first_byte_timeout: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(3),
            first_byte_timeout: Duration::from_secs(30),
            read_timeout: Duration::from_secs(30),
            write_timeout: Duration::from_secs(30),
            idle_timeout: Duration::from_secs(55),
            idle_connections_max: 1024,
            h2: true,
            asks_max: 1024,
            asks_wait_max: Duration::from_millis(500),
            attempts_max: 3,
            retry_percent: 20,
            failures_max: 3,
            eject_time: Duration::from_secs(5),
            load_percent_max: 125,
            resolve_ttl: Duration::from_secs(10),
            ca: None,
            siblings: Siblings::default(),
        }
    }
}

impl Default for Siblings {
    fn default() -> Self {
        Self {
            own: None,
            nodes: Vec::new(),
            connect_timeout: Duration::from_millis(500),
            first_byte_timeout: Duration::from_secs(5),
        }
    }
}

/// Why the settings cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// A value of zero.
    #[error("upstream.{0} must be more than zero")]
    Zero(&'static str),
    /// A load limit below the mean.
    #[error("upstream.load_percent_max must be at least 100, it is {0}")]
    Load(u32),
    /// Siblings that cannot be told from one another, or from this node.
    #[error("upstream.siblings: {0}")]
    Siblings(&'static str),
}

impl Config {
    /// Checks what the types cannot.
    ///
    /// # Errors
    /// The first [`ConfigError`] found.
    pub fn check(&self) -> Result<(), ConfigError> {
        let values = [
            ("connect_timeout", self.connect_timeout.is_zero()),
            ("first_byte_timeout", self.first_byte_timeout.is_zero()),
            ("read_timeout", self.read_timeout.is_zero()),
            ("write_timeout", self.write_timeout.is_zero()),
            ("idle_timeout", self.idle_timeout.is_zero()),
            ("idle_connections_max", self.idle_connections_max == 0),
            ("asks_max", self.asks_max == 0),
            ("attempts_max", self.attempts_max == 0),
            ("failures_max", self.failures_max == 0),
            ("eject_time", self.eject_time.is_zero()),
            ("resolve_ttl", self.resolve_ttl.is_zero()),
            ("siblings.connect_timeout", self.siblings.connect_timeout.is_zero()),
            ("siblings.first_byte_timeout", self.siblings.first_byte_timeout.is_zero()),
        ];
        if let Some((name, _)) = values.into_iter().find(|(_, is_zero)| *is_zero) {
            return Err(ConfigError::Zero(name));
        }
        if self.load_percent_max < 100 {
            return Err(ConfigError::Load(self.load_percent_max));
        }
        self.siblings.check().map_err(ConfigError::Siblings)
    }
}

impl Siblings {
    /// The nodes but this one.
    #[must_use]
    pub fn others(&self) -> Vec<Upstream> {
        let is_other = |node: &&Upstream| Some(&node.authority) != self.own.as_ref();
        self.nodes.iter().filter(is_other).cloned().collect()
    }

    fn check(&self) -> Result<(), &'static str> {
        if self.nodes.is_empty() {
            return Ok(());
        }
        if self.nodes.len() > NODES_MAX {
            return Err("nodes are too many for one PoP");
        }
        let Some(own) = &self.own else {
            return Err("own has to say which authority of the nodes is this one's");
        };
        let own = Upstream { authority: own.clone(), tls: None, host: None };
        if self.nodes.iter().chain([&own]).any(|node| node.check().is_err()) {
            return Err("own and every authority must be host:port");
        }
        let mut authorities: Vec<_> = self.nodes.iter().map(|node| &node.authority).collect();
        authorities.sort_unstable();
        authorities.dedup();
        if authorities.len() < self.nodes.len() {
            return Err("two nodes have one authority");
        }
        Ok(())
    }
}

/// Nodes of a PoP: each miss weighs every one of them.
const NODES_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn siblings_are_told_from_one_another_and_from_this_node() {
        let read = |text: &str| toml::from_str::<Config>(text).unwrap();
        let node = |n: usize| format!("{{ authority = \"10.0.0.{n}:443\" }}");
        let many = (1..=65).map(node).collect::<Vec<_>>().join(", ");
        for (own, nodes, is_good) in [
            ("", String::new(), true),
            ("own = \"10.0.0.1:443\"", format!("{}, {}", node(1), node(2)), true),
            ("own = \"10.0.0.1:443\"", node(2), true),
            ("", node(2), false),
            ("own = \"10.0.0.1\"", node(2), false),
            ("own = \"10.0.0.1:443\"", "{ authority = \"b\" }".to_owned(), false),
            ("own = \"10.0.0.1:443\"", format!("{}, {}", node(2), node(2)), false),
            ("own = \"10.0.0.1:443\"", many, false),
        ] {
            let config = read(&format!("[siblings]\n{own}\nnodes = [{nodes}]"));
            assert_eq!(config.check().is_ok(), is_good, "{own} {nodes}");
        }
        let all = format!("[siblings]\nown = \"10.0.0.1:443\"\nnodes = [{}, {}]", node(1), node(2));
        let others = read(&all).siblings.others();
        assert_eq!(others.iter().map(|node| &node.authority).collect::<Vec<_>>(), ["10.0.0.2:443"]);
    }
}

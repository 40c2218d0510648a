//! The keys of a scenario.
//!
//! Invariant: every key but `name`, `target` and `arrivals` has a default.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use serde::{Deserialize, Serialize};
use url::Url;

use crate::{
    arrival::{Profile, Spacing},
    catalogue::Popularity,
    gate::Gate,
    kind::Protocol,
    net::NetConfig,
    player::Behaviour,
};

/// A whole scenario.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    pub name: String,
    /// One line on what it is for.
    #[serde(default)]
    pub about: String,
    /// The same seed gives the same schedule and the same viewers.
    #[serde(default = "one")]
    pub seed: u64,
    /// Thresholds, like `startup_p95<800ms`.
    #[serde(default)]
    pub gates: Vec<Gate>,
    pub target: Target,
    pub arrivals: Arrivals,
    #[serde(default)]
    pub popularity: Popularity,
    #[serde(default)]
    pub sessions: Sessions,
    #[serde(default)]
    pub player: Behaviour,
    #[serde(default)]
    pub net: NetConfig,
    #[serde(default)]
    pub rig: RigLimits,
    /// Looks for the highest rate that holds the gates.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub knee: Option<Knee>,
    #[serde(default, rename = "fault")]
    pub faults: Vec<Fault>,
    #[serde(default, rename = "purge")]
    pub purges: Vec<Purge>,
}

/// What can be watched. All sources together are the catalogue, in their order.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Target {
    /// Playlists and MPDs.
    pub urls: Vec<Url>,
    /// A file with a URL on each line (text or M3U).
    pub list: Option<PathBuf>,
    /// A JSON document that is fetched before the run, and where its URLs are: a JSON pointer in which `*` stands for
    /// every element.
    pub feed: Option<Url>,
    pub pointer: String,
    /// What relative URLs of the list and of a replayed log begin at.
    pub base: Option<Url>,
    /// A file with a BLAKE3 hash and a URL path on each line, as `b3sum` writes; what is fetched must be it.
    pub hashes: Option<PathBuf>,
    /// Shown with every request.
    pub token: Option<Token>,
}

/// A session token. Its value is in a file, so that no scenario holds a secret.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Token {
    pub place: TokenPlace,
    /// Of the query parameter or header.
    pub name: String,
    pub file: PathBuf,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TokenPlace {
    Query,
    Header,
}

/// When sessions begin. All times of a scenario are since the end of the warm-up.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Arrivals {
    pub profile: Profile,
    #[serde(default)]
    pub spacing: Spacing,
    /// For how long sessions begin.
    #[serde(with = "humantime_serde")]
    pub duration: Duration,
    /// Before that sessions begin at the profile's first rate, and are not measured.
    #[serde(default, with = "humantime_serde")]
    pub warm_up: Duration,
    /// After that sessions may end by themselves for so long; then they are cut.
    #[serde(default = "ten_seconds", with = "humantime_serde")]
    pub drain: Duration,
    /// A session that begins later than this after its time is blocked.
    #[serde(default = "one_second", with = "humantime_serde")]
    pub start_within: Duration,
    /// Sessions at one time on one machine; more are blocked.
    #[serde(default = "sessions_max")]
    pub sessions_max: u32,
}

/// How sessions differ from each other.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Sessions {
    /// Weights of the protocols.
    pub protocols: Mix,
    /// Share (0 to 1) whose connections may resume an earlier session's TLS.
    pub resumed_share: f64,
    /// Share that sends its first request as 0-RTT data, where it resumes.
    pub early_share: f64,
    /// Share whose address changes (HTTP/3), and how often.
    pub migrated_share: f64,
    #[serde(with = "humantime_serde")]
    pub migrate_every: Duration,
    /// A session makes a new connection after so many requests; 0 never.
    pub new_connection_every: u32,
    /// Videos that one session watches, one after the other.
    pub videos: u32,
    /// Last miles by weight; none is as fast as the machine.
    pub links: Vec<Link>,
}

impl Default for Sessions {
    fn default() -> Self {
        Self {
            protocols: Mix::default(),
            resumed_share: 0.0,
            early_share: 0.0,
            migrated_share: 0.0,
            migrate_every: Duration::from_secs(10),
            new_connection_every: 0,
            videos: 1,
            links: Vec::new(),
        }
    }
}

/// Weights of the protocols; they need not add up to anything.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mix {
    #[serde(default)]
    pub h1: f64,
    #[serde(default)]
    pub h2: f64,
    #[serde(default)]
    pub h3: f64,
}

impl Mix {
    /// The protocol at a place between 0 and 1.
    #[must_use]
    pub fn at(&self, place: f64) -> Protocol {
        let mut rest = place * (self.h1 + self.h2 + self.h3);
        for (protocol, weight) in self.weights() {
            if rest < weight {
                return protocol;
            }
            rest -= weight;
        }
        // Rounding at the upper end.
        let last = self.weights().into_iter().rfind(|(_, weight)| *weight > 0.0);
        last.map_or(Protocol::H1, |(protocol, _)| protocol)
    }

    #[must_use]
    pub fn weights(&self) -> [(Protocol, f64); 3] {
        [(Protocol::H1, self.h1), (Protocol::H2, self.h2), (Protocol::H3, self.h3)]
    }
}

impl Default for Mix {
    fn default() -> Self {
        Self { h1: 1.0, h2: 0.0, h3: 0.0 }
    }
}

/// A last mile.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Link {
    pub weight: f64,
    /// Bits per second, all the time; 0 for as fast as it goes.
    pub rate: u64,
    /// Or one rate after the other, over and over.
    pub steps: Vec<LinkStep>,
    /// Or a file of lines `seconds,bits per second`.
    pub trace: Option<PathBuf>,
    /// Added to each round trip.
    #[serde(with = "humantime_serde")]
    pub rtt: Duration,
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LinkStep {
    pub rate: u64,
    #[serde(rename = "for", with = "humantime_serde")]
    pub lasts: Duration,
}

/// Workers, and from where on the rig's figures are not worth anything.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RigLimits {
    /// Threads; 0 for one on each core.
    pub workers: u32,
    /// Share of one core of the busiest worker, over the run.
    pub cpu_max: f64,
    /// 99th percentile of how late timers are.
    #[serde(with = "humantime_serde")]
    pub loop_lag_max: Duration,
    /// 99th percentile between the scheduled beginning of sessions and the real one.
    #[serde(with = "humantime_serde")]
    pub schedule_error_max: Duration,
    /// Share of fetches that failed for want of sockets, ports or memory.
    pub socket_error_max: f64,
    /// How far clocks of the machines of one run may be apart.
    #[serde(with = "humantime_serde")]
    pub clock_error_max: Duration,
}

impl Default for RigLimits {
    fn default() -> Self {
        Self {
            workers: 0,
            cpu_max: 0.9,
            loop_lag_max: Duration::from_millis(20),
            schedule_error_max: Duration::from_millis(20),
            socket_error_max: 0.001,
            clock_error_max: Duration::from_millis(100),
        }
    }
}

/// The search for the highest rate that holds the gates: the rate grows by `factor` until a step fails, then the
/// gap is halved until it is within `precision` of the rate. Each step is a run of `arrivals.duration`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Knee {
    /// Sessions a second.
    pub from: f64,
    pub to: f64,
    pub factor: f64,
    /// Share of the rate.
    pub precision: f64,
}

impl Default for Knee {
    fn default() -> Self {
        Self { from: 1.0, to: 100_000.0, factor: 2.0, precision: 0.1 }
    }
}

/// Something that is broken in the middle of the run, by a command on the machine of the rig.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Fault {
    pub name: String,
    #[serde(with = "humantime_serde")]
    pub at: Duration,
    /// Again after each such time.
    #[serde(with = "humantime_serde")]
    pub every: Option<Duration>,
    /// Program and arguments.
    pub run: Vec<String>,
    /// Puts it right again: after `undo_after`, and in any case at the end, also of an interrupted run.
    pub undo: Vec<String>,
    #[serde(with = "humantime_serde")]
    pub undo_after: Option<Duration>,
    /// `run` and `undo` are one text each, for `sh -c`.
    pub shell: bool,
    /// A command that takes longer is killed, and has failed. 30 s when it is left out.
    #[serde(with = "humantime_serde")]
    pub timeout: Option<Duration>,
    /// The run goes on as if nothing were when the command fails. Else the run has failed: what it should measure did
    /// not happen.
    pub may_fail: bool,
}

/// A purge, and how long it takes until PoPs serve the new content.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Purge {
    pub name: String,
    #[serde(with = "humantime_serde")]
    pub at: Duration,
    #[serde(with = "humantime_serde")]
    pub every: Option<Duration>,
    /// Changes the content at the origin first.
    pub change: Vec<String>,
    /// Purges. The time to the first fresh answer begins when it is called.
    pub run: Vec<String>,
    pub shell: bool,
    #[serde(with = "humantime_serde")]
    pub timeout: Option<Duration>,
    pub may_fail: bool,
    pub fresh: Freshness,
    pub probes: Vec<Probe>,
    /// Between two looks at a PoP; 50 ms when it is left out.
    #[serde(with = "humantime_serde")]
    pub poll_every: Option<Duration>,
    /// A PoP that is not fresh by then never was; counts as this long. 30 s when it is left out.
    #[serde(with = "humantime_serde")]
    pub fresh_within: Option<Duration>,
}

/// How a fresh answer is told from an old one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Freshness {
    /// Its ETag, or without one its content, is not what it was before the purge.
    #[default]
    Changed,
    /// It is no hit, or by its `Age` was stored after the purge was called.
    Age,
}

/// Where one PoP is asked.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Probe {
    pub pop: String,
    pub url: Url,
    /// The PoP's address instead of what the name says.
    #[serde(default)]
    pub connect: Option<SocketAddr>,
    #[serde(default = "h1")]
    pub protocol: Protocol,
}

fn one() -> u64 {
    1
}

fn one_second() -> Duration {
    Duration::from_secs(1)
}

fn ten_seconds() -> Duration {
    Duration::from_secs(10)
}

fn sessions_max() -> u32 {
    100_000
}

fn h1() -> Protocol {
    Protocol::H1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mix_deals_protocols_by_weight() {
        let mix = Mix { h1: 50.0, h2: 30.0, h3: 20.0 };
        let table = [
            (0.0, Protocol::H1),
            (0.499, Protocol::H1),
            (0.5, Protocol::H2),
            (0.799, Protocol::H2),
            (0.8, Protocol::H3),
            (1.0, Protocol::H3),
        ];
        for (place, protocol) in table {
            assert_eq!(mix.at(place), protocol, "{place}");
        }
        assert_eq!(Mix { h1: 0.0, h2: 1.0, h3: 0.0 }.at(1.0), Protocol::H2);
        assert_eq!(Mix { h1: 0.0, h2: 0.0, h3: 7.0 }.at(0.0), Protocol::H3);
    }
}

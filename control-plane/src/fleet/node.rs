//! One node as the fleet remembers it.
//!
//! Times of acknowledgements are kept for the newest purges only; older ones are known to be applied, without a
//! time.

use std::collections::VecDeque;

use tokio_util::sync::CancellationToken;

use serde::{Deserialize, Serialize};

use super::{Elsewhere, Lane, Subscription};
use crate::store::NodeName;

/// What a node last said of itself.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct HealthReport {
    /// Whether it can serve.
    pub ready: bool,
    /// Whether it takes no new work.
    pub draining: bool,
    /// Requests since it started.
    pub requests_total: u64,
    /// Hits since it started.
    pub hits_total: u64,
    /// Errors since it started.
    pub errors_total: u64,
    /// Bytes in its cache.
    pub cache_bytes: u64,
    /// When it started.
    pub started_unix_ms: u64,
    /// The authorities that it believes, by their marks; 0 is none.
    pub authorities: [u64; AUTHORITIES_MAX],
    /// The one that signed its certificate; 0 when it did not say.
    pub signed_by: u64,
}

/// A generation that a node refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Nack {
    /// The generation.
    pub generation: u64,
    /// Why, in the node's words.
    pub error: String,
}

/// A node at one moment.
#[derive(Debug, Clone)]
pub struct NodeSight {
    /// Its name.
    pub name: NodeName,
    /// How many of its subscriptions to purges are open here.
    pub purge_lanes: usize,
    /// Whether its configuration lane is open.
    pub has_config_lane: bool,
    /// Its build, as it says.
    pub build: String,
    /// The purge offset that it applied; `None` when nobody can tell.
    pub applied: Option<u64>,
    /// The generation that it runs; 0 when it has none or did not say.
    pub generation: u64,
    /// The generation that it refused last, until it accepts one.
    pub nack: Option<Nack>,
    /// What it last said of itself.
    pub health: Option<HealthReport>,
    /// When it was last handed a heartbeat: its lease counts from there.
    pub seen_unix_ms: u64,
    /// When it last said anything.
    pub heard_unix_ms: Option<u64>,
    /// When its certificate ends.
    pub expires_unix_ms: u64,
}

impl NodeSight {
    /// Whether it is subscribed to purges here.
    #[must_use]
    pub fn has_purge_lane(&self) -> bool {
        self.purge_lanes > 0
    }
}

pub(super) struct Node {
    /// By subscription.
    purge_lanes: [Option<CancellationToken>; 2],
    config_lane: Option<CancellationToken>,
    telemetry_lane: Option<CancellationToken>,
    build: String,
    applied: Option<u64>,
    acks: VecDeque<Ack>,
    pub(super) generation: u64,
    pub(super) nack: Option<Nack>,
    pub(super) health: Option<HealthReport>,
    pub(super) seen_unix_ms: u64,
    pub(super) heard_unix_ms: Option<u64>,
    pub(super) expires_unix_ms: u64,
    elsewhere: Option<Elsewhere>,
}

struct Ack {
    offset: u64,
    unix_ms: u64,
}

impl Node {
    pub(super) fn stored(
        applied: Option<u64>,
        heard_unix_ms: Option<u64>,
        expires_unix_ms: u64,
        now_unix_ms: u64,
    ) -> Self {
        Self { applied, heard_unix_ms, ..Self::enrolled(expires_unix_ms, now_unix_ms) }
    }

    pub(super) fn enrolled(expires_unix_ms: u64, now_unix_ms: u64) -> Self {
        Self {
            purge_lanes: [None, None],
            config_lane: None,
            telemetry_lane: None,
            build: String::new(),
            applied: None,
            acks: VecDeque::new(),
            generation: 0,
            nack: None,
            health: None,
            seen_unix_ms: now_unix_ms,
            heard_unix_ms: None,
            expires_unix_ms,
            elsewhere: None,
        }
    }

    pub(super) fn open_lane(
        &mut self,
        lane: Lane,
        ended: CancellationToken,
        build: &str,
        now_unix_ms: u64,
    ) {
        if let Some(before) = self.slot(lane).replace(ended) {
            before.cancel();
        }
        self.build = build.chars().take(BUILD_CHARS_MAX).collect();
        self.heard_unix_ms = Some(now_unix_ms);
    }

    pub(super) fn close_lane(&mut self, lane: Lane) {
        *self.slot(lane) = None;
    }

    pub(super) fn end_lanes(&self) {
        let lanes = self.purge_lanes.iter().chain([&self.config_lane, &self.telemetry_lane]);
        for lane in lanes.flatten() {
            lane.cancel();
        }
    }

    pub(super) fn stand_at(&mut self, applied: Option<u64>, now_unix_ms: u64) {
        if applied.is_some() && applied == self.applied {
            return;
        }
        self.applied = None;
        if let Some(last) = applied {
            self.acks.retain(|ack| ack.offset < last);
            self.apply(last, now_unix_ms);
        } else {
            self.acks.clear();
        }
    }

    pub(super) fn apply(&mut self, offset: u64, now_unix_ms: u64) -> bool {
        if self.applied.is_some_and(|applied| applied >= offset) {
            return false;
        }
        self.applied = Some(offset);
        if self.acks.len() == ACKS_MAX {
            self.acks.pop_front();
        }
        self.acks.push_back(Ack { offset, unix_ms: now_unix_ms });
        true
    }

    /// When everything up to an offset was acknowledged, as far as that is remembered.
    pub(super) fn acked_at(&self, offset: u64) -> Option<u64> {
        let first = self.acks.partition_point(|ack| ack.offset < offset);
        let is_remembered = first > 0 || self.acks.len() < ACKS_MAX;
        self.acks.get(first).filter(|_| is_remembered).map(|ack| ack.unix_ms)
    }

    /// What other replicas may know of it; nothing while it has no lane here.
    pub(super) fn here(&self) -> Option<Elsewhere> {
        let purge_lanes = self.purge_lanes.iter().flatten().count();
        let has_config_lane = self.config_lane.is_some();
        (purge_lanes > 0 || has_config_lane).then(|| Elsewhere {
            applied: self.applied,
            purge_lanes,
            has_config_lane,
            build: self.build.clone(),
            generation: self.generation,
            nack: self.nack.clone(),
            health: self.health,
        })
    }

    /// Takes what other replicas see; true when that is news.
    pub(super) fn see_elsewhere(&mut self, seen: Option<Elsewhere>, now_unix_ms: u64) -> bool {
        if let Some(seen) = &seen {
            // Whoever has a lane there was heard there, a moment ago.
            self.heard_unix_ms = self.heard_unix_ms.max(Some(now_unix_ms));
            if let Some(applied) = seen.applied {
                self.apply(applied, now_unix_ms);
            }
        }
        let is_news = self.elsewhere != seen;
        self.elsewhere = seen;
        is_news
    }

    /// The node with what other replicas see of it.
    pub(super) fn sight(&self, name: &NodeName) -> NodeSight {
        let mut sight = self.sight_here(name);
        let Some(seen) = &self.elsewhere else { return sight };
        sight.purge_lanes += seen.purge_lanes;
        if seen.has_config_lane && !sight.has_config_lane {
            sight.has_config_lane = true;
            sight.build.clone_from(&seen.build);
            sight.generation = seen.generation;
            sight.nack.clone_from(&seen.nack);
            sight.health = seen.health;
        }
        sight
    }

    fn sight_here(&self, name: &NodeName) -> NodeSight {
        NodeSight {
            name: name.clone(),
            purge_lanes: self.purge_lanes.iter().flatten().count(),
            has_config_lane: self.config_lane.is_some(),
            build: self.build.clone(),
            applied: self.applied,
            generation: self.generation,
            nack: self.nack.clone(),
            health: self.health,
            seen_unix_ms: self.seen_unix_ms,
            heard_unix_ms: self.heard_unix_ms,
            expires_unix_ms: self.expires_unix_ms,
        }
    }

    fn slot(&mut self, lane: Lane) -> &mut Option<CancellationToken> {
        match lane {
            Lane::Purges(Subscription::First) => &mut self.purge_lanes[0],
            Lane::Purges(Subscription::Second) => &mut self.purge_lanes[1],
            Lane::Config => &mut self.config_lane,
            Lane::Telemetry => &mut self.telemetry_lane,
        }
    }
}

/// The authorities that a node says it believes; more are not heard.
pub const AUTHORITIES_MAX: usize = 4;
const ACKS_MAX: usize = 1024;
const BUILD_CHARS_MAX: usize = 64;

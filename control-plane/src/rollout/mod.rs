//! How a release reaches the PoPs: one first, then a few, then many, and back at once when it does harm.
//!
//! Pure: a state, what nodes report and the time give the next state. The state is plain data that lies in a record,
//! so that another replica goes on where this one stopped. A PoP that has no part in the order of the roll-out
//! (it came later) gets the new release last.

mod gate;
mod ordering;

use std::{collections::BTreeMap, time::Duration};

use serde::{Deserialize, Serialize};
use tidegate_contract::{id::PopId, resource::ResourceKey};

use crate::unix_time::millis;

pub use gate::{Gates, NodeReport, Totals};
pub use ordering::{Audience, Part, Split, Turn, split, turns};

/// Settings of roll-outs.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// The PoP that gets a staged release first; absent: the first by a draw that the version decides.
    pub canary: Option<PopId>,
    /// How long the canary alone runs it.
    #[serde(with = "humantime_serde")]
    pub canary_bake: Duration,
    /// How long 5 % of the PoPs run it.
    #[serde(with = "humantime_serde")]
    pub few_bake: Duration,
    /// How long 25 % of the PoPs run it.
    #[serde(with = "humantime_serde")]
    pub many_bake: Duration,
    /// How long answers of what steers live: what is taken away leaves caches so long after it has left what steers.
    #[serde(with = "humantime_serde")]
    pub answers_ttl: Duration,
    /// How long a connected node may take to say that it runs it, before the roll-out turns back.
    #[serde(with = "humantime_serde")]
    pub ack_timeout: Duration,
    /// How often the leader looks.
    #[serde(with = "humantime_serde")]
    pub look_every: Duration,
    /// When a release does harm.
    pub gates: Gates,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            canary: None,
            canary_bake: Duration::from_secs(2 * 60),
            few_bake: Duration::from_secs(3 * 60),
            many_bake: Duration::from_secs(5 * 60),
            answers_ttl: Duration::from_secs(60),
            ack_timeout: Duration::from_secs(60),
            look_every: Duration::from_secs(1),
            gates: Gates::default(),
        }
    }
}

/// Who gets a release at first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Pace {
    /// One PoP, until somebody promotes it.
    Canary,
    /// One PoP, then 5 %, 25 % and all, by itself.
    Staged,
    /// All at once.
    Fast,
}

/// Where a roll-out stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// What steers has it, no cache does.
    Steering,
    /// One PoP runs it.
    Canary,
    /// 5 % run it.
    Few,
    /// 25 % run it.
    Many,
    /// Everybody does; the roll-out is over.
    All,
}

/// A roll-out that is under way.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Rollout {
    /// The version that goes out.
    pub target: u64,
    /// The version that everybody else still runs.
    pub base: u64,
    /// Where it stands.
    pub stage: Stage,
    /// Since when.
    pub since_unix_ms: u64,
    /// Whether it goes on by itself.
    pub pace: Pace,
    /// Whether somebody stopped it; the gates still watch.
    pub is_paused: bool,
    /// The PoPs in the order in which they get it.
    pub order: Vec<PopId>,
    /// What the nodes had counted when the stage began.
    pub before: BTreeMap<String, Totals>,
    /// Whether what steers got it before the caches.
    #[serde(default)]
    pub steering_first: bool,
    /// What is taken away in the next release, when everybody runs this one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub then: Vec<ResourceKey>,
}

/// What is to be done with a roll-out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// Nothing yet; what it waits for.
    Stay(Waiting),
    /// The next stage begins.
    Advance,
    /// It does harm: everybody goes back. Why.
    TurnBack(String),
}

/// What a roll-out waits for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Waiting {
    /// Nodes that have not said that they run it.
    Acks(Vec<String>),
    /// The end of the stage's time.
    Bake,
    /// Somebody who resumes or promotes it.
    Operator,
}

impl Stage {
    /// The stage's name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Steering => "steering",
            Self::Canary => "canary",
            Self::Few => "5%",
            Self::Many => "25%",
            Self::All => "100%",
        }
    }

    fn next(self) -> Self {
        match self {
            Self::Steering => Self::Canary,
            Self::Canary => Self::Few,
            Self::Few => Self::Many,
            Self::Many | Self::All => Self::All,
        }
    }

    /// How many of so many PoPs run it; every stage is at least as wide as the one before.
    fn width(self, pops: usize) -> usize {
        let percent = |share: usize| (pops * share).div_ceil(100).clamp(1, pops.max(1));
        match self {
            Self::Steering => 0,
            Self::Canary => 1,
            Self::Few => percent(5),
            Self::Many => percent(25),
            Self::All => pops,
        }
    }
}

impl Rollout {
    /// Begins: the canary first, the others in an order that follows from the version alone, so that it is not always
    /// the same ones that are hurt.
    #[must_use]
    pub fn begin(
        (base, target): (u64, u64),
        pace: Pace,
        mut pops: Vec<PopId>,
        canary: Option<&PopId>,
        now_unix_ms: u64,
        reports: &[NodeReport],
    ) -> Self {
        let draw = |pop: &PopId| {
            let text = format!("{target} {pop}");
            tidegate_contract::release::hash_of(text.as_bytes())
        };
        pops.sort_by_key(|pop| (Some(pop) != canary, draw(pop)));
        let stage = if pace == Pace::Fast { Stage::All } else { Stage::Canary };
        let before = gate::totals_of(reports);
        Self {
            target,
            base,
            stage,
            since_unix_ms: now_unix_ms,
            pace,
            is_paused: false,
            order: pops,
            before,
            steering_first: false,
            then: Vec::new(),
        }
    }

    /// The same in turns with what steers.
    #[must_use]
    pub fn in_turns(self, split: Split) -> Self {
        let Split { steering_first, then } = split;
        let stage = if steering_first { Stage::Steering } else { self.stage };
        Self { stage, steering_first, then, ..self }
    }

    /// The roll-out while there is something left to do.
    #[must_use]
    pub fn unless_over(self) -> Option<Self> {
        (self.stage != Stage::All || !self.then.is_empty()).then_some(self)
    }

    /// Whether a PoP runs the target.
    #[must_use]
    pub fn admits(&self, pop: &PopId) -> bool {
        let width = self.stage.width(self.order.len());
        self.stage == Stage::All || self.order.iter().take(width).any(|first| first == pop)
    }

    /// The PoPs that run the target.
    #[must_use]
    pub fn admitted(&self) -> &[PopId] {
        &self.order[..self.stage.width(self.order.len()).min(self.order.len())]
    }

    /// The next stage.
    #[must_use]
    pub fn advanced(&self, now_unix_ms: u64, reports: &[NodeReport]) -> Self {
        let is_at_once = self.pace == Pace::Fast;
        let stage = if is_at_once { Stage::All } else { self.stage.next() };
        let before = gate::totals_of(reports);
        Self { stage, since_unix_ms: now_unix_ms, before, ..self.clone() }
    }

    /// What is to be done now.
    #[must_use]
    pub fn decide(&self, reports: &[NodeReport], now_unix_ms: u64, config: &Config) -> Decision {
        let is_in = |report: &&NodeReport| self.admits(&report.pop);
        let (inside, outside): (Vec<_>, Vec<_>) = reports.iter().partition(is_in);
        if let Some(harm) = config.gates.harm(self, &inside, &outside) {
            return Decision::TurnBack(harm);
        }
        let age_ms = now_unix_ms.saturating_sub(self.since_unix_ms);
        let behind: Vec<_> = inside
            .iter()
            .filter(|report| report.is_connected && report.version != self.target)
            .map(|report| report.name.clone())
            .collect();
        if !behind.is_empty() {
            if age_ms > millis(config.ack_timeout) {
                let (names, target) = (behind.join(", "), self.target);
                return Decision::TurnBack(format!(
                    "{names} did not take version {target} in time"
                ));
            }
            return Decision::Stay(Waiting::Acks(behind));
        }
        if self.is_paused || (self.pace == Pace::Canary && self.stage != Stage::Steering) {
            return Decision::Stay(Waiting::Operator);
        }
        let bake = match self.stage {
            Stage::Steering => config.answers_ttl,
            Stage::Canary => config.canary_bake,
            Stage::Few => config.few_bake,
            Stage::Many => config.many_bake,
            Stage::All => Duration::ZERO,
        };
        if age_ms < millis(bake) { Decision::Stay(Waiting::Bake) } else { Decision::Advance }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pops(count: usize) -> Vec<PopId> {
        (0..count).map(|n| PopId::parse(format!("p{n}")).expect("good")).collect()
    }

    fn report(pop: &PopId, version: u64, requests: u64, errors: u64) -> NodeReport {
        NodeReport {
            name: format!("{pop}/n1"),
            pop: pop.clone(),
            is_connected: true,
            version,
            nack: None,
            totals: Some(Totals { requests, hits: requests / 2, errors, started_unix_ms: 1 }),
        }
    }

    fn begin(pops: Vec<PopId>, pace: Pace) -> Rollout {
        let reports: Vec<_> = pops.iter().map(|pop| report(pop, 4, 1000, 0)).collect();
        let canary = pops.get(3).cloned();
        Rollout::begin((4, 5), pace, pops, canary.as_ref(), 0, &reports)
    }

    #[test]
    fn it_widens_stage_by_stage_and_never_takes_a_pop_back() {
        for (count, widths) in [(1, [1, 1, 1]), (7, [1, 1, 2]), (150, [1, 8, 38])] {
            let mut rollout = begin(pops(count), Pace::Staged);
            for width in widths {
                let before = rollout.admitted().to_vec();
                assert_eq!(before.len(), width, "{count} {:?}", rollout.stage);
                rollout = rollout.advanced(9, &[]);
                assert!(before.iter().all(|pop| rollout.admits(pop)));
            }
            assert_eq!(rollout.stage, Stage::All);
            assert!(rollout.admits(&PopId::parse("came-later").expect("good")));
        }
        assert_eq!(begin(pops(7), Pace::Staged).admitted()[0].as_str(), "p3", "the named canary");
        assert_ne!(
            Rollout::begin((4, 5), Pace::Staged, pops(50), None, 0, &[]).order,
            Rollout::begin((5, 6), Pace::Staged, pops(50), None, 0, &[]).order,
        );
    }

    #[test]
    fn it_waits_for_acks_then_for_the_time_then_goes_on() {
        let config = Config::default();
        let rollout = begin(pops(20), Pace::Staged);
        let canary = rollout.admitted()[0].clone();
        let reports = |version| vec![report(&canary, version, 2000, 0)];
        let waits = rollout.decide(&reports(4), 59_000, &config);
        assert_eq!(waits, Decision::Stay(Waiting::Acks(vec!["p3/n1".to_owned()])));
        let late = rollout.decide(&reports(4), 61_000, &config);
        assert!(matches!(late, Decision::TurnBack(why) if why.contains("p3/n1")));
        assert_eq!(rollout.decide(&reports(5), 119_000, &config), Decision::Stay(Waiting::Bake));
        assert_eq!(rollout.decide(&reports(5), 120_000, &config), Decision::Advance);
        let paused = Rollout { is_paused: true, ..rollout.clone() };
        let stays = Decision::Stay(Waiting::Operator);
        assert_eq!(paused.decide(&reports(5), 999_000, &config), stays);
        let canary_only = begin(pops(20), Pace::Canary);
        assert_eq!(canary_only.decide(&reports(5), 999_000, &config), stays);
        let few = rollout.advanced(120_000, &[]);
        assert_eq!(few.decide(&[], 299_000, &config), Decision::Stay(Waiting::Bake), "3 minutes");
        assert_eq!(few.decide(&[], 300_000, &config), Decision::Advance, "nobody is connected");
    }

    #[test]
    fn what_goes_leaves_steering_first_and_caches_when_answers_have_run_out() {
        let config = Config::default();
        let split = Split { steering_first: true, then: Vec::new() };
        for (pace, next) in [(Pace::Fast, Stage::All), (Pace::Staged, Stage::Canary)] {
            let rollout = begin(pops(20), pace).in_turns(split.clone());
            assert!(rollout.admitted().is_empty() && !rollout.admits(&rollout.order[0]));
            let stays = rollout.decide(&[], 59_999, &config);
            assert_eq!(stays, Decision::Stay(Waiting::Bake));
            assert_eq!(rollout.decide(&[], 60_000, &config), Decision::Advance);
            let advanced = rollout.advanced(60_000, &[]);
            assert_eq!(advanced.stage, next);
            assert_eq!(advanced.unless_over().is_none(), pace == Pace::Fast);
        }
        let then = vec![ResourceKey::parse("property/a").expect("good")];
        let split = Split { steering_first: false, then };
        let rollout = begin(pops(3), Pace::Fast).in_turns(split);
        assert!(rollout.admits(&rollout.order[0]));
        let late = report(&rollout.order[0], 4, 10, 0);
        let waits = rollout.decide(&[late], 1, &config);
        assert!(matches!(waits, Decision::Stay(Waiting::Acks(_))));
        assert_eq!(rollout.decide(&[], 1, &config), Decision::Advance);
        assert!(rollout.unless_over().is_some(), "something is left to take away");
    }

    #[test]
    fn a_state_survives_the_record() {
        let rollout = begin(pops(3), Pace::Staged);
        let text = serde_json::to_string(&rollout).expect("plain");
        assert_eq!(serde_json::from_str::<Rollout>(&text).expect("what was written"), rollout);
    }
}

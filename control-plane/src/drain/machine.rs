//! The stages of a drain, and when the next one begins.
//!
//! Pure: what is recorded, what is seen and the time go in, the next stage comes out. Each stage waits for what it did to
//! be seen, or for the deadline; then the rest goes by without waiting. Invariant: stages are entered in their order, none
//! is left out, and BGP is touched only after everybody was asked politely.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use tidegate_contract::{anycast::Level, id::PopId};

use crate::unix_time::millis;

/// Where a drain is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// The withdrawal is reserved; nobody has noticed anything.
    Permit,
    /// DNS answers without it.
    Dns,
    /// Players are steered to others.
    Steering,
    /// Clients are asked to go.
    GoAway,
    /// Prefixes are announced with a longer path.
    Prepend,
    /// Prefixes are announced with the community of RFC 8326.
    GracefulShutdown,
    /// What is left is given time to end.
    Flows,
    /// Nothing is announced.
    Withdrawn,
}

/// How far a drain goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Target {
    /// DNS alone.
    Dns,
    /// DNS and steering; clients are asked to go.
    Steer,
    /// Until everything is announced as a last resort.
    Bgp,
    /// Until nothing is announced.
    Off,
}

/// A drain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Drain {
    /// Which PoP.
    pub pop: PopId,
    /// Where it is.
    pub stage: Stage,
    /// How far it goes.
    pub target: Target,
    /// When the stage began.
    pub since_unix_ms: u64,
    /// When the drain began.
    pub begun_unix_ms: u64,
    /// From then on nothing is waited for.
    pub deadline_unix_ms: u64,
    /// Who.
    pub by: String,
    /// Why.
    pub reason: String,
    /// Since when the PoP comes back; absent: it does not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub returns_since_unix_ms: Option<u64>,
    /// How long a return takes until the PoP has its whole share.
    #[serde(default)]
    pub slow_start_ms: u64,
}

/// What is seen of a PoP that drains.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Facts {
    /// Whether somebody reads the fleet and answers DNS or steers players by it.
    pub has_readers: bool,
    /// Whether all of them have seen the newest stage.
    pub is_seen: bool,
    /// Whether every node that is heard of asks its clients to go.
    pub is_leaving: bool,
    /// The least that any node announces anything as; `None` when no node announces anything by orders.
    pub rank_min: Option<u8>,
    /// Connections that are left.
    pub connections: u64,
}

/// How long stages last at the least.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Times {
    /// DNS answers that were given before are gone: twice their TTL.
    #[serde(with = "humantime_serde")]
    pub dns: Duration,
    /// Players have asked for steering again.
    #[serde(with = "humantime_serde")]
    pub steering: Duration,
    /// Clients have had the time to finish a segment.
    #[serde(with = "humantime_serde")]
    pub goaway: Duration,
    /// The Internet has found other ways, for each step of BGP.
    #[serde(with = "humantime_serde")]
    pub bgp: Duration,
    /// Connections that do not keep a PoP from being withdrawn.
    pub connections_left: u64,
    /// How long the share of a PoP grows that comes back, unless said otherwise.
    #[serde(with = "humantime_serde")]
    pub slow_start: Duration,
    /// How long a drain waits altogether, unless said otherwise.
    #[serde(with = "humantime_serde")]
    pub deadline: Duration,
}

impl Default for Times {
    fn default() -> Self {
        Self {
            dns: Duration::from_secs(40),
            steering: Duration::from_secs(30),
            goaway: Duration::from_secs(15),
            bgp: Duration::from_secs(30),
            connections_left: 10,
            slow_start: Duration::from_secs(600),
            deadline: Duration::from_secs(600),
        }
    }
}

/// What to do about a drain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Nothing yet.
    Stay,
    /// Enter a stage.
    Enter(Stage),
    /// It is over: the PoP has its whole share again.
    Forget,
}

impl Stage {
    /// The stage's name in the API and tables.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Permit => "permit",
            Self::Dns => "dns",
            Self::Steering => "steering",
            Self::GoAway => "goaway",
            Self::Prepend => "prepend",
            Self::GracefulShutdown => "gshut",
            Self::Flows => "flows",
            Self::Withdrawn => "withdrawn",
        }
    }

    /// What a PoP announces its prefixes as in this stage.
    #[must_use]
    pub fn level(self) -> Level {
        match self {
            Self::Permit | Self::Dns | Self::Steering | Self::GoAway => Level::Normal,
            Self::Prepend => Level::Prepend(3),
            Self::GracefulShutdown | Self::Flows => Level::GracefulShutdown,
            Self::Withdrawn => Level::Withdrawn,
        }
    }

    fn next(self) -> Option<Self> {
        Some(match self {
            Self::Permit => Self::Dns,
            Self::Dns => Self::Steering,
            Self::Steering => Self::GoAway,
            Self::GoAway => Self::Prepend,
            Self::Prepend => Self::GracefulShutdown,
            Self::GracefulShutdown => Self::Flows,
            Self::Flows => Self::Withdrawn,
            Self::Withdrawn => return None,
        })
    }
}

impl Target {
    /// The last stage on the way there.
    #[must_use]
    pub fn last(self) -> Stage {
        match self {
            Self::Dns => Stage::Dns,
            Self::Steer => Stage::GoAway,
            Self::Bgp => Stage::Flows,
            Self::Off => Stage::Withdrawn,
        }
    }

    /// The least that it announces; what is reserved for it.
    #[must_use]
    pub fn level(self) -> Level {
        self.last().level()
    }
}

impl Drain {
    /// Whether clients are asked to go.
    #[must_use]
    pub fn asks_to_leave(&self) -> bool {
        self.returns_since_unix_ms.is_none() && self.stage >= Stage::GoAway
    }

    /// Whether it is as far as it goes.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.returns_since_unix_ms.is_none() && self.stage >= self.target.last()
    }
}

/// What to do about a drain now.
#[must_use]
pub fn next(drain: &Drain, facts: &Facts, times: &Times, now_unix_ms: u64) -> Step {
    if let Some(since) = drain.returns_since_unix_ms {
        let is_over = now_unix_ms.saturating_sub(since) >= drain.slow_start_ms;
        return if is_over { Step::Forget } else { Step::Stay };
    }
    let Some(following) = drain.stage.next().filter(|next| *next <= drain.target.last()) else {
        return Step::Stay;
    };
    let lasted = now_unix_ms.saturating_sub(drain.since_unix_ms);
    let lasted_for = |time: Duration| lasted >= millis(time);
    // Whoever is not read by anybody has told everybody.
    let is_told = |time: Duration| !facts.has_readers || (facts.is_seen && lasted_for(time));
    let is_announced =
        |stage: Stage| facts.rank_min.is_none_or(|rank| rank >= stage.level().rank());
    let is_done = match drain.stage {
        Stage::Permit => true,
        Stage::Dns => is_told(times.dns),
        Stage::Steering => is_told(times.steering),
        Stage::GoAway => facts.is_leaving && lasted_for(times.goaway),
        Stage::Prepend | Stage::GracefulShutdown => {
            is_announced(drain.stage) && lasted_for(times.bgp)
        }
        Stage::Flows => facts.connections <= times.connections_left,
        Stage::Withdrawn => false,
    };
    if is_done || now_unix_ms >= drain.deadline_unix_ms {
        Step::Enter(following)
    } else {
        Step::Stay
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn drain(target: Target) -> Drain {
        Drain {
            pop: PopId::parse("a").expect("good"),
            stage: Stage::Permit,
            target,
            since_unix_ms: 0,
            begun_unix_ms: 0,
            deadline_unix_ms: 600_000,
            by: String::new(),
            reason: String::new(),
            returns_since_unix_ms: None,
            slow_start_ms: 600_000,
        }
    }

    /// Runs until nothing more happens, and says when each stage began, in seconds.
    fn run(mut drain: Drain, facts: impl Fn(&Drain, u64) -> Facts) -> Vec<(&'static str, u64)> {
        let mut story = Vec::new();
        for second in 0..2000 {
            let now = second * 1000;
            while let Step::Enter(stage) = next(&drain, &facts(&drain, now), &Times::default(), now)
            {
                assert_eq!(drain.stage.next(), Some(stage));
                (drain.stage, drain.since_unix_ms) = (stage, now);
                story.push((stage.as_str(), second));
            }
        }
        story
    }

    fn good(drain: &Drain) -> Facts {
        let rank_min = Some(drain.stage.level().rank());
        Facts { has_readers: true, is_seen: true, is_leaving: true, rank_min, connections: 3 }
    }

    #[test]
    fn every_stage_lasts_until_it_is_seen_and_the_order_is_fixed() {
        let story = run(drain(Target::Off), |drain, _| good(drain));
        let expected = [
            ("dns", 0),
            ("steering", 40),
            ("goaway", 70),
            ("prepend", 85),
            ("gshut", 115),
            ("flows", 145),
            ("withdrawn", 145),
        ];
        assert_eq!(story, expected);
    }

    #[test]
    fn a_stage_that_nobody_sees_ends_with_the_deadline() {
        let deaf = |drain: &Drain, _| Facts {
            is_leaving: false,
            connections: 999,
            rank_min: Some(0),
            ..good(drain)
        };
        let story = run(drain(Target::Off), deaf);
        assert_eq!(
            story[2..],
            [("goaway", 70), ("prepend", 600), ("gshut", 600), ("flows", 600), ("withdrawn", 600)]
        );
        // Nobody answers DNS by the fleet: nobody is waited for.
        let story = run(drain(Target::Dns), |_, _| Facts::default());
        assert_eq!(story, [("dns", 0)]);
    }

    #[test]
    fn it_goes_no_further_than_it_shall() {
        for (target, last) in [
            (Target::Dns, "dns"),
            (Target::Steer, "goaway"),
            (Target::Bgp, "flows"),
            (Target::Off, "withdrawn"),
        ] {
            let story = run(drain(target), |drain, _| good(drain));
            assert_eq!(story.last().map(|(stage, _)| *stage), Some(last));
        }
    }

    #[test]
    fn a_return_is_over_after_the_slow_start_and_asks_nobody_to_leave() {
        let mut drain = Drain { stage: Stage::Withdrawn, ..drain(Target::Off) };
        assert!(drain.asks_to_leave() && drain.is_done());
        drain.returns_since_unix_ms = Some(1_000_000);
        assert!(!drain.asks_to_leave() && !drain.is_done());
        let at = |now| next(&drain, &Facts::default(), &Times::default(), now);
        assert_eq!((at(1_599_999), at(1_600_000)), (Step::Stay, Step::Forget));
    }

    proptest! {
        #[test]
        fn whatever_is_seen_nothing_is_withdrawn_before_clients_were_asked(
            seen in prop::collection::vec((any::<bool>(), any::<bool>(), any::<bool>(), 0u8..8, 0u64..30), 1..40),
            target in prop::sample::select(vec![Target::Dns, Target::Steer, Target::Bgp, Target::Off]),
            step_s in 1u64..60,
        ) {
            let mut drain = drain(target);
            let mut entered = vec![Stage::Permit];
            for (turn, (has_readers, is_seen, is_leaving, rank, connections)) in seen.into_iter().enumerate() {
                let now = turn as u64 * step_s * 1000;
                let facts = Facts { has_readers, is_seen, is_leaving, rank_min: Some(rank), connections };
                if let Step::Enter(stage) = next(&drain, &facts, &Times::default(), now) {
                    (drain.stage, drain.since_unix_ms) = (stage, now);
                    entered.push(stage);
                }
            }
            prop_assert!(entered.windows(2).all(|pair| pair[0].next() == Some(pair[1])));
            prop_assert!(drain.stage <= target.last());
        }
    }
}

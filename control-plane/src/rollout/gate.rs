//! When a release does harm.
//!
//! Nodes that run it are held against the others over the same time; where there are no others, against themselves
//! before. A single refusal is harm. Figures of few requests say nothing.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use tidegate_contract::id::PopId;

use super::Rollout;

/// When a release does harm.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Gates {
    /// Requests on either side below which nothing is said.
    pub requests_min: u64,
    /// By how much the share of requests that fail may be higher where the release runs.
    pub error_ratio_rise_max: f64,
    /// By how much the share of hits may be lower where the release runs.
    pub hit_ratio_fall_max: f64,
}

impl Default for Gates {
    fn default() -> Self {
        Self { requests_min: 200, error_ratio_rise_max: 0.01, hit_ratio_fall_max: 0.1 }
    }
}

/// What a node says, as far as roll-outs read it.
#[derive(Debug, Clone, PartialEq)]
pub struct NodeReport {
    /// `pop/node`.
    pub name: String,
    /// Its PoP.
    pub pop: PopId,
    /// Whether its lane is open.
    pub is_connected: bool,
    /// The version that it runs.
    pub version: u64,
    /// The version that it refused last, and why.
    pub nack: Option<(u64, String)>,
    /// What it has counted.
    pub totals: Option<Totals>,
}

/// What a node has counted since it started.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Totals {
    /// Requests.
    pub requests: u64,
    /// Those answered from the cache.
    pub hits: u64,
    /// Those that failed.
    pub errors: u64,
    /// When it started: another time makes another count.
    pub started_unix_ms: u64,
}

impl Gates {
    /// The harm that is seen, in words.
    pub(super) fn harm(
        &self,
        rollout: &Rollout,
        inside: &[&NodeReport],
        outside: &[&NodeReport],
    ) -> Option<String> {
        let refused = inside.iter().find_map(|report| {
            let (version, error) = report.nack.as_ref()?;
            (*version == rollout.target).then(|| format!("{} refused it: {error}", report.name))
        });
        if refused.is_some() {
            return refused;
        }
        let now = counted(inside, &rollout.before);
        let others = counted(outside, &rollout.before);
        let yardstick =
            if others.requests >= self.requests_min { others } else { earlier(inside, rollout) };
        if now.requests < self.requests_min || yardstick.requests < self.requests_min {
            return None;
        }
        let (errors, errors_else) = (share(now.errors, &now), share(yardstick.errors, &yardstick));
        if errors > errors_else + self.error_ratio_rise_max {
            return Some(format!(
                "{:.2} % of requests fail where it runs, {:.2} % otherwise",
                errors * 100.0,
                errors_else * 100.0
            ));
        }
        let (hits, hits_else) = (share(now.hits, &now), share(yardstick.hits, &yardstick));
        (hits < hits_else - self.hit_ratio_fall_max).then(|| {
            format!(
                "{:.1} % of requests are hits where it runs, {:.1} % otherwise",
                hits * 100.0,
                hits_else * 100.0
            )
        })
    }
}

/// What every node has counted by now.
pub(super) fn totals_of(reports: &[NodeReport]) -> BTreeMap<String, Totals> {
    let with_totals = |report: &NodeReport| Some((report.name.clone(), report.totals?));
    reports.iter().filter_map(with_totals).collect()
}

/// What nodes have counted since. A node that started anew has counted all of it since.
fn counted(reports: &[&NodeReport], before: &BTreeMap<String, Totals>) -> Totals {
    let mut sum = Totals::default();
    for report in reports {
        let Some(now) = report.totals else { continue };
        let then = before.get(&report.name).copied().unwrap_or_default();
        let then =
            if then.started_unix_ms == now.started_unix_ms { then } else { Totals::default() };
        sum.requests += now.requests.saturating_sub(then.requests);
        sum.hits += now.hits.saturating_sub(then.hits);
        sum.errors += now.errors.saturating_sub(then.errors);
    }
    sum
}

/// What the same nodes had counted before the stage began.
fn earlier(reports: &[&NodeReport], rollout: &Rollout) -> Totals {
    let mut sum = Totals::default();
    for then in reports.iter().filter_map(|report| rollout.before.get(&report.name)) {
        sum.requests += then.requests;
        sum.hits += then.hits;
        sum.errors += then.errors;
    }
    sum
}

#[allow(clippy::cast_precision_loss, reason = "a ratio for people and thresholds")]
fn share(part: u64, of: &Totals) -> f64 {
    part as f64 / (of.requests.max(1)) as f64
}

#[cfg(test)]
mod tests {
    use super::super::{Config, Decision, Pace};
    use super::*;

    fn report(pop: &str, requests: u64, hits: u64, errors: u64) -> NodeReport {
        NodeReport {
            name: format!("{pop}/n"),
            pop: PopId::parse(pop).expect("good"),
            is_connected: true,
            version: 5,
            nack: None,
            totals: Some(Totals { requests, hits, errors, started_unix_ms: 1 }),
        }
    }

    fn decide(before: &[NodeReport], now: &[NodeReport]) -> Decision {
        let pops: Vec<_> = before.iter().map(|report| report.pop.clone()).collect();
        let canary = pops[0].clone();
        let rollout = Rollout::begin((4, 5), Pace::Staged, pops, Some(&canary), 0, before);
        rollout.decide(now, 1, &Config::default())
    }

    fn harm(decision: &Decision) -> &str {
        match decision {
            Decision::TurnBack(why) => why,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_refusal_of_this_version_is_harm_and_one_of_another_is_not() {
        let before = [report("a", 0, 0, 0), report("b", 0, 0, 0)];
        let mut now = before.clone();
        now[0].nack = Some((5, "cache too small".to_owned()));
        assert!(harm(&decide(&before, &now)).contains("a/n refused it: cache too small"));
        now[0].nack = Some((3, "long ago".to_owned()));
        assert!(matches!(decide(&before, &now), Decision::Stay(_)));
    }

    #[test]
    fn more_errors_or_fewer_hits_than_elsewhere_are_harm() {
        let before = [report("a", 1000, 900, 0), report("b", 1000, 900, 0)];
        let others = report("b", 2000, 1800, 5);
        for (requests, hits, errors, says) in [
            (2000, 1800, 5, ""),
            (2000, 1800, 40, "fail"),
            (2000, 1500, 0, "hits"),
            (1150, 900, 150, ""),
        ] {
            let decision = decide(&before, &[report("a", requests, hits, errors), others.clone()]);
            if says.is_empty() {
                assert!(matches!(decision, Decision::Stay(_)), "{requests} {hits} {errors}");
            } else {
                assert!(harm(&decision).contains(says));
            }
        }
    }

    #[test]
    fn everybody_failing_is_not_the_releases_fault() {
        let before = [report("a", 1000, 900, 0), report("b", 1000, 900, 0)];
        let now = [report("a", 2000, 900, 900), report("b", 2000, 900, 900)];
        assert!(matches!(decide(&before, &now), Decision::Stay(_)));
    }

    #[test]
    fn alone_a_pop_is_held_against_itself_and_a_restart_is_no_jump() {
        let before = [report("a", 1000, 900, 0)];
        assert!(harm(&decide(&before, &[report("a", 2000, 1000, 500)])).contains("fail"));
        let mut anew = report("a", 900, 800, 0);
        anew.totals.as_mut().expect("said").started_unix_ms = 2;
        assert!(matches!(decide(&before, &[anew]), Decision::Stay(_)));
    }
}

//! One ask: upstreams in their order, one after the other, the slow ones hedged, within the budget.
//!
//! Invariant: the number of upstreams that one ask may bother and the share of repeated requests are bounded; a
//! request that may not be repeated is sent once.

use std::{collections::VecDeque, time::Duration};

use http::Method;
use tidegate_contract::{property::Hedge, snapshot::PopRole};
use tokio::time::sleep;

use super::{
    Upstreams,
    answer::Answer,
    ask::{Ask, Candidate, Tier},
    attempt::{Asking, is_worth_another},
    failed::Failed,
    order::{self, Standing},
    standing::{Admission, Load, Permit},
};
use crate::error::Failure;

impl Upstreams {
    /// Asks shields and origins: the best one, and others when it fails or is slow.
    ///
    /// The answer is the first one that is not 502, 503 or 504, else the last of those, else there is none.
    pub(super) async fn ask_beyond(&self, asking: &Asking<'_>) -> Result<Answer, Failure> {
        let mut left = self.plan(&asking.ask);
        let mut asked = 0;
        let mut last = None;
        let mut held = None;
        while asked < self.config.attempts_max {
            if asked > 0 && (left.is_empty() || !self.may_repeat()) {
                break;
            }
            let Some((candidate, permit)) = self.admit(asking, &mut left, &mut last).await else {
                break;
            };
            if asked > 0 {
                self.metrics.retries.inc();
            }
            asked += 1;
            match self.race(asking, candidate, permit, &mut left, &mut asked).await {
                Ok(answer) if is_worth_another(answer.status) && asking.is_repeatable => {
                    held = Some(answer);
                }
                Ok(answer) => return Ok(Answer { attempts: asked, ..answer }),
                Err(failed) => {
                    let may_go_on = asking.may_go_on(&failed);
                    last = Some(failed);
                    if !may_go_on {
                        break;
                    }
                }
            }
        }
        match held {
            Some(answer) => Ok(Answer { attempts: asked, ..answer }),
            None => Err(last.map_or(Failure::UNREACHABLE, |failed: Failed| failed.failure())),
        }
    }

    /// All upstreams of an ask beyond the PoP, in the order in which they are asked.
    fn plan(&self, ask: &Ask<'_>) -> VecDeque<Candidate> {
        let snapshot = &ask.policy.snapshot;
        let mut plan = Vec::new();
        if snapshot.role == PopRole::Edge {
            let shields: Vec<Standing<'_>> = snapshot
                .shields
                .iter()
                .map(|shield| Standing {
                    name: shield.pop.as_str(),
                    report: self.standings.report(&shield.upstream.authority),
                })
                .collect();
            let order = order::by_hash(ask.key, &shields, self.config.load_percent_max);
            plan.extend(order.into_iter().map(|place| Candidate { tier: Tier::Shield, place }));
            // Leaves room for at least one origin behind the shields.
            plan.truncate((self.config.attempts_max as usize - 1).max(1));
        }
        let origins: Vec<_> = ask
            .property()
            .origins
            .iter()
            .map(|upstream| self.standings.report(&upstream.authority))
            .collect();
        let order = order::by_preference(&origins);
        plan.extend(order.into_iter().map(|place| Candidate { tier: Tier::Origin, place }));
        plan.sort_by_key(|candidate| ask.avoid.contains(candidate));
        plan.into()
    }

    /// The next upstream that may be asked now. When none may, the first one is tried nevertheless, unless somebody
    /// else does that already.
    async fn admit(
        &self,
        asking: &Asking<'_>,
        left: &mut VecDeque<Candidate>,
        last: &mut Option<Failed>,
    ) -> Option<(Candidate, Permit)> {
        let mut passed_over = VecDeque::new();
        while let Some(candidate) = left.pop_front() {
            match self
                .standings
                .admit(&asking.upstream(candidate).authority, self.load(asking, candidate, false))
            {
                Admission::Admitted(permit) => {
                    // Who was passed over may be asked after all when this one fails.
                    left.extend(passed_over);
                    return Some((candidate, permit));
                }
                Admission::Open | Admission::Full => passed_over.push_back(candidate),
            }
        }
        for candidate in std::mem::take(&mut passed_over) {
            let authority = &asking.upstream(candidate).authority;
            let load = self.load(asking, candidate, true);
            let wait_max = self.config.asks_wait_max;
            match self.standings.admit_waiting(authority, load, wait_max).await {
                Admission::Admitted(permit) => return Some((candidate, permit)),
                refused => {
                    let failed = if matches!(refused, Admission::Full) {
                        Failed::Busy
                    } else {
                        Failed::Open
                    };
                    let labels = [candidate.tier.as_str(), failed.kind()];
                    self.metrics.errors.with_label_values(&labels).inc();
                    // A real failure says more than that somebody was not asked.
                    last.get_or_insert(failed);
                }
            }
        }
        None
    }

    /// Asks one upstream, and a second one of its kind when it is slow; the first answer wins and the other request
    /// is cut off.
    async fn race(
        &self,
        asking: &Asking<'_>,
        candidate: Candidate,
        permit: Permit,
        left: &mut VecDeque<Candidate>,
        asked: &mut u32,
    ) -> Result<Answer, Failed> {
        let first = self.attempt(asking, candidate, permit);
        let Some(delay) = self.hedge_delay(asking, candidate, left, *asked) else {
            return first.await;
        };
        tokio::pin!(first);
        tokio::select! {
            result = &mut first => return result,
            () = sleep(delay) => {}
        }
        let Some((other, permit)) = self.admit_hedge(asking, candidate.tier, left) else {
            return first.await;
        };
        *asked += 1;
        let second = self.attempt(asking, other, permit);
        tokio::pin!(second);
        let (result, is_second) = tokio::select! {
            result = &mut first => if is_answer(&result) { (result, false) } else { (better(result, second.await), true) },
            result = &mut second => if is_answer(&result) { (result, true) } else { (better(result, first.await), false) },
        };
        let has_won = is_second && result.as_ref().is_ok_and(|answer| answer.from == other);
        self.metrics.hedges.with_label_values(&[if has_won { "yes" } else { "no" }]).inc();
        result
    }

    /// After what time a second upstream is asked; `None` when never.
    fn hedge_delay(
        &self,
        asking: &Asking<'_>,
        candidate: Candidate,
        left: &VecDeque<Candidate>,
        asked: u32,
    ) -> Option<Duration> {
        let has_other = left.iter().any(|other| other.tier == candidate.tier);
        let is_allowed = has_other && asked < self.config.attempts_max;
        if is_allowed { self.patience(asking, candidate) } else { None }
    }

    /// How long an upstream is given to begin its answer before another one is asked as well; `None` when as long as
    /// it takes.
    pub(super) fn patience(&self, asking: &Asking<'_>, candidate: Candidate) -> Option<Duration> {
        let ask = &asking.ask;
        let is_read = ask.method == Method::GET || ask.method == Method::HEAD;
        if !is_read || !asking.is_repeatable || ask.hold.is_some() {
            return None;
        }
        match ask.property().upstream.hedge {
            Hedge::Off => None,
            Hedge::After(delay) => Some(delay),
            Hedge::Auto => {
                let p95 = self.standings.p95(&asking.upstream(candidate).authority)?;
                Some(p95.max(HEDGE_DELAY_MIN))
            }
        }
    }

    fn admit_hedge(
        &self,
        asking: &Asking<'_>,
        tier: Tier,
        left: &mut VecDeque<Candidate>,
    ) -> Option<(Candidate, Permit)> {
        for place in 0..left.len() {
            let candidate = left[place];
            if candidate.tier != tier || asking.ask.avoid.contains(&candidate) {
                continue;
            }
            let authority = &asking.upstream(candidate).authority;
            let load = self.load(asking, candidate, false);
            if let Admission::Admitted(permit) = self.standings.admit(authority, load) {
                if !self.may_repeat() {
                    return None;
                }
                left.remove(place);
                return Some((candidate, permit));
            }
        }
        None
    }

    pub(super) fn may_repeat(&self) -> bool {
        let may_repeat = self.retries.may_repeat(self.clock.now());
        if !may_repeat {
            self.metrics.retries_refused.inc();
        }
        may_repeat
    }

    pub(super) fn load(
        &self,
        asking: &Asking<'_>,
        candidate: Candidate,
        is_last_resort: bool,
    ) -> Load {
        let own = asking.ask.property().upstream.connections_max;
        let own = own.filter(|_| candidate.tier == Tier::Origin);
        Load {
            max: own.unwrap_or(self.config.asks_max),
            is_last_resort,
            is_timed: asking.ask.hold.is_none(),
        }
    }
}

fn is_answer(result: &Result<Answer, Failed>) -> bool {
    result.as_ref().is_ok_and(|answer| !is_worth_another(answer.status))
}

/// The better one of two, where the first is no answer that ends the matter.
fn better(one: Result<Answer, Failed>, other: Result<Answer, Failed>) -> Result<Answer, Failed> {
    if other.is_ok() { other } else { one }
}

/// Earlier, a second request saves nobody a stall.
const HEDGE_DELAY_MIN: Duration = Duration::from_millis(50);

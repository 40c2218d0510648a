//! Whether another node of the PoP is asked: the one that owns the resource, by consistent hash with bounded load.
//!
//! An owner that fails, is slow or has too much to do is passed over; then this node asks beyond the PoP itself.
//! Invariants: one ask bothers one sibling at most; that a sibling was asked takes nothing from what may be asked beyond
//! it, neither attempts nor repeated requests.

use std::{pin::pin, sync::Arc};

use http::{Method, StatusCode};
use tokio::time::timeout;

use super::{
    Upstreams,
    answer::Answer,
    ask::{Ask, Candidate, Home, Tier},
    attempt::{Asking, is_worth_another},
    failed::Failed,
    order::{self, Standing},
    standing::{Admission, Permit, Report},
};
use crate::{cache::key::Key, error::Failure};

impl Upstreams {
    /// Whether this node knows others of its PoP.
    #[must_use]
    pub fn has_siblings(&self) -> bool {
        !self.siblings.is_empty()
    }

    /// Which node of the PoP should ask beyond it for a resource now; absent on a node without siblings.
    #[must_use]
    pub fn home(&self, key: &Key) -> Option<Home> {
        let own = self.config.siblings.own.as_deref().filter(|_| self.has_siblings())?;
        // What siblings ask of this node does not count: they do not see it of one another either.
        let under_way = Arc::strong_count(&self.owned) - 1;
        let own = Standing { name: own, report: well(under_way as u64) };
        let others = self.siblings.iter().map(|node| Standing {
            name: &node.authority,
            report: self.standings.report(&node.authority),
        });
        let nodes: Vec<_> = [own].into_iter().chain(others).collect();
        Some(owner(key, &nodes, self.config.load_percent_max))
    }

    /// Asks the sibling that owns the resource, if there is one, then the best upstream, and others when that fails or
    /// is slow.
    ///
    /// The answer is the first one that is not 502, 503 or 504, else the last of those, else there is none.
    /// May be dropped at any time: what is under way is cut off.
    ///
    /// # Errors
    /// When no upstream gave an answer.
    pub async fn ask(&self, ask: Ask<'_>) -> Result<Answer, Failure> {
        self.retries.began(self.clock.now());
        let counted = (ask.home == Some(Home::Here)).then(|| self.owned.clone());
        let asking = Asking::new(ask, &self.siblings);
        let mut answer = match self.admit_sibling(&asking) {
            None => self.ask_beyond(&asking).await?,
            Some((sibling, permit)) => {
                let answer = Box::pin(self.ask_sibling(&asking, sibling, permit)).await?;
                let before = u32::from(answer.from != sibling);
                Answer { attempts: answer.attempts + before, ..answer }
            }
        };
        if let Some(counted) = counted {
            answer.body.count(counted);
        }
        Ok(answer)
    }

    fn admit_sibling(&self, asking: &Asking<'_>) -> Option<(Candidate, Permit)> {
        let ask = &asking.ask;
        let Some(Home::Sibling(place)) = ask.home else { return None };
        let sibling = Candidate { tier: Tier::Sibling, place };
        let is_read = ask.method == Method::GET || ask.method == Method::HEAD;
        if !is_read || !asking.is_repeatable || ask.avoid.contains(&sibling) {
            return None;
        }
        let authority = &asking.upstream(sibling).authority;
        match self.standings.admit(authority, self.load(asking, sibling, false)) {
            Admission::Admitted(permit) => Some((sibling, permit)),
            Admission::Open | Admission::Full => None,
        }
    }

    /// Asks a sibling; beyond the PoP when it fails, and beside it when it is slow. The first answer wins and the other
    /// request is cut off.
    async fn ask_sibling(
        &self,
        asking: &Asking<'_>,
        sibling: Candidate,
        permit: Permit,
    ) -> Result<Answer, Failure> {
        let patience = self.patience(asking, sibling);
        let mut first = pin!(self.attempt(asking, sibling, permit));
        let early = match patience {
            Some(patience) => timeout(patience, &mut first).await.ok(),
            None => Some(first.as_mut().await),
        };
        let result = match early {
            Some(result) => result,
            None if self.may_repeat() => {
                let mut second = pin!(self.ask_beyond(asking));
                let answer = tokio::select! {
                    result = &mut first => match brought(result) {
                        Some(answer) => Ok(answer),
                        None => second.await,
                    },
                    result = &mut second => match result {
                        Ok(answer) => Ok(answer),
                        Err(failure) => brought(first.await).ok_or(failure),
                    },
                };
                let has_second_won = answer.as_ref().is_ok_and(|answer| answer.from != sibling);
                let won = if has_second_won { "yes" } else { "no" };
                self.metrics.hedges.with_label_values(&[won]).inc();
                return answer;
            }
            None => first.await,
        };
        match brought(result) {
            Some(answer) => Ok(answer),
            None => self.ask_beyond(asking).await,
        }
    }
}

/// The answer of a sibling, where it is one about the resource.
fn brought(result: Result<Answer, Failed>) -> Option<Answer> {
    result.ok().filter(|answer| !is_of_the_node(answer.status))
}

/// Whether a status says only that this node is the wrong one to ask: it failed, does not serve the host (yet), or has
/// seen the request before.
fn is_of_the_node(status: StatusCode) -> bool {
    is_worth_another(status)
        || matches!(status, StatusCode::MISDIRECTED_REQUEST | StatusCode::LOOP_DETECTED)
}

/// Who owns a resource among this node, which stands first, and the others.
fn owner(key: &Key, nodes: &[Standing<'_>], load_percent_max: u32) -> Home {
    match order::by_hash(key, nodes, load_percent_max).first() {
        Some(place @ 1..) => Home::Sibling(place - 1),
        Some(0) | None => Home::Here,
    }
}

fn well(in_flight: u64) -> Report {
    Report { in_flight, is_healthy: true, ..Report::default() }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn key(n: u32) -> Key {
        let mut bytes = [0; 16];
        bytes[..4].copy_from_slice(&n.to_le_bytes());
        Key(bytes)
    }

    /// The name of the owner as one of the nodes sees it, with what it has under way to each.
    fn owner_seen(key: &Key, own: &str, under_way: &BTreeMap<String, u64>) -> String {
        let others: Vec<_> = under_way.keys().filter(|name| *name != own).collect();
        let names = [own].into_iter().chain(others.iter().map(|name| name.as_str()));
        let nodes: Vec<_> =
            names.map(|name| Standing { name, report: well(under_way[name]) }).collect();
        match owner(key, &nodes, 125) {
            Home::Here => own.to_owned(),
            Home::Sibling(place) => others[place].clone(),
        }
    }

    fn idle(count: usize) -> BTreeMap<String, u64> {
        (0..count).map(|n| (format!("10.0.0.{n}:443"), 0)).collect()
    }

    #[test]
    fn a_sibling_that_fails_owns_nothing_and_one_that_is_slow_neither() {
        let failing = Report { is_healthy: false, ..Report::default() };
        let bursting = Report { is_bursting: true, ..well(0) };
        for report in [failing, bursting] {
            for n in 0..50 {
                let nodes =
                    [Standing { name: "a", report: well(0) }, Standing { name: "b", report }];
                assert_eq!(owner(&key(n), &nodes, 125), Home::Here);
            }
        }
        assert_eq!(owner(&key(1), &[Standing { name: "a", report: well(0) }], 125), Home::Here);
    }

    #[test]
    fn what_says_nothing_of_the_resource_is_not_taken_for_an_answer() {
        for (status, expected) in [
            (200, false),
            (404, false),
            (500, false),
            (421, true),
            (502, true),
            (504, true),
            (508, true),
        ] {
            assert_eq!(is_of_the_node(StatusCode::from_u16(status).unwrap()), expected, "{status}");
        }
    }

    proptest! {
        #[test]
        fn all_nodes_find_the_same_owner_and_only_the_keys_of_a_lost_one_move(
            count in 2usize..12, lost in 0usize..12, seed in any::<u32>(),
        ) {
            let (all, lost) = (idle(count), format!("10.0.0.{}:443", lost % count));
            let mut left = all.clone();
            left.remove(&lost);
            for n in 0..20 {
                let key = key(seed.wrapping_add(n));
                let owners: Vec<_> = all.keys().map(|own| owner_seen(&key, own, &all)).collect();
                prop_assert!(owners.iter().all(|owner| *owner == owners[0]));
                for own in left.keys() {
                    let now = owner_seen(&key, own, &left);
                    prop_assert!(now == owners[0] || owners[0] == lost);
                }
            }
        }

        #[test]
        fn keys_that_are_all_under_way_spread_within_the_bound(
            count in 2usize..8, seed in any::<u32>(),
        ) {
            let mut under_way = idle(count);
            for n in 0..400 {
                let owner = owner_seen(&key(seed.wrapping_add(n)), "10.0.0.0:443", &under_way);
                *under_way.get_mut(&owner).unwrap() += 1;
            }
            // A quarter more than the mean, and the one that is let in at the bound.
            let bound = (400 + count as u64) * 125 / (100 * count as u64) + 1;
            prop_assert!(under_way.values().all(|load| *load <= bound), "{under_way:?}");
        }
    }
}

//! Purges under load: how long after the call each PoP serves something fresh.
//!
//! For every purge: each PoP's present answer is looked at, the content at the origin is changed if there is a command
//! for that, the purge is called, and from then on each PoP is asked again and again until its answer is fresh.
//!
//! Invariant: time begins when the purge command is started; a PoP that never becomes fresh counts as the longest time.

use std::{collections::BTreeMap, time::Duration};

use futures::future::join_all;
use tokio::time::Instant;

use super::fault::{Stage, Step};
use crate::{
    net::{Ask, Fetched, Net, NetConfig, Session, SessionPlan},
    scenario::{Freshness, Probe, Purge},
};

/// All purges of one entry, through the whole run.
pub(super) async fn purge(purge: Purge, net: NetConfig, stage: Stage) {
    let mut sights = Vec::with_capacity(purge.probes.len());
    for probe in &purge.probes {
        match Sight::new(probe, &net) {
            Ok(sight) => sights.push(sight),
            Err(reason) => {
                let reason = format!("PoP {}: {reason}", probe.pop);
                stage.told.borrow_mut().failed.push(reason);
                return;
            }
        }
    }
    let mut at = purge.at;
    let mut count = 0;
    while stage.wait_until(at).await {
        count += 1;
        once(&purge, count, &sights, &stage).await;
        match purge.every {
            Some(every) => at += every,
            None => return,
        }
    }
}

async fn once(purge: &Purge, count: u64, sights: &[Sight], stage: &Stage) {
    let step = |phase, words| Step {
        name: &purge.name,
        phase,
        count,
        words,
        is_shell: purge.shell,
        timeout: purge.timeout,
        may_fail: purge.may_fail,
    };
    let before = join_all(sights.iter().map(|sight| sight.look())).await;
    if !purge.change.is_empty() && !stage.run(step("change", &purge.change)).await {
        return;
    }
    let called = Instant::now();
    let within = purge.fresh_within.unwrap_or(FRESH_WITHIN);
    let poll_every = purge.poll_every.unwrap_or(POLL_EVERY);
    let watched = sights.iter().zip(&before).map(|(sight, before)| async move {
        let until_fresh = async {
            loop {
                let seen = sight.look().await;
                if is_fresh(purge.fresh, before, &seen, called.elapsed()) {
                    return called.elapsed();
                }
                tokio::time::sleep(poll_every).await;
            }
        };
        let took = tokio::select! {
            took = until_fresh => Some(took),
            () = tokio::time::sleep(within) => Some(within),
            () = stage.ending() => None,
        };
        (sight.pop.clone(), took)
    });
    let (is_purged, fresh) = tokio::join!(stage.run(step("purge", &purge.run)), join_all(watched));
    if !is_purged {
        return;
    }
    let mut told = stage.told.borrow_mut();
    for (pop, took) in fresh {
        let Some(took) = took else { continue };
        if took >= within {
            told.notes.push(format!("{}: PoP {pop} was not fresh within {within:?}", purge.name));
        }
        if told.first_fresh.len() < SAMPLES_MAX {
            told.first_fresh.push((pop, took.as_millis() as u64));
        }
    }
}

/// One PoP, and how it is asked.
struct Sight {
    pop: String,
    ask: Ask,
    session: Session,
    /// Keeps the session's connections running.
    _net: Net,
}

/// What a PoP answered.
#[derive(Debug, Clone, Default, PartialEq)]
struct Seen {
    is_answer: bool,
    /// The ETag, or the content's hash.
    identity: Option<String>,
    is_hit: Option<bool>,
    age: Option<u64>,
}

impl Sight {
    fn new(probe: &Probe, config: &NetConfig) -> Result<Self, String> {
        let mut config = config.clone();
        if let Some(address) = probe.connect {
            config.resolve = BTreeMap::from([("*".to_owned(), vec![address])]);
        }
        let net = Net::new(config).map_err(|error| error.to_string())?;
        let session = net.session(SessionPlan {
            protocol: probe.protocol,
            resumes: false,
            early_data: false,
            shape: None,
            migrate_every: None,
            new_connection_every: None,
        });
        let ask = Ask {
            url: probe.url.clone(),
            range: None,
            headers: Vec::new(),
            urgency: 3,
            keep: None,
            hash: true,
            timeout: LOOK_TIMEOUT,
        };
        Ok(Self { pop: probe.pop.clone(), ask, session, _net: net })
    }

    async fn look(&self) -> Seen {
        Seen::of(self.session.fetch(self.ask.clone(), &mut |_| {}).await)
    }
}

impl Seen {
    fn of(fetched: Fetched) -> Self {
        let Ok(answer) = fetched.outcome else { return Self::default() };
        let hash = answer.blake3.map(hex::encode);
        Self {
            is_answer: true,
            identity: fetched.facts.etag.or(hash),
            is_hit: fetched.facts.is_hit,
            age: fetched.facts.age,
        }
    }
}

/// Whether an answer is from after the purge that was called so long ago.
fn is_fresh(by: Freshness, before: &Seen, now: &Seen, since_call: Duration) -> bool {
    now.is_answer
        && match by {
            Freshness::Changed => now.identity.is_some() && now.identity != before.identity,
            // `Age` is whole seconds, rounded down: an age of 1 may be almost 2.
            Freshness::Age => {
                let is_stored_after = now.age.is_some_and(|age| age < since_call.as_secs());
                now.is_hit == Some(false) || is_stored_after
            }
        }
}

const FRESH_WITHIN: Duration = Duration::from_secs(30);
const POLL_EVERY: Duration = Duration::from_millis(50);
/// For one look at a PoP.
const LOOK_TIMEOUT: Duration = Duration::from_secs(10);
/// Times of one run that are kept until its end.
const SAMPLES_MAX: usize = 1_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(identity: &str, is_hit: Option<bool>, age: Option<u64>) -> Seen {
        Seen { is_answer: true, identity: Some(identity.to_owned()), is_hit, age }
    }

    #[test]
    fn fresh_is_told_from_old() {
        let before = seen("a", Some(true), Some(40));
        let table = [
            (Freshness::Changed, seen("a", Some(false), None), false),
            (Freshness::Changed, seen("b", Some(true), Some(0)), true),
            (Freshness::Age, seen("a", Some(true), Some(42)), false),
            (Freshness::Age, seen("a", Some(false), None), true),
            (Freshness::Age, seen("a", Some(true), Some(1)), true),
            (Freshness::Age, seen("a", Some(true), Some(2)), false),
            (Freshness::Age, seen("a", None, None), false),
            (Freshness::Age, Seen::default(), false),
            (Freshness::Changed, Seen::default(), false),
        ];
        for (by, now, expected) in table {
            let fresh = is_fresh(by, &before, &now, Duration::from_millis(2_500));
            assert_eq!(fresh, expected, "{by:?} {now:?}");
        }
    }
}

//! Purges under everything that can go wrong, many times, each time the same for the same seed.
//!
//! A seed that fails is named in the message; `TIDEGATE_SEED=N` runs it alone, `TIDEGATE_SEEDS=N` runs that many.

use std::{env, sync::Arc, time::Duration};

use prost::Message;
use tidegate_chassis::Clock;
use tidegate_contract::{
    id::{PurgeId, StreamId},
    purge::{PurgeOrder, PurgeTarget},
    surrogate_key::SurrogateKey,
};
use tidegate_control::{
    store::{MemoryLog, NewPurge},
    sync::purge_cursor::{Cursor, heartbeat},
};
use tidegate_edge::{
    cache::{
        lease::Lease,
        purge::{Limits, PurgeTable, Verdict},
    },
    control::{
        follower::{Follower, Heard},
        wire::PurgeDown,
    },
};
use tidegate_purge_lab::simulation::{Mistake, Report, Settings, run};

/// How long that takes the benchmark says; what must not grow is said here: messages, and nothing twice or left out.
#[test]
fn a_hundred_thousand_missed_purges_come_in_a_few_hundred_messages() {
    const MISSED: u64 = 100_000;
    let (log, clock) = (MemoryLog::new(stream(), 64), Clock::system());
    let purges = PurgeTable::new(clock.clone(), Limits::default());
    let lease = Lease::new(Duration::from_secs(5));
    lease.attach(purges.clone());
    let mut follower = Follower::new(purges.clone(), Arc::new(|_, _, _| {}), lease.clone());
    let (_, mut heard) = follower.hello("test", 0, clock.now());
    let take = |follower: &mut Follower, heard: &mut Heard, message: &[u8]| {
        let message = PurgeDown::decode(message).expect("what the other side encoded");
        follower.take(message, heard, clock.now()).expect("in order");
    };
    let beat = heartbeat(stream().as_str(), 0, 0, (0, Vec::new().into())).encode_to_vec();
    take(&mut follower, &mut heard, &beat);
    let (born, seq) = (purges.seq(), purges.seq());

    for n in 1..=MISSED {
        log.push(NewPurge {
            id: PurgeId::parse(format!("p{n}")).expect("good"),
            order: PurgeOrder { target: PurgeTarget::Key { key: missed(n) }, soft: false },
            replacement: None,
            replacement_digest: None,
            accepted_unix_ms: n,
            idempotency_key: None,
        });
    }
    let (mut cursor, _) = Cursor::begin(Some(0), MISSED);
    let mut messages = 0;
    while let Some(said) = cursor.take(log.page(cursor.after(), 256)).message(stream().as_str()) {
        take(&mut follower, &mut heard, &said.encode_to_vec());
        messages += 1;
    }
    assert_eq!(messages, MISSED.div_ceil(256));
    assert_eq!(lease.seen()[&stream()], MISSED);
    assert_eq!(purges.seq() - seq, MISSED, "each of them once");
    for n in [1, MISSED / 2, MISSED] {
        assert_eq!(purges.verdict([missed(n).hash()], born, true), Verdict::Hard, "{n}");
    }
    assert_eq!(purges.verdict([missed(0).hash()], born, true), Verdict::Valid, "not all at once");
}

fn stream() -> StreamId {
    StreamId::parse("main").expect("good")
}

fn missed(n: u64) -> SurrogateKey {
    SurrogateKey::parse(format!("video-{n}")).expect("a good key")
}

#[test]
fn no_pop_serves_a_manifest_past_a_purge_whatever_goes_wrong() {
    let mut all = Report::default();
    let seeds = match env::var("TIDEGATE_SEED") {
        Ok(seed) => vec![seed.parse().expect("TIDEGATE_SEED is a number")],
        Err(_) => (1..=count("TIDEGATE_SEEDS", SEEDS)).collect(),
    };
    let is_many = seeds.len() as u64 >= SEEDS;
    for seed in seeds {
        let report = run(Settings { seed, duration_ms: DURATION_MS, mistake: None });
        if let Some(violation) = &report.violation {
            panic!("seed {seed}: {violation}\nrun it alone with TIDEGATE_SEED={seed}");
        }
        all.hits += report.hits;
        all.fetches += report.fetches;
        all.purges += report.purges;
        all.complete += report.complete;
        all.lanes += report.lanes;
        all.faults += report.faults;
        all.trims += report.trims;
        all.restores += report.restores;
        all.uncertain_hits += report.uncertain_hits;
    }
    println!("{all:?}");
    if is_many {
        // A world in which nothing happens proves nothing.
        assert!(all.hits > all.fetches, "most answers come from caches: {all:?}");
        assert!(all.uncertain_hits > 0 && all.trims > 0 && all.restores > 0, "{all:?}");
        assert!(all.complete * 3 > all.purges, "many purges are confirmed: {all:?}");
    }
}

#[test]
fn a_seed_is_the_same_run_every_time() {
    let settings = Settings { seed: 7, duration_ms: DURATION_MS, mistake: None };
    assert_eq!(run(settings), run(settings));
}

#[test]
fn every_known_mistake_is_found() {
    for mistake in [
        Mistake::BornOnArrival,
        Mistake::LeaseFromArrival,
        Mistake::UnsaidTrim,
        Mistake::BlindReplica,
        Mistake::OffsetsGivenTwice,
    ] {
        let found = (1..=MISTAKE_SEEDS).find_map(|seed| {
            let settings = Settings { seed, duration_ms: DURATION_MS, mistake: Some(mistake) };
            run(settings).violation.map(|violation| (seed, violation))
        });
        match found {
            Some((seed, violation)) => println!("{mistake:?}: seed {seed}: {violation}"),
            None => panic!("{mistake:?} was not found with {MISTAKE_SEEDS} seeds"),
        }
    }
}

fn count(name: &str, otherwise: u64) -> u64 {
    env::var(name).map_or(otherwise, |text| text.parse().expect("a number of seeds"))
}

const SEEDS: u64 = 100;
const MISTAKE_SEEDS: u64 = 400;
const DURATION_MS: u64 = 60_000;

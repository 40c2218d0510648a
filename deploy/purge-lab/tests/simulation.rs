//! Purges under everything that can go wrong, many times, each time the same for the same seed.
//!
//! A seed that fails is named in the message; `TIDEGATE_SEED=N` runs it alone, `TIDEGATE_SEEDS=N` runs that many.

use std::env;

use tidegate_purge_lab::simulation::{Mistake, Report, Settings, run};

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

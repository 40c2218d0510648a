//! `kill -9` while objects and purges are written: a second process of this test is killed.

use std::{
    io::{BufRead, BufReader},
    process::{Command, Stdio},
};

use tidegate_chassis::Clock;
use tidegate_contract::{
    purge::{PurgeOrder, PurgeTarget},
    surrogate_key::SurrogateKey,
};

use super::*;
use crate::cache::purge::{self, PurgeTable, Verdict};

const FOLDER: &str = "TIDEGATE_TEST_CRASH_FOLDER";
const OBJECTS_EACH: u64 = 50;

fn purges(folder: &Path) -> PurgeTable {
    PurgeTable::open(folder, Clock::system(), purge::Limits::default()).unwrap()
}

fn name(n: u64) -> SurrogateKey {
    SurrogateKey::parse(format!("k{n}")).unwrap()
}

fn open_both(folder: &Path) -> (PurgeTable, Bench) {
    let purges = purges(folder);
    let config = Config { read_threads: 2, ..Config::default() };
    let metrics = Metrics::register(&Registry::new());
    let limits = Limits { bytes_max: 1 << 30, segment_bytes: 1 << 20, ..SMALL };
    let identity = purges.identity().unwrap();
    let tier = LogTier::open_with(folder, &config, limits, identity, metrics.clone()).unwrap();
    (purges, Bench { tier, metrics })
}

/// Not a test of its own: what the second process does until it is killed.
#[test]
fn the_process_that_is_killed() {
    let Some(folder) = std::env::var_os(FOLDER) else { return };
    let (purges, bench) = open_both(Path::new(&folder));
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    for round in 0.. {
        for n in round * OBJECTS_EACH..(round + 1) * OBJECTS_EACH {
            bench.put(n, 1 + n, (n * 977 % 90_000) as usize);
            if n % 5 == 0 {
                bench.tier.remove(&key(n));
            }
        }
        bench.tier.settle();
        let seq = purges
            .apply(&PurgeOrder { target: PurgeTarget::Key { key: name(round) }, soft: false });
        runtime.block_on(purges.settled(seq));
        println!("\ndone {round} {seq}");
    }
}

#[tokio::test]
async fn what_was_written_and_purged_before_the_kill_is_there_after_it() {
    let folder = tempfile::tempdir().unwrap();
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "cache::disk::tests::crash::the_process_that_is_killed", "--nocapture"])
        .env(FOLDER, folder.path())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut done = Vec::new();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    for line in lines.map_while(Result::ok) {
        if let Some(seq) = line.strip_prefix(&format!("done {} ", done.len())) {
            done.push(seq.parse::<u64>().unwrap());
        }
        if done.len() == 12 {
            child.kill().unwrap(); // SIGKILL, while it goes on
        }
    }
    child.wait().unwrap();

    let (purges, bench) = open_both(folder.path());
    let rounds = done.len() as u64;
    assert!(rounds >= 12);
    for n in 0..rounds * OBJECTS_EACH {
        let body = bench.body(n).await;
        if n % 5 == 0 {
            assert!(body.is_none(), "{n} was removed");
        } else {
            let expected = body_of(n ^ ((1 + n) << 32), (n * 977 % 90_000) as usize);
            assert!(body.unwrap().unwrap() == expected, "{n}");
        }
    }
    // What was being written when it was killed is whole or not there.
    for n in rounds * OBJECTS_EACH..(rounds + 3) * OBJECTS_EACH {
        if let Some(body) = bench.body(n).await {
            let expected = body_of(n ^ ((1 + n) << 32), (n * 977 % 90_000) as usize);
            assert!(body.unwrap() == expected, "{n}");
        }
    }
    assert_eq!(bench.errors("damaged"), 0);
    purges.trust_restored();
    for (round, seq) in (0..).zip(done) {
        let verdict = |born| purges.verdict([name(round).hash()], born, false);
        assert_eq!(verdict(seq - 1), Verdict::Hard);
        assert_eq!(verdict(seq), Verdict::Valid);
        assert!(purges.seq() > seq);
    }
}

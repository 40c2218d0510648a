//! Fills: what is found of them while they run, and what they leave.

use super::*;

#[tokio::test]
async fn a_fill_is_found_while_it_runs_and_after_it_finished() {
    let bench = bench();
    assert!(bench.lookup().is_none());
    let mut fill = bench.begin(Some(3));
    assert!(bench.lookup().unwrap().is_in_flight);
    fill.write(b"abc").unwrap();
    assert_eq!(fill.finish(), Ok(3));
    let found = bench.lookup().unwrap();
    assert!(!found.is_in_flight);
    assert_eq!(bench.read().await.unwrap(), b"abc");
    let sizes = bench.store.sizes();
    assert_eq!((sizes.objects, sizes.fills, sizes.in_flight_bytes), (1, 0, 0));
    assert_eq!((bench.metrics.memory_hits.get(), bench.metrics.in_flight_hits.get()), (2, 1));
}

#[tokio::test]
async fn a_failed_fill_leaves_nothing_and_the_object_before_it_stays() {
    let bench = bench();
    bench.fill(KEY, b"old");
    let mut failing = bench.begin(None);
    failing.write(b"ne").unwrap();
    drop(failing);
    assert_eq!(bench.read().await.unwrap(), b"old");
    assert_eq!(bench.store.sizes().fills, 0);
}

#[tokio::test]
async fn a_fill_that_was_hard_purged_meanwhile_is_neither_found_nor_stored() {
    let bench = bench();
    let mut fill = bench.begin(None);
    let mut reader = fill.body();
    bench.purge(false);
    assert!(bench.lookup().is_none());
    fill.write(b"abc").unwrap();
    fill.finish().unwrap();
    assert!(bench.lookup().is_none());
    assert_eq!(reader.read().await.unwrap().unwrap(), "abc", "its own reader gets it");
}

#[tokio::test]
async fn a_fill_that_was_soft_purged_meanwhile_is_stored_stale() {
    let bench = bench();
    let mut fill = bench.begin(None);
    bench.purge(true);
    fill.write(b"abc").unwrap();
    fill.finish().unwrap();
    let found = bench.lookup().unwrap();
    assert!(matches!(bench.store.verdict(&found.head), Verdict::Soft { .. }));
}

#[tokio::test]
async fn a_slow_old_fill_does_not_replace_a_fast_new_one() {
    let bench = bench();
    let mut slow = bench.begin(None);
    slow.write(b"old").unwrap();
    bench.fill(KEY, b"new");
    slow.finish().unwrap();
    assert_eq!(bench.read().await.unwrap(), b"new");
}

#[tokio::test]
async fn a_confirmation_reaches_only_the_object_that_was_confirmed() {
    let bench = bench();
    bench.fill(KEY, b"one");
    let confirmed = bench.lookup().unwrap();
    bench.purge(false);
    assert_eq!(bench.store.verdict(&confirmed.head), Verdict::Hard);
    let head = Head { born: bench.purges.seq(), ..Head::clone(&confirmed.head) };
    assert!(bench.store.refresh(KEY, confirmed.fill, head.clone()));
    let found = bench.lookup().unwrap();
    assert_eq!(bench.store.verdict(&found.head), Verdict::Valid);

    bench.fill(KEY, b"two");
    assert!(!bench.store.refresh(KEY, confirmed.fill, head));
}

#[tokio::test]
async fn nothing_is_served_beyond_the_longest_keeping_time() {
    let bench = bench();
    bench.fill(KEY, b"");
    bench.clock.advance(KEEP_MAX);
    assert!(bench.lookup().is_some());
    bench.clock.advance(Duration::from_secs(1));
    assert!(bench.lookup().is_none());
}

#[tokio::test]
async fn what_is_forgotten_is_neither_there_nor_stored_by_who_fetches_it() {
    let bench = bench();
    bench.fill(KEY, b"old");
    let mut fill = bench.begin(None);
    fill.write(b"also old").unwrap();
    bench.store.forget(&KEY);
    assert!(bench.lookup().is_none());
    fill.finish().unwrap();
    assert!(bench.lookup().is_none());
    bench.fill(KEY, b"new");
    assert_eq!(bench.read().await.unwrap(), b"new");
}

#[tokio::test]
async fn a_fill_knows_its_readers() {
    let bench = bench();
    let fill = bench.begin(None);
    assert_eq!(fill.readers(), 0);
    fill.deserted().await;
    let (one, two) = (fill.body(), bench.lookup().unwrap());
    assert_eq!(fill.readers(), 2);
    drop(two);
    assert_eq!(fill.readers(), 1);
    let gone = async { drop(one) };
    tokio::join!(fill.deserted(), gone);
    assert_eq!(fill.readers(), 0);
}

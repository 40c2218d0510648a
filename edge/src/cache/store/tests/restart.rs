//! What is on disk comes back after a restart, and what was purged or forgotten does not.

use super::*;

#[tokio::test]
async fn what_was_asked_for_twice_survives_a_restart_and_what_was_not_does_not() {
    let folder = tempfile::tempdir().unwrap();
    let bench = open(Some(folder.path()), Admission::SecondHit);
    bench.fill(key(1), b"one hit");
    bench.fill(key(2), b"two hits");
    bench.get(key(2), &none()).await.unwrap();
    bench.fill(key(3), b"fetched");
    bench.fill(key(3), b"fetched twice");
    let mut joined = bench.begin_at(key(4), None);
    let reader = bench.get(key(4), &none()).await.unwrap();
    joined.write(b"joined").unwrap();
    joined.finish().unwrap();
    drop(reader);

    let bench = bench.restart();
    assert!(bench.get(key(1), &none()).await.is_none());
    for (n, body) in [(2, &b"two hits"[..]), (3, b"fetched twice"), (4, b"joined")] {
        let (tier, found) = bench.get(key(n), &none()).await.unwrap();
        assert_eq!(tier, Tier::Disk);
        assert_eq!(read(found).await, body);
    }
    assert_eq!(bench.metrics.promotions.get(), 0);
    let (tier, _) = bench.get(key(2), &none()).await.unwrap();
    assert_eq!((tier, bench.metrics.promotions.get()), (Tier::Disk, 1));
    assert_eq!(bench.get(key(2), &none()).await.unwrap().0, Tier::Memory);
}

#[tokio::test]
async fn variants_survive_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let bench = open(Some(folder.path()), Admission::All);
    let vary = by(&[header::ACCEPT_LANGUAGE]);
    let (de, en) = (with(header::ACCEPT_LANGUAGE, "de"), with(header::ACCEPT_LANGUAGE, "en"));
    bench.fill_variant(&vary, &de, b"gut");
    bench.fill_variant(&vary, &en, b"good");
    let bench = bench.restart();
    assert_eq!(bench.body(KEY, &de).await.unwrap(), b"gut");
    assert_eq!(bench.body(KEY, &en).await.unwrap(), b"good");
    assert!(bench.get(KEY, &with(header::ACCEPT_LANGUAGE, "fr")).await.is_none());
}

#[tokio::test]
async fn what_left_memory_is_read_from_disk_in_whole_and_in_part() {
    let folder = tempfile::tempdir().unwrap();
    let bench = open(Some(folder.path()), Admission::All);
    let body: Vec<u8> = (0..900_000_u32).map(|n| (n % 251) as u8).collect();
    bench.fill(KEY, &body);
    bench.store.settle();
    bench.flood();
    bench.store.settle();
    assert!(bench.metrics.demotions.get() > 0);
    let (tier, mut found) = bench.get(KEY, &none()).await.unwrap();
    assert_eq!((tier, found.bytes), (Tier::Disk, Some(900_000)));
    found.body.seek(100_000, Some(300_001));
    assert_eq!(read(found).await, body[100_000..300_001]);
    assert_eq!(bench.body(KEY, &none()).await.unwrap(), body);
    assert_eq!(bench.store.sizes().disk.read_bytes, 0, "readers gave their buffers back");
}

#[tokio::test]
async fn a_purge_while_it_ran_and_a_newer_head_survive_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let bench = open(Some(folder.path()), Admission::All);
    bench.fill(key(1), b"purged");
    bench.purge(false);
    bench.fill(key(2), b"fetched after the purge");
    bench.fill(key(3), b"confirmed");
    bench.store.settle();
    bench.purge(false);
    let found = bench.get(key(3), &none()).await.unwrap().1;
    assert!(bench.store.refresh(key(3), found.fill, bench.head()));
    bench.purges.settled(bench.purges.seq()).await;

    let bench = bench.restart();
    let verdict = |found: &Found| bench.store.verdict(&found.head);
    for (n, expected) in [(1, Verdict::Hard), (2, Verdict::Hard), (3, Verdict::Suspect)] {
        let (_, found) = bench.get(key(n), &none()).await.unwrap();
        assert_eq!(verdict(&found), expected, "{n}");
    }
    bench.purges.trust_restored();
    let found = bench.get(key(3), &none()).await.unwrap().1;
    assert_eq!(verdict(&found), Verdict::Valid);
    bench.purge(false);
    assert_eq!(verdict(&found), Verdict::Hard, "numbers go on growing");
}

#[tokio::test]
async fn a_confirmation_of_something_on_disk_reaches_it_there() {
    let folder = tempfile::tempdir().unwrap();
    let bench = open(Some(folder.path()), Admission::All);
    bench.fill(KEY, b"body");
    let bench = bench.restart();
    let found = bench.get(KEY, &none()).await.unwrap().1;
    let mut newer = bench.head();
    newer.headers.insert(header::ETAG, "\"2\"".parse().unwrap());
    assert!(bench.store.refresh(KEY, found.fill, newer));
    let found = bench.get(KEY, &none()).await.unwrap().1;
    assert_eq!(found.head.headers[header::ETAG], "\"2\"", "before it is written");
    let bench = bench.restart();
    let found = bench.get(KEY, &none()).await.unwrap().1;
    assert_eq!(found.head.headers[header::ETAG], "\"2\"", "and after");
    assert_eq!(read(found).await, b"body");
}

#[tokio::test]
async fn what_was_forgotten_or_replaced_does_not_come_back_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let bench = open(Some(folder.path()), Admission::All);
    bench.fill(key(1), b"forgotten");
    bench.fill(key(2), b"old");
    bench.store.settle();
    bench.store.forget(&key(1));
    bench.fill(key(2), b"new");
    bench.fill(key(3), b"forgotten while it waits");
    bench.store.forget(&key(3));
    let bench = bench.restart();
    assert!(bench.get(key(1), &none()).await.is_none());
    assert_eq!(bench.body(key(2), &none()).await.unwrap(), b"new");
    assert!(bench.get(key(3), &none()).await.is_none());
}

#[tokio::test]
async fn a_newer_response_that_is_not_worth_a_write_hides_the_older_one_on_disk() {
    let folder = tempfile::tempdir().unwrap();
    let bench = open(Some(folder.path()), Admission::All);
    bench.fill(KEY, b"long");
    bench.store.settle();
    let mut short = bench.head();
    short.freshness.lifetime = Duration::from_secs(1);
    bench.store.replace(KEY, short, b"short").unwrap();
    bench.flood();
    assert!(bench.get(KEY, &none()).await.is_none());
}

#[tokio::test]
async fn a_process_that_follows_gets_the_disk_and_nothing_older_comes_back() {
    let folder = tempfile::tempdir().unwrap();
    let old = open(Some(folder.path()), Admission::All);
    let vary = by(&[header::ACCEPT_LANGUAGE]);
    let de = with(header::ACCEPT_LANGUAGE, "de");
    for n in 1..=5 {
        old.fill(key(n), b"old");
    }
    old.fill_variant(&vary, &de, b"old variant");
    old.store.settle();

    let new = open_after(Some(&old), Some(folder.path()), Admission::All);
    assert!(new.get(key(1), &none()).await.is_none(), "the other process has it");
    new.fill(key(2), b"new");
    new.store.forget(&key(3));
    new.fill(KEY, b"no variants any more");
    new.purges.apply(&PurgeOrder { target: PurgeTarget::All, soft: true });
    // What the old one still brings.
    old.fill(key(6), b"late");
    old.store.settle();
    drop(old);
    new.attach();
    new.flood();
    let get = async |n| new.body(key(n), &none()).await;
    assert_eq!(get(1).await.unwrap(), b"old");
    assert!(get(2).await.is_none_or(|body| body == b"new"));
    assert!(get(3).await.is_none());
    assert_eq!(get(6).await.unwrap(), b"late");
    assert!(new.body(KEY, &de).await.is_none_or(|body| body == b"no variants any more"));
    let (_, found) = new.get(key(1), &none()).await.unwrap();
    assert!(matches!(new.store.verdict(&found.head), Verdict::Soft { .. }), "purged meanwhile");
    // From now on it is written there.
    new.fill(key(7), b"newer");
    assert!(new.store.last_fill() > 1 << 32);
    let again = new.restart();
    assert_eq!(again.body(key(7), &none()).await.unwrap(), b"newer");
    assert!(again.get(key(3), &none()).await.is_none());
}

//! A body that comes with a purge: there at once, and never beaten by an older fetch.

use super::*;

#[tokio::test]
async fn a_body_that_came_with_a_purge_is_there_at_once() {
    let bench = bench();
    bench.fill(KEY, b"old");
    bench.purge(false);
    assert_eq!(bench.store.replace(KEY, bench.head(), b"new"), Ok(3));
    let found = bench.lookup().unwrap();
    assert_eq!(bench.store.verdict(&found.head), Verdict::Valid);
    assert_eq!(read(found).await, b"new");
}

#[tokio::test]
async fn at_no_moment_of_a_replacement_there_is_neither_the_old_nor_the_new() {
    let bench = bench();
    bench.fill(KEY, b"old");
    // Asked for before the purge: one has begun, the other's head comes in the middle of it.
    let mut early = bench.begin(None);
    early.write(b"earl").unwrap();
    let late_head = bench.head();
    let mut late = None;
    let head = Head { born: bench.purges.seq() + 1, ..bench.head() };
    let replaced = bench.store.replace_with(KEY, head, b"new", || {
        let room = bench.store.reserve(None).unwrap();
        late = Some(bench.store.begin(KEY, None, late_head, room));
        bench.purge(false);
        let found = bench.lookup().unwrap();
        assert!(found.is_in_flight);
        assert_eq!(bench.store.verdict(&found.head), Verdict::Valid);
    });
    assert!(replaced.unwrap() > early.id());
    assert_eq!(read(bench.lookup().unwrap()).await, b"new", "and no fill in flight hides it");
    let mut late = late.unwrap();
    late.write(b"late").unwrap();
    late.finish().unwrap();
    early.finish().unwrap();
    let found = bench.lookup().unwrap();
    assert!(!found.is_in_flight);
    assert_eq!(read(found).await, b"new");
    bench.purge(false);
    let found = bench.lookup().unwrap();
    assert_eq!(bench.store.verdict(&found.head), Verdict::Hard, "a later purge purges it");
}

#[tokio::test]
async fn a_purge_counts_even_when_there_is_no_room_for_what_it_brings() {
    let bench = bench();
    bench.fill(KEY, b"old");
    let all = bench.store.reserve(Some(MEMORY)).unwrap();
    let head = Head { born: bench.purges.seq() + 1, ..bench.head() };
    let replaced = bench.store.replace_with(KEY, head, b"new", || bench.purge(false));
    assert_eq!(replaced, Err(FillError::NoRoom));
    drop(all);
    let found = bench.lookup().unwrap();
    assert_eq!(bench.store.verdict(&found.head), Verdict::Hard);
}

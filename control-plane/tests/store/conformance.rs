//! What every engine of the store does, told once and tried on each.
//!
//! A story gets a fresh state and may open it as often as it likes, as replicas and restarts do.

use std::{sync::Arc, time::Duration};

use prometheus::Registry;
use tempfile::TempDir;
use tidegate_contract::{
    id::{PurgeId, StreamId},
    purge::{PurgeOrder, PurgeTarget},
    replacement,
};
use tidegate_control::{
    metrics::Metrics,
    store::{
        AppendError, Commit, CommitError, Config, Expect, Key, Lease, Log, NewPurge, Page, Stores,
        TrimPolicy,
    },
};

use crate::harness::{Etcd, LIMIT, until, within};

/// A state on one engine.
struct State {
    folder: TempDir,
    etcd: Option<Etcd>,
}

impl State {
    fn sqlite() -> Self {
        Self { folder: tempfile::tempdir().expect("a folder"), etcd: None }
    }

    async fn etcd() -> Option<Self> {
        let etcd = Some(Etcd::start().await?);
        Some(Self { etcd, ..Self::sqlite() })
    }

    async fn etcd_of_three_over_tls() -> Option<Self> {
        let etcd = Some(Etcd::start_three().await?);
        Some(Self { etcd, ..Self::sqlite() })
    }

    /// As a process that starts.
    async fn open(&self) -> Stores {
        let mut config = Config::default();
        if let Some(etcd) = &self.etcd {
            config = etcd.config();
            // A slow disk is not to be taken for a cluster that is gone.
            config.etcd.give_up_after = LIMIT;
        }
        let opened = Stores::open(self.folder.path(), &config, Metrics::new(&Registry::new()));
        opened.await.expect("it can be opened").0
    }

    async fn log(&self, tail: usize) -> Arc<dyn Log> {
        let main = StreamId::parse("main").expect("good");
        let stores = self.open().await;
        stores.log(main, tail, REPLACEMENTS_MAX).await.expect("it can be opened")
    }
}

/// Makes a test of each story for each engine.
macro_rules! on_every_engine {
    ($($story:ident),* $(,)?) => {
        mod sqlite {
            $(#[tokio::test]
            async fn $story() {
                super::$story(&super::State::sqlite()).await;
            })*
        }
        mod etcd {
            $(#[tokio::test]
            async fn $story() {
                let Some(state) = super::State::etcd().await else { return };
                super::$story(&state).await;
            })*
        }
        mod etcd_of_three_over_tls {
            $(#[tokio::test]
            async fn $story() {
                let Some(state) = super::State::etcd_of_three_over_tls().await else { return };
                super::$story(&state).await;
            })*
        }
    };
}

on_every_engine!(
    writes_happen_together_or_not_at_all,
    of_two_writers_one_wins,
    a_listing_holds_what_begins_with_the_prefix_and_nothing_else,
    a_long_listing_is_of_one_state,
    a_revision_never_comes_again,
    a_commit_only_of_expectations_checks_them_and_raises_nothing,
    rows_of_the_audit_log_raise_nothing,
    one_holder_at_a_time_and_epochs_grow,
    a_fence_of_an_older_holding_fails,
    offsets_grow_without_holes_and_stay,
    appends_at_once_get_one_offset_each,
    an_idempotency_key_names_one_purge,
    bodies_are_kept_beside_and_go_first,
    a_trimmed_log_says_so_and_never_gives_an_offset_twice,
);

fn key(text: &str) -> Key {
    Key::parse(text).expect("good")
}

fn put(text: &str, value: &str, expect: Option<Expect>) -> Commit {
    let expect = expect.map(|expect| (key(text), expect)).into_iter().collect();
    let value = bytes::Bytes::copy_from_slice(value.as_bytes());
    Commit { expect, puts: vec![(key(text), value)], deletes: Vec::new() }
}

async fn writes_happen_together_or_not_at_all(state: &State) {
    let records = state.open().await.records;
    let head = records.head();
    let first = records.commit(put("a/1", "one", Some(Expect::Absent))).await.expect("new");
    assert_eq!(*head.borrow(), first);
    let mut both = put("a/2", "two", Some(Expect::Absent));
    both.expect.push((key("a/1"), Expect::At(first + 7)));
    let refused = records.commit(both).await;
    assert!(
        matches!(&refused, Err(CommitError::Conflict { key, found })
            if key.as_str() == "a/1" && *found == Some(first)),
        "{refused:?}"
    );
    assert_eq!(records.get(&key("a/2")).await.expect("readable"), None);
    let mut more = put("a/1", "uno", Some(Expect::At(first)));
    more.puts.push((key("a/3"), "three".into()));
    more.deletes.push(key("a/none"));
    let second = records.commit(more).await.expect("as expected");
    assert!(second > first);
    for (name, value) in [("a/1", "uno"), ("a/3", "three")] {
        let found = records.get(&key(name)).await.expect("readable").expect("there");
        assert_eq!((found.value.as_ref(), found.revision), (value.as_bytes(), second));
    }
}

async fn of_two_writers_one_wins(state: &State) {
    let records = state.open().await.records;
    let begin = records.commit(put("n", "0", None)).await.expect("writable");
    for _ in 0..10 {
        let seen = records.get(&key("n")).await.expect("readable").expect("there").revision;
        assert!(seen >= begin);
        let one = records.commit(put("n", "a", Some(Expect::At(seen))));
        let other = records.commit(put("n", "b", Some(Expect::At(seen))));
        let (one, other) = tokio::join!(one, other);
        assert_eq!(usize::from(one.is_ok()) + usize::from(other.is_ok()), 1);
    }
}

async fn a_listing_holds_what_begins_with_the_prefix_and_nothing_else(state: &State) {
    let records = state.open().await.records;
    for text in ["b/1", "a/2", "a/10", "a", "ab/1", "a0"] {
        records.commit(put(text, "x", None)).await.expect("writable");
    }
    let listing = records.list("a/").await.expect("readable");
    let keys: Vec<_> = listing.records.iter().map(|record| record.key.as_str()).collect();
    assert_eq!(keys, ["a/10", "a/2"]);
    assert_eq!(listing.revision, *records.head().borrow());
    assert_eq!(records.list("").await.expect("readable").records.len(), 6);
}

async fn a_long_listing_is_of_one_state(state: &State) {
    let records = state.open().await.records;
    let numbers: Vec<String> = (0..300).map(|n| format!("{n:03}")).collect();
    for some in numbers.chunks(100) {
        let puts = some.iter().map(|n| (key(&format!("l/{n}")), n.clone().into())).collect();
        records.commit(Commit { puts, ..Commit::default() }).await.expect("writable");
    }
    let listing = records.list("l/").await.expect("readable");
    let values: Vec<_> = listing.records.iter().map(|record| record.value.to_vec()).collect();
    assert_eq!(values, numbers.iter().map(|n| n.clone().into_bytes()).collect::<Vec<_>>());
}

async fn a_revision_never_comes_again(state: &State) {
    let records = state.open().await.records;
    records.commit(put("a/1", "x", None)).await.expect("writable");
    let gone = Commit { deletes: vec![key("a/1")], ..Commit::default() };
    let last = records.commit(gone).await.expect("writable");
    drop(records);
    let records = state.open().await.records;
    assert_eq!(*records.head().borrow(), last);
    let next = records.commit(put("a/1", "y", Some(Expect::Absent))).await.expect("writable");
    assert!(next > last);
}

async fn a_commit_only_of_expectations_checks_them_and_raises_nothing(state: &State) {
    let records = state.open().await.records;
    let first = records.commit(put("a", "x", None)).await.expect("writable");
    let ask = |expect| Commit { expect: vec![(key("a"), expect)], ..Commit::default() };
    assert_eq!(records.commit(ask(Expect::At(first))).await.expect("so it is"), first);
    assert!(records.commit(ask(Expect::Absent)).await.is_err());
    assert_eq!(records.commit(Commit::default()).await.expect("nothing"), first);
    assert_eq!(*records.head().borrow(), first);
}

async fn rows_of_the_audit_log_raise_nothing(state: &State) {
    let records = state.open().await.records;
    let first = records.commit(put("a", "x", None)).await.expect("writable");
    let row = records.commit(put("audit/1", "row", None)).await.expect("writable");
    assert!(row > first);
    assert_eq!(*records.head().borrow(), first);
    // What expects the row is right about its revision, and what stands beside one raises.
    let mut both = put("audit/1", "another", Some(Expect::At(row)));
    both.puts.push((key("b"), "y".into()));
    let last = records.commit(both).await.expect("as expected");
    assert_eq!(*records.head().borrow(), last);
}

async fn take(lease: &dyn Lease, holder: &str) -> Option<tidegate_control::store::Held> {
    lease.acquire("one", holder, LIMIT).await.expect("it answers")
}

async fn one_holder_at_a_time_and_epochs_grow(state: &State) {
    let stores = state.open().await;
    let lease = stores.lease.as_ref();
    let first = take(lease, "a").await.expect("free");
    assert!(take(lease, "b").await.is_none() && take(lease, "a").await.is_none());
    let other = lease.acquire("other", "b", LIMIT).await.expect("it answers");
    assert!(other.is_some(), "another name is another lease");
    let epoch = first.epoch();
    drop(first);
    // Given back in the background.
    let second = until(async || take(lease, "b").await).await;
    assert!(second.epoch() > epoch);
}

async fn a_fence_of_an_older_holding_fails(state: &State) {
    let stores = state.open().await;
    let (lease, records) = (stores.lease.as_ref(), &stores.records);
    let guarded = |fence: &(Key, Expect)| {
        let mut commit = put("guarded", "x", None);
        commit.expect.push(fence.clone());
        commit
    };
    let first = take(lease, "a").await.expect("free");
    let old = first.fence().clone();
    records.commit(guarded(&old)).await.expect("it is held");
    drop(first);
    let second = until(async || take(lease, "b").await).await;
    let late = records.commit(guarded(&old)).await;
    assert!(matches!(late, Err(CommitError::Conflict { .. })), "{late:?}");
    records.commit(guarded(second.fence())).await.expect("it is held");
}

fn purge(n: u64, key: Option<&str>) -> NewPurge {
    let target = PurgeTarget::Url { host: "a.org".into(), path: format!("/{n}") };
    NewPurge {
        id: PurgeId::parse(format!("p{n}")).expect("good"),
        order: PurgeOrder { target, soft: false },
        replacement: None,
        replacement_digest: None,
        accepted_unix_ms: n * 1000,
        idempotency_key: key.map(str::to_owned),
    }
}

fn replacing(n: u64, bytes: usize) -> NewPurge {
    let headers = [("content-type".to_owned(), "text/plain".to_owned())].into();
    let replacement = replacement::Replacement { headers, body: vec![7; bytes] };
    NewPurge {
        replacement_digest: Some(replacement.digest()),
        replacement: Some(replacement.into()),
        ..purge(n, None)
    }
}

async fn offsets(log: &dyn Log, after: u64, entries_max: usize) -> Vec<u64> {
    match log.read(after, entries_max).await.expect("readable") {
        Page::Entries(entries) => entries.iter().map(|entry| entry.offset).collect(),
        Page::Gone { head } => panic!("gone, head {head}"),
    }
}

async fn offsets_grow_without_holes_and_stay(state: &State) {
    let log = state.log(3).await;
    assert_eq!(*log.head().borrow(), 0);
    for n in 1..=8 {
        assert_eq!(log.append(purge(n, None)).await.expect("room").entry.offset, n);
    }
    until(async || log.is_current().then_some(())).await;
    assert_eq!(*log.head().borrow(), 8);
    assert_eq!(offsets(log.as_ref(), 0, 100).await, (1..=8).collect::<Vec<_>>());
    assert_eq!(offsets(log.as_ref(), 6, 100).await, [7, 8]);
    assert_eq!(offsets(log.as_ref(), 3, 2).await, [4, 5]);
    assert!(offsets(log.as_ref(), 8, 100).await.is_empty());
    assert_eq!(log.read(9, 1).await.expect("readable"), Page::Gone { head: 8 });
    let Page::Entries(last) = log.read(7, 1).await.expect("readable") else { panic!() };
    drop(log);

    let log = state.log(3).await;
    assert_eq!(log.find(&last[0].id).await.expect("readable").as_ref(), Some(&last[0]));
    assert_eq!(log.find(&PurgeId::parse("none").expect("good")).await.expect("readable"), None);
    assert_eq!(log.append(purge(9, None)).await.expect("room").entry.offset, 9);
    assert_eq!(offsets(log.as_ref(), 0, 100).await, (1..=9).collect::<Vec<_>>());
}

async fn appends_at_once_get_one_offset_each(state: &State) {
    let log = state.log(1000).await;
    let writers: Vec<_> = (1..=200)
        .map(|n| {
            let log = Arc::clone(&log);
            tokio::spawn(
                async move { log.append(purge(n, None)).await.expect("room").entry.offset },
            )
        })
        .collect();
    let mut given = Vec::new();
    for writer in writers {
        given.push(within(writer).await.expect("no panic"));
    }
    given.sort_unstable();
    assert_eq!(given, (1..=200).collect::<Vec<_>>());
    assert_eq!(offsets(log.as_ref(), 0, 1000).await, given);
}

async fn an_idempotency_key_names_one_purge(state: &State) {
    let log = state.log(3).await;
    let first = log.append(purge(1, Some("k"))).await.expect("room");
    let mut again = purge(1, Some("k"));
    again.id = PurgeId::parse("other").expect("good");
    let again = log.append(again).await.expect("the same purge");
    assert!(first.is_new && !again.is_new);
    assert_eq!(again.entry, first.entry);
    let other = log.append(purge(2, Some("k"))).await;
    assert!(matches!(other, Err(AppendError::KeyReused(id)) if id == first.entry.id));

    // Two at once with one key, as a caller that lost patience sends them.
    let twins = (3..=4).map(|n| {
        let mut twin = purge(3, Some("twins"));
        twin.id = PurgeId::parse(format!("twin{n}")).expect("good");
        log.append(twin)
    });
    let twins = futures::future::try_join_all(twins).await.expect("one purge");
    assert_eq!(twins[0].entry.offset, twins[1].entry.offset);
    assert_eq!(twins.iter().filter(|twin| twin.is_new).count(), 1);
    assert_eq!(log.append(purge(5, None)).await.expect("room").entry.offset, 3);
}

async fn bodies_are_kept_beside_and_go_first(state: &State) {
    let log = state.log(100).await;
    log.append(purge(1, None)).await.expect("room");
    for n in 2..=5 {
        log.append(replacing(n, usize::try_from(n).expect("small"))).await.expect("room");
    }
    let keep_all = TrimPolicy { keep: Duration::from_secs(1000), entries_max: 1000 };
    while log.trim(keep_all, 0).await.expect("writable") > 0 {}
    drop(log);
    let log = state.log(100).await;
    let Page::Entries(entries) = log.read(0, 100).await.expect("readable") else { panic!() };
    let bodies: Vec<_> =
        entries.iter().map(|entry| entry.replacement.as_ref().map(|new| new.body.len())).collect();
    assert_eq!(bodies, [None, None, Some(3), Some(4), Some(5)], "the newest {REPLACEMENTS_MAX}");
    assert!(entries[1].replacement_digest.is_some());
    let found = log.find(&entries[4].id).await.expect("readable").expect("there");
    assert_eq!(&found, &entries[4]);
}

async fn a_trimmed_log_says_so_and_never_gives_an_offset_twice(state: &State) {
    let log = state.log(1).await;
    for n in 1..=6 {
        log.append(purge(n, Some(&format!("k{n}")))).await.expect("room");
    }
    let by_age = TrimPolicy { keep: Duration::from_secs(10), entries_max: 100 };
    let mut gone = 0;
    loop {
        match log.trim(by_age, 13_000).await.expect("writable") {
            0 => break,
            some => gone += some,
        }
    }
    assert_eq!(gone, 2);
    assert_eq!(log.read(1, 9).await.expect("readable"), Page::Gone { head: 6 });
    assert_eq!(offsets(log.as_ref(), 2, 9).await, [3, 4, 5, 6]);
    assert_eq!(log.find(&PurgeId::parse("p1").expect("good")).await.expect("readable"), None);
    let all = TrimPolicy { keep: Duration::from_secs(10), entries_max: 0 };
    while log.trim(all, 13_000).await.expect("writable") > 0 {}
    assert!(offsets(log.as_ref(), 6, 9).await.is_empty());
    drop(log);
    let log = state.log(1).await;
    // The key went with its purge and is free again.
    assert_eq!(log.append(purge(7, Some("k1"))).await.expect("room").entry.offset, 7);
}

const REPLACEMENTS_MAX: u64 = 3;

// -- what only several replicas can show

#[tokio::test]
async fn replicas_append_to_one_log_and_each_sees_all_of_it() {
    let Some(state) = State::etcd().await else { return };
    let logs = [state.log(1000).await, state.log(1000).await, state.log(1000).await];
    let writers: Vec<_> = (0..300)
        .map(|n| {
            let log = Arc::clone(&logs[n % 3]);
            let n = n as u64;
            tokio::spawn(
                async move { log.append(purge(n, None)).await.expect("room").entry.offset },
            )
        })
        .collect();
    let mut given = Vec::new();
    for writer in writers {
        given.push(within(writer).await.expect("no panic"));
    }
    given.sort_unstable();
    assert_eq!(given, (1..=300).collect::<Vec<_>>());
    for log in &logs {
        let mut head = log.head();
        within(head.wait_for(|head| *head == 300)).await.expect("it follows");
        assert_eq!(offsets(log.as_ref(), 0, 1000).await, given);
    }
}

#[tokio::test]
async fn a_commit_of_one_replica_raises_the_head_of_another() {
    let Some(state) = State::etcd().await else { return };
    let (one, other) = (state.open().await, state.open().await);
    let mut head = other.records.head();
    let revision = one.records.commit(put("a", "x", None)).await.expect("writable");
    within(head.wait_for(|head| *head == revision)).await.expect("it follows");
}

#[tokio::test]
async fn an_etcd_that_was_away_is_followed_again_and_a_log_that_cannot_tell_says_so() {
    let Some(mut state) = State::etcd().await else { return };
    let log = state.log(10).await;
    log.append(purge(1, None)).await.expect("room");
    until(async || log.is_current().then_some(())).await;
    state.etcd.as_mut().expect("there").restart().await;
    until(async || log.append(purge(2, None)).await.ok()).await;
    until(async || log.is_current().then_some(())).await;
    let head = *log.head().borrow();
    assert!(head >= 2, "{head}");
    assert_eq!(offsets(log.as_ref(), 0, 10).await, (1..=head).collect::<Vec<_>>());
}

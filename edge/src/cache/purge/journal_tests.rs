//! Purges over restarts, and how fast they become durable.

use tidegate_contract::surrogate_key::SurrogateKey;

use super::{journal::NAME, *};

fn open(folder: &Path) -> PurgeTable {
    PurgeTable::open(folder, Clock::system(), Limits::default()).unwrap()
}

fn key(n: u32) -> SurrogateKey {
    SurrogateKey::parse(format!("k{n}")).unwrap()
}

fn order(n: u32, soft: bool) -> PurgeOrder {
    PurgeOrder { target: PurgeTarget::Key { key: key(n) }, soft }
}

fn verdict(table: &PurgeTable, n: u32, born: u64) -> Verdict {
    table.verdict([key(n).hash()], born, true)
}

#[tokio::test]
async fn purges_and_positions_survive_and_numbers_only_grow() {
    let folder = tempfile::tempdir().unwrap();
    let table = open(folder.path());
    let (born, identity) = (table.seq(), table.identity());
    let stream = StreamId::parse("main").unwrap();
    table.apply(&order(1, false));
    table.apply(&order(2, true));
    table.note_position(&stream, 7);
    table.settled(table.apply(&order(3, false))).await;
    let after = table.seq();
    assert_eq!(table.durable().unwrap().borrow().positions[&stream], 7);
    drop(table);

    let table = open(folder.path());
    assert_eq!(table.identity(), identity);
    assert_eq!(table.positions()[&stream], 7);
    assert!(table.seq() > after);
    assert_eq!(verdict(&table, 1, born), Verdict::Hard);
    assert_eq!(verdict(&table, 9, after), Verdict::Suspect, "nobody knows what was missed");
    assert_eq!(verdict(&table, 9, table.seq()), Verdict::Valid);
    table.trust_restored();
    assert_eq!(verdict(&table, 1, born), Verdict::Hard);
    assert!(matches!(verdict(&table, 2, born), Verdict::Soft { .. }));
    assert_eq!(verdict(&table, 3, after), Verdict::Valid);
}

#[test]
fn what_was_missed_for_good_stays_suspect() {
    let folder = tempfile::tempdir().unwrap();
    let table = open(folder.path());
    let born = table.seq();
    drop(table);
    let table = open(folder.path());
    table.suspect_mutable();
    table.trust_restored();
    let verdict = |table: &PurgeTable| table.verdict([], born, false);
    assert_eq!(
        verdict(&table),
        Verdict::Suspect,
        "also what never changes: it may have been purged"
    );
    drop(table);
    let table = open(folder.path());
    table.trust_restored();
    assert_eq!(verdict(&table), Verdict::Suspect);
}

#[test]
fn a_journal_that_is_damaged_or_gone_begins_anew_with_another_identity() {
    let folder = tempfile::tempdir().unwrap();
    let table = open(folder.path());
    let first = table.identity();
    for n in 0..100 {
        table.apply(&order(n, false));
    }
    drop(table);
    let path = folder.path().join(NAME);
    let mut bytes = std::fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&path, &bytes).unwrap();
    let second = open(folder.path()).identity();
    assert_ne!(first, second);
    std::fs::remove_file(&path).unwrap();
    assert_ne!(open(folder.path()).identity(), second);
}

#[tokio::test]
async fn a_journal_that_cannot_be_written_takes_what_is_on_disk_with_it() {
    let folder = tempfile::tempdir().unwrap();
    let table = open(folder.path());
    let first = table.identity();
    // More than may wait for the disk: names of purges, without a pause.
    let journal = table.shared.journal.get().unwrap();
    journal.fail_next_write();
    table.settled(table.apply(&order(1, false))).await;
    assert!(!folder.path().join(NAME).exists());
    table.settled(table.apply(&order(2, false))).await;
    drop(table);
    assert_ne!(open(folder.path()).identity(), first);
}

#[tokio::test]
async fn a_long_journal_is_shortened_and_says_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let table = open(folder.path());
    let born = table.seq();
    for _ in 0..20 {
        for n in 0..10_000 {
            table.apply(&order(n, false));
        }
        table.settled(table.seq()).await;
    }
    let length = std::fs::metadata(folder.path().join(NAME)).unwrap().len();
    assert!(length < 9 << 20, "{length}");
    drop(table);
    let table = open(folder.path());
    assert_eq!(table.len(), 10_000);
    assert!((0..10_000).all(|n| verdict(&table, n, born) == Verdict::Hard));
}

/// Each is acknowledged only when it survives a crash; what comes together is written together. How many a second that
/// makes is a matter of the disk.
#[tokio::test]
async fn thousands_of_purges_become_durable_together() {
    const PURGES: u32 = 5_000;
    let folder = tempfile::tempdir().unwrap();
    let table = open(folder.path());
    let (born, began) = (table.seq(), std::time::Instant::now());
    let waiting: Vec<_> = (0..PURGES)
        .map(|n| {
            let (table, seq) = (table.clone(), table.apply(&order(n, false)));
            tokio::spawn(async move { table.settled(seq).await })
        })
        .collect();
    let all = futures::future::try_join_all(waiting);
    // One write for each would take a slow disk longer.
    tokio::time::timeout(Duration::from_secs(90), all).await.unwrap().unwrap();
    let rate = f64::from(PURGES) / began.elapsed().as_secs_f64();
    println!("{rate:.0} durable purges a second");
    drop(table);
    let table = open(folder.path());
    assert!((0..PURGES).all(|n| verdict(&table, n, born) == Verdict::Hard));
}

#[tokio::test]
async fn a_process_that_follows_knows_the_purges_of_both_and_loses_none() {
    let folder = tempfile::tempdir().unwrap();
    let old = open(folder.path());
    let (identity, stream) = (old.identity(), StreamId::parse("main").unwrap());
    let born = old.seq();
    old.apply(&order(1, false));
    old.note_position(&stream, 3);
    let legacy = serde_json::to_string(&old.legacy(77, BTreeMap::new())).unwrap();
    let legacy: Legacy = serde_json::from_str(&legacy).unwrap();

    let new = PurgeTable::awaiting(legacy, Clock::system(), Limits::default());
    assert_eq!((new.awaited_fill(), new.identity()), (Some(77), None));
    assert_eq!(new.positions()[&stream], 3);
    let held = new.attach(folder.path()).unwrap_err();
    assert_eq!(held.kind(), io::ErrorKind::WouldBlock);
    // Both go on for a while.
    old.apply(&order(2, false));
    old.note_position(&stream, 4);
    let born_late = old.seq();
    let ours = new.apply(&order(3, false));
    new.note_position(&stream, 4);
    let fresh = new.seq();
    assert!(new.durable().unwrap().borrow().seq < ours, "nothing is durable yet");
    drop(old);

    new.attach(folder.path()).unwrap();
    new.settled(ours).await;
    assert_eq!((new.identity(), new.awaited_fill()), (identity, None));
    assert_eq!(new.durable().unwrap().borrow().positions[&stream], 4);
    let check = |table: &PurgeTable| {
        assert_eq!(verdict(table, 1, born), Verdict::Hard);
        assert_eq!(verdict(table, 2, born), Verdict::Hard);
        assert_eq!(verdict(table, 3, born_late), Verdict::Hard);
        assert_eq!(verdict(table, 9, born_late), Verdict::Suspect);
        assert_eq!(verdict(table, 2, fresh), Verdict::Valid, "fetched after it");
    };
    check(&new);
    new.settled(new.apply(&order(4, false))).await;
    drop(new);

    let again = open(folder.path());
    assert_eq!((again.identity(), again.positions()[&stream]), (identity, 4));
    again.trust_restored();
    assert_eq!(verdict(&again, 3, born_late), Verdict::Hard);
    assert_eq!(verdict(&again, 4, fresh), Verdict::Hard);
    assert_eq!(verdict(&again, 2, fresh), Verdict::Valid);
}

#[tokio::test]
async fn a_journal_that_was_used_in_between_or_cannot_be_had_is_not_believed() {
    let folder = tempfile::tempdir().unwrap();
    let old = open(folder.path());
    let (identity, legacy) = (old.identity(), old.legacy(0, BTreeMap::new()));
    drop(old);
    drop(open(folder.path()));
    let new = PurgeTable::awaiting(legacy.clone(), Clock::system(), Limits::default());
    let ours = new.apply(&order(1, false));
    new.attach(folder.path()).unwrap();
    new.settled(ours).await;
    assert_ne!(new.identity(), identity);
    drop(new);

    let identity = open(folder.path()).identity();
    let given_up = PurgeTable::awaiting(legacy, Clock::system(), Limits::default());
    let ours = given_up.apply(&order(1, false));
    given_up.give_up_journal(folder.path());
    given_up.settled(ours).await;
    let stream = StreamId::parse("main").unwrap();
    given_up.note_position(&stream, 5);
    assert_eq!(given_up.durable().unwrap().borrow().positions[&stream], 5);
    assert_ne!(open(folder.path()).identity(), identity);
}

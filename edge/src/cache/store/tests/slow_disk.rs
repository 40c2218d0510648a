//! A disk that answers nothing for seconds: who asks for what is in memory does not notice, and nobody asks twice.

use super::*;
use crate::cache::disk::Held;

#[tokio::test(start_paused = true)]
async fn a_read_that_hangs_costs_one_request_a_wait_and_no_hit_in_memory_anything() {
    let folder = tempfile::tempdir().unwrap();
    let bench = open(Some(folder.path()), Admission::All);
    bench.fill(key(1), b"on disk alone");
    bench.fill(key(2), &[2; 300_000]);
    let bench = bench.restart();
    bench.fill(KEY, b"in memory");
    bench.store.settle();

    let held = Held::new(folder.path());
    let Lookup::OnDisk(stored) = bench.store.lookup(&key(1), &none(), &VaryPolicy::default())
    else {
        panic!("it is on disk");
    };
    let mut reading = std::pin::pin!(bench.store.load(stored));
    assert!(futures::poll!(&mut reading).is_pending());
    assert_eq!(bench.read().await.unwrap(), b"in memory", "while the other waits");
    assert!(reading.await.is_none(), "given up: upstream has it");
    let slow = || bench.metrics.disk_errors.with_label_values(&["slow"]).get();
    assert_eq!(slow(), 1);

    // From now on nobody waits, for nothing on this disk.
    for n in [1, 2] {
        let found = bench.store.lookup(&key(n), &none(), &VaryPolicy::default());
        assert!(matches!(found, Lookup::Nothing), "{n}");
    }
    assert_eq!(bench.read().await.unwrap(), b"in memory");
    assert_eq!(slow(), 1);
    drop(held);
    bench.store.settle();
    assert_eq!(bench.store.sizes().disk.read_bytes, 0, "who gave up gave its buffer back");
}

#[test]
fn a_write_that_hangs_fills_a_queue_and_keeps_nobody_waiting() {
    let folder = tempfile::tempdir().unwrap();
    let bench = open(Some(folder.path()), Admission::All);
    let held = Held::new(folder.path());
    // More than the queue holds; each is in memory as soon as its fill has ended.
    for n in 0..60 {
        bench.fill(key(n), &[n as u8; 40_000]);
        let found = bench.store.lookup(&key(n), &none(), &VaryPolicy::default());
        assert!(matches!(found, Lookup::Found(found) if found.tier == Tier::Memory), "{n}");
    }
    let sizes = bench.store.sizes();
    assert!(sizes.disk.waiting_bytes <= 1 << 20, "{}", sizes.disk.waiting_bytes);
    assert_eq!(sizes.disk.objects, 0, "nothing was written");
    let dropped = bench.metrics.disk_dropped.with_label_values(&["queue"]).get();
    assert!(dropped >= 30, "{dropped}, and some once more when they were asked for");
    // Forgetting does not wait either, and counts when the disk is back.
    bench.store.forget(&key(0));
    bench.store.forget(&key(1));
    drop(held);
    bench.store.settle();
    let bench = bench.restart();
    for n in [0, 1] {
        let found = bench.store.lookup(&key(n), &none(), &VaryPolicy::default());
        assert!(matches!(found, Lookup::Nothing), "{n}");
    }
    assert!(bench.store.sizes().disk.objects >= 10, "the rest of the queue was written");
}

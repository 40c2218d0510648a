//! Memory has a limit, and holds what is asked for most.

use super::*;

#[tokio::test]
async fn memory_is_never_more_than_its_limit_even_when_slow_readers_hold_what_was_evicted() {
    let bench = bench();
    let mut slow = Vec::new();
    for n in 0..100 {
        let mut fill = bench.begin_at(key(n), Some(200_000));
        fill.write(&[1; 200_000]).unwrap();
        slow.push(fill.body());
        fill.finish().unwrap();
        let sizes = bench.store.sizes();
        assert!(sizes.memory_bytes <= MEMORY, "{}", sizes.memory_bytes);
        assert!(sizes.in_flight_bytes <= MEMORY);
        if bench.store.reserve(Some(200_000)).is_none() {
            break; // what memory does not take counts as in flight for as long as it is read
        }
    }
    drop(slow);
    assert_eq!(bench.store.sizes().in_flight_bytes, 0);
    bench.fill(KEY, &[2; 50_000]);
    assert!(bench.lookup().is_some());
}

/// A Zipf-like trace over a hot set, then with a scan of things that nobody asks for twice between.
#[test]
fn a_scan_does_not_wash_out_the_hot_set() {
    let bench = bench();
    let mut state = 88_172_645_463_325_252_u64;
    let mut random = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 11) as f64 / (1_u64 << 53) as f64
    };
    // 400 objects of 40 kB for 4 MiB; ranks by an exponential of a uniform number are about Zipf with exponent 1.
    let ask = |n: u32| -> bool {
        let found = matches!(
            bench.store.lookup(&key(n), &none(), &VaryPolicy::default()),
            Lookup::Found(_)
        );
        if !found {
            bench.fill(key(n), &[0; 40_000]);
        }
        found
    };
    let mut hot = || (400_f64.powf(random()) as u32).min(399);
    for _ in 0..20_000 {
        ask(hot());
    }
    let before = (0..20_000).filter(|_| ask(hot())).count();
    let mut scanned = 1_000_000;
    let during = (0..20_000)
        .filter(|_| {
            scanned += 1;
            ask(scanned);
            ask(hot())
        })
        .count();
    let (before, during) = (before as f64 / 200.0, during as f64 / 200.0);
    assert!(before > 70.0, "hit ratio before: {before} %");
    assert!(during > before - 8.0, "hit ratio {before} % before and {during} % during the scan");
}

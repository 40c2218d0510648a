//! Results as a real run has them: five minutes, three protocols, a crowd, a PoP that dies. Made, not stored.

use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use rand_distr::{Distribution as _, LogNormal};

use crate::{
    kind::{FailureClass, ObjectKind, Protocol},
    results::{Fault, GateOutcome, Interval, Results, Step, figure::Figure},
};

/// The same seed gives the same results.
pub(crate) fn results(seed: u64) -> Results {
    slower(seed, 1.0)
}

/// The same run against a server that takes `factor` times as long.
pub(crate) fn slower(seed: u64, factor: f64) -> Results {
    let mut rng = StdRng::seed_from_u64(seed);
    let mut results = Results::new("flash-crowd", seed);
    results.rig_version = "0.1.0 (1234567)".to_owned();
    results.started_at = "2026-03-14T09:26:53Z".to_owned();
    results.duration_s = f64::from(SECONDS);
    let mut sessions = 0.0_f64;
    for second in 0..SECONDS {
        let crowd = if (120..150).contains(&second) { 4.0 } else { 1.0 };
        let is_down = (200..220).contains(&second);
        let wave = 1.0 + 0.2 * (f64::from(second) / 40.0).sin();
        let arrivals = 20.0 * crowd * wave * rng.random_range(0.8..1.2);
        sessions += arrivals - sessions / 30.0;
        let load = (sessions / 1_000.0).powi(2) + if is_down { 1.5 } else { 0.2 };
        interval(&mut results, &mut rng, second, (arrivals, sessions), load * factor);
    }
    rest(&mut results, &mut rng, factor);
    results
}

fn interval(
    results: &mut Results,
    rng: &mut StdRng,
    second: u32,
    (arrivals, sessions): (f64, f64),
    load: f64,
) {
    let mut interval = Interval { at_s: f64::from(second), ..Interval::default() };
    interval.arrivals = arrivals as u64;
    interval.blocked = u64::from(load > 4.0 && rng.random_bool(0.3));
    interval.sessions = sessions as u64;
    interval.stalled = (sessions * (0.004 + 0.02 * (load - 0.6).max(0.0))) as u64;
    interval.playing = (sessions * 0.93) as u64 - interval.stalled.min((sessions * 0.9) as u64);
    interval.requests = (sessions * rng.random_range(0.45..0.55)) as u64 + interval.arrivals * 3;
    interval.failures = (interval.requests as f64 * 0.002 * load.powi(2)) as u64;
    interval.bytes = (sessions * 4.2e6 / 8.0 * rng.random_range(0.9..1.1)) as u64;
    let hits = (0.97 - 0.08 * load).max(0.3);
    interval.hits = (interval.requests as f64 * hits) as u64;
    interval.misses = interval.requests - interval.hits;
    let startup = LogNormal::new((180.0 * (1.0 + load)).ln(), 0.45).unwrap();
    for _ in 0..interval.arrivals {
        let value = startup.sample(rng) as u64;
        interval.startup_ms.record(value);
        results.quality.startup_ms.record(value);
    }
    let first_byte = LogNormal::new((9_000.0 * (1.0 + load)).ln(), 0.8).unwrap();
    for _ in 0..FETCHES {
        let value = first_byte.sample(rng);
        interval.first_byte_us.record_many(value as u64, interval.requests / FETCHES);
        let protocol = PROTOCOLS[rng.random_range(0..PROTOCOLS.len())];
        let kind = KINDS[rng.random_range(0..KINDS.len())];
        let fetches = results.fetches_of(kind, protocol);
        let count = interval.requests / FETCHES;
        fetches.count += count;
        fetches.bytes += interval.bytes / FETCHES;
        let hit = u64::from(rng.random_bool(hits)) * count;
        fetches.hits += hit;
        fetches.misses += count - hit;
        let slow = if protocol == Protocol::H3 { 0.8 } else { 1.0 };
        fetches.first_byte_us.record_many((value * slow) as u64, count);
        fetches.took_us.record_many((value * slow * 9.0) as u64, count);
        if kind == ObjectKind::Segment {
            fetches.time_over_duration.record_many((value * slow * 9.0 / 4_000.0) as u64, count);
        }
        let name = POPS[rng.random_range(0..POPS.len())];
        let pop = results.pops.entry(name.to_owned()).or_default();
        pop.count += count;
        pop.bytes += interval.bytes / FETCHES;
        pop.hits += hit;
        pop.misses += count - hit;
        pop.first_byte_us.record_many(value as u64, count);
    }
    if interval.failures > 0 {
        let class = if load > 1.4 { FailureClass::Timeout } else { FailureClass::ServerError };
        let fetches = results.fetches_of(ObjectKind::Segment, Protocol::H2);
        *fetches.failures.entry(class).or_default() += interval.failures;
    }
    // In thousandths: a float of many digits is not read back to its last bit.
    interval.rig_cpu = ((0.12 + sessions / 4_000.0) * 1_000.0).round() / 1_000.0;
    for _ in 0..20 {
        let lag = rng.random_range(20..(60 + (sessions / 4.0) as u64));
        interval.loop_lag_us.record(lag);
        results.rig.loop_lag_us.record(lag);
        results.arrivals.schedule_error_us.record(lag * 2);
    }
    results.arrivals.scheduled += interval.arrivals;
    results.arrivals.blocked += interval.blocked;
    results.arrivals.begun += interval.arrivals - interval.blocked.min(interval.arrivals);
    results.quality.played_s += interval.playing as f64;
    results.quality.stalled_s += interval.stalled as f64;
    results.intervals.push(interval);
}

fn rest(results: &mut Results, rng: &mut StdRng, factor: f64) {
    for protocol in PROTOCOLS {
        let connections = results.connections.entry(protocol).or_default();
        connections.opened = 3_000;
        connections.resumed = 1_100;
        connections.early = if protocol == Protocol::H3 { 600 } else { 0 };
        connections.migrated = if protocol == Protocol::H3 { 40 } else { 0 };
        connections.failures.insert(FailureClass::Connect, 3);
        let spread = LogNormal::new((12_000.0 * factor).ln(), 0.4).unwrap();
        for _ in 0..500 {
            let value = spread.sample(rng) as u64;
            connections.dns_us.record(value / 8);
            if protocol != Protocol::H3 {
                connections.connect_us.record(value / 2);
            }
            connections.handshake_us.record(value);
        }
    }
    let quality = &mut results.quality;
    quality.views = results.arrivals.begun;
    quality.failed_starts = quality.views / 900;
    quality.exits_before_start = quality.views / 150;
    quality.exits_in_stall = quality.views / 120;
    quality.failed_playbacks = quality.views / 2_000;
    quality.cut = 800;
    quality.views_without_stall = quality.views * 93 / 100;
    let stall = LogNormal::new((900.0 * factor).ln(), 0.9).unwrap();
    quality.stalls = quality.views / 9;
    for _ in 0..quality.stalls {
        quality.stall_ms.record(stall.sample(rng) as u64);
    }
    let bitrate = LogNormal::new(4.2e6_f64.ln(), 0.35).unwrap();
    for _ in 0..quality.views / 4 {
        quality.bitrate_bps.record(bitrate.sample(rng) as u64);
        let ratio = if rng.random_bool(0.07) { rng.random_range(50..9_000) } else { 0 };
        quality.rebuffer_ratio.record(ratio);
        quality.live_latency_ms.record(rng.random_range(2_400..4_800));
    }
    quality.switches_up = quality.views * 2;
    quality.switches_down = quality.views / 2;
    quality.seeks = quality.views / 6;
    quality.wasted_bytes = 9_000_000_000;
    for pop in results.pops.values_mut() {
        for _ in 0..12 {
            pop.first_fresh_ms.record(rng.random_range(60..700));
        }
    }
    for (at_s, name, exit) in [
        (120.0, "flash crowd begins", None),
        (200.0, "kill pop ams", Some(0)),
        (220.0, "start pop ams", Some(0)),
    ] {
        results.faults.push(Fault { at_s, name: name.to_owned(), exit, took_s: 0.21 });
    }
    results.rig.workers = 2;
    results.rig.cpu_s = 381.0;
    results.rig.cpu_max = 0.46;
    results.rig.memory_peak_bytes = 412_000_000;
    results.rig.clock_skew_ms = Some(-40);
    for (name, bound, is_held) in [
        ("startup_p95", "<3s", true),
        ("rebuffer_ratio", "<1%", false),
        ("error_rate@h3", "<1%", true),
        ("hit_ratio", ">=70%", true),
    ] {
        let measured = Figure::of(name).expect("it is known").value(results);
        results.gates.push(GateOutcome { gate: format!("{name}{bound}"), measured, is_held });
    }
    for (rate, at_s, is_held) in [
        (50.0, 0.0, true),
        (100.0, 60.0, true),
        (200.0, 120.0, false),
        (150.0, 180.0, true),
        (175.0, 240.0, false),
    ] {
        let gate = GateOutcome {
            gate: "startup_p95<800ms".to_owned(),
            measured: Some(rate * 4.5),
            is_held,
        };
        results.steps.push(Step { rate, at_s, is_held, gates: vec![gate] });
    }
    results.scenario_text =
        "# A crowd comes to one video.\nname = \"flash-crowd\"\n\n[arrivals]\nrate = 20\n"
            .to_owned();
}

const SECONDS: u32 = 300;
const FETCHES: u64 = 40;
const PROTOCOLS: [Protocol; 3] = [Protocol::H1, Protocol::H2, Protocol::H3];
const KINDS: [ObjectKind; 5] = [
    ObjectKind::Multivariant,
    ObjectKind::Playlist,
    ObjectKind::Init,
    ObjectKind::Segment,
    ObjectKind::Segment,
];
const POPS: [&str; 6] = ["ams-1", "fra-1", "fra-2", "gru-1", "nrt-1", "sjc-1"];

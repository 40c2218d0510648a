//! How a process ends: cleanly, by a failure, or because nobody would wait longer.

use std::time::{Duration, Instant};

use crate::harness::Specimen;

#[test]
fn a_signal_drains_and_ends_with_0() {
    for signal in ["-TERM", "-INT"] {
        let running = Specimen::new().start();
        let began = Instant::now();
        running.signal(signal);
        let output = running.ended();
        assert_eq!(output.code, Some(0), "{}", output.stderr);
        // Half of the grace that a drain has by itself.
        assert!(began.elapsed() < Duration::from_secs(15), "nothing was left to wait for");
    }
}

#[test]
fn a_second_signal_ends_a_drain_that_hangs() {
    let running = Specimen::new().set("failure=hang").start();
    running.signal("-TERM");
    crate::harness::wait("the drain", || (running.admin("GET", "/readyz").0 == 503).then_some(()));
    running.signal("-INT");
    let output = running.ended();
    assert_eq!(output.code, Some(1));
    assert!(output.stderr.contains("second signal"), "{}", output.stderr);
}

#[test]
fn a_drain_that_hangs_ends_with_its_grace() {
    let running = Specimen::new().set("failure=hang").set("process.drain_grace=200ms").start();
    running.signal("-TERM");
    let output = running.ended();
    assert_eq!(output.code, Some(1));
    let said = output.stderr;
    assert!(said.contains("the drain did not end within 200ms"), "{said}");
}

#[test]
fn a_task_that_fails_panics_or_returns_ends_the_process_with_1() {
    for (failure, expected) in [
        ("error", "task fragile failed: broken by config"),
        ("panic", "task fragile panicked: broken by config"),
        ("return", "task fragile returned before the drain"),
        ("main", "broken by config"),
    ] {
        let output = Specimen::new().set(&format!("failure={failure}")).run();
        let said = output.stderr;
        assert_eq!(output.code, Some(1), "{said}");
        assert!(said.contains(expected), "{said}\ndoes not say\n{expected}");
    }
}

#[test]
fn every_line_of_the_log_is_json_also_after_a_panic() {
    let output = Specimen::new().set("failure=panic").run();
    let said = output.stderr;
    assert!(said.lines().count() >= 3, "{said}");
    for line in said.lines() {
        let line: serde_json::Value = serde_json::from_str(line).expect(line);
        assert!(line["timestamp"].is_string() && line["level"].is_string(), "{line}");
    }
}

#[test]
fn what_cannot_start_says_why() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = taken.local_addr().unwrap();
    let output = Specimen::new().set(&format!("process.admin={addr}")).run();
    assert_eq!(output.code, Some(1));
    assert!(output.stderr.contains(&format!("cannot bind the admin port {addr}")));
}

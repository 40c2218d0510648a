//! The admin port of a running process.

use crate::harness::{Specimen, wait};

#[test]
fn a_running_program_tells_how_it_is_and_counts() {
    let running = Specimen::new().start();
    assert_eq!(running.admin("GET", "/livez"), (200, "ok\n".to_owned()));
    assert_eq!(running.admin("GET", "/readyz"), (200, "ready\n".to_owned()));
    assert_eq!(running.admin("GET", "/nothing").0, 404);

    assert_eq!(running.greeting(), "hello\n");
    wait("the count of greetings", || {
        let (_, metrics) = running.admin("GET", "/metrics");
        metrics.contains("\nspecimen_greetings_total 1\n").then_some(())
    });
    let (_, metrics) = running.admin("GET", "/metrics");
    for name in ["process_build_info{", "process_open_fds ", "process_start_time_seconds "] {
        assert!(metrics.contains(&format!("\n{name}")), "{name} is missing in\n{metrics}");
    }
    running.signal("-TERM");
    assert!(running.ended().code == Some(0));
}

#[test]
fn a_drain_can_be_asked_for_and_watched_at_the_admin_port() {
    let running = Specimen::new().set("failure=hang").start();
    assert_eq!(running.admin("POST", "/drain").0, 202);
    assert_eq!(running.admin("GET", "/readyz"), (503, "draining\n".to_owned()));
    assert!(running.ready_file().exists(), "the file stays as long as the process");

    // An orchestrator drains first and signals then: its signal is the first, not the second.
    running.signal("-TERM");
    wait("the first signal", || running.log().contains("by a signal").then_some(()));
    assert_eq!(running.admin("GET", "/livez").0, 200);
    running.signal("-TERM");
    assert_eq!(running.ended().code, Some(1));
}

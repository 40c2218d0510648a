//! Lines of the access log: seen soon by whoever follows the log, and none is lost at the end.

use crate::harness::{Specimen, wait};

#[test]
fn a_line_is_seen_while_the_process_runs_and_all_are_there_when_it_has_ended() {
    let running = Specimen::new().start();
    running.greeting();
    let count = |log: &str| log.lines().filter(|line| line.contains("greeted")).count();
    wait("a line", || (count(&running.log()) == 1).then_some(()));
    for _ in 0..20 {
        running.greeting();
    }
    running.signal("-TERM");
    let ended = running.ended();
    assert_eq!(count(&ended.stderr), 21, "{}", ended.stderr);
    for line in ended.stderr.lines() {
        assert!(line.starts_with('{') && line.ends_with('}'), "cut or mixed: {line}");
    }
}

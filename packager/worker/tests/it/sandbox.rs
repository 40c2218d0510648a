//! The sandbox, tried from the inside.

use std::os::unix::process::ExitStatusExt;

use tidegate_contract::worker_frame::{Frame, WorkerOrder};

use crate::harness::{
    Clip, Outcome, Worker, order, plan, program, self_test, transcode, transcode_with, video,
};

#[test]
fn what_libraries_ask_on_their_own_is_refused_with_an_error() {
    for attempt in ["open", "list", "write"] {
        let output = self_test(&[attempt]);
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(said.starts_with("refused: Permission denied"), "{attempt}: {said}");
    }
    let output = self_test(&["memory"]);
    assert!(output.stdout.starts_with(b"refused: "), "more memory than allowed");
}

#[test]
fn what_only_an_intruder_does_ends_the_process() {
    for attempt in ["connect", "exec", "fork", "trace", "executable-memory"] {
        let output = self_test(&[attempt]);
        assert_eq!(output.status.signal(), Some(libc::SIGSYS), "{attempt}: {output:?}");
    }
}

#[test]
fn landlock_denies_files_where_system_calls_are_allowed() {
    // With a card allowed, opening is left to Landlock.
    let output = self_test(&["open", "--allow-gpu"]);
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(said.starts_with("refused: Permission denied"), "{said}");
}

#[test]
fn processor_time_is_limited() {
    let output = self_test(&["cpu", "--cpu-seconds", "1"]);
    assert_eq!(output.status.signal(), Some(libc::SIGKILL), "{output:?}");
}

#[test]
fn threads_are_allowed_and_nothing_is_confined_only_when_told() {
    assert!(self_test(&["thread"]).stdout.starts_with(b"allowed"));
    assert!(self_test(&["open"]).stdout.starts_with(b"refused"));
    assert!(self_test(&["open", "--unsandboxed"]).stdout.starts_with(b"allowed"));
    assert!(self_test(&["memory", "--unsandboxed"]).stdout.starts_with(b"refused"), "limits stay");
}

#[test]
fn too_little_memory_never_makes_a_shorter_video() {
    let clip = Clip::generated(&["--seconds", "3", "--width", "640", "--height", "360"]);
    let greedy = WorkerOrder { lag_bytes_max: u64::MAX, ..order() };
    for memory in ["350MiB", "400MiB", "450MiB", "500MiB", "600MiB", "700MiB", "1GiB"] {
        let outcome = transcode_with(&clip, greedy.clone(), &["--memory", memory], |_| {
            plan(&[video(320, 180), video(640, 360)])
        });
        if let Some(Frame::Done(done)) = outcome.frames.last() {
            assert_eq!(done.frames, 90, "with {memory}: {}", outcome.stderr);
            assert_eq!(outcome.track(1).samples.len(), 90, "with {memory}");
        }
    }
    let outcome = transcode(&clip, greedy, |_| plan(&[video(320, 180), video(640, 360)]));
    assert_eq!(outcome.done().frames, 90, "with the usual limit");
}

#[test]
fn the_sandbox_is_closed_before_the_order_is_read() {
    let clip = Clip::generated(&["--seconds", "1", "--width", "96", "--height", "96"]);
    let mut worker = Worker::start(&clip.path());
    let mut outcome = Outcome::default();
    worker.probe(order(), &mut outcome).expect("a probe");
    let status = std::fs::read_to_string(format!("/proc/{}/status", worker.id())).expect("it runs");
    let line = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)).expect("a known line");
        line.trim().to_owned()
    };
    assert_eq!(line("Seccomp:"), "2", "filtered");
    assert_eq!(line("NoNewPrivs:"), "1");
    assert_eq!(line("Seccomp_filters:"), "3");
    drop(worker.abandon());
}

#[test]
fn a_worker_without_a_packager_or_an_upload_says_so() {
    let output = program().arg("run").output().expect("the worker starts");
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("descriptor 0"), "{said}");
}

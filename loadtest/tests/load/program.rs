//! The program as a person starts it: exit codes, files, interrupts.

use std::{
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
};

use tidegate_load::output::json;

use crate::harness::{Answer, FakeMedia, ONE, run, scenario};

fn program(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tidegate-load"));
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Runs a scenario's text, with flags.
fn exit_of(folder: &Path, text: &str, flags: &[&str]) -> (Option<i32>, String) {
    let path = folder.join("scenario.toml");
    std::fs::write(&path, text).unwrap();
    let output = program(&["run", path.to_str().unwrap(), "--plain"]).args(flags).output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8(said).unwrap())
}

#[test]
fn the_exit_code_says_how_it_ended() {
    let media = FakeMedia::start();
    media.video("/v", 2, 0.5, 80_000);
    let folder = tempfile::tempdir().unwrap();
    let good = scenario(&[media.url("/v/master.m3u8")], ONE, "5s", "");
    let fault = "[[fault]]\nname = \"break it\"\nat = \"0s\"\nrun = [\"false\"]\n";
    let table: &[(&str, &[&str], i32, &str)] = &[
        ("", &["--gate", "views>0", "--gate", "failed_starts<=0"], 0, "2 gates held"),
        (fault, &["--gate", "views>0"], 1, "break it"),
        ("", &["--gate", "nothing<1"], 2, "is no figure"),
        ("", &["--set", "player.nothing=1"], 2, "player.nothing"),
        ("", &["--gate", "views>1"], 3, "1 of 1 gate"),
        ("", &["--set", "rig.loop_lag_max=0s"], 4, "timers were late"),
    ];
    for (more, flags, code, words) in table {
        let (exit, said) = exit_of(folder.path(), &format!("{good}{more}"), flags);
        assert_eq!(exit, Some(*code), "{flags:?}: {said}");
        assert!(said.contains(words), "{flags:?}: {said}");
    }
    let (exit, said) = exit_of(folder.path(), &good, &["--check-config"]);
    assert_eq!((exit, said.trim()), (Some(0), "story: fine, 1 videos"));
    assert_eq!(program(&["run"]).output().unwrap().status.code(), Some(2));
    assert_eq!(
        program(&["scenarios", "explain", "nothing"]).output().unwrap().status.code(),
        Some(2)
    );
}

#[test]
fn an_interrupted_run_undoes_its_faults_and_writes_a_part() {
    let media = FakeMedia::start();
    media.video("/v", 2, 0.5, 80_000);
    let folder = tempfile::tempdir().unwrap();
    let undone = folder.path().join("undone");
    let fault = format!(
        "[[fault]]\nname = \"break it\"\nat = \"0s\"\nrun = [\"true\"]\nundo = [\"touch\", {:?}]\n",
        undone.to_str().unwrap()
    );
    let profile = "{ kind = \"constant\", rate = 20 }";
    let text = scenario(&[media.url("/v/master.m3u8")], profile, "10m", &fault);
    let (path, json_path) =
        (folder.path().join("scenario.toml"), folder.path().join("results.json"));
    std::fs::write(&path, text).unwrap();
    let flags = ["run", path.to_str().unwrap(), "--plain", "--json", json_path.to_str().unwrap()];
    let mut child = program(&flags).spawn().unwrap();
    // A second has been told of: the run goes on.
    let mut said = BufReader::new(child.stderr.take().unwrap());
    let mut line = String::new();
    said.read_line(&mut line).unwrap();
    assert!(line.contains("sessions"), "{line}");
    let id = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(id, rustix::process::Signal::INT).unwrap();
    // Whoever does not read keeps it from writing.
    let _ = std::io::copy(&mut said, &mut std::io::sink());
    assert_eq!(child.wait().unwrap().code(), Some(130));

    let results = json::load(&json_path).unwrap();
    assert!(results.is_interrupted && results.arrivals.begun > 0, "{:?}", results.arrivals.begun);
    assert!(results.duration_s < 300.0);
    assert!(undone.exists());
    let names: Vec<&str> = results.faults.iter().map(|fault| fault.name.as_str()).collect();
    assert_eq!(names, ["break it", "break it: undo"]);
}

/// An agent, and how a controller names it.
fn start_agent(token: &Path) -> (Child, String) {
    let flags = ["agent", "--listen", "127.0.0.1:0", "--token-file", token.to_str().unwrap()];
    let mut child = program(&flags).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    (child, line.trim().to_owned())
}

#[test]
fn an_agent_that_dies_fails_the_run_but_not_what_the_others_measured() {
    let media = FakeMedia::start();
    media.video("/v", 2, 0.5, 80_000);
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (token, path, json_path) = (at("token"), at("scenario.toml"), at("results.json"));
    std::fs::write(&token, "a token of two machines").unwrap();
    let profile = "{ kind = \"constant\", rate = 20 }";
    std::fs::write(&path, scenario(&[media.url("/v/master.m3u8")], profile, "4s", "")).unwrap();
    let (mut dies, first) = start_agent(Path::new(&token));
    let (mut lives, second) = start_agent(Path::new(&token));
    let agents = format!("{first},{second}");
    let flags = [
        "run",
        &path,
        "--plain",
        "--json",
        &json_path,
        "--agents",
        &agents,
        "--token-file",
        &token,
    ];
    let mut child = program(&flags).spawn().unwrap();
    let mut said = BufReader::new(child.stderr.take().unwrap());
    let mut line = String::new();
    said.read_line(&mut line).unwrap();
    assert!(line.contains("sessions"), "{line}");
    dies.kill().unwrap();
    let _ = std::io::copy(&mut said, &mut std::io::sink());
    assert_eq!(child.wait().unwrap().code(), Some(1));
    lives.kill().unwrap();
    dies.wait().unwrap();
    lives.wait().unwrap();

    let results = json::load(Path::new(&json_path)).unwrap();
    assert!(
        results.failed.iter().any(|reason| reason.contains("was lost")),
        "{:?}",
        results.failed
    );
    // The other one had every second arrival.
    assert_eq!(results.arrivals.begun, 40);
}

#[test]
fn files_of_every_form_are_written_and_a_report_is_made_of_them_later() {
    let media = FakeMedia::start();
    media.video("/v", 2, 0.5, 80_000);
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let text = scenario(&[media.url("/v/master.m3u8")], ONE, "5s", "");
    let (json, lines) = (at("r.json"), at("r.ndjson"));
    let (exit, said) = exit_of(folder.path(), &text, &["--json", &json, "--ndjson", &lines]);
    assert_eq!(exit, Some(0), "{said}");
    assert!(std::fs::read_to_string(&lines).unwrap().lines().count() >= 1);
    let (page, junit, hgrm) = (at("r.html"), at("r.xml"), at("hgrm"));
    let flags = ["report", &json, "--html", &page, "--junit", &junit, "--hgrm", &hgrm];
    assert_eq!(program(&flags).output().unwrap().status.code(), Some(0));
    assert!(std::fs::read_to_string(&page).unwrap().contains("<html"));
    assert!(std::fs::read_to_string(&junit).unwrap().contains("<testsuite"));
    assert!(std::fs::read_dir(&hgrm).unwrap().count() > 0);
    let compared = program(&["compare", &json, &json, "--fail-if-worse"]).output().unwrap();
    assert_eq!(compared.status.code(), Some(0), "{}", String::from_utf8_lossy(&compared.stderr));
}

#[test]
fn a_probe_shows_what_a_player_would_see() {
    let media = FakeMedia::start();
    media.video("/v", 3, 0.5, 80_000);
    let output =
        program(&["probe", &media.url("/v/master.m3u8"), "--for", "10s"]).output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0), "{said}");
    for words in ["200 from http", "HLS", "0.08 Mbit/s", "on demand; 3 segments", "startup_p50"] {
        assert!(said.contains(words), "{words}: {said}");
    }
    let gone = program(&["probe", &media.url("/gone.m3u8")]).output().unwrap();
    assert_eq!(gone.status.code(), Some(1));
}

#[test]
fn the_time_from_a_purge_to_a_fresh_answer_is_measured() {
    let media = FakeMedia::start();
    media.video("/v", 4, 0.5, 80_000);
    let folder = tempfile::tempdir().unwrap();
    let etag = folder.path().join("etag");
    std::fs::write(&etag, "old").unwrap();
    let answer = Answer {
        status: 200,
        body: b"x".to_vec(),
        etag_file: Some(etag.clone()),
        ..Answer::default()
    };
    media.answer("/probed", answer);
    // The new content is there 300 ms after the purge was called.
    let purge = format!(
        "[[purge]]\nname = \"purge\"\nat = \"200ms\"\nshell = true\nrun = [\"sleep 0.3; echo new > {}\"]\n\
         probes = [{{ pop = \"one\", url = {:?} }}]\n",
        etag.display(),
        media.url("/probed")
    );
    let results = run(&scenario(&[media.url("/v/master.m3u8")], ONE, "5s", &purge));
    let fresh = &results.pops["one"].first_fresh_ms;
    assert_eq!(fresh.count(), 1, "{:?}", results.failed);
    assert!((300..3_000).contains(&fresh.max().unwrap()), "{:?}", fresh.max());
    assert_eq!(results.faults[0].name, "purge");
}

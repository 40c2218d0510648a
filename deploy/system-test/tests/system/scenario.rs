//! The load rig's own scenarios against the whole system: each runs to its end, its faults really happen, and its verdict
//! is the one that viewers would give.

use std::{fs, path::PathBuf, time::Duration};

use serde_json::{Value, json};
use tidegate_system_test::{
    system::program,
    wait::{PATIENCE, until},
};
use tokio::process::Command;

use super::stage::Stage;

pub(crate) async fn a_storm_of_purges_is_noticed_by_no_viewer(stage: &mut Stage) {
    let media = stage.system.uploader().video(&stage.video).await["media"].clone();
    let key = format!("manifest-{}", media.as_str().unwrap());
    let target = target(stage);
    let results = run(
        stage,
        "purge-storm",
        &[
            ("purge", &tidegate(stage, &format!("purge key {key}"))),
            ("probe_url", &target),
            ("pop", "pop-a"),
        ],
        &["failed_starts<=0", "error_rate<=0", "first_fresh_p99<10s"],
        &["--duration=8s", "--set=player.watch_time=\"4s\""],
    )
    .await;
    let purges = results["faults"].as_array().unwrap();
    assert!(purges.len() >= 3, "{purges:?}");
    assert!(purges.iter().all(|purge| purge["exit"] == 0), "{purges:?}");
    assert_held(&results);
}

pub(crate) async fn viewers_of_a_pop_that_is_killed_go_on_at_another(stage: &mut Stage) {
    let killed = "pop-a";
    let (authority, other) =
        (stage.system.pop(killed).authority.clone(), stage.system.pop("pop-b").authority.clone());
    let port = |authority: &str| authority.rsplit_once(':').unwrap().1.to_owned();
    let resolve =
        format!("--resolve={authority}=127.0.0.1:{},127.0.0.1:{}", port(&authority), port(&other));
    let asked = file(stage, "revive-asked");
    let back = file(stage, "revived");
    let kill = format!("kill -s KILL {}", stage.system.pid(killed));
    // The system starts it again; the scenario waits for that.
    let revive = format!(
        "sh -c 'touch {}; until test -e {}; do sleep 0.1; done'",
        asked.display(),
        back.display()
    );
    let running = start(
        stage,
        "pop-kill",
        &[("kill", &kill), ("revive", &revive)],
        &["failed_starts<=0", "failed_playbacks<=0", "blocked<=0"],
        &[
            &resolve,
            "--duration=10s",
            "--set=player.watch_time=\"4s\"",
            "--set=fault.0.at=\"3s\"",
            "--set=fault.0.undo_after=\"2s\"",
        ],
    );
    let ended = tokio::spawn(running);
    until("the PoP is wanted back", PATIENCE, || async { asked.exists().then_some(()) }).await;
    stage.system.start_again(killed).await;
    fs::write(&back, "").unwrap();
    let results = ended.await.unwrap();
    let steps: Vec<_> = results["faults"].as_array().unwrap().iter().map(|f| &f["exit"]).collect();
    assert_eq!(steps, [&json!(0), &json!(0)], "killed and revived: {results}");
    assert_held(&results);
}

pub(crate) async fn a_configuration_goes_out_and_back_and_an_origin_stands_still(
    stage: &mut Stage,
) {
    let property = |hosts: &[&str]| json!({ "id": "story", "hosts": hosts, "origins": [{ "authority": stage.origin.address.to_string() }] });
    let apply = |name: &str, hosts: &[&str]| {
        let file = file(stage, name);
        fs::write(&file, property(hosts).to_string()).unwrap();
        tidegate(stage, &format!("property apply -f {}", file.display()))
    };
    let rollout = apply("rollout.json", &["127.0.0.1", "rollout.test"]);
    let rollback = apply("rollback.json", &["127.0.0.1"]);
    let results = run(
        stage,
        "config-rollout",
        &[("rollout", &rollout), ("rollback", &rollback)],
        &["failed_starts<=0", "error_rate<=0"],
        &[
            "--duration=6s",
            "--set=player.watch_time=\"3s\"",
            "--set=fault.0.at=\"1s\"",
            "--set=fault.0.undo_after=\"2s\"",
        ],
    )
    .await;
    assert_held(&results);

    let origin = stage.system.pid("origin");
    let results = run(
        stage,
        "origin-brownout",
        &[
            ("slow", &format!("kill -s STOP {origin}")),
            ("recover", &format!("kill -s CONT {origin}")),
        ],
        &["failed_starts<=0", "error_rate<=0"],
        &[
            "--duration=6s",
            "--set=player.watch_time=\"3s\"",
            "--set=fault.0.at=\"1s\"",
            "--set=fault.0.undo_after=\"3s\"",
        ],
    )
    .await;
    assert_held(&results);
}

pub(crate) async fn a_search_for_the_knee_ends_with_a_rate(stage: &mut Stage) {
    let results = run(
        stage,
        "ramp-to-knee",
        &[],
        &["failed_starts<=0"],
        &["--duration=2s", "--set=knee.to=4", "--set=player.watch_time=\"1s\""],
    )
    .await;
    let steps = results["steps"].as_array().unwrap();
    assert_eq!(steps.len(), 2, "{steps:?}");
    assert!(steps.iter().all(|step| step["is_held"] == true), "{steps:?}");
}

/// Runs a built-in scenario, shorter and with these gates; its results.
async fn run(
    stage: &Stage,
    scenario: &str,
    variables: &[(&str, &str)],
    gates: &[&str],
    flags: &[&str],
) -> Value {
    start(stage, scenario, variables, gates, flags).await
}

fn start(
    stage: &Stage,
    scenario: &str,
    variables: &[(&str, &str)],
    gates: &[&str],
    flags: &[&str],
) -> impl Future<Output = Value> + Send + use<> {
    let results = file(stage, &format!("{scenario}.json"));
    let mut command = Command::new(program("tidegate-load"));
    command.args(["run", scenario, "--quiet", "--rate=2", "--json"]).arg(&results);
    command.arg(format!("--ca={}", stage.system.ready.ca_cert.display()));
    command.arg(format!("--var=target={}", target(stage)));
    for (name, value) in variables {
        command.arg(format!("--var={name}={value}"));
    }
    // A debug build on a busy machine is late; what it tells of the system is right nevertheless.
    command.args(["--set=rig.cpu_max=10", "--set=rig.loop_lag_max=\"60s\""]);
    command.args(["--set=rig.schedule_error_max=\"60s\"", "--set=arrivals.start_within=\"60s\""]);
    command.args(["--set=arrivals.warm_up=\"2s\"", "--set=arrivals.drain=\"30s\""]);
    command.arg(format!("--set=gates={}", json!(gates)));
    command.args(flags).kill_on_drop(true);
    async move {
        let ran = tokio::time::timeout(RUN_TIME_MAX, command.output()).await.unwrap().unwrap();
        let said = String::from_utf8_lossy(&ran.stderr).into_owned();
        let text = fs::read(&results).unwrap_or_else(|_| panic!("{}: {said}", ran.status));
        let results: Value = serde_json::from_slice(&text).unwrap();
        assert!(ran.status.success(), "{}: {said} {}", ran.status, shown(&results));
        results
    }
}

fn assert_held(results: &Value) {
    let gates = results["gates"].as_array().unwrap();
    let is_held = gates.iter().all(|gate| gate["is_held"] == true);
    assert!(!gates.is_empty() && is_held, "{}", shown(results));
    assert!(results["quality"]["views"].as_u64().unwrap() >= 4, "{}", shown(results));
}

fn shown(results: &Value) -> String {
    let fetches = results["fetches"].as_array().into_iter().flatten();
    let failures = fetches.filter(|fetch| fetch["failures"] != json!({}));
    let failures = failures.map(|fetch| format!("{} {}\n", fetch["kind"], fetch["failures"]));
    let parts = ["gates", "failed", "quality", "faults"].map(|part| results[part].to_string());
    failures.collect::<String>() + &parts.join("\n")
}

fn target(stage: &Stage) -> String {
    format!("https://{}{}", stage.system.pop("pop-a").authority, stage.hls_path())
}

/// The operators' CLI as a hook calls it.
fn tidegate(stage: &Stage, words: &str) -> String {
    let context = stage.system.ready.cli_context.display();
    format!("{} --context-file {context} {words}", program("tidegate").display())
}

fn file(stage: &Stage, name: &str) -> PathBuf {
    stage.system.data().join(name)
}

/// A scenario of these lengths, on a debug build and a busy machine.
const RUN_TIME_MAX: Duration = Duration::from_secs(240);

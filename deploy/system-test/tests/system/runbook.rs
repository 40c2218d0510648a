//! The operators' runbooks, done as they are written.
//!
//! The commands are those of the page, letter for letter; only systemd, which the stories do not have, is played by them.

use std::{path::PathBuf, process::Stdio, time::Duration};

use tidegate_system_test::{
    runbook::{Step, steps},
    system::program,
    viewer::Protocol,
    wait::within,
};
use tokio::process::Command;

use super::stage::Stage;

pub(crate) async fn the_runbooks_do_what_they_say(stage: &mut Stage) {
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/operate/runbooks.md");
    let steps = steps(&std::fs::read_to_string(page).unwrap());
    let sections = ["Before", "Roll out", "Roll back", "Purge", "Drain", "Lost control plane"];
    for section in sections {
        assert!(steps.iter().any(|step| step.section == section), "no {section} on the page");
    }
    let folder = stage.system.data().join("runbook");
    std::fs::create_dir(&folder).unwrap();
    for step in &steps {
        let name = format!("{}: {}", step.section, step.commands);
        let output = within(&name, STEP_TIME_MAX, follow(stage, step, &folder)).await;
        if let Some(missing) = step.missing(&output) {
            panic!("{name}\ndoes not show: {missing}\nbut:\n{output}");
        }
        // Whatever an operator does, viewers go on.
        let edge = stage.system.pop("pop-b").authority.clone();
        let answer = stage.system.viewer(Protocol::Http2).get(&edge, &stage.hls_path()).await;
        assert_eq!(answer.status, 200, "after {name}");
    }
}

/// Does a step; what is seen.
async fn follow(stage: &mut Stage, step: &Step, folder: &PathBuf) -> String {
    let mut output = String::new();
    let mut shell = String::new();
    for line in step.commands.lines() {
        let is_systemd = line.starts_with("systemctl ");
        if !is_systemd {
            shell.push_str(line);
            shell.push('\n');
            continue;
        }
        output.push_str(&run(stage, &std::mem::take(&mut shell), folder).await);
        match line {
            "systemctl kill -s KILL tidegate-control" => stage.system.kill("control").await,
            "systemctl start tidegate-control" => stage.system.start_again("control").await,
            other => panic!("nobody plays {other}"),
        }
    }
    output.push_str(&run(stage, &shell, folder).await);
    output
}

/// Runs commands in a shell that ends at the first that fails, and knows what those before it have set.
async fn run(stage: &Stage, commands: &str, folder: &PathBuf) -> String {
    if commands.is_empty() {
        return String::new();
    }
    let kept = folder.join("kept.sh");
    let script = format!(
        "set -euo pipefail; [ ! -e {0} ] || . {0}; set -a\n{commands}\nexport -p > {0}\n",
        kept.display()
    );
    let programs = program("tidegate").parent().unwrap().to_owned();
    let path = std::env::var("PATH").unwrap_or_default();
    let done = Command::new("bash")
        .args(["-c", &format!("exec 2>&1\n{script}")])
        .current_dir(folder)
        .env("PATH", format!("{}:{path}", programs.display()))
        .env("TIDEGATE_CONTEXT_FILE", &stage.system.ready.cli_context)
        .env("CONTROL", stage.system.data().join("state/control"))
        .env("BACKUPS", folder.join("backups"))
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .unwrap();
    let output = String::from_utf8_lossy(&done.stdout).into_owned();
    assert!(done.status.success(), "{}\n{commands}\n{output}", done.status);
    output
}

/// The longest step: a drain waits for stages and for answers that run out.
const STEP_TIME_MAX: Duration = Duration::from_secs(180);

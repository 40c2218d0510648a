//! Chromium, a DASH player and parsers written by others look at the running system.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use tidegate_system_test::wait::until;
use tokio::process::Command;

use super::stage::Stage;

pub(crate) async fn browsers_and_independent_parsers_accept_it(stage: &mut Stage) {
    let folder = folder();
    let page = folder.join("../../../origin/web/dist/index.html");
    assert!(page.exists(), "the watch page is not built: `make web` first");
    let ready = stage.ready_with_video();
    let ran = Command::new("npm")
        .args(["test", "--silent"])
        .current_dir(&folder)
        .env("TIDEGATE_READY", &ready)
        .env("TIDEGATE_CLIP", stage.clip_file())
        .kill_on_drop(true)
        .output()
        .await
        .unwrap();
    let text = String::from_utf8_lossy(&ran.stdout);
    let errors = String::from_utf8_lossy(&ran.stderr);
    assert!(ran.status.success(), "{}\n{text}\n{errors}", ran.status);
}

/// The PoP that a player fetches from dies in the middle of a video; it is also the one that answers for steering.
pub(crate) async fn a_player_whose_pop_dies_is_steered_by_the_other(stage: &mut Stage) {
    let ready = stage.ready_with_video();
    for player in ["hls.js", "dash.js"] {
        // One that died before is believed again by steady looks alone, by the control plane later than by the DNS.
        super::dns::both_pops_take_players(stage).await;
        let flag = stage.system.data().join(format!("playing-{player}"));
        let told = Command::new("node")
            .args(["--test", "dead_pop.mjs"])
            .current_dir(folder())
            .env("TIDEGATE_READY", &ready)
            .env("TIDEGATE_PLAYER", player)
            .env("TIDEGATE_PLAYING", &flag)
            .kill_on_drop(true)
            .output();
        let dying = async {
            until("the player plays", PLAYS_WITHIN, || async { flag.exists().then_some(()) }).await;
            stage.system.kill("pop-a").await;
        };
        let (ran, ()) = tokio::join!(told, dying);
        let ran = ran.unwrap();
        // Also when it failed: whoever looks at the system then finds it whole.
        stage.system.start_again("pop-a").await;
        let text = String::from_utf8_lossy(&ran.stdout);
        assert!(ran.status.success(), "{player}: {}\n{text}", ran.status);
    }
    super::dns::both_pops_take_players(stage).await;
}

fn folder() -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("browser");
    assert!(folder.join("node_modules").exists(), "`npm ci` in {} first", folder.display());
    folder
}

/// A browser that starts on a busy machine.
const PLAYS_WITHIN: Duration = Duration::from_secs(180);

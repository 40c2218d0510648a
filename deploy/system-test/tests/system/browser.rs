//! Chromium, a DASH player and parsers written by others look at the running system.

use std::path::Path;

use tokio::process::Command;

use super::stage::Stage;

pub(crate) async fn browsers_and_independent_parsers_accept_it(stage: &mut Stage) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("browser");
    assert!(folder.join("node_modules").exists(), "`npm ci` in {} first", folder.display());
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

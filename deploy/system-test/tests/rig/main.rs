//! The load rig against what others made: a browser's player, ffmpeg's streams behind nginx, live streams; and through
//! our edge.

#![allow(clippy::unwrap_used, clippy::print_stdout)]

mod edge;
mod files;
mod harness;
mod live;
mod low_latency;

use std::{path::Path, process::Command};

use tidegate_system_test::system::program;

use crate::harness::shown;

#[test]
fn a_player_meets_on_a_narrow_link_what_hls_js_in_chromium_meets() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("browser");
    assert!(folder.join("node_modules").exists(), "`npm ci` in {} first", folder.display());
    let ran = Command::new("node")
        .arg("agreement.mjs")
        .arg(program("tidegate-load"))
        .current_dir(&folder)
        .output()
        .unwrap();
    println!("{}", shown(&ran));
    assert!(ran.status.success());
}

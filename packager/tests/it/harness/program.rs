//! Binaries that cargo builds: this package's own, its fake worker, and the real worker of the package beside it.
//!
//! Cargo builds examples and binaries together with the tests; the real worker belongs to another package and is
//! built here when it is missing or older than its sources.

use std::{
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::LazyLock,
};

use super::{FakeOrigin, fake_origin::TOKEN};

/// The fake worker.
pub(crate) fn fake_worker() -> PathBuf {
    static BUILT: LazyLock<PathBuf> = LazyLock::new(|| {
        let path = target().join("examples/fake-worker");
        if !path.is_file() {
            build(&["--package", "tidegate-packager", "--example", "fake-worker"]);
        }
        path
    });
    BUILT.clone()
}

/// The real worker.
pub(crate) fn real_worker() -> PathBuf {
    static BUILT: LazyLock<PathBuf> = LazyLock::new(|| {
        // Cargo decides whether there is anything to do.
        build(&["--package", "tidegate-packager-worker", "--bin", "tidegate-packager-worker"]);
        target().join("tidegate-packager-worker")
    });
    BUILT.clone()
}

/// The packager as a process of its own, with the fake worker.
pub(crate) fn start_packager(origin: &FakeOrigin, folder: &Path) -> Child {
    let token = folder.join("token");
    std::fs::write(&token, TOKEN).expect("written");
    let set = |key: &str, value: &str| [String::from("--set"), format!("{key}=\"{value}\"")];
    let settings = [
        set("object_store", &origin.store_url()),
        set("origin.url", &origin.url),
        set("origin.token_file", &token.display().to_string()),
        set("worker.path", &fake_worker().display().to_string()),
        set("jobs.poll", "20ms"),
    ];
    Command::new(env!("CARGO_BIN_EXE_tidegate-packager"))
        .args(settings.into_iter().flatten())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .expect("the packager starts")
}

/// `target/debug`, from `target/debug/deps/it-…`.
fn target() -> PathBuf {
    let test = std::env::current_exe().expect("a running test has a path");
    test.ancestors().nth(2).expect("tests lie in target/<profile>/deps").to_owned()
}

fn build(arguments: &[&str]) {
    let status = Command::new(env!("CARGO"))
        .arg("build")
        .args(arguments)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .status()
        .expect("cargo runs");
    assert!(status.success(), "cargo build {arguments:?}");
}

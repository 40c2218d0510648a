//! The real program as a process of its own, to be killed.

use std::{
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use serde_json::Value;
use tempfile::TempDir;

use crate::harness::{TusClient, until};

/// An origin process over a folder that outlives it.
pub struct OriginProgram {
    pub url: String,
    child: Child,
    home: TempDir,
    token: String,
}

impl OriginProgram {
    /// Starts over an empty folder; `more` is added to the config.
    pub async fn start(more: &str) -> Self {
        tidegate_chassis::init_crypto();
        let home = tempfile::tempdir().unwrap();
        let tokens = home.path().join("tokens");
        let made = Command::new(PROGRAM)
            .args(["token", "create", "--name", "demo", "--file"])
            .arg(&tokens)
            .output()
            .unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let token = String::from_utf8(made.stdout).unwrap().trim().to_owned();
        std::fs::write(home.path().join("config.toml"), config(home.path(), more)).unwrap();
        let (child, url) = launch(home.path()).await;
        Self { url, child, home, token }
    }

    pub fn tus(&self) -> TusClient {
        TusClient::new(&self.url, &self.token)
    }

    /// Ends the process as a power cut would, and starts it again.
    pub async fn kill_and_restart(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        (self.child, self.url) = launch(self.home.path()).await;
    }

    /// The bytes that the object store has of an upload.
    pub fn source(&self, upload: &str) -> Vec<u8> {
        std::fs::read(self.home.path().join(format!("objects/upload/{upload}/source"))).unwrap()
    }

    /// Asks the process to end, and returns its exit code.
    pub async fn terminate(mut self) -> Option<i32> {
        let pid = self.child.id().to_string();
        Command::new("kill").args(["-TERM", &pid]).status().unwrap();
        let child = &mut self.child;
        let mut ended = None;
        until("the program has ended", || {
            ended = child.try_wait().unwrap();
            let is_over = ended.is_some().then_some(());
            async move { is_over }
        })
        .await;
        ended.and_then(|status| status.code())
    }
}

impl Drop for OriginProgram {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

async fn launch(home: &Path) -> (Child, String) {
    let ready: PathBuf = home.join("ready.json");
    let _ = std::fs::remove_file(&ready);
    let child = Command::new(PROGRAM)
        .arg("serve")
        .arg("--config")
        .arg(home.join("config.toml"))
        .stderr(Stdio::from(std::fs::File::create(home.join("log")).unwrap()))
        .spawn()
        .unwrap();
    let text =
        until("the program is ready", || async { std::fs::read_to_string(&ready).ok() }).await;
    let ready: Value = serde_json::from_str(&text).unwrap();
    (child, format!("http://{}", ready["listeners"]["http"].as_str().unwrap()))
}

fn config(home: &Path, more: &str) -> String {
    let path = |name: &str| home.join(name).display().to_string();
    format!(
        r#"
        database = "sqlite:{}"
        object_store = "file://{}"
        [process]
        ready_file = {:?}
        [listen]
        http = "127.0.0.1:0"
        internal = "127.0.0.1:0"
        [auth]
        tokens_file = {:?}
        [upload]
        spool_dir = {:?}
        disk_free_min = "1MiB"
        {more}
        "#,
        path("origin.db"),
        path("objects"),
        path("ready.json"),
        path("tokens"),
        path("spool"),
    )
}

const PROGRAM: &str = env!("CARGO_BIN_EXE_tidegate-origin");

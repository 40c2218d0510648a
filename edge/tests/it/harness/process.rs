//! The program itself as a process of its own, which others may follow.

use std::{
    io::Write,
    os::unix::fs::{MetadataExt, symlink},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use serde_json::Value;

use super::{
    FakeOrigin, PATIENCE, PROTOCOLS,
    client::{Ask, Client},
    eventually,
};

/// A node whose process changes.
pub(crate) struct Running {
    pub folder: tempfile::TempDir,
    pub first: Child,
    pub client: Client,
}

impl Running {
    /// Starts the program before one origin.
    pub(crate) async fn before(origin: &FakeOrigin) -> Self {
        Self::with(origin, "").await
    }

    /// The same with more limits of its listener. The program is started by a link, which an upgrade may point elsewhere.
    pub(crate) async fn with(origin: &FakeOrigin, limits: &str) -> Self {
        tidegate_chassis::init_crypto();
        let folder = tempfile::tempdir().unwrap();
        let program = folder.path().join("tidegate-edge");
        symlink(env!("CARGO_BIN_EXE_tidegate-edge"), &program).unwrap();
        let key = rcgen::KeyPair::generate().unwrap();
        let names = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        let certificate = names.self_signed(&key).unwrap().pem();
        std::fs::write(folder.path().join("cert.pem"), &certificate).unwrap();
        std::fs::write(folder.path().join("key.pem"), key.serialize_pem()).unwrap();
        let at = folder.path().display();
        let config = format!(
            "access_log = false\n\
             [process]\nready_file = \"{at}/ready.json\"\ndrain_grace = \"60s\"\n\
             [upgrade]\nprogram = \"{at}/tidegate-edge\"\nstart_timeout = \"90s\"\n\
             [listen]\nhttp = [\"127.0.0.1:0\"]\nhttps = [\"127.0.0.1:0\"]\nworkers = 2\n\
             [listen.limits]\nhandshake_timeout = \"90s\"\nheader_timeout = \"90s\"\n{limits}\
             [listen.tls]\ncertificate = \"{at}/cert.pem\"\nkey = \"{at}/key.pem\"\n\
             [cache]\nmemory = \"32MiB\"\nin_flight = \"32MiB\"\nobject_max = \"16MiB\"\n\
             [cache.disk]\npath = \"{at}/disk\"\nbytes = \"64MiB\"\nwrite_queue = \"8MiB\"\nadmission = \"all\"\n\
             [[property]]\nid = \"demo\"\nhosts = [\"*\"]\norigins = [{{ authority = \"{}\" }}]\n",
            origin.address
        );
        std::fs::write(folder.path().join("edge.toml"), config).unwrap();
        let log = std::fs::File::create(folder.path().join("log")).unwrap();
        let first = Command::new(&program)
            .args(["serve", "--config"])
            .arg(folder.path().join("edge.toml"))
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        let file = folder.path().join("ready.json");
        eventually("the first process is ready", || file.exists()).await;
        let ready = read(&file);
        let address = |name: &str| ready["listeners"][name].as_str().unwrap().parse().unwrap();
        let client = Client::new(address("http"), address("https"), &certificate);
        Self { folder, first, client }
    }

    fn ready_file(&self) -> PathBuf {
        self.folder.path().join("ready.json")
    }

    pub(crate) fn pid(&self) -> String {
        read(&self.ready_file())["pid"].to_string()
    }

    /// Asks the process that serves now to hand over.
    pub(crate) fn ask_for_upgrade(&self) {
        signal("-USR2", &self.pid());
    }

    /// Points the program elsewhere.
    pub(crate) fn install(&self, program: &Path) {
        let (link, new) =
            (self.folder.path().join("tidegate-edge"), self.folder.path().join("new"));
        symlink(program, &new).unwrap();
        std::fs::rename(new, link).unwrap();
    }

    /// Waits until another process has said that it is ready.
    pub(crate) async fn upgraded(&self, before: u64) {
        let file = self.ready_file();
        let is_other = || std::fs::metadata(&file).is_ok_and(|found| found.ino() != before);
        eventually("another process is ready", is_other).await;
    }

    pub(crate) fn ready_inode(&self) -> u64 {
        std::fs::metadata(self.ready_file()).unwrap().ino()
    }

    /// The most memory that the first process had, in bytes.
    pub(crate) fn resident_max(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.first.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        line.trim().strip_suffix("kB").unwrap().trim().parse::<u64>().unwrap() * 1024
    }

    pub(crate) async fn metric(&self, name: &str) -> f64 {
        let admin = read(&self.ready_file())["admin"].as_str().unwrap().parse().unwrap();
        let mut client = self.client.clone();
        client.http = admin;
        let answer = client.ask(PROTOCOLS[0], &Ask::get("/metrics")).await.unwrap();
        let text = String::from_utf8(answer.whole_body().to_vec()).unwrap();
        let lines = text.lines().filter(|line| line.starts_with(name));
        lines.map(|line| line.rsplit_once(' ').unwrap().1.parse::<f64>().unwrap()).sum()
    }

    pub(crate) async fn expect_metric(&self, name: &str, expected: f64) {
        let waiting = async {
            while self.metric(name).await < expected {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        let waited = tokio::time::timeout(PATIENCE, waiting).await;
        waited.unwrap_or_else(|_| panic!("never: {name} is {expected}"));
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Whichever process serves now, and the first, which may have failed to end.
        if let Ok(ready) = std::fs::read(self.ready_file()) {
            let ready: Value = serde_json::from_slice(&ready).unwrap_or_default();
            signal("-KILL", &ready["pid"].to_string());
        }
        if std::thread::panicking() {
            let log = std::fs::read(self.folder.path().join("log")).unwrap_or_default();
            let _ = std::io::stderr().write_all(&log);
        }
        let _ = self.first.kill();
        let _ = self.first.wait();
    }
}

fn read(file: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap()
}

fn signal(which: &str, pid: &str) {
    Command::new("kill").args([which, pid]).stderr(Stdio::null()).status().unwrap();
}

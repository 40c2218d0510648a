//! Runs the example program as a child process, and asks its ports.
//!
//! **Invariant.** Every wait has a limit, and a child never outlives its test.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command},
    time::{Duration, Instant},
};

/// The example program, with arguments and environment, not yet running.
pub(crate) struct Specimen {
    command: Command,
    dir: tempfile::TempDir,
}

/// The example program, running and ready. It is killed when it is dropped.
pub(crate) struct Running {
    pub(crate) ready: Ready,
    child: Held,
    dir: tempfile::TempDir,
}

/// What the ready file says.
#[derive(serde::Deserialize)]
pub(crate) struct Ready {
    pub(crate) admin: SocketAddr,
    pub(crate) listeners: BTreeMap<String, SocketAddr>,
}

/// What a program left when it ended.
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// A child that does not outlive its test.
struct Held(Child);

impl Specimen {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        // Into files: a pipe that nobody reads would stop a program that says much.
        let file = |name: &str| File::create(dir.path().join(name)).unwrap();
        let mut command = Command::new(example("specimen"));
        command.env_clear().stdout(file(STDOUT)).stderr(file(STDERR));
        Self { command, dir }.set("process.log_format=json")
    }

    pub(crate) fn arg(mut self, arg: impl AsRef<std::ffi::OsStr>) -> Self {
        self.command.arg(arg);
        self
    }

    pub(crate) fn set(self, setting: &str) -> Self {
        self.arg("--set").arg(setting)
    }

    pub(crate) fn env(mut self, name: &str, value: impl AsRef<std::ffi::OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    /// Writes a config file and passes it.
    pub(crate) fn file(self, text: &str) -> Self {
        let path = self.dir.path().join("specimen.toml");
        std::fs::write(&path, text).unwrap();
        self.arg("--config").arg(path)
    }

    /// Runs a program that ends by itself.
    pub(crate) fn run(mut self) -> Ended {
        Held(self.command.spawn().unwrap()).ended(self.dir.path())
    }

    /// Starts a program and waits until it is ready.
    pub(crate) fn start(self) -> Running {
        let file = self.dir.path().join(READY);
        let mut started = self.set(&format!("process.ready_file={}", file.display()));
        let mut child = Held(started.command.spawn().unwrap());
        let ready = wait("the ready file", || {
            if let Some(status) = child.0.try_wait().unwrap() {
                let said = read(started.dir.path(), STDERR);
                panic!("ended with {status} before it was ready: {said}");
            }
            std::fs::read(&file).ok()
        });
        let ready = serde_json::from_slice(&ready).expect("a ready file is whole when it is there");
        Running { ready, child, dir: started.dir }
    }
}

impl Running {
    pub(crate) fn signal(&self, signal: &str) {
        let pid = self.child.0.id().to_string();
        assert!(Command::new("kill").args([signal, &pid]).status().unwrap().success());
    }

    /// Asks the admin port; status and body.
    pub(crate) fn admin(&self, method: &str, path: &str) -> (u16, String) {
        let request =
            format!("{method} {path} HTTP/1.1\r\nhost: admin\r\nconnection: close\r\n\r\n");
        let answer = exchange(self.ready.admin, request.as_bytes());
        let (head, body) = answer.split_once("\r\n\r\n").expect("an answer has a head");
        (head[9..12].parse().unwrap(), body.to_owned())
    }

    pub(crate) fn greeting(&self) -> String {
        exchange(self.ready.listeners["greeting"], b"")
    }

    /// What it has logged so far.
    pub(crate) fn log(&self) -> String {
        read(self.dir.path(), STDERR)
    }

    pub(crate) fn ready_file(&self) -> PathBuf {
        self.dir.path().join(READY)
    }

    /// Waits until the program has ended.
    pub(crate) fn ended(mut self) -> Ended {
        let ended = self.child.ended(self.dir.path());
        assert!(!self.ready_file().exists(), "the ready file goes with the process");
        ended
    }
}

impl Held {
    fn ended(&mut self, dir: &Path) -> Ended {
        let status = wait("the end", || self.0.try_wait().unwrap());
        Ended { code: status.code(), stdout: read(dir, STDOUT), stderr: read(dir, STDERR) }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        // An error says that it has ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Waits for a condition, as long as a machine with much else to do may take.
pub(crate) fn wait<T>(what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
    let limit = Instant::now() + WAIT_MAX;
    while Instant::now() < limit {
        if let Some(found) = condition() {
            return found;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    panic!("{what} did not come within {WAIT_MAX:?}");
}

fn exchange(addr: SocketAddr, request: &[u8]) -> String {
    let mut stream = TcpStream::connect(addr).unwrap();
    stream.set_read_timeout(Some(WAIT_MAX)).unwrap();
    stream.write_all(request).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

fn read(dir: &Path, name: &str) -> String {
    std::fs::read_to_string(dir.join(name)).unwrap()
}

/// Examples are built beside the folder that this test runs from.
fn example(name: &str) -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let profile = test.parent().and_then(Path::parent).unwrap();
    profile.join("examples").join(name)
}

const WAIT_MAX: Duration = Duration::from_secs(90);
const STDOUT: &str = "stdout";
const STDERR: &str = "stderr";
const READY: &str = "ready.json";

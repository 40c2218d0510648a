//! What the stories stand on: the rig as a program, plain nginx over a folder, our edge in front of it, and clips.
//!
//! Invariant: everything listens on loopback at a port that was free, and ends with the story.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
};

use serde_json::Value;
use tempfile::TempDir;
use tidegate_system_test::{
    system::program,
    wait::{PATIENCE, until},
};
use tokio::net::TcpSocket;

/// The rig, with its results in a folder of its own.
pub(crate) struct Rig {
    folder: TempDir,
    /// Who vouches for the server; `None` when nobody does.
    ca: Option<PathBuf>,
}

impl Rig {
    /// A run that holds its gates.
    pub(crate) fn run(&self, arguments: &[&str]) -> Value {
        let (ran, results) = self.told(arguments);
        assert!(ran.status.success(), "{}", shown(&ran));
        results
    }

    /// A run, whatever it says.
    pub(crate) fn results(&self, arguments: &[&str]) -> Value {
        self.told(arguments).1
    }

    fn told(&self, arguments: &[&str]) -> (Output, Value) {
        let file = self.folder.path().join("results.json");
        let ran = Command::new(program("tidegate-load"))
            .args(["run", arguments[0], "--quiet", "--json"])
            .arg(&file)
            .args(self.ca.iter().map(|ca| format!("--ca={}", ca.display())))
            // What is looked at is what was played; a debug build on a busy machine may be late.
            .args(["--set=rig.cpu_max=10", "--set=rig.loop_lag_max=60s"])
            .args(["--set=rig.schedule_error_max=60s", "--set=arrivals.start_within=60s"])
            .args(["--set=gates=[]"])
            .args(&arguments[1..])
            .output()
            .unwrap();
        let text = fs::read(&file).unwrap_or_else(|_| panic!("{}", shown(&ran)));
        (ran, serde_json::from_slice(&text).unwrap())
    }
}

/// Debian's nginx over a folder, with TLS and without.
pub(crate) struct Nginx {
    pub(crate) plain: u16,
    tls: u16,
    pub(crate) rig: Rig,
    _running: Killed,
    _held: [TcpSocket; 2],
}

impl Nginx {
    pub(crate) async fn start(root: &Path) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let key = rcgen::generate_simple_self_signed(vec!["localhost".into()]).unwrap();
        let [(plain_held, plain), (tls_held, tls)] = [held_port(), held_port()];
        let ca = folder.path().join("cert.pem");
        fs::write(&ca, key.cert.pem()).unwrap();
        fs::write(folder.path().join("key.pem"), key.signing_key.serialize_pem()).unwrap();
        let at = folder.path().display();
        let configuration = format!(
            "daemon off; master_process off; worker_processes 1; pid {at}/pid; error_log {at}/error.log;
             events {{ worker_connections 512; }}
             http {{
               access_log off;
               types {{ application/vnd.apple.mpegurl m3u8; application/dash+xml mpd; video/mp4 mp4 m4s; video/mp2t ts; }}
               client_body_temp_path {at}; proxy_temp_path {at}; fastcgi_temp_path {at};
               uwsgi_temp_path {at}; scgi_temp_path {at};
               server {{
                 listen 127.0.0.1:{plain}; listen 127.0.0.1:{tls} ssl http2;
                 ssl_certificate cert.pem; ssl_certificate_key key.pem;
                 root {};
                 location ~ (m3u8|mpd)$ {{ add_header cache-control max-age=1; }}
               }}
             }}",
            root.display()
        );
        fs::write(folder.path().join("nginx.conf"), configuration).unwrap();
        // Debian puts it where only root looks.
        let nginx =
            ["/usr/sbin/nginx", "/usr/bin/nginx"].into_iter().find(|path| Path::new(path).exists());
        let running = Command::new(nginx.expect("nginx is installed"))
            .arg("-c")
            .arg(folder.path().join("nginx.conf"))
            .args(["-e", "stderr"])
            .spawn()
            .map(Killed)
            .unwrap();
        until("nginx listens", PATIENCE, || async move {
            tokio::net::TcpStream::connect(("127.0.0.1", tls)).await.ok()
        })
        .await;
        let (rig, _held) = (Rig { folder, ca: Some(ca) }, [plain_held, tls_held]);
        Self { plain, tls, rig, _running: running, _held }
    }

    pub(crate) fn url(&self, entry: &str) -> String {
        format!("https://localhost:{}/{entry}", self.tls)
    }
}

/// Our edge before an origin on this machine.
pub(crate) struct Edge {
    https: u16,
    rig: Rig,
    _running: Killed,
    _held: [TcpSocket; 2],
}

impl Edge {
    pub(crate) async fn start(origin: u16) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let [(http_held, http), (https_held, https)] = [held_port(), held_port()];
        let running = Command::new(program("tidegate-edge"))
            .args(["serve", "--self-signed", "--origin", &format!("http://127.0.0.1:{origin}")])
            .args([
                "--http",
                &format!("127.0.0.1:{http}"),
                "--https",
                &format!("127.0.0.1:{https}"),
            ])
            .current_dir(folder.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map(Killed)
            .unwrap();
        until("the edge listens", PATIENCE, || async move {
            tokio::net::TcpStream::connect(("127.0.0.1", https)).await.ok()
        })
        .await;
        let (rig, _held) = (Rig { folder, ca: None }, [http_held, https_held]);
        Self { https, rig, _running: running, _held }
    }

    /// A run through the edge that holds its gates.
    pub(crate) fn run(&self, entry: &str, arguments: &[&str]) -> Value {
        let url = format!("https://localhost:{}/{entry}", self.https);
        let resolve = format!("--resolve=localhost:{0}=127.0.0.1:{0}", self.https);
        let mut all = vec![&*url, "--insecure", &*resolve];
        all.extend(arguments);
        self.rig.run(&all)
    }
}

/// A process that ends with the story.
pub(crate) struct Killed(pub(crate) Child);

impl Drop for Killed {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// ffmpeg with a short clip with sound.
pub(crate) fn clip() -> Command {
    let mut ffmpeg = clip_of("120");
    ffmpeg
        .args(["-f", "lavfi", "-i", "testsrc2=size=320x180:rate=25:duration=6"])
        .args(["-f", "lavfi", "-i", "sine=frequency=440:duration=6"])
        .args("-c:v libx264 -preset ultrafast -g 25 -keyint_min 25 -b:v 300k".split(' '))
        .args("-c:a aac -b:a 64k".split(' '));
    ffmpeg
}

pub(crate) fn clip_of(seconds_max: &str) -> Command {
    let mut ffmpeg = Command::new("ffmpeg");
    ffmpeg.args(["-v", "error", "-nostdin", "-timelimit", seconds_max]);
    ffmpeg
}

pub(crate) fn hashes_of(folder: &Path) -> String {
    let mut lines = String::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        lines += &format!("{}  {name}\n", blake3::hash(&fs::read(&path).unwrap()).to_hex());
    }
    lines
}

pub(crate) fn fetches(results: &Value, kind: &str, figure: &str) -> u64 {
    let all = results["fetches"].as_array().unwrap();
    all.iter().filter(|one| one["kind"] == kind).map(|one| one[figure].as_u64().unwrap()).sum()
}

/// A socket that never listens: nobody is given its port, and who sets `SO_REUSEADDR` may listen there all the same.
fn held_port() -> (TcpSocket, u16) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_reuseaddr(true).unwrap();
    socket.bind(([127, 0, 0, 1], 0).into()).unwrap();
    let port = socket.local_addr().unwrap().port();
    (socket, port)
}

pub(crate) fn shown(ran: &Output) -> String {
    let (out, errors) =
        (String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
    format!("{}\n{out}\n{errors}", ran.status)
}

/// Of the clip.
pub(crate) const CLIP_SECONDS: f64 = 6.0;

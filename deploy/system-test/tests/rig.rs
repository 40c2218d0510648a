//! The load rig against what others made: a browser's player, ffmpeg's streams behind nginx, a live stream.

#![allow(clippy::unwrap_used, clippy::print_stdout)]

use std::{
    fs,
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    time::Duration,
};

use serde_json::Value;
use tempfile::TempDir;
use tidegate_system_test::{system::program, wait::until};

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

#[tokio::test]
async fn what_ffmpeg_makes_is_played_behind_plain_nginx() {
    let media = tempfile::tempdir().unwrap();
    let ffmpeg = |arguments: &str| {
        let arguments: Vec<&str> = arguments.split_whitespace().collect();
        let ran = clip().args(arguments).current_dir(media.path()).output().unwrap();
        assert!(ran.status.success(), "{}", shown(&ran));
    };
    ffmpeg("-f hls -hls_time 1 -hls_playlist_type vod ts.m3u8");
    ffmpeg("-f hls -hls_time 1 -hls_playlist_type vod -hls_flags single_file ranges.m3u8");
    ffmpeg(
        "-f hls -hls_time 1 -hls_playlist_type vod -hls_segment_type fmp4 -master_pl_name main.m3u8 -hls_fmp4_init_filename i.mp4 fmp4.m3u8",
    );
    ffmpeg("-f dash -seg_duration 1 -use_template 1 -use_timeline 1 timeline.mpd");
    ffmpeg(
        "-f dash -seg_duration 1 -use_template 1 -use_timeline 0 -init_seg_name ti-$RepresentationID$.mp4 -media_seg_name t-$RepresentationID$-$Number$.m4s template.mpd",
    );
    let hashes = media.path().join("hashes");
    fs::write(&hashes, hashes_of(media.path())).unwrap();
    let nginx = Nginx::start(media.path()).await;
    for entry in ["ts.m3u8", "ranges.m3u8", "main.m3u8", "timeline.mpd", "template.mpd"] {
        let results = nginx.rig.run(&[
            &nginx.url(entry),
            "--protocol=h1=1,h2=1",
            "--rate=2",
            "--duration=2s",
            "--set=arrivals.drain=30s",
            &format!("--set=target.hashes={hashes:?}"),
        ]);
        let quality = &results["quality"];
        assert_eq!(quality["views"], 4, "{entry}: {quality}");
        for none in ["failed_starts", "failed_playbacks", "exits_before_start", "cut"] {
            assert_eq!(quality[none], 0, "{entry}: {quality}");
        }
        let played = quality["played_s"].as_f64().unwrap();
        assert!((played - 4.0 * CLIP_SECONDS).abs() < 4.0, "{entry}: {played} s played");
        let media_bytes: u64 = fetches(&results, "segment", "bytes");
        assert!(media_bytes > 4 * 50_000, "{entry}: {media_bytes}");
    }
    // One wrong byte is noticed by whoever plays it.
    let segment = media.path().join("ts1.ts");
    let mut bytes = fs::read(&segment).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&segment, bytes).unwrap();
    let results = nginx.rig.results(&[
        &nginx.url("ts.m3u8"),
        "--duration=1s",
        "--set=arrivals.drain=30s",
        &format!("--set=target.hashes={hashes:?}"),
    ]);
    let corrupt: u64 = results["fetches"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|fetches| fetches["failures"]["corrupt"].as_u64())
        .sum();
    assert!(corrupt > 0, "{}", results["fetches"]);
}

#[tokio::test]
async fn a_live_stream_is_followed_through_the_edge_on_all_protocols() {
    let media = tempfile::tempdir().unwrap();
    let mut source = clip_of("1000")
        .arg("-re")
        .args(["-f", "lavfi", "-i", "testsrc2=size=320x180:rate=25"])
        .args("-c:v libx264 -preset ultrafast -g 25 -keyint_min 25 -b:v 200k".split(' '))
        .args("-f hls -hls_time 1 -hls_list_size 8 -hls_delete_threshold 8".split(' '))
        .args("-hls_flags delete_segments+program_date_time+temp_file live.m3u8".split(' '))
        .current_dir(media.path())
        .stdin(Stdio::null())
        .spawn()
        .map(Killed)
        .unwrap();
    let nginx = Nginx::start(media.path()).await;
    let playlist = media.path().join("live.m3u8");
    until("the stream has begun", Duration::from_secs(60), || {
        assert!(source.0.try_wait().unwrap().is_none(), "ffmpeg ended");
        let text = fs::read_to_string(&playlist).unwrap_or_default();
        async move { (text.matches("#EXTINF").count() >= 4).then_some(()) }
    })
    .await;
    let (http, https) = (free_port(), free_port());
    let _edge = Command::new(program("tidegate-edge"))
        .args(["serve", "--self-signed", "--origin"])
        .arg(format!("http://127.0.0.1:{}", nginx.plain))
        .args(["--http", &format!("127.0.0.1:{http}"), "--https", &format!("127.0.0.1:{https}")])
        .current_dir(media.path())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .map(Killed)
        .unwrap();
    until("the edge listens", Duration::from_secs(60), || async move {
        tokio::net::TcpStream::connect(("127.0.0.1", https)).await.ok()
    })
    .await;
    let results = nginx.rig.run(&[
        &format!("https://localhost:{https}/live.m3u8"),
        "--insecure",
        &format!("--resolve=localhost:{https}=127.0.0.1:{https}"),
        "--protocol=h1=1,h2=1,h3=1",
        "--rate=3",
        "--duration=4s",
        "--set=arrivals.drain=8s",
    ]);
    let quality = &results["quality"];
    assert_eq!(quality["views"], 12, "{quality}");
    assert_eq!(quality["cut"], 12, "a live stream does not end: {quality}");
    assert_eq!(quality["failed_starts"], 0, "{quality}");
    assert!(quality["played_s"].as_f64().unwrap() > 40.0, "{quality}");
    assert!(fetches(&results, "playlist", "count") > 60, "playlists are asked for again and again");
    let protocols: Vec<_> = results["connections"].as_object().unwrap().keys().cloned().collect();
    assert_eq!(protocols, ["h1", "h2", "h3"]);
}

/// The rig, with its results in a folder of its own.
struct Rig {
    folder: TempDir,
    /// Who vouches for the server.
    ca: PathBuf,
}

impl Rig {
    /// A run that holds its gates.
    fn run(&self, arguments: &[&str]) -> Value {
        let (ran, results) = self.told(arguments);
        assert!(ran.status.success(), "{}", shown(&ran));
        results
    }

    /// A run, whatever it says.
    fn results(&self, arguments: &[&str]) -> Value {
        self.told(arguments).1
    }

    fn told(&self, arguments: &[&str]) -> (Output, Value) {
        let file = self.folder.path().join("results.json");
        let ran = Command::new(program("tidegate-load"))
            .args(["run", arguments[0], "--quiet", "--json"])
            .arg(&file)
            .arg("--ca")
            .arg(&self.ca)
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
struct Nginx {
    plain: u16,
    tls: u16,
    rig: Rig,
    _running: Killed,
}

impl Nginx {
    async fn start(root: &Path) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let key = rcgen::generate_simple_self_signed(vec!["localhost".into()]).unwrap();
        let (plain, tls) = (free_port(), free_port());
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
                 location ~ m3u8$ {{ add_header cache-control max-age=1; }}
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
        until("nginx listens", Duration::from_secs(30), || async move {
            tokio::net::TcpStream::connect(("127.0.0.1", tls)).await.ok()
        })
        .await;
        Self { plain, tls, rig: Rig { folder, ca }, _running: running }
    }

    fn url(&self, entry: &str) -> String {
        format!("https://localhost:{}/{entry}", self.tls)
    }
}

/// A process that ends with the story.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// ffmpeg with a short clip with sound.
fn clip() -> Command {
    let mut ffmpeg = clip_of("120");
    ffmpeg
        .args(["-f", "lavfi", "-i", "testsrc2=size=320x180:rate=25:duration=6"])
        .args(["-f", "lavfi", "-i", "sine=frequency=440:duration=6"])
        .args("-c:v libx264 -preset ultrafast -g 25 -keyint_min 25 -b:v 300k".split(' '))
        .args("-c:a aac -b:a 64k".split(' '));
    ffmpeg
}

fn clip_of(seconds_max: &str) -> Command {
    let mut ffmpeg = Command::new("ffmpeg");
    ffmpeg.args(["-v", "error", "-nostdin", "-timelimit", seconds_max]);
    ffmpeg
}

fn hashes_of(folder: &Path) -> String {
    let mut lines = String::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        lines += &format!("{}  {name}\n", blake3::hash(&fs::read(&path).unwrap()).to_hex());
    }
    lines
}

fn fetches(results: &Value, kind: &str, figure: &str) -> u64 {
    let all = results["fetches"].as_array().unwrap();
    all.iter().filter(|one| one["kind"] == kind).map(|one| one[figure].as_u64().unwrap()).sum()
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn shown(ran: &Output) -> String {
    let (out, errors) =
        (String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
    format!("{}\n{out}\n{errors}", ran.status)
}

/// Of the clip.
const CLIP_SECONDS: f64 = 6.0;

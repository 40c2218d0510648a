//! A key of a signed zone is rolled over from the operators' command line: a real control plane, two real geo nodes, both
//! killed on the way, and a validator that looks at every stage.

#![allow(clippy::unwrap_used, clippy::print_stdout)]

use std::{
    fs,
    net::{SocketAddr, TcpListener},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    time::{Duration, Instant},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Value, json};
use tidegate_system_test::{system::program, wait::PATIENCE};

/// A program that runs; killed when dropped.
struct Running(Child);

/// A control plane, two geo nodes and an operator.
struct Fleet {
    folder: tempfile::TempDir,
    api: u16,
    control: Option<Running>,
    geo: [Option<Running>; 2],
}

const ZONE: &str = "keys.example";
const NAMES: [&str; 2] = ["geo-1", "geo-2"];
/// Where they are, with which their names begin.
const POPS: [&str; 2] = ["fra", "nyc"];
/// Everything is forgotten after a second.
const DNSSEC: &str = "dnskey_ttl = \"1s\"\nds_ttl = \"1s\"\nttl_max = \"1s\"\nmargin = \"1s\"\nlook_every = \"1h\"\n";
const RESOURCES: &str = "
kind: pop
name: fra
spec: {role: edge, site: {place: {latitude: 50, longitude: 8}, addresses: [192.0.2.1]}}
---
kind: dns_zone
name: keys.example
spec:
  zone: |
    $TTL 60
    @ SOA ns1 admin 1 2 3 4 5
    @ NS ns1
    ns1 A 192.0.2.53
";

impl Drop for Running {
    fn drop(&mut self) {
        // `kill -9`: what was acknowledged must be there.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Fleet {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        // Held by nobody from here to the start: another one takes it rarely, and then the start fails.
        let api = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut fleet = Self { folder, api, control: None, geo: [None, None] };
        let token = fleet.control(&["token", "create", "--scope", "admin"]);
        fleet.secret("admin", &token);
        let ca = fleet.control(&["ca", "show"]);
        fs::write(fleet.path("ca.pem"), ca).unwrap();
        fleet.start_control();
        fs::write(fleet.path("fleet.yaml"), RESOURCES).unwrap();
        let file = fleet.path("fleet.yaml").display().to_string();
        let apply = ["apply", "-f", &file, "--stage", "fast", "--yes", "--reason", "a fleet"];
        fleet.says(&apply, 0);
        for (number, name) in NAMES.into_iter().enumerate() {
            fs::create_dir(fleet.path(name)).unwrap();
            let token = fleet.run(&["token", "create", "--label", name, "--scope", "geo"]);
            fleet.secret(&format!("{name}/token"), &String::from_utf8(token.stdout).unwrap());
            let pop = POPS[number];
            let at = |file: &str| fleet.path(name).join(file).display().to_string();
            let config = format!(
                "[listen]\nudp = [\"127.0.0.1:0\"]\ntcp = [\"127.0.0.1:0\"]\n[process]\nready_file = \"{}\"\n\
                 [control]\nurls = [\"https://localhost:{api}\"]\ntoken_file = \"{}\"\nca_file = \"{}\"\ndata = \"{}\"\n\
                 [own]\npop = \"{pop}\"\n[probe]\nenabled = false\n[dnssec]\nkeys = \"{}\"\n{DNSSEC}",
                at("ready.json"),
                at("token"),
                fleet.path("ca.pem").display(),
                at("data"),
                at("keys"),
            );
            fs::write(at("geo.toml"), config).unwrap();
            if number == 0 {
                let made = fleet.geo_keys(name, &["generate", ZONE]);
                assert!(made.contains("IN DS"), "{made}");
            } else {
                // Once, by hand.
                let mut copy = Command::new("cp");
                copy.arg("-a").arg(fleet.path(NAMES[0]).join("keys")).arg(fleet.path(name));
                assert!(copy.status().unwrap().success());
            }
            fleet.start_geo(number);
        }
        fleet
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn secret(&self, name: &str, text: &str) {
        fs::write(self.path(name), text.trim()).unwrap();
        fs::set_permissions(self.path(name), fs::Permissions::from_mode(0o600)).unwrap();
    }

    /// A command of the control plane's own program.
    fn control(&self, words: &[&str]) -> String {
        let mut command = Command::new(program("tidegate-control"));
        let command = command.args(words).arg("--data-dir").arg(self.path("control"));
        let output = command.output().unwrap();
        assert!(output.status.success(), "{words:?}: {}", text(&output));
        String::from_utf8(output.stdout).unwrap()
    }

    fn geo_keys(&self, name: &str, words: &[&str]) -> String {
        let mut command = Command::new(program("tidegate-geo"));
        let config = self.path(name).join("geo.toml");
        let output = command.args(["keys", "--config"]).arg(config).args(words).output().unwrap();
        assert!(output.status.success(), "{words:?}: {}", text(&output));
        String::from_utf8(output.stdout).unwrap()
    }

    fn start_control(&mut self) {
        self.control = None;
        let mut command = Command::new(program("tidegate-control"));
        command
            .arg("serve")
            .args(["--api", &format!("127.0.0.1:{}", self.api), "--sync", "127.0.0.1:0"])
            .arg("--data-dir")
            .arg(self.path("control"));
        self.control = Some(begin(command, &self.path("control.json"), &self.path("control.log")));
    }

    fn start_geo(&mut self, number: usize) {
        let folder = self.path(NAMES[number]);
        let mut command = Command::new(program("tidegate-geo"));
        command.arg("serve").arg("--config").arg(folder.join("geo.toml"));
        self.geo[number] = Some(begin(command, &folder.join("ready.json"), &folder.join("log")));
    }

    /// The operators' command line.
    fn run(&self, words: &[&str]) -> Output {
        let mut command = Command::new(program("tidegate"));
        command.env("HOME", self.folder.path()).stdin(Stdio::null());
        command.args(["--server", &format!("https://localhost:{}", self.api), "--token-file"]);
        command.arg(self.path("admin")).arg("--ca").arg(self.path("ca.pem")).args(words);
        command.output().unwrap()
    }

    fn says(&self, words: &[&str], code: i32) -> Output {
        let output = self.run(words);
        assert_eq!(output.status.code(), Some(code), "{words:?}: {}", text(&output));
        output
    }

    /// Takes the next step as soon as it is due; what it was, and the DS records that the parent is to have.
    fn roll(&self, more: &[&str]) -> Value {
        let words = ["dns", "sign", "roll", ZONE, "--yes", "--reason", "a story", "-o", "json"];
        let taken = until("the step is due", || {
            let output = self.run(&[&words, more].concat());
            match output.status.code() {
                Some(0) => Some(output),
                // Not yet.
                Some(1) => None,
                _ => panic!("{}", text(&output)),
            }
        });
        serde_json::from_slice(&taken.stdout).unwrap()
    }

    /// Waits until both nodes sign with the same keys, of a revision.
    fn wait_for(&self, revision: u64) {
        until("both nodes have the keys", || {
            let status = self.run(&["dns", "sign", "status", ZONE, "-o", "json"]);
            let said: Value = serde_json::from_slice(&status.stdout).ok()?;
            let nodes = said["items"].as_array()?;
            let has = |node: &Value| node["answer"]["zones"][0]["revision"] == json!(revision);
            (status.status.success() && nodes.len() == 2 && nodes.iter().all(has)).then_some(())
        });
    }

    /// Both nodes' answers validate from these DS records.
    fn validates(&self, ds: &[String], stage: &str) {
        let anchors = self.path("anchors");
        let anchor = |line: &String| {
            let fields: Vec<&str> = line.split_whitespace().collect();
            let [zone, _, _, tag, algorithm, digest, text] = fields[..] else { panic!("{line}") };
            format!("  {zone} static-ds {tag} {algorithm} {digest} \"{text}\";\n")
        };
        let lines: String = ds.iter().map(anchor).collect();
        fs::write(&anchors, format!("trust-anchors {{\n{lines}}};\n")).unwrap();
        for name in NAMES {
            let ready = fs::read(self.path(name).join("ready.json")).unwrap();
            let ready: Value = serde_json::from_slice(&ready).unwrap();
            let at: SocketAddr = ready["listeners"]["udp"].as_str().unwrap().parse().unwrap();
            for (asked, expected) in
                [("ns1", "; fully validated"), ("nope", "; negative response, fully validated")]
            {
                let mut delv = Command::new("delv");
                delv.args(["@127.0.0.1", "-p", &at.port().to_string(), "-a"]).arg(&anchors);
                delv.args([&format!("+root={ZONE}"), &format!("{asked}.{ZONE}"), "A"]);
                let said = text(&delv.output().unwrap());
                assert!(said.contains(expected), "{stage}: {name} on {asked}: {said}");
            }
        }
    }

    /// The control plane has the public key of the zone, and nothing of the private one.
    fn keeps_nothing_private(&self) {
        let mut keys =
            fs::read_dir(self.path("geo-1/keys")).unwrap().map(|entry| entry.unwrap().path());
        let pem = keys.find(|path| path.extension().is_some_and(|is| is == "pem")).unwrap();
        let pem = fs::read_to_string(pem).unwrap();
        let body: String = pem.lines().filter(|line| !line.starts_with("--")).collect();
        let der = STANDARD.decode(body).unwrap();
        // The number of the private key stands behind its version and its length; the two of the public one are last.
        let begin = [2, 1, 1, 4, 32];
        let place = der.windows(5).position(|bytes| bytes == begin).unwrap() + begin.len();
        let (private, public) = (&der[place..place + 32], &der[der.len() - 64..]);
        let files = fs::read_dir(self.path("control")).unwrap().map(|entry| entry.unwrap().path());
        let files: Vec<Vec<u8>> = files.filter_map(|path| fs::read(path).ok()).collect();
        let has = |wanted: &[u8]| {
            files.iter().any(|file| file.windows(wanted.len()).any(|bytes| bytes == wanted))
        };
        assert!(has(STANDARD.encode(public).as_bytes()), "the set lies there");
        assert!(!has(private) && !has(STANDARD.encode(private).as_bytes()));
    }

    fn ds(&self, name: &str) -> Vec<String> {
        sorted(self.geo_keys(name, &["ds", ZONE]).lines().map(str::to_owned).collect())
    }
}

/// Starts a program and waits until it says that it is ready.
fn begin(mut command: Command, ready: &Path, log: &Path) -> Running {
    let _ = fs::remove_file(ready);
    let log = fs::File::options().create(true).append(true).open(log).unwrap();
    if command.get_program().to_string_lossy().ends_with("control") {
        command.arg("--set").arg(format!("process.ready_file={}", ready.display()));
    }
    command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
    let mut running = Running(command.spawn().unwrap());
    until("a program is ready", || {
        let ended = running.0.try_wait().unwrap();
        assert!(ended.is_none(), "it ended: {ended:?}");
        serde_json::from_slice::<Value>(&fs::read(ready).ok()?).ok()
    });
    running
}

fn until<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(began.elapsed() < PATIENCE, "{what}: not within {PATIENCE:?}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

fn sorted(mut records: Vec<String>) -> Vec<String> {
    records.sort();
    records
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&[&output.stdout[..], &output.stderr].concat()).into_owned()
}

#[test]
fn a_key_is_rolled_over_from_the_command_line_and_validates_at_every_stage() {
    if Command::new("delv").arg("-v").output().is_err() {
        println!("SKIPPED: delv is not installed (Debian: bind9-dnsutils)");
        return;
    }
    let mut fleet = Fleet::start();
    fleet.wait_for(0);
    let old = fleet.ds("geo-1");
    fleet.validates(&old, "one key");

    // A step that was acknowledged is told by the control plane that comes after the one that was killed.
    let taken = fleet.roll(&[]);
    fleet.start_control();
    assert_eq!((&taken["step"], &taken["revision"]), (&json!("publish"), &json!(1)));
    fleet.wait_for(1);
    let both = sorted(serde_json::from_value(taken["ds"].clone()).unwrap());
    assert_eq!((both.len(), &fleet.ds("geo-2")), (2, &both));
    fleet.validates(&old, "published, the parent does not know it yet");
    fleet.validates(&both, "published, the parent knows both");

    // A node that is away holds up the next step; it takes what it missed when it is back.
    let taken = fleet.roll(&["--ds-seen", "--wait"]);
    assert_eq!(taken["step"], "ds");
    let nodes = text(&fleet.says(&["dns", "nodes", "-o", "name"], 0));
    let away = nodes.lines().find(|name| name.starts_with("nyc/")).unwrap().to_owned();
    fleet.geo[1] = None;
    let words = ["dns", "sign", "roll", ZONE, "--yes", "--reason", "a story"];
    let refused = until("it is noticed", || {
        let output = fleet.run(&words);
        (output.status.code() == Some(8)).then_some(output)
    });
    assert!(text(&refused).contains("are away: nyc/"), "{}", text(&refused));
    let taken = fleet.roll(&["--without", &away]);
    assert_eq!(taken["step"], "activate");
    fleet.start_geo(1);
    fleet.wait_for(3);
    let new = sorted(serde_json::from_value(taken["ds"].clone()).unwrap());
    assert_eq!(new.len(), 1);
    for (ds, parent) in [(&old, "the old one"), (&both, "both"), (&new, "the new one")] {
        fleet.validates(ds, &format!("the new key signs, a validator holds {parent}"));
    }

    let taken = fleet.roll(&["--wait"]);
    assert_eq!((&taken["step"], &taken["revision"]), (&json!("remove"), &json!(4)));
    fleet.validates(&new, "the old key is gone");
    assert_eq!((fleet.ds("geo-1"), fleet.ds("geo-2")), (new.clone(), new));
    fleet.says(&["dns", "sign", "status", ZONE], 0);
    fleet.keeps_nothing_private();
}

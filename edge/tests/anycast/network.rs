//! Namespaces joined by veth pairs, a BIRD in each that routes, and the processes that run in them.
//!
//! ```text
//!   c1 ── r1 (AS 65100) ── r2 (AS 65200) ── c2
//!            │                 │
//!        pop A (65001)     pop B (65002)      both announce 192.0.2.0/24
//! ```
//!
//! Names carry the process id, so that two labs do not meet. Invariant: everything is taken down when the lab is dropped.

use std::{
    fmt::Write,
    fs,
    io::{BufRead, BufReader, Read},
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Command, Stdio},
    sync::Mutex,
    time::Duration,
};

use tidegate_edge::anycast::{Config, Speaker, bird::Bird};
use tokio::time::{Instant, sleep};

use super::{
    figure::Run,
    flow::{self, now},
};

/// Why there can be no lab here.
pub(crate) fn missing() -> Option<String> {
    for program in ["ip", "bird", "nft", "sysctl"] {
        let found = ["/usr/sbin", "/sbin", "/usr/bin", "/bin"]
            .iter()
            .any(|folder| Path::new(folder).join(program).exists());
        if !found {
            return Some(format!(
                "there is no {program} (Debian: bird2, iproute2, nftables, procps)"
            ));
        }
    }
    let name = format!("tgl{}try", std::process::id());
    let made = Command::new("ip").args(["netns", "add", &name]).output();
    let is_made = made.is_ok_and(|made| made.status.success());
    let _ = Command::new("ip").args(["netns", "del", &name]).output();
    (!is_made).then(|| "network namespaces are not allowed here".to_owned())
}

/// The lab.
pub(crate) struct Lab {
    folder: tempfile::TempDir,
    children: Vec<Child>,
    node_a: Mutex<Option<Child>>,
    speaker_a: Bird,
}

/// A probe that runs.
pub(crate) struct Probe {
    child: Child,
    out: BufReader<ChildStdout>,
    began: u64,
}

impl Lab {
    pub(crate) async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let speaker_a = Bird::new(&settings(folder.path(), 'a'));
        let mut lab = Self { folder, children: Vec::new(), node_a: Mutex::new(None), speaker_a };
        for name in NAMES {
            ip(&["netns", "add", &ns(name)]);
            ip(&["-n", &ns(name), "link", "set", "lo", "up"]);
            let forward = [
                "net.ipv4.ip_forward=1",
                "net.ipv4.conf.all.rp_filter=0",
                "net.ipv4.conf.default.rp_filter=0",
            ];
            run(lab.inside(name, "sysctl").arg("-qw").args(forward));
        }
        for (one, other, net) in LINKS {
            link(one, other, net);
        }
        for (client, router) in
            [("c1", "10.0.11.1"), ("c2", "10.0.12.1"), ("pa", "10.0.1.1"), ("pb", "10.0.2.1")]
        {
            ip(&["-n", &ns(client), "route", "add", "default", "via", router]);
        }
        for pop in ["pa", "pb"] {
            ip(&["-n", &ns(pop), "addr", "add", "192.0.2.1/32", "dev", "lo"]);
        }
        lab.write(
            "r1.conf",
            &router("10.255.0.1", 65100, &[("10.0.0.2", 65200), ("10.0.1.2", 65001)]),
        );
        lab.write(
            "r2.conf",
            &router("10.255.0.2", 65200, &[("10.0.0.1", 65100), ("10.0.2.2", 65002)]),
        );
        for pop in ['a', 'b'] {
            lab.write(&format!("edge-{pop}.toml"), &edge_settings(lab.folder.path(), pop));
            let file = Command::new(env!("CARGO_BIN_EXE_tidegate-edge"))
                .args(["bird-config", "--config"])
                .arg(lab.path(&format!("edge-{pop}.toml")))
                .output()
                .unwrap();
            assert!(file.status.success(), "{}", String::from_utf8_lossy(&file.stderr));
            lab.write(&format!("p{pop}.conf"), &String::from_utf8(file.stdout).unwrap());
        }
        for name in ["r1", "r2", "pa", "pb"] {
            let (conf, ctl) = (lab.path(&format!("{name}.conf")), lab.path(&format!("{name}.ctl")));
            let mut bird = lab.inside(name, "bird");
            bird.args(["-f", "-c"]).arg(conf).arg("-s").arg(ctl);
            lab.children.push(quiet(&mut bird).spawn().unwrap());
        }
        for (name, letter) in [("pa", "A"), ("pb", "B")] {
            let mut echo = lab.inside(name, &me());
            let child =
                echo.args(["echo", letter]).stdin(Stdio::null()).stdout(Stdio::null()).spawn();
            lab.children.push(child.unwrap());
        }
        lab.start_node_a().await;
        let mut watch = lab.inside("pa", env!("CARGO_BIN_EXE_tidegate-edge"));
        watch.args(["watch", "--config"]).arg(lab.path("edge-a.toml"));
        lab.children.push(quiet(&mut watch).spawn().unwrap());
        lab
    }

    pub(crate) fn speaker_a(&self) -> &Bird {
        &self.speaker_a
    }

    /// Waits until each client is served by its own PoP, and nothing moves any more.
    pub(crate) async fn at_home(&self) {
        let began = Instant::now();
        let mut good_since = None;
        loop {
            let is_home = shown("r1").contains("10.0.1.2") && shown("r2").contains("10.0.2.2");
            let is_open =
                self.speaker_a.state().await.is_ok_and(|state| {
                    !state.is_gate_closed && state.established == state.sessions
                });
            if !(is_home && is_open) {
                good_since = None;
            } else if good_since.get_or_insert_with(Instant::now).elapsed() > QUIET {
                return;
            }
            assert!(began.elapsed() < LIMIT, "the routes do not settle: {}", shown("r1"));
            sleep(Duration::from_millis(50)).await;
        }
    }

    /// Client 1 sends for a while.
    pub(crate) fn probe(&self, time: Duration) -> Probe {
        let mut probe = self.inside("c1", &me());
        let mut child = probe
            .args(["probe", &time.as_millis().to_string()])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut out = BufReader::new(child.stdout.take().unwrap());
        out.read_line(&mut String::new()).unwrap();
        Probe { child, out, began: now() }
    }

    /// Starts the real node of PoP A and waits until it serves.
    pub(crate) async fn start_node_a(&self) {
        let ready = self.path("ready-a.json");
        let _ = fs::remove_file(&ready);
        let mut node = self.inside("pa", env!("CARGO_BIN_EXE_tidegate-edge"));
        node.args(["serve", "--config"]).arg(self.path("edge-a.toml"));
        let child = quiet(&mut node).spawn().unwrap();
        *self.node_a.lock().unwrap() = Some(child);
        let began = Instant::now();
        while !ready.exists() {
            assert!(began.elapsed() < LIMIT, "the node does not come up");
            sleep(Duration::from_millis(50)).await;
        }
    }

    pub(crate) fn kill_node_a(&self) {
        if let Some(mut node) = self.node_a.lock().unwrap().take() {
            // `ip netns exec` becomes the program, so this is the node itself.
            node.kill().unwrap();
            node.wait().unwrap();
        }
    }

    /// Everything from and to PoP A is dropped, or not any more.
    pub(crate) fn silence_a(&self, is_silent: bool) {
        let rules = if is_silent { SILENCE } else { "delete table ip silence\n" };
        self.write("rules.nft", rules);
        run(self.inside("pa", "nft").arg("-f").arg(self.path("rules.nft")));
    }

    fn inside(&self, name: &str, program: &str) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &ns(name), program]);
        command
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        self.kill_node_a();
        for child in &mut self.children {
            let _ = child.kill();
            let _ = child.wait();
        }
        for name in NAMES {
            let _ = Command::new("ip").args(["netns", "del", &ns(name)]).output();
        }
    }
}

impl Probe {
    /// Waits until it has sent for a while.
    pub(crate) async fn begun(&self, time: Duration) {
        let due = self.began + time.as_micros() as u64;
        sleep(Duration::from_micros(due.saturating_sub(now()))).await;
    }

    /// What became of its packets around an event.
    pub(crate) async fn ended(mut self, event: u64) -> Run {
        let read = tokio::task::spawn_blocking(move || {
            let mut text = String::new();
            self.out.read_to_string(&mut text).unwrap();
            self.child.wait().unwrap();
            text
        });
        Run::of(&flow::read(&read.await.unwrap()), event)
    }
}

/// The settings of a PoP's speaker.
fn settings(folder: &Path, pop: char) -> Config {
    let (as_number, router, upstream) =
        if pop == 'a' { (65001, "10.0.1.1", 65100) } else { (65002, "10.0.2.1", 65200) };
    let text = format!(
        "socket = \"{}/p{pop}.ctl\"\nlocal_as = {as_number}\nrouter_id = \"10.255.1.{}\"\n\
         prefixes = [{{ id = \"lab\", block = \"192.0.2.0/24\" }}]\n\
         peers = [{{ id = \"transit\", address = \"{router}\", as = {upstream} }}]\n\
         dead_man = {{ healthy_for = \"1s\", healthy_for_max = \"1s\" }}\n",
        folder.display(),
        as_number - 65000,
    );
    toml::from_str(&text).unwrap()
}

fn edge_settings(folder: &Path, pop: char) -> String {
    let anycast = toml::to_string(&settings(folder, pop)).unwrap();
    let anycast = anycast
        .replace("[[", "[[anycast.")
        .replace("\n[", "\n[anycast.")
        .replace("[anycast.[anycast.", "[[anycast.");
    format!(
        "access_log = false\n[process]\nready_file = \"{}/ready-{pop}.json\"\n\
         [listen]\nhttps = [\"127.0.0.1:8443\"]\nworkers = 1\n[listen.tls]\nself_signed = true\n\
         [listen.limits]\nbuffers = \"64MiB\"\n\
         [cache]\nmemory = \"32MiB\"\nin_flight = \"32MiB\"\nobject_max = \"16MiB\"\n\
         [[property]]\nid = \"demo\"\nhosts = [\"*\"]\norigins = [{{ authority = \"127.0.0.1:1\" }}]\n\
         [anycast]\n{anycast}",
        folder.display(),
    )
}

/// A router of the Internet: it honours RFC 8326, and puts what it learns into the kernel.
fn router(id: &str, as_number: u32, peers: &[(&str, u32)]) -> String {
    let mut text = format!(
        "router id {id};\nprotocol device {{ scan time 1; }}\n\
         protocol bfd {{ interface \"*\" {{ min rx interval 300 ms; min tx interval 300 ms; idle tx interval 300 ms; multiplier 3; }}; }}\n\
         protocol direct {{ ipv4; interface \"v_*\"; }}\n\
         protocol kernel {{ ipv4 {{ export all; import none; }}; }}\n\
         filter learned {{ if (65535, 0) ~ bgp_community then bgp_local_pref = 0; accept; }}\n"
    );
    for (place, (address, peer_as)) in peers.iter().enumerate() {
        let _ = writeln!(
            text,
            "protocol bgp up{place} {{ local as {as_number}; neighbor {address} as {peer_as}; hold time 9; keepalive time 3; \
             connect retry time 1; connect delay time 0; error wait time 1, 2; bfd on; \
             ipv4 {{ import filter learned; export all; next hop self; }}; }}"
        );
    }
    text
}

fn link(one: &str, other: &str, net: &str) {
    let (near, far) = (format!("v_{one}{other}"), format!("v_{other}{one}"));
    let (ns_one, ns_other) = (ns(one), ns(other));
    ip(&[
        "link", "add", &near, "netns", &ns_one, "type", "veth", "peer", "name", &far, "netns",
        &ns_other,
    ]);
    for (namespace, interface, host) in [(&ns_one, &near, 1), (&ns_other, &far, 2)] {
        ip(&["-n", namespace, "addr", "add", &format!("{net}.{host}/30"), "dev", interface]);
        ip(&["-n", namespace, "link", "set", interface, "up"]);
    }
}

/// How a router reaches the anycast address.
fn shown(name: &str) -> String {
    let shown =
        Command::new("ip").args(["-n", &ns(name), "route", "show", "192.0.2.0/24"]).output();
    String::from_utf8_lossy(&shown.unwrap().stdout).into_owned()
}

fn ns(name: &str) -> String {
    format!("tgl{}{name}", std::process::id())
}

fn me() -> String {
    std::env::current_exe().unwrap().display().to_string()
}

fn ip(arguments: &[&str]) {
    run(Command::new("ip").args(arguments));
}

fn run(command: &mut Command) {
    let done = command.output().unwrap();
    assert!(done.status.success(), "{command:?}: {}", String::from_utf8_lossy(&done.stderr));
}

fn quiet(command: &mut Command) -> &mut Command {
    if std::env::var_os("LAB_LOUD").is_some() {
        return command;
    }
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null())
}

const NAMES: [&str; 6] = ["r1", "r2", "pa", "pb", "c1", "c2"];
const LINKS: [(&str, &str, &str); 5] = [
    ("r1", "r2", "10.0.0"),
    ("r1", "pa", "10.0.1"),
    ("r2", "pb", "10.0.2"),
    ("r1", "c1", "10.0.11"),
    ("r2", "c2", "10.0.12"),
];
const SILENCE: &str = "table ip silence {
  chain in { type filter hook prerouting priority -300; policy drop; iif lo accept; }
  chain out { type filter hook output priority -300; policy drop; oif lo accept; }
}
";
/// Routes that stood for so long stand.
const QUIET: Duration = Duration::from_millis(700);
/// Everything in this lab settles within this time: BFD flaps on a machine that is too busy for its 900 ms, which passes.
const LIMIT: Duration = Duration::from_secs(240);

//! A node with signed zones and encrypted listeners, on loopback and ports of the system's choice, and the tools that ask it.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Command, Output},
    time::{Duration, Instant},
};

use tidegate_chassis::Process;
use tidegate_geo::{config::Config, locate::write::from_lines, node::Node};

/// A running node; dropping it ends it with its runtime.
pub(super) struct SignedNode {
    folder: tempfile::TempDir,
    process: Process,
    runtime: tokio::runtime::Runtime,
}

/// Who certifies the node's encrypted listeners.
pub(super) struct Authority {
    key: rcgen::KeyPair,
    certificate: rcgen::Certificate,
}

pub(super) const ZONE: &str = "
$TTL 300
@ IN SOA ns hostmaster 1 3600 600 86400 60
@ IN NS ns
ns IN A 127.0.0.1
_steer.video IN TXT \"alpn=h3,h2\"
www IN CNAME video
*.wild IN TXT \"any\"
child IN NS ns
";

/// Not signed, below a zone that is.
const CHILD: &str = "
$TTL 300
@ IN SOA ns.example. hostmaster 1 3600 600 86400 60
@ IN NS ns.example.
www IN A 192.0.2.9
";

const FLEET: &str = r#"
[[pop]]
id = "ams"
latitude = 52.37
longitude = 4.90
capacity = 100.0
addresses = ["192.0.2.1", "2001:db8::1"]

[[pop]]
id = "syd"
latitude = -33.87
longitude = 151.21
capacity = 100.0
addresses = ["198.51.100.1", "2001:db8::2"]
"#;

const LINES: &str = "10.1.0.0/16,NL,52.37,4.90,Amsterdam\n10.2.0.0/16,AU,-33.87,151.21,Sydney\n";

impl SignedNode {
    /// Starts a node whose zone `example` is signed.
    pub(super) fn start(change: impl FnOnce(&mut Config)) -> Self {
        Self::start_in(tempfile::tempdir().expect("a folder"), change)
    }

    /// Starts a node with the keys of this one, as the folder is copied once.
    pub(super) fn start_another(&self, change: impl FnOnce(&mut Config)) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let keys = folder.path().join("keys");
        fs::create_dir(&keys).expect("writable");
        for entry in fs::read_dir(self.folder().join("keys")).expect("there") {
            let entry = entry.expect("readable");
            fs::copy(entry.path(), keys.join(entry.file_name())).expect("copied");
        }
        Self::start_in(folder, change)
    }

    fn start_in(folder: tempfile::TempDir, change: impl FnOnce(&mut Config)) -> Self {
        let path = |name: &str| folder.path().join(name);
        fs::create_dir(path("zones")).expect("writable");
        fs::write(path("zones/example.zone"), ZONE).expect("writable");
        fs::write(path("zones/child.example.zone"), CHILD).expect("writable");
        fs::write(path("fleet.toml"), FLEET).expect("writable");
        fs::write(path("places.mmdb"), from_lines(LINES, 0).expect("good")).expect("writable");
        // No step of a roll-over waits.
        let at_once = "[dnssec]\nkeys = \"keys\"\ndnskey_ttl = \"0s\"\nds_ttl = \"0s\"\nttl_max = \"0s\"\nmargin = \"0s\"\n";
        fs::write(path("at-once.toml"), at_once).expect("writable");
        if !path("keys").exists() {
            keys(folder.path(), &["generate", "example"]);
        }
        Authority::new().certify(folder.path());

        let local: SocketAddr = ([127, 0, 0, 1], 0).into();
        let mut config = Config::default();
        (config.listen.udp, config.listen.tcp) = (vec![local], vec![local]);
        config.zones.folder = Some(path("zones"));
        config.places.places = vec![path("places.mmdb")];
        config.fleet.file = Some(path("fleet.toml"));
        // Nobody is there.
        config.probe.enabled = false;
        config.dnssec.keys = Some(path("keys"));
        config.dnssec.look_every = Duration::from_millis(50);
        let encrypted = &mut config.encrypted;
        (encrypted.dot, encrypted.doh) = (vec![local], vec![local]);
        (encrypted.doq, encrypted.doh3) = (vec![local], vec![local]);
        encrypted.certificate = Some(path("dns.crt"));
        encrypted.key = Some(path("dns.key"));
        encrypted.look_every = Duration::from_millis(50);
        change(&mut config);

        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        let process = Process::for_test();
        let node = runtime.block_on(Node::start(&config, &process)).expect("it starts");
        let served = node.serve();
        let watched = process.clone();
        runtime.spawn(async move {
            let ended = served.await;
            assert!(ended.is_ok() && watched.drain().is_started(), "{ended:?}");
        });
        let node = Self { folder, process, runtime };
        node.wait("the node is ready", || node.process.is_ready());
        node
    }

    pub(super) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Where a listener is: udp, tcp, dot, doh, doq, doh3.
    pub(super) fn address(&self, listener: &str) -> SocketAddr {
        self.process.listeners()[listener]
    }

    /// What a metric says.
    pub(super) fn metric(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let families = self.process.registry().gather();
        let family = families.iter().find(|family| family.name() == name);
        let metrics = family.map(|family| family.get_metric()).unwrap_or_default();
        let has = |metric: &prometheus::proto::Metric, (name, value): &(&str, &str)| {
            metric.get_label().iter().any(|label| label.name() == *name && label.value() == *value)
        };
        let found = metrics.iter().find(|metric| labels.iter().all(|label| has(metric, label)));
        found
            .map_or(0.0, |metric| metric.get_counter().get_value() + metric.get_gauge().get_value())
    }

    pub(super) fn block_on<T>(&self, future: impl Future<Output = T>) -> T {
        self.runtime.block_on(future)
    }

    pub(super) fn drain(&self) {
        self.process.drain().begin();
    }

    /// Waits for a condition, at most as long as the slowest machine takes.
    pub(super) fn wait(&self, what: &str, is_so: impl Fn() -> bool) {
        let until = Instant::now() + Duration::from_secs(90);
        while !is_so() {
            assert!(Instant::now() < until, "not in a minute and a half: {what}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Runs `tidegate-geo keys` on the node's keys, with a config by which nothing has to be waited for.
    pub(super) fn keys(&self, args: &[&str]) -> String {
        keys(self.folder.path(), args)
    }

    /// The output of kdig asking by UDP.
    pub(super) fn kdig(&self, args: &[&str]) -> String {
        self.kdig_at("udp", args)
    }

    /// The output of kdig asking a listener.
    pub(super) fn kdig_at(&self, listener: &str, args: &[&str]) -> String {
        let port = self.address(listener).port().to_string();
        let output = Command::new("kdig")
            .args(["@127.0.0.1", "-p", &port, "+retry=0", "+timeout=20"])
            .args(args)
            .output()
            .expect("kdig");
        text(&output)
    }

    /// The output of delv asking by UDP, believing the keys of an anchor file alone.
    pub(super) fn delv(&self, anchors: &Path, name: &str, kind: &str) -> String {
        let port = self.address("udp").port().to_string();
        let output = Command::new("delv")
            .args(["@127.0.0.1", "-p", &port, "-a"])
            .arg(anchors)
            .args(["+root=example", name, kind])
            .output()
            .expect("delv");
        text(&output)
    }

    /// Writes an anchor file of the DS records that the parent is to have.
    pub(super) fn anchors(&self, name: &str) -> PathBuf {
        let path = self.folder().join(name);
        let mut anchors = String::from("trust-anchors {\n");
        for line in self.keys(&["ds", "example"]).lines() {
            let fields: Vec<&str> = line.split_whitespace().collect();
            let [_, _, _, tag, algorithm, digest, text] = fields[..] else { panic!("{line}") };
            anchors.push_str(&format!(
                "  example. static-ds {tag} {algorithm} {digest} \"{text}\";\n"
            ));
        }
        anchors.push_str("};\n");
        fs::write(&path, anchors).expect("writable");
        path
    }
}

impl Drop for SignedNode {
    fn drop(&mut self) {
        self.process.drain().begin();
    }
}

impl Authority {
    pub(super) fn new() -> Self {
        let mut params = rcgen::CertificateParams::default();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        params.distinguished_name.push(rcgen::DnType::CommonName, "Tidegate test");
        let key = rcgen::KeyPair::generate().expect("a key");
        let certificate = params.self_signed(&key).expect("a certificate");
        Self { key, certificate }
    }

    /// Writes ca.crt, dns.crt and dns.key for `dns.test`.
    pub(super) fn certify(&self, folder: &Path) {
        let params = rcgen::CertificateParams::new(vec!["dns.test".to_owned()]).expect("a name");
        let key = rcgen::KeyPair::generate().expect("a key");
        let issuer =
            rcgen::Issuer::from_ca_cert_der(self.certificate.der(), &self.key).expect("good");
        let leaf = params.signed_by(&key, &issuer).expect("signed");
        for (name, content) in [
            ("ca.crt", self.certificate.pem()),
            ("dns.key", key.serialize_pem()),
            ("dns.crt", leaf.pem()),
        ] {
            let beside = folder.join(format!("{name}.new"));
            fs::write(&beside, content).expect("writable");
            fs::rename(&beside, folder.join(name)).expect("writable");
        }
    }
}

/// Whether a tool is there; says so where it is not.
pub(super) fn has(tool: &str, package: &str) -> bool {
    let is_there = Command::new(tool).arg("-V").output().is_ok();
    if !is_there {
        // Whoever reads the tests must see it.
        #[allow(clippy::print_stderr)]
        {
            eprintln!("SKIPPED: {tool} is not installed (Debian: {package})");
        }
    }
    is_there
}

fn keys(folder: &Path, args: &[&str]) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tidegate-geo"));
    let command = command.current_dir(folder).args(["keys", "--config", "at-once.toml"]).args(args);
    let output = command.output().expect("the program");
    assert!(output.status.success(), "{args:?}: {}", text(&output));
    String::from_utf8(output.stdout).expect("text")
}

fn text(output: &Output) -> String {
    let both = [&output.stdout[..], &output.stderr].concat();
    String::from_utf8_lossy(&both).into_owned()
}

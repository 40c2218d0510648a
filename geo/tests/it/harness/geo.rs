//! A node in this process.

use std::{fs, net::SocketAddr, path::Path, time::UNIX_EPOCH};

use tempfile::TempDir;
use tidegate_chassis::{Process, config};
use tidegate_geo::{config::Config, locate::write::from_lines, node::Node};
use tokio::task::JoinHandle;

/// A node that serves `example.test`, with PoPs in Frankfurt and Sydney; 10.0.0.0/16 is near the first, 10.1.0.0/16 near
/// the second.
pub(crate) struct TestGeo {
    /// Where its files are: `zones/example.test.zone`, `places.mmdb`, `fleet.toml`.
    pub(crate) folder: TempDir,
    /// Its UDP socket; TCP has the same port.
    pub(crate) address: SocketAddr,
    process: Process,
    served: Option<JoinHandle<anyhow::Result<()>>>,
}

impl TestGeo {
    /// Starts a node with these lines more in its configuration.
    pub(crate) async fn start(more: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        write_files(folder.path());
        let config: Config =
            config::from_toml(&configuration(folder.path(), more)).expect("a good configuration");
        let process = Process::for_test();
        let node = Node::start(&config, &process).await.expect("a node");
        let address = process.listeners()["udp"];
        let served = Some(tokio::spawn(node.serve()));
        Self { folder, address, process, served }
    }

    /// Changes its zone.
    pub(crate) fn write_zone(&self, text: &str) {
        write_zone(self.folder.path(), text);
    }

    /// Drains it and waits for its end.
    pub(crate) async fn end(mut self) {
        self.process.drain().begin();
        let served = self.served.take().expect("it ends once");
        let ended = tokio::time::timeout(super::WAIT, served).await.expect("it ends in time");
        ended.expect("it does not panic").expect("it ends well");
    }
}

/// The file of the zone, as editors and deployments write it: in one step.
pub(crate) fn write_zone(folder: &Path, text: &str) {
    let file = folder.join("zones/example.test.zone");
    let beside = file.with_extension("new");
    fs::write(&beside, text).and_then(|()| fs::rename(beside, file)).expect("writable");
}

/// The files of a node.
pub(crate) fn write_files(folder: &Path) {
    fs::create_dir(folder.join("zones")).expect("writable");
    let places = from_lines(PLACES, UNIX_EPOCH.elapsed().map_or(0, |now| now.as_secs()));
    fs::write(folder.join("places.mmdb"), places.expect("good lines")).expect("writable");
    fs::write(folder.join("fleet.toml"), FLEET).expect("writable");
    fs::write(folder.join("zones/example.test.zone"), ZONE).expect("writable");
}

/// The configuration of a node with these files.
pub(crate) fn configuration(folder: &Path, more: &str) -> String {
    let folder = folder.display();
    // A section that `more` has is left to it.
    let base = [
        ("listen", "udp = [\"127.0.0.1:0\"]\ntcp = [\"127.0.0.1:0\"]\n".to_owned()),
        ("zones", format!("folder = \"{folder}/zones\"\ncheck_every = \"20ms\"\n")),
        ("places", format!("places = \"{folder}/places.mmdb\"\n")),
        ("fleet", format!("file = \"{folder}/fleet.toml\"\n")),
        // Nobody is there.
        ("probe", "enabled = false\n".to_owned()),
    ];
    let sections = base.into_iter().map(|(name, keys)| {
        let (own, _) = section(more, name);
        format!("[{name}]\n{keys}{own}")
    });
    let mut rest = more.to_owned();
    for name in ["listen", "zones", "places", "fleet", "probe"] {
        rest = section(&rest, name).1;
    }
    sections.collect::<String>() + &rest
}

/// The keys of a section, and the text without it.
fn section(text: &str, name: &str) -> (String, String) {
    let header = format!("[{name}]\n");
    let Some(first) = text.find(&header) else { return (String::new(), text.to_owned()) };
    let keys = &text[first + header.len()..];
    let end = keys.find("\n[").map_or(keys.len(), |end| end + 1);
    (keys[..end].to_owned(), format!("{}{}", &text[..first], &keys[end..]))
}

const PLACES: &str = "\
10.0.0.0/16,DE,50.11,8.68,Frankfurt
10.1.0.0/16,AU,-33.87,151.21,Sydney
127.0.0.0/8,DE,50.11,8.68,Frankfurt
2001:db8::/32,AU,-33.87,151.21,Sydney
";

const FLEET: &str = r#"
[[pop]]
id = "fra"
latitude = 50.11
longitude = 8.68
capacity = 100.0
addresses = ["192.0.2.1", "192.0.2.2", "2001:db8::1"]

[[pop]]
id = "syd"
latitude = -33.87
longitude = 151.21
capacity = 100.0
addresses = ["198.51.100.1"]
"#;

/// The zone that a node begins with.
pub(crate) const ZONE: &str = "\
$TTL 300
@ SOA ns1 hostmaster 7 3600 600 86400 60
@ NS ns1
@ MX 10 mail
ns1 A 192.0.2.53
mail A 192.0.2.25
_steer.www TXT \"alpn=h3,h2\"
alias CNAME www
sub NS ns.sub
ns.sub A 192.0.2.84
big TXT \"one\"
";

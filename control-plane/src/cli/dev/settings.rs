//! The configuration file of each program of the system, written anew at every start.
//!
//! Only what differs from a program's defaults stands here: addresses, files, secrets' files, neighbours.

use std::{
    fs,
    net::{Ipv6Addr, SocketAddr, TcpListener},
    path::Path,
};

use anyhow::{Context, bail};
use serde_json::{Value, json};

use super::{
    layout::Layout,
    ports::Ports,
    steering::{self, PATHWAY, POLICY, SITES, STEERING_HOST},
};

/// Where the programs meet: the parts of the configurations that two of them share.
pub(super) struct Settings<'a> {
    pub(super) layout: &'a Layout,
    pub(super) ports: &'a Ports,
    pub(super) web_root: Option<&'a Path>,
    /// `PROGRAM:KEY=VALUE` from the command line.
    pub(super) overrides: &'a [String],
}

impl Settings<'_> {
    pub(super) fn control(&self) -> Value {
        json!({
            "process": self.process("control"),
            "data_dir": self.layout.state("control"),
            "listen": {
                "api": self.ports.address("control-api"),
                "sync": self.ports.address("control-sync"),
                "names": ["localhost", "127.0.0.1"],
            },
        })
    }

    pub(super) fn origin(&self) -> Value {
        let mut origin = json!({
            "process": self.process("origin"),
            "database": format!("sqlite:{}", self.layout.state("origin/origin.db").display()),
            "object_store": self.object_store(),
            "listen": {
                "http": self.ports.address("origin"),
                "internal": self.ports.address("origin-internal"),
            },
            "auth": { "tokens_file": self.layout.secret("origin-tokens") },
            "delivery": { "steering": {
                "server_uri": self.steering_url(),
                "pathway": PATHWAY,
            } },
            "upload": { "spool_dir": self.layout.state("origin/spool") },
            "package": { "token_file": self.layout.secret("packager-token") },
            "purge": {
                "control_plane": format!("https://localhost:{}", self.ports.address("control-api").port()),
                "token_file": self.layout.secret("purge-token"),
                "ca_file": self.layout.secret("control-ca.pem"),
            },
        });
        if let Some(web_root) = self.web_root {
            origin["watch"] = json!({ "web_root": web_root });
        }
        origin
    }

    /// Where players ask to be steered: at whichever PoP lives.
    pub(super) fn steering_url(&self) -> String {
        let port = self.ports.address(STEERING_PORT).port();
        format!("https://{STEERING_HOST}:{port}/steering/{POLICY}")
    }

    pub(super) fn packager(&self) -> Value {
        json!({
            "process": self.process("packager"),
            "object_store": self.object_store(),
            "scratch": self.layout.state("packager"),
            "origin": {
                "url": format!("http://{}", self.ports.address("origin-internal")),
                "token_file": self.layout.secret("packager-token"),
            },
        })
    }

    pub(super) fn geo(&self) -> Value {
        let dns = self.ports.address("geo-dns");
        json!({
            "process": self.process("geo"),
            "listen": { "udp": [dns], "tcp": [dns] },
            "steering": { "listen": self.ports.address("geo-steering") },
            "places": { "places": self.layout.state("geo/places.mmdb"), "home": steering::home() },
            "control": {
                "urls": [format!("https://localhost:{}", self.ports.address("control-api").port())],
                "token_file": self.layout.secret("geo-token"),
                "ca_file": self.layout.secret("control-ca.pem"),
                "data": self.layout.state("geo"),
            },
            "probe": { "ca_file": self.layout.ca_certificate() },
        })
    }

    /// Where a PoP serves HTTPS: on this machine's own name, and where DNS and steering say that it is. There every PoP has
    /// the port of the first, since a player that changes over takes its port with it.
    fn https(&self, pop: &str) -> Vec<SocketAddr> {
        let own = self.ports.address(&format!("{pop}-https"));
        let mut all = both_families(own);
        if let Some(site) = steering::site(pop) {
            let first = self.ports.address(&format!("{}-https", SITES[0].pop));
            let mut ports = vec![first.port(), own.port()];
            ports.dedup();
            all.extend(ports.into_iter().map(|port| SocketAddr::from((site.address(), port))));
        }
        let port = self.ports.address(STEERING_PORT).port();
        all.extend(steering::steering_address(pop, port, has_v6()));
        all
    }

    pub(super) fn pop(&self, name: &str) -> Value {
        json!({
            "process": self.process(name),
            "listen": {
                "http": both_families(self.ports.address(&format!("{name}-http"))),
                "https": self.https(name),
                "tls": { "certificate": self.layout.pop_certificate(), "key": self.layout.pop_key() },
            },
            "control": {
                "endpoints": [format!("https://localhost:{}", self.ports.address("control-sync").port())],
                "ca": self.layout.secret("control-ca.pem"),
                "state_dir": self.layout.state(name),
                "node": format!("{name}-1"),
                "enrolment_token_file": self.layout.secret(&format!("{name}-enrolment-token")),
                // All of this machine is at one place: what is measured here would say that the PoPs are, too.
                "round_trips": false,
            },
        })
    }

    /// Writes a program's configuration; gives back the arguments that make it read it.
    pub(super) fn write(&self, name: &str, settings: &Value) -> anyhow::Result<Vec<String>> {
        let path = self.layout.config(name);
        let text = toml::to_string(settings).context("settings are plain data")?;
        fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
        let mut arguments = vec!["--config".to_owned(), path.display().to_string()];
        arguments.extend(self.overrides_of(name)?);
        Ok(arguments)
    }

    fn overrides_of(&self, name: &str) -> anyhow::Result<Vec<String>> {
        let mut found = Vec::new();
        for text in self.overrides {
            let Some((program, setting)) = text.split_once(':') else {
                bail!("--set {text:?} is not PROGRAM:KEY=VALUE");
            };
            if program == name {
                found.extend(["--set".to_owned(), setting.to_owned()]);
            }
        }
        Ok(found)
    }

    fn process(&self, name: &str) -> Value {
        json!({
            "admin": self.ports.address(&format!("{name}-admin")),
            "log_format": "text",
            "ready_file": self.layout.ready(name),
            // Short: a player on the terminal's machine is not worth a long wait after Ctrl-C.
            "drain_grace": "5s",
        })
    }

    fn object_store(&self) -> String {
        format!("file://{}", self.layout.state("objects").display())
    }
}

/// The names of all ports.
pub(super) fn port_names(pops: &[&str]) -> Vec<String> {
    let mut names: Vec<_> = FIXED_PORTS.map(str::to_owned).into();
    for pop in pops {
        names.extend(["http", "https", "admin"].map(|what| format!("{pop}-{what}")));
    }
    names
}

/// `localhost` may mean either family, so both are served where this machine has both.
fn both_families(address: SocketAddr) -> Vec<SocketAddr> {
    let v6 = SocketAddr::from((Ipv6Addr::LOCALHOST, address.port()));
    if has_v6() { vec![address, v6] } else { vec![address] }
}

/// Whether this machine has an IPv6 address for itself.
fn has_v6() -> bool {
    TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).is_ok()
}

/// Where both PoPs serve the host of steering, each at another address.
const STEERING_PORT: &str = "steering-https";
const FIXED_PORTS: [&str; 11] = [
    "control-api",
    "control-sync",
    "control-admin",
    "geo-dns",
    "geo-steering",
    "geo-admin",
    "origin",
    "origin-internal",
    "origin-admin",
    "packager-admin",
    STEERING_PORT,
];

//! The sections of the configuration that say what the map is made from.
//!
//! Invariant: a token goes to nobody but a control plane over TLS, or one on this machine.

use std::{path::PathBuf, time::Duration};

use anyhow::{Context, ensure};
use serde::{Deserialize, Deserializer, Serialize};
use tidegate_contract::id::PopId;

use crate::place::Place;

/// The most replicas of the control plane that are followed.
pub const URLS_MAX: usize = 8;
/// The most nodes whose load is read.
pub const LOAD_URLS_MAX: usize = 32;

/// The section `[control]`: the control plane that tells of the fleet.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ControlConfig {
    /// Every replica of it, `https://control.example:8443`; all of them are followed. Default none: the fleet comes from
    /// a file.
    pub urls: Vec<String>,
    /// A file with a token of the scope `geo`, which only its owner may read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token_file: Option<PathBuf>,
    /// PEM of the authority of its certificate. Default: those that the system trusts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<PathBuf>,
    /// The folder of what is kept, so that a start without a control plane serves the last map. Default none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data: Option<PathBuf>,
}

/// The section `[fleet]`: PoPs from a file.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FleetConfig {
    /// TOML of `[[pop]]` tables; read again whenever it changes. Default none: the fleet comes from a control plane.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<PathBuf>,
}

/// The section `[places]`: where addresses are. Files are read again whenever they change.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PlacesConfig {
    /// Files of cities or countries, MaxMind DB, or folders of such; the first that says something of an address counts.
    /// Default none: every client is taken to be at home.
    #[serde(deserialize_with = "one_or_more")]
    pub places: Vec<PathBuf>,
    /// Files of networks (autonomous systems), or folders of such. Default none.
    #[serde(deserialize_with = "one_or_more")]
    pub networks: Vec<PathBuf>,
    /// Latitude and longitude of where clients are taken to be that nobody can locate. Default: at the own PoP, or else
    /// at the first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub home: Option<[f64; 2]>,
}

/// The section `[own]`: the PoP that this node stands in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct OwnConfig {
    /// Its id. Default none: when nothing is heard for long, the last map goes on being served.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pop: Option<PopId>,
    /// After so long without a word of the control plane clients get this PoP. Default "5m".
    #[serde(with = "humantime_serde")]
    pub alone_after: Duration,
    /// The metrics of its nodes, `http://127.0.0.1:9000/metrics`: what they send is its load, by which some clients are
    /// sent elsewhere. Default none: nobody is.
    pub load: Vec<String>,
}

/// The section `[probe]`: this node's own eyes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ProbeConfig {
    /// Whether PoPs are asked at all. Default true.
    pub enabled: bool,
    /// How often each address is asked. Default "500ms".
    #[serde(with = "humantime_serde")]
    pub interval: Duration,
    /// How long an answer may take. Default "1s".
    #[serde(with = "humantime_serde")]
    pub timeout: Duration,
    /// So many failures in a row, and an address is dead. Default 2.
    pub failures: u32,
    /// So many answers in a row, and it lives again. Default 3.
    pub answers: u32,
    /// The name that is asked for at PoPs of which none is known. Default "localhost".
    pub name: String,
    /// The port at PoPs of which none is known. Default 443.
    pub port: u16,
    /// PEM of the authority of their certificates. Default none: any certificate is taken, since this looks for life.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<PathBuf>,
}

impl Default for OwnConfig {
    fn default() -> Self {
        Self { pop: None, alone_after: Duration::from_secs(300), load: Vec::new() }
    }
}

impl Default for ProbeConfig {
    fn default() -> Self {
        Self {
            enabled: true,
            interval: Duration::from_millis(500),
            timeout: Duration::from_secs(1),
            failures: 2,
            answers: 3,
            name: "localhost".to_owned(),
            port: 443,
            ca_file: None,
        }
    }
}

impl ControlConfig {
    /// Whether the values make sense together.
    ///
    /// # Errors
    /// What does not, with its key.
    pub fn check(&self) -> anyhow::Result<()> {
        ensure!(self.urls.len() <= URLS_MAX, "control.urls has more than {URLS_MAX}");
        for url in &self.urls {
            let parsed =
                reqwest::Url::parse(url).with_context(|| format!("control.urls: {url}"))?;
            let is_here = matches!(parsed.host_str(), Some("127.0.0.1" | "[::1]" | "localhost"));
            ensure!(
                parsed.scheme() == "https" || (parsed.scheme() == "http" && is_here),
                "control.urls: {url} is not https, and the token would be seen on the way"
            );
        }
        ensure!(
            self.urls.is_empty() || self.token_file.is_some(),
            "control.token_file is missing; the control plane answers to a token alone"
        );
        Ok(())
    }
}

impl PlacesConfig {
    /// Where clients are that nobody can locate.
    ///
    /// # Errors
    /// When that is no place.
    pub fn home(&self) -> anyhow::Result<Option<Place>> {
        let place = self.home.map(|[latitude, longitude]| Place::new(latitude, longitude));
        place.transpose().context("places.home")
    }

    /// As [`ControlConfig::check`].
    ///
    /// # Errors
    /// As [`ControlConfig::check`].
    pub fn check(&self) -> anyhow::Result<()> {
        ensure!(
            self.networks.is_empty() || !self.places.is_empty(),
            "places.networks parts the prefixes of places.places, which is missing"
        );
        self.home().map(|_| ())
    }
}

impl OwnConfig {
    /// As [`ControlConfig::check`].
    ///
    /// # Errors
    /// As [`ControlConfig::check`].
    pub fn check(&self) -> anyhow::Result<()> {
        ensure!(self.load.len() <= LOAD_URLS_MAX, "own.load has more than {LOAD_URLS_MAX}");
        ensure!(
            self.load.is_empty() || self.pop.is_some(),
            "own.load is of no use without own.pop"
        );
        for url in &self.load {
            reqwest::Url::parse(url).with_context(|| format!("own.load: {url}"))?;
        }
        ensure!(
            (Duration::from_secs(10)..=Duration::from_secs(86_400)).contains(&self.alone_after),
            "own.alone_after is from 10s to 1day"
        );
        Ok(())
    }
}

impl ProbeConfig {
    /// As [`ControlConfig::check`].
    ///
    /// # Errors
    /// As [`ControlConfig::check`].
    pub fn check(&self) -> anyhow::Result<()> {
        ensure!(
            (Duration::from_millis(50)..=Duration::from_secs(60)).contains(&self.interval),
            "probe.interval is from 50ms to 60s"
        );
        ensure!(
            (Duration::from_millis(50)..=Duration::from_secs(60)).contains(&self.timeout),
            "probe.timeout is from 50ms to 60s"
        );
        ensure!((1..=100).contains(&self.failures), "probe.failures is from 1 to 100");
        ensure!((1..=100).contains(&self.answers), "probe.answers is from 1 to 100");
        ensure!(
            rustls_pki_types::ServerName::try_from(self.name.as_str()).is_ok(),
            "probe.name is no name: {:?}",
            self.name
        );
        Ok(())
    }
}

/// A list, or what would be the only entry of one.
fn one_or_more<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<PathBuf>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Written {
        One(PathBuf),
        More(Vec<PathBuf>),
    }
    Ok(match Written::deserialize(deserializer)? {
        Written::One(path) => vec![path],
        Written::More(paths) => paths,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_goes_to_nobody_who_could_be_overheard() {
        for (url, is_good) in [
            ("https://control.example:8443", true),
            ("http://127.0.0.1:8080", true),
            ("http://[::1]:8080", true),
            ("http://control.example", false),
            ("http://127.0.0.1.example", false),
            ("ftp://127.0.0.1", false),
            ("control.example", false),
        ] {
            let urls = vec![url.to_owned()];
            let token_file = Some("token".into());
            let config = ControlConfig { urls, token_file, ..ControlConfig::default() };
            assert_eq!(config.check().is_ok(), is_good, "{url}");
        }
        let urls = vec!["https://control.example".to_owned()];
        assert!(ControlConfig { urls, ..ControlConfig::default() }.check().is_err(), "no token");
    }

    #[test]
    fn places_are_a_file_or_several() {
        for (text, expected) in
            [("", &[][..]), ("places = \"a\"", &["a"]), ("places = [\"a\", \"b\"]", &["a", "b"])]
        {
            let config: PlacesConfig = toml::from_str(text).expect(text);
            assert_eq!(config.places, expected.iter().map(PathBuf::from).collect::<Vec<_>>());
        }
        let config: PlacesConfig = toml::from_str("networks = \"a\"").expect("good");
        assert!(config.check().is_err(), "networks of no places");
    }

    #[test]
    fn the_defaults_are_good_and_limits_hold() {
        ControlConfig::default().check().expect("good");
        PlacesConfig::default().check().expect("good");
        OwnConfig::default().check().expect("good");
        ProbeConfig::default().check().expect("good");
        let bad = ProbeConfig { interval: Duration::from_millis(1), ..ProbeConfig::default() };
        assert!(bad.check().is_err());
        assert!(ProbeConfig { failures: 0, ..ProbeConfig::default() }.check().is_err());
        assert!(
            PlacesConfig { home: Some([91.0, 0.0]), ..PlacesConfig::default() }.check().is_err()
        );
        let load = vec!["http://127.0.0.1:1/metrics".to_owned()];
        assert!(OwnConfig { load, ..OwnConfig::default() }.check().is_err());
    }
}

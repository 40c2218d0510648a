//! The node's settings, part by part; every part owns its own.
//!
//! Invariant: the reference configuration in `deploy/config` says the same as the defaults here.

use serde::{Deserialize, Serialize};
use tidegate_chassis::{ProcessConfig, ProgramConfig};

use crate::{dns, standing, zone};

/// Everything that can be set.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Where queries are taken, and how many at once.
    pub listen: dns::config::Listen,
    /// How UDP is served.
    pub fast: dns::fast::config::Config,
    /// What is answered beside the records themselves.
    pub answers: dns::config::Answers,
    /// Where encrypted queries are taken, and how many at once.
    pub encrypted: dns::encrypted::config::Config,
    /// How zones are signed.
    pub dnssec: dns::sign::config::Config,
    /// Who is who it says.
    pub cookies: dns::cookie::Config,
    /// How much goes to one network over UDP.
    pub rate: dns::rate::Config,
    /// Where zones come from.
    pub zones: zone::config::Config,
    /// Where clients are.
    pub places: standing::Places,
    /// The PoPs.
    pub fleet: standing::FleetFile,
    /// Admin port, logs, drain.
    pub process: ProcessConfig,
}

impl ProgramConfig for Config {
    fn check(&self) -> anyhow::Result<()> {
        self.listen.check()?;
        self.fast.check()?;
        self.answers.check()?;
        self.encrypted.check()?;
        self.dnssec.check()?;
        self.rate.check()?;
        self.zones.check()
    }

    fn process(&self) -> &ProcessConfig {
        &self.process
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reference_file_is_the_default() {
        let text = include_str!("../../deploy/config/tidegate-geo.toml");
        tidegate_chassis::config::check_reference::<Config>(text).unwrap();
    }
}

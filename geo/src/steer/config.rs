//! Section `[steering]`.

use std::{collections::BTreeMap, net::SocketAddr, path::PathBuf, time::Duration};

use anyhow::{Context, ensure};
use serde::{Deserialize, Serialize};
use tidegate_contract::{
    network::Network, resource::ResourceName, resource_spec::SteeringPolicySpec,
};

/// Steering manifests: where they are served, who may say for whom it asks, policies.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SteeringConfig {
    /// Where steering manifests are served, to the edges before it; nowhere without.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub listen: Option<SocketAddr>,
    /// PEM certificate chain; clear text without it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls_cert: Option<PathBuf>,
    /// PEM private key that belongs to it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls_key: Option<PathBuf>,
    /// Who is believed when it says for whom it asks (`X-Forwarded-For`): the edges.
    pub trusted: Vec<Network>,
    /// Open connections; more wait in the kernel's queue.
    pub connections_max: usize,
    /// How long a TLS handshake and a request head may take.
    #[serde(with = "humantime_serde")]
    pub header_timeout: Duration,
    /// Policies by name, beside those that the control plane tells.
    pub policies: BTreeMap<ResourceName, PolicyConfig>,
}

/// A policy as written down: what the control plane's resource of this kind holds.
pub type PolicyConfig = SteeringPolicySpec;

impl SteeringConfig {
    /// Checks what the types cannot.
    ///
    /// # Errors
    /// Names the setting.
    pub fn check(&self) -> anyhow::Result<()> {
        ensure!(self.connections_max > 0, "steering.connections_max must be at least 1");
        ensure!(!self.header_timeout.is_zero(), "steering.header_timeout must not be 0");
        ensure!(
            self.tls_cert.is_some() == self.tls_key.is_some(),
            "steering.tls_cert and steering.tls_key belong together"
        );
        ensure!(
            self.trusted.len() <= TRUSTED_MAX,
            "steering.trusted has at most {TRUSTED_MAX} networks"
        );
        for (name, policy) in &self.policies {
            policy
                .check()
                .map_err(anyhow::Error::msg)
                .with_context(|| format!("steering.policies.{name}"))?;
        }
        Ok(())
    }
}

impl Default for SteeringConfig {
    fn default() -> Self {
        let loopback = ["127.0.0.0/8", "::1/128"].map(|text| text.parse().expect("a network"));
        Self {
            listen: None,
            tls_cert: None,
            tls_key: None,
            trusted: loopback.into(),
            connections_max: 1024,
            header_timeout: Duration::from_secs(10),
            policies: BTreeMap::new(),
        }
    }
}

/// More are looked through for every question.
const TRUSTED_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"
        listen = "127.0.0.1:0"
        trusted = ["192.0.2.0/24"]

        [policies.video]
        ttl = "20s"

        [[policies.video.pathways]]
        id = "main"
        pops = []

        [[policies.video.pathways]]
        id = "fra"
        pops = ["fra"]
        host = "fra.cdn.example"
    "#;

    #[test]
    fn policies_are_read_and_what_is_wrong_is_named() {
        let config: SteeringConfig = toml::from_str(GOOD).expect("good");
        config.check().expect("good");
        assert_eq!(config.policies.len(), 1);
        for (change, with, name) in [
            ("20s", "1ms", "steering.policies.video"),
            ("fra.cdn.example", "fra.cdn.example:444", "steering.policies.video"),
            ("trusted", "connections_max = 0\ntrusted", "connections_max"),
            ("trusted", "tls_cert = \"c\"\ntrusted", "tls_key"),
        ] {
            let config: SteeringConfig =
                toml::from_str(&GOOD.replacen(change, with, 1)).expect(name);
            let error = config.check().expect_err(name).to_string();
            assert!(error.contains(name), "{error}");
        }
    }
}

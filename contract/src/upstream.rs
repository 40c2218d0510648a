//! A next hop towards the origin, and how a property's upstreams are treated.

use serde::{Deserialize, Serialize};

/// A next hop towards the origin.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Upstream {
    /// `host:port`.
    pub authority: String,
    /// TLS towards it; absent means clear text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<UpstreamTls>,
    /// The `Host` to send; absent means the host that the client asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
}

/// How an upstream's certificate is checked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UpstreamTls {
    /// The name that the certificate must carry, also sent as SNI.
    pub server_name: String,
    /// PEM of the authority that signed it; absent means the platform's authorities.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_pem: Option<String>,
}

/// How the upstreams of a property are asked, where the node's own settings are not to hold.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct UpstreamPolicy {}

impl Upstream {
    /// Checks that the authority is `host:port`; gives back the text that is not.
    ///
    /// # Errors
    /// The authority itself.
    pub fn check(&self) -> Result<(), String> {
        let port = self.authority.rsplit_once(':').and_then(|(_, port)| port.parse::<u16>().ok());
        let host = crate::purge::host_of(&self.authority);
        match (host, port) {
            (Some(_), Some(1..)) => Ok(()),
            _ => Err(self.authority.clone()),
        }
    }
}

//! A next hop towards the origin, and how a property's upstreams are treated.

use std::time::Duration;

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
pub struct UpstreamPolicy {
    /// Whether HTTP/2 is offered to upstreams with TLS. It is never spoken without TLS. Default auto.
    #[serde(skip_serializing_if = "H2::is_default")]
    pub h2: H2,
    /// When a second upstream is asked because the first is slow to answer. Default auto.
    #[serde(skip_serializing_if = "Hedge::is_default")]
    pub hedge: Hedge,
    /// How the origins are tried while nobody asks for anything; absent: they are judged by their answers alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub health: Option<HealthCheck>,
    /// Time to connect, TLS included; absent: the node's.
    #[serde(with = "humantime_serde", skip_serializing_if = "Option::is_none")]
    pub connect_timeout: Option<Duration>,
    /// Time from a request to the head of its answer; absent: the node's.
    #[serde(with = "humantime_serde", skip_serializing_if = "Option::is_none")]
    pub first_byte_timeout: Option<Duration>,
    /// Time between two pieces of an answer's body; absent: the node's.
    #[serde(with = "humantime_serde", skip_serializing_if = "Option::is_none")]
    pub read_timeout: Option<Duration>,
    /// Requests that may be under way to one upstream at the same time, each on a connection of its own or on a
    /// stream of H2; absent: the node's. Protects an origin that can do only so much.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connections_max: Option<u32>,
    /// Whether upstreams are told what clients claim in headers like `X-Original-URL`, `X-Real-IP`, `X-Forwarded-Port` or
    /// `X-HTTP-Method-Override`. No cache key has them, so that an application that believes one lets any client decide
    /// what everybody gets. Who the client is, its host and its scheme are always said by this node. Default false.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub client_claims: bool,
}

/// Whether HTTP/2 is offered.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum H2 {
    /// Offered; the upstream chooses.
    #[default]
    Auto,
    /// HTTP/1.1 alone.
    Off,
}

/// When a second upstream of the same kind is asked because the first has not begun to answer. Only requests that
/// may be repeated, and only as many as the node's budget for repeated requests allows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Hedge {
    /// Once it takes longer than 19 of 20 of its answers did lately.
    #[default]
    Auto,
    /// Never.
    Off,
    /// After this time.
    After(#[serde(with = "humantime_serde")] Duration),
}

/// A request that an upstream is sent now and then to learn whether it works.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HealthCheck {
    /// What is asked for, with GET: an absolute path, with a query if need be.
    pub path: String,
    /// Time between two requests. Default 5s.
    #[serde(with = "humantime_serde", default = "HealthCheck::interval")]
    pub interval: Duration,
    /// Time for the answer's head to come. Default 2s.
    #[serde(with = "humantime_serde", default = "HealthCheck::timeout")]
    pub timeout: Duration,
    /// The status that says "well"; absent: every one from 200 to 399.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// The `Host` to send, where the upstream names none; absent: the upstream's authority.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
}

/// Why an [`UpstreamPolicy`] is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UpstreamPolicyError {
    /// A time that is zero or longer than [`TIME_MAX`].
    #[error("upstream.{0} must be more than zero and at most an hour")]
    Time(&'static str),
    /// Health checks that come too often.
    #[error("upstream.health.interval must be at least a second")]
    Interval,
    /// A path that is not one.
    #[error(
        "upstream.health.path must be an absolute path of at most {PATH_BYTES_MAX} visible bytes"
    )]
    Path,
    /// A host that is not one.
    #[error("upstream.health.host is not a host name")]
    Host,
    /// A status that no final answer has.
    #[error("upstream.health.status must be from 200 to 599, it is {0}")]
    Status(u16),
    /// No request at all.
    #[error("upstream.connections_max must be more than zero")]
    Connections,
}

/// The longest time that may be set.
pub const TIME_MAX: Duration = Duration::from_secs(3600);
/// The longest path of a health check, in bytes.
pub const PATH_BYTES_MAX: usize = 1024;

impl UpstreamPolicy {
    /// Checks what the types cannot.
    ///
    /// # Errors
    /// The first [`UpstreamPolicyError`] found.
    pub fn check(&self) -> Result<(), UpstreamPolicyError> {
        let hedge = match self.hedge {
            Hedge::After(after) => Some(after),
            Hedge::Auto | Hedge::Off => None,
        };
        let health = self.health.as_ref();
        for (name, time) in [
            ("connect_timeout", self.connect_timeout),
            ("first_byte_timeout", self.first_byte_timeout),
            ("read_timeout", self.read_timeout),
            ("hedge.after", hedge),
            ("health.interval", health.map(|check| check.interval)),
            ("health.timeout", health.map(|check| check.timeout)),
        ] {
            if time.is_some_and(|time| time.is_zero() || time > TIME_MAX) {
                return Err(UpstreamPolicyError::Time(name));
            }
        }
        if self.connections_max == Some(0) {
            return Err(UpstreamPolicyError::Connections);
        }
        health.map_or(Ok(()), HealthCheck::check)
    }
}

impl HealthCheck {
    fn check(&self) -> Result<(), UpstreamPolicyError> {
        let is_path = self.path.starts_with('/')
            && self.path.len() <= PATH_BYTES_MAX
            && self.path.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#');
        if !is_path {
            return Err(UpstreamPolicyError::Path);
        }
        if self.interval < Duration::from_secs(1) {
            return Err(UpstreamPolicyError::Interval);
        }
        if self.host.as_deref().is_some_and(|host| crate::purge::host_of(host).is_none()) {
            return Err(UpstreamPolicyError::Host);
        }
        match self.status {
            Some(status) if !(200..600).contains(&status) => {
                Err(UpstreamPolicyError::Status(status))
            }
            _ => Ok(()),
        }
    }

    fn interval() -> Duration {
        Duration::from_secs(5)
    }

    fn timeout() -> Duration {
        Duration::from_secs(2)
    }
}

impl H2 {
    fn is_default(&self) -> bool {
        *self == Self::Auto
    }
}

impl Hedge {
    fn is_default(&self) -> bool {
        *self == Self::Auto
    }
}

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

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> UpstreamPolicy {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn a_policy_reads_as_it_is_written() {
        let policy = read(
            r#"{"h2":"off","hedge":{"after":"200ms"},"connections_max":8,
                "health":{"path":"/up?x=1","interval":"10s","status":204},"first_byte_timeout":"2s"}"#,
        );
        assert_eq!(policy.hedge, Hedge::After(Duration::from_millis(200)));
        assert_eq!(policy.health.as_ref().unwrap().timeout, Duration::from_secs(2));
        assert_eq!(policy.check(), Ok(()));
        assert_eq!(read(&serde_json::to_string(&policy).unwrap()), policy);
        assert_eq!(read("{}"), UpstreamPolicy::default());
        assert_eq!(serde_json::to_string(&UpstreamPolicy::default()).unwrap(), "{}");
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for (json, expected) in [
            (r#"{"hedge":{"after":"0s"}}"#, UpstreamPolicyError::Time("hedge.after")),
            (r#"{"read_timeout":"2h"}"#, UpstreamPolicyError::Time("read_timeout")),
            (r#"{"connections_max":0}"#, UpstreamPolicyError::Connections),
            (r#"{"health":{"path":"up"}}"#, UpstreamPolicyError::Path),
            (r#"{"health":{"path":"/a b"}}"#, UpstreamPolicyError::Path),
            (r#"{"health":{"path":"/","interval":"10ms"}}"#, UpstreamPolicyError::Interval),
            (r#"{"health":{"path":"/","status":100}}"#, UpstreamPolicyError::Status(100)),
            (r#"{"health":{"path":"/","host":"a b"}}"#, UpstreamPolicyError::Host),
        ] {
            assert_eq!(read(json).check(), Err(expected), "{json}");
        }
    }
}

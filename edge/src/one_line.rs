//! A whole configuration in one line of flags: a reverse proxy in front of any origin.
//!
//! Invariant: what a flag does not say keeps its default; the cache follows the origin's headers by the letter.

use std::net::SocketAddr;

use tidegate_contract::{
    id::PropertyId,
    property::{CachePolicy, Property, Upstream, UpstreamTls},
};
use toml::{Table, Value};

/// The flags.
#[derive(Debug, Clone, Default)]
pub struct OneLine {
    /// The origin for every host.
    pub origin: Option<String>,
    /// Addresses without TLS.
    pub http: Vec<SocketAddr>,
    /// Addresses with TLS.
    pub https: Vec<SocketAddr>,
    /// Whether to make a certificate.
    pub is_self_signed: bool,
}

/// Why the flags say nothing that can be served.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum FlagError {
    /// Not a URL of an origin.
    #[error("--origin: {0:?} is not http://host[:port] or https://host[:port]")]
    Origin(String),
}

impl OneLine {
    /// The configuration keys that the flags stand for.
    ///
    /// # Errors
    /// [`FlagError`] names the flag.
    pub fn overrides(&self) -> Result<Table, FlagError> {
        let mut listen = Table::new();
        for (key, addresses) in [("http", &self.http), ("https", &self.https)] {
            if !addresses.is_empty() {
                let texts = addresses.iter().map(|address| Value::from(address.to_string()));
                listen.insert(key.into(), Value::Array(texts.collect()));
            }
        }
        if self.is_self_signed {
            let tls = Table::from_iter([("self_signed".to_owned(), Value::from(true))]);
            listen.insert("tls".into(), tls.into());
        }
        let mut overrides = Table::new();
        if !listen.is_empty() {
            overrides.insert("listen".into(), listen.into());
        }
        if let Some(origin) = &self.origin {
            let property = property(upstream(origin)?);
            let value = Value::try_from([property]).expect("a property is plain data");
            overrides.insert("property".into(), value);
        }
        Ok(overrides)
    }
}

fn property(origin: Upstream) -> Property {
    Property {
        cache: CachePolicy::by_the_letter(),
        ..Property::new(
            PropertyId::parse("default").expect("a plain id"),
            vec!["*".to_owned()],
            vec![origin],
        )
    }
}

/// The upstream of a URL. A host behind TLS is asked for by its own name, as its certificate is.
fn upstream(url: &str) -> Result<Upstream, FlagError> {
    let bad = || FlagError::Origin(url.to_owned());
    let uri: http::Uri = url.parse().map_err(|_| bad())?;
    let (host, is_plain) = match (uri.scheme_str(), uri.host()) {
        (Some("http"), Some(host)) => (host, true),
        (Some("https"), Some(host)) => (host, false),
        _ => return Err(bad()),
    };
    let has_user = uri.authority().is_some_and(|authority| authority.as_str().contains('@'));
    if has_user || !matches!(uri.path(), "" | "/") || uri.query().is_some() {
        return Err(bad());
    }
    let port = uri.port_u16().unwrap_or(if is_plain { 80 } else { 443 });
    let server_name = host.trim_matches(['[', ']']).to_owned();
    let upstream = Upstream {
        authority: format!("{host}:{port}"),
        tls: (!is_plain).then_some(UpstreamTls { server_name, ca_pem: None }),
        host: (!is_plain).then(|| uri.authority().map_or(host, |a| a.as_str()).to_owned()),
    };
    upstream.check().map_err(|_| bad())?;
    Ok(upstream)
}

#[cfg(test)]
mod tests {
    use tidegate_chassis::ProgramConfig;

    use super::*;
    use crate::config::Config;

    #[test]
    fn the_flags_make_a_configuration_that_can_serve() {
        let flags = OneLine {
            origin: Some("http://127.0.0.1:18000".into()),
            http: vec!["127.0.0.1:8080".parse().unwrap()],
            https: vec!["127.0.0.1:8443".parse().unwrap()],
            is_self_signed: true,
        };
        let config: Config = flags.overrides().unwrap().try_into().unwrap();
        config.check().unwrap();
        assert!(config.listen.tls.self_signed);
        let property = &config.property[0];
        assert_eq!(property.origins[0].authority, "127.0.0.1:18000");
        assert_eq!(property.cache.default_ttl, None, "nothing is kept unless the origin says so");
    }

    #[test]
    fn an_origin_is_a_bare_url() {
        let https = upstream("https://a.org").unwrap();
        assert_eq!(https.authority, "a.org:443");
        assert_eq!(https.host.as_deref(), Some("a.org"));
        assert_eq!(https.tls.unwrap().server_name, "a.org");
        assert_eq!(upstream("http://a.org/").unwrap().authority, "a.org:80");
        for bad in ["a.org", "ftp://a.org", "http://a.org/x", "http://", "http://u@a.org"] {
            assert!(upstream(bad).is_err(), "{bad}");
        }
    }
}

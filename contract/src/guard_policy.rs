//! Who may have what of a property: tokens, rates, methods, places, and what browsers of other sites may read.

use std::time::Duration;

use bytesize::ByteSize;
use serde::{Deserialize, Serialize};

pub use crate::guard_error::{GuardError, RATE_MAX};
use crate::network::{CountryCode, Network, Place};
pub use crate::token_policy::{
    Carriers, RenewalPolicy, SessionCookie, TokenAlgorithm, TokenKey, TokenKind, TokenPolicy,
    TokenSecret,
};

/// The most origins, methods or header names of one list.
pub const LIST_MAX: usize = 64;
/// The most entries of a property's table of places; larger ones belong into the node's own.
pub const PLACES_MAX: usize = 4096;

/// The rules at the door; by default everybody may have everything.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct GuardPolicy {
    /// Which tokens are asked for; absent means none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tokens: Option<TokenPolicy>,
    /// What pages of other origins may read; absent means that the origin's own headers decide.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cors: Option<CorsPolicy>,
    /// Methods that are let in; empty means all. A list with GET needs HEAD as well.
    pub methods: Vec<String>,
    /// Countries that are let in; absent means all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub geo: Option<GeoPolicy>,
    /// How much one client and one token may ask for.
    pub rates: RatePolicy,
}

/// What pages of other origins may read (the Fetch standard's CORS protocol).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CorsPolicy {
    /// `*` alone, or origins: `https://a.org`, `https://*.a.org`. Default `*`.
    pub origins: Vec<String>,
    /// Whether requests may carry cookies; not with `*`. Default false.
    pub credentials: bool,
    /// Methods beyond GET, HEAD and POST that a page may use. Default none.
    pub methods: Vec<String>,
    /// Request headers that a page may set. Default what players set: ranges, conditions, CMCD, the token.
    pub headers: Vec<String>,
    /// Response headers that a page may read. Default what players read: lengths, ranges, times, CMSD, Cache-Status.
    pub expose: Vec<String>,
    /// How long a browser may remember the answer to a preflight. Default 24h.
    #[serde(with = "humantime_serde")]
    pub max_age: Duration,
}

/// Countries. `deny` is asked first; with an empty `allow` everything else is let in.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct GeoPolicy {
    /// Countries that are let in.
    pub allow: Vec<CountryCode>,
    /// Countries that are not.
    pub deny: Vec<CountryCode>,
    /// Whether a client whose country is not known is let in. Default false.
    pub allow_unknown: bool,
    /// The request header in which a proxy in front says the country. Believed from `trusted` alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub header: Option<String>,
    /// Addresses of the proxies that are believed.
    pub trusted: Vec<Network>,
    /// Where addresses are, `192.0.2.0/24=DE`; the longest prefix wins. What is not in it is asked of the node.
    pub places: Vec<Place>,
}

/// Rates at the door.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RatePolicy {
    /// For one client: an IPv4 address or an IPv6 network of 64 bits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client: Option<Rate>,
    /// For one token, wherever it is used.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token: Option<Rate>,
}

/// How much is let through on one node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rate {
    /// Requests a second in the long run.
    pub requests_per_second: u32,
    /// Requests at once.
    pub burst: u32,
    /// Response bytes a second in the long run, ten seconds' worth at once. What was sent is counted afterwards: the
    /// next request waits. Absent means any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes_per_second: Option<ByteSize>,
}

impl GuardPolicy {
    /// Checks what the types cannot.
    ///
    /// # Errors
    /// The first [`GuardError`] found.
    pub fn check(&self) -> Result<(), GuardError> {
        check_names("methods", &self.methods)?;
        if let Some(tokens) = &self.tokens {
            tokens.check()?;
        }
        if let Some(cors) = &self.cors {
            cors.check()?;
        }
        if let Some(geo) = &self.geo {
            geo.check()?;
        }
        for (name, rate) in [("client", &self.rates.client), ("token", &self.rates.token)] {
            let is_good = |rate: &Rate| {
                (1..=RATE_MAX).contains(&rate.requests_per_second)
                    && (1..=RATE_MAX).contains(&rate.burst)
                    && rate.bytes_per_second.is_none_or(|bytes| bytes.as_u64() > 0)
            };
            if rate.as_ref().is_some_and(|rate| !is_good(rate)) {
                return Err(GuardError::Rate(name));
            }
        }
        Ok(())
    }

    /// The same with secrets taken out, to be shown.
    #[must_use]
    pub fn redacted(&self) -> Self {
        let mut shown = self.clone();
        for key in shown.tokens.iter_mut().flat_map(|tokens| &mut tokens.keys) {
            key.secret = key.secret.as_ref().map(TokenSecret::redacted);
        }
        shown
    }

    /// Puts secrets back that were taken out to be shown, from the policy that was shown.
    pub fn restore_secrets(&mut self, shown: &Self) {
        if let (Some(tokens), Some(shown)) = (&mut self.tokens, &shown.tokens) {
            tokens.restore_secrets(shown);
        }
    }
}

impl CorsPolicy {
    /// Whether every origin is let in.
    #[must_use]
    pub fn is_any(&self) -> bool {
        self.origins.iter().any(|origin| origin == "*")
    }

    fn check(&self) -> Result<(), GuardError> {
        if self.origins.is_empty() {
            return Err(GuardError::Empty("cors.origins"));
        }
        if self.origins.len() > LIST_MAX {
            return Err(GuardError::TooMany("cors.origins", self.origins.len()));
        }
        if self.is_any() {
            if self.origins.len() > 1 {
                return Err(GuardError::Origin("*".to_owned()));
            }
            if self.credentials {
                return Err(GuardError::Credentials);
            }
        } else if let Some(bad) = self.origins.iter().find(|origin| !is_origin(origin)) {
            return Err(GuardError::Origin(bad.clone()));
        }
        check_names("cors.methods", &self.methods)?;
        check_names("cors.headers", &self.headers)?;
        check_names("cors.expose", &self.expose)
    }
}

impl GeoPolicy {
    fn check(&self) -> Result<(), GuardError> {
        if self.places.len() > PLACES_MAX {
            return Err(GuardError::TooMany("geo.places", self.places.len()));
        }
        if self.trusted.len() > LIST_MAX {
            return Err(GuardError::TooMany("geo.trusted", self.trusted.len()));
        }
        if self.header.is_some() == self.trusted.is_empty() {
            return Err(GuardError::Trusted);
        }
        self.header.as_ref().map_or(Ok(()), |header| check_name(header))
    }
}

impl Default for CorsPolicy {
    fn default() -> Self {
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        Self {
            origins: names(&["*"]),
            credentials: false,
            methods: Vec::new(),
            headers: names(&[
                "range",
                "if-none-match",
                "if-modified-since",
                "if-range",
                "cmcd-object",
                "cmcd-request",
                "cmcd-session",
                "cmcd-status",
                "cta-common-access-token",
                "authorization",
            ]),
            expose: names(&[
                "content-length",
                "content-range",
                "accept-ranges",
                "etag",
                "date",
                "age",
                "cache-status",
                "cmsd-static",
                "cmsd-dynamic",
                "x-request-id",
            ]),
            max_age: Duration::from_secs(24 * 3600),
        }
    }
}

fn check_names(list: &'static str, names: &[String]) -> Result<(), GuardError> {
    if names.len() > LIST_MAX {
        return Err(GuardError::TooMany(list, names.len()));
    }
    names.iter().try_for_each(|name| check_name(name))
}

/// A token of RFC 9110 5.6.2, which methods and header names are.
fn check_name(name: &str) -> Result<(), GuardError> {
    let is_token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    if (1..=NAME_BYTES_MAX).contains(&name.len()) && name.bytes().all(is_token) {
        return Ok(());
    }
    Err(GuardError::Name(name.to_owned()))
}

/// `scheme://host[:port]` in lower case, where the first label may be `*`.
fn is_origin(origin: &str) -> bool {
    let Some((scheme, authority)) = origin.split_once("://") else { return false };
    let is_plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-.:[]".contains(&b);
    let rest = authority.strip_prefix("*.").unwrap_or(authority);
    matches!(scheme, "http" | "https")
        && (1..=NAME_BYTES_MAX * 4).contains(&rest.len())
        && rest.bytes().all(is_plain)
}

const NAME_BYTES_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn by_default_everybody_may_have_everything() {
        let policy = GuardPolicy::default();
        assert_eq!(policy.check(), Ok(()));
        assert_eq!(serde_json::from_str::<GuardPolicy>("{}").expect("all defaults"), policy);
    }

    #[test]
    fn origins_are_checked() {
        let cors = |origins: &[&str], credentials| CorsPolicy {
            origins: origins.iter().map(|origin| (*origin).to_owned()).collect(),
            credentials,
            ..CorsPolicy::default()
        };
        for good in [&["*"][..], &["https://a.org", "https://*.b.org", "http://[::1]:8080"]] {
            assert_eq!(cors(good, false).check(), Ok(()), "{good:?}");
        }
        for bad in
            [&[][..], &["a.org"], &["https://A.org"], &["https://a.org/"], &["*", "https://a.org"]]
        {
            assert!(cors(bad, false).check().is_err(), "{bad:?}");
        }
        assert_eq!(cors(&["*"], true).check(), Err(GuardError::Credentials));
    }

    #[test]
    fn rates_names_and_places_are_checked() {
        let rate = |requests_per_second, burst| Rate {
            requests_per_second,
            burst,
            bytes_per_second: None,
        };
        let with = |rate| GuardPolicy {
            rates: RatePolicy { client: Some(rate), token: None },
            ..GuardPolicy::default()
        };
        assert_eq!(with(rate(10, 20)).check(), Ok(()));
        for bad in [rate(0, 1), rate(1, 0), rate(RATE_MAX + 1, 1)] {
            assert!(with(bad).check().is_err());
        }
        let methods = GuardPolicy { methods: vec!["GE T".into()], ..GuardPolicy::default() };
        assert!(methods.check().is_err());
        let geo = GeoPolicy { header: Some("x-country".into()), ..GeoPolicy::default() };
        assert_eq!(geo.check(), Err(GuardError::Trusted));
        let text = r#"{"geo":{"allow":["DE"],"places":["192.0.2.0/24=DE"]}}"#;
        assert_eq!(serde_json::from_str::<GuardPolicy>(text).expect("good").check(), Ok(()));
    }
}

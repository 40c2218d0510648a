//! Tokens at the door of one property: is one needed, does one of those offered open it, how does it live on.
//!
//! Invariant: a path that is not plain needs a token, whatever the lists say, since upstream may read it as another.

use http::{HeaderName, HeaderValue, Method, header};
use tidegate_contract::guard_policy::{SessionCookie, TokenPolicy};

use super::{
    Shared,
    carrier::{self, Carrier},
    door::{Stop, Visit},
    plain_path::plain,
    session,
    token::{
        Token, Verifier,
        claims::{Asked, RenewalWay},
        renewal,
        uri::Uri,
    },
    verdict::Reason,
};

/// The rules about tokens.
#[derive(Debug)]
pub(super) struct Tokens {
    policy: TokenPolicy,
    verifier: Verifier,
    /// Names these rules where tokens are remembered.
    rules: [u8; 32],
}

type Headers = Vec<(HeaderName, HeaderValue)>;

impl Tokens {
    /// Makes a policy ready.
    #[must_use]
    pub(super) fn new(policy: &TokenPolicy) -> Self {
        let text = serde_json::to_vec(policy).expect("a policy is plain data");
        Self {
            policy: policy.clone(),
            verifier: Verifier::new(policy),
            rules: *blake3::hash(&text).as_bytes(),
        }
    }

    /// Whether a path needs a token.
    #[must_use]
    pub(super) fn is_needed(&self, path: &str) -> bool {
        let Some(path) = plain(path) else { return true };
        let is_in = |list: &[String]| list.iter().any(|prefix| path.starts_with(prefix.as_str()));
        is_in(&self.policy.paths) && !is_in(&self.policy.exempt)
    }

    /// Tries the tokens that a request carries; gives back the tag of the first that opens.
    ///
    /// # Errors
    /// Why the first one does not; or the redirect to the same with a new token.
    pub(super) fn open(
        &self,
        visit: &Visit<'_>,
        shared: &Shared,
        response: &mut Headers,
    ) -> Result<[u8; 8], Stop> {
        let mut refused = None;
        for found in carrier::find(visit.request, &self.policy.carriers) {
            let opened = match found.text {
                Some(text) => self.try_one(text, visit, shared).map(|token| (token, text)),
                None => Err(Reason::TokenMalformed),
            };
            match opened {
                Ok((token, text)) => {
                    self.live_on(&token, text, found.carrier, visit, shared, response)?;
                    return Ok(token.tag);
                }
                Err(reason) => {
                    refused.get_or_insert(reason);
                }
            }
        }
        Err(refused.unwrap_or(Reason::TokenMissing).into())
    }

    fn try_one(
        &self,
        text: &str,
        visit: &Visit<'_>,
        shared: &Shared,
    ) -> Result<std::sync::Arc<Token>, Reason> {
        let request = visit.request;
        let token = shared
            .known
            .read(text, &self.rules, &self.verifier, visit.now, &shared.metrics)
            .map_err(|error| error.reason())?;
        let downstream = &request.downstream;
        let (scheme, port) = if downstream.tls { ("https", 443) } else { ("http", 80) };
        token.claims.open(&Asked {
            uri: Uri {
                scheme,
                host: visit.host,
                port: port_of(&request.authority).unwrap_or(port),
                path: visit.target.path(),
                query: visit.target.query().unwrap_or_default(),
            },
            method: &request.method,
            headers: &request.headers,
            protocol: downstream.tls.then(|| downstream.protocol.as_str()),
            client: downstream.client.ip(),
            country: visit.country,
        })?;
        Ok(token)
    }

    /// Renews a token that asks for it, and hands one that came in the URL over as a cookie.
    fn live_on(
        &self,
        token: &Token,
        text: &str,
        carrier: Carrier,
        visit: &Visit<'_>,
        shared: &Shared,
        response: &mut Headers,
    ) -> Result<(), Stop> {
        let renewed = self
            .policy
            .renewal
            .as_ref()
            .and_then(|policy| renewal::renew(token, policy, &self.verifier.keys, visit.now));
        let is_in_url = matches!(carrier, Carrier::Path | Carrier::Query);
        if let Some((new, expires)) = renewed {
            shared.metrics.renewed.inc();
            let way = token.claims.renewal.map_or(RenewalWay::Automatic, |renewal| renewal.way);
            let lifetime = expires.saturating_sub(visit.now);
            match self.way(way, carrier) {
                RenewalWay::Cookie => response.extend(self.cookie(&new, lifetime)),
                RenewalWay::Header => response.extend(self.header(&new)),
                RenewalWay::Redirect | RenewalWay::Automatic => {
                    if let Some(location) = is_in_url.then(|| redirect(visit, text, &new)).flatten()
                    {
                        let headers = vec![(header::LOCATION, location)];
                        return Err(Stop { reason: Reason::Renewal, headers });
                    }
                }
            }
        } else if is_in_url && self.policy.session.is_some() && !self.has_cookie(visit, text) {
            let lifetime = token.claims.expires.saturating_sub(visit.now);
            shared.metrics.sessions.inc();
            response.extend(self.cookie(text, lifetime));
        }
        Ok(())
    }

    /// How a new token reaches the client: as it wants, where the property can.
    fn way(&self, way: RenewalWay, carrier: Carrier) -> RenewalWay {
        let as_it_came = match carrier {
            Carrier::Header => RenewalWay::Header,
            Carrier::Cookie => RenewalWay::Cookie,
            Carrier::Path | Carrier::Query if self.policy.session.is_some() => RenewalWay::Cookie,
            Carrier::Path | Carrier::Query => RenewalWay::Redirect,
        };
        let carriers = &self.policy.carriers;
        match way {
            RenewalWay::Cookie if carriers.cookie.is_some() => way,
            RenewalWay::Header if carriers.header.is_some() => way,
            RenewalWay::Redirect => way,
            _ => as_it_came,
        }
    }

    fn cookie(&self, token: &str, lifetime: u64) -> Headers {
        let Some(name) = &self.policy.carriers.cookie else { return Vec::new() };
        let default = SessionCookie::default();
        session::hand_over(name, token, self.policy.session.as_ref().unwrap_or(&default), lifetime)
    }

    fn header(&self, token: &str) -> Option<(HeaderName, HeaderValue)> {
        let name = self
            .policy
            .carriers
            .header
            .as_deref()
            .filter(|name| !name.eq_ignore_ascii_case("authorization"));
        let mut value = HeaderValue::try_from(token).ok()?;
        value.set_sensitive(true);
        Some((name.unwrap_or(HEADER).parse().ok()?, value))
    }

    fn has_cookie(&self, visit: &Visit<'_>, text: &str) -> bool {
        let mut found = carrier::find(visit.request, &self.policy.carriers);
        found.any(|found| found.carrier == Carrier::Cookie && found.text == Some(text))
    }
}

/// The same target with another token. Not for a target that a browser would take for another host's.
fn redirect(visit: &Visit<'_>, old: &str, new: &str) -> Option<HeaderValue> {
    let target = visit.request.target.as_str();
    let is_read = matches!(visit.request.method, Method::GET | Method::HEAD);
    if !is_read || target.starts_with("//") || target.starts_with("/\\") {
        return None;
    }
    let mut location = HeaderValue::try_from(target.replacen(old, new, 1)).ok()?;
    location.set_sensitive(true);
    Some(location)
}

/// The port in `host:port`.
fn port_of(authority: &str) -> Option<u16> {
    let (_, port) = authority.rsplit_once(':').filter(|(_, port)| !port.contains(']'))?;
    port.parse().ok()
}

/// Where a new token stands when the old one stood in `Authorization`, which responses do not have.
const HEADER: &str = "cta-common-access-token";

//! What a token allows, whichever kind it is of, and whether a request is that.
//!
//! Invariant: an absent claim allows everything of its kind, an empty list nothing.

use std::net::IpAddr;

use http::{HeaderMap, HeaderName, Method};
use tidegate_contract::network::{CountryCode, Network};

use super::uri::{Match, Part, Uri};
use crate::guard::{plain_path::plain, verdict::Reason};

/// What a token says.
#[derive(Debug, Default, PartialEq)]
pub struct Claims {
    /// Who issued it.
    pub issuer: Option<String>,
    /// For whom.
    pub audience: Option<Vec<String>>,
    /// When it is over, in seconds since 1970.
    pub expires: u64,
    /// From when on it is good.
    pub not_before: Option<u64>,
    /// When it was issued.
    pub issued: Option<u64>,
    /// Its id; the same after renewal.
    pub id: Option<Vec<u8>>,
    /// Parts of the URI, all of which must hold.
    pub uri: Vec<(Part, Vec<Match>)>,
    /// Beginnings of the path, one of which must hold (JWT's `paths`).
    pub paths: Option<Vec<String>>,
    /// Methods.
    pub methods: Option<Vec<String>>,
    /// ALPN names.
    pub protocols: Option<Vec<Vec<u8>>>,
    /// Request headers, all of which must hold.
    pub headers: Vec<(HeaderName, Vec<Match>)>,
    /// Where the client is.
    pub regions: Option<Vec<Region>>,
    /// Networks of the client.
    pub networks: Option<Vec<Network>>,
    /// How it is renewed.
    pub renewal: Option<Renewal>,
}

/// A country, or a part of one, which is not looked up here and matches nobody.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Region {
    country: CountryCode,
    is_part: bool,
}

/// How a token is renewed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Renewal {
    /// How the new one reaches the client.
    pub way: RenewalWay,
    /// How long the new one is good, in seconds.
    pub lifetime: u64,
    /// How long before expiry that begins, in seconds.
    pub deadline: u64,
}

/// How a new token reaches the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RenewalWay {
    /// As the old one came.
    Automatic,
    /// As a cookie.
    Cookie,
    /// As a response header.
    Header,
    /// In the URL of a redirect.
    Redirect,
}

/// A request as tokens see it.
pub struct Asked<'a> {
    /// Its URI.
    pub uri: Uri<'a>,
    /// Its method.
    pub method: &'a Method,
    /// Its headers.
    pub headers: &'a HeaderMap,
    /// The ALPN name of its protocol; `None` without TLS.
    pub protocol: Option<&'a str>,
    /// The client's address.
    pub client: IpAddr,
    /// The client's country, looked up when it is needed.
    pub country: &'a dyn Fn() -> Option<CountryCode>,
}

impl Claims {
    /// Whether they open a request. Time, issuer and audience were checked before.
    ///
    /// # Errors
    /// The [`Reason`] why not.
    pub fn open(&self, asked: &Asked<'_>) -> Result<(), Reason> {
        if !asked.uri.is_within(&self.uri) || !self.is_path(asked.uri.path) {
            return Err(Reason::TokenPath);
        }
        let is_method =
            |methods: &Vec<String>| methods.iter().any(|name| name == asked.method.as_str());
        let is_protocol = |names: &Vec<Vec<u8>>| {
            asked.protocol.is_some_and(|asked| names.iter().any(|name| name == asked.as_bytes()))
        };
        if !self.methods.as_ref().is_none_or(is_method)
            || !self.protocols.as_ref().is_none_or(is_protocol)
            || !self.headers.iter().all(|(name, matches)| is_header(asked.headers, name, matches))
        {
            return Err(Reason::TokenRequest);
        }
        let is_network =
            |networks: &Vec<Network>| networks.iter().any(|one| one.contains(asked.client));
        let is_region = |regions: &Vec<Region>| {
            (asked.country)().is_some_and(|country| regions.iter().any(|region| region.is(country)))
        };
        if !self.networks.as_ref().is_none_or(is_network)
            || !self.regions.as_ref().is_none_or(is_region)
        {
            return Err(Reason::TokenClient);
        }
        Ok(())
    }

    fn is_path(&self, path: &str) -> bool {
        let Some(paths) = &self.paths else { return true };
        plain(path).is_some() && paths.iter().any(|prefix| path.starts_with(prefix.as_str()))
    }
}

impl Region {
    /// `DE`, or `US-CA`.
    #[must_use]
    pub fn read(text: &str) -> Option<Self> {
        let (country, part) = match text.split_once('-') {
            Some((country, part)) => (country, Some(part)),
            None => (text, None),
        };
        Some(Self { country: country.parse().ok()?, is_part: part.is_some() })
    }

    fn is(self, country: CountryCode) -> bool {
        !self.is_part && self.country == country
    }
}

/// Whether one line of a header is what it must be.
fn is_header(headers: &HeaderMap, name: &HeaderName, matches: &[Match]) -> bool {
    let lines = headers.get_all(name).into_iter().filter_map(|line| line.to_str().ok());
    lines.into_iter().any(|line| matches.iter().all(|one| one.holds(line)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(claims: &Claims) -> Result<(), Reason> {
        let mut headers = HeaderMap::new();
        headers.append("x-user", "one".parse().unwrap());
        headers.append("x-user", "two".parse().unwrap());
        claims.open(&Asked {
            uri: Uri { scheme: "https", host: "a.org", port: 443, path: "/v/1/a.m4s", query: "" },
            method: &Method::GET,
            headers: &headers,
            protocol: Some("h3"),
            client: "192.0.2.7".parse().unwrap(),
            country: &|| "DE".parse().ok(),
        })
    }

    #[test]
    fn every_claim_opens_or_does_not() {
        let texts = |texts: &[&str]| Some(texts.iter().map(|text| (*text).to_owned()).collect());
        let region = |text| Region::read(text).unwrap();
        let header =
            |text: &str| vec![("x-user".parse().unwrap(), vec![Match::Exact(text.into())])];
        for (claims, expected) in [
            (Claims::default(), Ok(())),
            (Claims { paths: texts(&["/x/", "/v/1/"]), ..Claims::default() }, Ok(())),
            (Claims { paths: texts(&["/v/2/"]), ..Claims::default() }, Err(Reason::TokenPath)),
            (Claims { paths: Some(vec![]), ..Claims::default() }, Err(Reason::TokenPath)),
            (Claims { methods: texts(&["HEAD", "GET"]), ..Claims::default() }, Ok(())),
            (Claims { methods: texts(&["get"]), ..Claims::default() }, Err(Reason::TokenRequest)),
            (Claims { protocols: Some(vec![b"h3".to_vec()]), ..Claims::default() }, Ok(())),
            (
                Claims { protocols: Some(vec![b"h2".to_vec()]), ..Claims::default() },
                Err(Reason::TokenRequest),
            ),
            (Claims { headers: header("two"), ..Claims::default() }, Ok(())),
            (Claims { headers: header("three"), ..Claims::default() }, Err(Reason::TokenRequest)),
            (
                Claims {
                    networks: Some(vec!["192.0.2.0/24".parse().unwrap()]),
                    ..Claims::default()
                },
                Ok(()),
            ),
            (Claims { networks: Some(vec![]), ..Claims::default() }, Err(Reason::TokenClient)),
            (
                Claims { regions: Some(vec![region("FR"), region("DE")]), ..Claims::default() },
                Ok(()),
            ),
            (
                Claims { regions: Some(vec![region("DE-BE")]), ..Claims::default() },
                Err(Reason::TokenClient),
            ),
        ] {
            assert_eq!(open(&claims), expected, "{claims:?}");
        }
    }
}

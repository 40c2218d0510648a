//! The traces that a request leaves when it passes this node: `Via`, `CDN-Loop`, its id, and who the client is.
//!
//! Pure. Invariant: what a client says about itself in these headers is never passed on.

use std::net::IpAddr;

use http::{HeaderMap, HeaderName, HeaderValue, header};
use tidegate_contract::header::{CDN_LOOP, REQUEST_ID, TIER};

/// What every request to an upstream carries of this node and of its client.
#[derive(Debug, Clone, Copy)]
pub struct Trace<'a> {
    /// This node in `Via`.
    pub node: &'a str,
    /// This process in `CDN-Loop`.
    pub process: &'a str,
    /// The request's name in all logs.
    pub request_id: &'a str,
    /// Who asks; `None` for another node, which is believed about that, and for what this node asks of itself.
    pub client: Option<Client<'a>>,
}

/// A client that is not another node.
#[derive(Debug, Clone, Copy)]
pub struct Client<'a> {
    /// Its address.
    pub ip: IpAddr,
    /// Whether it asked over TLS.
    pub is_tls: bool,
    /// The host that it asked for.
    pub host: &'a str,
}

impl Trace<'_> {
    /// Writes the traces into the headers of a request.
    pub fn leave(&self, headers: &mut HeaderMap) {
        headers.remove(TIER);
        append(headers, HeaderName::from_static(CDN_LOOP), self.process);
        append(headers, header::VIA, &format!("1.1 {}", self.node));
        set(headers, HeaderName::from_static(REQUEST_ID), self.request_id);
        if let Some(client) = &self.client {
            headers.remove(header::FORWARDED);
            let scheme = if client.is_tls { "https" } else { "http" };
            set(headers, FORWARDED_FOR, &client.ip.to_string());
            set(headers, FORWARDED_PROTO, scheme);
            // Many applications build links from it: a client's own would poison what is stored.
            set(headers, FORWARDED_HOST, client.host);
        }
    }
}

fn append(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.append(name, value);
    }
}

fn set(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    headers.remove(&name);
    append(headers, name, value);
}

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");

#[cfg(test)]
mod tests {
    use super::*;

    fn trace(client: Option<Client<'_>>) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("via", "1.1 other"),
            ("cdn-loop", "other"),
            ("x-request-id", "mine"),
            ("x-forwarded-for", "10.0.0.1"),
            ("x-forwarded-host", "evil.example"),
            ("forwarded", "for=10.0.0.1"),
            ("tidegate-tier", "made up"),
        ] {
            headers.append(name, value.parse().unwrap());
        }
        Trace { node: "tidegate-fra", process: "tidegate-fra; node=1", request_id: "7", client }
            .leave(&mut headers);
        headers
    }

    fn all<'a>(headers: &'a HeaderMap, name: &str) -> Vec<&'a str> {
        headers.get_all(name).iter().map(|value| value.to_str().unwrap()).collect()
    }

    #[test]
    fn a_client_is_named_by_this_node_alone() {
        let client = Client { ip: [192, 0, 2, 7].into(), is_tls: true, host: "a.org" };
        let headers = trace(Some(client));
        assert_eq!(all(&headers, "via"), ["1.1 other", "1.1 tidegate-fra"]);
        assert_eq!(all(&headers, "cdn-loop"), ["other", "tidegate-fra; node=1"]);
        assert_eq!(all(&headers, "x-request-id"), ["7"]);
        assert_eq!(all(&headers, "x-forwarded-for"), ["192.0.2.7"]);
        assert_eq!(all(&headers, "x-forwarded-proto"), ["https"]);
        assert_eq!(all(&headers, "x-forwarded-host"), ["a.org"]);
        assert!(!headers.contains_key("forwarded") && !headers.contains_key("tidegate-tier"));
    }

    #[test]
    fn another_node_is_believed_about_its_client() {
        let headers = trace(None);
        assert_eq!(all(&headers, "x-forwarded-for"), ["10.0.0.1"]);
        assert_eq!(all(&headers, "forwarded"), ["for=10.0.0.1"]);
        assert!(!headers.contains_key("tidegate-tier"));
    }
}

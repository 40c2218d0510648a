//! What clients claim about themselves, about the way that a request took, and about what it really is.
//!
//! Pure. Many applications believe headers like `X-Forwarded-Host` or `X-Original-URL`, and none of them is part of a cache
//! key: what one client says there would be answered to all. Invariant: unless a property says so, no claim of a client
//! reaches an upstream, and what this node says of a client in their place is what `Vary` is looked up with.

use http::{HeaderMap, HeaderName, HeaderValue, Method};

use crate::listener::field_line::as_variable;

/// Puts what this node knows in the place of what a client claims.
pub(super) fn settle(headers: &mut HeaderMap, method: &Method, is_tls: bool) {
    let is_read = matches!(*method, Method::GET | Method::HEAD);
    let claims: Vec<_> = headers.keys().filter(|name| is_claim(name, is_read)).cloned().collect();
    for name in claims {
        headers.remove(name);
    }
    let scheme = HeaderValue::from_static(if is_tls { "https" } else { "http" });
    headers.insert(FORWARDED_PROTO, scheme);
}

/// Whether an application could take this header for one of those below. Looked at once per header of every request.
fn is_claim(name: &HeaderName, is_read: bool) -> bool {
    let variable = as_variable(name.as_str());
    let name = variable.as_deref().unwrap_or(name.as_str());
    FAMILIES.iter().any(|family| name.starts_with(family))
        || CLAIMS.binary_search(&name).is_ok()
        || (is_read && OTHER_METHODS.contains(&name))
}

const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// Names of these families begin alike: what proxies tell applications, and what frameworks tell themselves.
const FAMILIES: &[&str] = &[
    "x-forward",
    "forwarded",
    "x-original",
    "x-rewrite-",
    "x-envoy-",
    "x-middleware-",
    "x-invoke-",
];

/// In the order of the alphabet. Another target: `*-url`, `*-host`, `x-matched-path`. Another client: `*-ip`, `*-addr`,
/// `*-user`. Where it is: `*-country`. Another scheme: `*-ssl`, `*-proto`. A file instead of the answer:
/// `x-accel-mapping`, `x-sendfile-type`. `proxy` becomes the proxy of a CGI program's own requests.
#[rustfmt::skip]
const CLAIMS: &[&str] = &[
    "base-url", "cf-connecting-ip", "cf-connecting-ipv6", "cf-ipcountry", "cf-visitor", "client-ip", "clientip",
    "cloudfront-forwarded-proto", "cloudfront-viewer-address", "cloudfront-viewer-country", "fastly-client-ip",
    "fastly-ssl", "front-end-https", "https-from-lb", "incap-client-ip", "proxy", "proxy-client-ip", "proxy-host",
    "proxy-url", "real-ip", "real-method", "remote-addr", "remote-host", "remote-user", "ssl-https",
    "surrogate-capability", "true-client-ip", "wl-proxy-client-ip", "wl-proxy-ssl", "x-accel-mapping",
    "x-ajax-real-method", "x-amzn-remapped-host", "x-arr-ssl", "x-azure-clientip", "x-azure-socketip",
    "x-backend-host", "x-client-host", "x-client-ip", "x-clientip", "x-cluster-client-ip", "x-environment-override",
    "x-geoip-country", "x-host", "x-http-destinationurl", "x-http-host-override", "x-http-path-override",
    "x-http-status-code-override", "x-https", "x-ip", "x-matched-path", "x-ms-proxy", "x-now-route-matches",
    "x-orchestra-scheme", "x-orig-client", "x-originating-ip", "x-proxy-url", "x-proxyuser-ip", "x-real-ip",
    "x-remote-addr", "x-remote-host", "x-remote-ip", "x-remote-protocol", "x-remote-user", "x-scheme",
    "x-sendfile-type", "x-server-name", "x-server-port", "x-ssl", "x-subdomain", "x-url-scheme",
];

/// Turn what is asked with GET into something else. With POST they are how some clients spell PUT.
const OTHER_METHODS: &[&str] = &["x-http-method-override", "x-http-method", "x-method-override"];

#[cfg(test)]
mod tests {
    use super::*;

    fn settled(method: &Method, names: &[&'static str]) -> Vec<String> {
        let mut headers = HeaderMap::new();
        for name in names {
            headers.append(*name, HeaderValue::from_static("evil"));
        }
        settle(&mut headers, method, true);
        assert_eq!(headers.remove("x-forwarded-proto").unwrap(), "https");
        headers.keys().map(ToString::to_string).collect()
    }

    #[test]
    fn no_claim_goes_on() {
        assert!(CLAIMS.is_sorted(), "looked up by halves");
        assert!(settled(&Method::GET, CLAIMS).is_empty());
        let families = [
            "x-forwarded-host",
            "x-forwarded-prefix",
            "x-forward-for",
            "x-forwarder-for",
            "forwarded",
            "forwarded-for-ip",
            "x-original-url",
            "x-originally-forwarded-for",
            "x-rewrite-url",
            "x-envoy-original-path",
            "x-middleware-subrequest",
            "x-invoke-status",
        ];
        assert!(settled(&Method::GET, &families).is_empty());
        assert!(settled(&Method::POST, &families).is_empty());
    }

    /// A CGI program sees `X_Forwarded_Host` and `X.Forwarded.Host` as it sees `X-Forwarded-Host`.
    #[test]
    fn no_claim_goes_on_in_disguise() {
        let names = [
            "x_forwarded_host",
            "x_real_ip",
            "x-original_url",
            "x.host",
            "true_client_ip",
            "x_http_method",
        ];
        assert!(settled(&Method::GET, &names).is_empty());
    }

    #[test]
    fn a_read_stays_a_read() {
        assert!(settled(&Method::GET, OTHER_METHODS).is_empty());
        assert!(settled(&Method::HEAD, OTHER_METHODS).is_empty());
        assert_eq!(settled(&Method::POST, OTHER_METHODS).len(), OTHER_METHODS.len());
    }

    #[test]
    fn everything_else_goes_on() {
        let others = [
            "accept",
            "accept_x",
            "cookie",
            "origin",
            "user-agent",
            "x-custom",
            "x-requested-with",
            "x-origin",
            "x-request-id",
        ];
        assert_eq!(settled(&Method::GET, &others).len(), others.len());
    }
}

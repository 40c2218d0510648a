//! The names of the headers that Tidegate programs speak to one another and to clients.

/// Surrogate keys of a response, separated by spaces; removed by the edge before the client sees it.
pub const SURROGATE_KEY: &str = "surrogate-key";

/// How caches handled a request (RFC 9211).
pub const CACHE_STATUS: &str = "cache-status";

/// The chain of CDN nodes that a request passed; used for loop detection (RFC 8586).
pub const CDN_LOOP: &str = "cdn-loop";

/// A request from one node to another of the same control plane, see [`crate::tier`]; never passed on.
pub const TIER: &str = "tidegate-tier";

/// Names a request in the logs of every program that it passes.
pub const REQUEST_ID: &str = "x-request-id";

/// Headers about one connection or one host: neither stored nor passed on (RFC 9110 7.6.1, RFC 7838).
pub const OF_ONE_HOP: &[&str] = &[
    "connection",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authentication-info",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "alt-svc", // of the host that sends it
];

//! One exchange, phase by phase.
//!
//! | phase (in the order a request meets them)      | file                  |
//! |------------------------------------------------|-----------------------|
//! | which property, which key, cache or not        | `route.rs`            |
//! | another node? a circle?                        | `tier.rs`             |
//! | stored? may it answer now?                     | `storage.rs`, `lookup.rs` |
//! | which upstream, what is sent there             | `upstream/`, `upstream_request.rs` |
//! | may the answer be stored, as what              | `fill.rs`             |
//! | the head of the answer to the client           | `respond.rs`, `cache_status.rs` |
//! | what went wrong                                | `failure.rs`          |
//! | one line, some numbers                         | `access_log.rs`       |
//!
//! Pingora runs the phases, moves the bytes and keeps upstream connections. Invariant: every protocol goes through
//! the same phases and the same cache.

mod phases; // what Pingora calls, each a call into a file below
mod edge_proxy; // what the proxy is made of
mod lookup; // what a stored response is good for
mod access_log;
mod failure;
mod respond;
mod cache_status;
mod fill;
mod storage;
mod upstream_request;
pub mod upstream;
mod route;
mod tier;
mod exchange;

use std::sync::Arc;

use pingora::{
    proxy::{HttpProxy, http_proxy},
    server::configuration::ServerConf,
};

pub use self::{
    edge_proxy::{EdgeProxy, Parts},
    storage::StoreAdapter,
};

/// The proxy that the listener hands its sessions to.
#[must_use]
pub fn build(parts: Parts, upstream: &upstream::Config) -> Arc<HttpProxy<EdgeProxy>> {
    let settings = ServerConf {
        // One pool for all threads; Pingora multiplies the size by this.
        threads: 1,
        upstream_keepalive_pool_size: upstream.idle_connections_max,
        // Each attempt may meet a kept connection that was closed meanwhile.
        max_retries: 2 * upstream.attempts_max as usize,
        ca_file: upstream.ca.as_ref().map(|path| path.to_string_lossy().into_owned()),
        ..ServerConf::default()
    };
    Arc::new(http_proxy(&Arc::new(settings), EdgeProxy::new(parts, upstream)))
}

//! What an unsafe method changed is forgotten (RFC 9111 section 4.4).
//!
//! Invariant: only resources of the same host are forgotten, and only what this node holds: a client cannot fill the
//! table of purges.

use http::Method;

use super::{playlists::segment, shared::Shared, wanted::Route};
use crate::{cache::invalidation, upstream::Answer};

/// Forgets what an answer to a method says is changed.
pub(super) fn invalidate(shared: &Shared, route: &Route, method: &Method, answer: &Answer) {
    if !route.property().cache.invalidation {
        return;
    }
    let targets =
        invalidation::targets(method, answer.status, &route.host, &route.path, &answer.headers);
    for (host, path) in targets {
        if host != route.host {
            continue;
        }
        let (key, _) = segment(route, &path);
        shared.parts.store.forget(&key);
        shared.unstorable.forget(&key);
        shared.parts.metrics.invalidated.inc();
    }
}

//! What is wanted of upstream: everything of a request that a fetch needs, free of its stream.
//!
//! A leaf. A fetch outlives the exchange that began it, so nothing here borrows from one. Invariant: `path` holds no
//! query parameter that the property does not count.

use std::{net::IpAddr, sync::Arc, time::SystemTime};

use http::{HeaderMap, Method, StatusCode, header};
use tidegate_contract::property::Property;

use crate::{
    cache::{
        key::{Key, counted_path},
        media_class::MediaClass,
        wishes::Wishes,
    },
    error::Failure,
    policy::Policy,
    upstream::Home,
};

/// Where an exchange goes.
#[derive(Debug, Clone)]
pub struct Route {
    /// The policy that it began under.
    pub policy: Arc<Policy>,
    /// The place of its property in that policy.
    pub property: usize,
    /// The host that was asked for: lower case, without port.
    pub host: String,
    /// The path as it is part of the key and asked of upstream, with the query parameters that count.
    pub path: String,
    /// The name of the resource in the cache.
    pub key: Key,
    /// What the path says that it is to a player.
    pub class: MediaClass,
}

/// A request whose answer may be stored.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// Where it goes.
    pub route: Route,
    /// GET or HEAD.
    pub method: Method,
    /// End-to-end headers as the client sent them, without those that only the guard reads.
    pub headers: HeaderMap,
    /// What the client says about the freshness that it wants.
    pub wishes: Wishes,
    /// When it was made.
    pub began_at: SystemTime,
    /// Its name in the logs of every program that it passes.
    pub id: String,
    /// Who asks; absent for another node, and for what this node asks on its own account.
    pub client: Option<Client>,
    /// Whether another node asks for its own cache.
    pub is_for_child: bool,
    /// Whether that node is of this PoP: it is asked beyond the PoP then, whoever this node thinks should do that.
    pub is_for_sibling: bool,
    /// Who of the PoP asks beyond it; absent: this node.
    pub home: Option<Home>,
}

/// A client as upstream is told of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Client {
    /// Its address.
    pub ip: IpAddr,
    /// Whether it asked over TLS.
    pub is_tls: bool,
}

/// Upstream did not bring what was wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Failed {
    /// What the client is answered with, when nothing stale can be served.
    pub failure: Failure,
    /// The status of upstream's answer; absent when there was none.
    pub status: Option<StatusCode>,
}

impl Route {
    /// Where a resource is read: the path as it counts, with the query parameters that do.
    #[must_use]
    pub fn to(
        policy: &Arc<Policy>,
        property: usize,
        host: String,
        path: &str,
        query: Option<&str>,
    ) -> Self {
        let found = &policy.snapshot.properties[property];
        let path = counted_path(path, query, &found.cache.query).into_owned();
        Self::at(policy, property, host, path)
    }

    /// Where something goes whose path counts as it is.
    #[must_use]
    pub fn at(policy: &Arc<Policy>, property: usize, host: String, path: String) -> Self {
        let key = Key::of(&policy.snapshot.properties[property].id, &host, &path);
        let class = MediaClass::of(path.split('?').next().unwrap_or_default(), None);
        Self { policy: policy.clone(), property, host, path, key, class }
    }

    /// The property that serves it.
    #[must_use]
    pub fn property(&self) -> &Property {
        &self.policy.snapshot.properties[self.property]
    }
}

impl Wanted {
    /// The headers for a request that is meant to bring the whole resource: without the client's conditions and
    /// ranges, which are looked at here.
    #[must_use]
    pub fn unconditional(&self) -> HeaderMap {
        let mut headers = self.headers.clone();
        for name in CONDITIONS {
            headers.remove(name);
        }
        headers
    }

    /// Whether the client says under which condition, or of which part, it wants an answer.
    #[must_use]
    pub fn is_conditional(&self) -> bool {
        CONDITIONS.iter().any(|name| self.headers.contains_key(name))
    }

    /// The same on this node's own account: nobody waits for it.
    #[must_use]
    pub fn behind_the_scenes(&self) -> Self {
        Self { method: Method::GET, wishes: Wishes::default(), home: None, ..self.clone() }
    }

    /// Whether the request was authorized.
    #[must_use]
    pub fn is_authorized(&self) -> bool {
        self.headers.contains_key(header::AUTHORIZATION)
    }
}

impl Failed {
    /// No answer came.
    #[must_use]
    pub fn without_answer(failure: Failure) -> Self {
        Self { failure, status: None }
    }

    /// What upstream answered is no answer to what was asked.
    #[must_use]
    pub fn beside_the_point(status: StatusCode) -> Self {
        Self { failure: Failure::BROKEN, status: Some(status) }
    }

    /// Upstream answered that it cannot.
    #[must_use]
    pub fn answered(status: StatusCode) -> Self {
        Self { failure: Failure::refused(status.as_u16()), status: Some(status) }
    }
}

/// Headers that say under which condition, or of which part, an answer is wanted.
const CONDITIONS: [header::HeaderName; 6] = [
    header::IF_MATCH,
    header::IF_NONE_MATCH,
    header::IF_MODIFIED_SINCE,
    header::IF_UNMODIFIED_SINCE,
    header::IF_RANGE,
    header::RANGE,
];

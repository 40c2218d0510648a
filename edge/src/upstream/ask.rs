//! What is asked of the upstreams of a property, and who of them may be asked.
//!
//! A leaf. Invariant: a request's body ends with [`Piece::End`] or not at all; a sender that is dropped before is one
//! that broke off.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use tidegate_contract::property::{Property, Upstream};
use tokio::sync::mpsc;

use crate::{cache::key::Key, listener::stream::StreamLost, policy::Policy};

/// One request for whichever upstream is best.
pub struct Ask<'a> {
    /// The policy that the exchange began under.
    pub policy: &'a Arc<Policy>,
    /// The place of the property in that policy.
    pub property: usize,
    /// The name of the resource in the cache, which chooses the shield.
    pub key: &'a Key,
    /// Who of the PoP fetches it; absent: this node, whoever owns it.
    pub home: Option<Home>,
    /// The `Host` to send, where the upstream names none.
    pub host: &'a str,
    /// The path to ask for, with its query.
    pub path: &'a str,
    /// The method.
    pub method: Method,
    /// End-to-end headers, [`Trace`](super::Trace) included. What concerns one connection is left out here, and so
    /// are `Host`, `Expect` and the seal; `Content-Length` counts when there is a body.
    pub headers: HeaderMap,
    /// What follows the head. Such a request is sent once, and never hedged.
    pub body: Option<RequestBody>,
    /// Who is asked last, whatever is known of them: whose manifest stands still, for instance.
    pub avoid: Vec<Candidate>,
    /// Takes interim responses (1xx but 100 and 101) as they come; what finds no room is dropped.
    pub interim: Option<Interim>,
    /// Makes the header that tells a shield or a sibling that another node asks; called for every attempt at one of
    /// them, for no other upstream.
    pub seal: Option<&'a (dyn Fn() -> HeaderValue + Send + Sync)>,
    /// How long the answer may let itself be waited for, where that is the point: a held request of low-latency HLS.
    /// Such a request is never hedged, and its time says nothing about the upstream.
    pub hold: Option<Duration>,
}

/// The body of a request, piece by piece.
pub type RequestBody = mpsc::Receiver<Result<Piece, StreamLost>>;
/// Where interim responses go.
pub type Interim = mpsc::Sender<(StatusCode, HeaderMap)>;

/// A piece of a request's body.
#[derive(Debug)]
pub enum Piece {
    /// Some bytes.
    Data(Bytes),
    /// Its end, with trailers if there are any.
    End(Option<HeaderMap>),
}

/// Who of the nodes of a PoP asks beyond it for a resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Home {
    /// This node.
    Here,
    /// The sibling at this place of the list.
    Sibling(usize),
}

/// An upstream that may be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Candidate {
    /// Which list it is from.
    pub tier: Tier,
    /// Its place in that list.
    pub place: usize,
}

/// What an upstream is to this node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Tier {
    /// Another node of this PoP.
    Sibling,
    /// A shield of the same control plane.
    Shield,
    /// An origin of the property.
    Origin,
}

impl Ask<'_> {
    /// The property that is asked for.
    #[must_use]
    pub fn property(&self) -> &Property {
        &self.policy.snapshot.properties[self.property]
    }

    /// Whether it may be sent a second time: it asks for no change and has no body that would be gone.
    #[must_use]
    pub fn is_repeatable(&self) -> bool {
        self.method.is_safe() && self.body.is_none()
    }
}

impl Candidate {
    /// The upstream that it stands for; absent for a sibling, which no policy names.
    #[must_use]
    pub fn upstream(self, policy: &Policy, property: usize) -> Option<&Upstream> {
        match self.tier {
            Tier::Sibling => None,
            Tier::Shield => Some(&policy.snapshot.shields[self.place].upstream),
            Tier::Origin => Some(&policy.snapshot.properties[property].origins[self.place]),
        }
    }
}

impl Tier {
    /// The word in logs and labels.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Sibling => "sibling",
            Self::Shield => "shield",
            Self::Origin => "origin",
        }
    }
}

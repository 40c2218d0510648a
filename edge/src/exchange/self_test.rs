//! The local object that a node asks itself for, and its neighbours it.
//!
//! It is on every host, it takes nothing from cache, guard or upstream, and it is there only when there is a
//! configuration to serve by. Invariant: it says nothing but that an exchange went all the way through this node.

use http::{Method, header};
use tidegate_contract::telemetry::SELF_TEST_PATH;

use super::{
    context::{Ended, Exchange},
    edge::Edge,
    refuse,
};
use crate::listener::stream::{Request, Stream};

/// Whether a request is for it.
pub(super) fn is_asked(request: &Request) -> bool {
    request.target.path() == SELF_TEST_PATH && matches!(request.method, Method::GET | Method::HEAD)
}

/// Answers.
pub(super) async fn serve<S: Stream>(
    edge: &Edge,
    exchange: &mut Exchange,
    request: &Request,
    stream: &mut S,
) -> Result<(), Ended> {
    let kind = (header::CONTENT_TYPE, "text/plain");
    refuse::as_node(edge, exchange, request, "self-test", kind, b"ok\n", stream).await
}

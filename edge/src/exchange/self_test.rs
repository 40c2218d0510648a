//! The local object that a node asks itself for, and its neighbours it.
//!
//! It is on every host, it takes nothing from cache, guard or upstream, and it is there only when there is a
//! configuration to serve by. Invariant: it says nothing but that an exchange went all the way through this node.

use bytes::Bytes;
use http::{HeaderValue, Method, StatusCode, header};
use tidegate_contract::telemetry::SELF_TEST_PATH;

use super::{
    cache_status::Told,
    context::{Ended, Exchange},
    edge::Edge,
    refuse,
    respond::Own,
};
use crate::{
    fetch::date,
    listener::stream::{Request, Stream},
};

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
    let mut own = Own::begin(edge, exchange, &Told::default());
    own.replace_status(exchange, "self-test");
    own.push(header::CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    own.push(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    own.push(header::DATE, date(edge.now()));
    refuse::send(exchange, request, StatusCode::OK, &own, Bytes::from_static(b"ok\n"), stream).await
}

//! The answer to an exchange that failed, or that went no further than the door or this node.
//!
//! Invariant: once a head was sent, nothing else is: the stream is given back unfinished, and cut.

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, StatusCode, header};
use tidegate_contract::{header::CACHE_STATUS, problem};

use super::{
    cache_status::Told,
    context::{Ended, Exchange},
    deliver,
    edge::Edge,
    respond::Own,
};
use crate::{
    error::Failure,
    fetch::date,
    guard::Reply,
    listener::stream::{Request, Stream},
};

/// Answers with the failure's problem document.
pub(super) async fn problem<S: Stream>(
    edge: &Edge,
    exchange: &mut Exchange,
    request: &Request,
    failure: Failure,
    stream: &mut S,
) -> Result<(), Ended> {
    let body = Bytes::from(serde_json::to_vec(&failure.problem()).unwrap_or_default());
    let status = StatusCode::from_u16(failure.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    // Not upstream's own `Cache-Status`: this is no answer of it.
    exchange.forward = None;
    let mut own = Own::begin(edge, exchange, &Told::default());
    own.replace_status(exchange, failure.kind);
    own.push(header::CONTENT_TYPE, HeaderValue::from_static(problem::CONTENT_TYPE));
    own.push(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    own.push(header::DATE, date(edge.now()));
    send(exchange, request, status, &own, body, stream).await
}

/// Answers as the guard says.
pub(super) async fn at_the_door<S: Stream>(
    edge: &Edge,
    exchange: &mut Exchange,
    request: &mut Request,
    reply: Reply,
    stream: &mut S,
) -> Result<(), Ended> {
    let rest = reply.strip.target(&request.target);
    if rest != &request.target {
        request.target = rest.clone();
    }
    let mut own = Own::begin(edge, exchange, &Told::default());
    own.replace_status(exchange, reply.reason.as_str());
    for (name, value) in reply.headers {
        own.push(name, value);
    }
    own.push(header::DATE, date(edge.now()));
    send(exchange, request, reply.status, &own, Bytes::from(reply.body), stream).await
}

/// Answers for this node itself, with a detail that says as what.
pub(super) async fn as_node<S: Stream>(
    edge: &Edge,
    exchange: &mut Exchange,
    request: &Request,
    detail: &str,
    (field, value): (HeaderName, &'static str),
    body: &'static [u8],
    stream: &mut S,
) -> Result<(), Ended> {
    let mut own = Own::begin(edge, exchange, &Told::default());
    own.replace_status(exchange, detail);
    own.push(field, HeaderValue::from_static(value));
    own.push(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    own.push(header::DATE, date(edge.now()));
    send(exchange, request, StatusCode::OK, &own, Bytes::from_static(body), stream).await
}

async fn send<S: Stream>(
    exchange: &mut Exchange,
    request: &Request,
    status: StatusCode,
    own: &Own,
    body: Bytes,
    stream: &mut S,
) -> Result<(), Ended> {
    let is_without_body = status == StatusCode::NO_CONTENT;
    let length = (!is_without_body).then_some(body.len() as u64);
    let is_last = body.is_empty() || request.method == Method::HEAD;
    stream.head(&own.head(status, None, length), is_last)?;
    exchange.status = Some(status);
    let body = if is_last { Bytes::new() } else { body };
    deliver::own(stream, body).await
}

impl Own {
    /// The `Cache-Status` of an answer that neither cache nor upstream gave.
    fn replace_status(&mut self, exchange: &Exchange, detail: &str) {
        self.remove(CACHE_STATUS);
        let text = format!("{}; fwd=bypass; detail={detail}", exchange.node.name);
        if let Ok(value) = HeaderValue::try_from(text) {
            self.push(HeaderName::from_static(CACHE_STATUS), value);
        }
    }
}

//! The answer to an exchange that failed: a problem document, when there is still somebody to read it.
//!
//! Invariant: once a byte of a response was sent, nothing else is: the connection or stream is broken off.

use bytes::Bytes;
use http::header;
use pingora::{Result, http::ResponseHeader, proxy::Session};
use tidegate_contract::{
    header::{CACHE_STATUS, REQUEST_ID},
    problem::CONTENT_TYPE,
};

use super::{exchange::Exchange, tier::NodeName};
use crate::error::Failure;

/// Answers with the failure's problem document. Says whether anything was sent.
pub(super) async fn answer(
    session: &mut Session,
    exchange: &Exchange,
    failure: Failure,
    node: &NodeName,
) -> bool {
    if failure.status == 0 || session.response_written().is_some() {
        return false;
    }
    let body = Bytes::from(serde_json::to_vec(&failure.problem()).unwrap_or_default());
    let sent = match head(failure, exchange, node, body.len()) {
        Ok(head) => session.write_error_response(head, body).await,
        Err(error) => Err(error),
    };
    if let Err(error) = &sent {
        tracing::debug!(%error, "an error response could not be sent");
    }
    sent.is_ok()
}

fn head(
    failure: Failure,
    exchange: &Exchange,
    node: &NodeName,
    bytes: usize,
) -> Result<ResponseHeader> {
    let mut head = ResponseHeader::build(failure.status, Some(6))?;
    head.insert_header(header::CONTENT_TYPE, CONTENT_TYPE)?;
    head.insert_header(header::CONTENT_LENGTH, bytes)?;
    head.insert_header(header::CACHE_CONTROL, "no-store")?;
    head.insert_header(
        CACHE_STATUS,
        format!("{}; fwd=bypass; detail={}", node.name, failure.kind),
    )?;
    if !exchange.id.is_empty() {
        head.insert_header(REQUEST_ID, exchange.id.as_str())?;
    }
    Ok(head)
}

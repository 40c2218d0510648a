//! The handler as hickory's server calls it, for the transports that hickory speaks.
//!
//! Invariant: the answer is that of [`Handler`] to the same bytes; hickory only writes it.

use std::sync::Arc;

use async_trait::async_trait;
use hickory_proto::{
    op::{Header, HeaderCounts, MessageType, Metadata, OpCode, ResponseCode},
    rr::Record,
};
use hickory_server::{
    net::{runtime::Time, xfer::Protocol},
    server::{Request, RequestHandler, ResponseHandler, ResponseInfo},
    zone_handler::MessageResponseBuilder,
};

use crate::dns::{handler::Handler, transport::Transport};

/// A handler for hickory's server.
#[derive(Debug, Clone)]
pub struct ForHickory(pub Arc<Handler>);

#[async_trait]
impl RequestHandler for ForHickory {
    async fn handle_request<R: ResponseHandler, T: Time>(
        &self,
        request: &Request,
        mut responses: R,
    ) -> ResponseInfo {
        let transport = transport(request.protocol());
        let Some(reply) = self.0.reply(request.as_slice(), request.src(), transport) else {
            return failed(request.metadata.id);
        };
        let message = reply.message;
        let none: [&Record; 0] = [];
        let response = MessageResponseBuilder::new(&request.queries, message.edns.as_ref()).build(
            message.metadata,
            &message.answers,
            &message.authorities,
            none,
            &message.additionals,
        );
        match responses.send_response(response).await {
            Ok(info) => info,
            Err(error) => {
                tracing::debug!(%error, "an answer could not be sent");
                failed(message.metadata.id)
            }
        }
    }
}

fn transport(protocol: Protocol) -> Transport {
    match protocol {
        Protocol::Udp => Transport::Udp,
        Protocol::Tls => Transport::Tls,
        Protocol::Https => Transport::Https,
        Protocol::Quic => Transport::Quic,
        Protocol::H3 => Transport::H3,
        _ => Transport::Tcp,
    }
}

fn failed(id: u16) -> ResponseInfo {
    let mut metadata = Metadata::new(id, MessageType::Response, OpCode::Query);
    metadata.response_code = ResponseCode::ServFail;
    ResponseInfo::from(Header { metadata, counts: HeaderCounts::default() })
}

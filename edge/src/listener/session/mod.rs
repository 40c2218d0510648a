//! One H2 or H3 stream as a Pingora session: the only file that knows Pingora's custom session.
//!
//! Pingora has no session for H3, and its own for H2 can neither write without blocking the cache
//! fill nor be turned into a background revalidation; so both protocols use this one over a
//! [`Carrier`]. The request is presented as HTTP/2 with `Host` set, because Pingora knows no higher
//! version; `Downstream` in its extensions tells the truth. Invariant: a session that is dropped before its
//! response was completed cuts the stream (a QUIC stream would otherwise end cleanly).

mod incoming;
mod outgoing;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::Stream;
use http::{HeaderMap, Version};
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::protocols::Digest;
use pingora::protocols::http::HttpTask;
use pingora::protocols::http::custom::CustomMessageWrite;
use pingora::protocols::http::custom::server::Session as CustomSession;
use pingora::protocols::http::v1::client::http_req_header_to_wire;
use pingora::protocols::l4::socket::SocketAddr;
use pingora::{Error, ErrorType, Result};

use self::incoming::Incoming;
use self::outgoing::{Outgoing, content_length};
use super::carrier::{Carrier, Reset};
use super::config::Limits;

/// A request and its response on one stream.
pub(super) struct StreamSession<C: Carrier> {
    request: RequestHeader,
    incoming: Incoming,
    outgoing: Outgoing,
    carrier: C,
    digest: Arc<Digest>,
    has_proxy_tasks: bool,
    is_client_gone: bool,
    /// Kept for Pingora only: streams are not reused, so nothing is drained.
    drain_timeout: Option<Duration>,
}

impl<C: Carrier> StreamSession<C> {
    /// A session for an admitted request.
    pub(super) fn new(
        request: RequestHeader,
        carrier: C,
        digest: Arc<Digest>,
        limits: &Limits,
    ) -> Self {
        Self {
            incoming: Incoming::new(
                content_length(&request.headers),
                carrier.is_read_to_end(),
                limits.body_timeout,
            ),
            outgoing: Outgoing::new(&request.method, limits.write_timeout),
            request,
            carrier,
            digest,
            has_proxy_tasks: false,
            is_client_gone: false,
            drain_timeout: None,
        }
    }

    async fn write(&mut self, task: HttpTask) -> Result<bool> {
        self.outgoing.queue(task);
        self.outgoing.flush(&mut self.carrier).await
    }

    /// Waits until the client gives up; for ever once the response has ended, because then its
    /// leaving is no news.
    async fn client_gone(&mut self) -> Box<Error> {
        let lost = std::future::poll_fn(|cx| {
            if self.is_client_gone || self.outgoing.is_ended() {
                return Poll::Pending;
            }
            self.carrier.poll_gone(cx)
        })
        .await;
        self.is_client_gone = true;
        Error::explain(ErrorType::ConnectionClosed, format!("client gone: {lost}"))
    }
}

impl<C: Carrier> Drop for StreamSession<C> {
    fn drop(&mut self) {
        let reason = if self.is_client_gone { Reset::Cancelled } else { Reset::Internal };
        self.outgoing.cut(&mut self.carrier, reason);
        if !self.incoming.is_done() {
            self.carrier.stop_reading();
        }
    }
}

#[async_trait]
impl<C: Carrier> CustomSession for StreamSession<C> {
    fn req_header(&self) -> &RequestHeader {
        &self.request
    }

    fn req_header_mut(&mut self) -> &mut RequestHeader {
        &mut self.request
    }

    async fn read_body_bytes(&mut self) -> Result<Option<Bytes>> {
        self.incoming.next(&mut self.carrier).await
    }

    async fn drain_request_body(&mut self) -> Result<()> {
        if !self.incoming.is_done() {
            self.incoming.give_up();
            self.carrier.stop_reading();
        }
        Ok(())
    }

    async fn write_response_header(&mut self, resp: Box<ResponseHeader>, end: bool) -> Result<()> {
        self.write(HttpTask::Header(resp, end)).await.map(drop)
    }

    async fn write_response_header_ref(&mut self, resp: &ResponseHeader, end: bool) -> Result<()> {
        self.write(HttpTask::Header(Box::new(resp.clone()), end)).await.map(drop)
    }

    async fn write_body(&mut self, data: Bytes, end: bool) -> Result<()> {
        self.write(HttpTask::Body(Some(data), end)).await.map(drop)
    }

    async fn write_trailers(&mut self, trailers: HeaderMap) -> Result<()> {
        self.write(HttpTask::Trailer(Some(Box::new(trailers)))).await.map(drop)
    }

    async fn response_duplex_vec(&mut self, tasks: Vec<HttpTask>) -> Result<bool> {
        for task in tasks {
            self.outgoing.queue(task);
        }
        self.outgoing.flush(&mut self.carrier).await
    }

    fn proxy_tasks_enabled(&self) -> bool {
        self.has_proxy_tasks
    }

    fn set_proxy_tasks_enabled(&mut self, enabled: bool) {
        self.has_proxy_tasks = enabled;
    }

    fn send_proxy_task(&mut self, task: HttpTask) {
        self.outgoing.queue(task);
    }

    fn has_pending_proxy_tasks(&self) -> bool {
        self.outgoing.is_pending()
    }

    async fn write_proxy_tasks(&mut self) -> Result<bool> {
        self.outgoing.flush(&mut self.carrier).await
    }

    fn set_read_timeout(&mut self, timeout: Option<Duration>) {
        self.incoming.set_timeout(timeout);
    }

    fn get_read_timeout(&self) -> Option<Duration> {
        self.incoming.timeout()
    }

    fn set_write_timeout(&mut self, timeout: Option<Duration>) {
        self.outgoing.set_timeout(timeout);
    }

    fn get_write_timeout(&self) -> Option<Duration> {
        self.outgoing.timeout()
    }

    fn set_total_drain_timeout(&mut self, timeout: Option<Duration>) {
        self.drain_timeout = timeout;
    }

    fn get_total_drain_timeout(&self) -> Option<Duration> {
        self.drain_timeout
    }

    /// Method, host and path; never the query, which may carry a signature and ends in logs.
    fn request_summary(&self) -> String {
        let host = self.request.headers.get(http::header::HOST);
        let host = host.and_then(|host| host.to_str().ok()).unwrap_or("-");
        format!("{} {}{}", self.request.method, host, self.request.uri.path())
    }

    fn response_written(&self) -> Option<&ResponseHeader> {
        self.outgoing.header()
    }

    async fn shutdown(&mut self, _code: u32, context: &str) {
        self.abandon(context).await;
    }

    async fn abandon(&mut self, _context: &str) {
        self.outgoing.cut(&mut self.carrier, Reset::Internal);
    }

    fn is_body_done(&mut self) -> bool {
        self.incoming.is_done()
    }

    async fn finish(&mut self) -> Result<()> {
        self.write(HttpTask::Done).await.map(drop)
    }

    fn is_body_empty(&mut self) -> bool {
        self.incoming.is_empty()
    }

    async fn read_body_or_idle(&mut self, no_body_expected: bool) -> Result<Option<Bytes>> {
        if no_body_expected || self.incoming.is_done() {
            return Err(self.client_gone().await);
        }
        self.incoming.next(&mut self.carrier).await
    }

    fn body_bytes_sent(&self) -> usize {
        usize::try_from(self.outgoing.bytes_sent()).unwrap_or(usize::MAX)
    }

    fn body_bytes_read(&self) -> usize {
        usize::try_from(self.incoming.bytes_read()).unwrap_or(usize::MAX)
    }

    fn digest(&self) -> Option<&Digest> {
        Some(&self.digest)
    }

    fn digest_mut(&mut self) -> Option<&mut Digest> {
        Arc::get_mut(&mut self.digest)
    }

    fn client_addr(&self) -> Option<&SocketAddr> {
        self.digest.socket_digest.as_ref()?.peer_addr()
    }

    fn server_addr(&self) -> Option<&SocketAddr> {
        self.digest.socket_digest.as_ref()?.local_addr()
    }

    /// The request as H1 text; Pingora parses it again for a background revalidation, and its
    /// parser knows no version above 1.1.
    fn pseudo_raw_h1_request_header(&self) -> Bytes {
        let mut request = self.request.clone();
        request.set_version(Version::HTTP_11);
        http_req_header_to_wire(&request).map(|wire| wire.freeze()).unwrap_or_default()
    }

    fn enable_retry_buffering(&mut self) {
        self.incoming.keep_for_retry();
    }

    fn retry_buffer_truncated(&self) -> bool {
        self.incoming.is_retry_cut()
    }

    fn get_retry_buffer(&self) -> Option<Bytes> {
        self.incoming.retry_copy()
    }

    async fn finish_custom(&mut self) -> Result<()> {
        Ok(())
    }

    // Custom messages run beside the response; without a writer Pingora does not wait for them.
    fn take_custom_message_reader(
        &mut self,
    ) -> Option<Box<dyn Stream<Item = Result<Bytes>> + Unpin + Send + Sync + 'static>> {
        None
    }

    fn restore_custom_message_reader(
        &mut self,
        _reader: Box<dyn Stream<Item = Result<Bytes>> + Unpin + Send + Sync + 'static>,
    ) -> Result<()> {
        Ok(())
    }

    fn take_custom_message_writer(&mut self) -> Option<Box<dyn CustomMessageWrite>> {
        None
    }

    fn restore_custom_message_writer(
        &mut self,
        _writer: Box<dyn CustomMessageWrite>,
    ) -> Result<()> {
        Ok(())
    }
}

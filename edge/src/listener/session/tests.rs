//! The session over a carrier that tests drive by hand: how much it takes, when it breaks.
//!
//! Invariant under test: whatever future is dropped, the stream gets every byte once and in order,
//! and ends cleanly only when the promised length was reached.

use std::sync::Mutex;

use futures::FutureExt;
use http::{Method, Response};

use super::*;
use crate::listener::carrier::StreamLost;

/// What the carrier did, and how much more it will take.
#[derive(Debug, Default)]
struct Wire {
    status: Option<u16>,
    body: Vec<u8>,
    room: usize,
    ended: bool,
    trailers: Option<HeaderMap>,
    reset: Option<Reset>,
    stopped_reading: bool,
    gone: bool,
    request: Vec<Option<Bytes>>,
}

#[derive(Clone)]
struct FakeCarrier(Arc<Mutex<Wire>>);

impl FakeCarrier {
    fn new(room: usize) -> Self {
        Self(Arc::new(Mutex::new(Wire { room, ..Wire::default() })))
    }

    fn with<T>(&self, look: impl FnOnce(&mut Wire) -> T) -> T {
        look(&mut self.0.lock().unwrap())
    }

    fn body(&self) -> String {
        self.with(|wire| String::from_utf8(wire.body.clone()).unwrap())
    }
}

impl Carrier for FakeCarrier {
    fn poll_read(
        &mut self,
        _: &mut std::task::Context<'_>,
    ) -> Poll<Result<Option<Bytes>, StreamLost>> {
        self.with(|wire| match wire.request.is_empty() {
            true => Poll::Pending,
            false => Poll::Ready(Ok(wire.request.remove(0))),
        })
    }

    fn is_read_to_end(&self) -> bool {
        self.with(|wire| wire.request.is_empty())
    }

    fn stop_reading(&mut self) {
        self.with(|wire| wire.stopped_reading = true);
    }

    fn send_header(&mut self, header: Response<()>, end: bool) -> Result<(), StreamLost> {
        self.with(|wire| {
            wire.status = Some(header.status().as_u16());
            wire.ended = end;
        });
        Ok(())
    }

    fn poll_write(
        &mut self,
        _: &mut std::task::Context<'_>,
        data: &mut Bytes,
        end: bool,
    ) -> Poll<Result<(), StreamLost>> {
        self.with(|wire| {
            let piece = data.split_to(data.len().min(wire.room));
            wire.room -= piece.len();
            wire.body.extend_from_slice(&piece);
            if !data.is_empty() {
                return Poll::Pending;
            }
            wire.ended |= end;
            Poll::Ready(Ok(()))
        })
    }

    fn poll_trailers(
        &mut self,
        _: &mut std::task::Context<'_>,
        trailers: &HeaderMap,
    ) -> Poll<Result<(), StreamLost>> {
        self.with(|wire| {
            wire.trailers = Some(trailers.clone());
            wire.ended = true;
        });
        Poll::Ready(Ok(()))
    }

    fn poll_gone(&mut self, _: &mut std::task::Context<'_>) -> Poll<StreamLost> {
        if self.with(|wire| wire.gone) {
            Poll::Ready(StreamLost("gone".into()))
        } else {
            Poll::Pending
        }
    }

    fn reset(&mut self, reason: Reset) {
        self.with(|wire| wire.reset = Some(reason));
    }
}

fn session(
    method: Method,
    length: Option<&str>,
    carrier: &FakeCarrier,
) -> StreamSession<FakeCarrier> {
    let mut request = RequestHeader::build(method, b"/p?token=secret", None).unwrap();
    request.insert_header("host", "a.test").unwrap();
    if let Some(length) = length {
        request.insert_header("content-length", length).unwrap();
    }
    StreamSession::new(request, carrier.clone(), Arc::default(), &Limits::default())
}

fn header(status: u16, length: Option<usize>) -> Box<ResponseHeader> {
    let mut header = ResponseHeader::build(status, None).unwrap();
    header.insert_header("connection", "keep-alive").unwrap();
    if let Some(length) = length {
        header.insert_header("content-length", length.to_string()).unwrap();
    }
    Box::new(header)
}

fn body(text: &'static str, end: bool) -> HttpTask {
    HttpTask::Body(Some(Bytes::from_static(text.as_bytes())), end)
}

#[tokio::test]
async fn a_dropped_write_goes_on_where_it_was() {
    let carrier = FakeCarrier::new(3);
    let mut session = session(Method::GET, None, &carrier);
    session.set_proxy_tasks_enabled(true);
    session.send_proxy_task(HttpTask::Header(header(200, Some(10)), false));
    session.send_proxy_task(body("hello", false));
    session.send_proxy_task(body("world", true));

    // The proxy races this against the upstream and drops it whenever that has something.
    for expected in ["hel", "hello", "hellowo", "hellowor"] {
        assert!(session.write_proxy_tasks().now_or_never().is_none());
        assert!(session.has_pending_proxy_tasks());
        let room = expected.len() - carrier.body().len().min(expected.len());
        carrier.with(|wire| wire.room = room);
        assert!(session.write_proxy_tasks().now_or_never().is_none());
        assert_eq!(carrier.body(), expected);
    }
    carrier.with(|wire| wire.room = 10);
    assert!(session.write_proxy_tasks().await.unwrap(), "the response has ended");
    assert_eq!((carrier.body().as_str(), session.body_bytes_sent()), ("helloworld", 10));

    drop(session);
    carrier.with(|wire| assert_eq!((wire.ended, wire.reset), (true, None)));
}

#[tokio::test]
async fn a_body_against_its_content_length_is_cut() {
    for (length, pieces) in [
        (10, vec![body("short", true)]),
        (10, vec![body("short", false), HttpTask::Done]),
        (3, vec![body("longer", false)]),
        (3, vec![body("abc", false), body("d", true)]),
        (3, vec![HttpTask::Trailer(None)]),
        (3, vec![HttpTask::Trailer(Some(Box::default()))]),
    ] {
        let carrier = FakeCarrier::new(100);
        let mut session = session(Method::GET, None, &carrier);
        session.write_response_header(header(200, Some(length)), false).await.unwrap();
        session.response_duplex_vec(pieces).await.unwrap_err();
        assert!(session.write_body(Bytes::from_static(b"more"), true).await.is_err());
        drop(session);
        carrier.with(|wire| {
            assert_eq!((wire.ended, wire.reset), (false, Some(Reset::Internal)), "{wire:?}");
        });
    }
}

#[tokio::test]
async fn responses_without_body_may_name_a_length() {
    for (method, status) in [(Method::HEAD, 200), (Method::GET, 304)] {
        let carrier = FakeCarrier::new(100);
        let mut session = session(method, None, &carrier);
        session.write_response_header(header(status, Some(10)), false).await.unwrap();
        session.write_body(Bytes::from_static(b"ignored"), false).await.unwrap();
        session.finish().await.unwrap();
        carrier.with(|wire| assert_eq!((wire.ended, wire.body.len()), (true, 0)));
    }
}

#[tokio::test]
async fn an_unfinished_response_is_cut_on_drop() {
    for header_first in [false, true] {
        let carrier = FakeCarrier::new(100);
        let mut session = session(Method::GET, None, &carrier);
        if header_first {
            session.write_response_header(header(200, None), false).await.unwrap();
            session.write_body(Bytes::from_static(b"part"), false).await.unwrap();
        }
        drop(session);
        carrier.with(|wire| assert_eq!((wire.ended, wire.reset), (false, Some(Reset::Internal))));
    }
}

#[tokio::test]
async fn an_upstream_failure_is_handed_up_and_cuts_the_response() {
    let carrier = FakeCarrier::new(100);
    let mut session = session(Method::GET, None, &carrier);
    session.write_response_header(header(200, None), false).await.unwrap();
    let failed = HttpTask::Failed(Error::explain(ErrorType::ReadError, "upstream"));
    let error = session.response_duplex_vec(vec![failed, HttpTask::Done]).await.unwrap_err();
    assert_eq!(*error.etype(), ErrorType::ReadError);
    carrier.with(|wire| assert_eq!((wire.ended, wire.reset), (false, Some(Reset::Internal))));
}

#[tokio::test]
async fn trailers_end_the_response_and_connection_headers_stay_behind() {
    let carrier = FakeCarrier::new(100);
    let mut session = session(Method::GET, None, &carrier);
    session.write_response_header(header(103, None), false).await.unwrap();
    assert!(session.response_written().is_none(), "1xx is not passed on");
    session.write_response_header(header(200, None), false).await.unwrap();
    assert!(!session.response_written().unwrap().headers.contains_key("connection"));
    let mut trailers = HeaderMap::new();
    trailers.insert("x-sum", "1".parse().unwrap());
    session.write_trailers(trailers).await.unwrap();
    carrier.with(|wire| assert!(wire.ended && wire.trailers.is_some()));
}

#[tokio::test(start_paused = true)]
async fn a_client_that_takes_nothing_is_given_up() {
    let carrier = FakeCarrier::new(2);
    let mut session = session(Method::GET, None, &carrier);
    session.set_write_timeout(Some(Duration::from_secs(5)));
    session.write_response_header(header(200, None), false).await.unwrap();
    let error = session.write_body(Bytes::from_static(b"hello"), false).await.unwrap_err();
    assert_eq!(*error.etype(), ErrorType::WriteTimedout);
    carrier.with(|wire| assert_eq!(wire.reset, Some(Reset::Internal)));
}

#[tokio::test]
async fn a_request_body_must_have_its_content_length() {
    let piece = |text: &'static str| Some(Bytes::from_static(text.as_bytes()));
    for (pieces, fits) in [
        (vec![piece("hel"), piece("lo"), None], true),
        (vec![piece("hel"), None], false),
        (vec![piece("hello!"), None], false),
    ] {
        let carrier = FakeCarrier::new(100);
        carrier.with(|wire| wire.request = pieces);
        let mut session = session(Method::POST, Some("5"), &carrier);
        session.enable_retry_buffering();
        let read = loop {
            match session.read_body_bytes().await {
                Ok(Some(_)) => {}
                other => break other,
            }
        };
        assert_eq!(read.is_ok(), fits);
        assert_eq!(carrier.with(|wire| wire.reset), (!fits).then_some(Reset::Malformed));
        if fits {
            assert_eq!(session.get_retry_buffer().unwrap(), "hello");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_body_that_stops_coming_times_out() {
    let carrier = FakeCarrier::new(100);
    carrier.with(|wire| wire.request = vec![Some(Bytes::from_static(b"hel"))]);
    let mut session = session(Method::POST, Some("5"), &carrier);
    assert!(!session.is_body_empty());
    session.read_body_bytes().await.unwrap();
    let error = session.read_body_bytes().await.unwrap_err();
    assert_eq!(*error.etype(), ErrorType::ReadTimedout);
    drop(session);
    assert!(carrier.with(|wire| wire.stopped_reading));
}

#[tokio::test]
async fn a_client_that_leaves_is_noticed_while_the_response_is_open() {
    let carrier = FakeCarrier::new(100);
    let mut session = session(Method::GET, None, &carrier);
    assert!(session.read_body_or_idle(true).now_or_never().is_none());
    carrier.with(|wire| wire.gone = true);
    let error = session.read_body_or_idle(true).await.unwrap_err();
    assert_eq!(*error.etype(), ErrorType::ConnectionClosed);
    drop(session);
    assert_eq!(carrier.with(|wire| wire.reset), Some(Reset::Cancelled));
}

#[tokio::test]
async fn the_request_can_be_read_again_as_h1_and_logged_without_its_query() {
    let carrier = FakeCarrier::new(100);
    let mut session = session(Method::GET, None, &carrier);
    session.req_header_mut().set_version(Version::HTTP_2);
    let text = session.pseudo_raw_h1_request_header();
    let text = String::from_utf8(text.to_vec()).unwrap();
    assert!(text.starts_with("GET /p?token=secret HTTP/1.1\r\n"), "{text}");
    assert!(text.to_ascii_lowercase().contains("host: a.test\r\n"), "{text}");
    assert_eq!(session.request_summary(), "GET a.test/p");
}

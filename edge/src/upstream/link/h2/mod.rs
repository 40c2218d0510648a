//! One request and its answer on a stream of HTTP/2.
//!
//! Invariant: a stream that is dropped before its end is reset.

mod pool;

use std::{future::poll_fn, task::Poll};

use bytes::Bytes;
use h2::{Reason, RecvStream, SendStream, client::ResponseFuture};
use http::{HeaderMap, Request, Response, Uri, Version, header, uri::Scheme};
use tokio::time::{Instant, timeout, timeout_at};

pub(super) use self::pool::{Lane, Pool};
use super::{
    super::{
        ask::{Piece, RequestBody},
        failed::Failed,
    },
    fields::{keep_end_to_end, keep_trailers},
    framing,
    message::{BodyLength, Incoming, Interims, Outgoing, Received, Times},
    sending::Sending,
};

/// Sends a request and reads the head of its answer.
pub(super) async fn exchange(
    lane: Lane,
    request: &Outgoing,
    body: &mut Option<RequestBody>,
    times: Times,
    interims: &mut Interims<'_>,
) -> Result<Received, Failed> {
    let head = head(request)?;
    let Ok(Ok(mut sender)) = timeout(times.write, lane.sender().ready()).await else {
        // Nothing was sent.
        lane.retire();
        return Err(Failed::NotLookedAt);
    };
    let (mut response, stream) = sender.send_request(head, body.is_none()).map_err(|_| {
        lane.retire();
        Failed::NotLookedAt
    })?;
    drop(sender);
    let length = request.body;
    let mut sending =
        body.take().map(|body| Sending::start(send_body(stream, body, length, times)));
    let answer = final_head(&mut response, &mut sending, times, interims).await;
    let answer = answer.inspect_err(|failed| match failed {
        Failed::FirstByteTime | Failed::Closed | Failed::NotLookedAt => lane.retire(),
        _ => {}
    })?;
    let (parts, receiving) = answer.into_parts();
    let mut headers = parts.headers;
    let left = framing::of_h2(&request.method, parts.status, &headers)?;
    keep_end_to_end(&mut headers);
    let is_over = receiving.is_end_stream();
    let body =
        Body { receiving, left, sending, times, is_over: false, trailers: None, _lane: lane };
    // At the end of the stream there may still be an error instead of an end, which reading finds out.
    let is_empty = is_over && left.unwrap_or(0) == 0 && body.sending.is_none();
    let body = if is_empty { body.end_at_once().await? } else { Incoming::H2(Box::new(body)) };
    Ok(Received { status: parts.status, headers, body })
}

/// The body of an answer as it comes.
pub(in crate::upstream) struct Body {
    receiving: RecvStream,
    /// What must still come, if the head said.
    left: Option<u64>,
    sending: Option<Sending<()>>,
    times: Times,
    is_over: bool,
    trailers: Option<HeaderMap>,
    _lane: Lane,
}

impl Body {
    pub(in crate::upstream) async fn next(&mut self) -> Result<Option<Bytes>, Failed> {
        loop {
            if self.is_over {
                return Ok(None);
            }
            let read = read(&mut self.receiving, self.sending.as_mut());
            let read = match timeout(self.times.read, read).await.map_err(|_| Failed::ReadTime)? {
                // Upstream wants no more of the request; the answer was whole before (RFC 9113 8.1).
                Err(Failed::H2(error)) if self.left == Some(0) && is_no_error(&error) => {
                    Read::End(None)
                }
                read => read?,
            };
            match read {
                Read::Data(data) => {
                    if let Some(left) = &mut self.left {
                        *left = left.checked_sub(data.len() as u64).ok_or(Failed::Short)?;
                    }
                    self.receiving.flow_control().release_capacity(data.len())?;
                    if !data.is_empty() {
                        return Ok(Some(data));
                    }
                }
                Read::RequestSent => {}
                Read::End(trailers) => {
                    if self.left.is_some_and(|left| left > 0) {
                        return Err(Failed::Short);
                    }
                    self.trailers = trailers.map(|mut trailers| {
                        keep_trailers(&mut trailers);
                        trailers
                    });
                    self.is_over = true;
                }
            }
        }
    }

    pub(in crate::upstream) fn trailers(&mut self) -> Option<HeaderMap> {
        self.trailers.take()
    }

    async fn end_at_once(mut self) -> Result<Incoming, Failed> {
        match self.next().await? {
            None => Ok(Incoming::Empty),
            Some(_) => Err(Failed::Short),
        }
    }
}

enum Read {
    Data(Bytes),
    End(Option<HeaderMap>),
    RequestSent,
}

/// Reads what is there, or waits until the request is sent. May be dropped and called again.
async fn read(
    receiving: &mut RecvStream,
    sending: Option<&mut Sending<()>>,
) -> Result<Read, Failed> {
    let receive = async {
        match receiving.data().await {
            Some(data) => Ok(Read::Data(data?)),
            None => Ok(Read::End(receiving.trailers().await?)),
        }
    };
    match sending.filter(|sending| !sending.is_over()) {
        None => receive.await,
        Some(sending) => tokio::select! {
            read = receive => read,
            done = sending.done() => done.map(|()| Read::RequestSent),
        },
    }
}

/// Waits for the final head, and hands interim ones on.
async fn final_head(
    response: &mut ResponseFuture,
    sending: &mut Option<Sending<()>>,
    times: Times,
    interims: &mut Interims<'_>,
) -> Result<Response<RecvStream>, Failed> {
    let mut deadline = None;
    loop {
        let is_sent = sending.as_ref().is_none_or(Sending::is_over);
        if deadline.is_none() && is_sent {
            deadline = Some(Instant::now() + times.first_byte);
        }
        let came = match (deadline, sending.as_mut()) {
            (Some(deadline), _) => timeout_at(deadline, head_of_any(response))
                .await
                .map_err(|_| Failed::FirstByteTime)?,
            (None, Some(sending)) => tokio::select! {
                came = head_of_any(response) => came,
                done = sending.done() => { done?; continue }
            },
            (None, None) => head_of_any(response).await,
        };
        match came.map_err(before_answer)? {
            Came::Final(response) => return Ok(response),
            Came::Interim(interim) => {
                let (parts, ()) = interim.into_parts();
                framing::of_h2(&http::Method::GET, parts.status, &parts.headers)?;
                let mut headers = parts.headers;
                keep_end_to_end(&mut headers);
                interims.came(parts.status, headers)?;
            }
        }
    }
}

enum Came {
    Interim(Response<()>),
    Final(Response<RecvStream>),
}

async fn head_of_any(response: &mut ResponseFuture) -> Result<Came, h2::Error> {
    poll_fn(|cx| {
        if let Poll::Ready(Some(interim)) = response.poll_informational(cx) {
            return Poll::Ready(interim.map(Came::Interim));
        }
        std::pin::Pin::new(&mut *response).poll(cx).map_ok(Came::Final)
    })
    .await
}

/// What an error before an answer means for another attempt.
fn before_answer(error: h2::Error) -> Failed {
    let reason = error.reason();
    let is_goodbye = error.is_go_away() && error.is_remote() && reason == Some(Reason::NO_ERROR);
    let is_refused =
        error.is_reset() && error.is_remote() && reason == Some(Reason::REFUSED_STREAM);
    let is_h1_wanted = error.is_remote() && reason == Some(Reason::HTTP_1_1_REQUIRED);
    if is_goodbye || is_refused {
        Failed::NotLookedAt
    } else if is_h1_wanted {
        Failed::NeedsHttp1
    } else if error.is_io() {
        Failed::Closed
    } else {
        Failed::H2(error)
    }
}

fn is_no_error(error: &h2::Error) -> bool {
    error.is_reset() && error.is_remote() && error.reason() == Some(Reason::NO_ERROR)
}

async fn send_body(
    mut stream: SendStream<Bytes>,
    mut body: RequestBody,
    length: BodyLength,
    times: Times,
) -> Result<(), Failed> {
    let mut left = match length {
        BodyLength::Known(length) => Some(length),
        BodyLength::None => Some(0),
        BodyLength::Unknown => None,
    };
    loop {
        match body.recv().await {
            Some(Ok(Piece::Data(data))) => {
                if let Some(left) = &mut left {
                    let rest = left.checked_sub(data.len() as u64);
                    *left = rest.ok_or(Failed::Request("its body is longer than it says"))?;
                }
                send(&mut stream, data, times).await?;
            }
            Some(Ok(Piece::End(mut trailers))) if left.unwrap_or(0) == 0 => {
                trailers.iter_mut().for_each(keep_trailers);
                match trailers {
                    Some(trailers) => stream.send_trailers(trailers)?,
                    None => stream.send_data(Bytes::new(), true)?,
                }
                return Ok(());
            }
            Some(Ok(Piece::End(_)) | Err(_)) | None => {
                stream.send_reset(Reason::CANCEL);
                return Err(Failed::ClientGone);
            }
        }
    }
}

/// Sends a piece as the upstream takes it.
async fn send(stream: &mut SendStream<Bytes>, mut data: Bytes, times: Times) -> Result<(), Failed> {
    while !data.is_empty() {
        stream.reserve_capacity(data.len());
        let capacity = timeout(times.write, poll_fn(|cx| stream.poll_capacity(cx))).await;
        let capacity = capacity.map_err(|_| Failed::WriteTime)?.ok_or(Failed::Closed)??;
        let piece = data.split_to(capacity.min(data.len()));
        stream.send_data(piece, false)?;
    }
    Ok(())
}

fn head(request: &Outgoing) -> Result<Request<()>, Failed> {
    let uri = Uri::builder()
        // H2 is spoken over TLS alone.
        .scheme(Scheme::HTTPS)
        .authority(request.host.as_bytes())
        .path_and_query(request.path.clone())
        .build()
        .map_err(|_| Failed::Request("its host is none"))?;
    let mut head = Request::new(());
    *head.method_mut() = request.method.clone();
    *head.uri_mut() = uri;
    *head.version_mut() = Version::HTTP_2;
    *head.headers_mut() = request.headers.clone();
    if let BodyLength::Known(length) = request.body {
        head.headers_mut().insert(header::CONTENT_LENGTH, length.into());
    }
    Ok(head)
}

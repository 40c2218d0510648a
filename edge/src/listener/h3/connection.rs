//! One H3 connection: accepts requests, answers what can be answered at once, and takes its leave.
//!
//! Invariant: a connection that we end is closed only when every response was acknowledged; closing throws away what is
//! still on its way.

use std::{future::poll_fn, pin::pin, sync::Arc, task::Poll, time::Duration};

use bytes::BytesMut;
use tokio::time::{Instant, sleep, timeout};

use super::{
    code::Code,
    frame::{VARINT_MAX, kind, put_frame_head, put_varint},
    peer::{Limits, Peer},
    settings::control_stream_begin,
    stream::H3Stream,
    uni,
    windows::Windows,
    worker::Worker,
};
use crate::listener::{downstream::Protocol, serving::Serving, stream::App};

/// Serves a connection until the client, a limit or the drain ends it.
pub(in crate::listener) async fn converse<A: App>(
    quic: quinn::Connection,
    worker: &Arc<Worker>,
    serving: &Arc<Serving<A>>,
) {
    let _open = serving.metrics.connection(Protocol::Http3);
    let limits = Limits::new(&serving.limits, serving.quic.frame_bytes_max.as_u64());
    let room = (serving.account.clone(), Windows::new(&serving.account, &serving.quic));
    let peer = Peer::new(quic, limits, serving.metrics.clone(), room, worker.clone());
    let conversation = Conversation {
        peer: Arc::new(peer),
        worker: worker.clone(),
        serving: serving.clone(),
        next_stream: 0,
    };
    conversation.run().await;
}

struct Conversation<A> {
    peer: Arc<Peer>,
    worker: Arc<Worker>,
    serving: Arc<Serving<A>>,
    /// The stream behind the last that was accepted.
    next_stream: u64,
}

/// How far the leave is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Leave {
    /// Nobody leaves.
    No,
    /// The client was told to go; what it sent before it heard that is still taken (RFC 9114 5.2).
    Announced,
    /// Nothing more is taken.
    Final,
}

impl<A: App> Conversation<A> {
    async fn run(mut self) {
        let Some(mut control) = self.open_control().await else { return };
        let mut stopped = pin!(control.stopped());
        let (peer, serving) = (self.peer.clone(), self.serving.clone());
        let mut one_way = pin!(uni::read_all(&peer));
        let mut drain = pin!(async {
            tokio::select! {
                () = serving.drain.started() => {}
                () = serving.leaving.asked() => {}
            }
        });
        let mut done = pin!(peer.all_done());
        let idle = serving.limits.idle_timeout;
        let mut timer = pin!(sleep(idle.min(FORGET_TIME)));
        let mut leave = Leave::No;
        loop {
            tokio::select! {
                biased;
                accepted = peer.quic.accept_bi() => {
                    let Ok((send, recv)) = accepted else { return };
                    self.accept(send, recv, leave).await;
                }
                broken = &mut one_way => {
                    if let super::code::Broken::Connection(code, why) = broken {
                        peer.close(code, why);
                    }
                    return;
                }
                stopped = &mut stopped => {
                    if stopped.is_ok() {
                        // Nobody may ask for it, and without it the connection is none (RFC 9114 6.2.1).
                        peer.close(Code::CLOSED_CRITICAL_STREAM, "our control stream is not wanted");
                    }
                    return;
                }
                () = &mut drain, if leave == Leave::No => {
                    leave = Leave::Announced;
                    goaway(&mut control, LAST_STREAM);
                    timer.as_mut().reset(Instant::now() + self.round_trip());
                }
                () = &mut timer, if leave != Leave::Final => {
                    if leave == Leave::Announced {
                        leave = Leave::Final;
                        goaway(&mut control, self.next_stream);
                        continue;
                    }
                    let quiet = peer.quiet_for().unwrap_or_default();
                    if quiet >= idle {
                        leave = Leave::Announced;
                        goaway(&mut control, LAST_STREAM);
                        timer.as_mut().reset(Instant::now() + self.round_trip());
                        continue;
                    }
                    let rest = if quiet >= FORGET_TIME {
                        peer.forget();
                        idle - quiet
                    } else {
                        (idle - quiet).min(FORGET_TIME)
                    };
                    timer.as_mut().reset(Instant::now() + rest);
                }
                () = &mut done, if leave == Leave::Final => break,
            }
        }
        // A client that does not acknowledge is gone.
        let _ = timeout(serving.limits.write_timeout, peer.all_acknowledged()).await;
        peer.close(Code::NO_ERROR, "");
    }

    /// Opens our control stream and says our settings. A client must let us, and must let it be so long (RFC 9114 6.2).
    async fn open_control(&self) -> Option<quinn::SendStream> {
        let begin =
            control_stream_begin(self.peer.limits.section_max, rand::random::<u16>().into());
        let opening = async {
            let mut control = self.peer.quic.open_uni().await.ok()?;
            let _ = control.set_priority(i32::MAX);
            control.write_chunk(begin.freeze()).await.ok()?;
            Some(control)
        };
        let opened = timeout(self.serving.limits.handshake_timeout, opening).await;
        opened.unwrap_or_else(|_| {
            self.peer.close(Code::STREAM_CREATION_ERROR, "no stream allowed to us");
            None
        })
    }

    /// Begins an exchange, and finishes it here if it need not wait.
    async fn accept(
        &mut self,
        mut send: quinn::SendStream,
        mut recv: quinn::RecvStream,
        leave: Leave,
    ) {
        let id = u64::from(send.id());
        if leave == Leave::Final && id >= self.next_stream {
            // Fails only on a stream that has ended.
            let _ = send.reset(Code::REQUEST_REJECTED.into());
            let _ = recv.stop(Code::REQUEST_REJECTED.into());
            return;
        }
        self.next_stream = self.next_stream.max(id + 4);
        let stream = H3Stream::new(&self.peer, send, recv);
        let serving = self.serving.clone();
        let exchange = async move { exchange(stream, &serving).await };
        let mut exchange = Some(exchange);
        let waiting = poll_fn(|cx| {
            Poll::Ready(exchange.take().and_then(|exchange| self.worker.run_now(cx, exchange)))
        });
        if let Some(waiting) = waiting.await {
            self.serving.tasks.spawn(waiting);
        }
        // A client with endless requests does not keep the others of this thread waiting.
        tokio::task::coop::consume_budget().await;
    }

    /// Time in which a request that was sent before GOAWAY arrived there is here.
    fn round_trip(&self) -> Duration {
        if self.next_stream == 0 {
            // The client has just come, and has its first request on the way; it may not have finished its handshake.
            return LEAVE_TIME_MAX;
        }
        (self.peer.quic.rtt() * 2).clamp(LEAVE_TIME_MIN, LEAVE_TIME_MAX)
    }
}

async fn exchange<A: App>(mut stream: H3Stream, serving: &Serving<A>) {
    match stream.request().await {
        Ok(request) => serving.app.serve(request, stream).await.conclude(),
        Err(why) => stream.refuse(why).await,
    }
}

/// Tells the client which of its streams are the last.
fn goaway(control: &mut quinn::SendStream, stream: u64) {
    let mut id = BytesMut::new();
    put_varint(&mut id, stream);
    let mut frame = BytesMut::new();
    put_frame_head(&mut frame, kind::GOAWAY, id.len() as u64);
    frame.extend_from_slice(&id);
    // A few bytes always find room, or the client is not there to read them.
    let _ = futures::FutureExt::now_or_never(control.write_chunk(frame.freeze()));
}

/// The largest number that a request stream can have.
const LAST_STREAM: u64 = VARINT_MAX - 3;
/// After this time without a request the last responses must have been acknowledged.
const FORGET_TIME: Duration = Duration::from_secs(5);
const LEAVE_TIME_MIN: Duration = Duration::from_millis(20);
const LEAVE_TIME_MAX: Duration = Duration::from_secs(1);

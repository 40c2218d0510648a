//! What the streams of one connection share: the client's limits and wishes, and what it has cost so far.
//!
//! Invariant: whatever a client can do again and again on one connection is counted here, and has an end.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use bytes::{Bytes, BytesMut};
use futures::FutureExt;
use tokio::sync::Notify;

use super::{code::Code, windows::Windows, worker::Worker};
use crate::listener::{
    account::{Account, EXCHANGE, Grant},
    config,
    downstream::Protocol,
    metrics::Metrics,
    priority::Priority,
};

/// One client on one connection.
pub(super) struct Peer {
    pub(super) quic: quinn::Connection,
    pub(super) limits: Limits,
    pub(super) metrics: Metrics,
    pub(super) windows: Windows,
    account: Account,
    /// The largest header section that the client takes; not known before its SETTINGS.
    pub(super) section_max: AtomicU64,
    /// Which of control stream and QPACK streams are there, a bit each.
    pub(super) critical_streams: AtomicU8,
    worker: Arc<Worker>,
    since: Instant,
    /// When the last exchange ended, in milliseconds after `since`.
    quiet_at: AtomicU64,
    open: AtomicUsize,
    quiet: Notify,
    completed: AtomicU32,
    cancelled: AtomicU32,
    malformed: AtomicU32,
    odd_streams: AtomicU32,
    control_bytes: AtomicU64,
    priority_changes: AtomicU32,
    priorities: Mutex<VecDeque<(u64, Priority)>>,
    finished: Mutex<VecDeque<quinn::SendStream>>,
}

/// The settings that hold for each stream.
#[derive(Debug, Clone)]
pub(super) struct Limits {
    pub(super) section_max: u64,
    pub(super) frame_max: u64,
    pub(super) streams_max: usize,
    pub(super) malformed_max: u32,
    pub(super) header_timeout: Duration,
    pub(super) body_timeout: Duration,
    pub(super) write_timeout: Duration,
    pub(super) rate_min: u64,
    pub(super) rate_grace: Duration,
    pub(super) of_requests: config::Limits,
}

impl Limits {
    pub(super) fn new(limits: &config::Limits, frame_max: u64) -> Self {
        Self {
            section_max: limits.header_bytes_max.as_u64(),
            frame_max,
            streams_max: limits.streams_per_connection_max as usize,
            malformed_max: limits.malformed_requests_max,
            header_timeout: limits.header_timeout,
            body_timeout: limits.body_timeout,
            write_timeout: limits.write_timeout,
            rate_min: limits.rate_min.as_u64(),
            rate_grace: limits.rate_grace,
            of_requests: limits.clone(),
        }
    }
}

impl Peer {
    pub(super) fn new(
        quic: quinn::Connection,
        limits: Limits,
        metrics: Metrics,
        (account, windows): (Account, Windows),
        worker: Arc<Worker>,
    ) -> Self {
        Self {
            quic,
            limits,
            metrics,
            windows,
            account,
            section_max: AtomicU64::new(u64::MAX),
            critical_streams: AtomicU8::new(0),
            worker,
            since: Instant::now(),
            quiet_at: AtomicU64::new(0),
            open: AtomicUsize::new(0),
            quiet: Notify::new(),
            completed: AtomicU32::new(0),
            cancelled: AtomicU32::new(0),
            malformed: AtomicU32::new(0),
            odd_streams: AtomicU32::new(0),
            control_bytes: AtomicU64::new(0),
            priority_changes: AtomicU32::new(0),
            priorities: Mutex::default(),
            finished: Mutex::default(),
        }
    }

    /// Ends the connection.
    pub(super) fn close(&self, code: Code, why: &'static str) {
        tracing::debug!(?code, why, "closing an H3 connection");
        if code == Code::EXCESSIVE_LOAD {
            self.metrics.cut(Protocol::Http3, "calm");
        }
        self.quic.close(code.into(), why.as_bytes());
    }

    /// Counts an exchange as open until the guard is dropped.
    pub(super) fn begin(self: &Arc<Self>) -> OpenExchange {
        self.open.fetch_add(1, Relaxed);
        OpenExchange(self.clone(), self.account.grant(EXCHANGE))
    }

    /// How long no exchange has been open; `None` while one is.
    pub(super) fn quiet_for(&self) -> Option<Duration> {
        let quiet_at = Duration::from_millis(self.quiet_at.load(Relaxed));
        (self.open.load(Relaxed) == 0).then(|| self.since.elapsed().saturating_sub(quiet_at))
    }

    /// Waits until no exchange is open.
    pub(super) async fn all_done(&self) {
        while self.open.load(Relaxed) > 0 {
            self.quiet.notified().await;
        }
    }

    /// A request was malformed; too many, and the connection ends.
    pub(super) fn count_malformed(&self) {
        if self.malformed.fetch_add(1, Relaxed) + 1 >= self.limits.malformed_max {
            self.close(Code::EXCESSIVE_LOAD, "too many malformed requests");
        }
    }

    /// The client gave up on a request; too often, and the connection ends: asking costs it nothing, answering costs us.
    pub(super) fn count_cancelled(&self) {
        let cancelled = self.cancelled.fetch_add(1, Relaxed) + 1;
        let allowed = CANCELLED_FREE
            .saturating_add(self.completed.load(Relaxed))
            .saturating_add(u32::try_from(self.since.elapsed().as_secs()).unwrap_or(u32::MAX));
        if cancelled > allowed {
            self.close(Code::EXCESSIVE_LOAD, "too many cancelled requests");
        }
    }

    /// A one-way stream that means nothing to us was opened.
    pub(super) fn count_odd_stream(&self) {
        if self.odd_streams.fetch_add(1, Relaxed) + 1 > ODD_STREAMS_MAX {
            self.close(Code::EXCESSIVE_LOAD, "too many streams of no use");
        }
    }

    /// Bytes arrived on the control stream or a QPACK stream; false when they are too many for what was asked.
    pub(super) fn spend_control(&self, bytes: usize) -> bool {
        let spent = self.control_bytes.fetch_add(bytes as u64, Relaxed) + bytes as u64;
        spent <= CONTROL_FREE + CONTROL_PER_REQUEST * u64::from(self.completed.load(Relaxed))
    }

    /// The client changed its mind about a request, or says beforehand how urgent it will be.
    pub(super) fn prioritize(&self, stream: u64, priority: Priority) {
        let mut priorities = self.priorities.lock().unwrap_or_else(PoisonError::into_inner);
        priorities.retain(|(known, _)| *known != stream);
        if priorities.len() >= self.limits.streams_max {
            priorities.pop_front();
        }
        priorities.push_back((stream, priority));
        drop(priorities);
        self.priority_changes.fetch_add(1, Relaxed);
    }

    /// The priority that the client last gave this stream by frame. Cheap when nothing changed since `seen`.
    pub(super) fn priority_of(&self, stream: u64, seen: &mut u32) -> Option<Priority> {
        let changes = self.priority_changes.load(Relaxed);
        if changes == *seen {
            return None;
        }
        *seen = changes;
        let priorities = self.priorities.lock().unwrap_or_else(PoisonError::into_inner);
        priorities.iter().find(|(known, _)| *known == stream).map(|(_, priority)| *priority)
    }

    /// A response was handed to QUIC whole. The last of them are remembered, for closing the connection throws away
    /// what the client has not acknowledged; it cannot have more streams unacknowledged than it may have open.
    pub(super) fn remember(&self, finished: quinn::SendStream) {
        self.completed.fetch_add(1, Relaxed);
        let oldest = {
            let mut streams = self.finished.lock().unwrap_or_else(PoisonError::into_inner);
            streams.push_back(finished);
            if streams.len() > self.limits.streams_max { streams.pop_front() } else { None }
        };
        drop(oldest);
    }

    /// Forgets responses that must have been acknowledged long ago. With all of them, nothing is on its way.
    pub(super) fn forget(&self) {
        let finished =
            std::mem::take(&mut *self.finished.lock().unwrap_or_else(PoisonError::into_inner));
        let is_acknowledged =
            |stream: &quinn::SendStream| stream.stopped().now_or_never().is_some();
        if finished.iter().all(is_acknowledged) {
            self.windows.narrow(&self.quic);
        }
    }

    /// Waits until the client has acknowledged every response.
    pub(super) async fn all_acknowledged(&self) {
        loop {
            let next = self.finished.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
            let Some(stream) = next else { return };
            // However it ended, nothing of it is on its way any more.
            let _ = stream.stopped().await;
        }
    }

    /// Writes with the worker's scratch buffer.
    pub(super) fn write(&self, write: impl FnOnce(&mut BytesMut) -> Bytes) -> Bytes {
        self.worker.write(write)
    }

    /// A client was too slow on one of its streams.
    pub(super) fn count_slow(&self) {
        self.metrics.cut(Protocol::Http3, "slow");
    }

    /// Counts a request that no app saw.
    pub(super) fn refused(&self, reason: &'static str) {
        self.metrics.request_refused(Protocol::Http3, reason);
    }
}

/// One open exchange, and the room for what it holds, if there was some.
pub(super) struct OpenExchange(Arc<Peer>, Option<Grant>);

impl OpenExchange {
    pub(super) fn has_room(&self) -> bool {
        self.1.is_some()
    }
}

impl Drop for OpenExchange {
    fn drop(&mut self) {
        let now = u64::try_from(self.0.since.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.0.quiet_at.store(now, Relaxed);
        if self.0.open.fetch_sub(1, Relaxed) == 1 {
            self.0.quiet.notify_one();
        }
    }
}

/// Cancellations that need no completed request: a viewer who scrubs through a film.
const CANCELLED_FREE: u32 = 200;
/// One-way streams of unknown types; clients open one or two to keep servers tolerant.
const ODD_STREAMS_MAX: u32 = 64;
/// Bytes on the control stream and QPACK streams before the first request.
const CONTROL_FREE: u64 = 32 * 1024;
/// Such bytes that a request may bring along; a priority update has about 30.
const CONTROL_PER_REQUEST: u64 = 256;

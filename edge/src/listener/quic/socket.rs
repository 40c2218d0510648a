//! A worker's UDP socket, as quinn sees it: with datagrams for others handed on, and sends put together.
//!
//! Invariant: a datagram waits no longer than until every task that is ready now has had its turn.

use std::{
    io::{self, IoSliceMut},
    net::SocketAddr,
    pin::Pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    task::{Context, Poll, Waker, ready},
    time::Instant,
};

use quinn::{
    AsyncUdpSocket, UdpPoller,
    udp::{RecvMeta, Transmit},
};

use super::{
    VERSIONS,
    batches::{Batches, Left},
    metrics::Metrics,
    steering::Group,
    version::{self, Allowance},
};

/// One worker's socket.
#[derive(Debug)]
pub(super) struct Socket {
    inner: Arc<dyn AsyncUdpSocket>,
    me: u16,
    group: Arc<Group>,
    metrics: Metrics,
    sending: Mutex<Sending>,
    /// Of answers to versions that are not offered.
    allowance: Mutex<Allowance>,
    is_batching: bool,
    /// Has noticed that another process reads the port.
    has_stopped: AtomicBool,
}

#[derive(Debug, Default)]
struct Sending {
    batches: Batches,
    /// Wakes the task that looks through the batches.
    flusher: Option<Waker>,
}

impl Socket {
    pub(super) fn new(
        inner: Arc<dyn AsyncUdpSocket>,
        me: u16,
        group: Arc<Group>,
        metrics: Metrics,
        is_batching: bool,
    ) -> Arc<Self> {
        let (sending, allowance) = (Mutex::default(), Mutex::default());
        let has_stopped = AtomicBool::new(false);
        Arc::new(Self { inner, me, group, metrics, sending, allowance, is_batching, has_stopped })
    }

    /// Sends what waits, turn by turn; never ends. Without this task nothing leaves.
    pub(super) async fn flush(self: Arc<Self>) {
        let mut writable = self.inner.clone().create_io_poller();
        std::future::poll_fn(move |cx| self.poll_flush(&mut writable, cx)).await
    }

    fn poll_flush(&self, writable: &mut Pin<Box<dyn UdpPoller>>, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            let left = {
                let mut sending = self.sending.lock().unwrap_or_else(PoisonError::into_inner);
                let left = sending.batches.look_through(|transmit| self.send(transmit));
                if left == Left::Nothing {
                    sending.flusher = Some(cx.waker().clone());
                }
                left
            };
            match left {
                Left::Nothing => {}
                // Behind all tasks that are ready now.
                Left::Growing => cx.waker().wake_by_ref(),
                Left::Blocked => {
                    if writable.as_mut().poll_writable(cx).is_ready() {
                        continue;
                    }
                }
            }
            return Poll::Pending;
        }
    }

    /// Sends what waits and what the kernel takes now.
    pub(super) fn flush_now(&self) {
        let mut sending = self.sending.lock().unwrap_or_else(PoisonError::into_inner);
        // The first time everything may still grow.
        for _ in 0..2 {
            sending.batches.look_through(|transmit| self.send(transmit));
        }
    }

    /// Answers what is of another version and what quinn would answer with silence; it throws it away afterwards.
    fn negotiate(&self, buffer: &[u8], meta: &RecvMeta) {
        for datagram in buffer[..meta.len].chunks(meta.stride.max(1)) {
            let answer = version::negotiate(datagram, &VERSIONS, rand::random);
            let Some(answer) = answer else { continue };
            let mut allowance = self.allowance.lock().unwrap_or_else(PoisonError::into_inner);
            if !allowance.take(Instant::now()) {
                continue;
            }
            drop(allowance);
            let transmit = Transmit {
                destination: meta.addr,
                ecn: None,
                contents: &answer,
                segment_size: None,
                src_ip: meta.dst_ip,
            };
            // One that does not leave is one that was lost: the client asks again.
            let _ = self.send(&transmit);
        }
    }

    /// One system call.
    fn send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        match self.inner.try_send(transmit) {
            Ok(()) => {
                self.metrics.sends.inc();
                self.metrics.sent_bytes.inc_by(transmit.contents.len() as u64);
                Ok(())
            }
            Err(error) => {
                self.metrics.blocked.inc();
                Err(error)
            }
        }
    }
}

impl AsyncUdpSocket for Socket {
    fn create_io_poller(self: Arc<Self>) -> Pin<Box<dyn UdpPoller>> {
        self.inner.clone().create_io_poller()
    }

    fn try_send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        let segments_max = self.inner.max_transmit_segments();
        if segments_max <= 1 || !self.is_batching {
            return self.send(transmit);
        }
        let mut sending = self.sending.lock().unwrap_or_else(PoisonError::into_inner);
        let mut calls = 0u64;
        let is_first = sending.batches.offer(transmit, segments_max, |transmit| {
            calls += 1;
            self.send(transmit)
        })?;
        if calls == 0 && !is_first {
            self.metrics.merged.inc();
        }
        let flusher = if is_first { sending.flusher.take() } else { None };
        drop(sending);
        if let Some(flusher) = flusher {
            flusher.wake();
        }
        Ok(())
    }

    fn poll_recv(
        &self,
        cx: &mut Context<'_>,
        buffers: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        loop {
            let collected = self.group.collect(self.me, cx, buffers, meta);
            if collected > 0 {
                return Poll::Ready(Ok(collected));
            }
            if self.group.is_given() {
                if !self.has_stopped.swap(true, SeqCst) {
                    self.group.note_stopped();
                }
                return Poll::Pending;
            }
            self.has_stopped.store(false, SeqCst);
            let received = ready!(self.inner.poll_recv(cx, buffers, meta))?;
            for (buffer, meta) in buffers.iter().zip(&*meta).take(received) {
                self.negotiate(buffer, meta);
            }
            if !self.group.is_shared() {
                return Poll::Ready(Ok(received));
            }
            let kept = self.group.sort(self.me, buffers, meta, received);
            if kept > 0 {
                return Poll::Ready(Ok(kept));
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.inner.local_addr()
    }

    fn max_transmit_segments(&self) -> usize {
        self.inner.max_transmit_segments()
    }

    fn max_receive_segments(&self) -> usize {
        self.inner.max_receive_segments()
    }

    fn may_fragment(&self) -> bool {
        self.inner.may_fragment()
    }
}

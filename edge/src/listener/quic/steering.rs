//! Hands datagrams that reached the wrong worker's socket to the owner of their connection: another worker, or for a
//! while the process before this one.
//!
//! Invariant: a mailbox that its owner does not empty loses datagrams, as a network does, and never grows. Of two
//! processes that share a port only one reads it.

use std::{
    collections::VecDeque,
    io::{self, IoSliceMut},
    os::unix::net::UnixDatagram,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    },
    task::{Context, Waker},
    time::Duration,
};

use quinn::udp::RecvMeta;
use serde::{Deserialize, Serialize};
use tokio::{sync::Notify, time::timeout};

use super::{
    connection_id::{self, Cover, GENERATION_MAX, Owner},
    metrics::Metrics,
    relay::{self, Relay},
};

/// The workers that share one UDP port.
#[derive(Debug)]
pub(super) struct Group {
    pub(super) cover: Cover,
    /// Of this process, among those that share the port.
    pub(super) generation: u8,
    /// Under which connections that nobody knows are reset (RFC 9000 10.3).
    pub(super) reset_key: [u8; 32],
    mailboxes: Vec<Mutex<Mailbox>>,
    past: Option<Past>,
    /// Another process reads the port.
    is_given: AtomicBool,
    /// Sockets that have noticed it.
    stopped: AtomicUsize,
    has_stopped: Notify,
    metrics: Metrics,
}

/// What the process that follows must know of a port.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Legacy {
    cover: (u64, u64),
    generation: u8,
    reset_key: [u8; 32],
    workers: u16,
}

/// The process before, which still has connections.
#[derive(Debug)]
struct Past {
    generation: u8,
    workers: u16,
    relay: Relay,
    /// Until a worker takes it to send there.
    line: Mutex<Option<UnixDatagram>>,
    is_gone: AtomicBool,
}

#[derive(Debug, Default)]
struct Mailbox {
    datagrams: VecDeque<(RecvMeta, Vec<u8>)>,
    waker: Option<Waker>,
}

/// To whom a datagram belongs.
enum Whose<'a> {
    Mine,
    Worker(&'a Mutex<Mailbox>),
    Past(&'a Past, u16),
}

impl Group {
    pub(super) fn new(workers: usize, metrics: Metrics) -> Arc<Self> {
        Arc::new(Self::build(workers, Cover::random(), 0, rand::random(), None, metrics))
    }

    /// A group that follows that of another process, which is reached over a line.
    pub(super) fn after(
        legacy: &Legacy,
        line: UnixDatagram,
        workers: usize,
        metrics: Metrics,
    ) -> Arc<Self> {
        let past = Past {
            generation: legacy.generation,
            workers: legacy.workers,
            relay: Relay::default(),
            line: Mutex::new(Some(line)),
            is_gone: AtomicBool::new(false),
        };
        let generation = (legacy.generation + 1) & GENERATION_MAX;
        let (cover, reset_key) = (Cover::of(legacy.cover), legacy.reset_key);
        Arc::new(Self::build(workers, cover, generation, reset_key, Some(past), metrics))
    }

    fn build(
        workers: usize,
        cover: Cover,
        generation: u8,
        reset_key: [u8; 32],
        past: Option<Past>,
        metrics: Metrics,
    ) -> Self {
        Self {
            cover,
            generation,
            reset_key,
            mailboxes: (0..workers).map(|_| Mutex::default()).collect(),
            past,
            is_given: AtomicBool::new(false),
            stopped: AtomicUsize::new(0),
            has_stopped: Notify::new(),
            metrics,
        }
    }

    /// Whether there is anybody to hand a datagram to.
    pub(super) fn is_shared(&self) -> bool {
        self.mailboxes.len() > 1 || self.past().is_some()
    }

    /// Whether another process reads the port.
    pub(super) fn is_given(&self) -> bool {
        self.is_given.load(SeqCst)
    }

    /// What the process that follows must know.
    pub(super) fn legacy(&self) -> Legacy {
        Legacy {
            cover: self.cover.key(),
            generation: self.generation,
            reset_key: self.reset_key,
            workers: u16::try_from(self.mailboxes.len()).unwrap_or(u16::MAX),
        }
    }

    /// From now on no socket of this group is read; waits until all have noticed, but not for ever.
    pub(super) async fn give(&self) {
        self.stopped.store(0, SeqCst);
        self.is_given.store(true, SeqCst);
        self.wake_all();
        let all = async {
            while self.stopped.load(SeqCst) < self.mailboxes.len() {
                self.has_stopped.notified().await;
            }
        };
        // One that is late does not read either; it only has not said so.
        let _ = timeout(STOP_TIME, all).await;
    }

    /// The sockets are read again.
    pub(super) fn take_back(&self) {
        self.is_given.store(false, SeqCst);
        self.wake_all();
    }

    /// A socket has noticed that it is not to be read any more.
    pub(super) fn note_stopped(&self) {
        self.stopped.fetch_add(1, SeqCst);
        self.has_stopped.notify_one();
    }

    /// Sends what belongs to the process before, until that is gone. Only one of the workers does it.
    pub(super) async fn serve_past(self: Arc<Self>) {
        let Some(past) = &self.past else { return };
        let Some(line) = lock(&past.line).take() else { return };
        let sent = match line.set_nonblocking(true).and_then(|()| line.try_into()) {
            Ok(line) => past.relay.send_all(&line).await,
            Err(error) => Err(error),
        };
        past.is_gone.store(true, SeqCst);
        tracing::debug!(?sent, "no more datagrams for the process before");
    }

    /// Takes what the process that follows hands on.
    pub(super) async fn receive(&self, line: UnixDatagram) -> io::Result<()> {
        line.set_nonblocking(true)?;
        relay::receive_all(&line.try_into()?, |worker, meta, datagram| {
            if let Some(mailbox) = self.mailboxes.get(usize::from(worker)) {
                self.post(mailbox, meta, datagram);
            }
        })
        .await
    }

    fn wake_all(&self) {
        for mailbox in &self.mailboxes {
            let waker = lock(mailbox).waker.take();
            if let Some(waker) = waker {
                waker.wake();
            }
        }
    }

    fn past(&self) -> Option<&Past> {
        self.past.as_ref().filter(|past| !past.is_gone.load(SeqCst))
    }

    /// Whose a datagram is that `me` received.
    fn whose(&self, me: u16, datagram: &[u8]) -> Whose<'_> {
        if let Some(id) = connection_id::of_datagram(datagram) {
            let owner = self.cover.owner(id);
            if owner == (Owner { generation: self.generation, worker: me }) {
                return Whose::Mine;
            }
            if owner.generation == self.generation {
                let other = self.mailboxes.get(usize::from(owner.worker));
                return other.map_or(Whose::Mine, Whose::Worker);
            }
            return self.of_past(owner);
        }
        // A handshake that began with the process before goes on there.
        match connection_id::of_first(datagram) {
            Some(id) if self.past.is_some() => self.of_past(self.cover.owner(id)),
            _ => Whose::Mine,
        }
    }

    fn of_past(&self, owner: Owner) -> Whose<'_> {
        let is_theirs =
            |past: &&Past| past.generation == owner.generation && owner.worker < past.workers;
        self.past().filter(is_theirs).map_or(Whose::Mine, |past| Whose::Past(past, owner.worker))
    }

    /// Takes what others received for `me`, or leaves a waker to be told of it.
    pub(super) fn collect(
        &self,
        me: u16,
        cx: &mut Context<'_>,
        buffers: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> usize {
        let mut mailbox = lock(&self.mailboxes[usize::from(me)]);
        let mut count = 0;
        for (buffer, meta) in buffers.iter_mut().zip(meta) {
            let Some((from, datagram)) = mailbox.datagrams.pop_front() else { break };
            // All workers have buffers of one size.
            let length = datagram.len().min(buffer.len());
            buffer[..length].copy_from_slice(&datagram[..length]);
            *meta = from;
            count += 1;
        }
        if count == 0 && !mailbox.waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            mailbox.waker = Some(cx.waker().clone());
        }
        count
    }

    /// Goes through `count` buffers that `me` received, hands on what belongs to others, and moves the rest together.
    /// What is left are so many buffers.
    pub(super) fn sort(
        &self,
        me: u16,
        buffers: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
        count: usize,
    ) -> usize {
        let mut kept = 0;
        for at in 0..count {
            let mine = self.sort_buffer(me, &mut buffers[at], &meta[at]);
            if mine == 0 {
                continue;
            }
            if kept != at {
                let (before, rest) = buffers.split_at_mut(at);
                before[kept][..mine].copy_from_slice(&rest[0][..mine]);
            }
            meta[kept] = RecvMeta { len: mine, ..meta[at] };
            kept += 1;
        }
        kept
    }

    /// One buffer may hold several datagrams of one sender, and they may belong to several connections. The bytes of
    /// those that stay are moved together; the last, which may be shorter, stays the last.
    fn sort_buffer(&self, me: u16, buffer: &mut [u8], meta: &RecvMeta) -> usize {
        let (mut at, mut kept) = (0, 0);
        while at < meta.len {
            let end = (at + meta.stride.max(1)).min(meta.len);
            match self.whose(me, &buffer[at..end]) {
                Whose::Worker(mailbox) => self.post(mailbox, meta, &buffer[at..end]),
                Whose::Past(past, worker) => {
                    let is_taken = past.relay.post(worker, meta, &buffer[at..end]);
                    self.metrics.steered(if is_taken { "handed_back" } else { "dropped" });
                }
                Whose::Mine => {
                    if kept != at {
                        buffer.copy_within(at..end, kept);
                    }
                    kept += end - at;
                }
            }
            at = end;
        }
        kept
    }

    fn post(&self, mailbox: &Mutex<Mailbox>, meta: &RecvMeta, datagram: &[u8]) {
        let mut mailbox = lock(mailbox);
        if mailbox.datagrams.len() >= MAILBOX_MAX {
            return self.metrics.steered("dropped");
        }
        let meta = RecvMeta { len: datagram.len(), stride: datagram.len(), ..*meta };
        mailbox.datagrams.push_back((meta, datagram.to_vec()));
        let waker = mailbox.waker.take();
        drop(mailbox);
        self.metrics.steered("forwarded");
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// For all sockets to notice that they are not to be read.
const STOP_TIME: Duration = Duration::from_secs(1);
/// Datagrams that may wait for a worker, at 1.5 KB each. More would be late anyhow.
const MAILBOX_MAX: usize = 1024;

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, SocketAddr};

    use quinn::ConnectionIdGenerator;

    use super::*;
    use crate::listener::quic::connection_id::Generator;

    fn datagram(group: &Group, worker: u16, fill: u8, length: usize) -> Vec<u8> {
        let owner = Owner { generation: group.generation, worker };
        let id = Generator { cover: group.cover, owner }.generate_cid();
        let mut datagram = vec![0x40];
        datagram.extend_from_slice(&id);
        datagram.resize(length, fill);
        datagram
    }

    #[test]
    fn every_datagram_reaches_its_owner_also_out_of_a_merged_buffer() {
        let group = Group::new(2, Metrics::unregistered());
        let own = [datagram(&group, 0, 1, 100), datagram(&group, 0, 2, 40)];
        let other = datagram(&group, 1, 9, 100);
        let mut merged = [&own[0][..], &other, &own[1]].concat();
        let mut foreign = other.clone();
        let from = SocketAddr::from((Ipv4Addr::LOCALHOST, 9));
        let meta_of = |len| RecvMeta { addr: from, len, stride: 100, ..RecvMeta::default() };
        let mut meta = [meta_of(merged.len()), meta_of(100)];
        let mut buffers = [IoSliceMut::new(&mut merged), IoSliceMut::new(&mut foreign)];
        assert_eq!(group.sort(0, &mut buffers, &mut meta, 2), 1);
        assert_eq!(meta[0].len, 140);
        assert_eq!(buffers[0][..140], own.concat());

        let mut cx = Context::from_waker(Waker::noop());
        let (mut a, mut b, mut c) = ([0; 200], [0; 200], [0; 200]);
        let mut buffers = [&mut a, &mut b, &mut c].map(|buffer| IoSliceMut::new(buffer));
        let mut meta = [RecvMeta::default(); 3];
        assert_eq!(group.collect(1, &mut cx, &mut buffers, &mut meta), 2);
        assert_eq!(buffers[1][..100], other);
        assert_eq!((meta[1].addr, meta[1].len, meta[1].stride), (from, 100, 100));
        assert_eq!(group.collect(0, &mut cx, &mut buffers, &mut meta), 0);
    }

    #[test]
    fn a_full_mailbox_loses_what_comes_then() {
        let group = Group::new(2, Metrics::unregistered());
        let other = datagram(&group, 1, 9, 100);
        for _ in 0..MAILBOX_MAX + 10 {
            let meta = RecvMeta { len: 100, stride: 100, ..RecvMeta::default() };
            assert_eq!(group.sort_buffer(0, &mut other.clone(), &meta), 0);
        }
        assert_eq!(group.mailboxes[1].lock().unwrap().datagrams.len(), MAILBOX_MAX);
    }

    #[test]
    fn what_belongs_to_the_process_before_goes_there_until_it_is_gone() {
        let old = Group::new(2, Metrics::unregistered());
        let legacy = serde_json::to_string(&old.legacy()).unwrap();
        let legacy: Legacy = serde_json::from_str(&legacy).unwrap();
        let (line, _theirs) = UnixDatagram::pair().unwrap();
        let new = Group::after(&legacy, line, 3, Metrics::unregistered());
        assert!(new.is_shared());
        assert_eq!((new.generation, new.reset_key), (1, old.reset_key));
        let kept = |mut datagram: Vec<u8>| {
            let meta = RecvMeta { len: 100, stride: 100, ..RecvMeta::default() };
            new.sort_buffer(0, &mut datagram, &meta)
        };
        assert_eq!(kept(datagram(&old, 1, 9, 100)), 0, "a packet of a connection");
        let mut first = vec![0xc0, 0, 0, 0, 1, 8];
        first.extend_from_slice(&datagram(&old, 1, 0, 9)[1..]);
        first.resize(100, 0);
        assert_eq!(kept(first), 0, "a handshake that goes on");
        assert_eq!(kept(datagram(&new, 0, 9, 100)), 100);
        assert_eq!(kept(datagram(&old, 2, 9, 100)), 100, "a worker that it did not have");
        new.past.as_ref().unwrap().is_gone.store(true, SeqCst);
        assert_eq!(kept(datagram(&old, 1, 9, 100)), 100);
    }
}

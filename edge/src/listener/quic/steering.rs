//! Hands datagrams that reached the wrong worker's socket to the owner of their connection.
//!
//! Invariant: a mailbox that its owner does not empty loses datagrams, as a network does, and never grows.

use std::{
    collections::VecDeque,
    io::IoSliceMut,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Waker},
};

use quinn::udp::RecvMeta;

use super::{
    connection_id::{self, Cover, Owner},
    metrics::Metrics,
};

/// The workers that share one UDP port.
#[derive(Debug)]
pub(super) struct Group {
    pub(super) cover: Cover,
    mailboxes: Vec<Mutex<Mailbox>>,
    metrics: Metrics,
}

#[derive(Debug, Default)]
struct Mailbox {
    datagrams: VecDeque<(RecvMeta, Vec<u8>)>,
    waker: Option<Waker>,
}

impl Group {
    pub(super) fn new(workers: usize, metrics: Metrics) -> Arc<Self> {
        let mailboxes = (0..workers).map(|_| Mutex::default()).collect();
        Arc::new(Self { cover: Cover::random(), mailboxes, metrics })
    }

    /// Whether there is anybody to hand a datagram to.
    pub(super) fn is_shared(&self) -> bool {
        self.mailboxes.len() > 1
    }

    /// The owner of a datagram, when that is another worker than `me`.
    fn other_owner(&self, me: u16, datagram: &[u8]) -> Option<&Mutex<Mailbox>> {
        let owner = self.cover.owner(connection_id::of_datagram(datagram)?);
        if owner == (Owner { generation: GENERATION, worker: me }) || owner.generation != GENERATION
        {
            return None;
        }
        self.mailboxes.get(usize::from(owner.worker))
    }

    /// Takes what others received for `me`, or leaves a waker to be told of it.
    pub(super) fn collect(
        &self,
        me: u16,
        cx: &mut Context<'_>,
        buffers: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> usize {
        let mut mailbox =
            self.mailboxes[usize::from(me)].lock().unwrap_or_else(PoisonError::into_inner);
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
            match self.other_owner(me, &buffer[at..end]) {
                Some(mailbox) => self.post(mailbox, meta, &buffer[at..end]),
                None => {
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
        let mut mailbox = mailbox.lock().unwrap_or_else(PoisonError::into_inner);
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

/// The generation of this process; another one would be that of a process that takes over its port.
pub(super) const GENERATION: u8 = 0;
/// Datagrams that may wait for a worker, at 1.5 KB each. More would be late anyhow.
const MAILBOX_MAX: usize = 1024;

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, SocketAddr};

    use quinn::ConnectionIdGenerator;

    use super::*;
    use crate::listener::quic::connection_id::Generator;

    fn datagram(group: &Group, worker: u16, fill: u8, length: usize) -> Vec<u8> {
        let owner = Owner { generation: GENERATION, worker };
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
}

//! Datagrams that wait a moment for others to the same client, so that one system call sends them all.
//!
//! The kernel takes up to 64 datagrams of one size in one call; quinn hands over ten at a time. Each client's wait in an
//! own batch, at most until every task that could add to it has had its turn. Invariant: datagrams to one client leave
//! in the order in which they came, and one that was taken is sent or was refused by the kernel for good.

use std::{
    io,
    net::{IpAddr, SocketAddr},
};

use quinn::udp::{EcnCodepoint, Transmit};

/// The batches of one socket.
#[derive(Debug, Default)]
pub(super) struct Batches {
    batches: Vec<Batch>,
    /// Buffers of batches that were sent.
    free: Vec<Vec<u8>>,
}

#[derive(Debug)]
struct Batch {
    to: SocketAddr,
    from: Option<IpAddr>,
    ecn: Option<EcnCodepoint>,
    /// The size of every datagram but the last, which may be shorter.
    segment: usize,
    bytes: Vec<u8>,
    /// Something was added since the batches were looked through last.
    has_grown: bool,
}

/// What is left after the batches were looked through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Left {
    /// Nothing waits.
    Nothing,
    /// Something may still grow.
    Growing,
    /// The kernel takes no more for now.
    Blocked,
}

impl Batches {
    /// Takes a transmit, or passes on that the kernel takes no more for now; then nothing of it was taken. True when
    /// batches were empty before, so that somebody must look through them.
    pub(super) fn offer(
        &mut self,
        transmit: &Transmit<'_>,
        segments_max: usize,
        mut send: impl FnMut(&Transmit<'_>) -> io::Result<()>,
    ) -> io::Result<bool> {
        let is_first = self.batches.is_empty();
        if let Some(at) = self.batches.iter().position(|batch| batch.to == transmit.destination) {
            let batch = &mut self.batches[at];
            if batch.takes(transmit, segments_max) {
                batch.bytes.extend_from_slice(transmit.contents);
                batch.has_grown = true;
                if batch.is_full(segments_max) {
                    // When the kernel is full it goes out later.
                    let _ = self.send_one(at, &mut send);
                }
                return Ok(is_first);
            }
            self.send_one(at, &mut send)?;
        } else if self.batches.len() >= BATCHES_MAX {
            self.send_one(0, &mut send)?;
        }
        let mut bytes = self.free.pop().unwrap_or_default();
        bytes.extend_from_slice(transmit.contents);
        self.batches.push(Batch {
            to: transmit.destination,
            from: transmit.src_ip,
            ecn: transmit.ecn,
            segment: transmit.segment_size.unwrap_or(transmit.contents.len()),
            bytes,
            has_grown: true,
        });
        Ok(is_first)
    }

    /// Sends what has not grown since this was called last.
    pub(super) fn look_through(
        &mut self,
        mut send: impl FnMut(&Transmit<'_>) -> io::Result<()>,
    ) -> Left {
        let mut at = 0;
        while let Some(batch) = self.batches.get_mut(at) {
            if std::mem::take(&mut batch.has_grown) {
                at += 1;
            } else if self.send_one(at, &mut send).is_err() {
                return Left::Blocked;
            }
        }
        if self.batches.is_empty() { Left::Nothing } else { Left::Growing }
    }

    /// Sends one batch and forgets it; an error says that the kernel takes no more for now, and it stays.
    fn send_one(
        &mut self,
        at: usize,
        send: &mut impl FnMut(&Transmit<'_>) -> io::Result<()>,
    ) -> io::Result<()> {
        let batch = &self.batches[at];
        let has_many = batch.bytes.len() > batch.segment;
        match send(&Transmit {
            destination: batch.to,
            ecn: batch.ecn,
            contents: &batch.bytes,
            segment_size: has_many.then_some(batch.segment),
            src_ip: batch.from,
        }) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Err(error),
            // What cannot be sent is lost, as in a network; quinn learns of it by missing acknowledgements.
            Ok(()) | Err(_) => {}
        }
        let Batch { mut bytes, .. } = self.batches.remove(at);
        bytes.clear();
        self.free.push(bytes);
        Ok(())
    }
}

impl Batch {
    /// Whether the transmit can stand behind what is here.
    fn takes(&self, transmit: &Transmit<'_>, segments_max: usize) -> bool {
        let size = transmit.contents.len();
        let has_same_size = match transmit.segment_size {
            Some(segment) => segment == self.segment,
            None => size <= self.segment,
        };
        has_same_size
            && self.ecn == transmit.ecn
            && self.from == transmit.src_ip
            // The last datagram here has the full size.
            && self.bytes.len().is_multiple_of(self.segment)
            && self.bytes.len() + size <= bytes_max(self.segment, segments_max)
    }

    fn is_full(&self, segments_max: usize) -> bool {
        self.bytes.len() + self.segment > bytes_max(self.segment, segments_max)
    }
}

/// What one call may carry.
fn bytes_max(segment: usize, segments_max: usize) -> usize {
    (segment * segments_max).min(PAYLOAD_MAX)
}

/// Clients whose datagrams may wait at the same time; a buffer of 64 KiB each.
const BATCHES_MAX: usize = 8;
/// The largest payload of a UDP datagram in an IPv6 packet without options, which one call's datagrams share.
const PAYLOAD_MAX: usize = 65_535 - 40 - 8;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn client(n: u16) -> SocketAddr {
        SocketAddr::from(([192, 0, 2, 1], n))
    }

    fn transmit(to: u16, contents: &[u8], segment_size: Option<usize>) -> Transmit<'_> {
        Transmit { destination: client(to), ecn: None, contents, segment_size, src_ip: None }
    }

    /// Sent datagrams by call: destination and sizes.
    type Sent = Vec<(SocketAddr, Vec<Vec<u8>>)>;

    fn record(sent: &mut Sent, transmit: &Transmit<'_>) {
        let segment = transmit.segment_size.unwrap_or(transmit.contents.len());
        let datagrams = transmit.contents.chunks(segment).map(<[u8]>::to_vec).collect();
        sent.push((transmit.destination, datagrams));
    }

    fn flush(batches: &mut Batches, sent: &mut Sent) {
        while batches.look_through(|transmit| {
            record(sent, transmit);
            Ok(())
        }) != Left::Nothing
        {}
    }

    #[test]
    fn transmits_to_one_client_leave_together() {
        let (mut batches, mut sent) = (Batches::default(), Sent::new());
        let ten = vec![1; 1000];
        for turn in 0..4 {
            let first = batches.offer(&transmit(1, &ten, Some(100)), 64, |_| panic!()).unwrap();
            assert_eq!(first, turn == 0);
        }
        batches.offer(&transmit(2, &[7; 50], None), 64, |_| panic!()).unwrap();
        // A shorter one is the last.
        batches.offer(&transmit(1, &[2; 30], None), 64, |_| panic!()).unwrap();
        let mut send = |transmit: &Transmit<'_>| {
            record(&mut sent, transmit);
            Ok(())
        };
        assert_eq!(batches.look_through(&mut send), Left::Growing);
        assert_eq!(batches.look_through(&mut send), Left::Nothing);
        let sizes: Vec<_> =
            sent.iter().map(|(to, datagrams)| (to.port(), datagrams.len())).collect();
        assert_eq!(sizes, [(1, 41), (2, 1)]);
    }

    #[test]
    fn what_does_not_fit_sends_what_waits() {
        for (what, second) in [
            ("larger", transmit(1, &[0; 200], None)),
            ("other size", transmit(1, &[0; 180], Some(90))),
            (
                "other mark",
                Transmit { ecn: Some(EcnCodepoint::Ce), ..transmit(1, &[0; 100], None) },
            ),
            (
                "other source",
                Transmit {
                    src_ip: Some(IpAddr::from([192, 0, 2, 9])),
                    ..transmit(1, &[0; 100], None)
                },
            ),
            ("too many", transmit(1, &[0; 6300], Some(100))),
        ] {
            let (mut batches, mut sent) = (Batches::default(), Sent::new());
            batches.offer(&transmit(1, &[0; 200], Some(100)), 64, |_| panic!()).unwrap();
            batches
                .offer(&second, 64, |transmit| {
                    record(&mut sent, transmit);
                    Ok(())
                })
                .unwrap();
            assert_eq!(sent.len(), 1, "{what}");
            assert_eq!(sent[0].1.len(), 2, "{what}");
        }
    }

    #[test]
    fn when_the_kernel_is_full_nothing_is_taken_and_nothing_is_lost() {
        let blocked = || Err(io::Error::from(io::ErrorKind::WouldBlock));
        let (mut batches, mut sent) = (Batches::default(), Sent::new());
        batches.offer(&transmit(1, &[1; 100], None), 64, |_| blocked()).unwrap();
        let refused = batches.offer(&transmit(1, &[2; 200], None), 64, |_| blocked());
        assert_eq!(refused.unwrap_err().kind(), io::ErrorKind::WouldBlock);
        assert_eq!(batches.look_through(|_| blocked()), Left::Growing);
        assert_eq!(batches.look_through(|_| blocked()), Left::Blocked);
        batches
            .offer(&transmit(1, &[2; 200], None), 64, |transmit| {
                record(&mut sent, transmit);
                Ok(())
            })
            .unwrap();
        flush(&mut batches, &mut sent);
        assert_eq!(sent.iter().map(|(_, datagrams)| datagrams[0][0]).collect::<Vec<_>>(), [1, 2]);
    }

    proptest! {
        #[test]
        fn every_datagram_arrives_in_order(
            transmits in proptest::collection::vec((0u16..12, 1usize..40, 1usize..12, 0usize..40), 0..200),
            segments_max in 1usize..64,
        ) {
            let (mut batches, mut sent) = (Batches::default(), Sent::new());
            let mut expected: Vec<Vec<Vec<u8>>> = vec![Vec::new(); 12];
            for (n, (to, segment, count, last)) in transmits.iter().enumerate() {
                let count = (*count).min(segments_max);
                let size = segment * (count - 1) + (last % segment).max(1);
                let contents = vec![n as u8; size];
                let transmit = transmit(*to, &contents, (size > *segment).then_some(*segment));
                expected[*to as usize].extend(contents.chunks(*segment).map(<[u8]>::to_vec));
                batches.offer(&transmit, segments_max, |transmit| { record(&mut sent, transmit); Ok(()) }).unwrap();
            }
            flush(&mut batches, &mut sent);
            for (_, datagrams) in &sent {
                prop_assert!(datagrams.len() <= segments_max);
            }
            for (to, expected) in expected.into_iter().enumerate() {
                let found: Vec<_> = sent.iter().filter(|(at, _)| *at == client(to as u16))
                    .flat_map(|(_, datagrams)| datagrams.clone()).collect();
                prop_assert_eq!(found, expected);
            }
        }
    }
}

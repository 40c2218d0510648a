//! Connection IDs that say which worker's socket owns the connection.
//!
//! The kernel chooses a socket by the addresses of a datagram; when a client's address changes, its packets reach another
//! worker's. The owner's number stands in the ID, covered by a keyed hash of the ID's random part, so that nobody
//! outside can tell which IDs belong together. Four bits are the generation of the process, which lets two
//! processes share a port while one hands over to the other. Invariant: an ID that was made here leads to its owner;
//! any other bytes lead somewhere or nowhere, and are refused there.

use std::{hash::Hasher, time::Duration};

use quinn::{ConnectionId, ConnectionIdGenerator};
use siphasher::sip::SipHasher13;

/// The secret that covers owners; one for all workers of a process.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cover {
    key: (u64, u64),
}

/// Who owns a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Owner {
    /// Of the process, 0 to 15.
    pub(super) generation: u8,
    /// Of the worker, 0 to 4095.
    pub(super) worker: u16,
}

impl Cover {
    pub(super) fn random() -> Self {
        Self { key: rand::random() }
    }

    /// The cover of the process before.
    pub(super) fn of(key: (u64, u64)) -> Self {
        Self { key }
    }

    /// For the process that follows.
    pub(super) fn key(&self) -> (u64, u64) {
        self.key
    }

    /// An ID with this owner and these random bytes.
    fn seal(&self, owner: Owner, random: [u8; RANDOM_BYTES]) -> [u8; LENGTH] {
        let plain = u16::from(owner.generation) << WORKER_BITS | owner.worker & WORKER_MAX;
        let covered = (plain ^ self.mask(random)).to_be_bytes();
        let mut id = [0; LENGTH];
        id[..2].copy_from_slice(&covered);
        id[2..].copy_from_slice(&random);
        id
    }

    /// The owner of an ID that was made here; of other bytes, anybody.
    pub(super) fn owner(&self, id: [u8; LENGTH]) -> Owner {
        let [first, second, random @ ..] = id;
        let plain = u16::from_be_bytes([first, second]) ^ self.mask(random);
        Owner { generation: (plain >> WORKER_BITS) as u8, worker: plain & WORKER_MAX }
    }

    fn mask(&self, random: [u8; RANDOM_BYTES]) -> u16 {
        let mut hash = SipHasher13::new_with_keys(self.key.0, self.key.1);
        hash.write(&random);
        hash.finish() as u16
    }
}

/// Makes the IDs of one worker's connections.
pub(super) struct Generator {
    pub(super) cover: Cover,
    pub(super) owner: Owner,
}

impl ConnectionIdGenerator for Generator {
    fn generate_cid(&mut self) -> ConnectionId {
        ConnectionId::new(&self.cover.seal(self.owner, rand::random()))
    }

    fn cid_len(&self) -> usize {
        LENGTH
    }

    fn cid_lifetime(&self) -> Option<Duration> {
        None
    }
}

/// The connection ID that the server made, when a datagram carries one (RFC 9000 17).
pub(super) fn of_datagram(datagram: &[u8]) -> Option<[u8; LENGTH]> {
    let first = *datagram.first()?;
    if first & LONG_HEADER == 0 {
        return datagram.get(1..=LENGTH)?.try_into().ok();
    }
    // Of the long ones only Handshake packets carry an ID of ours for certain; the first packets carry one that the
    // client made up, and stay where the kernel put them.
    let is_handshake = first & TYPE_BITS == HANDSHAKE;
    let is_ours =
        is_handshake && datagram.get(5).is_some_and(|length| usize::from(*length) == LENGTH);
    if is_ours { datagram.get(6..6 + LENGTH)?.try_into().ok() } else { None }
}

/// The connection ID in the first packets of a client, which it made up itself, or learned from a first answer.
pub(super) fn of_first(datagram: &[u8]) -> Option<[u8; LENGTH]> {
    let first = *datagram.first()?;
    let is_first = first & LONG_HEADER != 0 && matches!(first & TYPE_BITS, INITIAL | ZERO_RTT);
    let has_length = datagram.get(5).is_some_and(|length| usize::from(*length) == LENGTH);
    if is_first && has_length { datagram.get(6..6 + LENGTH)?.try_into().ok() } else { None }
}

/// Bytes of an ID: two for the owner, six that differ. Quinn's own have as many.
pub(super) const LENGTH: usize = 8;
const RANDOM_BYTES: usize = LENGTH - 2;
const WORKER_BITS: u32 = 12;
/// The highest number of a worker.
pub(super) const WORKER_MAX: u16 = (1 << WORKER_BITS) - 1;

/// The highest generation of a process.
pub(super) const GENERATION_MAX: u8 = 15;

const LONG_HEADER: u8 = 0x80;
const TYPE_BITS: u8 = 0x30;
const INITIAL: u8 = 0x00;
const ZERO_RTT: u8 = 0x10;
const HANDSHAKE: u8 = 0x20;

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn an_id_leads_to_its_owner_and_does_not_show_it() {
        let cover = Cover::random();
        let mut seen = HashSet::new();
        for worker in [0, 1, 3, WORKER_MAX] {
            for generation in [0, 9, 15] {
                let owner = Owner { generation, worker };
                let mut generator = Generator { cover, owner };
                for _ in 0..100 {
                    let id = generator.generate_cid();
                    assert_eq!(cover.owner(id[..].try_into().unwrap()), owner);
                    seen.insert([id[0], id[1]]);
                }
            }
        }
        assert!(seen.len() > 1_000, "the owner's bytes look random: {}", seen.len());
    }

    #[test]
    fn ids_are_found_in_the_packets_that_carry_one_of_ours() {
        let id = [1, 2, 3, 4, 5, 6, 7, 8];
        let with = |begin: &[u8]| [begin, &id, &[9; 20]].concat();
        assert_eq!(of_datagram(&with(&[0x40])), Some(id), "short header");
        assert_eq!(of_datagram(&with(&[0xe0, 0, 0, 0, 1, 8])), Some(id), "Handshake");
        assert_eq!(of_datagram(&with(&[0xe0, 0, 0, 0, 1, 9])), None, "of another length");
        assert_eq!(of_datagram(&with(&[0xc0, 0, 0, 0, 1, 8])), None, "Initial");
        assert_eq!(of_datagram(&with(&[0xd0, 0, 0, 0, 1, 8])), None, "0-RTT");
        assert_eq!(of_datagram(&[0x40, 1, 2]), None, "too short");
        assert_eq!(of_datagram(&[]), None);
        assert_eq!(of_first(&with(&[0xc0, 0, 0, 0, 1, 8])), Some(id), "Initial");
        assert_eq!(of_first(&with(&[0xd0, 0, 0, 0, 1, 8])), Some(id), "0-RTT");
        assert_eq!(of_first(&with(&[0xe0, 0, 0, 0, 1, 8])), None, "Handshake");
        assert_eq!(of_first(&with(&[0x40])), None, "short header");
        assert_eq!(of_first(&[0xc0, 0, 0, 0, 1, 8, 1]), None, "too short");
    }
}

//! Version Negotiation for clients whose connection IDs are longer than those of version 1.
//!
//! An ID of a version that is not ours may have 255 bytes, and both go back as they came (RFC 8999 5.1 and 6, RFC 9000
//! 17.2.1). Quinn answers unknown versions with IDs of up to 20 bytes, and throws away as malformed what has longer
//! ones; those are answered here, before it sees them. Invariant: an answer is smaller than what it answers, so that
//! nobody makes this node send more than they sent themselves.

use std::time::{Duration, Instant};

/// How many answers one socket still gives in the current second.
#[derive(Debug, Default)]
pub(super) struct Allowance {
    second: Option<Instant>,
    given: u32,
}

impl Allowance {
    /// Takes one; false when this second has had as many as it may.
    pub(super) fn take(&mut self, now: Instant) -> bool {
        if self.second.is_none_or(|begun| now.duration_since(begun) >= SECOND) {
            (self.second, self.given) = (Some(now), 0);
        }
        self.given += 1;
        self.given <= ANSWERS_PER_SECOND_MAX
    }
}

/// The answer to a datagram of a version that is not offered, when quinn would give none. `random` is asked for the
/// bits and the version that mean nothing.
pub(super) fn negotiate(
    datagram: &[u8],
    offered: &[u32],
    random: impl FnOnce() -> u32,
) -> Option<Vec<u8>> {
    let (first, rest) = datagram.split_first()?;
    if first & LONG_HEADER == 0 || datagram.len() < DATAGRAM_BYTES_MIN {
        return None;
    }
    let (version, rest) = rest.split_first_chunk()?;
    let version = u32::from_be_bytes(*version);
    // An answer to an answer would never end (RFC 9000 6.1).
    if version == 0 || offered.contains(&version) {
        return None;
    }
    let (destination, rest) = id(rest)?;
    let (source, _) = id(rest)?;
    if destination.len().max(source.len()) <= ID_BYTES_MAX {
        return None;
    }
    let random = random();
    let mut answer = Vec::with_capacity(ANSWER_BYTES_USUAL + destination.len() + source.len());
    answer.push(LONG_HEADER | FIXED_BIT | random as u8);
    answer.extend_from_slice(&[0; 4]);
    for id in [source, destination] {
        // It came with a length of one byte.
        answer.push(id.len() as u8);
        answer.extend_from_slice(id);
    }
    // One that nobody will ever speak (RFC 9000 6.3), and never the client's own: that would make it ignore the answer.
    let reserved = random & 0xf0f0_f0f0 | 0x0a0a_0a0a;
    let reserved = if reserved == version { reserved ^ 0x10 } else { reserved };
    for version in [reserved].iter().chain(offered) {
        answer.extend_from_slice(&version.to_be_bytes());
    }
    Some(answer)
}

/// An ID behind its length, and what follows it.
fn id(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = text.split_first()?;
    rest.split_at_checked(usize::from(*length))
}

/// Datagrams with a first packet have at least so many bytes; smaller ones get no answer (RFC 9000 14.1 and 5.2.2).
const DATAGRAM_BYTES_MIN: usize = 1200;
/// What version 1, and so quinn, allows.
const ID_BYTES_MAX: usize = 20;
/// A client that meant it asks again after a while; this many are enough for all that mean it.
const ANSWERS_PER_SECOND_MAX: u32 = 1_000;
const SECOND: Duration = Duration::from_secs(1);
/// Without the IDs: first byte, version, two lengths and two versions.
const ANSWER_BYTES_USUAL: usize = 15;
const LONG_HEADER: u8 = 0x80;
const FIXED_BIT: u8 = 0x40;

#[cfg(test)]
mod tests {
    use super::*;

    fn datagram(
        first: u8,
        version: u32,
        destination: usize,
        source: usize,
        size: usize,
    ) -> Vec<u8> {
        let mut datagram = vec![first];
        datagram.extend_from_slice(&version.to_be_bytes());
        for (length, fill) in [(destination, 0xdd), (source, 0x55)] {
            datagram.push(length as u8);
            datagram.resize(datagram.len() + length, fill);
        }
        datagram.resize(size.max(datagram.len()), 0);
        datagram
    }

    #[test]
    fn ids_of_any_length_go_back_crosswise() {
        for (destination, source) in [(21, 0), (0, 21), (255, 255), (8, 64), (255, 0)] {
            for version in [0x0a1a_2a3a, 2, 0x6b33_43cf, u32::MAX] {
                let asked = datagram(0xc0, version, destination, source, 1200);
                let answer = negotiate(&asked, &[1], || 0).unwrap();
                assert_eq!(answer[..5], [0xc0, 0, 0, 0, 0]);
                let (first, rest) = id(&answer[5..]).unwrap();
                let (second, versions) = id(rest).unwrap();
                assert_eq!((first, second), (&[0x55; 255][..source], &[0xdd; 255][..destination]));
                assert_eq!(versions, [0x0a, 0x0a, 0x0a, 0x0a, 0, 0, 0, 1]);
                assert!(answer.len() < asked.len());
            }
        }
    }

    #[test]
    fn what_another_answers_or_nobody_may_is_left_alone() {
        for (what, datagram) in [
            ("quinn answers", datagram(0xc0, 2, 20, 20, 1200)),
            ("our version", datagram(0xc0, 1, 21, 0, 1200)),
            ("an answer itself", datagram(0xc0, 0, 21, 21, 1200)),
            ("too small", datagram(0xc0, 2, 21, 21, 1199)),
            ("a short header", datagram(0x40, 2, 21, 21, 1200)),
            ("no room for the second ID", vec![0xc5; 6]),
            ("nothing", vec![]),
        ] {
            assert_eq!(negotiate(&datagram, &[1], || 0), None, "{what}");
        }
        // The IDs go beyond the end.
        let mut cut = datagram(0xc0, 2, 255, 255, 1200);
        cut[5 + 1 + 255] = 255;
        cut.truncate(1200);
        assert!(negotiate(&cut, &[1], || 0).is_some());
        for size in 0..300 {
            assert_eq!(negotiate(&cut[..size], &[1], || 0), None, "{size}");
        }
    }

    #[test]
    fn the_version_that_means_nothing_is_never_the_one_that_was_asked_for() {
        for random in [0, 0x1234_5678, u32::MAX] {
            let reserved = random & 0xf0f0_f0f0 | 0x0a0a_0a0a;
            let answer =
                negotiate(&datagram(0xc0, reserved, 21, 0, 1200), &[1], || random).unwrap();
            let offered = u32::from_be_bytes(answer[answer.len() - 8..][..4].try_into().unwrap());
            assert_ne!(offered, reserved);
            assert_eq!(offered & 0x0f0f_0f0f, 0x0a0a_0a0a);
            assert_eq!(answer[0] & 0xc0, 0xc0);
        }
    }

    #[test]
    fn a_second_has_an_end_of_answers() {
        let (mut allowance, now) = (Allowance::default(), Instant::now());
        assert!((0..ANSWERS_PER_SECOND_MAX).all(|_| allowance.take(now)));
        assert!(!allowance.take(now) && !allowance.take(now + SECOND / 2));
        assert!(allowance.take(now + SECOND));
    }
}

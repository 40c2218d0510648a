//! Signatures that were made, so that the same set is signed once in days.
//!
//! A set is known by a keyed hash of 128 bits of all that is signed and the keys' tags, so nobody can choose two that meet.
//! Two generations: when the younger is full it becomes the older, and the older goes; what is used moves into the younger.
//! Invariant: never more than the limit, and never a signature with less than a quarter of its life left.

use std::{
    collections::HashMap,
    hash::Hasher,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime},
};

use hickory_proto::rr::RData;
use siphasher::sip128::{Hasher128, SipHasher13};

use super::rrset::Canonical;

/// The signatures that were made.
#[derive(Debug)]
pub(super) struct Signatures {
    shards: Vec<Mutex<Shard>>,
    /// The most of a shard's generation.
    generation_max: usize,
    secret: (u64, u64),
}

/// What a signature is found by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Identity(u128);

#[derive(Debug, Default)]
struct Shard {
    young: HashMap<Identity, Kept>,
    old: HashMap<Identity, Kept>,
}

#[derive(Debug, Clone)]
struct Kept {
    rrsig: Arc<[RData]>,
    until: SystemTime,
}

impl Signatures {
    /// Room for so many.
    pub(super) fn new(entries_max: usize) -> Self {
        let shards = (0..SHARDS).map(|_| Mutex::default()).collect();
        let generation_max = (entries_max / (2 * SHARDS)).max(1);
        Self { shards, generation_max, secret: (rand::random(), rand::random()) }
    }

    /// What a set signed by keys is found by.
    pub(super) fn identity(
        &self,
        set: &Canonical,
        zone: &[u8],
        key_tags: impl Iterator<Item = u16>,
    ) -> Identity {
        let mut hasher = SipHasher13::new_with_keys(self.secret.0, self.secret.1);
        hasher.write_usize(zone.len());
        hasher.write(zone);
        set.feed(|piece| hasher.write(piece));
        key_tags.for_each(|tag| hasher.write_u16(tag));
        Identity(hasher.finish128().as_u128())
    }

    /// The signature, when there is one that is fresh enough.
    pub(super) fn get(&self, identity: Identity, now: SystemTime) -> Option<Arc<[RData]>> {
        let mut shard = self.shard(identity).lock().unwrap_or_else(PoisonError::into_inner);
        let kept = match shard.young.get(&identity) {
            Some(kept) => kept.clone(),
            None => {
                let kept = shard.old.remove(&identity)?;
                self.put(&mut shard, identity, kept.clone());
                kept
            }
        };
        (now < kept.until).then_some(kept.rrsig)
    }

    /// Keeps a signature until then.
    pub(super) fn insert(&self, identity: Identity, rrsig: Arc<[RData]>, until: SystemTime) {
        let mut shard = self.shard(identity).lock().unwrap_or_else(PoisonError::into_inner);
        self.put(&mut shard, identity, Kept { rrsig, until });
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        let of = |shard: &Mutex<Shard>| {
            let shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
            shard.young.len() + shard.old.len()
        };
        self.shards.iter().map(of).sum()
    }

    fn put(&self, shard: &mut Shard, identity: Identity, kept: Kept) {
        if shard.young.len() >= self.generation_max && !shard.young.contains_key(&identity) {
            shard.old = std::mem::take(&mut shard.young);
        }
        shard.young.insert(identity, kept);
    }

    fn shard(&self, identity: Identity) -> &Mutex<Shard> {
        &self.shards[(identity.0 % SHARDS as u128) as usize]
    }
}

impl Identity {
    /// A number that is as good as drawn, and the same for the same set.
    pub(super) fn salt(self) -> u64 {
        (self.0 >> 64) as u64
    }
}

/// Until when a signature is given out: a quarter of its lifetime before it ends, so that whoever keeps it for a TTL, or
/// has a wrong clock, never holds one that has ended.
pub(super) fn fresh_until(expiration: SystemTime, lifetime: Duration) -> SystemTime {
    expiration - lifetime / 4
}

/// Locks that queries share: more than there are cores of a node.
const SHARDS: usize = 64;

#[cfg(test)]
mod tests {
    use hickory_proto::rr::{Name, RecordType, rdata::A};

    use super::*;

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    }

    fn rrsig() -> Arc<[RData]> {
        Arc::new([RData::A(A::new(192, 0, 2, 1))])
    }

    #[test]
    fn a_set_is_known_by_all_that_is_signed() {
        let signatures = Signatures::new(100);
        let set = |owner: &str, ttl, last| {
            let owner = Name::from_ascii(owner).expect("a name");
            let data = [RData::A(A::new(192, 0, 2, last))];
            Canonical::new(&owner, RecordType::A, ttl, &data).expect("good")
        };
        let first = signatures.identity(&set("a.example.", 20, 1), b"example", [7].into_iter());
        assert_eq!(
            first,
            signatures.identity(&set("A.example.", 20, 1), b"example", [7].into_iter())
        );
        for (other, zone, tag) in [
            (set("b.example.", 20, 1), &b"example"[..], 7),
            (set("a.example.", 5, 1), b"example", 7),
            (set("a.example.", 20, 2), b"example", 7),
            (set("a.example.", 20, 1), b"exampl", 7),
            (set("a.example.", 20, 1), b"example", 8),
        ] {
            assert_ne!(first, signatures.identity(&other, zone, [tag].into_iter()));
        }
    }

    #[test]
    fn a_signature_is_given_out_until_a_quarter_is_left() {
        let signatures = Signatures::new(100);
        let until = fresh_until(at(1000), Duration::from_secs(400));
        signatures.insert(Identity(1), rrsig(), until);
        assert!(signatures.get(Identity(1), at(899)).is_some());
        assert!(signatures.get(Identity(1), at(900)).is_none());
        assert!(signatures.get(Identity(2), at(0)).is_none());
    }

    #[test]
    fn there_are_never_more_than_the_limit_and_what_is_used_stays() {
        let signatures = Signatures::new(SHARDS * 8);
        let used = Identity(SHARDS as u128);
        signatures.insert(used, rrsig(), at(9));
        for n in 0..SHARDS as u128 * 100 {
            signatures.insert(Identity(n), rrsig(), at(9));
            assert!(signatures.get(used, at(1)).is_some(), "{n}");
        }
        assert!(signatures.len() <= SHARDS * 8, "{}", signatures.len());
        assert!(signatures.get(Identity(5), at(1)).is_none());
    }
}

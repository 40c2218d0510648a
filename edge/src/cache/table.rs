//! Hash tables by cache key: split into shards, so that cores do not wait for one another.
//!
//! A key is a hash that anybody can compute, so the tables mix it with a secret of the process. Invariant: which
//! shard a key belongs to never changes while the process lives.

use std::{
    collections::HashMap,
    hash::{BuildHasher, Hasher},
    sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
};

use super::key::Key;

/// Values by key, in shards.
pub(super) struct Table<V> {
    shards: Box<[RwLock<HashMap<Key, V, Mixer>>]>,
    mixer: Mixer,
}

/// One shard, to be looked at.
pub(super) type Shard<'a, V> = RwLockReadGuard<'a, HashMap<Key, V, Mixer>>;
/// One shard, to be changed.
pub(super) type ShardMut<'a, V> = RwLockWriteGuard<'a, HashMap<Key, V, Mixer>>;

impl<V> Table<V> {
    pub(super) fn new() -> Self {
        let mixer = Mixer([rand::random(), rand::random()]);
        let shard = |_| RwLock::new(HashMap::with_hasher(mixer));
        Self { shards: (0..SHARDS).map(shard).collect(), mixer }
    }

    pub(super) fn read(&self, key: &Key) -> Shard<'_, V> {
        self.shard(key).read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn write(&self, key: &Key) -> ShardMut<'_, V> {
        self.shard(key).write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Every shard, one after the other.
    pub(super) fn each(&self) -> impl Iterator<Item = ShardMut<'_, V>> {
        self.shards.iter().map(|shard| shard.write().unwrap_or_else(PoisonError::into_inner))
    }

    fn shard(&self, key: &Key) -> &RwLock<HashMap<Key, V, Mixer>> {
        // Neither the lowest nor the highest bits: the tables themselves use those.
        let at = (self.mixer.hash_one(key) >> 24) as usize % self.shards.len();
        &self.shards[at]
    }
}

/// The secret of a table: it folds a key with two random words.
#[derive(Clone, Copy)]
pub(super) struct Mixer([u64; 2]);

/// A hash that is being made.
pub(super) struct Mixed {
    secret: [u64; 2],
    folded: u64,
}

impl BuildHasher for Mixer {
    type Hasher = Mixed;

    fn build_hasher(&self) -> Mixed {
        Mixed { secret: self.0, folded: 0 }
    }
}

impl Hasher for Mixed {
    fn write(&mut self, bytes: &[u8]) {
        for word in bytes.chunks(16) {
            let mut padded = [0; 16];
            padded[..word.len()].copy_from_slice(word);
            let word = u128::from_le_bytes(padded);
            let (low, high) = (word as u64 ^ self.secret[0], (word >> 64) as u64 ^ self.secret[1]);
            let product = u128::from(low ^ self.folded) * u128::from(high);
            self.folded = product as u64 ^ (product >> 64) as u64;
        }
    }

    /// The length in front of an array, which is the same for all keys.
    fn write_usize(&mut self, _: usize) {}

    fn finish(&self) -> u64 {
        self.folded
    }
}

/// More than any machine has cores.
const SHARDS: usize = 256;

#[cfg(test)]
mod tests {
    use tidegate_contract::id::PropertyId;

    use super::*;

    /// Keys of paths that differ in little.
    fn keys() -> impl Iterator<Item = Key> {
        let property: PropertyId = "demo".parse().expect("a name");
        (0..25_600).map(move |n| Key::of(&property, "video.example", &format!("/v/{n}.m4s")))
    }

    #[test]
    fn keys_spread_over_the_shards() {
        let table: Table<()> = Table::new();
        for key in keys() {
            table.write(&key).insert(key, ());
        }
        let sizes: Vec<_> = table.each().map(|shard| shard.len()).collect();
        assert_eq!(sizes.iter().sum::<usize>(), 25_600);
        // A hundred each, give or take ten: these bounds are eight times that away.
        assert!(sizes.iter().all(|size| (20..400).contains(size)), "{sizes:?}");
    }

    fn place(table: &Table<()>, key: &Key) -> Option<usize> {
        let shard = std::ptr::from_ref(table.shard(key));
        table.shards.iter().position(|of| std::ptr::eq(of, shard))
    }

    #[test]
    fn nobody_outside_knows_which_keys_share_a_shard() {
        let [one, other] = [Table::<()>::new(), Table::new()];
        let alike = keys().filter(|key| place(&one, key) == place(&other, key)).count();
        assert!(alike < 2_560, "{alike} of 25,600 have the same place in another process");
    }
}

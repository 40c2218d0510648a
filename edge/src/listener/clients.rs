//! How many connections each client address has open.
//!
//! Invariant: the table has an entry only for addresses with an open connection, so `connections_max` bounds it too.

use std::{
    collections::HashMap,
    hash::{BuildHasher, RandomState},
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// The counts, in shards so that workers rarely meet.
#[derive(Debug)]
pub(super) struct Clients {
    max: usize,
    hasher: RandomState,
    shards: [Mutex<HashMap<u64, usize>>; SHARDS],
}

/// One open connection in the counts.
#[derive(Debug)]
pub(super) struct Counted {
    clients: Arc<Clients>,
    client: u64,
}

impl Clients {
    pub(super) fn new(max: usize) -> Arc<Self> {
        let shards = std::array::from_fn(|_| Mutex::default());
        Arc::new(Self { max, hasher: RandomState::new(), shards })
    }

    /// Counts one more connection of this address, unless it has too many.
    pub(super) fn admit(self: &Arc<Self>, client: IpAddr) -> Option<Counted> {
        let client = self.name(client);
        let mut shard = self.shard(client);
        let open = shard.entry(client).or_default();
        if *open >= self.max {
            return None;
        }
        *open += 1;
        drop(shard);
        Some(Counted { clients: self.clone(), client })
    }

    /// A keyed hash stands for the address. IPv6 counts by /64, which is what one customer gets.
    fn name(&self, client: IpAddr) -> u64 {
        match client.to_canonical() {
            IpAddr::V4(client) => self.hasher.hash_one((4u8, u64::from(client.to_bits()))),
            IpAddr::V6(client) => self.hasher.hash_one((6u8, (client.to_bits() >> 64) as u64)),
        }
    }

    fn shard(&self, client: u64) -> MutexGuard<'_, HashMap<u64, usize>> {
        let shard = &self.shards[client as usize % SHARDS];
        shard.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        let mut shard = self.clients.shard(self.client);
        if let Some(open) = shard.get_mut(&self.client) {
            *open -= 1;
            if *open == 0 {
                shard.remove(&self.client);
            }
        }
    }
}

const SHARDS: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_its_own_count_and_gets_it_back() {
        let clients = Clients::new(2);
        let admit = |text: &str| clients.admit(text.parse().unwrap());
        let (first, second) = (admit("192.0.2.1"), admit("::ffff:192.0.2.1"));
        assert!(first.is_some() && second.is_some());
        assert!(admit("192.0.2.1").is_none());
        let six = (admit("2001:db8::1").unwrap(), admit("2001:db8::2").unwrap());
        assert!(admit("2001:db8::3").is_none(), "the same /64");
        assert!(admit("2001:db8:0:1::3").is_some(), "another /64");
        drop((first, six));
        assert!(admit("192.0.2.1").is_some());
        drop(second);
        assert!(clients.shards.iter().all(|shard| shard.lock().unwrap().is_empty()));
    }
}

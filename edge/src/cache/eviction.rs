//! Which object leaves memory next: S3-FIFO, weighed in bytes.
//!
//! What is new waits in a short queue; what is asked for again there, or came back soon after it had to leave, goes
//! on to the long queue, which goes round for as long as its objects are asked for. So a scan of things that nobody
//! asks for twice passes through the short queue alone. Pure but for the table it is handed. Invariant: every live
//! entry of the table stands in exactly one queue, once.

use std::collections::VecDeque;

use super::{key::Key, seen::Seen};

/// The two queues, and what left the short one lately.
pub(super) struct Queues {
    short: Queue,
    long: Queue,
    /// Weight from which on the short queue is emptied before the long one.
    short_weight_max: u64,
    left: Seen,
    last_ticket: u64,
}

/// Where an entry stands, as the table keeps it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    /// What the queue knows it by; an entry that is put again under one key gets a new one.
    pub(super) ticket: u64,
    pub(super) is_long: bool,
    pub(super) weight: u64,
}

/// The table that the queues are about.
pub(super) trait Residents {
    /// The place and the number of uses of the entry under a key.
    fn look(&self, key: &Key) -> Option<(Place, u8)>;
    /// Notes a new place and a new number of uses.
    fn place(&self, key: &Key, place: Place, uses: u8);
    /// Takes the entry out.
    fn evict(&self, key: &Key);
}

#[derive(Default)]
struct Queue {
    waiting: VecDeque<(Key, u64)>,
    weight: u64,
    /// Entries that stand here; more may wait in `waiting`, whose entries were removed.
    len: usize,
}

impl Queues {
    pub(super) fn new(weight_max: u64) -> Self {
        Self {
            short: Queue::default(),
            long: Queue::default(),
            short_weight_max: weight_max / SHORT_SHARE,
            left: Seen::new(LEFT_KEYS),
            last_ticket: 0,
        }
    }

    /// The weight of everything.
    pub(super) fn weight(&self) -> u64 {
        self.short.weight + self.long.weight
    }

    /// How many entries there are.
    pub(super) fn len(&self) -> usize {
        self.short.len + self.long.len
    }

    /// A new entry comes in.
    pub(super) fn enter(&mut self, key: Key, weight: u64) -> Place {
        self.last_ticket += 1;
        let is_long = self.left.take(&key);
        let place = Place { ticket: self.last_ticket, is_long, weight };
        self.queue(is_long).push(key, place);
        place
    }

    /// An entry stays where it is with another weight.
    pub(super) fn reweigh(&mut self, place: Place, weight: u64) -> Place {
        let queue = self.queue(place.is_long);
        queue.weight = queue.weight - place.weight + weight;
        Place { weight, ..place }
    }

    /// An entry was taken out.
    pub(super) fn leave(&mut self, place: Place, residents: &impl Residents) {
        let queue = self.queue(place.is_long);
        queue.take(place);
        if queue.waiting.len() > 2 * queue.len + STALE_MAX {
            queue.waiting.retain(|(key, ticket)| live(residents, key, *ticket).is_some());
        }
    }

    /// Takes one entry out; false when there is none.
    pub(super) fn evict(&mut self, residents: &impl Residents) -> bool {
        let mut rounds = 0;
        while self.len() > 0 {
            let is_long = self.long.len > 0
                && (self.short.len == 0 || self.short.weight <= self.short_weight_max);
            let Some((key, ticket)) = self.queue(is_long).waiting.pop_front() else { return false };
            let Some((place, uses)) = live(residents, &key, ticket) else { continue };
            self.queue(is_long).take(place);
            rounds += 1;
            let stays = uses >= if is_long { 1 } else { USES_TO_STAY };
            if stays && rounds <= ROUNDS_MAX {
                let place = Place { is_long: true, ..place };
                self.long.push(key, place);
                residents.place(&key, place, if is_long { uses - 1 } else { 0 });
                continue;
            }
            if !is_long {
                self.left.note(&key);
            }
            residents.evict(&key);
            return true;
        }
        false
    }

    fn queue(&mut self, is_long: bool) -> &mut Queue {
        if is_long { &mut self.long } else { &mut self.short }
    }
}

impl Queue {
    fn push(&mut self, key: Key, place: Place) {
        self.waiting.push_back((key, place.ticket));
        self.weight += place.weight;
        self.len += 1;
    }

    fn take(&mut self, place: Place) {
        self.weight -= place.weight;
        self.len -= 1;
    }
}

/// The entry that a place in a queue speaks of, unless it was removed.
fn live(residents: &impl Residents, key: &Key, ticket: u64) -> Option<(Place, u8)> {
    residents.look(key).filter(|(place, _)| place.ticket == ticket)
}

/// The part of the whole weight that is kept for what is new.
const SHORT_SHARE: u64 = 10;
/// Uses in the short queue that take an entry to the long one.
const USES_TO_STAY: u8 = 2;
/// The most uses that are counted: so many rounds an entry stays in the long queue after its last use.
pub(super) const USES_MAX: u8 = 3;
/// Entries that may be passed over for one that goes, so that nobody waits long for room.
const ROUNDS_MAX: u32 = 256;
/// Keys that left the short queue and are remembered, at 4 bytes each.
const LEFT_KEYS: usize = 256 * 1024;
/// Removed entries that a queue holds before it is cleaned.
const STALE_MAX: usize = 1024;

//! A deterministic simulation of purges: seeded, in virtual time, with the code that runs in production.
//!
//! What is real: the reading side of the log and its epochs, the words of a lane, the fleet's book-keeping and its
//! verdict on a purge, and in each PoP the follower, the positions, the questions, the table of purges, the freshness
//! lease and the decision whether a stored response may be served. What is simulated: time, the ways between PoPs and
//! replicas, crashes, the link of replicas to their store, restores, clients, the origin.
//!
//! **Invariant asserted.** No PoP serves a manifest that is older than a purge P of it
//! - after that PoP has applied P;
//! - later than the lease and the age that an uncertain PoP may serve, counted from when P was accepted: a cut that
//!   lasts, a slow way or a lag changes nothing about that;
//! - after anybody was told that P is complete.
//!
//! In the last two an uncertain PoP counts ages from the arrival of a response, so that the time which the fetch of it
//! took comes on top.

mod random;
mod path;
mod pop;
mod replica;
mod world;

use self::world::World;

/// What is simulated.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// Decides everything else.
    pub seed: u64,
    /// How long, in virtual milliseconds.
    pub duration_ms: u64,
    /// A mistake that is to be made, to show that the simulation finds it.
    pub mistake: Option<Mistake>,
}

/// Mistakes that others made, or we did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mistake {
    /// An object's number is taken when its body has arrived, not when it was asked for.
    BornOnArrival,
    /// A heartbeat counts from its arrival, however long it was on its way.
    LeaseFromArrival,
    /// A PoP is not told that the log no longer holds what it missed.
    UnsaidTrim,
    /// A replica that cannot reach its store goes on as if it knew everything.
    BlindReplica,
    /// A log that was restored gives its offsets out again.
    OffsetsGivenTwice,
}

/// What happened.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Report {
    /// Answers from caches.
    pub hits: u64,
    /// Questions to the origin.
    pub fetches: u64,
    /// Purges accepted.
    pub purges: u64,
    /// Purges that somebody was told to be complete.
    pub complete: u64,
    /// Lanes opened.
    pub lanes: u64,
    /// Faults of all kinds.
    pub faults: u64,
    /// Times that a PoP was told that the log does not hold what it missed.
    pub trims: u64,
    /// Logs restored from a backup.
    pub restores: u64,
    /// Answers that a PoP gave from its cache while it was uncertain.
    pub uncertain_hits: u64,
    /// The first thing that must never be.
    pub violation: Option<String>,
}

/// Runs one seed to its end, or to the first violation.
#[must_use]
pub fn run(settings: Settings) -> Report {
    World::new(settings).run()
}

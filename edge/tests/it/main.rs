//! The edge as a whole: real sockets, a scripted origin, clients of all three protocols.
//!
//! Each file tells stories about one thing that the edge promises.

#![allow(clippy::unwrap_used)] // a test that cannot go on may say so

mod harness;

mod collapse; // many clients, one fetch
mod collapse_failure; // a fetch that breaks off
mod fair_fill; // a slow client and a fast one
mod fresh; // stored, fresh, ranges, variants
mod interim; // 103 and trailers
mod invalidate; // what unsafe methods and HEAD change
mod lease; // cut off from the control plane
mod live; // held playlists, early segments, playlists that stand still
mod memory; // an army of slow readers
mod pass; // what is not stored
mod prefetch; // before a viewer asks
mod purge; // by URL, key, everything; hard and soft
mod reference; // the shipped configurations
mod refusal; // what is answered with a problem
mod slices; // large objects in aligned slices
mod stale; // revalidation, stale while it runs, stale on error
mod tiers; // edge, shield, origins; failover
mod upgrade; // a new process takes over

//! The edge as a whole: real sockets, a scripted origin, clients of all three protocols.
//!
//! Each file tells stories about one thing that the edge promises.

#![allow(clippy::unwrap_used)] // a test that cannot go on may say so

mod harness;

mod both_ways; // bodies of request and answer at once
mod collapse; // many clients, one fetch
mod collapse_failure; // a fetch that breaks off
mod explain; // what operators are told of a resource
mod disk; // that fails while it is read
mod fair_fill; // a slow client and a fast one
mod fresh; // stored, fresh, ranges, variants
mod interim; // 103 and trailers
mod hostile; // origins that break the protocol
mod invalidate; // what unsafe methods and HEAD change
mod lease; // cut off from the control plane
mod live; // held playlists, early segments, playlists that stand still
mod conditions; // ranges and conditions of requests
mod guard_door; // rates, CORS, methods, countries
mod guard_renewal; // tokens that live on
mod guard_token; // who may have what
mod memory; // an army of slow readers
mod pass; // what is not stored
mod players; // what CMCD says
mod poison; // what one client says and all would get
mod prefetch; // before a viewer asks
mod priority; // what comes first
mod purge; // by URL, key, everything; hard and soft
mod reference; // the shipped configurations
mod refusal; // what is answered with a problem
mod replace; // a body that arrives with a purge
mod resume; // what broke off goes on somewhere else
mod smuggling; // requests that two readers could cut differently
mod siblings; // nodes of one PoP
mod slices; // large objects in aligned slices
mod stale; // revalidation, stale while it runs, stale on error
mod tiers; // edge, shield, origins; failover
mod upgrade; // a new process takes over

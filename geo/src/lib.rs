//! Geo: where a client is, which PoP serves it, and why.
//!
//! ```text
//!  a query's address ──▶ unit::lookup ──▶ unit ──▶ plan: PoPs and shares ──▶ answer
//!                            ▲                      ▲
//!  locate: files of places ──┘      map::round ─────┘◀── latency: measured round trips
//!                                       ▲
//!                                     fleet: PoPs, capacities, how they are
//! ```
//!
//! Everything about maps is a pure function of its inputs: the same places, round trips and fleet give the same map.
//! Modules stand top-down; a module may use only modules listed below it.

#![forbid(unsafe_code)]
#![warn(missing_docs)]

pub mod command; // the command line
pub mod dns; // what answers queries
pub mod explain; // which PoP a client gets, and why
pub mod world; // what answers are made from at a moment
pub mod map; // which PoP serves which part of the Internet
pub mod latency; // round trips that PoPs measured
pub mod locate; // files of places, read into units
pub mod unit; // parts of the Internet that are served alike
pub mod fleet; // the PoPs as the map sees them
pub mod place; // points on the earth, distance, the round trip that it costs

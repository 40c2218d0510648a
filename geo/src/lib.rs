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
pub mod key_command; // its verbs about keys of signed zones
pub mod fetch; // free files of places
pub mod node; // builds the parts, binds the sockets, serves, drains
mod metrics; // what is counted of the world
pub mod asked; // what operators ask beside the map, all together
pub mod resolve; // what a client would be answered, for operators
pub mod steered; // what a player would be told, for operators
pub mod signed; // how it stands with zones and their keys, for operators
pub mod config; // what can be set, part by part
pub mod steer; // which PoP a player fetches from, in the middle of a video
pub mod dns; // queries in, answers out
pub mod zone; // what is told of names: zone files, steered names
pub mod admin; // what operators ask of the node
pub mod live; // the map of now: heard, seen, made
pub mod explain; // which PoP a client gets, and why
pub mod world; // what answers are made from at a moment
pub mod map; // which PoP serves which part of the Internet
pub mod latency; // round trips that PoPs measured
pub mod locate; // files of places, read into units
pub mod unit; // parts of the Internet that are served alike
pub mod fleet; // the PoPs as the map sees them
pub mod place; // points on the earth, distance, the round trip that it costs

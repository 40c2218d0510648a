//! The cache core: what is kept, under which key, for how long, and when it no longer counts.
//!
//! Nothing here knows of Pingora or of sockets; decisions (`freshness`, `reuse`, `variance`, `key`) are pure
//! functions. Invariant: a body is complete or an error, never silently short.

pub mod store; // the face: look up, begin a fill, refresh, forget
mod config; // sizes and waits
mod filling; // the fills in flight by key
pub mod memory_tier; // complete objects under a byte budget
mod eviction; // which of them leaves next
pub mod body; // reading a body, complete, still arriving or on disk
pub mod disk; // what survives a restart
pub mod in_flight; // one writer, many readers
pub mod variants; // the variants of one resource
pub mod object; // a stored response: head and pieces
pub mod metrics; // what the tiers publish
mod table; // hash tables by key
mod seen; // what was met lately
pub mod reuse; // may it answer now, and what must happen first
pub mod wishes; // what a client wishes of a cache
pub mod freshness; // may it be stored, how long does it count
mod lifetime; // how long it is fresh: said, given or guessed
mod storable; // what forbids storing it
pub mod invalidation; // what an unsafe request makes obsolete
pub mod arrival; // a response as it arrives, and why it is not stored
pub mod condition; // If-Match, If-None-Match, If-Modified-Since, If-Unmodified-Since
pub mod range; // which bytes are asked for, which are there
pub mod confirm; // asking whether a response still holds, and what the answer changes
pub mod kept; // which headers are stored, which a client sees
pub mod governing; // which header governs this cache
pub mod directive; // reading Cache-Control
pub mod structured; // reading dictionaries of structured fields
pub mod variance; // which variant a request gets
mod acceptance; // what Accept-Encoding and Accept-Language mean
pub mod media_class; // manifest, init, segment, part
pub mod span; // runs of bytes, Content-Range
pub mod entity_tag; // entity tags and their comparisons
pub mod date; // reading HTTP dates
pub mod list; // members of comma-separated values
pub mod fields; // headers with their encodings
pub mod key; // the name of a resource
pub mod budget; // bytes under a limit
pub mod lease; // whether every purge is known here
pub mod purge; // which purges were applied
mod private_folder; // files of our own

pub use config::{Config, ConfigError};

#[cfg(test)]
mod freshness_tests;
#[cfg(test)]
mod testing;

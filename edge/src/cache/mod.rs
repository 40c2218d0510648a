//! The cache core: what is kept, under which key, for how long, and when it no longer counts.
//!
//! Nothing here knows of Pingora or of sockets; decisions (`freshness`, `reuse`, `variance`, `key`) are pure
//! functions. Invariant: a body is complete or an error, never silently short.

mod config; // sizes and waits
pub mod store; // the face: look up, begin a fill, refresh, forget
pub mod memory_tier; // complete objects under a byte budget
pub mod body; // reading a body, complete or still arriving
pub mod in_flight; // one writer, many readers
pub mod object; // a stored response: head and pieces
pub mod reuse; // may it answer now, and what must happen first
pub mod freshness; // may it be stored, how long does it count
pub mod directive; // reading Cache-Control
pub mod fields; // headers with their encodings
pub mod variance; // which variant a request gets
pub mod key; // the name of a resource
pub mod budget; // bytes of fills in flight
pub mod lease; // whether every purge is known here
pub mod purge; // which purges were applied

pub use config::{Config, ConfigError};

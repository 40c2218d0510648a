//! The load rig: sessions begin by schedule, each a player with connections of its own kind; what they meet is measured.
//!
//! ```text
//! command ─ flags, exit codes
//!    │
//!  fleet ─ several machines, one run
//!    │
//!   run ─ schedule ─▶ sessions ─▶ results ─▶ output
//!            │           │
//!   arrival, catalogue   player ◀── events, requests ──▶ net
//! ```
//!
//! Players, arrivals, manifests and results know neither sockets nor clocks.

pub mod command;
pub mod fleet;
pub mod output;
pub mod run;
pub mod scenario;
pub mod gate;
pub mod measure;
pub mod arrival;
pub mod catalogue;
pub mod player;
pub mod manifest;
pub mod net;
pub mod results;
pub mod kind;

//! BIRD 2 as a speaker: its configuration is written once and names a protocol for every prefix and level; at run time
//! protocols are only enabled and disabled over its control socket.
//!
//! Invariant: no route is made or changed at run time, so that a mistake here can at most choose the wrong one of a few
//! prepared ones.

mod driver;
mod file; // the configuration of BIRD
mod client; // one line per command
pub mod protocols; // the table of `show protocols`
pub mod reply; // lines with codes
mod name; // what a protocol is called

pub use self::{driver::Bird, file::write};

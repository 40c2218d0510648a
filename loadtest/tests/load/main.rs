//! The rig as its users meet it.

#![allow(clippy::unwrap_used)] // a story that cannot go on has failed

mod harness;
mod viewing;
mod open_loop;
mod program;
mod net;

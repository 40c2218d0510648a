//! The rig as its users meet it.

mod harness;
mod viewing;
mod open_loop;
mod program;
mod net;

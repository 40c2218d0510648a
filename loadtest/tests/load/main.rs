//! The rig as its users meet it.

mod net;

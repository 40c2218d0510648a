//! Every call into C that needs `unsafe`: libav where its wrapper has no safe way, and the kernel.
//!
//! Nothing above this folder contains `unsafe`. Values that come from an upload are read as integers, never as
//! Rust enums: a number outside of an enum would be undefined behaviour.

pub(crate) mod kernel;
pub(crate) mod libav;

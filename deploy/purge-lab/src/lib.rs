//! Purges from the API to the last PoP, watched as a whole: the real parts of the control plane and of the edge in one
//! process.
//!
//! A lab runs nowhere but here and in CI; it may therefore join programs that otherwise meet over the network alone.

#![forbid(unsafe_code)]

pub mod benchmark; // real processes over a modelled Internet, with figures
pub mod simulation; // seeded runs in virtual time, with everything going wrong

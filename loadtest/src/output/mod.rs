//! What people and programs read of a run: live on a terminal, as files, as a page, and two runs side by side.
//!
//! Everything here is made from `Results` or one `Interval` of them. Invariant: what is shown was measured; a figure of
//! which nothing was measured is shown as a dash, never as 0.

pub mod dashboard;
pub mod lines;
pub mod compare;
pub mod html;
pub mod junit;
pub mod hgrm;
pub mod prometheus;
pub mod ndjson;
pub mod json;
mod number;
mod file;
#[cfg(test)]
mod fixture;

pub use self::file::{FileError, replace};

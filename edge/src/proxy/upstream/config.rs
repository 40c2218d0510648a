//! Section `[upstream]`.

pub use crate::upstream::Config;

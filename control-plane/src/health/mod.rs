//! How PoPs are: what their nodes say of themselves, what they move, and how others find them.
//!
//! Everything here is about now and lives in memory, but for the history of verdicts. Invariant: a verdict is for people and for steering; no route is
//! ever withdrawn because of one.

mod history; // what was
mod reports;
mod verdict;

pub use history::{Change, Historian, History, histories};
pub use reports::{NodeReport, Rates, Reports, Told};
pub use verdict::{Health, Judge, Opinion, Signs, opinion};

//! The report: one page that needs nothing but itself, with the plots drawn as SVG.
//!
//! The plots are our own few lines of SVG rather than a plotting crate's: colours come from the page's style sheet, so
//! that one drawing serves light and dark, and the same figures can be read under the pointer. Invariant: every value
//! that came from outside is escaped, and the page may load nothing: its content security policy says so.

mod page;
mod time;
mod tables;
mod spread;
mod tiles;
mod scale;
mod plot;
mod markup;

pub(super) use self::markup::{Align, Cell, Table, escape, frame, section};
use crate::results::Results;

/// The report of a run.
#[must_use]
pub fn page(results: &Results) -> String {
    page::page(results)
}

//! Words on standard error, data on standard output.
//!
//! Invariant: a reader that went away ends nothing but what it would have read.

use std::io::{self, Write};

/// Tells the person something.
pub(super) fn note(text: &str) {
    let _ = writeln!(io::stderr(), "{text}");
}

/// Prints data.
pub(super) fn print(text: &str) {
    let mut out = io::stdout().lock();
    let _ = out.write_all(text.as_bytes());
    let _ = out.flush();
}

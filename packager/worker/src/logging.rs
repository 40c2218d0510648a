//! Lines on stderr, at most a fixed number of them.
//!
//! The packager reads stderr into its own log. A damaged upload can make a decoder complain about every frame, so
//! after the last allowed line the rest is dropped. Lines hold no bytes of the upload.

use std::{
    fmt,
    io::Write,
    sync::atomic::{AtomicU32, Ordering},
};

/// Writes one line, unless too many were written.
pub(crate) fn line(message: fmt::Arguments<'_>) {
    let number = LINES.fetch_add(1, Ordering::Relaxed);
    if number > LINES_MAX {
        return;
    }
    let mut text = if number == LINES_MAX {
        "further lines are dropped".to_owned()
    } else {
        message.to_string().replace(char::is_control, " ")
    };
    text.truncate(text.floor_char_boundary(LINE_BYTES_MAX));
    text.push('\n');
    // Nobody is left to tell when stderr is gone.
    let _ = std::io::stderr().write_all(text.as_bytes());
}

/// The most lines of one process.
const LINES_MAX: u32 = 200;
/// The longest line in bytes.
const LINE_BYTES_MAX: usize = 1000;

static LINES: AtomicU32 = AtomicU32::new(0);

//! A document as text, and its lines with their numbers. One pass, nothing is copied.
//!
//! Bytes that are no UTF-8 do not keep players from reading on, so they do not here.

use std::borrow::Cow;

use super::{
    error::{Fault, ManifestError},
    limit, work,
};

/// The document as text, without a byte order mark.
pub(super) fn decode(document: &[u8]) -> Result<Cow<'_, str>, ManifestError> {
    if document.len() > limit::MAX_BYTES {
        return Err(Fault::too_many("bytes", limit::MAX_BYTES).into());
    }
    Ok(String::from_utf8_lossy(document.strip_prefix(BYTE_ORDER_MARK).unwrap_or(document)))
}

/// Lines with their numbers from 1; trimmed, without those that are empty.
pub(super) struct Lines<'a> {
    rest: &'a str,
    line: u32,
}

impl<'a> Lines<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self { rest: text, line: 0 }
    }

    /// The next line with something on it; an error when there are too many.
    pub(super) fn next_line(&mut self) -> Result<Option<(u32, &'a str)>, ManifestError> {
        while !self.rest.is_empty() {
            let end = self.rest.bytes().position(|byte| matches!(byte, b'\n' | b'\r'));
            let (line, rest) = self.rest.split_at(end.unwrap_or(self.rest.len()));
            // One end of a line may be two characters.
            self.rest =
                rest.strip_prefix("\r\n").unwrap_or_else(|| rest.get(1..).unwrap_or_default());
            self.line += 1;
            work::add(line.len() + 1);
            if self.line > limit::MAX_LINES {
                return Err(Fault::too_many("lines", limit::MAX_LINES as usize).at(self.line));
            }
            let line = line.trim_ascii();
            if !line.is_empty() {
                return Ok(Some((self.line, line)));
            }
        }
        Ok(None)
    }
}

/// The line of a position in a text.
pub(super) fn line_of(text: &str, position: usize) -> u32 {
    let before = &text.as_bytes()[..position.min(text.len())];
    work::add(before.len());
    let ends = before.iter().filter(|byte| **byte == b'\n').count();
    u32::try_from(ends).unwrap_or(u32::MAX).saturating_add(1)
}

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_end_as_any_system_ends_them() {
        let text = decode(b"\xef\xbb\xbf#EXTM3U\r\n\r\n a \rb\n\n\xff").expect("text");
        let mut lines = Lines::new(&text);
        let mut seen = Vec::new();
        while let Some(line) = lines.next_line().expect("few lines") {
            seen.push(line);
        }
        assert_eq!(seen, [(1, "#EXTM3U"), (3, "a"), (4, "b"), (6, "\u{fffd}")]);
    }

    #[test]
    fn too_much_is_refused_where_it_begins() {
        let text = "\n".repeat(limit::MAX_LINES as usize + 1);
        let error = Lines::new(&text).next_line().expect_err("too many lines");
        assert_eq!(error.line, Some(limit::MAX_LINES + 1));
        assert!(decode(&vec![b' '; limit::MAX_BYTES]).is_ok());
        assert!(decode(&vec![b' '; limit::MAX_BYTES + 1]).is_err());
    }

    #[test]
    fn a_position_has_a_line() {
        let table = [(0, 1), (1, 1), (2, 2), (3, 3), (99, 3)];
        for (position, line) in table {
            assert_eq!(line_of("a\n\nb", position), line, "{position}");
        }
    }
}

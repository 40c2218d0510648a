//! A master file as entries (RFC 1035 5.1): lines, parentheses, quotes and comments become lists of words.
//!
//! Only the form is read here; what the words mean is said elsewhere. Invariant: every word is a piece of the text, and
//! no line belongs to two entries.

use std::ops::Range;

/// A line of the file, or several in parentheses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry<'a> {
    /// Its first line, from 1.
    pub(super) line: usize,
    /// Whether it begins with a blank: its name is that of the entry before.
    pub(super) is_continued: bool,
    /// Its words, quotes and all.
    pub(super) words: Vec<&'a str>,
}

/// Entries of a text, in order; ends after the first that has no form.
#[derive(Debug)]
pub(super) struct Entries<'a> {
    text: &'a str,
    at: usize,
    line: usize,
}

/// Why an entry has no form.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum FormError {
    #[error("a quote is not closed on its line")]
    Quote,
    #[error("a parenthesis is not closed")]
    Open,
    #[error("a parenthesis is closed that was not opened")]
    Closed,
    #[error("an entry has at most {WORDS_MAX} words")]
    Words,
}

impl<'a> Entries<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self { text, at: 0, line: 1 }
    }

    fn read(&mut self) -> Result<Entry<'a>, FormError> {
        let (mut words, mut depth) = (Vec::new(), 0);
        let (line, is_continued) = (self.line, self.text[self.at..].starts_with([' ', '\t']));
        while let Some(byte) = self.peek() {
            match byte {
                b'\n' => {
                    self.at += 1;
                    self.line += 1;
                    if depth == 0 {
                        break;
                    }
                }
                b' ' | b'\t' | b'\r' => self.at += 1,
                b';' => self.skip_comment(),
                b'(' => {
                    self.at += 1;
                    depth += 1;
                }
                b')' => {
                    self.at += 1;
                    depth = usize::checked_sub(depth, 1).ok_or(FormError::Closed)?;
                }
                _ => {
                    let word = self.word()?;
                    words.push(&self.text[word]);
                    if words.len() > WORDS_MAX {
                        return Err(FormError::Words);
                    }
                }
            }
        }
        if depth > 0 {
            return Err(FormError::Open);
        }
        Ok(Entry { line, is_continued, words })
    }

    /// A word ends with a blank; within quotes there is none.
    fn word(&mut self) -> Result<Range<usize>, FormError> {
        let first = self.at;
        let mut is_quoted = false;
        while let Some(byte) = self.peek() {
            match byte {
                // What follows it is never an end, unless the line ends.
                b'\\'
                    if self.text.as_bytes().get(self.at + 1).is_some_and(|next| *next != b'\n') =>
                {
                    self.at += 1;
                }
                b'"' => is_quoted = !is_quoted,
                b'\n' => break,
                b' ' | b'\t' | b'\r' | b';' | b'(' | b')' if !is_quoted => break,
                _ => {}
            }
            self.at += 1;
        }
        // What a backslash stands before may have several bytes.
        while !self.text.is_char_boundary(self.at) {
            self.at += 1;
        }
        if is_quoted { Err(FormError::Quote) } else { Ok(first..self.at) }
    }

    fn skip_comment(&mut self) {
        let rest = &self.text[self.at..];
        self.at += rest.find('\n').unwrap_or(rest.len());
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }
}

impl<'a> Iterator for Entries<'a> {
    type Item = Result<Entry<'a>, (usize, FormError)>;

    fn next(&mut self) -> Option<Self::Item> {
        while self.at < self.text.len() {
            let line = self.line;
            match self.read() {
                Ok(entry) if entry.words.is_empty() => {}
                Ok(entry) => return Some(Ok(entry)),
                Err(error) => {
                    self.at = self.text.len();
                    return Some(Err((line, error)));
                }
            }
        }
        None
    }
}

/// The most words of an entry: those of the longest text, a string each.
const WORDS_MAX: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_lines_or_what_is_in_parentheses() {
        let text =
            "a 1 ; x (\n\n b\tc\r\nd ( e ; \"\n  f\n) g \"h ; (i\"\\\"j k\\ l\n ; only\nm=\"n o\"";
        let entries: Vec<_> = Entries::new(text).map(Result::unwrap).collect();
        let entry = |line, is_continued, words: &[&'static str]| Entry {
            line,
            is_continued,
            words: words.to_vec(),
        };
        assert_eq!(
            entries,
            [
                entry(1, false, &["a", "1"]),
                entry(3, true, &["b", "c"]),
                entry(4, false, &["d", "e", "f", "g", "\"h ; (i\"\\\"j", "k\\ l"]),
                entry(8, false, &["m=\"n o\""]),
            ]
        );
        for (text, error) in [
            ("a\nb \"c\nd\"", (2, FormError::Quote)),
            ("a\nb ( c\nd", (2, FormError::Open)),
            ("a\n\nb )", (3, FormError::Closed)),
            ("a \"b\\", (1, FormError::Quote)),
            (&"a ".repeat(5000), (1, FormError::Words)),
        ] {
            assert_eq!(Entries::new(text).find_map(Result::err), Some(error), "{text}");
        }
    }
}

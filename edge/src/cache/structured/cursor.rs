//! A place in the text of a structured field.
//!
//! Invariant: the text is cut between characters of ASCII alone.

/// The text is no dictionary, or one with too many members.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no dictionary of structured fields")]
pub struct Malformed;

/// What is left to read.
pub(super) struct Cursor<'a> {
    pub(super) rest: &'a str,
}

impl<'a> Cursor<'a> {
    pub(super) fn peek(&self) -> Option<u8> {
        self.rest.bytes().next()
    }

    /// The next byte, which is one of ASCII: no other can stand in a field.
    pub(super) fn next(&mut self) -> Result<u8, Malformed> {
        let byte = self.peek().filter(u8::is_ascii).ok_or(Malformed)?;
        self.rest = &self.rest[1..];
        Ok(byte)
    }

    pub(super) fn takes(&mut self, byte: u8) -> bool {
        let rest = self.rest.strip_prefix(char::from(byte));
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    pub(super) fn expect(&mut self, byte: u8) -> Result<(), Malformed> {
        if self.takes(byte) { Ok(()) } else { Err(Malformed) }
    }

    pub(super) fn skip_space(&mut self) {
        self.rest = self.rest.trim_start_matches([' ', '\t']);
    }

    pub(super) fn take_while(&mut self, is_in: impl Fn(u8) -> bool) -> &'a str {
        // Bytes that are asked for are ASCII, so that the text is cut between characters.
        let length = self.rest.bytes().take_while(|byte| byte.is_ascii() && is_in(*byte)).count();
        let (taken, rest) = self.rest.split_at(length);
        self.rest = rest;
        taken
    }

    pub(super) fn key(&mut self) -> Result<&'a str, Malformed> {
        if !self.peek().is_some_and(|byte| byte.is_ascii_lowercase() || byte == b'*') {
            return Err(Malformed);
        }
        let is_in = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"_-.*".contains(&b);
        Ok(self.take_while(is_in))
    }
}

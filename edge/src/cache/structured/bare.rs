//! Bare items: numbers, texts, tokens, and the kinds that nobody here asks for.
//!
//! Invariant: an item of one of those kinds is still one that every reader accepts.

use std::borrow::Cow;

use super::cursor::{Cursor, Malformed};

/// A bare item.
#[derive(Debug, Clone, PartialEq)]
pub enum Bare<'a> {
    /// True or false.
    Boolean(bool),
    /// A whole number of at most 15 digits.
    Integer(i64),
    /// A number in thousandths.
    Decimal(i64),
    /// A word.
    Token(&'a str),
    /// A text.
    Text(Cow<'a, str>),
    /// Something else.
    Other,
}

impl<'a> Cursor<'a> {
    /// The next bare item.
    pub(super) fn bare(&mut self) -> Result<Bare<'a>, Malformed> {
        match self.peek().ok_or(Malformed)? {
            b'-' | b'0'..=b'9' => self.number(),
            b'"' => self.text().map(Bare::Text),
            b'?' => {
                self.next()?;
                match self.next()? {
                    b'1' => Ok(Bare::Boolean(true)),
                    b'0' => Ok(Bare::Boolean(false)),
                    _ => Err(Malformed),
                }
            }
            b'*' | b'A'..=b'Z' | b'a'..=b'z' => {
                let is_in = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~:/".contains(&b);
                Ok(Bare::Token(self.take_while(is_in)))
            }
            b':' => {
                self.next()?;
                self.bytes()
            }
            b'@' => {
                self.next()?;
                match self.number()? {
                    Bare::Integer(_) => Ok(Bare::Other),
                    _ => Err(Malformed),
                }
            }
            b'%' => {
                self.next()?;
                self.display()
            }
            _ => Err(Malformed),
        }
    }

    fn number(&mut self) -> Result<Bare<'a>, Malformed> {
        let sign = if self.takes(b'-') { -1 } else { 1 };
        let whole = self.take_while(|b| b.is_ascii_digit());
        let parse = |digits: &str| digits.parse::<i64>().map_err(|_| Malformed);
        if !self.takes(b'.') {
            let fits = (1..=15).contains(&whole.len());
            return if fits { Ok(Bare::Integer(sign * parse(whole)?)) } else { Err(Malformed) };
        }
        let fraction = self.take_while(|b| b.is_ascii_digit());
        if !(1..=12).contains(&whole.len()) || !(1..=3).contains(&fraction.len()) {
            return Err(Malformed);
        }
        let thousandths = parse(&format!("{fraction:0<3}"))?;
        Ok(Bare::Decimal(sign * (parse(whole)? * 1000 + thousandths)))
    }

    /// Base64, whose padding may be left out (RFC 9651 4.2.7).
    fn bytes(&mut self) -> Result<Bare<'a>, Malformed> {
        let content = self.take_while(|b| b.is_ascii_alphanumeric() || b"+/".contains(&b));
        let padding = self.take_while(|b| b == b'=');
        self.expect(b':')?;
        let is_whole = content.len() % 4 != 1 && padding.len() <= 2;
        is_whole.then_some(Bare::Other).ok_or(Malformed)
    }

    /// Text of any language, with bytes as `%` and two small digits (RFC 9651 4.2.10).
    fn display(&mut self) -> Result<Bare<'a>, Malformed> {
        self.expect(b'"')?;
        let mut text = Vec::new();
        loop {
            match self.next()? {
                b'"' => break,
                b'%' => text.push(self.small_digit()? << 4 | self.small_digit()?),
                byte @ 0x20..=0x7e => text.push(byte),
                _ => return Err(Malformed),
            }
        }
        std::str::from_utf8(&text).map(|_| Bare::Other).map_err(|_| Malformed)
    }

    fn small_digit(&mut self) -> Result<u8, Malformed> {
        match self.next()? {
            byte @ b'0'..=b'9' => Ok(byte - b'0'),
            byte @ b'a'..=b'f' => Ok(byte - b'a' + 10),
            _ => Err(Malformed),
        }
    }

    fn text(&mut self) -> Result<Cow<'a, str>, Malformed> {
        self.expect(b'"')?;
        let plain = self.take_while(|byte| matches!(byte, 0x20..=0x7e) && !b"\"\\".contains(&byte));
        if self.takes(b'"') {
            return Ok(Cow::Borrowed(plain));
        }
        let mut text = plain.to_owned();
        loop {
            match self.next()? {
                b'"' => return Ok(Cow::Owned(text)),
                b'\\' => match self.next()? {
                    byte @ (b'"' | b'\\') => text.push(char::from(byte)),
                    _ => return Err(Malformed),
                },
                byte @ 0x20..=0x7e => text.push(char::from(byte)),
                _ => return Err(Malformed),
            }
        }
    }
}

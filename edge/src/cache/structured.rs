//! Dictionaries of structured fields (RFC 8941 3.2), read to the letter: one mistake anywhere, and nothing counts.
//!
//! Pure, without allocation: members are handed out while the text is read, so whoever takes them must forget them
//! when reading fails. Invariant: what this accepts, every other reader of structured fields accepts.

/// A member's value; parameters are checked and passed over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Value<'a> {
    /// An integer.
    Integer(i64),
    /// A decimal.
    Decimal,
    /// A string, escapes and all, without its quotes.
    String(&'a [u8]),
    /// A token.
    Token(&'a [u8]),
    /// A byte sequence.
    Bytes,
    /// A boolean; a member without value is true.
    Boolean(bool),
    /// An inner list.
    List,
}

/// The text is no dictionary.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no dictionary of structured fields")]
pub struct Malformed;

/// Reads a dictionary and hands out every member; of two with one name the later one counts.
///
/// # Errors
/// [`Malformed`], possibly after members were handed out.
pub fn dictionary<'a>(
    text: &'a [u8],
    mut each: impl FnMut(&'a [u8], Value<'a>),
) -> Result<(), Malformed> {
    let mut cursor = Cursor { rest: text };
    cursor.skip(|byte| byte == b' ');
    if cursor.rest.is_empty() {
        return Ok(());
    }
    loop {
        let key = cursor.key()?;
        let value = cursor.member_value()?;
        each(key, value);
        cursor.skip(|byte| byte == b' ' || byte == b'\t');
        if cursor.rest.is_empty() {
            return Ok(());
        }
        cursor.expect(b',')?;
        cursor.skip(|byte| byte == b' ' || byte == b'\t');
    }
}

struct Cursor<'a> {
    rest: &'a [u8],
}

impl<'a> Cursor<'a> {
    fn member_value(&mut self) -> Result<Value<'a>, Malformed> {
        let value = if self.take(b'=') {
            if self.rest.first() == Some(&b'(') { self.inner_list()? } else { self.bare_item()? }
        } else {
            Value::Boolean(true)
        };
        self.parameters()?;
        Ok(value)
    }

    fn inner_list(&mut self) -> Result<Value<'a>, Malformed> {
        self.expect(b'(')?;
        loop {
            self.skip(|byte| byte == b' ');
            if self.take(b')') {
                return Ok(Value::List);
            }
            self.bare_item()?;
            self.parameters()?;
            if !matches!(self.rest.first(), Some(b' ' | b')')) {
                return Err(Malformed);
            }
        }
    }

    fn parameters(&mut self) -> Result<(), Malformed> {
        while self.take(b';') {
            self.skip(|byte| byte == b' ');
            self.key()?;
            if self.take(b'=') {
                self.bare_item()?;
            }
        }
        Ok(())
    }

    fn key(&mut self) -> Result<&'a [u8], Malformed> {
        match self.rest.first() {
            Some(byte) if byte.is_ascii_lowercase() || *byte == b'*' => Ok(self.skip(|byte| {
                byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_-.*".contains(&byte)
            })),
            _ => Err(Malformed),
        }
    }

    fn bare_item(&mut self) -> Result<Value<'a>, Malformed> {
        match self.rest.first() {
            Some(b'-' | b'0'..=b'9') => self.number(),
            Some(b'"') => self.string(),
            Some(b'*' | b'a'..=b'z' | b'A'..=b'Z') => Ok(Value::Token(self.skip(is_token))),
            Some(b':') => self.bytes(),
            Some(b'?') => self.boolean(),
            _ => Err(Malformed),
        }
    }

    fn number(&mut self) -> Result<Value<'a>, Malformed> {
        let is_negative = self.take(b'-');
        let whole = self.skip(|byte| byte.is_ascii_digit());
        if self.take(b'.') {
            let part = self.skip(|byte| byte.is_ascii_digit());
            let fits = (1..=12).contains(&whole.len()) && (1..=3).contains(&part.len());
            return fits.then_some(Value::Decimal).ok_or(Malformed);
        }
        if !(1..=15).contains(&whole.len()) {
            return Err(Malformed);
        }
        let size = whole.iter().fold(0_i64, |sum, byte| sum * 10 + i64::from(byte - b'0'));
        Ok(Value::Integer(if is_negative { -size } else { size }))
    }

    fn string(&mut self) -> Result<Value<'a>, Malformed> {
        self.expect(b'"')?;
        let text = self.rest;
        let mut is_escaped = false;
        for (at, byte) in text.iter().enumerate() {
            match byte {
                b'"' | b'\\' if is_escaped => is_escaped = false,
                _ if is_escaped => return Err(Malformed),
                b'\\' => is_escaped = true,
                b'"' => {
                    self.rest = &text[at + 1..];
                    return Ok(Value::String(&text[..at]));
                }
                b' '..=b'~' => {}
                _ => return Err(Malformed),
            }
        }
        Err(Malformed)
    }

    fn bytes(&mut self) -> Result<Value<'a>, Malformed> {
        self.expect(b':')?;
        self.skip(|byte| byte.is_ascii_alphanumeric() || b"+/=".contains(&byte));
        self.expect(b':')?;
        Ok(Value::Bytes)
    }

    fn boolean(&mut self) -> Result<Value<'a>, Malformed> {
        self.expect(b'?')?;
        match self.take(b'1') {
            true => Ok(Value::Boolean(true)),
            false => self.expect(b'0').map(|()| Value::Boolean(false)),
        }
    }

    fn skip(&mut self, is_in: impl Fn(u8) -> bool) -> &'a [u8] {
        let end = self.rest.iter().position(|byte| !is_in(*byte)).unwrap_or(self.rest.len());
        let (taken, rest) = self.rest.split_at(end);
        self.rest = rest;
        taken
    }

    fn take(&mut self, byte: u8) -> bool {
        let rest = self.rest.strip_prefix(&[byte]);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    fn expect(&mut self, byte: u8) -> Result<(), Malformed> {
        self.take(byte).then_some(()).ok_or(Malformed)
    }
}

fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~:/".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Vec<(String, String)>, Malformed> {
        let mut members = Vec::new();
        dictionary(text.as_bytes(), |key, value| {
            members.push((String::from_utf8_lossy(key).into_owned(), format!("{value:?}")));
        })?;
        Ok(members)
    }

    #[test]
    fn every_type_is_read() {
        let text = " a=1, b, c=?0;x;y=\"z\",d=tok/en ,\te=\"s\\\"t\", f=(1 \"a\";q=1), g=:aGk=:, h=1.5, *k=-7 ";
        let expected = [
            ("a", "Integer(1)"),
            ("b", "Boolean(true)"),
            ("c", "Boolean(false)"),
            ("d", "Token([116, 111, 107, 47, 101, 110])"),
            ("e", "String([115, 92, 34, 116])"),
            ("f", "List"),
            ("g", "Bytes"),
            ("h", "Decimal"),
            ("*k", "Integer(-7)"),
        ];
        let expected: Vec<_> =
            expected.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        assert_eq!(read(text), Ok(expected));
        assert_eq!(read(""), Ok(vec![]));
        assert_eq!(read("  "), Ok(vec![]));
    }

    #[test]
    fn one_mistake_spoils_everything() {
        for text in [
            "max-age=10000, &&&&&",
            "max-age =100",
            "max-age= 100",
            "MaX-aGe=3600",
            "a=1,",
            ",a=1",
            "a=1 b=2",
            "a=1,,b",
            "a=",
            "a=\"x",
            "a=\"\\x\"",
            "a=\"\u{e9}\"",
            "a=1234567890123456",
            "a=1.2345",
            "a=1.",
            "a=-",
            "a=(1",
            "a=(1\"b\")",
            "a=?2",
            "a=:x",
            "a=1;",
            "a=1;B",
            "a='1'",
            "1a",
            "a=@1",
        ] {
            assert_eq!(read(text), Err(Malformed), "{text}");
        }
    }
}

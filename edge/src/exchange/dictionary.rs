//! Dictionaries of structured fields (RFC 9651 3.2), read strictly and in place.
//!
//! Byte sequences, dates and display strings are read over: nobody here asks for one. Invariant: what is not a dictionary
//! is refused whole, and nothing in it is believed.

use std::borrow::Cow;

/// The most members of a dictionary, items of a list and parameters of an item.
pub const MEMBERS_MAX: usize = 64;

/// A value of a member.
#[derive(Debug, Clone, PartialEq)]
pub enum Value<'a> {
    /// A single one.
    Item(Item<'a>),
    /// An inner list.
    List(Vec<Item<'a>>),
}

/// A bare item with its parameters.
#[derive(Debug, Clone, PartialEq)]
pub struct Item<'a> {
    /// What it is.
    pub bare: Bare<'a>,
    /// Its parameters.
    pub parameters: Vec<(&'a str, Bare<'a>)>,
}

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

/// Not a dictionary.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a dictionary of structured fields")]
pub struct SyntaxError;

/// Reads a dictionary; of members with one name the last counts.
///
/// # Errors
/// [`SyntaxError`]
pub fn read(text: &str) -> Result<Vec<(&str, Value<'_>)>, SyntaxError> {
    let mut reader = Reader { rest: text.trim_matches(' ') };
    let mut members: Vec<(&str, Value<'_>)> = Vec::new();
    while !reader.rest.is_empty() {
        let key = reader.key()?;
        let value = if reader.takes(b'=') {
            reader.value()?
        } else {
            let bare = Bare::Boolean(true);
            Value::Item(Item { bare, parameters: reader.parameters()? })
        };
        members.retain(|(other, _)| *other != key);
        members.push((key, value));
        if members.len() > MEMBERS_MAX {
            return Err(SyntaxError);
        }
        reader.skip_space();
        if reader.rest.is_empty() {
            break;
        }
        reader.expect(b',')?;
        reader.skip_space();
        if reader.rest.is_empty() {
            return Err(SyntaxError);
        }
    }
    Ok(members)
}

struct Reader<'a> {
    rest: &'a str,
}

impl<'a> Reader<'a> {
    fn peek(&self) -> Option<u8> {
        self.rest.bytes().next()
    }

    /// The next byte, which is one of ASCII: no other can stand in a field.
    fn next(&mut self) -> Result<u8, SyntaxError> {
        let byte = self.peek().filter(u8::is_ascii).ok_or(SyntaxError)?;
        self.rest = &self.rest[1..];
        Ok(byte)
    }

    fn takes(&mut self, byte: u8) -> bool {
        let rest = self.rest.strip_prefix(char::from(byte));
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    fn expect(&mut self, byte: u8) -> Result<(), SyntaxError> {
        if self.takes(byte) { Ok(()) } else { Err(SyntaxError) }
    }

    fn skip_space(&mut self) {
        self.rest = self.rest.trim_start_matches([' ', '\t']);
    }

    fn take_while(&mut self, is_in: impl Fn(u8) -> bool) -> &'a str {
        // Bytes that are asked for are ASCII, so that the text is cut between characters.
        let length = self.rest.bytes().take_while(|byte| byte.is_ascii() && is_in(*byte)).count();
        let (taken, rest) = self.rest.split_at(length);
        self.rest = rest;
        taken
    }

    fn key(&mut self) -> Result<&'a str, SyntaxError> {
        if !self.peek().is_some_and(|byte| byte.is_ascii_lowercase() || byte == b'*') {
            return Err(SyntaxError);
        }
        let is_in = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"_-.*".contains(&b);
        Ok(self.take_while(is_in))
    }

    fn value(&mut self) -> Result<Value<'a>, SyntaxError> {
        if !self.takes(b'(') {
            return Ok(Value::Item(self.item()?));
        }
        let mut items = Vec::new();
        loop {
            while self.takes(b' ') {}
            if self.takes(b')') {
                self.parameters()?;
                return Ok(Value::List(items));
            }
            items.push(self.item()?);
            if items.len() > MEMBERS_MAX || !matches!(self.peek(), Some(b' ' | b')')) {
                return Err(SyntaxError);
            }
        }
    }

    fn item(&mut self) -> Result<Item<'a>, SyntaxError> {
        Ok(Item { bare: self.bare()?, parameters: self.parameters()? })
    }

    fn parameters(&mut self) -> Result<Vec<(&'a str, Bare<'a>)>, SyntaxError> {
        let mut parameters = Vec::new();
        while self.takes(b';') {
            while self.takes(b' ') {}
            let key = self.key()?;
            let bare = if self.takes(b'=') { self.bare()? } else { Bare::Boolean(true) };
            parameters.push((key, bare));
            if parameters.len() > MEMBERS_MAX {
                return Err(SyntaxError);
            }
        }
        Ok(parameters)
    }

    fn bare(&mut self) -> Result<Bare<'a>, SyntaxError> {
        match self.peek().ok_or(SyntaxError)? {
            b'-' | b'0'..=b'9' => self.number(),
            b'"' => self.text().map(Bare::Text),
            b'?' => {
                self.next()?;
                match self.next()? {
                    b'1' => Ok(Bare::Boolean(true)),
                    b'0' => Ok(Bare::Boolean(false)),
                    _ => Err(SyntaxError),
                }
            }
            b'*' | b'A'..=b'Z' | b'a'..=b'z' => {
                let is_in = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~:/".contains(&b);
                Ok(Bare::Token(self.take_while(is_in)))
            }
            b':' => {
                self.next()?;
                self.take_while(|b| b.is_ascii_alphanumeric() || b"+/=".contains(&b));
                self.expect(b':').map(|()| Bare::Other)
            }
            b'@' => {
                self.next()?;
                self.number().map(|_| Bare::Other)
            }
            b'%' => {
                self.next()?;
                self.expect(b'"')?;
                self.take_while(|b| (0x20..0x7f).contains(&b) && b != b'"');
                self.expect(b'"').map(|()| Bare::Other)
            }
            _ => Err(SyntaxError),
        }
    }

    fn number(&mut self) -> Result<Bare<'a>, SyntaxError> {
        let sign = if self.takes(b'-') { -1 } else { 1 };
        let whole = self.take_while(|b| b.is_ascii_digit());
        let parse = |digits: &str| digits.parse::<i64>().map_err(|_| SyntaxError);
        if !self.takes(b'.') {
            let fits = (1..=15).contains(&whole.len());
            return if fits { Ok(Bare::Integer(sign * parse(whole)?)) } else { Err(SyntaxError) };
        }
        let fraction = self.take_while(|b| b.is_ascii_digit());
        if !(1..=12).contains(&whole.len()) || !(1..=3).contains(&fraction.len()) {
            return Err(SyntaxError);
        }
        let thousandths = parse(&format!("{fraction:0<3}"))?;
        Ok(Bare::Decimal(sign * (parse(whole)? * 1000 + thousandths)))
    }

    fn text(&mut self) -> Result<Cow<'a, str>, SyntaxError> {
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
                    _ => return Err(SyntaxError),
                },
                byte @ 0x20..=0x7e => text.push(char::from(byte)),
                _ => return Err(SyntaxError),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(bare: Bare<'_>) -> Value<'_> {
        Value::Item(Item { bare, parameters: vec![] })
    }

    #[test]
    fn members_are_read() {
        let members = read(
            r#"a=1, b;x=2,c="q\"\\" ,  d=?0,e=tok/en:1,f=-1.5,a=3,g=(1;v "s" t);p, h=:YQ==:,i=@1,j=%"x""#,
        );
        let members = members.unwrap();
        let names: Vec<_> = members.iter().map(|(name, _)| *name).collect();
        assert_eq!(names, ["b", "c", "d", "e", "f", "a", "g", "h", "i", "j"]);
        let value =
            |name: &str| members.iter().find(|(found, _)| *found == name).unwrap().1.clone();
        assert_eq!(value("a"), item(Bare::Integer(3)));
        assert_eq!(value("c"), item(Bare::Text("q\"\\".into())));
        assert_eq!(value("d"), item(Bare::Boolean(false)));
        assert_eq!(value("e"), item(Bare::Token("tok/en:1")));
        assert_eq!(value("f"), item(Bare::Decimal(-1500)));
        let Value::List(items) = value("g") else { panic!("a list") };
        assert_eq!(items[0].parameters, [("v", Bare::Boolean(true))]);
        assert_eq!(items.len(), 3);
        assert_eq!(read("").unwrap(), []);
        assert_eq!(read("  ").unwrap(), []);
    }

    #[test]
    fn what_is_no_dictionary_is_refused_whole() {
        let many: Vec<_> = (0..=MEMBERS_MAX).map(|n| format!("k{n}")).collect();
        for bad in [
            "a,",
            ",a",
            "a b",
            "A=1",
            "a=",
            "a=1;",
            "a=\"x",
            "a=\"\\x\"",
            "a=\"\u{e9}\"",
            "a=(1",
            "a=(1,2)",
            "a=(1\"s\")",
            "a=1.",
            "a=.1",
            "a=1.2345",
            "a=1234567890123456",
            "a=?2",
            "a=?",
            "a=-",
            "a=:x",
            "\u{0}",
            &many.join(","),
        ] {
            assert_eq!(read(bad), Err(SyntaxError), "{bad}");
        }
    }
}

//! Dictionaries of structured fields (RFC 9651 3.2), read to the letter: one mistake anywhere, and nothing counts.
//!
//! Pure. What is in byte sequences, dates and display strings is checked and forgotten: nobody here asks for it.
//! Invariant: what this accepts, every other reader of structured fields accepts.

mod bare; // numbers, texts, tokens
mod cursor; // a place in the text

use self::cursor::Cursor;
pub use self::{bare::Bare, cursor::Malformed};

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

/// Reads a dictionary; of members with one name the last counts. `members_max` limits its members, and also the items of
/// each list and the parameters of each item.
///
/// # Errors
/// [`Malformed`]
pub fn dictionary(text: &[u8], members_max: usize) -> Result<Vec<(&str, Value<'_>)>, Malformed> {
    let text = std::str::from_utf8(text).map_err(|_| Malformed)?;
    let mut reader = Reader { cursor: Cursor { rest: text.trim_matches(' ') }, members_max };
    let mut members: Vec<(&str, Value<'_>)> = Vec::new();
    while !reader.cursor.rest.is_empty() {
        let key = reader.cursor.key()?;
        let value = if reader.cursor.takes(b'=') {
            reader.value()?
        } else {
            let bare = Bare::Boolean(true);
            Value::Item(Item { bare, parameters: reader.parameters()? })
        };
        members.retain(|(other, _)| *other != key);
        members.push((key, value));
        if members.len() > members_max {
            return Err(Malformed);
        }
        reader.cursor.skip_space();
        if reader.cursor.rest.is_empty() {
            break;
        }
        reader.cursor.expect(b',')?;
        reader.cursor.skip_space();
        if reader.cursor.rest.is_empty() {
            return Err(Malformed);
        }
    }
    Ok(members)
}

struct Reader<'a> {
    cursor: Cursor<'a>,
    members_max: usize,
}

impl<'a> Reader<'a> {
    fn value(&mut self) -> Result<Value<'a>, Malformed> {
        if !self.cursor.takes(b'(') {
            return Ok(Value::Item(self.item()?));
        }
        let mut items = Vec::new();
        loop {
            while self.cursor.takes(b' ') {}
            if self.cursor.takes(b')') {
                self.parameters()?;
                return Ok(Value::List(items));
            }
            items.push(self.item()?);
            if items.len() > self.members_max || !matches!(self.cursor.peek(), Some(b' ' | b')')) {
                return Err(Malformed);
            }
        }
    }

    fn item(&mut self) -> Result<Item<'a>, Malformed> {
        Ok(Item { bare: self.cursor.bare()?, parameters: self.parameters()? })
    }

    fn parameters(&mut self) -> Result<Vec<(&'a str, Bare<'a>)>, Malformed> {
        let mut parameters = Vec::new();
        while self.cursor.takes(b';') {
            while self.cursor.takes(b' ') {}
            let key = self.cursor.key()?;
            let bare =
                if self.cursor.takes(b'=') { self.cursor.bare()? } else { Bare::Boolean(true) };
            parameters.push((key, bare));
            if parameters.len() > self.members_max {
                return Err(Malformed);
            }
        }
        Ok(parameters)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MEMBERS_MAX: usize = 64;

    fn read(text: &str) -> Result<Vec<(&str, Value<'_>)>, Malformed> {
        dictionary(text.as_bytes(), MEMBERS_MAX)
    }

    fn item(bare: Bare<'_>) -> Value<'_> {
        Value::Item(Item { bare, parameters: vec![] })
    }

    #[test]
    fn members_are_read() {
        let members = read(
            r#" a=1, b;x=2,c="q\"\\" ,  d=?0,e=tok/en:1,f=-1.5,a=3,g=(1;v "s" t);p, h=:YQ:,i=@-1,j=%"x %c3%bc" "#,
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
            "a,,b",
            "a b",
            "A=1",
            "1a",
            "a =1",
            "a= 1",
            "a='1'",
            "max-age=10000, &&&&&",
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
            "a=:=YQ=:",
            "a=:Y:",
            "a=@1.5",
            "a=@x",
            "a=%x",
            "a=%\"%C3%BC\"",
            "a=%\"%c3\"",
            "a=%\"%\"",
            "a=1;B",
            "\u{0}",
            &many.join(","),
        ] {
            assert_eq!(read(bad), Err(Malformed), "{bad}");
        }
    }
}

//! The records of a master file: owners, times and types are read here, what a record says by the parser of the nodes.
//!
//! Invariant: that parser gets one record at a time, on one line, so that nothing in it is a directive.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    str::FromStr,
};

use hickory_proto::{
    rr::{Name, RecordType},
    serialize::txt::Parser,
};

use super::entry::Entry;

/// A record as it is written.
pub(super) struct Line {
    pub(super) number: usize,
    pub(super) owner: Name,
    pub(super) kind: RecordType,
    /// The strings of a TXT record; of others the parser has said that they are good.
    pub(super) text: Vec<Vec<u8>>,
}

/// What holds from one entry to the next.
pub(super) struct Reader {
    origin: Name,
    owner: Option<Name>,
    /// Whether a TTL was said, by `$TTL` or with a record.
    has_ttl: bool,
}

impl Reader {
    /// Starts at the name of a zone.
    pub(super) fn new(origin: Name) -> Self {
        Self { origin, owner: None, has_ttl: false }
    }

    /// The record of an entry; none in a directive or an empty line.
    pub(super) fn read(
        &mut self,
        entry: &Entry<'_>,
        words: &[String],
    ) -> Result<Option<Line>, String> {
        let mut words = words.iter();
        let is_continued = entry.text.starts_with([' ', '\t']);
        if words.len() == 0 {
            return Ok(None);
        }
        if !is_continued {
            let first = words.next().expect("there is one");
            if first.starts_with('$') {
                return self.directive(first, words.as_slice()).map(|()| None);
            }
            self.owner = Some(self.name(first)?);
        }
        let owner = self.owner.clone().ok_or("the first record has no name")?;
        let kind = loop {
            let word = words.next().ok_or("there is no type")?;
            if let Some(seconds) = ttl(word) {
                let is_good = seconds.is_some_and(|seconds| seconds <= TTL_MAX);
                is_good.then_some(()).ok_or("a TTL is at most 2147483647 seconds")?;
                self.has_ttl = true;
            } else if ["CH", "HS", "CS"].iter().any(|class| word.eq_ignore_ascii_case(class)) {
                return Err("the class is IN".to_owned());
            } else if !word.eq_ignore_ascii_case("IN") {
                let kind = RecordType::from_str(&word.to_ascii_uppercase());
                break kind.map_err(|_| format!("{word:?} is no type of records"))?;
            }
        };
        if !self.has_ttl {
            return Err("there is no TTL, and no $TTL before".to_owned());
        }
        let rest = words.as_slice();
        let text = match kind {
            RecordType::TXT => strings(rest)?,
            _ => {
                parse(kind, rest, &self.origin)?;
                Vec::new()
            }
        };
        Ok(Some(Line { number: entry.number, owner, kind, text }))
    }

    fn directive(&mut self, name: &str, arguments: &[String]) -> Result<(), String> {
        match (name.to_ascii_uppercase().as_str(), arguments) {
            ("$ORIGIN", [origin]) => self.origin = self.name(origin)?,
            ("$TTL", [time]) => {
                ttl(time).flatten().ok_or_else(|| format!("{time:?} is no time"))?;
                self.has_ttl = true;
            }
            ("$INCLUDE", _) => return Err("$INCLUDE is not allowed".to_owned()),
            _ => {
                return Err(format!("there is no directive {name} with {} words", arguments.len()));
            }
        }
        Ok(())
    }

    fn name(&self, word: &str) -> Result<Name, String> {
        if word == "@" {
            return Ok(self.origin.clone());
        }
        let name = Name::parse(word, Some(&self.origin));
        let mut name = name.map_err(|error| format!("{word:?} is no name: {error}"))?;
        name.set_fqdn(true);
        Ok(name.to_lowercase())
    }
}

/// What one record says, by the parser of the nodes. Invariant: it gets one line, which begins as a record, so that nothing
/// in it is a directive.
fn parse(kind: RecordType, words: &[String], origin: &Name) -> Result<(), String> {
    if words.iter().any(|word| word.contains(['\n', '\r'])) {
        return Err("a string goes over the end of its line".to_owned());
    }
    let line = format!("@ 0 IN {kind} {}\n", words.join(" "));
    // It is made for files of one's own; a record that it does not survive is refused like others.
    let parsed =
        catch_unwind(AssertUnwindSafe(|| Parser::new(line, None, Some(origin.clone())).parse()));
    match parsed {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err("the record cannot be read".to_owned()),
    }
}

/// The strings of a TXT record (RFC 1035 5.1), with bytes by their numbers.
fn strings(words: &[String]) -> Result<Vec<Vec<u8>>, String> {
    let string = |word: &String| {
        let inside = word.strip_prefix('"').and_then(|word| word.strip_suffix('"'));
        let mut bytes = inside.unwrap_or(word).bytes().peekable();
        let mut made = Vec::new();
        while let Some(byte) = bytes.next() {
            let escaped = match byte {
                b'\\' => bytes.next().ok_or("a \\ with nothing behind it")?,
                plain => plain,
            };
            if byte == b'\\' && escaped.is_ascii_digit() {
                let digits = [Some(escaped), bytes.next(), bytes.next()];
                let number = digits.iter().try_fold(0u16, |number, digit| {
                    let digit = digit.filter(u8::is_ascii_digit)?;
                    Some(number * 10 + u16::from(digit - b'0'))
                });
                let number = number.and_then(|number| u8::try_from(number).ok());
                made.push(number.ok_or("\\DDD is three digits, 255 at the most")?);
            } else {
                made.push(escaped);
            }
        }
        if made.len() > STRING_BYTES_MAX {
            return Err(format!("a string has at most {STRING_BYTES_MAX} bytes"));
        }
        Ok(made)
    };
    if words.is_empty() {
        return Err("a TXT record has at least one string".to_owned());
    }
    words.iter().map(string).collect()
}

/// A time in seconds, or in units as 1h30m. Absent: that is no time; absent inside: too long.
fn ttl(word: &str) -> Option<Option<u32>> {
    if !word.starts_with(|letter: char| letter.is_ascii_digit()) {
        return None;
    }
    let (mut sum, mut number) = (Some(0u32), Some(0u32));
    for byte in word.bytes() {
        let unit = match byte.to_ascii_lowercase() {
            b'0'..=b'9' => {
                number =
                    number.and_then(|n| n.checked_mul(10)?.checked_add(u32::from(byte - b'0')));
                continue;
            }
            b's' => 1,
            b'm' => 60,
            b'h' => 3600,
            b'd' => 86_400,
            b'w' => 604_800,
            _ => return None,
        };
        sum = sum.zip(number).and_then(|(sum, n)| sum.checked_add(n.checked_mul(unit)?));
        number = Some(0);
    }
    Some(sum.zip(number).and_then(|(sum, number)| sum.checked_add(number)))
}

/// The highest bit of a TTL is not used (RFC 2181 8).
const TTL_MAX: u32 = i32::MAX as u32;
/// RFC 1035 3.3.
const STRING_BYTES_MAX: usize = 255;

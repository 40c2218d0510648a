//! Master files (RFC 1035 5): text in, a zone out, or the line that is wrong.
//!
//! Names, TTLs and types are read here; what a record says is read by the library's parser, a record at a time, so that
//! every complaint has its line. Invariant: no text makes anybody read another file.

use std::{
    collections::HashMap,
    panic::{AssertUnwindSafe, catch_unwind},
    str::FromStr,
};

use hickory_proto::{
    rr::{
        Name, RData, RecordType,
        rdata::{CNAME, NS, TXT},
    },
    serialize::txt::Parser,
};

use crate::zone::{
    build::{self, Line},
    entry::{Entries, Entry},
    error::{Reason, ZoneError},
    tree::Zone,
};

/// Reads a zone. `source` is where the text came from, `name` what the zone is called.
pub(super) fn read(source: &str, name: &str, text: &str) -> Result<Zone, ZoneError> {
    let refused = |line, reason: Box<Reason>| ZoneError { source: source.to_owned(), line, reason };
    let origin = match Name::from_ascii(name) {
        Ok(mut origin) if !origin.is_root() && !name.is_empty() => {
            origin.set_fqdn(true);
            origin.to_lowercase()
        }
        _ => return Err(refused(None, Reason::Name(name.to_owned()).into())),
    };
    if text.len() > ZONE_BYTES_MAX {
        let max = ZONE_BYTES_MAX;
        return Err(refused(None, Reason::TooMuch { what: "bytes of a zone", max }.into()));
    }
    let mut reader = Reader::new(origin.clone());
    let mut lines = Vec::new();
    for entry in Entries::new(text) {
        let entry = match entry {
            Ok(entry) => entry,
            Err((line, error)) => {
                return Err(refused(Some(line), Reason::Syntax(error.to_string()).into()));
            }
        };
        match reader.entry(&entry) {
            Ok(None) => {}
            Ok(Some(line)) => lines.push(line),
            Err(reason) => return Err(refused(Some(entry.line), reason.into())),
        }
        if lines.len() > RECORDS_MAX {
            let max = RECORDS_MAX;
            return Err(refused(
                Some(entry.line),
                Reason::TooMuch { what: "records of a zone", max }.into(),
            ));
        }
    }
    build::build(origin, lines).map_err(|(line, reason)| refused(line, reason))
}

/// What holds from one entry to the next.
struct Reader {
    origin: Name,
    owner: Option<Name>,
    /// `$TTL`, or what was said last.
    ttl: Option<u32>,
    has_default_ttl: bool,
    /// Types by how they were written.
    kinds: HashMap<String, RecordType>,
}

impl Reader {
    fn new(origin: Name) -> Self {
        Self { origin, owner: None, ttl: None, has_default_ttl: false, kinds: HashMap::new() }
    }

    fn entry(&mut self, entry: &Entry<'_>) -> Result<Option<Line>, Reason> {
        let mut words = entry.words.as_slice();
        if let [directive, arguments @ ..] = words
            && directive.starts_with('$')
            && !entry.is_continued
        {
            return self.directive(directive, arguments).map(|()| None);
        }
        if !entry.is_continued
            && let [owner, rest @ ..] = words
        {
            self.owner = Some(self.name(owner)?);
            words = rest;
        }
        let owner = self.owner.clone().ok_or_else(|| syntax("the first record has no name"))?;
        let (mut own_ttl, mut has_class) = (None, false);
        let kind = loop {
            let [word, rest @ ..] = words else { return Err(syntax("there is no type")) };
            words = rest;
            if own_ttl.is_none()
                && let Some(ttl) = ttl(word)
            {
                own_ttl = Some(ttl.ok_or_else(|| Reason::Ttl(owner.clone()))?);
            } else if !has_class
                && ["IN", "CH", "HS"].iter().any(|class| word.eq_ignore_ascii_case(class))
            {
                if !word.eq_ignore_ascii_case("IN") {
                    return Err(Reason::Class(owner));
                }
                has_class = true;
            } else {
                break self.kind(word)?;
            }
        };
        if !build::SERVED.contains(&kind) {
            return Err(Reason::Kind(owner, kind));
        }
        let ttl =
            own_ttl.or(self.ttl).ok_or_else(|| syntax("there is no TTL, and no $TTL before"))?;
        if !self.has_default_ttl {
            self.ttl = Some(ttl);
        }
        let data = self.data(kind, words)?;
        Ok(Some(Line { line: entry.line, owner, ttl, data }))
    }

    fn directive(&mut self, directive: &str, arguments: &[&str]) -> Result<(), Reason> {
        let [argument] = arguments else {
            return Err(match directive.eq_ignore_ascii_case("$INCLUDE") {
                true => Reason::Include,
                false => syntax("a directive has one argument"),
            });
        };
        match directive.to_ascii_uppercase().as_str() {
            "$ORIGIN" => self.origin = self.name(argument)?,
            "$TTL" => {
                let ttl = ttl(argument).flatten().ok_or_else(|| syntax("$TTL is no time"))?;
                (self.ttl, self.has_default_ttl) = (Some(ttl), true);
            }
            "$INCLUDE" => return Err(Reason::Include),
            _ => return Err(Reason::Syntax(format!("there is no directive {directive}"))),
        }
        Ok(())
    }

    fn name(&self, word: &str) -> Result<Name, Reason> {
        if word == "@" {
            return Ok(self.origin.clone());
        }
        if has_code(word) {
            return Err(syntax("bytes by their numbers (\\DDD) stand in TXT records alone"));
        }
        // Names as they are written in files; what is beyond ASCII is written in its ASCII form.
        let name = Name::from_ascii(word).and_then(|name| {
            if name.is_fqdn() { Ok(name) } else { name.append_domain(&self.origin) }
        });
        match name {
            Ok(name) if word.is_ascii() => Ok(name),
            Ok(_) => Err(Reason::Syntax(format!("{word:?} is not ASCII"))),
            Err(error) => Err(Reason::Syntax(format!("{word:?} is no name: {error}"))),
        }
    }

    fn kind(&mut self, word: &str) -> Result<RecordType, Reason> {
        if let Some(kind) = self.kinds.get(word) {
            return Ok(*kind);
        }
        let kind = RecordType::from_str(&word.to_ascii_uppercase())
            .map_err(|_| Reason::Syntax(format!("{word:?} is no type")))?;
        // There are not many; a text that makes them up is refused at the first.
        self.kinds.insert(word.to_owned(), kind);
        Ok(kind)
    }

    /// What the record says; but for text and what is most of every zone, by the library's parser.
    fn data(&self, kind: RecordType, words: &[&str]) -> Result<RData, Reason> {
        let no_address = |word: &str| Reason::Syntax(format!("{word:?} is no address"));
        match (kind, words) {
            (RecordType::TXT, words) => return text(words),
            (RecordType::A, [word]) => {
                return word.parse().map(RData::A).map_err(|_| no_address(word));
            }
            (RecordType::AAAA, [word]) => {
                return word.parse().map(RData::AAAA).map_err(|_| no_address(word));
            }
            (RecordType::NS, [word]) => return self.name(word).map(|name| RData::NS(NS(name))),
            (RecordType::CNAME, [word]) => {
                return self.name(word).map(|name| RData::CNAME(CNAME(name)));
            }
            _ => {}
        }
        if words.iter().any(|word| has_code(word)) {
            return Err(syntax("bytes by their numbers (\\DDD) stand in TXT records alone"));
        }
        let mut words = words.to_vec();
        let target;
        if let (RecordType::HTTPS | RecordType::SVCB, Some(word)) = (kind, words.get_mut(1)) {
            // The one name that the library does not complete.
            target = self.name(word)?.to_ascii();
            *word = &target;
        }
        let line = format!("@ 0 IN {kind} {}\n", words.join(" "));
        let parser = Parser::new(line, None, Some(self.origin.clone()));
        // It is made for files that somebody wrote with care; a text that it does not survive is refused like others.
        let parsed = catch_unwind(AssertUnwindSafe(|| parser.parse()));
        let records = match parsed {
            Ok(Ok((_, records))) => records,
            Ok(Err(error)) => return Err(Reason::Syntax(error.to_string())),
            Err(_) => return Err(syntax("the record cannot be read")),
        };
        let mut all = records.values().flat_map(|set| set.records_without_rrsigs());
        match (all.next(), all.next()) {
            (Some(record), None) if record.record_type() == kind => Ok(record.data.clone()),
            _ => Err(syntax("the record cannot be read")),
        }
    }
}

/// A time in seconds, or with units (`1h30m`); `Some(None)`: one that is too long.
fn ttl(word: &str) -> Option<Option<u32>> {
    if !word.starts_with(|first: char| first.is_ascii_digit()) {
        return None;
    }
    let (mut whole, mut part, mut is_open) = (0_u64, 0_u64, false);
    for byte in word.bytes() {
        let unit = match byte.to_ascii_lowercase() {
            digit @ b'0'..=b'9' => {
                part = part.saturating_mul(10).saturating_add(u64::from(digit - b'0'));
                is_open = true;
                continue;
            }
            b's' => 1,
            b'm' => 60,
            b'h' => 3600,
            b'd' => 86_400,
            b'w' => 604_800,
            _ => return None,
        };
        if !is_open {
            return None;
        }
        whole = whole.saturating_add(part.saturating_mul(unit));
        (part, is_open) = (0, false);
    }
    Some(u32::try_from(whole.saturating_add(part)).ok().filter(|ttl| *ttl <= build::TTL_MAX))
}

/// A TXT record: a string for each word (RFC 1035 5.1).
fn text(words: &[&str]) -> Result<RData, Reason> {
    let strings: Result<Vec<Vec<u8>>, Reason> = words.iter().map(|word| string(word)).collect();
    let strings = strings?;
    if strings.is_empty() {
        return Err(syntax("a TXT record has a string"));
    }
    Ok(RData::TXT(TXT::from_bytes(strings.iter().map(Vec::as_slice).collect())))
}

fn string(word: &str) -> Result<Vec<u8>, Reason> {
    let (mut bytes, mut rest) = (Vec::new(), word.as_bytes());
    while let [first, after @ ..] = rest {
        rest = match (first, after) {
            (b'"', after) => after,
            (b'\\', [a, b, c, after @ ..]) if a.is_ascii_digit() => {
                let digits = [a, b, c].map(|digit| u16::from(digit.wrapping_sub(b'0')));
                let value = digits.iter().fold(0, |sum, digit| sum * 10 + digit);
                let value =
                    u8::try_from(value).ok().filter(|_| digits.iter().all(|digit| *digit < 10));
                bytes.push(value.ok_or_else(|| syntax("\\DDD is 000 to 255"))?);
                after
            }
            (b'\\', [next, after @ ..]) if !next.is_ascii_digit() => {
                bytes.push(*next);
                after
            }
            (b'\\', _) => return Err(syntax("a backslash stands before nothing")),
            (byte, after) => {
                bytes.push(*byte);
                after
            }
        };
    }
    if bytes.len() > STRING_MAX {
        return Err(syntax("a string has at most 255 bytes"));
    }
    Ok(bytes)
}

/// Whether a byte is written by its number, which the library reads in its own way.
fn has_code(word: &str) -> bool {
    let mut bytes = word.bytes();
    while let Some(byte) = bytes.next() {
        if byte == b'\\' && bytes.next().is_some_and(|next| next.is_ascii_digit()) {
            return true;
        }
    }
    false
}

fn syntax(text: &str) -> Reason {
    Reason::Syntax(text.to_owned())
}

/// The most bytes of a zone's text: some two hundred thousand records.
pub(super) const ZONE_BYTES_MAX: usize = 16 * 1024 * 1024;
/// The most records of a zone: what so much text holds, about.
const RECORDS_MAX: usize = 250_000;
/// The longest string (RFC 1035 3.3).
const STRING_MAX: usize = 255;

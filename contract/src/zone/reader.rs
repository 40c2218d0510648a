//! Entries become records: owners, TTLs, classes and types, as RFC 1035 5.1 has them.
//!
//! Invariant: every complaint has the line of the entry that it is about.

use std::collections::HashMap;

use hickory_proto::rr::{Name, RecordType};

use super::{
    ZONE_BYTES_MAX, data,
    entry::{Entries, Entry},
    error::{Reason, ZoneError, syntax},
    rules::{self, Line},
    tree::Zone,
};

/// Reads a zone.
pub(super) fn read(name: &str, text: &str) -> Result<Zone, ZoneError> {
    let refused = |line, reason: Reason| ZoneError { line, reason: reason.into() };
    let origin = origin(name).ok_or_else(|| refused(None, Reason::Name(name.to_owned())))?;
    if text.len() > ZONE_BYTES_MAX {
        let max = ZONE_BYTES_MAX;
        return Err(refused(None, Reason::TooMuch { what: "bytes of a zone", max }));
    }
    let mut reader = Reader::new(origin.clone());
    let mut lines = Vec::new();
    for entry in Entries::new(text) {
        let entry = entry
            .map_err(|(line, error)| refused(Some(line), Reason::Syntax(error.to_string())))?;
        let line = reader.entry(&entry).map_err(|reason| refused(Some(entry.line), reason))?;
        lines.extend(line);
        if lines.len() > RECORDS_MAX {
            let reason = Reason::TooMuch { what: "records of a zone", max: RECORDS_MAX };
            return Err(refused(Some(entry.line), reason));
        }
    }
    rules::zone(origin, lines)
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
            self.owner = Some(data::name(owner, &self.origin)?);
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
            } else if !has_class && let Some(is_internet) = class(word) {
                if !is_internet {
                    return Err(Reason::Class(owner));
                }
                has_class = true;
            } else {
                break self.kind(word)?;
            }
        };
        if !data::is_served(kind) {
            return Err(Reason::Kind(owner, kind));
        }
        let ttl =
            own_ttl.or(self.ttl).ok_or_else(|| syntax("there is no TTL, and no $TTL before"))?;
        if !self.has_default_ttl {
            self.ttl = Some(ttl);
        }
        let data = data::read(kind, words, &self.origin)?;
        Ok(Some(Line { number: entry.line, owner, ttl, data }))
    }

    fn directive(&mut self, directive: &str, arguments: &[&str]) -> Result<(), Reason> {
        let [argument] = arguments else {
            return Err(match directive.eq_ignore_ascii_case("$INCLUDE") {
                true => Reason::Include,
                false => syntax("a directive has one argument"),
            });
        };
        match directive.to_ascii_uppercase().as_str() {
            "$ORIGIN" => self.origin = data::name(argument, &self.origin)?,
            "$TTL" => {
                let ttl = ttl(argument).flatten().ok_or_else(|| syntax("$TTL is no time"))?;
                (self.ttl, self.has_default_ttl) = (Some(ttl), true);
            }
            "$INCLUDE" => return Err(Reason::Include),
            _ => return Err(Reason::Syntax(format!("there is no directive {directive}"))),
        }
        Ok(())
    }

    fn kind(&mut self, word: &str) -> Result<RecordType, Reason> {
        if let Some(kind) = self.kinds.get(word) {
            return Ok(*kind);
        }
        let kind =
            data::kind(word).ok_or_else(|| Reason::Syntax(format!("{word:?} is no type")))?;
        // There are not many; a text that makes them up is refused at the first that is none.
        self.kinds.insert(word.to_owned(), kind);
        Ok(kind)
    }
}

/// The name of a zone. That with a dot at its end would be a second name of the same zone.
fn origin(name: &str) -> Option<Name> {
    let mut origin = Name::from_ascii(name).ok().filter(|origin| !origin.is_root())?;
    if name.is_empty() || name.ends_with('.') {
        return None;
    }
    origin.set_fqdn(true);
    Some(origin.to_lowercase())
}

/// Whether a word that is a class is that of the Internet (RFC 3597 5: also by its number).
fn class(word: &str) -> Option<bool> {
    let is = |class: &&str| word.eq_ignore_ascii_case(class);
    if ["IN", "CLASS1"].iter().any(is) {
        return Some(true);
    }
    let number = word.get(..5).filter(|start| start.eq_ignore_ascii_case("CLASS"));
    let is_number = number.is_some() && word[5..].parse::<u16>().is_ok();
    (is_number || ["CH", "HS", "CS"].iter().any(is)).then_some(false)
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
    Some(u32::try_from(whole.saturating_add(part)).ok().filter(|ttl| *ttl <= TTL_MAX))
}

/// The most records of a zone: what so much text holds, about.
const RECORDS_MAX: usize = 250_000;
/// The highest bit of a TTL is not used (RFC 2181 8).
const TTL_MAX: u32 = i32::MAX as u32;

//! Master files of the DNS (RFC 1035 5), checked before they are released: what no geo node would serve is refused with its
//! line and the reason.
//!
//! Nodes check more of how records stand to one another; what they refuse they say, and go on with the zone before.
//! Invariant: no text makes this process read a file, and what is refused here is refused by every node too.

use std::{
    collections::HashMap,
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    str::FromStr,
};

use hickory_proto::{
    rr::{Name, RecordType},
    serialize::txt::Parser,
};

/// The most that all zones together may take, in bytes as they travel: with the rest of the fleet they fit into one line of
/// the feed.
pub const ZONES_BYTES_MAX: usize = 24 * 1024 * 1024;

/// Why a zone is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ZoneError {
    /// The line, from 1, where it is known.
    pub line: Option<usize>,
    /// Why.
    pub reason: String,
}

/// A record as it is written.
struct Line {
    number: usize,
    owner: Name,
    kind: RecordType,
    /// The strings of a TXT record; of others the parser has said that they are good.
    text: Vec<Vec<u8>>,
}

/// Checks the text of a zone.
///
/// # Errors
/// [`ZoneError`] names the first thing that is wrong.
pub fn check(name: &str, text: &str) -> Result<(), ZoneError> {
    let origin = match Name::from_ascii(name) {
        Ok(mut origin) if !origin.is_root() && !name.is_empty() => {
            origin.set_fqdn(true);
            origin.to_lowercase()
        }
        _ => {
            let reason = format!("{name:?} is not the name of a zone");
            return Err(ZoneError { line: None, reason });
        }
    };
    let mut reader = Reader { origin: origin.clone(), owner: None, has_ttl: false };
    let mut lines = Vec::new();
    for entry in entries(text) {
        let read = entry.words().and_then(|words| reader.read(&entry, &words));
        match read {
            Ok(line) => lines.extend(line),
            Err(reason) => return Err(ZoneError { line: Some(entry.number), reason }),
        }
    }
    rules(&origin, &lines)
}

impl fmt::Display for ZoneError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(f, "line {line}: {}", self.reason),
            None => f.write_str(&self.reason),
        }
    }
}

impl std::error::Error for ZoneError {}

/// One entry of the file: a line, or several that parentheses or quotes hold together.
struct Entry<'a> {
    number: usize,
    text: &'a str,
    is_open: bool,
}

/// What holds from one entry to the next.
struct Reader {
    origin: Name,
    owner: Option<Name>,
    /// Whether a TTL was said, by `$TTL` or with a record.
    has_ttl: bool,
}

impl Entry<'_> {
    /// Its words, without comments and parentheses; a string keeps its quotes.
    fn words(&self) -> Result<Vec<String>, String> {
        if self.is_open {
            return Err("a parenthesis or a quote is not closed".to_owned());
        }
        let (mut words, mut word) = (Vec::new(), String::new());
        let (mut is_quoted, mut is_comment) = (false, false);
        let mut letters = self.text.chars();
        while let Some(letter) = letters.next() {
            match letter {
                '\n' if is_comment => is_comment = false,
                _ if is_comment => {}
                '\\' => {
                    word.push(letter);
                    word.extend(letters.next());
                }
                '"' => {
                    word.push(letter);
                    is_quoted = !is_quoted;
                    if !is_quoted {
                        words.push(std::mem::take(&mut word));
                    }
                }
                _ if is_quoted => word.push(letter),
                ';' => is_comment = true,
                '(' | ')' | ' ' | '\t' | '\r' | '\n' => {
                    if !word.is_empty() {
                        words.push(std::mem::take(&mut word));
                    }
                    continue;
                }
                _ => word.push(letter),
            }
            if is_comment && !word.is_empty() {
                words.push(std::mem::take(&mut word));
            }
        }
        if !word.is_empty() {
            words.push(word);
        }
        Ok(words)
    }
}

impl Reader {
    fn read(&mut self, entry: &Entry<'_>, words: &[String]) -> Result<Option<Line>, String> {
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

/// What every zone must have and none may, beside good syntax.
fn rules(origin: &Name, lines: &[Line]) -> Result<(), ZoneError> {
    let mut kinds: HashMap<&Name, Vec<RecordType>> = HashMap::new();
    for line in lines {
        kinds.entry(&line.owner).or_default().push(line.kind);
    }
    let has = |name: &Name, kind| kinds.get(name).is_some_and(|kinds| kinds.contains(&kind));
    for line in lines {
        let Line { number, owner, kind, text } = line;
        let wrong = |reason: &str| {
            Err(ZoneError { line: Some(*number), reason: format!("{owner}: {reason}") })
        };
        if !origin.zone_of(owner) {
            return wrong("is outside of the zone");
        }
        if *kind == RecordType::SOA && owner != origin {
            return wrong("is not the name of the zone and has an SOA record");
        }
        if has(owner, RecordType::CNAME)
            && kinds[owner].iter().any(|kind| *kind != RecordType::CNAME)
        {
            return wrong("has a CNAME record and others");
        }
        if owner.iter().next() == Some(STEER) {
            if *kind != RecordType::TXT || kinds[owner].len() > 1 {
                return wrong("has something else than one TXT record");
            }
            if let Err(reason) = options(text) {
                return wrong(&reason);
            }
        }
        let steer = owner.prepend_label(STEER);
        if STEERED.contains(kind) && steer.is_ok_and(|steer| kinds.contains_key(&steer)) {
            return wrong(&format!("is steered and has {kind} records"));
        }
    }
    for kind in [RecordType::SOA, RecordType::NS] {
        if !has(origin, kind) {
            let reason = format!("the zone has no {kind} record at {origin}");
            return Err(ZoneError { line: None, reason });
        }
    }
    Ok(())
}

/// What steers the name below it.
fn options(text: &[Vec<u8>]) -> Result<(), String> {
    let mut seen: Vec<&str> = Vec::new();
    for part in text {
        let part = str::from_utf8(part).map_err(|_| "the text is not ASCII".to_owned())?;
        for option in part.split_ascii_whitespace() {
            let (name, value) =
                option.split_once('=').ok_or_else(|| format!("{option:?} is not name=value"))?;
            if seen.contains(&name) {
                return Err(format!("{name} is there twice"));
            }
            seen.push(name);
            let is_good = match name {
                "alpn" => is_alpn(value),
                "port" => value.parse::<u16>().is_ok_and(|port| port > 0),
                _ => return Err(format!("there is no option {name:?}; there are alpn and port")),
            };
            if !is_good {
                return Err(format!("{value:?} is no {name}"));
            }
        }
    }
    Ok(())
}

fn is_alpn(value: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-./".contains(&byte);
    let words: Vec<_> = value.split(',').collect();
    words.len() <= ALPN_MAX
        && words.iter().all(|word| (1..=32).contains(&word.len()) && word.bytes().all(is_plain))
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

/// The entries of a file: parentheses and quotes go over lines.
fn entries(text: &str) -> Vec<Entry<'_>> {
    let (mut all, mut first, mut depth, mut is_quoted) = (Vec::new(), 1, 0_usize, false);
    let (mut begin, mut end) = (0, 0);
    for (index, line) in text.split_inclusive('\n').enumerate() {
        let mut is_escaped = false;
        for byte in line.bytes() {
            match byte {
                _ if is_escaped => is_escaped = false,
                b'\\' => is_escaped = true,
                b'"' => is_quoted = !is_quoted,
                b';' if !is_quoted => break,
                b'(' if !is_quoted => depth += 1,
                b')' if !is_quoted => depth = depth.saturating_sub(1),
                _ => {}
            }
        }
        end += line.len();
        if depth == 0 && !is_quoted {
            all.push(Entry { number: first, text: &text[begin..end], is_open: false });
            (first, begin) = (index + 2, end);
        }
    }
    if begin < end {
        all.push(Entry { number: first, text: &text[begin..end], is_open: true });
    }
    all
}

/// The label that steers the name below it.
const STEER: &[u8] = b"_steer";
/// The highest bit of a TTL is not used (RFC 2181 8).
const TTL_MAX: u32 = i32::MAX as u32;
/// Protocols of a steered name.
const ALPN_MAX: usize = 4;
/// RFC 1035 3.3.
const STRING_BYTES_MAX: usize = 255;
/// What the map says of a steered name, and what leads elsewhere.
const STEERED: [RecordType; 4] =
    [RecordType::A, RecordType::AAAA, RecordType::HTTPS, RecordType::CNAME];

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const GOOD: &str = "$TTL 300\n\
        @ IN SOA ns1 hostmaster (\n  1 3600 600\n  86400 60 )\n\
        @ NS ns1\n\
        ns1 A 192.0.2.53\n\
        www CNAME video ; the player\n\
        _steer.video TXT \"alpn=h3,h2 port=443\"\n\
        text TXT \"a;b\" \"(\"\n\
        list 1h IN TXT ( \"a b\" c ; and\n  \"\\034\" )\n";

    #[test]
    fn a_zone_that_nodes_would_serve_is_taken() {
        assert_eq!(check("example.com", GOOD), Ok(()));
        assert_eq!(
            check(
                "example.com",
                &GOOD.replace("_steer.video TXT \"alpn=h3,h2 port=443\"", "_steer TXT \"\"")
            ),
            Ok(())
        );
    }

    #[test]
    fn what_is_wrong_is_said_with_its_line() {
        let with = |line: &str| format!("{GOOD}{line}\n");
        let mut wrong = Vec::new();
        for (text, line, reason) in [
            (with("a A 192.0.2.256"), Some(12), "IPv4"),
            (with("a A 192.0.2.1\nb WHAT x"), Some(13), "WHAT"),
            (with("$INCLUDE /etc/passwd"), Some(12), "$INCLUDE"),
            (with("a A ( 192.0.2.1"), Some(12), "not closed"),
            (with("$GENERATE 1-3 a A 192.0.2.$"), Some(12), "no directive"),
            (with("a CH A 192.0.2.1"), Some(12), "class"),
            (with("a TXT \"\\300\""), Some(12), "255"),
            (with("a (\n A\n 192.0.2 )"), Some(12), ""),
            (
                with("a CAA 0 issue \"ca.example\n$INCLUDE /etc/passwd\n\""),
                Some(12),
                "end of its line",
            ),
            (with("other.org. A 192.0.2.1"), Some(12), "outside"),
            (with("sub SOA ns1 hostmaster 1 2 3 4 5"), Some(12), "SOA"),
            (with("www A 192.0.2.1"), Some(7), "CNAME"),
            (with("video A 192.0.2.1"), Some(12), "is steered"),
            (with("_steer.b TXT \"ttl=5\""), Some(12), "there is no option"),
            (with("_steer.b TXT \"port=0\""), Some(12), "is no port"),
            (with("_steer.b TXT \"alpn=h3,\""), Some(12), "is no alpn"),
            (with("_steer.b A 192.0.2.1"), Some(12), "something else"),
            (with("a 4294967295 A 192.0.2.1"), Some(12), "TTL"),
            (GOOD.replace("@ NS ns1\n", ""), None, "no NS"),
            (GOOD.replace("$TTL 300\n", ""), Some(1), "no TTL"),
            ("$TTL 5\nns1 A 192.0.2.1\n".to_owned(), None, "no SOA"),
            ("@ IN SOA".to_owned(), Some(1), ""),
            (String::new(), None, "no SOA"),
        ] {
            let error = check("example.com", &text).expect_err(&text);
            if error.line != line || !error.reason.contains(reason) {
                wrong.push(format!("{text}\n{error}, not {line:?} {reason}"));
            }
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
        for name in ["", ".", "a..b"] {
            assert!(check(name, GOOD).is_err(), "{name:?}");
        }
    }

    proptest! {
        #[test]
        fn no_text_is_more_than_refused(text in "[a-z@$;()\"\\\\ \n\t0-9.A-Z]{0,200}") {
            let _ = check("example.com", &text);
            let _ = check("example.com", &format!("{GOOD}{text}"));
        }
    }
}

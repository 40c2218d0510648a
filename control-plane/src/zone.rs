//! Master files of the DNS (RFC 1035 5), checked before they are released: what no geo node would serve is refused with its
//! line and the reason.
//!
//! Nodes check more of how records stand to one another; what they refuse they say, and go on with the zone before.
//! Invariant: no text makes this process read a file, and what is refused here is refused by every node too.

use std::{
    collections::BTreeMap,
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
};

use hickory_proto::{
    rr::{DNSClass, Name, RData, RecordSet, RecordType, RrKey},
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

/// Checks the text of a zone.
///
/// # Errors
/// [`ZoneError`] names the first thing that is wrong.
pub fn check(name: &str, text: &str) -> Result<(), ZoneError> {
    let refused = |line, reason| ZoneError { line, reason };
    let origin = match Name::from_ascii(name) {
        Ok(mut origin) if !origin.is_root() && !name.is_empty() => {
            origin.set_fqdn(true);
            origin.to_lowercase()
        }
        _ => return Err(refused(None, format!("{name:?} is not the name of a zone"))),
    };
    let lines = entries(text);
    // Before the parser, which would open what is named.
    let includes = |line: &str| line.to_ascii_lowercase().contains("$include");
    if let Some(line) = text.lines().position(includes) {
        let reason = "$INCLUDE is not allowed, not even in a comment".to_owned();
        return Err(refused(Some(line + 1), reason));
    }
    match parse(text, &origin) {
        Ok(records) => rules(&origin, &records)
            .map_err(|(owner, reason)| refused(line_of(text, &owner, &origin), reason)),
        Err(first) => {
            let (line, reason) = wrong_line(text, &origin, &lines).unwrap_or((1, first));
            Err(refused(Some(line), reason))
        }
    }
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

type Records = BTreeMap<RrKey, RecordSet>;

fn parse(text: &str, origin: &Name) -> Result<Records, String> {
    // The parser is made for files of one's own; a text that it does not survive is refused like others.
    let parsed =
        catch_unwind(AssertUnwindSafe(|| Parser::new(text, None, Some(origin.clone())).parse()));
    match parsed {
        Ok(Ok((_, records))) => Ok(records),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err("the text cannot be read".to_owned()),
    }
}

/// What every zone must have and none may, beside good syntax: the name that breaks it, and why.
fn rules(origin: &Name, records: &Records) -> Result<(), (Name, String)> {
    let mut has = (false, false);
    let find = |owner: &Name, kind| {
        let key = RrKey::new(owner.clone().into(), kind);
        records.get(&key)
    };
    for set in records.values() {
        let (owner, kind) = (set.name().to_lowercase(), set.record_type());
        let wrong = |reason: &str| Err((owner.clone(), format!("{owner}: {reason}")));
        if !origin.zone_of(&owner) {
            return wrong("is outside of the zone");
        }
        let all = || set.records_without_rrsigs();
        if all().any(|record| record.dns_class != DNSClass::IN) {
            return wrong("the class is IN");
        }
        if all().any(|record| record.ttl > TTL_MAX) {
            return wrong("a TTL is at most 2147483647 seconds");
        }
        let is_apex = owner == *origin;
        has.0 |= is_apex && kind == RecordType::SOA;
        has.1 |= is_apex && kind == RecordType::NS;
        if kind == RecordType::SOA && !is_apex {
            return wrong("is not the name of the zone and has an SOA record");
        }
        if kind == RecordType::CNAME {
            let is_alone = ALONE.iter().all(|other| find(&owner, *other).is_none());
            if !is_alone || all().count() > 1 {
                return wrong("has a CNAME record and others");
            }
        }
        if owner.iter().next() == Some(STEER) {
            steers(set).or_else(|reason| wrong(&reason))?;
            let steered = owner.base_name();
            let own = [RecordType::A, RecordType::AAAA, RecordType::HTTPS, RecordType::CNAME];
            if let Some(kind) = own.into_iter().find(|kind| find(&steered, *kind).is_some()) {
                return Err((
                    steered.clone(),
                    format!("{steered}: is steered and has {kind} records"),
                ));
            }
        }
    }
    match has {
        (false, _) => Err((origin.clone(), format!("the zone has no SOA record at {origin}"))),
        (_, false) => Err((origin.clone(), format!("the zone has no NS records at {origin}"))),
        _ => Ok(()),
    }
}

/// What steers the name below it: one text of options.
fn steers(set: &RecordSet) -> Result<(), String> {
    let mut all = set.records_without_rrsigs();
    let (Some(only), None) = (all.next(), all.next()) else {
        return Err("has more than one record".to_owned());
    };
    let RData::TXT(text) = &only.data else {
        return Err("has something else than a TXT record".to_owned());
    };
    let mut seen: Vec<String> = Vec::new();
    for part in &text.txt_data {
        let part = str::from_utf8(part).map_err(|_| "the text is not ASCII".to_owned())?;
        for option in part.split_ascii_whitespace() {
            let (name, value) =
                option.split_once('=').ok_or_else(|| format!("{option:?} is not name=value"))?;
            if seen.iter().any(|known| known == name) {
                return Err(format!("{name} is there twice"));
            }
            seen.push(name.to_owned());
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

/// The first line of the first entry that is refused, and why: the parser does not say where it stopped, so the shortest
/// beginning that it refuses is looked for.
fn wrong_line(text: &str, origin: &Name, entries: &[(usize, usize)]) -> Option<(usize, String)> {
    let first = entries.partition_point(|(_, end)| parse(&text[..*end], origin).is_ok());
    let (line, end) = entries.get(first.min(entries.len().checked_sub(1)?))?;
    Some((*line, parse(&text[..*end], origin).err()?))
}

/// The line where a name is written first, as far as it can be told from the text.
fn line_of(text: &str, owner: &Name, origin: &Name) -> Option<usize> {
    let whole = owner.to_ascii();
    let short = match whole.strip_suffix(&origin.to_ascii()) {
        Some("") => "@",
        Some(below) => below.trim_end_matches('.'),
        None => &whole,
    };
    let begins = |line: &str| {
        let first = line.split_ascii_whitespace().next().unwrap_or_default();
        !line.starts_with([' ', '\t'])
            && (first.eq_ignore_ascii_case(short) || first.eq_ignore_ascii_case(&whole))
    };
    text.lines().position(begins).map(|index| index + 1)
}

/// For each entry its first line, and where it ends: parentheses and quotes go over lines.
fn entries(text: &str) -> Vec<(usize, usize)> {
    let (mut ends, mut first, mut depth, mut is_quoted, mut end) =
        (Vec::new(), 1, 0_usize, false, 0);
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
            ends.push((first, end));
            first = index + 2;
        }
    }
    if ends.last().is_none_or(|last| last.1 < end) {
        ends.push((first, end));
    }
    ends
}

/// The label that steers the name below it.
const STEER: &[u8] = b"_steer";
/// The highest bit of a TTL is not used (RFC 2181 8).
const TTL_MAX: u32 = i32::MAX as u32;
/// Protocols of a steered name.
const ALPN_MAX: usize = 4;
/// What commonly stands beside an alias by mistake.
const ALONE: [RecordType; 7] = [
    RecordType::A,
    RecordType::AAAA,
    RecordType::HTTPS,
    RecordType::MX,
    RecordType::NS,
    RecordType::SOA,
    RecordType::TXT,
];

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
        text TXT \"a;b\" \"(\"\n";

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
            (with("a A 192.0.2.256"), Some(10), "IPv4"),
            (with("a A 192.0.2.1\nb WHAT x"), Some(11), "WHAT"),
            (with("$INCLUDE /etc/passwd"), Some(10), "$INCLUDE"),
            (with("; $include /etc/passwd"), Some(10), "$INCLUDE"),
            (with("a (\n A\n 192.0.2 )"), Some(10), ""),
            (with("other.org. A 192.0.2.1"), Some(10), "outside"),
            (with("sub SOA ns1 hostmaster 1 2 3 4 5"), Some(10), "SOA"),
            (with("www A 192.0.2.1"), Some(7), "CNAME"),
            (with("video A 192.0.2.1"), Some(10), "is steered"),
            (with("_steer.b TXT \"ttl=5\""), Some(10), "there is no option"),
            (with("_steer.b TXT \"port=0\""), Some(10), "is no port"),
            (with("_steer.b TXT \"alpn=h3,\""), Some(10), "is no alpn"),
            (with("_steer.b A 192.0.2.1"), Some(10), "something else"),
            (with("a 4294967295 A 192.0.2.1"), Some(10), "TTL"),
            (GOOD.replace("@ NS ns1\n", ""), Some(2), "no NS"),
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

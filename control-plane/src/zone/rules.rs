//! What every zone must have and none may, beside good syntax.
//!
//! Invariant: every rule here is one of the nodes'.

use std::collections::HashMap;

use hickory_proto::rr::{Name, RecordType};

use super::{ZoneError, reader::Line};

/// Checks the records of a zone together.
pub(super) fn rules(origin: &Name, lines: &[Line]) -> Result<(), ZoneError> {
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

/// The label that steers the name below it.
const STEER: &[u8] = b"_steer";
/// Protocols of a steered name.
const ALPN_MAX: usize = 4;
/// What the map says of a steered name, and what leads elsewhere.
const STEERED: [RecordType; 4] =
    [RecordType::A, RecordType::AAAA, RecordType::HTTPS, RecordType::CNAME];

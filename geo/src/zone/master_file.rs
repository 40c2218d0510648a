//! Master files (RFC 1035 5): text in, a zone out, or the line that is wrong.
//!
//! The parser does not say where it stopped; so the shortest beginning of the file that it refuses is looked for, and ends
//! with the entry that is wrong. Invariant: no text makes the parser read another file.

use std::{
    collections::BTreeMap,
    panic::{AssertUnwindSafe, catch_unwind},
};

use hickory_proto::{
    rr::{Name, RecordSet as Parsed, RrKey},
    serialize::txt::Parser,
};

use crate::zone::{
    build::build,
    error::{Reason, ZoneError},
    tree::Zone,
};

/// Reads a zone. `source` is where the text came from, `name` what the zone is called.
pub(super) fn read(source: &str, name: &str, text: &str) -> Result<Zone, ZoneError> {
    let refused = |line, reason| ZoneError { source: source.to_owned(), line, reason };
    let origin = match Name::from_ascii(name) {
        Ok(origin) if !origin.is_root() && !name.is_empty() => fully(origin),
        _ => return Err(refused(None, Reason::Name(name.to_owned()))),
    };
    if text.len() > ZONE_BYTES_MAX {
        let max = ZONE_BYTES_MAX;
        return Err(refused(None, Reason::TooMuch { what: "bytes of a zone", max }));
    }
    let includes = |line: &str| line.to_ascii_lowercase().contains("$include");
    if let Some(line) = text.lines().position(includes) {
        return Err(refused(Some(line + 1), Reason::Include));
    }
    let records = match parse(text, &origin) {
        Ok(records) => records,
        Err(first) => {
            let (line, reason) = wrong_line(text, &origin).unwrap_or((1, first));
            return Err(refused(Some(line), Reason::Syntax(reason)));
        }
    };
    build(origin, records).map_err(|reason| refused(None, reason))
}

fn parse(text: &str, origin: &Name) -> Result<BTreeMap<RrKey, Parsed>, String> {
    // The parser is made for files that somebody wrote with care; one that it does not survive is refused like others.
    let parsed =
        catch_unwind(AssertUnwindSafe(|| Parser::new(text, None, Some(origin.clone())).parse()));
    match parsed {
        Ok(Ok((_, records))) => Ok(records),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err("the text cannot be read".to_owned()),
    }
}

/// The first line of the first entry that is refused, and why.
fn wrong_line(text: &str, origin: &Name) -> Option<(usize, String)> {
    let ends = entry_ends(text);
    let refusal = |entries: usize| parse(&text[..ends[entries].1], origin).err();
    let first = ends.partition_point(|entry| parse(&text[..entry.1], origin).is_ok());
    let reason = refusal(first.min(ends.len().checked_sub(1)?))?;
    Some((ends[first].0, reason))
}

/// For each entry of the file, its first line, and where it ends.
fn entry_ends(text: &str) -> Vec<(usize, usize)> {
    let (mut ends, mut first, mut depth, mut is_quoted) = (Vec::new(), 1, 0_usize, false);
    let mut end = 0;
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

/// The name, not to be completed by anything.
fn fully(mut name: Name) -> Name {
    name.set_fqdn(true);
    name.to_lowercase()
}

/// The most bytes of a zone's text: some two hundred thousand records; parsing takes about a second.
const ZONE_BYTES_MAX: usize = 16 * 1024 * 1024;

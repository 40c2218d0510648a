//! What a record says: its data as it is written, or by its bytes, which goes for every type (RFC 3597).
//!
//! Text, names and addresses are read here, the rarer types by the library's parser, a record at a time. Invariant: data that
//! was written by its bytes has just these bytes in every answer.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    str::FromStr,
};

use hickory_proto::{
    rr::{
        Name, RData, Record, RecordType,
        rdata::{CNAME, NS, NULL, TXT},
    },
    serialize::{
        binary::{BinDecoder, BinEncodable, BinEncoder, NameEncoding, Restrict},
        txt::Parser,
    },
};

use super::{
    entry::Entries,
    error::{Reason, syntax},
};

/// A type by its name, or by its number (`TYPE65280`, RFC 3597 5).
#[must_use]
pub fn kind(word: &str) -> Option<RecordType> {
    let word = word.to_ascii_uppercase();
    if let Some(number) = word.strip_prefix("TYPE") {
        let is_number = number.bytes().all(|byte| byte.is_ascii_digit());
        return number.parse::<u16>().ok().filter(|_| is_number).map(RecordType::from);
    }
    RecordType::from_str(&word).ok()
}

/// A type as it is written: by its name, or by its number.
pub(super) fn kind_text(kind: RecordType) -> String {
    match kind {
        RecordType::Unknown(number) => format!("TYPE{number}"),
        kind => kind.to_string(),
    }
}

/// A record as people read it; data of an unknown type by its bytes.
#[must_use]
pub fn line(record: &Record) -> String {
    with_data(record, &words_of(&record.data))
}

/// A record as it is written in a master file, where it reads the same again: data whose words would not by its bytes.
#[must_use]
pub fn file_line(record: &Record) -> String {
    let words = words_of(&record.data);
    let is_same = |words: &str| {
        let mut entries = Entries::new(words);
        let (Some(Ok(entry)), None) = (entries.next(), entries.next()) else { return false };
        read(record.record_type(), &entry.words, &Name::root())
            .is_ok_and(|data| data == record.data)
    };
    if is_same(&words) {
        return with_data(record, &words);
    }
    match record.data.to_bytes() {
        Ok(bytes) => with_data(record, &bytes_of(&bytes)),
        // What came out of a file can be sent.
        Err(_) => with_data(record, &words),
    }
}

fn with_data(record: &Record, data: &str) -> String {
    // In the letters of the DNS: what `xn--` stands for is not read.
    let (owner, ttl, class) = (record.name.to_ascii(), record.ttl, record.dns_class);
    let kind = kind_text(record.record_type());
    format!("{owner} {ttl} {class} {kind} {data}").trim_end().to_owned()
}

/// What data says, as the library writes it, but for what it does not write as it is read.
fn words_of(data: &RData) -> String {
    match data {
        RData::Unknown { rdata: NULL { anything: bytes, .. }, .. } => bytes_of(bytes),
        RData::TXT(text) => {
            let strings = text.txt_data.iter().map(|string| quoted(string));
            strings.collect::<Vec<_>>().join(" ")
        }
        // It parts parameters by commas.
        RData::HTTPS(_) | RData::SVCB(_) => data.to_string().replace(", ", " "),
        data => data.to_string(),
    }
}

fn bytes_of(bytes: &[u8]) -> String {
    let digits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{BY_BYTES} {} {digits}", bytes.len())
}

/// A string in quotes (RFC 1035 5.1).
fn quoted(string: &[u8]) -> String {
    let mut text = String::from("\"");
    for byte in string {
        match byte {
            b'"' | b'\\' => text.extend(['\\', char::from(*byte)]),
            b' '..=b'~' => text.push(char::from(*byte)),
            byte => text.push_str(&format!("\\{byte:03}")),
        }
    }
    text.push('"');
    text
}

/// Whether records of a type are served from files: all that are data and mean nothing to whoever serves them, but what
/// belongs to signatures, which is made and not written.
pub(super) fn is_served(kind: RecordType) -> bool {
    match kind {
        RecordType::Unknown(number) => matches!(number, 1..=127 | 256..=65_534),
        kind => SERVED.contains(&kind),
    }
}

/// What the words behind a type say.
pub(super) fn read(kind: RecordType, words: &[&str], origin: &Name) -> Result<RData, Reason> {
    let no_address = |word: &str| Reason::Syntax(format!("{word:?} is no address"));
    match (kind, words) {
        (kind, [BY_BYTES, length, words @ ..]) => by_bytes(kind, length, words),
        (RecordType::Unknown(_), _) => {
            Err(syntax("data of a type that only has a number is \\#, its length and its bytes"))
        }
        (RecordType::TXT, words) => text(words),
        (RecordType::A, [word]) => word.parse().map(RData::A).map_err(|_| no_address(word)),
        (RecordType::AAAA, [word]) => word.parse().map(RData::AAAA).map_err(|_| no_address(word)),
        (RecordType::NS, [word]) => name(word, origin).map(|name| RData::NS(NS(name))),
        (RecordType::CNAME, [word]) => name(word, origin).map(|name| RData::CNAME(CNAME(name))),
        _ => by_library(kind, words, origin),
    }
}

/// A name as it is written in files; what is beyond ASCII is written in its ASCII form.
pub(super) fn name(word: &str, origin: &Name) -> Result<Name, Reason> {
    if word == "@" {
        return Ok(origin.clone());
    }
    if has_code(word) {
        return Err(syntax("bytes by their numbers (\\DDD) stand in TXT records alone"));
    }
    let name = Name::from_ascii(word)
        .and_then(|name| if name.is_fqdn() { Ok(name) } else { name.append_domain(origin) });
    match name {
        Ok(name) if word.is_ascii() => Ok(name),
        Ok(_) => Err(Reason::Syntax(format!("{word:?} is not ASCII"))),
        Err(error) => Err(Reason::Syntax(format!("{word:?} is no name: {error}"))),
    }
}

/// Data by its bytes (RFC 3597 5): those of a type that is known have to be what that type has.
fn by_bytes(kind: RecordType, length: &str, words: &[&str]) -> Result<RData, Reason> {
    let digits: String = words.concat();
    let length = length.parse::<u16>().map_err(|_| syntax("\\# is followed by a length"))?;
    if digits.len() != 2 * usize::from(length) || !digits.bytes().all(|d| d.is_ascii_hexdigit()) {
        return Err(syntax("\\# has a length and as many bytes, two digits each"));
    }
    let byte = |at: usize| u8::from_str_radix(&digits[at..at + 2], 16).expect("two digits");
    let bytes: Vec<u8> = (0..digits.len()).step_by(2).map(byte).collect();
    let mut decoder = BinDecoder::new(&bytes);
    let data = RData::read(&mut decoder, kind, Restrict::new(length))
        .map_err(|error| Reason::Syntax(format!("no data of type {}: {error}", kind_text(kind))))?;
    let mut again = Vec::new();
    let mut encoder = BinEncoder::new(&mut again);
    encoder.set_name_encoding(NameEncoding::Uncompressed);
    match data.emit(&mut encoder) {
        Ok(()) if again == bytes => Ok(data),
        _ => Err(Reason::Syntax(format!("no data of type {} as it is sent", kind_text(kind)))),
    }
}

fn by_library(kind: RecordType, words: &[&str], origin: &Name) -> Result<RData, Reason> {
    if words.iter().any(|word| has_code(word)) {
        return Err(syntax("bytes by their numbers (\\DDD) stand in TXT records alone"));
    }
    let mut words = words.to_vec();
    let target;
    if let (RecordType::HTTPS | RecordType::SVCB, Some(word)) = (kind, words.get_mut(1)) {
        // The one name that the library does not complete.
        target = name(word, origin)?.to_ascii();
        *word = &target;
    }
    let line = format!("@ 0 IN {kind} {}\n", words.join(" "));
    let parser = Parser::new(line, None, Some(origin.clone()));
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

/// What stands before data that is written by its bytes.
const BY_BYTES: &str = "\\#";
/// The longest string (RFC 1035 3.3).
const STRING_MAX: usize = 255;
/// The types with names that are served from files.
const SERVED: [RecordType; 21] = [
    RecordType::A,
    RecordType::AAAA,
    RecordType::CAA,
    RecordType::CERT,
    RecordType::CNAME,
    RecordType::CSYNC,
    RecordType::DS,
    RecordType::HINFO,
    RecordType::HTTPS,
    RecordType::MX,
    RecordType::NAPTR,
    RecordType::NS,
    RecordType::OPENPGPKEY,
    RecordType::PTR,
    RecordType::SMIMEA,
    RecordType::SOA,
    RecordType::SRV,
    RecordType::SSHFP,
    RecordType::SVCB,
    RecordType::TLSA,
    RecordType::TXT,
];

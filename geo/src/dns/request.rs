//! A query as it came: header, question, and what EDNS says (RFC 1035 4.1, RFC 6891).
//!
//! Read here and not by the library, because what is wrong with an option has to be told from what is wrong with the
//! message. Pure. Invariant: reading looks at every byte at most once and never beyond the message.

use hickory_proto::{
    rr::{DNSClass, Name, RecordType},
    serialize::binary::{BinDecodable, BinDecoder},
};

use crate::dns::subnet::{Subnet, SubnetError};

/// A query.
#[derive(Debug, Clone, PartialEq)]
pub struct Request {
    /// What goes back as it came.
    pub head: Head,
    /// What is asked; absent only of one that asks for a cookie (RFC 7873 5.4).
    pub question: Option<Question>,
    /// What EDNS says; absent: nothing.
    pub edns: Option<Edns>,
}

/// What goes back as it came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// The number of the query.
    pub id: u16,
    /// OPCODE.
    pub opcode: u8,
    /// RD.
    pub recursion_desired: bool,
    /// CD.
    pub checking_disabled: bool,
}

/// What is asked.
#[derive(Debug, Clone, PartialEq)]
pub struct Question {
    /// The name, as it was written.
    pub name: Name,
    /// The type.
    pub kind: RecordType,
    /// The class.
    pub class: DNSClass,
}

/// What EDNS says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Edns {
    /// The largest datagram that can be taken; at least 512 (RFC 6891 6.2.3).
    pub payload: u16,
    /// The version; of one above 0 nothing else is read.
    pub version: u8,
    /// DO.
    pub dnssec_ok: bool,
    /// CO (RFC 9824 5).
    pub compact_ok: bool,
    /// The client's subnet.
    pub subnet: Option<Subnet>,
    /// The cookie: that of the client, and that of a server behind it.
    pub cookie: Option<Vec<u8>>,
    /// Whether the node's name is asked for.
    pub wants_nsid: bool,
    /// Whether is asked how long the connection may be idle (RFC 7828).
    pub wants_keepalive: bool,
}

/// What cannot be answered as asked.
#[derive(Debug, Clone, PartialEq)]
pub enum Unreadable {
    /// No query: nothing goes back, or two servers would talk forever.
    NoQuery,
    /// Not QUERY.
    NotDone(Head),
    /// Not a message, as far as it could be read; and whether EDNS was found.
    Malformed {
        /// The header.
        head: Head,
        /// The question, if that was one.
        question: Option<Question>,
        /// Whether the answer may have EDNS.
        has_edns: bool,
    },
}

/// Reads a message.
///
/// # Errors
/// [`Unreadable`]
pub fn read(bytes: &[u8]) -> Result<Request, Unreadable> {
    let mut rest = Cursor { bytes, at: 0 };
    let mut word = || rest.u16().ok_or(Unreadable::NoQuery);
    let (id, flags) = (word()?, word()?);
    let (questions, answers, authorities, additionals) = (word()?, word()?, word()?, word()?);
    if flags & RESPONSE != 0 {
        return Err(Unreadable::NoQuery);
    }
    let head = Head {
        id,
        opcode: (flags >> 11 & 0xf) as u8,
        recursion_desired: flags & 0x0100 != 0,
        checking_disabled: flags & 0x0010 != 0,
    };
    if head.opcode != 0 {
        return Err(Unreadable::NotDone(head));
    }
    let malformed =
        |question: Option<Question>, has_edns| Unreadable::Malformed { head, question, has_edns };
    let question = match questions {
        0 => None,
        1 => Some(rest.question().ok_or_else(|| malformed(None, false))?),
        _ => return Err(malformed(None, false)),
    };
    let mut found = None;
    let before = u32::from(answers) + u32::from(authorities);
    for number in 0..before + u32::from(additionals) {
        let record = rest.record().ok_or_else(|| malformed(question.clone(), found.is_some()))?;
        if record.kind != OPT || number < before {
            continue;
        }
        if !record.is_root || found.is_some() {
            return Err(malformed(question, true));
        }
        found = Some(record);
    }
    if rest.at != bytes.len() {
        return Err(malformed(question, found.is_some()));
    }
    let edns = match found.map(|record| edns(&record)) {
        None => None,
        Some(Ok(edns)) => Some(edns),
        Some(Err(SubnetError)) => return Err(malformed(question, true)),
    };
    if question.is_none() && edns.as_ref().is_none_or(|edns| edns.cookie.is_none()) {
        return Err(malformed(None, edns.is_some()));
    }
    Ok(Request { head, question, edns })
}

/// Reads an OPT record. Options that nobody knows are left alone (RFC 6891 6.1.2).
fn edns(record: &Record<'_>) -> Result<Edns, SubnetError> {
    let mut edns = Edns {
        payload: record.class.max(PAYLOAD_MIN),
        version: (record.ttl >> 16) as u8,
        dnssec_ok: record.ttl & 0x8000 != 0,
        compact_ok: record.ttl & 0x4000 != 0,
        ..Edns::default()
    };
    if edns.version > 0 {
        return Ok(edns);
    }
    let mut rest = Cursor { bytes: record.data, at: 0 };
    while rest.at < record.data.len() {
        let option = rest.u16().zip(rest.u16());
        let (code, length) = option.ok_or(SubnetError)?;
        let data = rest.take(usize::from(length)).ok_or(SubnetError)?;
        match code {
            NSID => edns.wants_nsid = true,
            KEEPALIVE => edns.wants_keepalive = true,
            // One that is there twice says two things.
            SUBNET if edns.subnet.is_some() => return Err(SubnetError),
            SUBNET => edns.subnet = Some(Subnet::parse(data)?),
            // Only the first counts (RFC 7873 5.2).
            COOKIE if edns.cookie.is_none() => {
                if data.len() != 8 && !(16..=40).contains(&data.len()) {
                    return Err(SubnetError);
                }
                edns.cookie = Some(data.to_vec());
            }
            _ => {}
        }
    }
    Ok(edns)
}

/// A resource record, of which only OPT is looked into.
struct Record<'a> {
    is_root: bool,
    kind: u16,
    class: u16,
    ttl: u32,
    data: &'a [u8],
}

struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let taken = self.bytes.get(self.at..self.at.checked_add(count)?)?;
        self.at += count;
        Some(taken)
    }

    fn u8(&mut self) -> Option<u8> {
        self.take(1).map(|byte| byte[0])
    }

    fn u16(&mut self) -> Option<u16> {
        self.take(2).map(|bytes| u16::from_be_bytes([bytes[0], bytes[1]]))
    }

    fn question(&mut self) -> Option<Question> {
        let first = self.at;
        // No name stands before it that it could point to.
        loop {
            match self.u8()? {
                0 => break,
                length @ 1..=LABEL_MAX => drop(self.take(usize::from(length))?),
                _ => return None,
            }
        }
        let mut decoder = BinDecoder::new(&self.bytes[first..self.at]);
        let name = Name::read(&mut decoder).ok()?;
        let (kind, class) = (self.u16()?, self.u16()?);
        Some(Question { name, kind: kind.into(), class: class.into() })
    }

    /// Passes over a record; names in it are not followed.
    fn record(&mut self) -> Option<Record<'a>> {
        let first = self.at;
        loop {
            match self.u8()? {
                0 => break,
                length @ 1..=LABEL_MAX => drop(self.take(usize::from(length))?),
                0xc0.. => {
                    self.u8()?;
                    break;
                }
                _ => return None,
            }
        }
        let is_root = self.at == first + 1;
        let (kind, class) = (self.u16()?, self.u16()?);
        let ttl = u32::from(self.u16()?) << 16 | u32::from(self.u16()?);
        let length = self.u16()?;
        let data = self.take(usize::from(length))?;
        Some(Record { is_root, kind, class, ttl, data })
    }
}

/// QR.
const RESPONSE: u16 = 0x8000;
/// The longest label.
const LABEL_MAX: u8 = 63;
/// What every client can take.
const PAYLOAD_MIN: u16 = 512;
/// The type of the record that carries EDNS.
const OPT: u16 = 41;
/// RFC 5001.
const NSID: u16 = 3;
/// RFC 7871.
const SUBNET: u16 = 8;
/// RFC 7873.
const COOKIE: u16 = 10;
/// RFC 7828.
const KEEPALIVE: u16 = 11;

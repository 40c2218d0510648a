//! An answer as bytes that need only a question before them.
//!
//! Owners are pointers to the question; those that are only its end (the apex of a zone, for a name in it) are filled in
//! when it is known how long the question's name is. Invariant: a template decodes to the answer that it was made of.

use hickory_proto::{
    op::ResponseCode,
    rr::Name,
    serialize::binary::{BinEncodable, BinEncoder, NameEncoding},
};

use super::parse::HEADER_BYTES;
use crate::{
    dns::{
        answer::{Answer, Outcome},
        handler::subject,
    },
    zone::RecordSet,
};

/// An answer without its question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template {
    /// What follows the question, but OPT.
    bytes: Box<[u8]>,
    /// Pointers to the end of the question's name: where they stand, and how many bytes that end has.
    ends: Box<[(u16, u8)]>,
    /// Records: answers, authorities, additionals.
    counts: [u16; 3],
    code: u8,
    is_authoritative: bool,
    outcome: Outcome,
    limited_as: Option<Box<[u8]>>,
}

impl Template {
    /// Of an answer to a question for `name`, of which the end from `apex` on is the same for all that it is used for.
    /// `None` when it has no place in a table.
    #[must_use]
    pub fn new(answer: &Answer, name: &Name, apex: &Name) -> Option<Self> {
        let mut out = Encoder { name, apex, bytes: Vec::new(), ends: Vec::new() };
        let sections = [&answer.answers, &answer.authorities, &answer.additionals];
        let mut counts = [0; 3];
        for (section, count) in sections.into_iter().zip(&mut counts) {
            for set in section {
                *count += out.records(set)?;
            }
        }
        let code = match answer.code {
            ResponseCode::NoError => 0,
            ResponseCode::NXDomain => 3,
            _ => return None,
        };
        let fits = out.bytes.len() <= TEMPLATE_BYTES_MAX;
        fits.then(|| Self {
            bytes: out.bytes.into(),
            ends: out.ends.into(),
            counts,
            code,
            is_authoritative: answer.is_authoritative,
            outcome: answer.outcome,
            limited_as: answer.common.as_ref().map(|name| subject(name).into()),
        })
    }

    /// How many bytes it adds to a question.
    #[must_use]
    pub fn length(&self) -> usize {
        self.bytes.len()
    }

    /// What kind of answer it is.
    #[must_use]
    pub fn outcome(&self) -> Outcome {
        self.outcome
    }

    /// The name that it counts for in rate limits; `None`: the one that is asked for.
    #[must_use]
    pub fn limited_as(&self) -> Option<&[u8]> {
        self.limited_as.as_deref()
    }

    /// RCODE.
    #[must_use]
    pub fn code(&self) -> u8 {
        self.code
    }

    /// Makes the message in `out`, which begins with the question's header and the question itself, `head` bytes in all, an
    /// answer, and says how long it is. The flags of the header are written here but for RD and CD, which stay.
    ///
    /// There is room for [`Self::length`] bytes beyond `head`.
    pub fn write(&self, out: &mut [u8], head: usize, kept: [u8; 2]) -> usize {
        let end = head + self.bytes.len();
        out[2] = IS_ANSWER | if self.is_authoritative { AUTHORITATIVE } else { 0 } | kept[0];
        out[3] = kept[1] | self.code;
        for (at, count) in [6, 8, 10].into_iter().zip(self.counts) {
            out[at..at + 2].copy_from_slice(&count.to_be_bytes());
        }
        out[head..end].copy_from_slice(&self.bytes);
        // Behind the name stand type and class.
        let name_end = head - 4;
        for (at, length) in &self.ends {
            let at = head + usize::from(*at);
            let pointer = POINTER | (name_end - usize::from(*length)) as u16;
            out[at..at + 2].copy_from_slice(&pointer.to_be_bytes());
        }
        end
    }
}

struct Encoder<'a> {
    name: &'a Name,
    apex: &'a Name,
    bytes: Vec<u8>,
    ends: Vec<(u16, u8)>,
}

impl Encoder<'_> {
    fn records(&mut self, set: &RecordSet) -> Option<u16> {
        let kind = u16::from(set.kind);
        for data in &*set.data {
            self.owner(&set.owner)?;
            self.bytes.extend_from_slice(&kind.to_be_bytes());
            self.bytes.extend_from_slice(&CLASS_IN);
            self.bytes.extend_from_slice(&set.ttl.to_be_bytes());
            let mut plain = Vec::new();
            let mut encoder = BinEncoder::new(&mut plain);
            // A pointer into this piece would be none into the message.
            encoder.set_name_encoding(NameEncoding::Uncompressed);
            data.emit(&mut encoder).ok()?;
            self.bytes.extend_from_slice(&u16::try_from(plain.len()).ok()?.to_be_bytes());
            self.bytes.extend_from_slice(&plain);
        }
        u16::try_from(set.data.len()).ok()
    }

    fn owner(&mut self, owner: &Name) -> Option<()> {
        if owner == self.name {
            self.bytes.extend_from_slice(&(POINTER | HEADER_BYTES as u16).to_be_bytes());
            return Some(());
        }
        if !self.apex.zone_of(owner) {
            self.bytes.extend_from_slice(&wire(owner));
            return Some(());
        }
        let before = owner.iter().len() - self.apex.iter().len();
        for label in owner.iter().take(before) {
            self.bytes.push(u8::try_from(label.len()).ok()?);
            self.bytes.extend_from_slice(label);
        }
        let at = u16::try_from(self.bytes.len()).ok()?;
        self.ends.push((at, u8::try_from(wire(self.apex).len()).ok()?));
        self.bytes.extend_from_slice(&[0; 2]);
        Some(())
    }
}

/// A name as it stands in a message without pointers, lower case.
#[must_use]
pub fn wire(name: &Name) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(name.len() + 1);
    for label in name.iter() {
        bytes.push(label.len() as u8);
        bytes.extend_from_slice(label);
    }
    bytes.push(0);
    // The length of a label is below any letter.
    bytes.make_ascii_lowercase();
    bytes
}

const IS_ANSWER: u8 = 0x80;
const AUTHORITATIVE: u8 = 0x04;
const POINTER: u16 = 0xc000;
const CLASS_IN: [u8; 2] = [0, 1];
/// More fits into no answer; what is larger is truncated, which is the handler's.
const TEMPLATE_BYTES_MAX: usize = super::batch::ANSWER_BYTES_MAX;

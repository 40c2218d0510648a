//! An answer as a message: flags, sections, EDNS, and its size (RFC 6891, RFC 2181 9).
//!
//! Invariant: what goes out over UDP is never larger than whoever asked can take, nor than what this node allows itself;
//! one that would be has no records and says so (TC).

use hickory_proto::{
    ProtoError,
    op::{Edns as Extension, Message, MessageType, OpCode, Query, ResponseCode},
    rr::rdata::opt::EdnsOption,
};

use crate::dns::{
    answer::{Answer, Outcome},
    request::{Edns, Head, Question},
    subnet::Subnet,
};

/// A message that goes back.
#[derive(Debug, Clone)]
pub struct Reply {
    /// The message.
    pub message: Message,
    /// The most bytes that it may have; then it is cut.
    pub bytes_max: usize,
    /// The kind of answer; `None` for what could not be read.
    pub outcome: Option<Outcome>,
}

impl Reply {
    /// A message without records.
    #[must_use]
    pub fn bare(head: &Head, question: Option<&Question>, code: ResponseCode) -> Self {
        let mut message =
            Message::new(head.id, MessageType::Response, OpCode::from_u8(head.opcode));
        message.metadata.recursion_desired = head.recursion_desired;
        message.metadata.checking_disabled = head.checking_disabled;
        message.metadata.response_code = code;
        if let Some(Question { name, kind, class }) = question {
            let mut query = Query::query(name.clone(), *kind);
            query.set_query_class(*class);
            message.add_query(query);
        }
        Self { message, bytes_max: usize::from(u16::MAX), outcome: None }
    }

    /// Puts an answer in.
    #[must_use]
    pub fn with(mut self, answer: &Answer) -> Self {
        self.message.metadata.response_code = answer.code;
        self.message.metadata.authoritative = answer.is_authoritative;
        for (set, section) in [
            (&answer.answers, &mut self.message.answers),
            (&answer.authorities, &mut self.message.authorities),
            (&answer.additionals, &mut self.message.additionals),
        ] {
            section.extend(set.iter().flat_map(|set| set.records()));
        }
        self.outcome = Some(answer.outcome);
        self
    }

    /// Adds EDNS, with what this node can take, and the flags DO and CO.
    #[must_use]
    pub fn extended(mut self, (dnssec_ok, compact_ok): (bool, bool), payload: u16) -> Self {
        let mut edns = Extension::new();
        edns.set_max_payload(payload).set_version(0).set_dnssec_ok(dnssec_ok);
        edns.flags_mut().z = if compact_ok { COMPACT_OK } else { 0 };
        self.message.set_edns(edns);
        self
    }

    /// Adds an option, if there is EDNS.
    #[must_use]
    pub fn option(mut self, code: u16, data: Vec<u8>) -> Self {
        if let Some(edns) = &mut self.message.edns {
            edns.options_mut().insert(EdnsOption::Unknown(code, data));
        }
        self
    }

    /// Adds the subnet that was asked for, with how many bits of it made a difference.
    #[must_use]
    pub fn subnet(self, asked: Option<Subnet>, scope: u8) -> Self {
        match asked {
            Some(subnet) => {
                let data = subnet.to_bytes(subnet.scope(scope));
                self.option(SUBNET, data)
            }
            None => self,
        }
    }

    /// Bounds it to a datagram: what whoever asked can take, and what this node allows.
    #[must_use]
    pub fn datagram(mut self, edns: Option<&Edns>, allowed: u16) -> Self {
        let taken = edns.map_or(PLAIN_MAX, |edns| edns.payload);
        self.bytes_max = usize::from(taken.min(allowed));
        self
    }

    /// Takes the records out and says so.
    pub fn truncate(&mut self) {
        self.message.metadata.truncation = true;
        self.message.answers.clear();
        self.message.authorities.clear();
        self.message.additionals.clear();
    }

    /// The bytes of it.
    ///
    /// # Errors
    /// A record cannot be written.
    pub fn to_bytes(&mut self) -> Result<Vec<u8>, ProtoError> {
        let bytes = self.message.to_vec()?;
        if bytes.len() <= self.bytes_max {
            return Ok(bytes);
        }
        self.truncate();
        self.message.to_vec()
    }
}

/// The largest datagram without EDNS (RFC 1035 4.2.1).
const PLAIN_MAX: u16 = 512;
/// RFC 7871.
const SUBNET: u16 = 8;
/// CO, beside DO (RFC 9824 5.1).
const COMPACT_OK: u16 = 0x4000;

//! An answer as it is compared: what it says, not how its bytes lie.

use hickory_proto::{op::Message, rr::rdata::opt::EdnsOption};

/// What an answer says.
#[derive(Debug, PartialEq)]
pub(super) struct Plain {
    id: u16,
    flags: [u8; 2],
    question: String,
    sections: [Vec<String>; 3],
    /// Payload, version and upper code, DO, and the options by number.
    edns: Option<(u16, u8, u8, bool, Vec<(u16, Vec<u8>)>)>,
}

impl Plain {
    pub(super) fn read(bytes: &[u8]) -> Self {
        let message = Message::from_vec(bytes).expect("a message");
        let texts = |records: &[hickory_proto::rr::Record]| {
            let mut texts: Vec<String> =
                records.iter().map(|record| record.to_string().to_lowercase()).collect();
            texts.sort();
            texts
        };
        let questions: Vec<String> = message.queries.iter().map(ToString::to_string).collect();
        let edns = message.edns.as_ref().map(|edns| {
            let options = edns.options().as_ref().iter();
            let mut options: Vec<_> =
                options.map(|(code, option)| (u16::from(*code), content(option))).collect();
            options.sort();
            (edns.max_payload(), edns.version(), edns.rcode_high(), edns.flags().dnssec_ok, options)
        });
        Self {
            id: message.metadata.id,
            flags: [bytes[2], bytes[3]],
            // As it was written, letter for letter.
            question: questions.join("; "),
            sections: [
                texts(&message.answers),
                texts(&message.authorities),
                texts(&message.additionals),
            ],
            edns,
        }
    }

    pub(super) fn is_truncated(&self) -> bool {
        self.flags[0] & 2 != 0
    }

    /// Whether it asks for a cookie (BADCOOKIE).
    pub(super) fn is_refusal(&self) -> bool {
        self.edns.as_ref().is_some_and(|(_, _, upper, _, _)| *upper == 1)
            && self.flags[1] & 0xf == 7
    }
}

/// The bytes of an option; of a cookie only those of the client, since the others tell the time.
fn content(option: &EdnsOption) -> Vec<u8> {
    let mut bytes = Vec::<u8>::try_from(option).expect("bytes");
    if u16::from(hickory_proto::rr::rdata::opt::EdnsCode::from(option)) == 10 {
        let length = bytes.len() as u8;
        bytes.truncate(8);
        bytes.push(length);
    }
    bytes
}

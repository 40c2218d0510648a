//! An answer as it is compared: what it says, not how its bytes lie.

use hickory_proto::{op::Message, rr::Record};

/// What an answer says.
#[derive(Debug, PartialEq)]
pub(super) struct Plain {
    id: u16,
    flags: [u8; 2],
    question: String,
    sections: [Vec<String>; 3],
    edns: Option<Opt>,
}

/// What its OPT says.
#[derive(Debug, PartialEq)]
struct Opt {
    /// Payload, upper code, version, flags.
    fixed: [u8; 6],
    /// The options by number; of a cookie the bytes of the client and how many there are, since the others tell the time.
    options: Vec<(u16, Vec<u8>)>,
}

impl Plain {
    pub(super) fn read(bytes: &[u8]) -> Self {
        let (records, edns) = without_opt(bytes);
        let message = Message::from_vec(&records).expect("a message");
        let texts = |records: &[Record]| {
            let mut texts: Vec<String> =
                records.iter().map(|record| record.to_string().to_lowercase()).collect();
            texts.sort();
            texts
        };
        let questions: Vec<String> = message.queries.iter().map(ToString::to_string).collect();
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
        self.edns.as_ref().is_some_and(|edns| edns.fixed[2] == 1) && self.flags[1] & 0xf == 7
    }
}

/// The message without its OPT, which is its last record: the library does not read options that say nothing (RFC 7871,
/// 7.1.2, a subnet of no family).
fn without_opt(bytes: &[u8]) -> (Vec<u8>, Option<Opt>) {
    let word = |at: usize| u16::from_be_bytes([bytes[at], bytes[at + 1]]);
    let skip_name = |mut at: usize| loop {
        match bytes[at] {
            0 => return at + 1,
            0xc0.. => return at + 2,
            label => at += 1 + usize::from(label),
        }
    };
    let mut at = 12;
    for _ in 0..word(4) {
        at = skip_name(at) + 4;
    }
    let count = word(6) + word(8) + word(10);
    let mut found = None;
    for _ in 0..count {
        assert!(found.is_none(), "OPT is the last");
        let fixed = skip_name(at);
        let data = fixed + 10;
        let end = data + usize::from(word(fixed + 8));
        if word(fixed) == 41 {
            assert_eq!(bytes[at], 0, "OPT is of the root");
            found = Some((at, fixed, data, end));
        }
        at = end;
    }
    assert_eq!(at, bytes.len(), "nothing comes after it");
    let Some((first, fixed, data, end)) = found else { return (bytes.to_vec(), None) };
    let mut options = Vec::new();
    let mut at = data;
    while at < end {
        let after = at + 4 + usize::from(word(at + 2));
        let mut content = bytes[at + 4..after].to_vec();
        if word(at) == 10 {
            let length = content.len() as u8;
            content.truncate(8);
            content.push(length);
        }
        options.push((word(at), content));
        at = after;
    }
    options.sort();
    let mut records = bytes[..first].to_vec();
    records[10..12].copy_from_slice(&(word(10) - 1).to_be_bytes());
    let fixed = bytes[fixed + 2..fixed + 8].try_into().expect("6 bytes");
    (records, Some(Opt { fixed, options }))
}

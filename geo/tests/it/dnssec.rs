//! What a validator makes of this node's answers: delv of BIND, with the zone's DS as its only anchor.

use std::{net::UdpSocket, path::Path, time::Duration};

use hickory_proto::{
    dnssec::{Verifier, rdata::DNSSECRData},
    op::{Edns, Message, MessageType, OpCode, Query},
    rr::{
        DNSClass, Name, RData, Record, RecordType,
        rdata::opt::{ClientSubnet, EdnsOption},
    },
};

use super::dnssec_node::{SignedNode, has};

#[test]
fn delv_validates_every_kind_of_answer() {
    if !has("delv", "bind9-dnsutils") {
        return;
    }
    let node = SignedNode::start(|_| {});
    let anchors = node.anchors("anchors");
    let mut wrong = vec![];
    for (name, kind, expected) in [
        ("video.example", "A", "; fully validated"),
        ("video.example", "AAAA", "; fully validated"),
        ("video.example", "HTTPS", "; fully validated"),
        ("www.example", "A", "; fully validated"),
        ("example", "SOA", "; fully validated"),
        ("example", "NS", "; fully validated"),
        ("example", "DNSKEY", "; fully validated"),
        ("example", "CDS", "; fully validated"),
        ("example", "CDNSKEY", "; fully validated"),
        ("a.wild.example", "TXT", "; fully validated"),
        ("a.wild.example", "A", "; negative response, fully validated"),
        ("wild.example", "TXT", "; negative response, fully validated"),
        ("video.example", "TXT", "; negative response, fully validated"),
        ("nope.example", "A", "; negative response, fully validated"),
        ("a.b.nope.example", "A", "; negative response, fully validated"),
        ("child.example", "DS", "; negative response, fully validated"),
        ("www.child.example", "A", "; unsigned answer"),
        ("nope.child.example", "A", "; negative response, unsigned answer"),
    ] {
        let said = node.delv(&anchors, name, kind);
        if !said.lines().any(|line| line == expected) {
            wrong.push(format!("{name} {kind}: not {expected}:\n{said}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));

    // Another zone's anchor is believed by nobody.
    node.keys(&["--keys", "others", "generate", "example"]);
    let text = std::fs::read_to_string(&anchors).expect("there");
    let other = node.keys(&["--keys", "others", "ds", "example"]);
    let digest = other.split_whitespace().last().expect("a digest").to_owned();
    let own = text.split('"').nth(1).expect("a digest").to_owned();
    std::fs::write(&anchors, text.replace(&own, &digest)).expect("writable");
    let said = node.delv(&anchors, "video.example", "A");
    assert!(!said.contains("fully validated"), "{said}");
}

#[test]
fn answers_validate_at_every_stage_of_a_roll_over() {
    if !has("delv", "bind9-dnsutils") {
        return;
    }
    let node = SignedNode::start(|_| {});
    let old = node.anchors("old");
    let check = |anchors: &Path, stage: &str| {
        for (name, expected) in [
            ("video.example", "; fully validated"),
            ("nope.example", "; negative response, fully validated"),
        ] {
            let said = node.delv(anchors, name, "A");
            assert!(said.contains(expected), "{stage}: {name}: {said}");
        }
    };
    let keys = || answers(&ask(&node, "example.", RecordType::DNSKEY, None));
    let tag = || {
        let answer = ask(&node, "video.example.", RecordType::A, None);
        let of = |record: &Record| match &record.data {
            RData::DNSSEC(DNSSECRData::RRSIG(rrsig)) => Some(rrsig.input().key_tag),
            _ => None,
        };
        answer.answers.iter().find_map(of).expect("it is signed")
    };
    let first = tag();
    check(&old, "one key");

    node.keys(&["roll", "example"]);
    node.wait("two keys are published", || keys().len() == 2);
    let both = node.anchors("both");
    check(&old, "published, the parent does not know it yet");
    check(&both, "published, the parent knows both");
    assert_eq!(tag(), first);

    node.keys(&["roll", "example", "--ds-seen"]);
    node.keys(&["roll", "example"]);
    node.wait("the new key signs", || tag() != first);
    let new = node.anchors("new");
    for (anchors, parent) in [(&old, "old"), (&both, "both"), (&new, "new")] {
        check(anchors, &format!("the new key signs, the parent knows {parent}"));
    }

    node.keys(&["roll", "example"]);
    node.wait("the old key is gone", || keys().len() == 1);
    check(&both, "removed, the parent knows both");
    check(&new, "removed, the parent knows the new one");
}

#[test]
fn wrong_keys_do_not_take_the_place_of_good_ones() {
    let node = SignedNode::start(|_| {});
    let wrong = node.folder().join("keys/wrong.toml");
    std::fs::write(&wrong, "zone = 7").expect("writable");
    let failures = || node.metric("geo_dnssec_key_reload_failures_total", &[]);
    node.wait("it is noticed", || failures() >= 1.0);
    verify(&node, &ask(&node, "video.example.", RecordType::A, None));
    std::fs::remove_file(&wrong).expect("there");
}

#[test]
fn answers_for_a_subnet_are_signed_each() {
    let node = SignedNode::start(|_| {});
    for (subnet, address) in [("10.1.2.0", "192.0.2.1"), ("10.2.2.0", "198.51.100.1")] {
        let answer = ask(&node, "video.example.", RecordType::A, Some(subnet));
        let shown: Vec<String> =
            answers(&answer).iter().map(|record| record.data.to_string()).collect();
        assert_eq!(shown[0], address, "{subnet}");
        verify(&node, &answer);
        verify(&node, &ask(&node, "video.example.", RecordType::HTTPS, Some(subnet)));
    }
}

#[test]
fn compact_denials_are_told_apart_by_flags() {
    let node = SignedNode::start(|_| {});
    let ask = |flags: u16| {
        let mut edns = Edns::new();
        edns.set_max_payload(1232).flags_mut().z = flags & 0x7fff;
        edns.set_dnssec_ok(flags & 0x8000 != 0);
        exchange(&node, "nope.example.", RecordType::A, edns)
    };
    for (flags, code, proofs) in [(0, 3, 0), (0x8000, 0, 4), (0xc000, 3, 4), (0x4000, 3, 0)] {
        let answer = ask(flags);
        let found = u16::from(answer.metadata.response_code);
        assert_eq!(found, code, "{flags:x}");
        let signed = answer.authorities.len() - 1;
        assert_eq!(signed, if proofs > 0 { 3 } else { 0 }, "{flags:x}");
        assert!(answer.to_vec().expect("good").len() < 1232);
    }
}

#[test]
fn kdig_shows_what_is_there() {
    if !has("kdig", "knot-dnsutils") {
        return;
    }
    let node = SignedNode::start(|_| {});
    let said = node.kdig(&["+dnssec", "+subnet=10.2.0.0/16", "video.example", "A"]);
    for expected in
        ["status: NOERROR", "flags: do", "198.51.100.1", "RRSIG", "CLIENT-SUBNET: 10.2.0.0/16/16"]
    {
        assert!(said.contains(expected), "{expected}: {said}");
    }
    let said = node.kdig(&["+dnssec", "nope.example", "A"]);
    assert!(said.contains("\\000.nope.example. RRSIG NSEC TYPE128"), "{said}");
    let said = node.kdig(&["example", "DNSKEY"]);
    assert!(said.contains("257 3 13") && !said.contains("RRSIG"), "{said}");
}

fn ask(node: &SignedNode, name: &str, kind: RecordType, subnet: Option<&str>) -> Message {
    let mut edns = Edns::new();
    edns.set_max_payload(1232).set_dnssec_ok(true);
    if let Some(subnet) = subnet {
        let subnet = ClientSubnet::new(subnet.parse().expect("an address"), 24, 0);
        edns.options_mut().insert(EdnsOption::Subnet(subnet));
    }
    exchange(node, name, kind, edns)
}

fn exchange(node: &SignedNode, name: &str, kind: RecordType, edns: Edns) -> Message {
    let mut message = Message::new(77, MessageType::Query, OpCode::Query);
    message.add_query(Query::query(Name::from_ascii(name).expect("a name"), kind));
    message.set_edns(edns);
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    socket.set_read_timeout(Some(Duration::from_secs(90))).expect("a wait");
    socket.connect(node.address("udp")).expect("there");
    socket.send(&message.to_vec().expect("good")).expect("sent");
    let mut bytes = [0; 1500];
    let length = socket.recv(&mut bytes).expect("an answer");
    Message::from_vec(&bytes[..length]).expect("a message")
}

/// The records of an answer, without signatures.
fn answers(message: &Message) -> Vec<Record> {
    let is_data = |record: &&Record| record.record_type() != RecordType::RRSIG;
    message.answers.iter().filter(is_data).cloned().collect()
}

/// Whether the one set of an answer is signed by a key of the zone.
fn verify(node: &SignedNode, message: &Message) {
    let keys = ask(node, "example.", RecordType::DNSKEY, None);
    let records = answers(message);
    let owner = &records.first().expect("records").name;
    let is_good = |signature: &Record, key: &Record| match (&signature.data, &key.data) {
        (RData::DNSSEC(DNSSECRData::RRSIG(rrsig)), RData::DNSSEC(DNSSECRData::DNSKEY(key))) => {
            key.verify_rrsig(owner, DNSClass::IN, rrsig, records.iter()).is_ok()
        }
        _ => false,
    };
    let is_signed = message
        .answers
        .iter()
        .any(|signature| keys.answers.iter().any(|key| is_good(signature, key)));
    assert!(is_signed, "{message}");
}

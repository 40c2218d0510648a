//! Zones that are taken, and zones that are refused with line and reason.

use hickory_proto::{
    rr::{Name, RData, RecordType},
    serialize::binary::BinEncodable,
};
use proptest::prelude::*;

use super::*;

/// What the tests of the control plane and of the nodes look at too.
const TABLE: &str = include_str!("../../tests/zones.txt");
const HEAD: &str = "\
$TTL 300
@ SOA ns1 hostmaster 7 3600 600 86400 60
@ NS ns1
ns1 A 192.0.2.53";

fn table() -> impl Iterator<Item = (&'static str, String)> {
    let block = |block: &'static str| {
        let (title, text) = block.split_once('\n').expect("a title and a text");
        (title, text.replace("$HEAD", HEAD))
    };
    TABLE.strip_prefix(";; ").expect("a title").split("\n;; ").map(block)
}

fn zone(lines: &str) -> Zone {
    read("example.test", &format!("{HEAD}\n{lines}\n")).expect("good")
}

fn set(zone: &Zone, name: &str) -> RecordSet {
    let name: Name = format!("{name}.example.test.").parse().expect("a name");
    zone.node(&name).expect("it is there").sets[0].clone()
}

#[test]
fn what_is_wrong_is_said_with_its_line() {
    let (mut wrong, mut count) = (Vec::new(), 0);
    for (title, text) in table() {
        count += 1;
        let told = match read("example.test", &text) {
            Ok(_) => "good: ".to_owned(),
            Err(error @ ZoneError { line: Some(_), .. }) => format!("bad, {error}"),
            Err(error) => format!("bad: {error}"),
        };
        // The line, and a part of the reason.
        let (verdict, reason) = title.split_once(": ").expect("a verdict");
        let is_as_said = told.starts_with(&format!("{verdict}: ")) && told.contains(reason);
        if !(is_as_said || verdict == "good" && told == "good: ") {
            wrong.push(format!("{title}\n{told}"));
        }
    }
    assert!(count > 60 && wrong.is_empty(), "{count}\n{}", wrong.join("\n\n"));
}

#[test]
fn a_zone_is_what_its_text_says() {
    let zone = read(
        "Example.TEST",
        &format!(
            "{HEAD}\n_steer.www TXT \"alpn=h3,h2\"\nmulti TXT ( \"one ; two\"\n \"a\\\"b\\\\\\065\\032\" )\n\
             h HTTPS 1 . alpn=\"h3,h2\" port=8443\nh HTTPS 0 x\n"
        ),
    )
    .expect("good");
    assert_eq!(zone.origin().to_string(), "example.test.");
    assert_eq!((zone.authority().serial, zone.records()), (7, 6));
    let www = zone.node(&"www.example.test.".parse().unwrap()).expect("it is steered");
    assert_eq!(www.steered.as_ref().map(|steered| steered.port), Some(443));
    let multi = set(&zone, "multi");
    let RData::TXT(text) = &multi.data[0] else { panic!("text") };
    let strings: Vec<&[u8]> = text.txt_data.iter().map(|string| &**string).collect();
    assert_eq!(strings, [&b"one ; two"[..], b"a\"b\\A "]);
    let https = set(&zone, "h");
    let [RData::HTTPS(https), RData::HTTPS(alias)] = &*https.data else { panic!("two") };
    assert_eq!(https.to_string(), "1 . alpn=h3,h2, port=8443");
    assert_eq!(alias.0.target_name.to_string(), "x.example.test.");
    let names = zone.names().filter(|(name, _)| name.iter().next() == Some(b"_steer")).count();
    assert_eq!(names, 0);
}

#[test]
fn data_by_its_bytes_is_sent_as_it_is_written() {
    let zone = zone(
        "x TYPE65280 \\# 4 0a0b 0C0d\nempty TYPE65280 \\# 0\na A \\# 4 c0000201\n\
         mx TYPE15 \\# 11 000a026d780474657374 00\ncaa CAA \\# 14 00056973737565 63612e74657374",
    );
    for (name, kind, bytes, text) in [
        ("x", RecordType::Unknown(65280), &[10, 11, 12, 13][..], "TYPE65280 \\# 4 0a0b0c0d"),
        ("empty", RecordType::Unknown(65280), &[], "TYPE65280 \\# 0"),
        ("a", RecordType::A, &[192, 0, 2, 1], "A 192.0.2.1"),
        ("mx", RecordType::MX, b"\0\x0a\x02mx\x04test\0", "MX 10 mx.test."),
        ("caa", RecordType::CAA, b"\0\x05issueca.test", "CAA 0 issue \"ca.test\""),
    ] {
        let set = set(&zone, name);
        assert_eq!(set.kind, kind, "{name}");
        assert_eq!(set.data[0].to_bytes().expect("written"), bytes, "{name}");
        let shown = line(&set.records().next().expect("one"));
        assert_eq!(shown, format!("{name}.example.test. 300 IN {text}"));
    }
}

/// However odd the data, a file of what is shown is the same zone again.
#[test]
fn what_is_written_to_a_file_reads_the_same() {
    let first = zone(
        "t TXT \"a b\" \"\" \"q\\\"q\\\\ \\000\\255;()\"\n\
         x TYPE65280 \\# 4 0a0b0c0d\ne TYPE65281 \\# 0\n\
         h HTTPS 1 . alpn=\"h3,h2\" port=8443 ipv4hint=192.0.2.1\nalias HTTPS 0 other\n\
         caa CAA 0 issue \"ca.test; a=b\"\nm MX 10 mail\ns SRV 1 2 3 target\nds NS ns1\nds DS 7 13 2 0A0B\n\
         hi HINFO \"a cpu\" \"an os\"\nn NAPTR 1 2 \"u\" \"E2U+sip\" \"!^.*$!sip:a@b!\" .\n\
         l TLSA 3 1 1 0a0b\nf SSHFP 1 2 0a0b\np PTR host\nk OPENPGPKEY AAAA\nc CSYNC 7 3 A NS\n\
         xn--bcher-kva CNAME xn--bcher-kva.example.test.",
    );
    let records = first.names().flat_map(|(_, node)| &node.sets).flat_map(|set| set.records());
    let lines: Vec<String> = records.map(|record| file_line(&record)).collect();
    let again = read("example.test", &lines.join("\n")).expect("a zone");
    assert_eq!(again, first, "{lines:#?}");
    // Words where words do, so that people can read it.
    for text in
        [" TXT \"a b\" \"\" \"q", " HTTPS 1 . alpn=h3,h2 port=8443", " MX 10 mail.example.test."]
    {
        assert!(lines.iter().any(|line| line.contains(text)), "{text}: {lines:#?}");
    }
}

#[test]
fn a_type_has_a_name_or_a_number() {
    for (word, expected) in [
        ("a", Some(RecordType::A)),
        ("TYPE28", Some(RecordType::AAAA)),
        ("type65280", Some(RecordType::Unknown(65280))),
        ("TYPE", None),
        ("TYPE-1", None),
        ("TYPE65536", None),
        ("AA", None),
    ] {
        assert_eq!(kind(word), expected, "{word}");
    }
}

#[test]
fn a_name_of_a_zone_is_written_in_one_way() {
    let text = format!("{HEAD}\n");
    for name in ["", ".", "a..b", "example.test.", &"x".repeat(300)] {
        assert!(read(name, &text).is_err(), "{name}");
    }
    let long = format!("{text}{}", "; much\n".repeat(3_000_000));
    let error = read("example.test", &long).expect_err("too long").to_string();
    assert!(error.contains("bytes of a zone: at most"), "{error}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    /// Pieces of zones in any order are a zone or are refused; nothing else happens.
    #[test]
    fn no_text_does_harm(pieces in prop::collection::vec(prop::sample::select(vec![
        "@ ", "$TTL 300\n", "$ORIGIN ", "$ORIGIN sub\n", "\n", " ", "\t", "(", ")", "\"", "\\", "\\0", "\\300", ";", "A ", "192.0.2.1 ",
        "SOA ns1 hostmaster 7 3600 600 86400 60\n", "NS ns1\n", "ns1 A 192.0.2.53\n", "TXT ", "\"x\" ", "HTTPS 1 . alpn=h3\n", "HTTPS ",
        "SVCB ", "1 ", ". ", "alpn= ", "port=x ", "key65535=\"x\" ", "mandatory=alpn ", "CAA 0 issue \"x\"\n", "CAA ", "MX 10 m\n", "MX ", "TLSA 3 1 1 00\n", "TLSA ",
        "SRV 1 2 3 x\n", "DS 1 13 2 00\n", "NAPTR ", "CERT ", "SSHFP ", "CSYNC ", "OPENPGPKEY ", "SMIMEA ", "HINFO ", "\u{e4}", "*", "_steer.", "1w ", "4294967296 ",
        "99999999999999999999 ", "IN ", "CH ", "CLASS1 ", "ANY ", "TYPE65280 ", "TYPE64 ", "TYPE43 ", "\\# 1 00", "\\# 0", "\\# 4 0001 0000", "\\# 9 ", "00", "\u{0}", "\r\n",
    ]), 0..40)) {
        let _ = read("example.test", &pieces.concat());
        let _ = read("example.test", &format!("{HEAD}\n{}", pieces.concat()));
    }

    /// So does data by its bytes, of every type.
    #[test]
    fn no_bytes_do_harm(number in any::<u16>(), bytes in prop::collection::vec(any::<u8>(), 0..40)) {
        let digits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        let text = format!("{HEAD}\nx.y TYPE{number} \\# {} {digits}\n", bytes.len());
        if let Ok(zone) = read("example.test", &text)
            && let Some(node) = zone.node(&"x.y.example.test.".parse().unwrap())
        {
            prop_assert_eq!(node.sets[0].data[0].to_bytes().expect("written"), bytes);
        }
    }
}

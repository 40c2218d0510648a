//! Zones as they are read, refused, replaced.

use std::collections::BTreeMap;

use hickory_proto::rr::{RData, RecordType};
use proptest::prelude::*;

use super::{master_file::read, *};

const GOOD: &str = "\
$TTL 300
@ SOA ns1 hostmaster 7 3600 600 86400 60
@ NS ns1
ns1 A 192.0.2.53
_steer.www TXT \"alpn=h3,h2\"
multi TXT ( \"one ; two\"
            \"three\" \"a\\\"b\\\\\\065\\032\" ) ; a comment (
alias CNAME www
h HTTPS 1 . alpn=\"h3,h2\" port=8443
h HTTPS 0 x
sub NS ns.sub
ns.sub A 192.0.2.54
";

fn refused(text: &str) -> String {
    read("z/example.test.zone", "example.test", text).expect_err("it is wrong").to_string()
}

#[test]
fn a_zone_is_read() {
    let zone = read("example.test", "Example.TEST", GOOD).expect("good");
    assert_eq!(zone.origin().to_string(), "example.test.");
    assert_eq!((zone.authority().serial, zone.records()), (7, 9));
    let www = zone.node(&"www.example.test.".parse().unwrap()).expect("it is steered");
    assert_eq!(www.steered.as_ref().map(|steered| steered.port), Some(443));
    let multi = zone.node(&"multi.example.test.".parse().unwrap()).expect("it is there");
    let RData::TXT(text) = &multi.sets[0].data[0] else { panic!("text") };
    let strings: Vec<&[u8]> = text.txt_data.iter().map(|string| &**string).collect();
    assert_eq!(strings, [&b"one ; two"[..], b"three", b"a\"b\\A "]);
    let https = zone.node(&"h.example.test.".parse().unwrap()).expect("it is there");
    let [RData::HTTPS(https), RData::HTTPS(alias)] = &*https.sets[0].data else { panic!("two") };
    assert_eq!(https.to_string(), "1 . alpn=h3,h2, port=8443");
    assert_eq!(alias.0.target_name.to_string(), "x.example.test.");
    let names = zone.names().filter(|(name, _)| name.iter().next() == Some(b"_steer")).count();
    assert_eq!(names, 0);
}

#[test]
fn what_is_wrong_is_said_with_the_line() {
    for (change, with, reason) in [
        ("ns1 A 192.0.2.53", "ns1 A 192.0.2.530", ", line 4: "),
        ("ns1 A 192.0.2.53", "ns1 AA 192.0.2.53", ", line 4: "),
        ("\\032\" )", "\\032\"", ", line 6: a parenthesis is not closed"),
        ("sub NS ns.sub", "sub", ", line 11: there is no type"),
        ("$TTL 300\n", "", ", line 1: there is no TTL"),
        ("$TTL 300", "$TTL 300\n$INCLUDE /etc/passwd", ", line 2: $INCLUDE is not done"),
        ("$TTL 300", "$TTL 300\n$generate 1-2 x", ", line 2: a directive has one argument"),
        ("ns1 A 192.0.2.53", "x TXT \"\\256\"", ", line 4: \\DDD is 000 to 255"),
        ("ns1 A 192.0.2.53", "x TXT", ", line 4: a TXT record has a string"),
        ("ns1 A 192.0.2.53", "\\065 A 192.0.2.53", ", line 4: bytes by their numbers"),
        ("ns1 A 192.0.2.53", "@ CAA 0 issue \"\\065\"", ", line 4: bytes by their numbers"),
        ("$TTL 300", "$TTL never", ", line 1: $TTL is no time"),
        (
            "alias CNAME www",
            "alias CNAME www\nalias CNAME x",
            ", line 9: alias.example.test. has two CNAME",
        ),
        ("alias CNAME www", "alias CNAME www\nx MX 10", ", line 9: "),
        ("ns1 A 192.0.2.53", "n\u{e4} A 192.0.2.53", ", line 4: "),
    ] {
        let said = refused(&GOOD.replace(change, with));
        assert!(said.starts_with("z/example.test.zone") && said.contains(reason), "{with}: {said}");
    }
}

#[test]
fn what_breaks_a_rule_is_refused_with_the_name() {
    for (line, reason) in [
        ("www.example.net. A 192.0.2.1", "outside of the zone"),
        ("x SOA ns1 hostmaster 7 3600 600 86400 60", "is not the name of the zone"),
        ("@ SOA ns1 hostmaster 8 3600 600 86400 60", "has two SOA records"),
        ("alias A 192.0.2.1", "a CNAME record and others"),
        ("alias CNAME other", "two CNAME records"),
        ("@ CNAME other", "a CNAME record and others"),
        ("@ NS alias", "is an alias"),
        ("@ NS ns9", "has no address"),
        ("deep.sub NS ns.sub", "at or below a name that others serve"),
        ("sub TXT \"x\"", "at or below"),
        ("x.sub TXT \"x\"", "at or below"),
        ("_steer.sub TXT \"port=1\"", "has NS records"),
        ("_steer.x.sub TXT \"port=1\"", "at or below"),
        (
            "x DS 60485 13 2 D4B7D520E7BB5F0F67674A0CCEB1E3E0614B93C4F9E99B8383F6A1E4469DA50A",
            "is not delegated",
        ),
        ("*.w NS ns1", "is a wildcard"),
        ("www A 192.0.2.1", "is steered and has A"),
        ("www CNAME x", "is steered and has CNAME"),
        ("_steer.w A 192.0.2.1", "something else than one TXT"),
        ("_steer.w TXT \"ttl=5\"", "there is no option"),
        ("_steer.www TXT \"port=5\"", "something else than one TXT"),
        ("_steer.www A 192.0.2.1", "something else than one TXT"),
        ("x CH TXT \"x\"", "the class is IN"),
        ("x 2147483648 TXT \"x\"", "a TTL is at most"),
        ("x ANAME www", "are not served from files"),
    ] {
        let said = refused(&format!("{GOOD}{line}\n"));
        assert!(said.contains(reason), "{line}: {said}");
    }
    for (change, reason) in [("@ SOA", "no SOA"), ("@ NS", "no NS records")] {
        let text: Vec<&str> = GOOD.lines().filter(|line| !line.starts_with(change)).collect();
        assert!(refused(&text.join("\n")).contains(reason));
    }
    for name in ["", ".", "a..b", &"x".repeat(300)] {
        assert!(read("feed", name, GOOD).is_err(), "{name}");
    }
    let long = format!("{GOOD}{}", "; much\n".repeat(3_000_000));
    assert!(refused(&long).contains("bytes of a zone: at most"));
}

#[test]
fn a_wrong_text_leaves_its_zone_and_the_others_alone() {
    let table = ZoneTable::new();
    let take = |texts: &[(&str, &str)]| {
        let texts: BTreeMap<String, String> =
            texts.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect();
        table.take_feed(&texts).len()
    };
    let serial = |origin: &str| {
        let zones = table.newest_full();
        let origin = origin.parse().unwrap();
        zones.find(&origin, RecordType::A).map(|zone| zone.authority().serial)
    };
    let mut changes = table.changes();
    assert_eq!(take(&[("a.test", GOOD), ("b.test", GOOD)]), 0);
    assert!(changes.has_changed().unwrap());
    changes.mark_unchanged();
    let newer = GOOD.replace("hostmaster 7", "hostmaster 8");
    assert_eq!(take(&[("a.test", "wrong"), ("b.test", &newer)]), 1);
    assert_eq!((serial("a.test."), serial("b.test.")), (Some(7), Some(8)));
    // It is said once, and shown for as long as it lasts.
    assert_eq!(take(&[("a.test", "wrong"), ("b.test", &newer)]), 0);
    let standing = table.standing();
    assert!(
        standing[0].error.as_ref().unwrap().starts_with("a.test of the control plane, line 1: "),
        "{standing:?}"
    );
    assert_eq!((standing[0].serial, standing[1].error.as_ref()), (Some(7), None));
    assert_eq!(take(&[("b.test", &newer)]), 0);
    assert_eq!((serial("a.test."), serial("b.test.")), (None, Some(8)));
    changes.mark_unchanged();
    assert_eq!(take(&[("b.test", &newer)]), 0);
    assert!(!changes.has_changed().unwrap());
}

#[test]
fn a_file_goes_before_the_control_plane() {
    let (table, folder) = (ZoneTable::new(), tempfile::tempdir().unwrap());
    let newer = GOOD.replace("hostmaster 7", "hostmaster 8");
    std::fs::write(folder.path().join("a.test.zone"), &newer).unwrap();
    std::fs::write(folder.path().join("a.test.zone~"), "an editor's").unwrap();
    std::fs::write(folder.path().join(".b.test.zone"), "hidden").unwrap();
    assert!(table.take_folder(folder.path()).unwrap().is_empty());
    table.take_feed(&[("a.test".to_owned(), GOOD.to_owned())].into());
    let serial = || {
        let zones = table.newest_full();
        zones.all().map(|zone| zone.authority().serial).collect::<Vec<_>>()
    };
    assert_eq!(serial(), [8]);
    std::fs::write(folder.path().join("a.test.zone"), b"\xff").unwrap();
    assert_eq!(table.take_folder(folder.path()).unwrap().len(), 1);
    assert_eq!(serial(), [8]);
    std::fs::remove_file(folder.path().join("a.test.zone")).unwrap();
    assert!(table.take_folder(folder.path()).unwrap().is_empty());
    assert_eq!(serial(), [7]);
    assert!(table.take_folder(&folder.path().join("none")).is_err());
    // One zone is in one file.
    std::fs::write(folder.path().join("a.test.zone"), GOOD).unwrap();
    assert!(table.take_folder(folder.path()).unwrap().is_empty());
    std::fs::write(folder.path().join("A.test.zone"), &newer).unwrap();
    let taken = table.take_folder(folder.path()).unwrap();
    assert!(taken.len() == 1 && taken[0].to_string().contains("a.test.zone has this zone already"));
    assert!(table.take_folder(folder.path()).unwrap().is_empty());
    assert_eq!(serial(), [7]);
    // A zone of the control plane may be called as files are.
    table.take_feed(&[("b.zone".to_owned(), GOOD.to_owned())].into());
    assert!(table.newest_full().find(&"b.zone.".parse().unwrap(), RecordType::A).is_some());
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
        "99999999999999999999 ", "IN ", "CH ", "ANY ", "TYPE65280 ", "\\# 1 00", "\u{0}", "\r\n",
    ]), 0..40)) {
        let _ = read("feed", "example.test", &pieces.concat());
        let _ = read("feed", "example.test", &format!("{GOOD}{}", pieces.concat()));
    }
}

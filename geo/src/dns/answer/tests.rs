//! What is answered, as tables.

use proptest::prelude::*;

use super::*;
use crate::dns::testing::{FLEET, name, world, zones};

fn asked(of: &str, kind: RecordType, client: &str) -> Answer {
    let query = Query {
        name: &name(of),
        kind,
        dnssec_ok: false,
        compact_ok: false,
        client: client.parse().unwrap(),
        subnet: None,
    };
    answer(&zones(), &world(FLEET), &query)
}

/// `OWNER TTL TYPE DATA` of each record.
fn lines(sets: &[RecordSet]) -> Vec<String> {
    let records = sets.iter().flat_map(RecordSet::records);
    let line = |record: hickory_proto::rr::Record| {
        let (name, ttl, kind) = (&record.name, record.ttl, record.record_type());
        format!("{name} {ttl} {kind} {}", record.data)
    };
    records.map(line).collect()
}

fn kinds(answer: &Answer) -> Vec<String> {
    let denial = answer.denial.as_ref().expect("something is denied");
    let mut kinds: Vec<String> = denial.kinds.iter().map(ToString::to_string).collect();
    kinds.sort();
    kinds
}

const FRA: &str = "10.0.7.7";
const SYD: &str = "10.1.7.7";
const SOA: &str =
    "example.test. 60 SOA ns1.example.test. hostmaster.example.test. 7 3600 600 86400 60";

#[test]
fn records_are_answered_with_nothing_beside_them() {
    for (of, kind, expected) in [
        ("static.example.test.", RecordType::A, vec!["static.example.test. 300 A 192.0.2.80"]),
        ("STATIC.example.TEST.", RecordType::A, vec!["STATIC.example.TEST. 300 A 192.0.2.80"]),
        ("a.b.deep.example.test.", RecordType::A, vec!["a.b.deep.example.test. 300 A 192.0.2.81"]),
        ("example.test.", RecordType::CAA, vec!["example.test. 300 CAA 0 issue \"ca.test\""]),
        (
            "example.test.",
            RecordType::NS,
            vec!["example.test. 300 NS ns1.example.test.", "example.test. 300 NS ns.other.test."],
        ),
        (
            "alias.example.test.",
            RecordType::CNAME,
            vec!["alias.example.test. 300 CNAME www.example.test."],
        ),
        ("x.wild.example.test.", RecordType::A, vec!["x.wild.example.test. 300 A 192.0.2.82"]),
        ("x.y.wild.example.test.", RecordType::A, vec!["x.y.wild.example.test. 300 A 192.0.2.82"]),
        ("*.wild.example.test.", RecordType::A, vec!["*.wild.example.test. 300 A 192.0.2.82"]),
    ] {
        let answer = asked(of, kind, FRA);
        assert_eq!(lines(&answer.answers), expected, "{of}");
        assert_eq!((answer.code, answer.outcome), (ResponseCode::NoError, Outcome::Records));
        assert!(answer.is_authoritative && answer.denial.is_none() && answer.scope == 0);
        assert!(answer.authorities.is_empty() && answer.additionals.is_empty(), "{of}");
    }
}

#[test]
fn what_is_not_there_is_denied_for_as_long_as_the_zone_says() {
    use Outcome::{Missing, NoData};
    for (of, kind, outcome, has) in [
        ("static.example.test.", RecordType::AAAA, NoData, vec!["A", "TXT"]),
        ("deep.example.test.", RecordType::A, NoData, vec![]),
        ("b.deep.example.test.", RecordType::A, NoData, vec![]),
        ("wild.example.test.", RecordType::A, NoData, vec![]),
        ("x.wild.example.test.", RecordType::TXT, NoData, vec!["A"]),
        ("host.wild.example.test.", RecordType::A, NoData, vec!["TXT"]),
        ("missing.example.test.", RecordType::A, Missing, vec![]),
        ("x.host.wild.example.test.", RecordType::A, Missing, vec![]),
        ("x.static.example.test.", RecordType::A, Missing, vec![]),
        ("_steer.www.example.test.", RecordType::TXT, Missing, vec![]),
        ("v.example.test.", RecordType::MX, NoData, vec!["A", "AAAA", "HTTPS", "TXT"]),
        ("www.example.test.", RecordType::TXT, NoData, vec!["A", "AAAA", "HTTPS"]),
        ("signed.example.test.", RecordType::A, Outcome::Referral, vec![]),
    ] {
        let answer = asked(of, kind, FRA);
        assert_eq!(answer.outcome, outcome, "{of}");
        if outcome == Outcome::Referral {
            continue;
        }
        let is_missing = outcome == Missing;
        assert_eq!(answer.code == ResponseCode::NXDomain, is_missing, "{of}");
        assert!(answer.is_authoritative && answer.answers.is_empty() && answer.scope == 0);
        assert_eq!(lines(&answer.authorities), [SOA], "{of}");
        assert_eq!(kinds(&answer), has, "{of}");
        let denial = answer.denial.unwrap();
        assert_eq!((denial.name, denial.ttl), (name(of), 60));
    }
    // Of SOA's own TTL and what it says of denials, the shorter counts.
    let second = asked("none.second.test.", RecordType::A, FRA);
    assert_eq!(second.authorities[0].ttl, 60);
}

#[test]
fn aliases_are_followed_within_our_zones() {
    use Outcome::{Missing, NoData, Records};
    for (of, kind, outcome, count, last) in [
        ("chain", RecordType::A, Records, 3, "www.example.test. 20 A 192.0.2.1"),
        ("other", RecordType::A, Records, 1, "other.example.test. 300 CNAME www.example.net."),
        ("there", RecordType::TXT, Records, 2, "x.second.test. 30 TXT there"),
        ("there", RecordType::A, Records, 1, "there.example.test. 300 CNAME x.second.test."),
        (
            "nowhere",
            RecordType::A,
            Missing,
            1,
            "nowhere.example.test. 300 CNAME missing.example.test.",
        ),
        ("into", RecordType::A, Records, 1, "into.example.test. 300 CNAME x.sub.example.test."),
        ("loop1", RecordType::A, Records, 2, "loop2.example.test. 300 CNAME loop1.example.test."),
        ("alias", RecordType::CNAME, Records, 1, "alias.example.test. 300 CNAME www.example.test."),
        ("chain", RecordType::CAA, Records, 2, "alias.example.test. 300 CNAME www.example.test."),
        ("x", RecordType::A, Missing, 0, ""),
        ("v", RecordType::CNAME, NoData, 0, ""),
    ] {
        let answer = asked(&format!("{of}.example.test."), kind, FRA);
        assert_eq!((answer.outcome, answer.answers.len()), (outcome, count), "{of} {kind}");
        let found = lines(&answer.answers);
        assert_eq!(found.get(count.wrapping_sub(1)).map_or("", |line| line), last, "{of} {kind}");
        assert!(answer.is_authoritative, "{of}");
    }
    let denied = asked("there.example.test.", RecordType::A, FRA);
    assert_eq!(denied.denial.unwrap().zone.origin(), &name("second.test."));
    assert_eq!(asked("chain.example.test.", RecordType::A, FRA).scope, 20);
}

#[test]
fn others_zones_are_referred_to_with_glue() {
    for of in ["sub.example.test.", "a.b.sub.example.test.", "ns.sub.example.test."] {
        let answer = asked(of, RecordType::A, FRA);
        assert_eq!((answer.outcome, answer.is_authoritative), (Outcome::Referral, false), "{of}");
        assert_eq!(
            lines(&answer.authorities),
            [
                "sub.example.test. 300 NS ns.sub.example.test.",
                "sub.example.test. 300 NS ns2.example.net.",
            ]
        );
        assert_eq!(
            lines(&answer.additionals),
            ["ns.sub.example.test. 300 A 192.0.2.84", "ns.sub.example.test. 300 AAAA 2001:db8::84"]
        );
        assert!(answer.denial.is_none() && answer.answers.is_empty());
        assert_eq!(answer.common, Some(name("sub.example.test.")));
    }
    let secure = |of: &str, kind| {
        let query = Query {
            name: &name(of),
            kind,
            dnssec_ok: true,
            compact_ok: false,
            client: FRA.parse().unwrap(),
            subnet: None,
        };
        answer(&zones(), &world(FLEET), &query)
    };
    let plain = secure("x.sub.example.test.", RecordType::A);
    assert_eq!(
        (kinds(&plain), plain.denial.unwrap().name),
        (vec!["NS".to_owned()], name("sub.example.test."))
    );
    let signed = secure("x.signed.example.test.", RecordType::A);
    assert!(lines(&signed.authorities)[1].starts_with("signed.example.test. 300 DS 60485 "));
    assert!(signed.denial.is_none());
    // DS records are of the zone above.
    let ds = secure("signed.example.test.", RecordType::DS);
    assert_eq!((ds.outcome, ds.answers.len(), ds.is_authoritative), (Outcome::Records, 1, true));
    let none = secure("sub.example.test.", RecordType::DS);
    assert_eq!((none.outcome, kinds(&none)), (Outcome::NoData, vec!["NS".to_owned()]));
    // Below, they are of the other zone.
    assert_eq!(secure("x.signed.example.test.", RecordType::DS).outcome, Outcome::Referral);
    // Of a zone whose parent is not here, there are none.
    assert_eq!(secure("example.test.", RecordType::DS).outcome, Outcome::NoData);
}

#[test]
fn a_steered_name_has_what_the_pop_of_the_client_has() {
    for (of, kind, client, expected) in [
        (
            "www",
            RecordType::A,
            FRA,
            vec!["www.example.test. 20 A 192.0.2.1", "www.example.test. 20 A 192.0.2.2"],
        ),
        ("www", RecordType::AAAA, FRA, vec!["www.example.test. 20 AAAA 2001:db8::1"]),
        ("www", RecordType::A, SYD, vec!["www.example.test. 20 A 198.51.100.1"]),
        ("v", RecordType::TXT, SYD, vec!["v.example.test. 300 TXT beside"]),
        ("7.any", RecordType::A, SYD, vec!["7.any.example.test. 20 A 198.51.100.1"]),
    ] {
        let answer = asked(&format!("{of}.example.test."), kind, client);
        let found = lines(&answer.answers);
        assert_eq!(found[..expected.len()], expected, "{of} {kind} {client}");
        assert_eq!(answer.scope, if kind == RecordType::TXT { 0 } else { 20 });
    }
    let none = asked("www.example.test.", RecordType::AAAA, SYD);
    assert_eq!((none.outcome, none.scope), (Outcome::NoData, 20));
    assert_eq!(kinds(&none), ["A", "HTTPS"]);
    // Not for longer than the PoP may be the client's.
    assert_eq!((none.authorities[0].ttl, none.denial.unwrap().ttl), (20, 20));
}

#[test]
fn https_records_name_protocols_port_and_the_addresses_of_the_pop() {
    let of = |of: &str, client| {
        let answer = asked(&format!("{of}.example.test."), RecordType::HTTPS, client);
        let [set] = &answer.answers[..] else { panic!("one set") };
        let [RData::HTTPS(HTTPS(svcb))] = &*set.data else { panic!("one record") };
        assert!(svcb.svc_priority == 1 && svcb.target_name.is_root());
        svcb.svc_params.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>()
    };
    assert_eq!(
        of("www", FRA),
        ["alpn=h3,h2,", "ipv4hint=192.0.2.1,192.0.2.2,", "ipv6hint=2001:db8::1,"]
    );
    assert_eq!(of("v", SYD), ["alpn=h2,", "port=8443", "ipv4hint=198.51.100.1,"]);
}

#[test]
fn for_whom_a_resolver_asks_is_whom_it_gets() {
    let told =
        |source: u8, address: &str| Subnet { family: 1, source, address: address.parse().unwrap() };
    let first = |client: &str, subnet| {
        let query = Query {
            name: &name("www.example.test."),
            kind: RecordType::A,
            dnssec_ok: false,
            compact_ok: false,
            client: client.parse().unwrap(),
            subnet,
        };
        lines(&answer(&zones(), &world(FLEET), &query).answers)[0].clone()
    };
    let (fra, syd) = ("www.example.test. 20 A 192.0.2.1", "www.example.test. 20 A 198.51.100.1");
    assert_eq!(first(FRA, Some(told(24, "10.1.9.0"))), syd);
    assert_eq!(first(SYD, Some(told(24, "10.0.9.0"))), fra);
    // Nothing is told: the resolver is answered for itself.
    assert_eq!(first(SYD, Some(told(0, "0.0.0.0"))), syd);
}

#[test]
fn what_is_not_ours_or_not_done_is_refused() {
    use ResponseCode::{FormErr, Refused};
    for (of, kind, code) in [
        ("www.example.net.", RecordType::A, Refused),
        ("test.", RecordType::SOA, Refused),
        (".", RecordType::NS, Refused),
        ("www.example.test.", RecordType::ANY, Refused),
        ("example.test.", RecordType::AXFR, Refused),
        ("example.test.", RecordType::IXFR, Refused),
        ("example.test.", RecordType::RRSIG, Refused),
        ("example.test.", RecordType::Unknown(249), Refused),
        ("example.test.", RecordType::Unknown(128), FormErr),
        ("example.test.", RecordType::OPT, FormErr),
    ] {
        let answer = asked(of, kind, FRA);
        assert_eq!((answer.code, answer.outcome), (code, Outcome::Refused), "{of} {kind}");
        assert!(!answer.is_authoritative && answer.authorities.is_empty());
    }
}

#[test]
fn without_a_pop_resolvers_keep_what_they_have() {
    let query = Query {
        name: &name("www.example.test."),
        kind: RecordType::A,
        dnssec_ok: false,
        compact_ok: false,
        client: FRA.parse().unwrap(),
        subnet: None,
    };
    let down = FLEET.replace("capacity", "state = \"down\"\n    capacity");
    let answer = answer(&zones(), &world(&down), &query);
    assert_eq!((answer.code, answer.outcome), (ResponseCode::ServFail, Outcome::Failed));
}

proptest! {
    #[test]
    fn every_question_has_a_regular_answer(
        labels in prop::collection::vec(
            prop::sample::select(vec!["www", "v", "a", "b", "deep", "wild", "host", "*", "any", "sub", "ns", "signed",
                "alias", "loop1", "_steer", "static", "x"]), 0..4),
        zone in prop::sample::select(vec!["example.test.", "second.test.", "test."]),
        kind in 0..300_u16, client in any::<u32>(), source in 0..=32_u8, has_subnet in any::<bool>(),
        dnssec_ok in any::<bool>(),
    ) {
        let of = [labels.join("."), zone.to_owned()].join(".");
        let of = name(of.trim_start_matches('.'));
        let subnet = Subnet { family: 1, source, address: std::net::Ipv4Addr::from(client).into() };
        let query = Query {
            name: &of, kind: kind.into(), dnssec_ok, compact_ok: false,
            client: std::net::Ipv4Addr::from(client).into(), subnet: has_subnet.then_some(subnet),
        };
        let answer = answer(&zones(), &world(FLEET), &query);
        let has_soa = answer.authorities.iter().any(|set| set.kind == RecordType::SOA);
        prop_assert_eq!(has_soa, matches!(answer.outcome, Outcome::NoData | Outcome::Missing)
            || !answer.answers.is_empty() && answer.denial.is_some());
        prop_assert_eq!(answer.code == ResponseCode::NXDomain, answer.outcome == Outcome::Missing);
        prop_assert!(answer.answers.iter().all(|set| !set.data.is_empty() && set.owner.iter().next() != Some(b"_steer")));
        if let Some(first) = answer.answers.first() {
            prop_assert_eq!(&first.owner, &of);
            let last = answer.answers.last().unwrap();
            prop_assert!(last.kind == query.kind || last.kind == RecordType::CNAME);
        }
        if answer.outcome == Outcome::Records && answer.answers.is_empty() {
            prop_assert!(false, "records without records");
        }
    }
}

//! Messages in, messages out: what the handler makes of headers, EDNS, cookies and limits.

use std::net::SocketAddr;

use hickory_proto::{
    op::{Message, MessageType, ResponseCode},
    rr::{DNSClass, RecordType, rdata::opt::EdnsCode},
    serialize::binary::DecodeError,
};
use proptest::prelude::*;

use crate::{
    dns::{
        handler::{Handler, Parts},
        rate,
        testing::{handler, name, parts, world},
        transport::Transport,
    },
    world::Worlds,
};

/// An option: its code and its data.
type Coded = (u16, Vec<u8>);

/// A query as bytes; what tests bend is a field.
#[derive(Clone)]
struct Asked {
    flags: u16,
    name: &'static str,
    kind: RecordType,
    class: DNSClass,
    /// Class and TTL of an OPT record, and its options.
    edns: Option<(u16, u32, Vec<Coded>)>,
}

impl Asked {
    fn of(name: &'static str, kind: RecordType) -> Self {
        Self { flags: 0x0100, name, kind, class: DNSClass::IN, edns: None }
    }

    fn edns(self, options: &[(u16, &[u8])]) -> Self {
        let options = options.iter().map(|(code, data)| (*code, data.to_vec())).collect();
        Self { edns: Some((4096, 0x8000, options)), ..self }
    }

    fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = vec![0x12, 0x34];
        bytes.extend(self.flags.to_be_bytes());
        bytes.extend([0, 1, 0, 0, 0, 0, 0, u8::from(self.edns.is_some())]);
        for label in name(self.name).iter() {
            bytes.push(label.len() as u8);
            bytes.extend(label);
        }
        bytes.push(0);
        bytes.extend(u16::from(self.kind).to_be_bytes());
        bytes.extend(u16::from(self.class).to_be_bytes());
        if let Some((class, ttl, options)) = &self.edns {
            bytes.extend([0, 0, 41]);
            bytes.extend(class.to_be_bytes());
            bytes.extend(ttl.to_be_bytes());
            let length: usize = options.iter().map(|(_, data)| data.len() + 4).sum();
            bytes.extend((length as u16).to_be_bytes());
            for (code, data) in options {
                bytes.extend(code.to_be_bytes());
                bytes.extend((data.len() as u16).to_be_bytes());
                bytes.extend(data);
            }
        }
        bytes
    }
}

fn ask(handler: &Handler, bytes: &[u8], transport: Transport) -> Option<Message> {
    let client: SocketAddr = "10.0.7.7:53535".parse().unwrap();
    let answer = handler.answer_bytes(bytes, client, transport)?;
    Some(Message::from_vec(&answer).expect("a message"))
}

fn asked(asked: &Asked) -> Message {
    ask(&handler(&rate::Config::default()), &asked.to_bytes(), Transport::Udp).expect("an answer")
}

fn option(message: &Message, code: u16) -> Option<Vec<u8>> {
    let option = message.edns.as_ref()?.option(EdnsCode::from(code))?;
    Some(option.try_into().unwrap())
}

const STATIC: &str = "static.example.test.";

#[test]
fn an_answer_has_the_head_and_the_question_of_its_query() {
    let answer =
        asked(&Asked { flags: 0x0110, ..Asked::of("sTaTic.example.test.", RecordType::A) });
    let head = answer.metadata;
    assert_eq!((head.id, head.message_type), (0x1234, MessageType::Response));
    assert!(head.authoritative && head.recursion_desired && head.checking_disabled);
    assert!(!head.recursion_available && !head.truncation && !head.authentic_data);
    assert!(answer.queries[0].name().eq_case(&name("sTaTic.example.test.")));
    assert!(answer.answers[0].name.eq_case(&name("sTaTic.example.test.")));
    // Who says nothing of EDNS is told nothing of it.
    assert!(answer.edns.is_none());
    let extended = asked(&Asked::of(STATIC, RecordType::A).edns(&[]));
    let edns = extended.edns.expect("EDNS");
    assert_eq!((edns.max_payload(), edns.version(), edns.flags().dnssec_ok), (1232, 0, true));
    assert!(edns.options().as_ref().is_empty());
}

#[test]
fn whoever_looks_for_the_fault_is_told_of_it() {
    let nobody =
        Handler::new(Parts { worlds: Worlds::new(world("")), ..parts(&rate::Config::default()) });
    let of = |name, kind| Asked::of(name, kind);
    let other = Asked { class: DNSClass::CH, ..of("version.bind.", RecordType::TXT) };
    for (asked, code, text) in [
        (of("example.net.", RecordType::A), 20, ""),
        (of("example.test.", RecordType::ANY), 21, ""),
        (of("example.test.", RecordType::AXFR), 21, ""),
        (other, 21, ""),
        (of("example.test.", RecordType::Unknown(128)), 30, ""),
        (of("www.example.test.", RecordType::A), 0, "no PoP serves"),
    ] {
        let bytes = asked.clone().edns(&[]).to_bytes();
        let answer = ask(&nobody, &bytes, Transport::Udp).expect("an answer");
        let told = option(&answer, 15).unwrap_or_else(|| panic!("{}: nothing", asked.name));
        assert_eq!((&told[..2], &told[2..]), (&[0, code][..], text.as_bytes()), "{}", asked.name);
        // Without EDNS there is no place for it.
        let plain = ask(&nobody, &asked.to_bytes(), Transport::Udp).expect("an answer");
        assert!(plain.edns.is_none());
    }
    for asked in [of(STATIC, RecordType::A), of("none.example.test.", RecordType::A)] {
        let answer = ask(&nobody, &asked.edns(&[]).to_bytes(), Transport::Udp).expect("an answer");
        assert_eq!(option(&answer, 15), None, "nothing is wrong");
    }
}

#[test]
fn what_is_not_done_is_refused_by_its_code() {
    use ResponseCode::{BADVERS, FormErr, NotImp, Refused};
    let of = |kind| Asked::of("example.test.", kind);
    for (asked_for, code) in [
        (Asked { flags: 0x2000, ..of(RecordType::SOA) }, NotImp),
        (Asked { flags: 0x2800, ..of(RecordType::SOA) }, NotImp),
        (Asked { class: DNSClass::CH, ..Asked::of("version.bind.", RecordType::TXT) }, Refused),
        (Asked { class: DNSClass::CH, ..Asked::of("hostname.bind.", RecordType::TXT) }, Refused),
        (Asked { class: DNSClass::ANY, ..of(RecordType::SOA) }, Refused),
        (of(RecordType::ANY), Refused),
        (of(RecordType::AXFR), Refused),
        (Asked::of("example.net.", RecordType::A), Refused),
        (Asked { edns: Some((512, 1 << 16, vec![])), ..of(RecordType::SOA) }, BADVERS),
        // Of another version nothing is read.
        (
            Asked { edns: Some((512, 255 << 16, vec![(8, vec![9])])), ..of(RecordType::SOA) },
            BADVERS,
        ),
        (of(RecordType::SOA).edns(&[(8, &[0, 3, 24, 0, 1, 2, 3])]), FormErr),
        (of(RecordType::SOA).edns(&[(10, &[1; 7])]), FormErr),
        (of(RecordType::SOA).edns(&[(10, &[1; 15])]), FormErr),
        (of(RecordType::SOA).edns(&[(10, &[1; 41])]), FormErr),
    ] {
        let answer = asked(&asked_for);
        assert_eq!(
            u16::from(answer.metadata.response_code),
            u16::from(code),
            "{} {:?}",
            asked_for.name,
            asked_for.edns
        );
        assert!(answer.answers.is_empty() && answer.authorities.is_empty());
        assert_eq!(answer.edns.is_some(), asked_for.edns.is_some());
        assert_eq!(answer.version(), 0);
    }
}

#[test]
fn options_that_nobody_knows_change_nothing() {
    let answer =
        asked(&Asked::of(STATIC, RecordType::A).edns(&[(100, b"x"), (65001, b""), (12, &[0; 9])]));
    assert_eq!((answer.metadata.response_code, answer.answers.len()), (ResponseCode::NoError, 1));
    assert!(answer.edns.unwrap().options().as_ref().is_empty());
}

#[test]
fn the_subnet_comes_back_with_the_bits_that_made_a_difference() {
    let echoed = |of, kind, data: &[u8]| option(&asked(&Asked::of(of, kind).edns(&[(8, data)])), 8);
    let www = "www.example.test.";
    for (of, kind, data, back) in [
        (www, RecordType::A, &[0, 1, 24, 0, 10, 1, 2][..], &[0, 1, 24, 20, 10, 1, 2][..]),
        (www, RecordType::A, &[0, 1, 32, 0, 10, 1, 2, 3], &[0, 1, 32, 20, 10, 1, 2, 3]),
        (www, RecordType::A, &[0, 1, 8, 0, 10], &[0, 1, 8, 20, 10]),
        (www, RecordType::A, &[0, 1, 0, 0], &[0, 1, 0, 0]),
        (www, RecordType::A, &[0, 2, 0, 0], &[0, 2, 0, 0]),
        (www, RecordType::TXT, &[0, 1, 24, 0, 10, 1, 2], &[0, 1, 24, 0, 10, 1, 2]),
        (STATIC, RecordType::A, &[0, 1, 24, 0, 10, 1, 2], &[0, 1, 24, 0, 10, 1, 2]),
        ("none.example.test.", RecordType::A, &[0, 1, 24, 0, 10, 1, 2], &[0, 1, 24, 0, 10, 1, 2]),
        ("example.net.", RecordType::A, &[0, 1, 24, 0, 10, 1, 2], &[0, 1, 24, 0, 10, 1, 2]),
    ] {
        assert_eq!(echoed(of, kind, data).unwrap(), back, "{of} {data:?}");
    }
    // The library does not read what is of no family.
    let none = Asked::of(www, RecordType::A).edns(&[(8, &[0, 0, 0, 0])]).to_bytes();
    let client = "10.0.7.7:53535".parse().unwrap();
    let bytes =
        handler(&rate::Config::default()).answer_bytes(&none, client, Transport::Udp).unwrap();
    assert!(bytes.ends_with(&[0, 8, 0, 8, 0, 4, 0, 0, 0, 0]) && bytes[7] == 2, "{bytes:?}");
    let six = [0, 2, 56, 0, 0x20, 1, 0xd, 0xb8, 0, 1, 2];
    let back = echoed(www, RecordType::A, &six).unwrap();
    assert_eq!(back[4..], six[4..]);
    assert!(back[2] == 56 && back[3] <= 48, "{back:?}");
    let twice: &[(u16, &[u8])] = &[(8, &[0, 1, 0, 0]), (8, &[0, 1, 0, 0])];
    let answer = asked(&Asked::of(www, RecordType::A).edns(twice));
    assert_eq!(answer.metadata.response_code, ResponseCode::FormErr);
    // Of an answer to what was wrong, no subnet is told.
    assert!(option(&answer, 8).is_none());
}

#[test]
fn the_node_says_its_name_and_how_long_a_connection_may_idle() {
    let query = Asked::of(STATIC, RecordType::A).edns(&[(3, b""), (11, b"")]);
    let over = |transport| {
        let handler = handler(&rate::Config::default());
        ask(&handler, &query.to_bytes(), transport).unwrap()
    };
    assert_eq!(option(&over(Transport::Udp), 3).unwrap(), b"fra-1");
    assert_eq!(option(&over(Transport::Udp), 11), None);
    assert_eq!(option(&over(Transport::Tcp), 11).unwrap(), [0, 100]);
}

#[test]
fn what_does_not_fit_a_datagram_is_cut_and_comes_whole_over_tcp() {
    let handler = handler(&rate::Config::default());
    let mut zone = "@ 60 SOA n.other. h 1 1 1 1 1\n@ 60 NS n.other.\n".to_owned();
    for number in 0..200 {
        zone.push_str(&format!("many 60 TXT \"text number {number}\"\n"));
    }
    for number in 0..20 {
        zone.push_str(&format!("some 60 TXT \"text number {number}\"\n"));
    }
    let wrong = handler.parts().zones.take_feed(&[("big.test".to_owned(), zone)].into());
    assert!(wrong.is_empty(), "{wrong:?}");
    for (of, payload, transport, is_whole) in [
        ("many.big.test.", Some(4096), Transport::Udp, false),
        ("many.big.test.", Some(4096), Transport::Tcp, true),
        ("some.big.test.", None, Transport::Udp, false),
        ("some.big.test.", Some(100), Transport::Udp, false),
        ("some.big.test.", Some(1232), Transport::Udp, true),
        ("some.big.test.", None, Transport::Tcp, true),
    ] {
        let query = Asked {
            edns: payload.map(|bytes| (bytes, 0, vec![])),
            ..Asked::of(of, RecordType::TXT)
        };
        let client = "10.0.7.7:53535".parse().unwrap();
        let bytes = handler.answer_bytes(&query.to_bytes(), client, transport).unwrap();
        let answer = Message::from_vec(&bytes).unwrap();
        assert_eq!(!answer.metadata.truncation, is_whole, "{of} {payload:?} {transport:?}");
        assert_eq!(answer.answers.is_empty(), !is_whole);
        assert_eq!((answer.queries.len(), answer.edns.is_some()), (1, payload.is_some()));
        let most = usize::from(payload.unwrap_or(512).clamp(512, 1232));
        assert!(transport == Transport::Tcp || bytes.len() <= most, "{}", bytes.len());
    }
}

#[test]
fn who_floods_is_cut_short_and_who_shows_a_cookie_is_not() {
    let limits =
        rate::Config { answers_per_second: 1, errors_per_second: 1, ..rate::Config::default() };
    let plain = Asked::of(STATIC, RecordType::A).to_bytes();
    let flooded = || {
        let handler = handler(&limits);
        for _ in 0..3 {
            assert_eq!(ask(&handler, &plain, Transport::Udp).unwrap().answers.len(), 1);
        }
        handler
    };
    let node = flooded();
    let slipped = ask(&node, &plain, Transport::Udp).unwrap();
    assert!(slipped.metadata.truncation && slipped.answers.is_empty());
    assert!(ask(&node, &plain, Transport::Udp).is_none());
    assert!(!ask(&node, &plain, Transport::Tcp).unwrap().answers.is_empty());

    // One that knows cookies is asked for ours; with it, it is answered.
    let node = flooded();
    let own = Asked::of(STATIC, RecordType::A).edns(&[(10, &[5; 8])]).to_bytes();
    let refused = ask(&node, &own, Transport::Udp).unwrap();
    assert_eq!(refused.metadata.response_code, ResponseCode::BADCOOKIE);
    assert!(refused.answers.is_empty() && !refused.metadata.truncation);
    let cookie = option(&refused, 10).unwrap();
    assert_eq!((cookie.len(), &cookie[..8]), (24, &[5; 8][..]));
    let ours = Asked::of(STATIC, RecordType::A).edns(&[(10, &cookie)]).to_bytes();
    for _ in 0..20 {
        assert_eq!(ask(&node, &ours, Transport::Udp).unwrap().answers.len(), 1);
    }
    // What is no message counts as well.
    let node = handler(&limits);
    let broken = [&plain[..plain.len() - 1], &[]].concat();
    let answered = (0..10).filter(|_| ask(&node, &broken, Transport::Udp).is_some()).count();
    assert_eq!(answered, 3 + 4);
}

#[test]
fn many_names_of_one_zone_share_a_limit_where_anybody_can_make_them_up() {
    let limits = rate::Config {
        answers_per_second: 1,
        missing_per_second: 1,
        slip: 0,
        ..rate::Config::default()
    };
    for (zone, passed) in
        [("example.test.", 3), ("wild.example.test.", 3), ("x.sub.example.test.", 3)]
    {
        let handler = handler(&limits);
        let answered = (0..20).filter(|number| {
            let of: &'static str = Box::leak(format!("n{number}.{zone}").into_boxed_str());
            ask(&handler, &Asked::of(of, RecordType::A).to_bytes(), Transport::Udp).is_some()
        });
        assert_eq!(answered.count(), passed, "{zone}");
    }
}

#[test]
fn a_cookie_alone_is_answered_with_a_cookie() {
    let handler = handler(&rate::Config::default());
    let mut bytes =
        vec![0, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 41, 4, 0, 0, 0, 0, 0, 0, 12, 0, 10, 0, 8];
    bytes.extend([9; 8]);
    let answer = ask(&handler, &bytes, Transport::Udp).unwrap();
    assert_eq!((answer.metadata.response_code, answer.queries.len()), (ResponseCode::NoError, 0));
    assert_eq!(option(&answer, 10).unwrap().len(), 24);
    // Without a cookie there is nothing to be said.
    let nothing = &bytes[..23].to_vec();
    let mut nothing = nothing.clone();
    nothing[22] = 0;
    let answer = ask(&handler, &nothing, Transport::Udp).unwrap();
    assert_eq!(answer.metadata.response_code, ResponseCode::FormErr);
}

#[test]
fn what_is_no_query_is_not_answered_and_what_is_no_message_is_refused() {
    let handler = handler(&rate::Config { enabled: false, ..rate::Config::default() });
    let good = Asked::of(STATIC, RecordType::A).edns(&[(3, b"")]).to_bytes();
    let code = |bytes: &[u8]| {
        ask(&handler, bytes, Transport::Udp).map(|answer| answer.metadata.response_code)
    };
    assert_eq!(code(&good), Some(ResponseCode::NoError));
    let bent = |at: usize, value: u8| {
        let mut bytes = good.clone();
        bytes[at] = value;
        code(&bytes)
    };
    // An answer, sent as if it were a query.
    assert_eq!(bent(2, 0x80), None);
    for length in 0..good.len() {
        let expected = (length >= 12).then_some(ResponseCode::FormErr);
        assert_eq!(code(&good[..length]), expected, "{length}");
    }
    assert_eq!(code(&[&good[..], &[0]].concat()), Some(ResponseCode::FormErr));
    // Two questions, two OPT records where one is, a pointer for a name, a label that is none.
    for (at, value) in [(5, 2), (11, 2), (12, 0xc0), (12, 0x40), (12, 64)] {
        assert_eq!(bent(at, value), Some(ResponseCode::FormErr), "{at} {value}");
    }
    // The OPT record of a name.
    let opt = good.len() - 15;
    assert_eq!(good[opt], 0);
    let named = [&good[..opt], &[1, b'x', 0], &good[opt + 1..]].concat();
    assert_eq!(code(&named), Some(ResponseCode::FormErr));
    let mut twice = [&good[..], &good[opt..]].concat();
    twice[11] = 2;
    assert_eq!(code(&twice), Some(ResponseCode::FormErr));
}

proptest! {
    #[test]
    fn no_bytes_do_harm(
        bytes in prop::collection::vec(any::<u8>(), 0..200), bends in prop::collection::vec((0..80_usize, any::<u8>()), 0..6),
    ) {
        let handler = handler(&rate::Config { enabled: false, ..rate::Config::default() });
        let mut bent = Asked::of("www.example.test.", RecordType::A)
            .edns(&[(8, &[0, 1, 24, 0, 10, 1, 2]), (10, &[3; 8])]).to_bytes();
        for (at, value) in bends {
            let at = at % bent.len();
            bent[at] = value;
        }
        for bytes in [bytes, bent] {
            for transport in [Transport::Udp, Transport::Tcp] {
                let client = "10.0.7.7:5".parse().unwrap();
                if let Some(answer) = handler.answer_bytes(&bytes, client, transport) {
                    prop_assert!(answer.len() <= 1232 || transport == Transport::Tcp);
                    prop_assert_eq!(&answer[..2], &bytes[..2]);
                    prop_assert!(answer[2] & 0x80 != 0);
                    // The library does not read subnets of no family.
                    let read = Message::from_vec(&answer);
                    let is_known = |error: &DecodeError| matches!(error, DecodeError::UnknownAddressFamily(0));
                    prop_assert!(read.as_ref().err().is_none_or(is_known), "{read:?}");
                }
            }
        }
    }
}

//! Whatever is asked, the fast path says what the handler says, or leaves it to the handler.

use std::net::SocketAddr;

use proptest::{prelude::*, sample::subsequence};
use tidegate_geo::{dns::rate, fleet::PopState, world::Trust};

use super::{
    plain::Plain,
    stage::{Fast, PopPlan, Stage, world},
};

const HEAD: &str = "\
$TTL 300
@ SOA ns1 hostmaster 7 3600 600 86400 60
@ NS ns1
@ NS ns.other.test.
ns1 A 192.0.2.53
";

/// Lines that a zone may have beside [`HEAD`].
const LINES: [&str; 27] = [
    "_steer.www TXT \"alpn=h3,h2\"",
    "_steer.play TXT \"port=8443\"",
    "_steer TXT \"\"",
    "_steer.a.b.c TXT \"\"",
    "_steer.*.wild TXT \"alpn=h2\"",
    "www TXT \"beside what is steered\"",
    "ns1 AAAA 2001:db8::53",
    "@ MX 10 mx1",
    "@ MX 20 mx.other.test.",
    "@ TXT \"v=spf1 -all\"",
    "@ CAA 0 issue \"ca.test\"",
    "mx1 A 192.0.2.25",
    "mx1 A 192.0.2.26",
    "x.ent 60 TXT \"two labels down\"",
    "alias CNAME www",
    "away CNAME www.other.test.",
    "chain CNAME alias",
    "ring1 CNAME ring2",
    "ring2 CNAME ring1",
    "* TXT \"anything\"",
    "*.star A 192.0.2.99",
    "dele NS ns.dele",
    "ns.dele A 192.0.2.77",
    "_443._tcp SRV 1 2 443 www",
    "svc HTTPS 1 . alpn=h3 ipv4hint=192.0.2.1",
    "UPPER A 192.0.2.66",
    "odd TYPE65280 \\# 3 0a0b0c",
];

const NAMES: [&str; 31] = [
    "cdn.test",
    "www.cdn.test",
    "play.cdn.test",
    "a.b.c.cdn.test",
    "b.c.cdn.test",
    "x.wild.cdn.test",
    "wild.cdn.test",
    "*.wild.cdn.test",
    "ns1.cdn.test",
    "mx1.cdn.test",
    "x.ent.cdn.test",
    "ent.cdn.test",
    "alias.cdn.test",
    "away.cdn.test",
    "chain.cdn.test",
    "ring1.cdn.test",
    "x.star.cdn.test",
    "star.cdn.test",
    "dele.cdn.test",
    "x.dele.cdn.test",
    "missing.cdn.test",
    "y.missing.cdn.test",
    "_443._tcp.cdn.test",
    "svc.cdn.test",
    "upper.cdn.test",
    "odd.cdn.test",
    "_steer.www.cdn.test",
    "sub.cdn.test",
    "www.sub.cdn.test",
    "test",
    "",
];

const TYPES: [u16; 23] =
    [1, 1, 1, 28, 28, 65, 65, 16, 15, 2, 6, 5, 43, 255, 46, 48, 64, 257, 65400, 0, 41, 33, 65280];

#[derive(Debug, Clone)]
struct Asked {
    name: usize,
    /// Labels of any bytes before the name.
    labels: Vec<Vec<u8>>,
    upper: u64,
    record_type: usize,
    flags: [u8; 2],
    edns: Option<Opt>,
    client: usize,
    /// Where a byte is another one, and where the packet ends.
    spoilt: Option<(usize, u8, usize)>,
}

#[derive(Debug, Clone)]
struct Opt {
    payload: u16,
    version: u8,
    flags: [u8; 2],
    options: Vec<(u16, Vec<u8>)>,
}

impl Asked {
    fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = vec![0x12, 0x34, self.flags[0], self.flags[1], 0, 1, 0, 0, 0, 0, 0, 0];
        for label in &self.labels {
            bytes.push(label.len() as u8);
            bytes.extend(label);
        }
        let mut letter = 0;
        for label in NAMES[self.name].split('.').filter(|label| !label.is_empty()) {
            bytes.push(label.len() as u8);
            for byte in label.bytes() {
                letter += 1;
                let is_upper = self.upper >> (letter % 64) & 1 == 1;
                bytes.push(if is_upper { byte.to_ascii_uppercase() } else { byte });
            }
        }
        bytes.push(0);
        bytes.extend(TYPES[self.record_type].to_be_bytes());
        bytes.extend([0, 1]);
        if let Some(Opt { payload, version, flags, options }) = &self.edns {
            bytes[11] = 1;
            bytes.extend([0, 0, 41]);
            bytes.extend(payload.to_be_bytes());
            bytes.extend([0, *version, flags[0], flags[1]]);
            let length: usize = options.iter().map(|(_, data)| 4 + data.len()).sum();
            bytes.extend((length as u16).to_be_bytes());
            for (code, data) in options {
                bytes.extend(code.to_be_bytes());
                bytes.extend((data.len() as u16).to_be_bytes());
                bytes.extend(data);
            }
        }
        if let Some((at, byte, end)) = self.spoilt {
            let at = at % bytes.len();
            bytes[at] = byte;
            bytes.truncate(end.max(1));
        }
        bytes
    }

    fn client(&self) -> SocketAddr {
        let clients = [
            "10.0.0.1",
            "10.1.2.3",
            "10.0.3.4",
            "10.5.0.1",
            "203.0.113.9",
            "2001:db8:2::1",
            "2001:db8:9::1",
        ];
        SocketAddr::new(clients[self.client % clients.len()].parse().expect("good"), 5353)
    }
}

fn subnet() -> impl Strategy<Value = (u16, Vec<u8>)> {
    let good = (0u8..6, 0u8..6, 0u8..=32).prop_map(|(second, third, source)| {
        let address = u32::from_be_bytes([10, second, third, 0])
            & u32::MAX.checked_shl(32 - u32::from(source)).unwrap_or(0);
        let bytes = usize::from(source).div_ceil(8);
        [&[0, 1, source, 0], &address.to_be_bytes()[..bytes]].concat()
    });
    let wide = (0u16..8, 0u8..=128).prop_map(|(third, source)| {
        let whole = u128::from(u32::from_be_bytes([0x20, 1, 0xd, 0xb8])) << 96
            | u128::from(third) << 80
            | 0x1234_5678;
        let address = whole & u128::MAX.checked_shl(128 - u32::from(source)).unwrap_or(0);
        let bytes = usize::from(source).div_ceil(8);
        [&[0, 2, source, 0], &address.to_be_bytes()[..bytes]].concat()
    });
    let bad = prop::collection::vec(0u8..40, 0..9);
    prop_oneof![6 => good, 3 => wide, 1 => Just(vec![0, 0, 0, 0]), 2 => bad]
        .prop_map(|data| (8, data))
}

fn option() -> impl Strategy<Value = (u16, Vec<u8>)> {
    let cookie = prop_oneof![4 => Just(8usize), 2 => Just(24), 1 => 0usize..42]
        .prop_flat_map(|length| prop::collection::vec(any::<u8>(), length));
    let other = (0u16..20, prop::collection::vec(any::<u8>(), 0..6));
    prop_oneof![5 => subnet(), 2 => cookie.prop_map(|data| (10, data)), 1 => other]
}

fn opt() -> impl Strategy<Value = Opt> {
    let payload = prop_oneof![Just(1232), Just(4096), Just(512), Just(0), any::<u16>()];
    let version = prop_oneof![20 => Just(0u8), 1 => any::<u8>()];
    let flags = prop_oneof![4 => Just([0, 0]), 4 => Just([0x80, 0]), 1 => any::<[u8; 2]>()];
    (payload, version, flags, prop::collection::vec(option(), 0..3))
        .prop_map(|(payload, version, flags, options)| Opt { payload, version, flags, options })
}

fn asked() -> impl Strategy<Value = Asked> {
    let flags = prop_oneof![
        6 => Just([0, 0]), 3 => Just([1, 0]), 2 => Just([1, 0x30]), 1 => any::<[u8; 2]>()
    ];
    let spoilt = prop_oneof![
        8 => Just(None),
        1 => (0usize..90, any::<u8>(), 1usize..90).prop_map(Some),
        1 => (0usize..90, any::<u8>()).prop_map(|(at, byte)| Some((at, byte, usize::MAX))),
    ];
    let label = prop_oneof![3 => 1usize..9, 1 => 50usize..64]
        .prop_flat_map(|length| prop::collection::vec(any::<u8>(), length));
    let labels = prop_oneof![6 => Just(vec![]), 1 => prop::collection::vec(label, 1..5)];
    let which = (0..NAMES.len(), labels, any::<u64>(), 0..TYPES.len(), 0usize..7);
    (which, flags, prop::option::of(opt()), spoilt).prop_map(
        |((name, labels, upper, record_type, client), flags, edns, spoilt)| Asked {
            name,
            labels,
            upper,
            record_type,
            flags,
            edns,
            client,
            spoilt,
        },
    )
}

fn pop() -> impl Strategy<Value = PopPlan> {
    let state = prop_oneof![
        4 => Just(PopState::Up), 1 => Just(PopState::Troubled), 1 => Just(PopState::Draining),
        1 => Just(PopState::Down)
    ];
    let capacity = prop_oneof![Just(0.0), Just(10.0), Just(22.0), Just(1000.0)];
    (capacity, state, 0u8..4, 0u8..3).prop_map(|(capacity, state, v4, v6)| PopPlan {
        capacity,
        state,
        v4,
        v6,
    })
}

fn stage() -> impl Strategy<Value = Stage> {
    let trust = prop_oneof![
        4 => Just(Trust::Current),
        1 => Just(Trust::Frozen),
        1 => (0.0f32..1.0).prop_map(|shed| Trust::Alone { own: 0, shed })
    ];
    let world = (prop::collection::vec(pop(), 1..5), trust, 0u64..50)
        .prop_map(|(pops, trust, round)| world(&pops, trust, 2.0, round));
    let lines = subsequence(LINES.to_vec(), 0..=LINES.len());
    let below = subsequence(LINES[..18].to_vec(), 0..=8);
    (lines, prop::option::of(below), world).prop_map(|(lines, below, world)| {
        let text = |lines: Vec<&str>| format!("{HEAD}{}\n", lines.join("\n"));
        let mut zones = vec![("cdn.test", text(lines))];
        zones.extend(below.map(|lines| ("sub.cdn.test", text(lines))));
        Stage::new(&zones, world)
    })
}

impl std::fmt::Debug for Stage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?}", self.zones.standing())
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn what_the_fast_path_says_the_handler_says(
        stage in stage(), questions in prop::collection::vec(asked(), 20), has_cookies in any::<bool>(),
    ) {
        let mut fast = Fast::new(&stage.handler(None, has_cookies));
        for asked in questions {
            let (packet, client) = (asked.to_bytes(), asked.client());
            let Some(own) = fast.answer(&packet, client) else { continue };
            let slow = fast.slow(&packet, client).expect("the handler answers it too");
            prop_assert_eq!(Plain::read(&own), Plain::read(&slow), "{:?}", asked);
        }
    }
}

fn example() -> Stage {
    let lines = "_steer.www TXT \"\"\nmx MX 10 mx1\nmx1 A 192.0.2.25\nother CNAME mx1\n\
        odd TYPE65280 \\# 3 0a0b0c\n";
    let pops = [PopPlan::roomy(), PopPlan { v6: 0, ..PopPlan::roomy() }];
    let world = world(&pops, Trust::Current, 1.0, 3);
    Stage::new(&[("cdn.test", format!("{HEAD}{lines}"))], world)
}

fn question(name: &str, record_type: u16, edns: Option<Opt>) -> Asked {
    Asked {
        name: NAMES.iter().position(|known| *known == name).expect("one of them"),
        labels: vec![],
        upper: 0b1010,
        record_type: TYPES.iter().position(|known| *known == record_type).expect("one of them"),
        flags: [0, 0],
        edns,
        client: 1,
        spoilt: None,
    }
}

fn edns(flags: [u8; 2], options: Vec<(u16, Vec<u8>)>) -> Option<Opt> {
    Some(Opt { payload: 1232, version: 0, flags, options })
}

/// That both agree proves little when the fast path answers nothing.
#[test]
fn common_queries_are_answered_without_the_handler() {
    let stage = example();
    let mut fast = Fast::new(&stage.handler(Some(&rate::Config::default()), true));
    let subnet = (8, vec![0, 1, 24, 0, 10, 0, 3]);
    let wide = (8, vec![0, 2, 48, 0, 0x20, 1, 0x0d, 0xb8, 0, 1]);
    let cookie = (10, vec![7; 8]);
    for (name, record_type, edns) in [
        ("www.cdn.test", 1, None),
        ("www.cdn.test", 28, edns([0, 0], vec![])),
        ("www.cdn.test", 65, edns([0x80, 0], vec![subnet.clone()])),
        ("www.cdn.test", 1, edns([0, 0], vec![wide, cookie.clone()])),
        ("www.cdn.test", 1, edns([0, 0], vec![cookie, subnet])),
        ("www.cdn.test", 16, None),
        ("cdn.test", 6, None),
        ("cdn.test", 2, edns([0x80, 0], vec![])),
        ("cdn.test", 1, None),
        ("missing.cdn.test", 1, edns([0, 0], vec![])),
        ("y.missing.cdn.test", 28, None),
        ("mx1.cdn.test", 1, None),
        ("mx1.cdn.test", 65, None),
        ("odd.cdn.test", 65280, None),
    ] {
        let asked = question(name, record_type, edns);
        let packet = asked.to_bytes();
        let own = fast.answer(&packet, asked.client());
        let own = own.unwrap_or_else(|| panic!("{asked:?} went to the handler"));
        let slow = fast.slow(&packet, asked.client()).expect("answered");
        assert_eq!(Plain::read(&own), Plain::read(&slow), "{asked:?}");
    }
}

#[test]
fn over_the_limit_both_say_the_same() {
    let limits = rate::Config {
        answers_per_second: 1,
        missing_per_second: 1,
        burst_seconds: 1,
        slip: 1,
        ..rate::Config::default()
    };
    for (name, options) in [
        ("www.cdn.test", vec![]),
        ("www.cdn.test", vec![(8, vec![0, 1, 24, 0, 10, 0, 3])]),
        ("www.cdn.test", vec![(10, vec![7; 8])]),
        ("missing.cdn.test", vec![]),
    ] {
        let is_cookie = options.first().is_some_and(|(code, _)| *code == 10);
        let mut fast = Fast::new(&example().handler(Some(&limits), true));
        let asked = question(name, 1, edns([0, 0], options));
        let (packet, client) = (asked.to_bytes(), asked.client());
        // A second may pass in between, and let another answer through.
        let is_over = |answer: &Plain| answer.is_truncated() || is_cookie && answer.is_refusal();
        let own = (0..100)
            .map(|_| Plain::read(&fast.answer(&packet, client).expect("common")))
            .find(is_over)
            .expect("over the limit");
        let slow = (0..100)
            .map(|_| Plain::read(&fast.slow(&packet, client).expect("answered")))
            .find(is_over)
            .expect("over the limit");
        assert_eq!(own, slow, "{asked:?}");
    }
}

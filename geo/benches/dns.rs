//! What a query costs without the network: read, answered from the table, and answered by the handler.

use std::{hint::black_box, net::SocketAddr};

use criterion::{Criterion, criterion_group, criterion_main};
use tidegate_geo::{
    dns::fast::parse::{LowerName, Query},
    world::Trust,
};

#[allow(dead_code)]
#[path = "../tests/it/fast/stage.rs"]
mod stage;

use stage::{Fast, PopPlan, Stage, world};

const ZONE: &str = r#"
$TTL 300
@ SOA ns1 hostmaster 7 3600 600 86400 60
@ NS ns1
ns1 A 192.0.2.53
_steer.www TXT ""
"#;

fn query(name: &str, options: &[(u16, &[u8])]) -> Vec<u8> {
    let mut bytes = vec![0x12, 0x34, 0, 0, 0, 1, 0, 0, 0, 0, 0, 1];
    for label in name.split('.') {
        bytes.push(label.len() as u8);
        bytes.extend(label.bytes());
    }
    bytes.extend([0, 0, 1, 0, 1]);
    let length: usize = options.iter().map(|(_, data)| 4 + data.len()).sum();
    bytes.extend([0, 0, 41, 4, 0xd0, 0, 0, 0, 0, 0, length as u8]);
    for (code, data) in options {
        bytes.extend(code.to_be_bytes());
        bytes.extend((data.len() as u16).to_be_bytes());
        bytes.extend(*data);
    }
    bytes
}

fn queries(criterion: &mut Criterion) {
    let world = world(&vec![PopPlan::roomy(); 6], Trust::Current, 1.0, 3);
    let stage = Stage::new(&[("cdn.test", ZONE.to_owned())], world);
    let mut fast = Fast::new(&stage.handler(None, true));
    let client: SocketAddr = "10.1.2.3:5353".parse().expect("an address");
    let subnet: &[u8] = &[0, 1, 24, 0, 10, 0, 3];
    for (what, packet) in [
        ("steered", query("www.cdn.test", &[])),
        ("steered, for a subnet", query("www.cdn.test", &[(8, subnet)])),
        ("steered, with a cookie", query("www.cdn.test", &[(10, &[7; 8])])),
        ("static", query("ns1.cdn.test", &[])),
        ("missing", query("no.such.cdn.test", &[])),
    ] {
        let mut group = criterion.benchmark_group(what);
        let mut name = LowerName::new();
        group.bench_function("read", |b| {
            b.iter(|| Query::read(black_box(&packet), &mut name).is_some())
        });
        assert!(fast.answer(&packet, client).is_some(), "{what} is the handler's");
        group.bench_function("fast", |b| b.iter(|| fast.length(black_box(&packet), client)));
        group.bench_function("handler", |b| b.iter(|| fast.slow(black_box(&packet), client)));
        group.finish();
    }
}

criterion_group!(benches, queries);
criterion_main!(benches);

//! Any packet: what the fast path says of it the handler says too.
#![no_main]

use std::{cell::RefCell, net::SocketAddr};

use libfuzzer_sys::fuzz_target;
use tidegate_geo::world::Trust;

#[allow(dead_code)]
#[path = "../../tests/it/fast/plain.rs"]
mod plain;
#[allow(dead_code)]
#[path = "../../tests/it/fast/stage.rs"]
mod stage;

use plain::Plain;
use stage::{Fast, PopPlan, Stage, world};

const ZONE: &str = r#"
$TTL 300
@ SOA ns1 hostmaster 7 3600 600 86400 60
@ NS ns1
ns1 A 192.0.2.53
_steer TXT ""
_steer.www TXT "alpn=h3,h2"
_steer.play TXT "port=8443"
www TXT "beside"
alias CNAME www
mx MX 10 ns1
mx MX 20 mx.other.test.
x.ent TXT "below"
"#;

thread_local! {
    static FAST: RefCell<Fast> = RefCell::new({
        let pops = [PopPlan::roomy(), PopPlan { v6: 0, ..PopPlan::roomy() }];
        let world = world(&pops, Trust::Current, 1.0, 3);
        let stage = Stage::new(&[("cdn.test", ZONE.to_owned())], world);
        Fast::new(&stage.handler(None, true))
    });
}

fuzz_target!(|bytes: &[u8]| {
    let client: SocketAddr = "10.1.2.3:5353".parse().expect("an address");
    FAST.with_borrow_mut(|fast| {
        let slow = fast.slow(bytes, client);
        if let Some(own) = fast.answer(bytes, client) {
            let slow = slow.expect("the handler answers it too");
            assert_eq!(Plain::read(&own), Plain::read(&slow));
        }
    });
});

//! A zone is released or refused as it is served or refused: the same table of zones is shown to the nodes of the DNS, in
//! `geo/src/zone/tests.rs`.

use serde_json::json;
use tidegate_contract::{
    id::Generation,
    resource::{Kind, ResourceName},
};

use super::{tests::genesis, *};

const TABLE: &str = include_str!("../../../contract/tests/zones.txt");
const HEAD: &str = "$TTL 300\n@ SOA ns1 hostmaster 7 3600 600 86400 60\n@ NS ns1\nns1 A 192.0.2.53";

#[test]
fn a_change_takes_the_zones_that_nodes_serve_and_no_other() {
    let mut seen = [0, 0];
    for block in TABLE.split(";; ").filter(|block| !block.is_empty()) {
        let (title, text) = block.split_once('\n').expect("a title and a text");
        let spec = json!({ "zone": text.replace("$HEAD", HEAD) });
        let name = ResourceName::parse("example.test").expect("good");
        let planned = plan(&genesis(), &Wish::put(Kind::DnsZone, name, spec), Generation(1));
        let is_good = title.starts_with("good");
        seen[usize::from(is_good)] += 1;
        match planned {
            Ok(_) => assert!(is_good, "{title}"),
            Err(error) => {
                let (_, reason) = title.split_once(": ").expect("a reason");
                assert!(!is_good && error.to_string().contains(reason), "{title}: {error}");
            }
        }
    }
    assert!(seen.iter().all(|count| *count > 5), "{seen:?}");
}

#[test]
fn a_zone_has_one_name() {
    let name = ResourceName::parse("example.test.").expect("good");
    let wish = Wish::put(Kind::DnsZone, name, json!({ "zone": format!("{HEAD}\n") }));
    let error = plan(&genesis(), &wish, Generation(1)).expect_err("a dot at its end");
    assert!(error.to_string().contains("is not the name of a zone"), "{error}");
}

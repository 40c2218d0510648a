//! Specs are refused or have one spelling; any difference leads where it says; what compiles is a snapshot that a PoP takes.
#![no_main]

use std::collections::BTreeMap;

use libfuzzer_sys::fuzz_target;
use tidegate_contract::{
    id::{Generation, PopId},
    release::{Build, apply, difference, hash_of, root_of},
    release_compile::{Specs, check_all, compile},
    resource::{Kind, ResourceKey, ResourceName},
    resource_spec::Spec,
    snapshot::Snapshot,
};

fuzz_target!(|bytes: &[u8]| {
    if let Ok(text) = str::from_utf8(bytes) {
        let _ = text.parse::<Build>();
        let _ = ResourceKey::parse(text);
    }
    let mut specs = Specs::new();
    // The first byte of a piece is its kind, the second its name.
    for piece in bytes.split(|byte| *byte == b'\n') {
        let [kind, name, json @ ..] = piece else { continue };
        let kind = Kind::ALL[usize::from(*kind) % Kind::ALL.len()];
        let name = match name % 3 {
            0 => "tidegate-tier-key",
            1 => "a",
            _ => "b",
        };
        let name = ResourceName::parse(name).expect("a good name");
        if let Ok(spec) = Spec::parse(kind, &name, json) {
            let again = Spec::parse(kind, &name, &spec.to_json()).expect("its own bytes");
            assert_eq!(again.to_json(), spec.to_json());
            specs.insert(ResourceKey::new(kind, name), spec);
        }
    }
    let hash = |(key, spec): (&ResourceKey, &Spec)| (key.clone(), hash_of(&spec.to_json()));
    let to: BTreeMap<_, _> = specs.iter().map(hash).collect();
    let from: BTreeMap<_, _> = to.iter().skip(1).map(|(key, hash)| (key.clone(), *hash)).collect();
    let (put, del) = difference(&from, &to);
    let put = put.into_iter().map(|key| (key.clone(), to[key])).collect();
    let del: Vec<_> = del.into_iter().cloned().collect();
    assert_eq!(root_of(&apply(&from, put, &del).expect("it fits")), root_of(&to));

    let pop = PopId::parse("a").expect("a good id");
    if check_all(&specs, Generation(1)).is_ok()
        && let Ok(snapshot) = compile(&specs, &pop, Generation(1))
    {
        assert_eq!(Snapshot::from_bytes(&snapshot.to_bytes()).expect("checked"), snapshot);
    }
});

//! What each kind of resource is, in a few words.
//!
//! An example stands only where a test reads it as the type that nodes take, so that none is a lie about the form.

use tidegate_contract::resource::Kind;

/// What a kind is, who reads it, and how to write one.
pub(super) fn explain(kind: Kind) -> String {
    let (what, example) = words(kind);
    let who = if kind.is_for_caches() { "caches" } else { "the control plane" };
    let count_max = kind.count_max();
    let head = format!("{kind}\n\n{what}\nRead by {who}; at most {count_max} of them.\n");
    match example {
        Some(example) => format!("{head}\nExample:\n\n{example}"),
        None => format!("{head}\nTo see one as it is written: tidegate get {kind} NAME -o yaml\n"),
    }
}

fn words(kind: Kind) -> (&'static str, Option<&'static str>) {
    match kind {
        Kind::Property => (
            "What one customer serves: hosts, origins, what is kept and for how long, who may have it.",
            Some(PROPERTY),
        ),
        Kind::Origin => {
            ("A next hop towards an origin, by a name that properties share.", Some(ORIGIN))
        }
        Kind::CachePolicy => {
            ("What is kept and for how long, by a name that properties share.", Some(CACHE_POLICY))
        }
        Kind::Certificate => {
            ("What is shown to TLS clients: a chain, and the secret that holds its key.", None)
        }
        Kind::SteeringPolicy => ("How players are steered between pathways.", None),
        Kind::DnsZone => ("A zone of the authoritative DNS.", None),
        Kind::Prefix => ("A prefix that PoPs announce.", None),
        Kind::AnycastGroup => {
            ("PoPs that announce the same prefixes, and how few of them may.", None)
        }
        Kind::Pop => {
            ("One site: what it is to its neighbours, where it is, what it can carry.", Some(POP))
        }
        Kind::Node => ("One node of a site, in the operators' words.", Some(NODE)),
        Kind::Secret => ("Bytes that only nodes may read; an operator sees a fingerprint.", None),
    }
}

const PROPERTY: &str = "kind = \"property\"\nname = \"demo\"\n\n[spec]\n\
                        hosts = [\"video.example\"]\n\n[[spec.origins]]\n\
                        authority = \"origin.example:443\"\n\n[spec.cache]\ndefault_ttl = \"10s\"\n";
const ORIGIN: &str =
    "kind = \"origin\"\nname = \"studio\"\n\n[spec]\nauthority = \"origin.example:443\"\n";
const CACHE_POLICY: &str =
    "kind = \"cache_policy\"\nname = \"segments\"\n\n[spec]\ndefault_ttl = \"1h\"\n";
const NODE: &str = "kind = \"node\"\nname = \"fra-1\"\n\n[spec]\npop = \"fra\"\n";
const POP: &str = "kind = \"pop\"\nname = \"fra\"\n\n[spec]\nrole = \"edge\"\n";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::resource::documents::{Language, parse};

    #[test]
    fn every_example_reads_as_what_nodes_take() {
        for kind in Kind::ALL {
            for example in words(kind).1 {
                let documents = parse(example, Language::Toml).expect("good");
                assert_eq!(documents[0].kind, kind);
                documents[0].check().expect("an example that is taken");
            }
            assert!(explain(kind).starts_with(kind.as_str()));
        }
    }
}

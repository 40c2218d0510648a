//! `tidegate dns sign`: where the keys of signed zones stand, at each geo node, and what comes next.
//!
//! Private keys lie in files of the geo nodes and nowhere else, so a step of a roll-over is taken there
//! (`tidegate-geo keys roll`); this says which, when, and whether all nodes have the same keys.

use std::collections::BTreeMap;

use clap::Subcommand;
use serde_json::Value;
use url::form_urlencoded::Serializer;

use super::{
    client::Client,
    failure::{Exit, Failure},
    output::Output,
    said::{field, list, text},
};
use crate::api::geo_model::{NodeSigning, SigningList};

/// What is done about keys.
#[derive(Subcommand)]
pub(super) enum SignCommand {
    /// Show keys, what the parent is to publish, and the next step; exit code 1 when nodes have different keys or do not say, 3
    /// when nothing is signed
    Status {
        /// The zone; without it all
        zone: Option<String>,
    },
}

/// Runs a command about keys.
pub(super) async fn run(
    command: SignCommand,
    client: &Client,
    out: &Output,
) -> Result<Exit, Failure> {
    let SignCommand::Status { zone } = command;
    let mut query = Serializer::new(String::new());
    if let Some(zone) = &zone {
        query.append_pair("zone", zone);
    }
    let list: SigningList = client.get(&format!("/v1/dns/signing?{}", query.finish())).await?;
    status(&list, out)
}

/// A key as some nodes have it: zone, kind, tag, state, since.
type Key = [String; 5];

/// What nodes say of a key.
#[derive(Default)]
struct Held {
    nodes: usize,
    algorithm: String,
    ds: Option<String>,
    next: String,
}

fn status(signing: &SigningList, out: &Output) -> Result<Exit, Failure> {
    let asked = signing.items.iter().filter(|node| node.answer.is_some()).count();
    let keys = keys(&signing.items);
    let row = |(key, held): (&Key, &Held)| {
        let [zone, kind, tag, state, since] = key.clone();
        let nodes = format!("{}/{asked}", held.nodes);
        [zone, tag, kind, held.algorithm.clone(), state, since, nodes, held.next.clone()]
    };
    let header = ["ZONE", "KEY", "KIND", "ALGORITHM", "STATE", "SINCE", "NODES", "NEXT"];
    if out.is_for_people() && keys.is_empty() {
        out.note("no zone is signed: `tidegate-geo keys generate` makes a key");
    } else {
        out.print(signing, header, |_| keys.iter().map(row).collect())?;
    }
    if out.is_for_people() {
        let mut records: Vec<&String> = keys.values().filter_map(|held| held.ds.as_ref()).collect();
        records.sort_unstable();
        records.dedup();
        for (place, record) in records.into_iter().enumerate() {
            if place == 0 {
                out.note("the parent is to publish");
            }
            out.print_text(record)?;
        }
    }
    for node in &signing.items {
        if let Some(error) = &node.error {
            out.note(&format!("{}: {error}", node.node));
        }
    }
    // Each says the same, unless their keys differ, which is said below.
    if let Some(answer) = signing.items.iter().find_map(|node| node.answer.as_ref()) {
        steps(answer).iter().for_each(|step| out.note(step));
        if let Some(more) = answer.get("left_out").and_then(Value::as_u64).filter(|more| *more > 0)
        {
            out.note(&format!("{more} signed zones more than one answer has: name one"));
        }
    }
    let is_same = keys.values().all(|held| held.nodes == asked);
    if !is_same {
        out.note("geo nodes have different keys: copy the folder of keys to all of them");
    }
    Ok(match (is_same && asked == signing.items.len(), keys.is_empty()) {
        (false, _) => Exit::Failed,
        (true, true) => Exit::NotFound,
        (true, false) => Exit::Ok,
    })
}

/// Every key that a node has, and how many have it in that state.
fn keys(nodes: &[NodeSigning]) -> BTreeMap<Key, Held> {
    let mut keys: BTreeMap<Key, Held> = BTreeMap::new();
    for zone in nodes.iter().filter_map(|node| node.answer.as_ref()).flat_map(|a| list(a, "zones"))
    {
        let next = list(&zone, "next");
        for key in list(&zone, "keys") {
            let kind = field(&key, "kind");
            let id = [
                field(&zone, "zone"),
                kind.clone(),
                field(&key, "tag"),
                field(&key, "state"),
                field(&key, "since"),
            ];
            let step = next.iter().find(|step| field(step, "kind") == kind);
            let held = keys.entry(id).or_default();
            held.nodes += 1;
            held.algorithm = field(&key, "algorithm");
            held.ds = key.get("ds").and_then(Value::as_str).map(str::to_owned);
            held.next = step.map_or_else(|| "-".to_owned(), |step| field(step, "step"));
        }
    }
    keys
}

/// What comes next, in words, by zone and kind.
fn steps(answer: &Value) -> Vec<String> {
    let of = |zone: Value| {
        let name = field(&zone, "zone");
        list(&zone, "next").into_iter().map(move |step| {
            let from = match step.get("from").filter(|from| !from.is_null()) {
                Some(from) => format!(" (from {} on)", text(from)),
                None => String::new(),
            };
            let (kind, what, by) =
                (field(&step, "kind"), field(&step, "text"), field(&step, "command"));
            format!("{name} {kind}: {what}{from}: `{by}`")
        })
    };
    list(answer, "zones").into_iter().flat_map(of).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn node(name: &str, state: &str) -> NodeSigning {
        let answer = json!({"zones": [{
            "zone": "a.", "keys": [{"tag": 7, "kind": "csk", "state": state, "since": "s", "algorithm": "13", "ds": "a. IN DS"}],
            "next": [{"kind": "csk", "step": "wait", "from": "2026", "text": "until", "command": "roll"}],
        }]});
        NodeSigning { node: name.to_owned(), answer: Some(answer), error: None }
    }

    #[test]
    fn nodes_that_have_the_same_keys_are_one_row_and_others_stand_out() {
        let same = [node("n1", "active"), node("n2", "active")];
        let all = keys(&same);
        let held = all.values().next().expect("one");
        assert_eq!((all.len(), held.nodes, held.next.as_str()), (1, 2, "wait"));
        let mut mixed = [node("n1", "active"), node("n2", "retired"), node("n3", "active")];
        assert_eq!(keys(&mixed).values().map(|held| held.nodes).collect::<Vec<_>>(), [2, 1]);
        mixed[0].answer = Some(json!("nonsense"));
        assert_eq!(keys(&mixed).len(), 2);
        let said = steps(mixed[1].answer.as_ref().expect("said"));
        assert_eq!(said, ["a. csk: until (from 2026 on): `roll`"]);
    }
}

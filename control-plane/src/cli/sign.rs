//! `tidegate dns sign`: where the keys of signed zones stand, at each geo node, what comes next, and the step itself.
//!
//! Private keys lie in files of the geo nodes and nowhere else: one of them works a step out, and all take it at once. What was
//! shown before is what is done, or nothing is.

use std::{collections::BTreeMap, time::Duration};

use clap::{Args, Subcommand};
use serde_json::Value;
use tidegate_contract::zone_keys::KeyKind;
use tokio::time::{Instant, sleep};
use url::form_urlencoded::Serializer;

use super::{
    client::Client,
    consent::Consent,
    failure::{Exit, Failure},
    output::{Output, or_dash},
    said::{field, list, text},
};
use crate::api::geo_model::{NodeSigning, RollRequest, RollView, SigningList};

/// What is done about keys.
#[derive(Subcommand)]
pub(super) enum SignCommand {
    /// Show keys, what the parent is to publish, and the next step; exit code 1 when nodes have different keys or do not say, 3
    /// when nothing is signed
    Status {
        /// The zone; without it all
        zone: Option<String>,
    },
    /// Take the next step of replacing a key at all geo nodes; exit code 1 when it is not due yet, 8 when geo nodes have
    /// different keys or some are away
    Roll(Roll),
}

/// Which step.
#[derive(Args)]
pub(super) struct Roll {
    /// The zone
    zone: String,
    /// Which key, where the zone has a ksk and a zsk: csk, ksk or zsk
    #[arg(long)]
    kind: Option<KeyKind>,
    /// The step is that the parent has the DS record of the new key, beside that of the old one
    #[arg(long)]
    ds_seen: bool,
    /// A geo node that is gone for good, or answers no client; as often as there are some
    #[arg(long, value_name = "NODE")]
    without: Vec<String>,
    /// Wait until every geo node that follows has the keys; exit code 7 when that takes longer than --deadline
    #[arg(long)]
    wait: bool,
    /// The longest wait; after it the exit code is 7 and the step goes on
    #[arg(long, value_name = "TIME", default_value = "1m", value_parser = humantime::parse_duration, requires = "wait")]
    deadline: Duration,
}

/// Runs a command about keys.
pub(super) async fn run(
    command: SignCommand,
    client: &Client,
    consent: &Consent,
    out: &Output,
) -> Result<Exit, Failure> {
    match command {
        SignCommand::Status { zone } => status(&standing(zone.as_deref(), client).await?, out),
        SignCommand::Roll(step) => roll(step, client, consent, out).await,
    }
}

async fn standing(zone: Option<&str>, client: &Client) -> Result<SigningList, Failure> {
    let mut query = Serializer::new(String::new());
    if let Some(zone) = zone {
        query.append_pair("zone", zone);
    }
    client.get(&format!("/v1/dns/signing?{}", query.finish())).await
}

async fn roll(
    step: Roll,
    client: &Client,
    consent: &Consent,
    out: &Output,
) -> Result<Exit, Failure> {
    let Roll { zone, kind, ds_seen, without, wait, deadline } = step;
    // What no zone has, has no place in a path; the server says what is wrong with it.
    let is_plain = |letter: char| letter.is_ascii_alphanumeric() || "-_.".contains(letter);
    let name: String =
        zone.chars().map(|letter| if is_plain(letter) { letter } else { '*' }).collect();
    let path = format!("/v1/dns/signing/{name}/roll");
    let kind = kind.map(|kind| kind.to_string());
    let reason = consent.needed_reason()?;
    let body = RollRequest { kind, ds_seen, without, step: None, before: None, reason };
    let plan: RollView = client.post(&format!("{path}?dry_run=true"), &body).await?;
    let from = plan.from.as_ref().map(|from| format!(" (from {from} on)")).unwrap_or_default();
    let (of, kind, text) = (&plan.zone, &plan.kind, &plan.text);
    if !plan.is_due {
        out.note(&format!("{of} {kind}: not yet: {text}{from}"));
        if plan.step == FOR_DS {
            out.note(&format!("then: `tidegate dns sign roll {of} --kind {kind} --ds-seen`"));
        }
        print(&plan, out)?;
        return Ok(Exit::Failed);
    }
    let nodes = plan.nodes.join(", ");
    out.note(&format!("plan: {of} {kind}: {text}, at {nodes}"));
    if !consent.goes_on() {
        print(&plan, out)?;
        return Ok(Exit::Ok);
    }
    consent.ask(&zone)?;
    let (step, before) = (Some(plan.step.clone()), Some(plan.before));
    let body = RollRequest { step, before, ..body };
    let taken: RollView = client.post(&path, &body).await?;
    if !taken.is_due {
        let text = format!("{of} {kind}: not yet: {}", taken.text);
        return Err(Failure::new(Exit::Conflict, text));
    }
    print(&taken, out)?;
    if out.is_for_people() {
        if !taken.ds.is_empty() {
            out.note("the parent is to publish");
        }
        taken.ds.iter().try_for_each(|record| out.print_text(record))?;
        if let Some(next) = &taken.next {
            out.note(&format!("next: {next}"));
        }
    }
    // Behind what is printed: the parent needs it, however long this takes.
    if wait && let Some(revision) = taken.revision {
        arrive(&taken.zone, revision, deadline, client, out).await?;
    }
    Ok(Exit::Ok)
}

fn print(step: &RollView, out: &Output) -> Result<(), Failure> {
    let header = ["ZONE", "KIND", "STEP", "DUE", "REVISION", "WHAT"];
    out.print(step, header, |step| {
        let due = match (&step.from, step.is_due) {
            (_, true) => "yes".to_owned(),
            (from, false) => from.clone().unwrap_or_else(|| "no".to_owned()),
        };
        let (zone, kind, what) = (step.zone.clone(), step.kind.clone(), step.step.clone());
        vec![[zone, kind, what, due, or_dash(step.revision), step.text.clone()]]
    })
}

/// Waits until every geo node that follows has the keys of a revision.
async fn arrive(
    zone: &str,
    revision: u64,
    deadline: Duration,
    client: &Client,
    out: &Output,
) -> Result<(), Failure> {
    let began = Instant::now();
    let mut told = String::new();
    loop {
        let waits = match standing(Some(zone), client).await {
            Ok(list) => behind(&list.items, zone, revision),
            // It may be the one that is restarted meanwhile.
            Err(failure) if failure.exit == Exit::Unavailable => Some(failure.to_string()),
            Err(failure) => return Err(failure),
        };
        let Some(waits) = waits else {
            out.note("every geo node has the keys");
            return Ok(());
        };
        if waits != told {
            out.note(&format!("{:>5}s {waits}", began.elapsed().as_secs()));
            told = waits;
        }
        if began.elapsed() >= deadline {
            let within = humantime::format_duration(deadline);
            let text =
                format!("revision {revision} is not at every geo node within {within}: {told}");
            let failure = Failure::new(Exit::Timeout, text);
            return Err(failure.with_hint("it goes on; tidegate dns sign status shows who has it"));
        }
        sleep(LOOK_EVERY).await;
    }
}

/// What is waited for: nodes that do not have the keys of a revision, or have others.
fn behind(nodes: &[NodeSigning], zone: &str, revision: u64) -> Option<String> {
    let mut first: Option<Value> = None;
    for NodeSigning { node, answer, error } in nodes {
        let Some(answer) = answer else {
            return Some(format!("{node}: {}", or_dash(error.as_ref())));
        };
        let zones = list(answer, "zones");
        let Some(zone) = zones.iter().find(|one| field(one, "zone") == zone) else {
            return Some(format!("{node} has no keys of it"));
        };
        if zone.get("revision").and_then(Value::as_u64).is_none_or(|has| has < revision) {
            let why = zone.get("refused").filter(|refused| !refused.is_null());
            let why = why.map(|refused| format!(": {}", field(refused, "why")));
            return Some(format!("waits for {node}{}", why.unwrap_or_default()));
        }
        let keys = zone.get("keys").cloned();
        if first.is_some() && first != keys {
            return Some(format!("{node} has other keys"));
        }
        first = keys;
    }
    None
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
    for node in &signing.items {
        let zones = node.answer.iter().flat_map(|answer| list(answer, "zones"));
        for zone in zones {
            if let Some(refused) = zone.get("refused").filter(|refused| !refused.is_null()) {
                let (name, revision) = (field(&zone, "zone"), field(refused, "revision"));
                let why = field(refused, "why");
                out.note(&format!("{} refuses revision {revision} of {name}: {why}", node.node));
            }
        }
    }
    let is_same = keys.values().all(|held| held.nodes == asked);
    if !is_same {
        out.note(
            "geo nodes have different keys: they take a step within seconds; where they stay so, copy the folder of keys",
        );
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

/// The step that an operator alone can see.
const FOR_DS: &str = "ds";
/// Geo nodes are told within a fraction of a second.
const LOOK_EVERY: Duration = Duration::from_millis(250);

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

    #[test]
    fn a_step_has_arrived_when_all_have_the_same_keys_of_it() {
        let at = |name: &str, state: &str, revision: u64| {
            let mut node = node(name, state);
            node.answer.as_mut().expect("said")["zones"][0]["revision"] = json!(revision);
            node
        };
        let mut refuses = at("n2", "active", 3);
        refuses.answer.as_mut().expect("said")["zones"][0]["refused"] = json!({"why": "no room"});
        let silent = NodeSigning { node: "n2".into(), answer: None, error: Some("gone".into()) };
        for (other, expected) in [
            (at("n2", "active", 4), None),
            (at("n2", "active", 9), None),
            (at("n2", "active", 3), Some("waits for n2")),
            (node("n2", "active"), Some("waits for n2")),
            (at("n2", "retired", 4), Some("n2 has other keys")),
            (refuses, Some("waits for n2: no room")),
            (silent, Some("n2: gone")),
        ] {
            let nodes = [at("n1", "active", 4), other];
            assert_eq!(behind(&nodes, "a.", 4).as_deref(), expected);
        }
        assert!(behind(&[at("n1", "active", 4)], "b.", 4).is_some());
    }
}

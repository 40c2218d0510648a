//! `tidegate dns`: what clients are told and why, the map behind it, the hold on it, and who answers.
//!
//! Every node of the DNS makes the same map; the one that follows the asked replica answers for all of them.

use std::net::IpAddr;

use clap::Subcommand;
use serde_json::Value;
use tidegate_contract::network::Network;
use url::form_urlencoded::Serializer;

use super::{
    client::Client,
    consent::Consent,
    failure::{Exit, Failure},
    output::{Output, or_dash, time},
    said::{field, flat, list, number, percent, text},
    sign::{self, SignCommand},
    zone::{self, ZoneCommand},
};
use crate::{
    api::{
        geo_model::{DnsAnswer, HoldRequest, HoldView},
        model::Items,
    },
    geo::FollowerView,
};

/// What is done about the DNS.
#[derive(Subcommand)]
pub(super) enum DnsCommand {
    /// Say what a client would be told; exit code 1 when no PoP serves it
    Resolve {
        /// The name
        name: String,
        /// The client's address; beside --ecs its resolver's
        #[arg(long, value_name = "ADDRESS", required_unless_present = "ecs")]
        client: Option<IpAddr>,
        /// The subnet of the client that its resolver tells (RFC 7871)
        #[arg(long, value_name = "SUBNET")]
        ecs: Option<Network>,
        /// The type of record
        #[arg(long = "type", value_name = "TYPE", default_value = "A")]
        record: String,
        /// Show every PoP that came into question, with what was measured and what was modelled
        #[arg(long)]
        explain: bool,
    },
    /// The map: which PoP serves how much
    #[command(subcommand)]
    Map(MapCommand),
    /// Zones: what is released, and what geo nodes serve
    #[command(subcommand)]
    Zone(ZoneCommand),
    /// Keys of signed zones
    #[command(subcommand)]
    Sign(SignCommand),
    /// List the geo nodes that follow this replica; exit code 1 when there is none
    Nodes,
}

/// What is done about the map.
#[derive(Subcommand)]
pub(super) enum MapCommand {
    /// Show each PoP's share of the newest map
    Show,
    /// Show how the newest map differs from an older one
    Diff {
        /// How old
        #[arg(long, value_name = "TIME", default_value = "5m")]
        ago: String,
    },
    /// Hold the map as it is, whatever is measured; PoPs that die still go out of the answers
    Freeze,
    /// Let the map go on
    Thaw,
}

/// Runs a command about the DNS.
pub(super) async fn run(
    command: DnsCommand,
    client: &Client,
    consent: &Consent,
    out: &Output,
) -> Result<Exit, Failure> {
    match command {
        DnsCommand::Resolve { name, client: address, ecs, record, explain } => {
            let mut query = Serializer::new(String::new());
            query.append_pair("name", &name).append_pair("type", &record);
            if let Some(address) = address {
                query.append_pair("client", &address.to_string());
            }
            if let Some(subnet) = ecs {
                query.append_pair("ecs", &subnet.to_string());
            }
            let query = query.finish();
            let answer: DnsAnswer = client.get(&format!("/v1/dns/resolve?{query}")).await?;
            resolved(&answer, explain, out)
        }
        DnsCommand::Map(MapCommand::Show) => {
            let answer: DnsAnswer = client.get("/v1/dns/map").await?;
            let hold: HoldView = client.get("/v1/dns/map/hold").await?;
            if let Some(freeze) = &hold.frozen {
                let since = time(freeze.since_unix_ms);
                out.note(&format!("frozen since {since} by {}: {}", freeze.by, freeze.reason));
            }
            shown(&answer, out)
        }
        DnsCommand::Map(MapCommand::Diff { ago }) => {
            let query = Serializer::new(String::new()).append_pair("ago", &ago).finish();
            let answer: DnsAnswer = client.get(&format!("/v1/dns/map/diff?{query}")).await?;
            shown(&answer, out)
        }
        DnsCommand::Map(MapCommand::Freeze) => hold("freeze", client, consent, out).await,
        DnsCommand::Map(MapCommand::Thaw) => hold("thaw", client, consent, out).await,
        DnsCommand::Zone(command) => zone::run(command, client, out).await,
        DnsCommand::Sign(command) => sign::run(command, client, consent, out).await,
        DnsCommand::Nodes => nodes(client, out).await,
    }
}

async fn nodes(client: &Client, out: &Output) -> Result<Exit, Failure> {
    let list: Items<FollowerView> = client.get("/v1/dns/nodes").await?;
    out.print(&list.items, ["NODE", "TOKEN OF", "RELEASE", "LOST", "SINCE"], |nodes| {
        let row = |node: &FollowerView| {
            [
                node.node.clone(),
                node.label.clone(),
                node.version.to_string(),
                node.lost.to_string(),
                time(node.since_unix_ms),
            ]
        };
        nodes.iter().map(row).collect()
    })?;
    Ok(if list.items.is_empty() { Exit::Failed } else { Exit::Ok })
}

async fn hold(
    word: &str,
    client: &Client,
    consent: &Consent,
    out: &Output,
) -> Result<Exit, Failure> {
    let effect = match word {
        "freeze" => "nothing that is measured moves clients any more, until somebody thaws it",
        _ => "clients move to where they are nearer, at most a twentieth of them at a time",
    };
    out.note(&format!("{word} the map: {effect}"));
    if !consent.confirm(word)? {
        return Ok(Exit::Ok);
    }
    let reason = consent.reason.clone().unwrap_or_default();
    let path = format!("/v1/dns/map/{word}");
    let view: HoldView = client.post(&path, &HoldRequest { reason }).await?;
    out.print_line(&view, word, |view| match &view.frozen {
        Some(freeze) => format!("frozen by {}: {}", freeze.by, freeze.reason),
        None => "not frozen".to_owned(),
    })?;
    Ok(Exit::Ok)
}

/// What a client is told: the records, or with the explanation every PoP that came into question.
fn resolved(answer: &DnsAnswer, explains: bool, out: &Output) -> Result<Exit, Failure> {
    let said = &answer.answer;
    // The explanation stands beside the records, or is the answer itself.
    let why = said.get("explanation").unwrap_or(said);
    if !out.is_for_people() {
        let is_served = why.get("pop").is_some_and(|pop| !pop.is_null());
        if is_served || !out.is_names() {
            out.print_whole(answer, field(why, "pop"))?;
        }
        return Ok(if is_served { Exit::Ok } else { Exit::Failed });
    }
    let told = said.get("answer").unwrap_or(&Value::Null);
    match told.get("code").and_then(Value::as_str) {
        None | Some(NO_ERROR) => {}
        Some(code) => out.print_text(code)?,
    }
    for record in list(told, "answers") {
        out.print_text(&text(&record))?;
    }
    if said.get("subnet").is_some_and(|subnet| !subnet.is_null()) {
        let (subnet, scope) = (field(said, "subnet"), field(told, "scope"));
        out.note(&format!("for the subnet {subnet}, true for its first {scope} bits"));
    }
    if why.get("pop").is_none_or(Value::is_null) {
        out.print_text("no PoP serves it")?;
        out.note(&format!("answered by {}", answer.node));
        return Ok(Exit::Failed);
    }
    let pop = field(why, "pop");
    let reason = or_dash(why.get("reason").and_then(Value::as_str));
    let ttl = field(why, "ttl_seconds");
    let next = match field(why, "next") {
        none if none == "-" => String::new(),
        next => format!(", then {next}"),
    };
    out.print_text(&format!("{pop}{next}: {reason}, for {ttl} s"))?;
    if explains {
        if let Some(unit) = why.get("unit").filter(|unit| unit.is_object()) {
            out.note(&format!("unit: {}", flat(unit)));
        }
        let candidates = list(why, "candidates");
        let header =
            ["POP", "RTT MS", "FROM", "MEASURED", "MODELLED", "KM", "UTILISATION", "SHARE"];
        out.print(&candidates, header, |candidates| candidates.iter().map(candidate).collect())?;
    }
    out.note(&format!("answered by {}", answer.node));
    Ok(Exit::Ok)
}

/// A PoP that came into question.
pub(super) fn candidate(one: &Value) -> [String; 8] {
    let number = |name| number(one, name);
    let percent = |name| percent(one, name);
    [
        field(one, "pop"),
        number("rtt_ms"),
        field(one, "source"),
        number("measured_ms"),
        number("modelled_ms"),
        field(one, "distance_km"),
        percent("utilisation"),
        percent("share"),
    ]
}

fn pop(one: &Value) -> [String; 9] {
    [
        field(one, "pop"),
        field(one, "state"),
        field(one, "told"),
        field(one, "seen"),
        number(one, "capacity"),
        number(one, "load"),
        percent(one, "utilisation"),
        field(one, "units"),
        percent(one, "share"),
    ]
}

/// A map or a difference: a table, and the rest as notes.
fn shown(answer: &DnsAnswer, out: &Output) -> Result<Exit, Failure> {
    if !out.is_for_people() && !out.is_names() {
        out.print_json(answer)?;
        return Ok(Exit::Ok);
    }
    let said = &answer.answer;
    let fields = said.as_object().into_iter().flatten();
    for (name, value) in fields.filter(|(_, value)| !value.is_null()) {
        if !TABLES.contains(&name.as_str()) {
            out.note(&format!("{}: {}", name.replace('_', " "), flat(value)));
        }
    }
    if said.get("moves").is_some() {
        let header = ["FROM", "TO", "UNITS", "MBIT/S"];
        out.print(&list(said, "moves"), header, |moves| {
            let row = |one: &Value| {
                [
                    field(one, "from"),
                    field(one, "to"),
                    field(one, "units"),
                    number(one, "demand_mbps"),
                ]
            };
            moves.iter().map(row).collect()
        })?;
    } else {
        let header = ["POP", "STATE", "TOLD", "SEEN", "CAPACITY", "LOAD", "FULL", "UNITS", "SHARE"];
        out.print(&list(said, "pops"), header, |pops| pops.iter().map(pop).collect())?;
    }
    out.note(&format!("answered by {}", answer.node));
    Ok(Exit::Ok)
}

/// What a geo node calls an answer that is no failure.
const NO_ERROR: &str = "No Error";
/// What is shown as tables.
const TABLES: [&str; 2] = ["pops", "moves"];

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_a_node_says_is_shown_whatever_is_missing() {
        let one = json!({"pop": "fra", "rtt_ms": 12.34, "measured_ms": null, "share": 0.5});
        assert_eq!(candidate(&one), ["fra", "12.3", "-", "-", "-", "-", "-", "50 %"]);
        assert_eq!(candidate(&json!(null))[0], "-");
    }
}

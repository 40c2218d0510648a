//! `tidegate steer`: what a player would be told by content steering, and why.
//!
//! A geo node answers, by the same way as it answers players.

use std::net::IpAddr;

use clap::Subcommand;
use serde_json::Value;
use url::form_urlencoded::Serializer;

use super::{
    client::Client,
    dns::candidate,
    failure::{Exit, Failure},
    output::Output,
    said::{field, flat, list},
};
use crate::api::geo_model::DnsAnswer;

/// What is asked of steering.
#[derive(Subcommand)]
pub(super) enum SteerCommand {
    /// Show the steering manifest of a player; exit code 1 when no pathway has a PoP that serves
    Manifest {
        /// The player's address
        #[arg(long, value_name = "ADDRESS")]
        client: IpAddr,
        /// What it plays, as a path or URL; or the URL that its manifest names for steering
        #[arg(long, value_name = "ASSET")]
        asset: String,
        /// The policy, where there are several and the asset is not that URL
        #[arg(long, value_name = "NAME")]
        policy: Option<String>,
        /// The pathway that it plays from; without, it begins
        #[arg(long, value_name = "PATHWAY")]
        pathway: Option<String>,
        /// Show how every pathway stands with it, and every PoP that came into question
        #[arg(long)]
        explain: bool,
    },
}

/// Runs a command about steering.
pub(super) async fn run(
    command: SteerCommand,
    client: &Client,
    out: &Output,
) -> Result<Exit, Failure> {
    let SteerCommand::Manifest { client: address, asset, policy, pathway, explain } = command;
    let mut query = Serializer::new(String::new());
    query.append_pair("client", &address.to_string()).append_pair("asset", &asset);
    for (key, value) in [("policy", policy), ("pathway", pathway)] {
        if let Some(value) = value {
            query.append_pair(key, &value);
        }
    }
    let path = format!("/v1/steering/manifest?{}", query.finish());
    let answer: DnsAnswer = client.get(&path).await?;
    told(&answer, explain, out)
}

fn told(answer: &DnsAnswer, explains: bool, out: &Output) -> Result<Exit, Failure> {
    let said = &answer.answer;
    let manifest = said.get("manifest").unwrap_or(&Value::Null);
    if out.is_for_people() {
        // What the player gets, byte for byte but for the room between.
        out.print_json(manifest)?;
    } else {
        let priority = list(manifest, "PATHWAY-PRIORITY");
        out.print(answer, ["PATHWAY"], |_| {
            priority.iter().map(|id| [super::said::text(id)]).collect()
        })?;
    }
    if out.is_for_people() && explains {
        let header = ["PATHWAY", "STANDING", "RANK", "HOST", "NOT UP"];
        out.print(&list(said, "pathways"), header, |pathways| {
            pathways.iter().map(pathway).collect()
        })?;
        let why = said.get("explanation").unwrap_or(&Value::Null);
        if let Some(unit) = why.get("unit").filter(|unit| unit.is_object()) {
            out.note(&format!("unit: {}", flat(unit)));
        }
        out.note(&format!("the DNS says {}: {}", field(why, "pop"), field(why, "reason")));
        let header =
            ["POP", "RTT MS", "FROM", "MEASURED", "MODELLED", "KM", "UTILISATION", "SHARE"];
        out.print(&list(why, "candidates"), header, |candidates| {
            candidates.iter().map(candidate).collect()
        })?;
    }
    let (policy, outcome) = (field(said, "policy"), field(said, "outcome"));
    let by = match said.get("policy_by").and_then(Value::as_str) {
        Some("only") => {
            ", which is the only one: that the manifest of the asset names it is not checked"
        }
        _ => "",
    };
    out.note(&format!("policy {policy}{by}; the session {}", meaning(&outcome)));
    out.note(&format!("answered by {}", answer.node));
    Ok(if outcome == "unserved" { Exit::Failed } else { Exit::Ok })
}

fn pathway(one: &Value) -> [String; 5] {
    let not_up = one.get("not_up").map(flat).filter(|text| !text.is_empty());
    let standing = match one.get("is_troubled").and_then(Value::as_bool) {
        Some(true) => format!("{}, in trouble", field(one, "standing")),
        _ => field(one, "standing"),
    };
    [
        field(one, "id"),
        standing,
        field(one, "rank"),
        field(one, "host"),
        not_up.unwrap_or_else(|| "-".to_owned()),
    ]
}

fn meaning(outcome: &str) -> &str {
    match outcome {
        "began" => "begins",
        "stayed" => "stays where it is",
        "moved" => "is told to leave",
        "unserved" => "is told all pathways, for none has a PoP that serves",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_pathway_is_shown_with_the_pops_that_are_not_up() {
        let one = json!({"id": "main", "standing": "partly", "rank": 0, "host": null,
            "is_troubled": true, "not_up": {"fra": "draining"}});
        assert_eq!(pathway(&one), ["main", "partly, in trouble", "0", "-", "fra=draining"]);
        let whole = json!({"id": "syd", "standing": "whole", "not_up": {}});
        assert_eq!(pathway(&whole), ["syd", "whole", "-", "-", "-"]);
        assert_eq!(meaning("something new"), "something new");
    }
}

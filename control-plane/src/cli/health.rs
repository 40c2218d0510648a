//! `tidegate health`: how PoPs are and were, by their own word, their rates and the views of others.

use clap::Subcommand;
use tidegate_contract::id::PopId;

use super::{
    client::Client,
    failure::{Exit, Failure},
    moment::parse_since,
    output::{Output, or_dash, time},
    watch::{Shown, show},
};
use crate::api::{
    anycast_model::{HealthChange, HealthList, HealthNode, HealthPop},
    model::Items,
};

/// What is asked about health.
#[derive(Subcommand)]
pub(super) enum HealthCommand {
    /// Show every PoP; exit code 1 when one is bad
    Summary,
    /// Show what the nodes of a PoP say of themselves and of others; exit code 1 when it is not good
    Probe {
        /// The PoP
        name: PopId,
    },
    /// Show how PoPs were: every change of a verdict, in the order of time
    History {
        /// The PoP; without, all of them
        name: Option<PopId>,
        /// Changes since then: a time like 2026-05-04T10:00:00Z, or an age like 10m
        #[arg(long, value_name = "TIME", value_parser = parse_since)]
        since: Option<u64>,
        /// The newest so many of them
        #[arg(long, default_value_t = 200)]
        limit: u32,
        /// Print again whenever there is another one, until Ctrl-C
        #[arg(short, long)]
        watch: bool,
    },
}

/// Runs a command about health.
pub(super) async fn run(
    command: HealthCommand,
    client: &Client,
    out: &Output,
) -> Result<Exit, Failure> {
    match command {
        HealthCommand::Summary => {
            let list: HealthList = client.get("/v1/health").await?;
            let header = ["POP", "HEALTH", "VIEWS", "REQUESTS/S", "ERRORS/S", "WHY"];
            out.print(&list.items, header, |pops| pops.iter().map(row).collect())?;
            let is_bad = list.items.iter().any(|pop| pop.health == "bad");
            Ok(if is_bad { Exit::Failed } else { Exit::Ok })
        }
        HealthCommand::Probe { name } => {
            let pop: HealthPop = client.get(&format!("/v1/health/{name}")).await?;
            let header = ["NODE", "SELF-TEST", "FAILED", "CONNECTIONS", "MBIT/S", "SEES", "HEARD"];
            out.print(&pop, header, |pop| pop.nodes.iter().map(node).collect())?;
            out.note(&format!("{} is {}: {}", pop.pop, pop.health, pop.why));
            Ok(if pop.health == "good" { Exit::Ok } else { Exit::Failed })
        }
        HealthCommand::History { name, since, limit, watch } => {
            let of_pop = name.map(|name| format!("&pop={name}")).unwrap_or_default();
            let since = since.map(|since| format!("&since_unix_ms={since}")).unwrap_or_default();
            let path = format!("/v1/health-history?limit={limit}{of_pop}{since}");
            let ask = async || Ok(client.get::<Items<HealthChange>>(&path).await?.items);
            show(watch, out, ask, |changes| {
                let header = ["WHEN", "POP", "WAS", "IS", "WHY"];
                out.print(changes, header, |changes| changes.iter().map(change).collect())?;
                Ok(Shown::for_good(Exit::Ok))
            })
            .await
        }
    }
}

fn row(pop: &HealthPop) -> [String; 6] {
    let views = pop.views_good + pop.views_bad;
    [
        pop.pop.to_string(),
        pop.health.clone(),
        or_dash((views > 0).then(|| format!("{}/{views}", pop.views_good))),
        pop.requests.to_string(),
        pop.errors.to_string(),
        pop.why.clone(),
    ]
}

fn change(change: &HealthChange) -> [String; 5] {
    let HealthChange { pop, at_unix_ms, from, to, why } = change;
    [time(*at_unix_ms), pop.to_string(), from.clone(), to.clone(), why.clone()]
}

fn node(node: &HealthNode) -> [String; 7] {
    let report = &node.report;
    let failed: Vec<_> =
        report.self_test.failed.iter().map(|probe| format!("{probe:?}").to_lowercase()).collect();
    let seen: Vec<_> = report
        .views
        .iter()
        .map(|view| format!("{}{}", view.pop, if view.is_good { "" } else { " (not)" }))
        .collect();
    [
        node.node.to_string(),
        if report.self_test.is_good { "good" } else { "bad" }.to_owned(),
        or_dash((!failed.is_empty()).then(|| failed.join(", "))),
        report.load.connections.to_string(),
        node.mbps.to_string(),
        or_dash((!seen.is_empty()).then(|| seen.join(", "))),
        time(node.heard_unix_ms),
    ]
}

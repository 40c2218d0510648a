//! `tidegate node`: the nodes of all PoPs, how they are and what they run; orders to one of them.

use std::time::Duration;

use clap::{Args, Subcommand};
use serde::Serialize;
use tidegate_contract::{
    id::{NodeId, PopId},
    node_order::Act,
};
use tokio::time::{Instant, sleep};

use super::{
    client::Client,
    consent::Consent,
    failure::{Exit, Failure},
    output::{Output, or_dash, time},
    watch::{Shown, show},
};
use crate::api::model::{NodeOrderRequest, NodeOrderView, NodeView, PopList, PopView, pop_path};

/// What is asked about nodes.
#[derive(Subcommand)]
pub(super) enum NodeCommand {
    /// List nodes
    List {
        /// Those of one PoP
        #[arg(long)]
        pop: Option<PopId>,
        /// Print again whenever something changes, until Ctrl-C
        #[arg(short, long)]
        watch: bool,
    },
    /// Show one node; exit code 1 when it is not up, 6 when it refused its configuration
    Status {
        /// The node, as POP/NODE
        #[arg(value_name = "POP/NODE", value_parser = parse_name)]
        name: (PopId, NodeId),
        /// Print again whenever something changes, until Ctrl-C
        #[arg(short, long)]
        watch: bool,
    },
    /// Let a new process of a node take over, without a gap; it is the program as it stands on the node's disk
    Restart(Ordered),
    /// Take the newest release back from a node: it serves the one before, until there is a newer one
    RollbackLocal(Ordered),
}

/// An order to one node.
#[derive(Args)]
pub(super) struct Ordered {
    /// The node, as POP/NODE
    #[arg(value_name = "POP/NODE", value_parser = parse_name)]
    name: (PopId, NodeId),
    /// The longest wait for the node to say that it is done; after it the exit code is 7 and the order stands. 0s: none
    #[arg(long, value_name = "TIME", default_value = "3m", value_parser = humantime::parse_duration)]
    deadline: Duration,
}

/// A node and where it is.
#[derive(Serialize)]
struct Placed {
    pop: PopId,
    #[serde(flatten)]
    node: NodeView,
}

/// Runs a command about nodes.
pub(super) async fn run(
    command: NodeCommand,
    client: &Client,
    consent: &Consent,
    out: &Output,
) -> Result<Exit, Failure> {
    match command {
        NodeCommand::Restart(ordered) => order(ordered, Act::Restart, client, consent, out).await,
        NodeCommand::RollbackLocal(ordered) => {
            order(ordered, Act::RollbackLocal, client, consent, out).await
        }
        NodeCommand::List { pop, watch } => {
            let ask = async || match &pop {
                None => Ok(client.get::<PopList>("/v1/pops").await?.pops),
                Some(pop) => Ok(vec![client.get::<PopView>(&pop_path(pop)).await?]),
            };
            show(watch, out, ask, |pops| {
                print(pops, out)?;
                Ok(Shown::for_good(Exit::Ok))
            })
            .await
        }
        NodeCommand::Status { name: (pop, node), watch } => {
            let ask = async || {
                let mut found: PopView = client.get(&pop_path(&pop)).await?;
                found.nodes.retain(|known| known.node == node);
                if found.nodes.is_empty() {
                    return Err(Failure::new(
                        Exit::NotFound,
                        format!("there is no node {pop}/{node}"),
                    )
                    .with_hint("tidegate node list lists what there is"));
                }
                Ok(vec![found])
            };
            show(watch, out, ask, |pops| {
                print(pops, out)?;
                let nodes = || pops.iter().flat_map(|pop| &pop.nodes);
                for nack in nodes().filter_map(|node| node.nack.as_ref()) {
                    out.note(&format!("it refused generation {}: {}", nack.generation, nack.error));
                }
                Ok(Shown::for_good(match () {
                    () if nodes().any(|node| node.nack.is_some()) => Exit::Invalid,
                    () if nodes().all(|node| node.state == "up") => Exit::Ok,
                    () => Exit::Failed,
                }))
            })
            .await
        }
    }
}

/// Shows the plan, asks, orders, and waits for the node's own word.
async fn order(
    Ordered { name: (pop, node), deadline }: Ordered,
    act: Act,
    client: &Client,
    consent: &Consent,
    out: &Output,
) -> Result<Exit, Failure> {
    let path = format!("{}/nodes/{node}/order", pop_path(&pop));
    let name = format!("{pop}/{node}");
    // A plan needs no reason; what is done does.
    let reason = consent.reason.clone().unwrap_or_else(|| "a plan".to_owned());
    let body = NodeOrderRequest { act, reason };
    let plan: NodeOrderView = client.post(&format!("{path}?dry_run=true"), &body).await?;
    out.note(&format!("plan: {name}: {}", plan.detail));
    if !consent.confirm(&name)? {
        return Ok(Exit::Ok);
    }
    let given: NodeOrderView = client.post(&path, &body).await?;
    let began = Instant::now();
    let mut now = given.clone();
    while is_open(&now) && began.elapsed() < deadline {
        sleep(LOOK_EVERY).await;
        // The replica that was asked may be the one that is restarted next to it: it is asked again.
        match client.get::<NodeOrderView>(&path).await {
            Ok(view) if view.number == given.number => now = view,
            Ok(_) => return Err(Failure::new(Exit::Conflict, "somebody gave another order")),
            Err(failure) if failure.exit == Exit::Unavailable => {}
            Err(failure) => return Err(failure),
        }
    }
    out.print(&now, ["NODE", "ORDER", "ACT", "STATE", "DETAIL"], |view| {
        let number = or_dash(view.number);
        let act = view.act.as_str().to_owned();
        vec![[view.node.clone(), number, act, view.state.clone(), view.detail.clone()]]
    })?;
    Ok(match now.state.as_str() {
        "done" => Exit::Ok,
        "refused" => Exit::Invalid,
        // Nobody wanted to wait.
        _ if deadline.is_zero() => Exit::Ok,
        _ => Exit::Timeout,
    })
}

fn is_open(view: &NodeOrderView) -> bool {
    view.state == "waiting" || view.state == "begun"
}

fn print(pops: &[PopView], out: &Output) -> Result<(), Failure> {
    let places = || pops.iter().flat_map(|pop| pop.nodes.iter().map(move |node| (pop, node)));
    let placed: Vec<_> =
        places().map(|(pop, node)| Placed { pop: pop.pop.clone(), node: node.clone() }).collect();
    let named = |(pop, node): (&PopView, &NodeView)| {
        let [name, rest @ ..] = row(node, pop);
        ([format!("{}/{name}", pop.pop)], rest)
    };
    if out.is_wide() {
        let header = [
            "NODE",
            "STATE",
            "GENERATION",
            "PURGE LAG",
            "HIT RATIO",
            "HEARD",
            "CERTIFICATE ENDS",
            "BUILD",
        ];
        return out.print(&placed, header, |_| {
            let wide = |(pop, node): (&PopView, &NodeView)| {
                let ([name], [state, generation, lag, ratio, heard, ends]) = named((pop, node));
                [name, state, generation, lag, ratio, heard, ends, node.build.clone()]
            };
            places().map(wide).collect()
        });
    }
    let header = ["NODE", "STATE", "GENERATION", "PURGE LAG", "HIT RATIO", "HEARD"];
    out.print(&placed, header, |_| {
        let short = |place| {
            let ([name], [state, generation, lag, ratio, heard, _]) = named(place);
            [name, state, generation, lag, ratio, heard]
        };
        places().map(short).collect()
    })
}

/// One node of a PoP: name, state, generation, lag, hit ratio, when it was heard, when its certificate ends.
pub(super) fn row(node: &NodeView, pop: &PopView) -> [String; 7] {
    [
        node.node.to_string(),
        node.state.clone(),
        format!("{}/{}", node.generation, pop.generation),
        or_dash(node.purge_lag),
        or_dash(hit_ratio(node)),
        or_dash(node.heard_unix_ms.map(time)),
        time(node.certificate_expires_unix_ms),
    ]
}

fn hit_ratio(node: &NodeView) -> Option<String> {
    let health = node.health.as_ref().filter(|health| health.requests_total > 0)?;
    let permille = health.hits_total.saturating_mul(1000) / health.requests_total;
    Some(format!("{}.{} %", permille / 10, permille % 10))
}

fn parse_name(text: &str) -> Result<(PopId, NodeId), String> {
    let (pop, node) = text.split_once('/').ok_or("a node is named POP/NODE")?;
    let pop = PopId::parse(pop).map_err(|error| error.to_string())?;
    Ok((pop, NodeId::parse(node).map_err(|error| error.to_string())?))
}

/// A node reports once a second.
const LOOK_EVERY: Duration = Duration::from_millis(500);

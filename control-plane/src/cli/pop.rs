//! `tidegate pop`: the PoPs, how they are, and how nodes are enrolled.

use std::{fs, path::PathBuf};

use clap::{Subcommand, ValueEnum};
use tidegate_contract::{
    id::{NodeId, PopId},
    property::{Upstream, UpstreamTls},
    snapshot::PopRole,
};

use super::{
    client::Client,
    consent::Consent,
    drain,
    failure::{Exit, Failure},
    node,
    output::{Output, or_dash, time},
    plan, pop_check, pop_log, revoke,
    watch::{Shown, show},
};
use crate::api::model::{ChangeView, EnrolmentTokenView, PopList, PopRequest, PopView, pop_path};

/// What is done with PoPs.
#[derive(Subcommand)]
pub(super) enum PopCommand {
    /// List PoPs
    List {
        /// Print again whenever something changes, until Ctrl-C
        #[arg(short, long)]
        watch: bool,
    },
    /// Show a PoP and its nodes; exit code 1 when it is not up, 6 when a node refused its configuration
    Status {
        /// The PoP
        name: PopId,
        /// Print again whenever something changes, until Ctrl-C
        #[arg(short, long)]
        watch: bool,
    },
    /// Add a PoP, or change what it is
    Add {
        /// The PoP
        name: PopId,
        /// Whether it faces clients or fills for other PoPs
        #[arg(long, value_enum)]
        role: Role,
        /// How edges reach this shield
        #[arg(long, value_name = "HOST:PORT")]
        shield_authority: Option<String>,
        /// PEM of the authority that signed the shield's certificate
        #[arg(long, value_name = "FILE", requires = "shield_authority")]
        shield_ca: Option<PathBuf>,
        /// The name in the shield's certificate; without it the shield is reached in clear text
        #[arg(long, value_name = "NAME", requires = "shield_authority")]
        shield_server_name: Option<String>,
    },
    /// Empty a PoP in ordered stages: DNS, steering, GOAWAY, BGP
    Drain(drain::Drain),
    /// Bring a PoP back, slowly
    Undrain(drain::Undrain),
    /// Send a PoP no new clients; those that it has stay: a drain that ends with the DNS
    Cordon(drain::Begin),
    /// Send it new clients again, slowly
    Uncordon(drain::Undrain),
    /// Print a token that enrols one node of a PoP, once
    Enrol {
        /// The PoP
        name: PopId,
    },
    /// Show the newest lines of the nodes' own logs, or follow them; exit code 7 when a node did not answer
    Logs(pop_log::Logs),
    /// Let every node look at itself now; exit code 1 when a check failed, 7 when a node did not answer
    ExecCheck(pop_check::ExecCheck),
    /// Make the identities of all nodes of a PoP worthless, or of one, on lanes that are open as well; the PoP stays
    Revoke {
        /// The PoP
        name: PopId,
        /// Only this node
        #[arg(long)]
        node: Option<NodeId>,
    },
    /// Remove a PoP with its nodes, or one node; their identities are worthless from then on
    Remove {
        /// The PoP
        name: PopId,
        /// Only this node
        #[arg(long)]
        node: Option<NodeId>,
    },
}

/// The roles of a PoP.
#[derive(Clone, Copy, ValueEnum)]
pub(super) enum Role {
    Edge,
    Shield,
}

/// Runs a command on PoPs.
pub(super) async fn run(
    command: PopCommand,
    client: &Client,
    consent: &Consent,
    out: &Output,
) -> Result<Exit, Failure> {
    match command {
        PopCommand::Logs(args) => pop_log::run(args, client, out).await,
        PopCommand::ExecCheck(args) => pop_check::run(args, client, out).await,
        PopCommand::Revoke { name, node: Some(node) } => {
            revoke::node(&name, &node, client, consent, out).await
        }
        PopCommand::Revoke { name, node: None } => revoke::all(&name, client, consent, out).await,
        PopCommand::List { watch } => list(watch, client, out).await,
        PopCommand::Status { name, watch } => status(&name, watch, client, out).await,
        PopCommand::Add { name, role, shield_authority, shield_ca, shield_server_name } => {
            let shield_upstream = match shield_authority {
                Some(authority) => Some(upstream(authority, shield_ca, shield_server_name)?),
                None => None,
            };
            let role = match role {
                Role::Edge => PopRole::Edge,
                Role::Shield => PopRole::Shield,
            };
            let body = PopRequest { role, shield_upstream };
            let mut path = pop_path(&name);
            if !consent.goes_on() {
                plan::is_wanted(("put", "/v1/pops/{pop}"), client, consent, out).await?;
                path.push_str("?dry_run=true");
            }
            let change: ChangeView = client.put(&path, &body, None).await?;
            out.print_line(&change, &name, |change| say_change("pop", change))?;
            Ok(Exit::Ok)
        }
        PopCommand::Drain(args) => drain::drain(args, client, consent, out).await,
        PopCommand::Cordon(args) => drain::drain(args.into(), client, consent, out).await,
        PopCommand::Undrain(args) | PopCommand::Uncordon(args) => {
            drain::undrain(args, client, consent, out).await
        }
        PopCommand::Enrol { name } => {
            let path = format!("{}/enrolment-tokens", pop_path(&name));
            let token: EnrolmentTokenView = client.post(&path, &serde_json::json!({})).await?;
            out.print_line(&token, &token.token, |token| token.token.clone())?;
            out.note(&format!("good for one node until {}", time(token.expires_unix_ms)));
            Ok(Exit::Ok)
        }
        PopCommand::Remove { name, node } => {
            let path = match &node {
                Some(node) => format!("{}/nodes/{node}", pop_path(&name)),
                None => pop_path(&name),
            };
            plan::removal((&name, node.as_ref()), &path, client, consent, out).await?;
            if !consent.goes_on() {
                return Ok(Exit::Ok);
            }
            client.delete(&path).await?;
            let what =
                node.map_or_else(|| format!("pop {name}"), |node| format!("node {name}/{node}"));
            out.note(&format!("{what} removed"));
            Ok(Exit::Ok)
        }
    }
}

/// One line about a change.
pub(super) fn say_change(what: &str, change: &ChangeView) -> String {
    let done = match (change.dry_run, change.created, change.changed) {
        (false, true, _) => "created",
        (false, false, true) => "changed",
        (true, true, _) => "would be created",
        (true, false, true) => "would be changed",
        (_, false, false) => "unchanged",
    };
    format!("{what} {} {done}, generation {}", change.id, change.generation)
}

async fn list(watch: bool, client: &Client, out: &Output) -> Result<Exit, Failure> {
    let ask = async || Ok(client.get::<PopList>("/v1/pops").await?.pops);
    show(watch, out, ask, |pops| {
        print_list(pops, out)?;
        Ok(Shown::for_good(Exit::Ok))
    })
    .await
}

pub(super) fn print_list(pops: &Vec<PopView>, out: &Output) -> Result<(), Failure> {
    let row = |pop: &PopView| {
        let up = pop.nodes.iter().filter(|node| node.state == "up").count();
        let oldest = pop.nodes.iter().map(|node| node.generation).min();
        let lag = pop.nodes.iter().filter_map(|node| node.purge_lag).max();
        [
            pop.pop.to_string(),
            pop.role.as_str().to_owned(),
            pop.state.clone(),
            format!("{up}/{}", pop.nodes.len()),
            format!("{}/{}", or_dash(oldest), pop.generation),
            or_dash(lag),
        ]
    };
    let header = ["POP", "ROLE", "STATE", "NODES", "GENERATION", "PURGE LAG"];
    if !out.is_wide() {
        return out.print(pops, header, |pops| pops.iter().map(row).collect());
    }
    let wide = |pop: &PopView| {
        let [name, role, state, nodes, generation, lag] = row(pop);
        let ends = pop.nodes.iter().map(|node| node.certificate_expires_unix_ms).min();
        let shield = pop.shield_upstream.as_ref().map(|upstream| upstream.authority.clone());
        let applied = pop.nodes.iter().filter_map(|node| node.purge_applied).min();
        let applied = format!("{}/{}", or_dash(applied), pop.purge_head);
        [
            name,
            role,
            state,
            nodes,
            generation,
            lag,
            applied,
            or_dash(ends.map(time)),
            or_dash(shield),
        ]
    };
    let [pop, role, state, nodes, generation, lag] = header;
    let header =
        [pop, role, state, nodes, generation, lag, "PURGES", "FIRST CERTIFICATE ENDS", "SHIELD"];
    out.print(pops, header, |pops| pops.iter().map(wide).collect())
}

async fn status(name: &PopId, watch: bool, client: &Client, out: &Output) -> Result<Exit, Failure> {
    let path = pop_path(name);
    let ask = async || client.get::<PopView>(&path).await;
    show(watch, out, ask, |pop| Ok(Shown::for_good(print_status(pop, out)?))).await
}

fn print_status(pop: &PopView, out: &Output) -> Result<Exit, Failure> {
    let header =
        ["NODE", "STATE", "GENERATION", "PURGE LAG", "HIT RATIO", "HEARD", "CERTIFICATE ENDS"];
    out.print(pop, header, |pop| pop.nodes.iter().map(|view| node::row(view, pop)).collect())?;
    for (node, nack) in pop.nodes.iter().filter_map(|node| Some((node, node.nack.as_ref()?))) {
        out.note(&format!("{} refused generation {}: {}", node.node, nack.generation, nack.error));
    }
    if pop.nodes.iter().any(|node| node.nack.is_some()) {
        return Ok(Exit::Invalid);
    }
    out.note(&format!("{} {} is {}", pop.role.as_str(), pop.pop, pop.state));
    Ok(if pop.state == "up" { Exit::Ok } else { Exit::Failed })
}

fn upstream(
    authority: String,
    ca: Option<PathBuf>,
    server_name: Option<String>,
) -> Result<Upstream, Failure> {
    let ca_pem =
        match ca {
            Some(path) => Some(fs::read_to_string(&path).map_err(|error| {
                Failure::new(Exit::Usage, format!("{}: {error}", path.display()))
            })?),
            None => None,
        };
    let tls = match (server_name, ca_pem) {
        (Some(server_name), ca_pem) => Some(UpstreamTls { server_name, ca_pem }),
        (None, Some(_)) => {
            let text = "--shield-ca needs --shield-server-name";
            return Err(Failure::new(Exit::Usage, text));
        }
        (None, None) => None,
    };
    Ok(Upstream { authority, tls, host: None })
}

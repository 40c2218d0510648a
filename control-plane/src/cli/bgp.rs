//! `tidegate bgp`: what PoPs announce, and how strongly.
//!
//! Every verb that announces less shows its plan first and is refused by the interlock with exit code 8.

use clap::{Args, Subcommand};
use tidegate_contract::{
    anycast::Level,
    id::{AnycastGroupId, PopId, PrefixId},
};

use super::{
    catchment::{self, CatchmentArgs},
    client::Client,
    consent::Consent,
    drain::note_plan,
    failure::{Exit, Failure},
    output::Output,
    plan,
    watch::{Shown, show},
};
use crate::{
    anycast::{InterlockState, Plan},
    api::{
        anycast_model::{
            GroupList, GroupView, InterlockView, LevelRequest, TrialRequest, TrialView,
        },
        model::pop_path,
    },
};

/// What is done about routes.
#[derive(Subcommand)]
pub(super) enum BgpCommand {
    /// Show what every PoP announces; exit code 1 when a session is down, a gate is closed or somebody disobeys
    Status {
        /// Only this group
        #[arg(long)]
        group: Option<AnycastGroupId>,
        /// Only this PoP
        #[arg(long)]
        pop: Option<PopId>,
        /// Print again whenever something changes, until Ctrl-C
        #[arg(short, long)]
        watch: bool,
    },
    /// Show from where clients reach which PoP of a group, and where they are expected without it; exit code 1 when nothing was told
    Catchment(CatchmentArgs),
    /// Announce a group normally
    Announce(How),
    /// Announce a group with a longer path: 1 to 3 times the own number more
    Prepend {
        #[command(flatten)]
        how: How,
        /// How many times
        #[arg(long, value_parser = clap::value_parser!(u8).range(1..=3))]
        times: u8,
    },
    /// Announce a group with the community that asks to use anything else first (RFC 8326)
    Gshut(How),
    /// Do not announce a group to one neighbour
    NoExport {
        #[command(flatten)]
        how: How,
        /// The neighbour, as the PoP's settings call it
        #[arg(long)]
        peer: String,
    },
    /// Announce a group not at all
    Withdraw(How),
    /// Let a PoP's speaker read its file anew; it takes that back by itself unless `confirm` comes in time
    Configure {
        /// The PoP
        #[arg(long)]
        pop: PopId,
        /// How long it waits
        #[arg(long, value_name = "TIME", default_value = "60s")]
        undo_after: String,
    },
    /// Confirm what `configure` began
    Confirm {
        /// The PoP
        #[arg(long)]
        pop: PopId,
    },
    /// What the interlock of a group allows
    #[command(subcommand)]
    Interlock(InterlockCommand),
}

/// Where, and why.
#[derive(Args)]
pub(super) struct How {
    /// The group
    group: AnycastGroupId,
    /// The PoP
    #[arg(long)]
    pop: PopId,
    /// Only these prefixes of it
    #[arg(long = "prefix", value_name = "PREFIX")]
    prefixes: Vec<PrefixId>,
}

/// What is done about an interlock.
#[derive(Subcommand)]
pub(super) enum InterlockCommand {
    /// Show it
    Show {
        /// The group
        group: AnycastGroupId,
    },
    /// Set it; what is not named goes back to the group's own
    Set {
        /// The group
        group: AnycastGroupId,
        /// PoPs that always announce each prefix
        #[arg(long)]
        min_announcing: Option<u32>,
        /// The most capacity that is withdrawn at a time
        #[arg(long, value_name = "PERCENT")]
        max_withdrawn: Option<u8>,
        /// Nothing is announced less, by anybody
        #[arg(long)]
        freeze: bool,
        /// Load is shed by itself
        #[arg(long)]
        shed: bool,
    },
}

/// Runs a command about routes.
pub(super) async fn run(
    command: BgpCommand,
    client: &Client,
    consent: &Consent,
    out: &Output,
) -> Result<Exit, Failure> {
    match command {
        BgpCommand::Status { group, pop, watch } => {
            let ask = async || {
                let mut list: GroupList = client.get("/v1/anycast").await?;
                narrow(&mut list, group.as_ref(), pop.as_ref())?;
                Ok(list)
            };
            show(watch, out, ask, |list| Ok(Shown::for_good(print_status(list, out)?))).await
        }
        BgpCommand::Catchment(args) => catchment::show(args, client, out).await,
        BgpCommand::Announce(how) => set(how, Level::Normal, client, consent, out).await,
        BgpCommand::Prepend { how, times } => {
            set(how, Level::Prepend(times), client, consent, out).await
        }
        BgpCommand::Gshut(how) => set(how, Level::GracefulShutdown, client, consent, out).await,
        BgpCommand::NoExport { how, peer } => {
            let level = format!("no-export:{peer}").parse::<Level>();
            let level = level.map_err(|error| Failure::new(Exit::Usage, error.to_string()))?;
            set(how, level, client, consent, out).await
        }
        BgpCommand::Withdraw(how) => set(how, Level::Withdrawn, client, consent, out).await,
        BgpCommand::Configure { pop, undo_after } => {
            attempt(&pop, TrialRequest { timeout: Some(undo_after) }, client, out).await
        }
        BgpCommand::Confirm { pop } => {
            attempt(&pop, TrialRequest { timeout: None }, client, out).await
        }
        BgpCommand::Interlock(command) => interlock(command, client, consent, out).await,
    }
}

/// Leaves what was not asked for out of the list; what is asked for and is not there is a failure.
fn narrow(
    list: &mut GroupList,
    group: Option<&AnycastGroupId>,
    pop: Option<&PopId>,
) -> Result<(), Failure> {
    list.items.retain(|view| group.is_none_or(|group| *group == view.group));
    if let Some(group) = group.filter(|_| list.items.is_empty()) {
        return Err(Failure::new(Exit::NotFound, format!("there is no group {group}")));
    }
    for view in &mut list.items {
        view.pops.retain(|view| pop.is_none_or(|pop| *pop == view.pop));
    }
    if let Some(pop) = pop {
        list.items.retain(|view| !view.pops.is_empty());
        if list.items.is_empty() {
            let text = format!("no group that is asked for has the PoP {pop}");
            return Err(Failure::new(Exit::NotFound, text));
        }
    }
    Ok(())
}

fn print_status(list: &GroupList, out: &Output) -> Result<Exit, Failure> {
    let header =
        ["GROUP", "PREFIX", "POP", "HEALTH", "LOAD", "TOLD", "ANNOUNCED", "SESSIONS", "GATE"];
    let mut is_good = true;
    out.print(&list.items, header, |groups| {
        let rows = groups.iter().flat_map(|group| {
            group
                .pops
                .iter()
                .flat_map(move |pop| group.prefixes.iter().map(move |prefix| (group, pop, prefix)))
        });
        rows.map(|(group, pop, prefix)| {
            let told = pop.told.get(prefix).map_or(&Level::Normal, |told| &told.level);
            let announced = pop.announced.get(prefix);
            is_good &= announced.is_none_or(|announced| announced == told)
                && !pop.is_gate_closed
                && pop.established == pop.sessions;
            [
                group.group.to_string(),
                prefix.to_string(),
                pop.pop.to_string(),
                if pop.is_draining {
                    format!("{}, draining", pop.health)
                } else {
                    pop.health.clone()
                },
                format!("{} %", pop.percent),
                told.to_string(),
                announced.map_or_else(|| "-".to_owned(), Level::to_string),
                format!("{}/{}", pop.established, pop.sessions),
                if pop.is_gate_closed { "closed" } else { "open" }.to_owned(),
            ]
        })
        .collect()
    })?;
    let is_bad_in_json = list
        .items
        .iter()
        .flat_map(|group: &GroupView| &group.pops)
        .any(|pop| pop.is_gate_closed || pop.established != pop.sessions);
    Ok(if is_good && !is_bad_in_json { Exit::Ok } else { Exit::Failed })
}

async fn set(
    how: How,
    level: Level,
    client: &Client,
    consent: &Consent,
    out: &Output,
) -> Result<Exit, Failure> {
    let How { group, pop, prefixes } = how;
    let path = format!("/v1/anycast/{group}/level");
    let reason = consent.needed_reason()?;
    let body = LevelRequest { pop, prefixes, level, reason };
    let plan: Plan = client.post(&format!("{path}?dry_run=true"), &body).await?;
    note_plan(&plan, out);
    if !consent.goes_on() {
        return Ok(Exit::Ok);
    }
    if body.level == Level::Withdrawn {
        consent.ask(body.pop.as_str())?;
    }
    let plan: Plan = client.post(&path, &body).await?;
    out.print_line(&plan, &plan.group, |plan| {
        format!(
            "{} at {} is told {}, epoch {}",
            plan.group,
            plan.pop,
            body.level,
            plan.epoch.unwrap_or(0)
        )
    })?;
    Ok(Exit::Ok)
}

async fn attempt(
    pop: &PopId,
    body: TrialRequest,
    client: &Client,
    out: &Output,
) -> Result<Exit, Failure> {
    let path = format!("{}/speaker-trial", pop_path(pop));
    let trial: TrialView = client.post(&path, &body).await?;
    out.print_line(&trial, trial.id, |trial| {
        let state = if trial.is_confirmed { "confirmed" } else { "begun" };
        format!("trial {} at {} is {state}", trial.id, trial.pop)
    })?;
    Ok(Exit::Ok)
}

async fn interlock(
    command: InterlockCommand,
    client: &Client,
    consent: &Consent,
    out: &Output,
) -> Result<Exit, Failure> {
    let path = |group: &AnycastGroupId| format!("/v1/anycast/{group}/interlock");
    let view: InterlockView = match command {
        InterlockCommand::Show { group } => client.get(&path(&group)).await?,
        InterlockCommand::Set { group, min_announcing, max_withdrawn, freeze, shed } => {
            let body = InterlockState {
                min_announcing,
                max_capacity_withdrawn_percent: max_withdrawn,
                is_frozen: freeze,
                is_shedding: shed,
            };
            let mut path = path(&group);
            if !consent.goes_on() {
                let call = ("put", "/v1/anycast/{group}/interlock");
                plan::is_wanted(call, client, consent, out).await?;
                out.note(&format!(
                    "plan: from then on this is what the interlock of {group} allows"
                ));
                path.push_str("?dry_run=true");
            }
            client.put(&path, &body, None).await?
        }
    };
    let header = ["MIN ANNOUNCING", "MAX WITHDRAWN", "FROZEN", "SHEDDING"];
    let word = |is_so| if is_so { "yes" } else { "no" }.to_owned();
    out.print(&view, header, |view| {
        vec![[
            view.min_announcing.to_string(),
            format!("{} %", view.max_capacity_withdrawn_percent),
            word(view.is_frozen),
            word(view.is_shedding),
        ]]
    })?;
    Ok(Exit::Ok)
}

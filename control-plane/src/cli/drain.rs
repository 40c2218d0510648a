//! `tidegate pop drain` and `undrain`: a PoP is emptied in stages, and comes back slowly.
//!
//! The plan is shown before anything is done. Invariant: what the interlock refuses is refused here as well, with its
//! reason and exit code 8.

use std::time::Duration;

use clap::{Args, ValueEnum};
use tidegate_contract::id::PopId;
use tokio::time::{Instant, sleep};

use super::{
    client::Client,
    consent::Consent,
    failure::{Exit, Failure},
    output::{Output, time},
    plan,
};
use crate::{
    anycast::Plan,
    api::{
        anycast_model::{DrainRequest, DrainView},
        model::pop_path,
    },
    drain::Target,
};

/// How to empty a PoP, as far as it goes.
#[derive(Args)]
pub(super) struct Begin {
    /// The PoP
    name: PopId,
    /// Wait until it is as far as it shall go
    #[arg(long)]
    wait: bool,
}

/// How to drain.
#[derive(Args)]
pub(super) struct Drain {
    #[command(flatten)]
    begin: Begin,
    /// How far: DNS alone, players steered away too, announced as a last resort, or not announced at all
    #[arg(long, value_enum, default_value_t = ToLevel::Off)]
    to_level: ToLevel,
    /// From then on no stage waits any more, like 10m
    #[arg(long, value_name = "TIME")]
    deadline: Option<String>,
}

/// How to undo it.
#[derive(Args)]
pub(super) struct Undrain {
    /// The PoP
    name: PopId,
    /// How long its share of clients grows, like 10m
    #[arg(long, value_name = "TIME")]
    slow_start: Option<String>,
}

impl From<Begin> for Drain {
    /// A cordon: no new clients, and nothing more.
    fn from(begin: Begin) -> Self {
        Self { begin, to_level: ToLevel::Dns, deadline: None }
    }
}

/// How far a drain goes.
#[derive(Clone, Copy, ValueEnum)]
enum ToLevel {
    Dns,
    Steer,
    Bgp,
    Off,
}

impl From<ToLevel> for Target {
    fn from(level: ToLevel) -> Self {
        match level {
            ToLevel::Dns => Self::Dns,
            ToLevel::Steer => Self::Steer,
            ToLevel::Bgp => Self::Bgp,
            ToLevel::Off => Self::Off,
        }
    }
}

/// `pop drain`
pub(super) async fn drain(
    args: Drain,
    client: &Client,
    consent: &Consent,
    out: &Output,
) -> Result<Exit, Failure> {
    let Drain { begin: Begin { name, wait }, to_level, deadline } = args;
    let path = format!("{}/drain", pop_path(&name));
    let reason = consent.needed_reason()?;
    let body = DrainRequest { to_level: to_level.into(), deadline, reason };
    let plans: Vec<Plan> = client.post(&format!("{path}?dry_run=true"), &body).await?;
    plans.iter().for_each(|plan| note_plan(plan, out));
    if !consent.confirm(name.as_str())? {
        return Ok(Exit::Ok);
    }
    let mut view: DrainView = client.post(&path, &body).await?;
    if wait {
        let began = Instant::now();
        let mut stage = String::new();
        while !view.is_done {
            if stage != view.stage {
                out.note(&format!("{:>5}s {}", began.elapsed().as_secs(), view.stage));
                stage.clone_from(&view.stage);
            }
            sleep(LOOK_EVERY).await;
            view = client.get(&path).await?;
        }
    }
    print(&view, out)?;
    Ok(Exit::Ok)
}

/// `pop undrain`
pub(super) async fn undrain(
    args: Undrain,
    client: &Client,
    consent: &Consent,
    out: &Output,
) -> Result<Exit, Failure> {
    let path = format!("{}/drain", pop_path(&args.name));
    let query = match args.slow_start {
        Some(time) => {
            let parsed = humantime::parse_duration(&time);
            parsed.map_err(|error| Failure::new(Exit::Usage, format!("--slow-start: {error}")))?;
            format!("?slow_start={}", time.replace(' ', ""))
        }
        None => String::new(),
    };
    if !consent.goes_on() {
        plan::is_wanted(("delete", "/v1/pops/{pop}/drain"), client, consent, out).await?;
        let sign = if query.is_empty() { '?' } else { '&' };
        let view: DrainView =
            client.remove(&format!("{path}{query}{sign}dry_run=true"), None).await?;
        view.plans.iter().for_each(|plan| note_plan(plan, out));
        let grows = Duration::from_millis(view.drain.slow_start_ms);
        let grows = humantime::format_duration(grows);
        out.note(&format!(
            "plan: {} comes back: its share of clients grows for {grows}",
            args.name
        ));
        print(&view, out)?;
        return Ok(Exit::Ok);
    }
    client.delete(&format!("{path}{query}")).await?;
    let view: DrainView = client.get(&path).await?;
    print(&view, out)?;
    Ok(Exit::Ok)
}

/// What a plan does, for people.
pub(super) fn note_plan(plan: &Plan, out: &Output) {
    for (prefix, (from, to)) in &plan.changes {
        out.note(&format!("plan: {} {prefix} at {}: {from} -> {to}", plan.group, plan.pop));
    }
    for (pop, percent) in &plan.expected_percent {
        out.note(&format!("plan: {pop} is expected at {percent} % of its capacity"));
    }
}

fn print(view: &DrainView, out: &Output) -> Result<(), Failure> {
    out.print(view, ["POP", "STAGE", "SHARE", "DONE", "DEADLINE", "REASON"], |view| {
        vec![[
            view.drain.pop.to_string(),
            view.stage.clone(),
            format!("{} %", view.weight_percent),
            if view.is_done { "yes" } else { "no" }.to_owned(),
            time(view.drain.deadline_unix_ms),
            view.drain.reason.clone(),
        ]]
    })
}

const LOOK_EVERY: Duration = Duration::from_secs(1);

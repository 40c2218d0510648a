//! `tidegate purge`: order purges, see how far they are, see which node is behind.
//!
//! With `--wait` the command ends when no node is pending. One that is cut off is not waited for: its lease is
//! over, so that it asks upstream before it serves what can change; a note says so.

mod replace;
mod planned;
mod shown;

use clap::{Args, Subcommand};
use futures::{StreamExt, stream};
use serde::{Serialize, de::DeserializeOwned};
use tidegate_contract::{
    id::PropertyId,
    purge::{PurgeOrder, PurgeTarget},
    replacement::Replacement,
    surrogate_key::SurrogateKey,
};

use self::{
    replace::Replace,
    shown::{ORDERED_HEADER, lag, log, ordered_rows, status},
};
use super::{
    client::Client,
    consent::Consent,
    failure::{Exit, Failure},
    moment::parse_since,
    output::Output,
    plan::{self, Call},
};
use crate::api::model::{PurgePlanView, PurgeRequest, PurgeView, Wait};

/// What is done with purges.
#[derive(Subcommand)]
pub(super) enum PurgeCommand {
    /// Purge URLs, in all their variants
    Url {
        /// Absolute URLs; the port does not matter
        #[arg(required = true, value_name = "URL")]
        urls: Vec<String>,
        #[command(flatten)]
        replace: Replace,
        #[command(flatten)]
        how: How,
    },
    /// Purge everything that carries a surrogate key
    #[command(visible_alias = "tag")]
    Key {
        /// Surrogate keys
        #[arg(required = true, value_name = "KEY")]
        keys: Vec<SurrogateKey>,
        #[command(flatten)]
        how: How,
    },
    /// Purge everything below folders, whatever the query
    Prefix {
        /// Absolute URLs of folders, with / at the end; the port does not matter
        #[arg(required = true, value_name = "URL")]
        urls: Vec<String>,
        #[command(flatten)]
        how: How,
    },
    /// Purge everything of properties
    #[command(visible_alias = "service")]
    Property {
        /// Their ids
        #[arg(required = true, value_name = "ID")]
        ids: Vec<PropertyId>,
        #[command(flatten)]
        how: How,
    },
    /// Purge everything in every PoP
    All {
        #[command(flatten)]
        how: How,
    },
    /// Show how far a purge is; exit code 1 while a node is pending
    Status {
        /// Its id
        id: String,
        /// Print again whenever something changes, until no node is pending
        #[arg(short, long)]
        watch: bool,
    },
    /// Show how far each node is behind the purge log
    Lag {
        /// Print again whenever something changes, until Ctrl-C
        #[arg(short, long)]
        watch: bool,
    },
    /// Show the purges that were accepted, the oldest first
    Log {
        /// Not those before: a time like 2026-05-04T10:00:00Z, or an age like 10m
        #[arg(long, value_name = "TIME", value_parser = parse_since)]
        since: Option<u64>,
        /// Only those behind this offset
        #[arg(long, value_name = "OFFSET", default_value_t = 0)]
        after: u64,
        /// At most so many
        #[arg(long, value_name = "N", default_value_t = 100)]
        limit: usize,
    },
}

/// How to purge.
#[derive(Args)]
pub(super) struct How {
    /// Mark stale: it may still be served while it is revalidated, or when the origin is down
    #[arg(long)]
    soft: bool,
    /// Wait until every node that is not cut off has applied it, or such a share of them: all, 99%, none. Behind what is
    /// purged, since the word after it is the share
    #[arg(
        long,
        value_name = "SHARE",
        num_args = 0..=1,
        default_value = "none",
        default_missing_value = "all"
    )]
    wait: Wait,
    /// The longest wait; after it the exit code is 7 and the purge goes on
    #[arg(long, value_name = "TIME", default_value = "3s", requires = "wait", value_parser = parse_time)]
    deadline: String,
}

/// What was ordered.
#[derive(Serialize)]
struct Ordered {
    purges: Vec<PurgeView>,
    /// Whether no node is pending; absent when nobody waited.
    #[serde(skip_serializing_if = "Option::is_none")]
    complete: Option<bool>,
}

/// Runs a command on purges.
pub(super) async fn run(
    command: PurgeCommand,
    client: &Client,
    consent: &Consent,
    out: &Output,
) -> Result<Exit, Failure> {
    match command {
        PurgeCommand::Url { urls, replace, how } => {
            let targets: Result<Vec<_>, _> =
                urls.iter().map(|url| PurgeTarget::from_url(url)).collect();
            let targets = targets.map_err(|e| Failure::new(Exit::Usage, e.to_string()))?;
            let replacement = replace.read(&targets)?;
            order(targets, replacement, &how, client, consent, out).await
        }
        PurgeCommand::Key { keys, how } => {
            let targets = keys.into_iter().map(|key| PurgeTarget::Key { key }).collect();
            order(targets, None, &how, client, consent, out).await
        }
        PurgeCommand::Prefix { urls, how } => {
            let targets: Result<Vec<_>, _> =
                urls.iter().map(|url| PurgeTarget::from_prefix_url(url)).collect();
            let targets = targets.map_err(|e| Failure::new(Exit::Usage, e.to_string()))?;
            order(targets, None, &how, client, consent, out).await
        }
        PurgeCommand::Property { ids, how } => {
            let targets = ids.into_iter().map(|id| PurgeTarget::Property { id }).collect();
            order(targets, None, &how, client, consent, out).await
        }
        PurgeCommand::All { how } => {
            order(vec![PurgeTarget::All], None, &how, client, consent, out).await
        }
        PurgeCommand::Status { id, watch } => status(&id, watch, client, out).await,
        PurgeCommand::Lag { watch } => lag(watch, client, out).await,
        PurgeCommand::Log { since, after, limit } => log(since, after, limit, client, out).await,
    }
}

async fn order(
    targets: Vec<PurgeTarget>,
    replacement: Option<Replacement>,
    how: &How,
    client: &Client,
    consent: &Consent,
    out: &Output,
) -> Result<Exit, Failure> {
    let request = |target| PurgeRequest {
        order: PurgeOrder { target, soft: how.soft },
        replace: replacement.clone(),
        wait: how.wait,
        deadline: how.wait.percent().map(|_| how.deadline.clone()),
    };
    let requests: Vec<_> = targets.into_iter().map(request).collect();
    if !consent.goes_on() {
        plan::is_wanted(CALL, client, consent, out).await?;
        return dry(requests, client, out).await;
    }
    let Some(first) = requests.first() else { return Ok(Exit::Ok) };
    let is_all = first.order.target == PurgeTarget::All;
    // One URL or key is quickly asked for again: it does not wait for a plan.
    let is_wide = !matches!(first.order.target, PurgeTarget::Url { .. } | PurgeTarget::Key { .. });
    if is_wide && plan::is_wanted(CALL, client, consent, out).await? {
        let (plans, failure) = split(send(DRY_PATH, requests.clone(), client).await);
        if let Some(failure) = failure {
            return Err(failure);
        }
        planned::note(&plans, out);
    }
    if is_all {
        out.note("everything is purged: every PoP asks the origins again");
        consent.ask("all")?;
    }
    let answers: Vec<Result<PurgeView, Failure>> = send("/v1/purges", requests, client).await;
    // What was accepted is shown even when something else was not.
    let (purges, failure) = split(answers);
    let waited = how.wait.percent();
    let complete = waited.map(|_| purges.iter().all(|purge| purge.complete == Some(true)));
    let reached = purges.iter().all(|purge| purge.reached.or(purge.complete) == Some(true));
    let ordered = Ordered { purges, complete };
    if ordered.purges.is_empty()
        && let Some(failure) = failure
    {
        return Err(failure);
    }
    out.print(&ordered, ORDERED_HEADER, |ordered| {
        ordered.purges.iter().flat_map(ordered_rows).collect()
    })?;
    note_cut_off(&ordered.purges, out);
    if let Some(failure) = failure {
        return Err(failure);
    }
    if waited.is_some() && !reached {
        let ids: Vec<_> = ordered.purges.iter().map(|purge| purge.id.as_str()).collect();
        let share =
            if how.wait == Wait::All { "everywhere".into() } else { String::from(how.wait) };
        let text = format!("not applied {share} within {}: {}", how.deadline, ids.join(" "));
        return Err(Failure::new(Exit::Timeout, text));
    }
    Ok(Exit::Ok)
}

/// Shows what the orders would do. One that would be refused fails, as it would.
async fn dry(requests: Vec<PurgeRequest>, client: &Client, out: &Output) -> Result<Exit, Failure> {
    let (plans, failure) = split(send::<PurgePlanView>(DRY_PATH, requests, client).await);
    if !plans.is_empty() {
        planned::print(&plans, out)?;
        planned::note(&plans, out);
    }
    failure.map_or(Ok(Exit::Ok), Err)
}

async fn send<T: DeserializeOwned>(
    path: &str,
    requests: Vec<PurgeRequest>,
    client: &Client,
) -> Vec<Result<T, Failure>> {
    stream::iter(requests)
        .map(async |request| client.post(path, &request).await)
        .buffered(ORDERS_AT_ONCE)
        .collect()
        .await
}

fn split<T>(answers: Vec<Result<T, Failure>>) -> (Vec<T>, Option<Failure>) {
    let mut purges = Vec::new();
    let mut first = None;
    for answer in answers {
        match answer {
            Ok(purge) => purges.push(purge),
            Err(failure) => first = first.or(Some(failure)),
        }
    }
    (purges, first)
}

fn note_cut_off(purges: &[PurgeView], out: &Output) {
    let nodes = purges.iter().filter_map(|purge| purge.pops.as_ref()).flatten();
    let mut cut_off: Vec<_> = nodes
        .filter(|node| node.state == "uncertain")
        .map(|node| format!("{}/{}", node.pop, node.node))
        .collect();
    cut_off.sort();
    cut_off.dedup();
    if !cut_off.is_empty() {
        let names = cut_off.join(", ");
        out.note(&format!(
            "cut off: {names}; revalidates what can change, and applies the purge when it is back"
        ));
    }
}

fn parse_time(text: &str) -> Result<String, humantime::DurationError> {
    humantime::parse_duration(text).map(|_| text.to_owned())
}

const CALL: Call = ("post", "/v1/purges");
const DRY_PATH: &str = "/v1/purges?dry_run=true";
const ORDERS_AT_ONCE: usize = 8;

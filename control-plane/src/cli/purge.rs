//! `tidegate purge`: order purges, see how far they are, see which node is behind.
//!
//! With `--wait` the command ends when no node is pending. One that is cut off is not waited for: its lease is
//! over, so that it asks upstream before it serves what can change; a note says so.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, IsTerminal, Read, Write},
    path::{Path, PathBuf},
};

use clap::{Args, Subcommand};
use futures::{StreamExt, stream};
use serde::Serialize;
use tidegate_contract::{
    id::PropertyId,
    purge::{PurgeOrder, PurgeTarget},
    replacement::{BODY_BYTES_MAX, Replacement},
    surrogate_key::SurrogateKey,
};

use super::{
    client::Client,
    failure::{Exit, Failure},
    output::{Output, or_dash, time},
};
use crate::api::model::{
    PurgeLagList, PurgeLagView, PurgeList, PurgeNodeView, PurgeRequest, PurgeView, Wait,
};

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
        /// Do not ask
        #[arg(long)]
        yes: bool,
    },
    /// Show how far a purge is; exit code 1 while a node is pending
    Status {
        /// Its id
        id: String,
    },
    /// Show how far each node is behind the purge log
    Lag,
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
    /// Wait until every node that is not cut off has applied it, or such a share of them: all, 99%, none
    #[arg(
        long,
        value_name = "SHARE",
        num_args = 0..=1,
        require_equals = true,
        default_value = "none",
        default_missing_value = "all"
    )]
    wait: Wait,
    /// The longest wait; after it the exit code is 7 and the purge goes on
    #[arg(long, value_name = "TIME", default_value = "3s", requires = "wait", value_parser = parse_time)]
    deadline: String,
}

/// What every PoP serves from then on in the place of what is purged.
#[derive(Args)]
pub(super) struct Replace {
    /// Serve this file from then on, without asking the origin; - reads standard input. At most 256 KiB, one URL
    #[arg(long, value_name = "FILE", conflicts_with = "soft")]
    replace: Option<PathBuf>,
    /// Its type; known by itself for .m3u8 and .mpd
    #[arg(long, value_name = "TYPE", requires = "replace")]
    content_type: Option<String>,
    /// One of its headers, like "Cache-Control: max-age=2". May be repeated
    #[arg(long = "header", value_name = "NAME: VALUE", requires = "replace", value_parser = parse_header)]
    headers: Vec<(String, String)>,
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
    out: &Output,
) -> Result<Exit, Failure> {
    match command {
        PurgeCommand::Url { urls, replace, how } => {
            let targets: Result<Vec<_>, _> =
                urls.iter().map(|url| PurgeTarget::from_url(url)).collect();
            let targets = targets.map_err(|e| Failure::new(Exit::Usage, e.to_string()))?;
            let replacement = replace.read(&targets)?;
            order(targets, replacement, &how, client, out).await
        }
        PurgeCommand::Key { keys, how } => {
            let targets = keys.into_iter().map(|key| PurgeTarget::Key { key }).collect();
            order(targets, None, &how, client, out).await
        }
        PurgeCommand::Prefix { urls, how } => {
            let targets: Result<Vec<_>, _> =
                urls.iter().map(|url| PurgeTarget::from_prefix_url(url)).collect();
            let targets = targets.map_err(|e| Failure::new(Exit::Usage, e.to_string()))?;
            order(targets, None, &how, client, out).await
        }
        PurgeCommand::Property { ids, how } => {
            let targets = ids.into_iter().map(|id| PurgeTarget::Property { id }).collect();
            order(targets, None, &how, client, out).await
        }
        PurgeCommand::All { how, yes } => {
            if !yes {
                confirm_all()?;
            }
            order(vec![PurgeTarget::All], None, &how, client, out).await
        }
        PurgeCommand::Status { id } => status(&id, client, out).await,
        PurgeCommand::Lag => lag(client, out).await,
        PurgeCommand::Log { since, after, limit } => log(since, after, limit, client, out).await,
    }
}

impl Replace {
    /// Reads the file, for the one URL that there is.
    fn read(self, targets: &[PurgeTarget]) -> Result<Option<Replacement>, Failure> {
        let Some(path) = self.replace else { return Ok(None) };
        let usage = |text: String| Failure::new(Exit::Usage, text);
        let [PurgeTarget::Url { path: url_path, .. }] = targets else {
            return Err(usage("--replace takes one URL: its body is that of one resource".into()));
        };
        let mut headers = BTreeMap::new();
        for (name, value) in self.headers {
            let name = name.to_ascii_lowercase();
            if headers.contains_key(&name) {
                return Err(usage(format!("--header {name}: it is there twice")));
            }
            headers.insert(name, value);
        }
        if let Some(known) = self.content_type.or_else(|| type_of(url_path).map(str::to_owned)) {
            headers.entry("content-type".to_owned()).or_insert(known);
        }
        if !headers.contains_key("content-type") {
            return Err(usage(format!("what {url_path} is cannot be told: add --content-type")));
        }
        let body =
            read_body(&path).map_err(|error| usage(format!("{}: {error}", path.display())))?;
        let replacement = Replacement { headers, body }.checked();
        replacement.map(Some).map_err(|error| Failure::new(Exit::Invalid, error.to_string()))
    }
}

async fn order(
    targets: Vec<PurgeTarget>,
    replacement: Option<Replacement>,
    how: &How,
    client: &Client,
    out: &Output,
) -> Result<Exit, Failure> {
    let request = |target| PurgeRequest {
        order: PurgeOrder { target, soft: how.soft },
        replace: replacement.clone(),
        wait: how.wait,
        deadline: how.wait.percent().map(|_| how.deadline.clone()),
    };
    let answers: Vec<Result<PurgeView, Failure>> = stream::iter(targets.into_iter().map(request))
        .map(async |request| client.post("/v1/purges", &request).await)
        .buffered(ORDERS_AT_ONCE)
        .collect()
        .await;
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

fn split(answers: Vec<Result<PurgeView, Failure>>) -> (Vec<PurgeView>, Option<Failure>) {
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

async fn status(id: &str, client: &Client, out: &Output) -> Result<Exit, Failure> {
    let id: tidegate_contract::id::PurgeId = id
        .parse()
        .map_err(|_| Failure::new(Exit::NotFound, format!("there is no purge {id:?}")))?;
    let purge: PurgeView = client.get(&format!("/v1/purges/{id}")).await?;
    out.print(&purge, ORDERED_HEADER, ordered_rows)?;
    Ok(if purge.complete == Some(true) { Exit::Ok } else { Exit::Failed })
}

async fn lag(client: &Client, out: &Output) -> Result<Exit, Failure> {
    let list: PurgeLagList = client.get("/v1/purges/lag").await?;
    let header = ["POP", "NODE", "STATE", "LANES", "APPLIED", "HEAD", "LAG", "BEHIND-MS"];
    out.print(&list, header, |list| {
        let row = |node: &PurgeLagView| {
            [
                node.pop.to_string(),
                node.node.to_string(),
                node.state.clone(),
                node.subscriptions.to_string(),
                or_dash(node.applied),
                list.head.to_string(),
                or_dash(node.lag),
                or_dash(node.behind_ms),
            ]
        };
        list.items.iter().map(row).collect()
    })?;
    Ok(Exit::Ok)
}

async fn log(
    since: Option<u64>,
    after: u64,
    limit: usize,
    client: &Client,
    out: &Output,
) -> Result<Exit, Failure> {
    let since = since.map_or(String::new(), |since| format!("&since_unix_ms={since}"));
    let path = format!("/v1/purges?after={after}&limit={limit}{since}");
    let list: PurgeList = client.get(&path).await?;
    out.print(&list, ["OFFSET", "ACCEPTED", "PURGE", "KIND", "HOW", "TARGET"], |list| {
        list.purges.iter().map(logged_row).collect()
    })?;
    Ok(Exit::Ok)
}

/// One purge of the log. Of a URL the query is left out, which may be signed.
fn logged_row(purge: &PurgeView) -> [String; 6] {
    let target = purge.order.as_ref().map(|order| &order.target);
    let is_soft = purge.order.as_ref().is_some_and(|order| order.soft);
    let how = match (&purge.replacement, is_soft) {
        (Some(_), _) => "replace",
        (None, true) => "soft",
        (None, false) => "hard",
    };
    let name = match target {
        Some(PurgeTarget::Url { host, path }) => {
            format!("{host}{}", path.split('?').next().unwrap_or_default())
        }
        Some(PurgeTarget::Prefix { host, path_prefix }) => format!("{host}{path_prefix}"),
        Some(PurgeTarget::Key { key }) => key.to_string(),
        Some(PurgeTarget::Property { id }) => id.to_string(),
        Some(PurgeTarget::All) | None => "-".to_owned(),
    };
    [
        purge.offset.to_string(),
        time(purge.accepted_unix_ms),
        purge.id.to_string(),
        or_dash(target.map(PurgeTarget::kind)),
        how.to_owned(),
        name,
    ]
}

/// One row for each node, or one alone where nobody waited.
fn ordered_rows(purge: &PurgeView) -> Vec<[String; 8]> {
    let row = |node: Option<&PurgeNodeView>| {
        [
            purge.id.to_string(),
            purge.offset.to_string(),
            time(purge.accepted_unix_ms),
            or_dash(node.map(|node| &node.pop)),
            or_dash(node.map(|node| &node.node)),
            node.map_or("accepted", |node| &node.state).to_owned(),
            or_dash(node.and_then(|node| node.ms)),
            or_dash(node.and_then(|node| node.why.clone())),
        ]
    };
    match purge.pops.as_deref() {
        Some(nodes) if !nodes.is_empty() => nodes.iter().map(|node| row(Some(node))).collect(),
        _ => vec![row(None)],
    }
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

fn confirm_all() -> Result<(), Failure> {
    let refused = |text: &str| Failure::new(Exit::Refused, text);
    if !io::stdin().is_terminal() {
        return Err(refused("purging everything sends every PoP to the origins: add --yes"));
    }
    let mut stderr = io::stderr();
    let _ = write!(stderr, "This sends every PoP to the origins. Type \"all\" to go on: ");
    let _ = stderr.flush();
    let mut line = String::new();
    match io::stdin().read_line(&mut line) {
        Ok(_) if line.trim() == "all" => Ok(()),
        _ => Err(refused("not confirmed")),
    }
}

/// Reads a file, or standard input, no further than shows that it is too large.
fn read_body(path: &Path) -> io::Result<Vec<u8>> {
    let limit = BODY_BYTES_MAX as u64 + 1;
    let mut body = Vec::new();
    if path == Path::new("-") {
        io::stdin().take(limit).read_to_end(&mut body)?;
    } else {
        File::open(path)?.take(limit).read_to_end(&mut body)?;
    }
    Ok(body)
}

/// The type of a manifest, by its name.
fn type_of(url_path: &str) -> Option<&'static str> {
    let path = url_path.split('?').next().unwrap_or_default();
    match Path::new(path).extension()?.to_str()? {
        "m3u8" => Some("application/vnd.apple.mpegurl"),
        "mpd" => Some("application/dash+xml"),
        _ => None,
    }
}

fn parse_header(text: &str) -> Result<(String, String), String> {
    match text.split_once(':') {
        Some((name, value)) => Ok((name.trim().to_owned(), value.trim().to_owned())),
        None => Err("a header is NAME: VALUE".to_owned()),
    }
}

fn parse_time(text: &str) -> Result<String, humantime::DurationError> {
    humantime::parse_duration(text).map(|_| text.to_owned())
}

/// A time, or how long ago it was, as milliseconds since 1970.
fn parse_since(text: &str) -> Result<u64, String> {
    let time = match humantime::parse_duration(text) {
        Ok(age) => std::time::SystemTime::now().checked_sub(age).ok_or("that is too long ago")?,
        Err(_) => humantime::parse_rfc3339_weak(text)
            .map_err(|_| "it is neither a time like 2026-05-04T10:00:00Z nor an age like 10m")?,
    };
    Ok(crate::unix_time::unix_ms(time))
}

const ORDERED_HEADER: [&str; 8] =
    ["PURGE", "OFFSET", "ACCEPTED", "POP", "NODE", "STATE", "MS", "WHY"];
const ORDERS_AT_ONCE: usize = 8;

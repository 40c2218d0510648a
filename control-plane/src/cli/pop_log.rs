//! `tidegate pop logs`: the newest lines of the nodes' own logs, merged in the order of time, or followed as they come.
//!
//! Following asks again from the place that each node was read to. Invariant: a line is shown once, and what a node did not
//! keep until it was asked is said, with how many lines that were.

use std::{collections::BTreeMap, time::Duration};

use clap::{Args, ValueEnum};
use serde::Serialize;
use tidegate_contract::{
    id::{NodeId, PopId},
    node_question::{LOG_LINES_MAX, LogLevel, LogLine, LogPlace},
};
use tokio::time::sleep;
use url::form_urlencoded::Serializer;

use super::{
    client::Client,
    failure::{Exit, Failure},
    moment::parse_since,
    output::{Output, time},
};
use crate::api::model::{LogList, NodeLogView, pop_path};

/// Which lines.
#[derive(Args)]
pub(super) struct Logs {
    /// The PoP, or one node of it
    #[arg(value_name = "POP[/NODE]", value_parser = parse_place)]
    name: (PopId, Option<NodeId>),
    /// Only this node
    #[arg(long)]
    node: Option<NodeId>,
    /// Not older than this: an age like 10m, or a time
    #[arg(long, value_name = "TIME", value_parser = parse_since)]
    since: Option<u64>,
    /// At least as bad as this
    #[arg(long, value_enum)]
    level: Option<Level>,
    /// With this text in message, target or a value, whatever the case of its letters
    #[arg(long = "match", value_name = "TEXT", default_value = "")]
    text: String,
    /// At most so many lines, the newest ones
    #[arg(long, value_name = "LINES", default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=i64::from(LOG_LINES_MAX)))]
    limit: u32,
    /// Go on with what is written from now on, until Ctrl-C
    #[arg(short, long)]
    follow: bool,
    /// How long nodes have time to answer, at most 30s
    #[arg(long, value_name = "TIME", default_value = "8s", value_parser = humantime::parse_duration)]
    deadline: Duration,
}

/// How bad.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Level {
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}

/// One line and whose it is.
#[derive(Debug, Serialize)]
struct Placed {
    pop: PopId,
    node: NodeId,
    #[serde(flatten)]
    line: LogLine,
}

/// How far each node was read, and what was said of it.
#[derive(Default)]
struct Read {
    places: BTreeMap<NodeId, LogPlace>,
    states: BTreeMap<NodeId, String>,
}

/// `pop logs`
pub(super) async fn run(logs: Logs, client: &Client, out: &Output) -> Result<Exit, Failure> {
    let (pop, node) = place(&logs.name, logs.node.as_ref())?;
    let mut read = Read::default();
    let list: LogList = client.get(&path(&logs, &pop, node.as_ref(), &read)).await?;
    let exit = exit_of(&list);
    read.take(&list, out);
    let mut lines = merged(list);
    let surplus = lines.len().saturating_sub(logs.limit as usize);
    lines.drain(..surplus);
    if !logs.follow {
        let header = ["NODE", "TIME", "LEVEL", "TARGET", "MESSAGE"];
        out.print(&lines, header, |lines| lines.iter().map(row).collect())?;
        return Ok(exit);
    }
    let (mut is_away, mut is_more) = (false, false);
    loop {
        for line in &lines {
            out.print_next(line, |line| row(line).join("  "), |line| row(line)[0].clone())?;
        }
        sleep(if is_more { GO_ON_AFTER } else { ASK_EVERY }).await;
        match client.get::<LogList>(&path(&logs, &pop, node.as_ref(), &read)).await {
            Ok(list) => {
                is_away = false;
                is_more = list.nodes.iter().any(|view| view.is_more);
                read.take(&list, out);
                lines = merged(list);
            }
            Err(failure) if matches!(failure.exit, Exit::Unavailable | Exit::Timeout) => {
                if !std::mem::replace(&mut is_away, true) {
                    out.note(&format!("waiting: {failure}"));
                }
                lines.clear();
            }
            Err(failure) => return Err(failure),
        }
    }
}

impl Read {
    /// Remembers how far nodes were read, and says what is new about them.
    fn take(&mut self, list: &LogList, out: &Output) {
        for view in &list.nodes {
            let name = format!("{}/{}", list.pop, view.node);
            if view.lost > 0 {
                out.note(&format!(
                    "{name}: {} lines were dropped before they were read",
                    view.lost
                ));
            }
            if view.older > 0 {
                let hint = "ask with --since or --match";
                out.note(&format!("{name}: {} older lines do not fit: {hint}", view.older));
            }
            if let Some(place) = view.place {
                let before = self.places.insert(view.node.clone(), place);
                if before.is_some_and(|before| before.process != place.process) {
                    out.note(&format!("{name} began anew: what it wrote last before is not known"));
                }
            }
            let why = view.why.clone().unwrap_or_default();
            let before = self.states.insert(view.node.clone(), view.state.clone());
            if before.as_ref() != Some(&view.state) && (before.is_some() || !why.is_empty()) {
                let why = if why.is_empty() { why } else { format!(": {}", clean(&why)) };
                out.note(&format!("{name} {}{why}", view.state));
            }
        }
    }
}

/// A PoP, or one node of it: by its place, or by `--node` beside it.
pub(super) fn place(
    (pop, named): &(PopId, Option<NodeId>),
    node: Option<&NodeId>,
) -> Result<(PopId, Option<NodeId>), Failure> {
    match (named, node) {
        (Some(one), Some(other)) if one != other => {
            Err(Failure::new(Exit::Usage, format!("one node is named: {one} or {other}")))
        }
        (one, other) => Ok((pop.clone(), one.as_ref().or(other).cloned())),
    }
}

/// Reads `POP` or `POP/NODE`.
pub(super) fn parse_place(text: &str) -> Result<(PopId, Option<NodeId>), String> {
    let (pop, node) = match text.split_once('/') {
        Some((pop, node)) => (pop, Some(node)),
        None => (text, None),
    };
    let node = node.map(|node| NodeId::parse(node).map_err(|error| error.to_string()));
    Ok((PopId::parse(pop).map_err(|error| error.to_string())?, node.transpose()?))
}

/// What nodes say goes to a terminal: nothing in it may move a cursor or ring a bell.
pub(super) fn clean(text: &str) -> String {
    let mut clean = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            letter if letter.is_control() => clean.extend(letter.escape_default()),
            letter => clean.push(letter),
        }
    }
    clean
}

/// The exit code for nodes that did not answer: late ones before those that would not.
pub(super) fn exit_of_states<'a>(states: impl Iterator<Item = &'a str> + Clone) -> Exit {
    let mut late = states.clone().filter(|state| matches!(*state, "silent" | "away"));
    let mut refused = states.filter(|state| *state == "refused");
    match (late.next(), refused.next()) {
        (Some(_), _) => Exit::Timeout,
        (None, Some(_)) => Exit::Invalid,
        (None, None) => Exit::Ok,
    }
}

fn exit_of(list: &LogList) -> Exit {
    exit_of_states(list.nodes.iter().map(|view| view.state.as_str()))
}

fn path(logs: &Logs, pop: &PopId, node: Option<&NodeId>, read: &Read) -> String {
    let mut query = Serializer::new(String::new());
    query.append_pair("limit", &logs.limit.to_string());
    query.append_pair("deadline", &humantime::format_duration(logs.deadline).to_string());
    if let Some(node) = node {
        query.append_pair("node", node.as_str());
    }
    if let Some(since) = logs.since {
        query.append_pair("since_unix_ms", &since.to_string());
    }
    if let Some(level) = logs.level {
        query.append_pair("level", LogLevel::from(level).as_str());
    }
    if !logs.text.is_empty() {
        query.append_pair("match", &logs.text);
    }
    if !read.places.is_empty() {
        let place = |(node, place): (&NodeId, &LogPlace)| {
            format!("{node}:{}:{}", place.process, place.line)
        };
        query.append_pair("after", &read.places.iter().map(place).collect::<Vec<_>>().join(","));
    }
    format!("{}/log?{}", pop_path(pop), query.finish())
}

/// The lines of all nodes, in the order of time; those of one node stay in theirs.
fn merged(list: LogList) -> Vec<Placed> {
    let LogList { pop, nodes } = list;
    let placed = |NodeLogView { node, lines, .. }: NodeLogView| {
        let pop = pop.clone();
        lines.into_iter().map(move |line| Placed { pop: pop.clone(), node: node.clone(), line })
    };
    let mut all: Vec<_> = nodes.into_iter().flat_map(placed).collect();
    all.sort_by_key(|placed| placed.line.at_unix_ms);
    all
}

fn row(Placed { pop, node, line }: &Placed) -> [String; 5] {
    let mut message = clean(&line.message);
    for (name, value) in &line.fields {
        message.push_str(&format!(" {}={}", clean(name), clean(value)));
    }
    if line.is_cut {
        message.push_str(" … (cut)");
    }
    let level = line.level.as_str().to_owned();
    [format!("{pop}/{node}"), time(line.at_unix_ms), level, clean(&line.target), message]
}

impl From<Level> for LogLevel {
    fn from(level: Level) -> Self {
        match level {
            Level::Error => Self::Error,
            Level::Warn => Self::Warn,
            Level::Info => Self::Info,
            Level::Debug => Self::Debug,
            Level::Trace => Self::Trace,
        }
    }
}

/// How often nodes are asked again whose log is followed.
const ASK_EVERY: Duration = Duration::from_secs(1);
/// The same while there is more than one answer holds.
const GO_ON_AFTER: Duration = Duration::from_millis(250);

#[cfg(test)]
mod tests {
    use super::*;

    fn line(number: u64, at_unix_ms: u64, message: &str) -> LogLine {
        LogLine {
            line: number,
            at_unix_ms,
            level: LogLevel::Warn,
            target: "edge".into(),
            message: message.into(),
            fields: [("lane".to_owned(), "purges\n".to_owned())].into(),
            is_cut: number == 1,
        }
    }

    fn view(node: &str, lines: Vec<LogLine>) -> NodeLogView {
        NodeLogView {
            node: NodeId::parse(node).expect("good"),
            state: "answered".into(),
            why: None,
            place: Some(LogPlace { process: 1, line: 9 }),
            lost: 0,
            is_more: false,
            older: 0,
            lines,
        }
    }

    #[test]
    fn lines_of_all_nodes_are_merged_by_time_and_those_of_a_node_stay_in_order() {
        let one = view("n1", vec![line(1, 10, "a"), line(2, 30, "c"), line(3, 30, "d")]);
        let two = view("n2", vec![line(1, 20, "b"), line(2, 40, "e")]);
        let pop = PopId::parse("ams").expect("good");
        let all = merged(LogList { pop, nodes: vec![one, two] });
        let said: String = all.iter().map(|placed| placed.line.message.as_str()).collect();
        assert_eq!(said, "abcde");
        let row = row(&all[0]);
        assert_eq!(row[0], "ams/n1");
        assert_eq!(row[4], "a lane=purges\\n … (cut)");
    }

    #[test]
    fn nothing_that_a_node_says_moves_a_terminal() {
        assert_eq!(clean("a\u{1b}[2Jb\r\n"), "a\\u{1b}[2Jb\\r\\n");
        assert_eq!(clean("größer"), "größer");
    }

    #[test]
    fn a_place_is_a_pop_or_a_node_and_only_one_is_named() {
        let (pop, node) = parse_place("ams/n1").expect("good");
        assert_eq!((pop.as_str(), node.as_ref().map(NodeId::as_str)), ("ams", Some("n1")));
        assert_eq!(parse_place("ams").expect("good").1, None);
        for bad in ["", "/n1", "ams/", "ams/n1/x", "A"] {
            assert!(parse_place(bad).is_err(), "{bad}");
        }
        let other = NodeId::parse("n2").expect("good");
        assert!(place(&(pop.clone(), node.clone()), Some(&other)).is_err());
        assert_eq!(place(&(pop.clone(), None), Some(&other)).expect("good").1, Some(other));
        assert_eq!(place(&(pop, node.clone()), node.as_ref()).expect("good").1, node);
    }

    #[test]
    fn who_did_not_answer_makes_the_exit_code() {
        let exit = |states: &[&str]| exit_of_states(states.iter().copied());
        assert_eq!(exit(&["answered", "answered"]), Exit::Ok);
        assert_eq!(exit(&["answered", "refused"]), Exit::Invalid);
        assert_eq!(exit(&["refused", "away"]), Exit::Timeout);
        assert_eq!(exit(&["silent"]), Exit::Timeout);
    }
}

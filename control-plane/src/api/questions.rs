//! `/v1/pops/{pop}/log` and `/check`: the nodes of a PoP are asked, and each one's answer is shown as it is.
//!
//! A node that does not answer is shown as one; the call itself fails only when nobody could be asked.

use std::{
    collections::{BTreeMap, HashSet},
    sync::Arc,
    time::Duration,
};

use axum::{
    Json as Answer,
    extract::{Path, Query, State, rejection::QueryRejection},
};
use serde::Deserialize;
use tidegate_contract::{
    id::{NodeId, PopId},
    node_question::{
        Ask, Check, CheckReport, LOG_LINES_MAX, LOG_TEXT_BYTES_MAX, LogLevel, LogPlace, LogWish,
        Said,
    },
};
use tokio::time::Instant;

use super::{
    Api,
    auth::Caller,
    error::ApiError,
    model::{CheckList, LogList, NodeCheckView, NodeLogView},
    request,
};
use crate::{
    access::Verb,
    questions::{Answered, AskError, Outcome},
    store::NodeName,
    unix_time::{millis, unix_ms},
};

/// Which lines of which nodes.
#[derive(Debug, Deserialize)]
pub(super) struct LogQuery {
    node: Option<String>,
    since_unix_ms: Option<u64>,
    level: Option<LogLevel>,
    #[serde(rename = "match", default)]
    text: String,
    limit: Option<u32>,
    after: Option<String>,
    deadline: Option<String>,
}

/// Which nodes.
#[derive(Debug, Deserialize)]
pub(super) struct CheckQuery {
    node: Option<String>,
    deadline: Option<String>,
}

/// `GET /v1/pops/{pop}/log`
pub(super) async fn log(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Path(pop): Path<String>,
    query: Result<Query<LogQuery>, QueryRejection>,
) -> Result<Answer<LogList>, ApiError> {
    api.require(&caller, Verb::NodeLogs, &format!("pop/{pop}"))?;
    let Query(query) = query.map_err(|rejection| ApiError::Malformed(rejection.body_text()))?;
    if query.text.len() > LOG_TEXT_BYTES_MAX {
        let text = format!("match: at most {LOG_TEXT_BYTES_MAX} bytes");
        return Err(ApiError::Invalid(text));
    }
    let places = places(query.after.as_deref())?;
    let nodes = nodes(&api, pop, query.node.as_deref()).await?;
    let limit = deadline(query.deadline.as_deref())?;
    let wish = LogWish {
        since_unix_ms: query.since_unix_ms,
        level: query.level,
        text: query.text,
        limit: query.limit.unwrap_or(LINES).clamp(1, LOG_LINES_MAX),
        after: None,
    };
    let ask = |name: &NodeName| {
        Ask::Log(LogWish { after: places.get(&name.node).copied(), ..wish.clone() })
    };
    let pop = nodes.0.clone();
    let outcomes = ask_all(&api, &caller, nodes, ask, limit).await?;
    let view = |(name, outcome): (NodeName, Outcome)| {
        let (state, why, said) = parted(outcome);
        let page = match said.map(|answered| answered.said) {
            Some(Said::Log(page)) => Some(page),
            _ => None,
        };
        NodeLogView {
            node: name.node,
            state: state.to_owned(),
            why,
            place: page.as_ref().map(|page| page.place),
            lost: page.as_ref().map_or(0, |page| page.lost),
            is_more: page.as_ref().is_some_and(|page| page.is_more),
            older: page.as_ref().map_or(0, |page| page.older),
            lines: page.map(|page| page.lines).unwrap_or_default(),
        }
    };
    Ok(Answer(LogList { pop, nodes: outcomes.into_iter().map(view).collect() }))
}

/// `GET /v1/pops/{pop}/check`
pub(super) async fn check(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Path(pop): Path<String>,
    query: Result<Query<CheckQuery>, QueryRejection>,
) -> Result<Answer<CheckList>, ApiError> {
    api.require(&caller, Verb::Read, "")?;
    let Query(query) = query.map_err(|rejection| ApiError::Malformed(rejection.body_text()))?;
    let nodes = nodes(&api, pop, query.node.as_deref()).await?;
    let limit = deadline(query.deadline.as_deref())?;
    let pop = nodes.0.clone();
    let outcomes = ask_all(&api, &caller, nodes, |_| Ask::Check, limit).await?;
    let course = api.parts.releases.course();
    let shall_run = course.release_for(&pop).map_or(0, |made| made.version().0);
    let view = |(name, outcome): (NodeName, Outcome)| {
        let (state, why, said) = parted(outcome);
        let checks = match said {
            Some(Answered { said: Said::Checks(report), at_unix_ms, asked_unix_ms, took }) => {
                let clock = clock_check(at_unix_ms, asked_unix_ms, took);
                let release = release_check(&report, shall_run);
                report.checks.into_iter().chain([release, clock]).collect()
            }
            _ => Vec::new(),
        };
        NodeCheckView { node: name.node, state: state.to_owned(), why, checks }
    };
    Ok(Answer(CheckList { pop, nodes: outcomes.into_iter().map(view).collect() }))
}

async fn ask_all(
    api: &Api,
    caller: &Caller,
    (_, nodes): (PopId, Vec<NodeName>),
    ask: impl Fn(&NodeName) -> Ask,
    limit: Duration,
) -> Result<BTreeMap<NodeName, Outcome>, ApiError> {
    api.ask_rate.take(&caller.id, Instant::now()).map_err(ApiError::TooOften)?;
    let asks = nodes.into_iter().map(|name| (name.clone(), ask(&name))).collect();
    let reports = api.parts.drains.anycast().reports();
    let heard = reports.fresh(unix_ms(api.parts.clock.now()));
    let heard: HashSet<_> = heard.into_iter().map(|report| report.name).collect();
    let outcomes = api.parts.questions.ask(asks, limit, |name| heard.contains(name)).await;
    outcomes.map_err(|error| match error {
        AskError::TooMany => ApiError::Busy,
        AskError::Store(error) => error.into(),
    })
}

/// The nodes of a PoP, or one of them.
async fn nodes(
    api: &Api,
    pop: String,
    node: Option<&str>,
) -> Result<(PopId, Vec<NodeName>), ApiError> {
    let pop = request::id("pop", pop, PopId::parse)?;
    if !api.parts.releases.has_pop(&pop).await? {
        return Err(ApiError::NotFound { what: "pop", id: pop.into() });
    }
    let rows = api.parts.store.nodes().await?.into_iter().map(|row| row.name);
    let mut names: Vec<_> = rows.filter(|name| name.pop == pop).collect();
    if let Some(node) = node {
        let node = request::id("node", node.to_owned(), NodeId::parse)?;
        names.retain(|name| name.node == node);
        if names.is_empty() {
            return Err(ApiError::NotFound { what: "node", id: format!("{pop}/{node}") });
        }
    }
    Ok((pop, names))
}

/// Reads `NODE:PROCESS:LINE` of several nodes, with commas between them.
fn places(text: Option<&str>) -> Result<BTreeMap<NodeId, LogPlace>, ApiError> {
    let text = text.unwrap_or_default();
    let bad = || ApiError::Invalid("after: NODE:PROCESS:LINE, with commas between them".to_owned());
    if text.len() > AFTER_BYTES_MAX {
        return Err(bad());
    }
    let parts = text.split(',').filter(|part| !part.is_empty());
    parts
        .map(|part| {
            let mut words = part.split(':');
            let node = words.next().and_then(|node| NodeId::parse(node).ok()).ok_or_else(bad)?;
            let process = words.next().and_then(|word| word.parse().ok()).ok_or_else(bad)?;
            let line = words.next().and_then(|word| word.parse().ok()).ok_or_else(bad)?;
            if words.next().is_some() {
                return Err(bad());
            }
            Ok((node, LogPlace { process, line }))
        })
        .collect()
}

fn deadline(text: Option<&str>) -> Result<Duration, ApiError> {
    let Some(text) = text else { return Ok(DEADLINE) };
    let parsed = humantime::parse_duration(text);
    let parsed = parsed.map_err(|error| ApiError::Invalid(format!("deadline: {error}")))?;
    if parsed.is_zero() || parsed > DEADLINE_MAX {
        let max = DEADLINE_MAX.as_secs();
        return Err(ApiError::Invalid(format!("deadline: more than 0s and at most {max}s")));
    }
    Ok(parsed)
}

fn parted(outcome: Outcome) -> (&'static str, Option<String>, Option<Answered>) {
    match outcome {
        Outcome::Answered(answered) => ("answered", None, Some(answered)),
        Outcome::Refused(why) => ("refused", Some(why), None),
        Outcome::Away => {
            ("away", Some("it has no lane to the control plane open".to_owned()), None)
        }
        Outcome::Silent => ("silent", Some("it did not answer in time".to_owned()), None),
    }
}

/// Whether it runs what it shall.
fn release_check(report: &CheckReport, shall_run: u64) -> Check {
    let runs = report.runs;
    let refused = report.refused.as_ref().filter(|_| runs != shall_run);
    let refused = refused.map_or_else(String::new, |why| format!("; it gave up {why}"));
    let found = match (runs, shall_run) {
        (runs, shall) if runs == shall => format!("runs {runs}, as it shall"),
        (0, shall) => format!("runs none, shall run {shall}{refused}"),
        (runs, shall) => format!("runs {runs}, shall run {shall}{refused}"),
    };
    Check { check: "release".to_owned(), is_ok: runs == shall_run, found, took_ms: 0 }
}

/// How far its clock is from ours: its time lies between ours when it was asked and when it had answered.
fn clock_check(at_unix_ms: u64, asked_unix_ms: u64, took: Duration) -> Check {
    let took_ms = millis(took);
    let heard_unix_ms = asked_unix_ms + took_ms;
    let (off_ms, how) = if at_unix_ms < asked_unix_ms {
        (asked_unix_ms - at_unix_ms, "behind")
    } else {
        (at_unix_ms.saturating_sub(heard_unix_ms), "ahead")
    };
    let found = match off_ms {
        0 => format!("as the control plane's, within {took_ms} ms"),
        off => format!("at least {off} ms {how} of the control plane's"),
    };
    Check { check: "clock".to_owned(), is_ok: off_ms <= CLOCK_OFF_MAX_MS, found, took_ms }
}

/// Lines of each node, unless it is said.
const LINES: u32 = 200;
/// The places of as many nodes as a PoP may have, with the longest names.
const AFTER_BYTES_MAX: usize = 8 * 1024;
/// How long nodes have time to answer, unless it is said: a check of everything takes a second or two.
const DEADLINE: Duration = Duration::from_secs(8);
const DEADLINE_MAX: Duration = Duration::from_secs(30);
/// Playback tokens and orders begin and end by the clock; those who make them allow a few seconds.
const CLOCK_OFF_MAX_MS: u64 = 2000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_is_off_by_what_the_way_cannot_explain() {
        let took = Duration::from_millis(100);
        for (at, is_ok, word) in [
            (10_000, true, "within 100 ms"),
            (10_100, true, "within 100 ms"),
            (10_101, true, "1 ms ahead"),
            (12_101, false, "2001 ms ahead"),
            (8_000, true, "2000 ms behind"),
            (7_999, false, "2001 ms behind"),
            (u64::MAX, false, "ahead"),
        ] {
            let check = clock_check(at, 10_000, took);
            assert!(check.is_ok == is_ok && check.found.contains(word), "{at}: {check:?}");
        }
    }

    #[test]
    fn a_node_that_runs_something_else_says_why() {
        let report = |runs| {
            let refused = Some("8: it harms".to_owned());
            CheckReport { runs, refused, checks: Vec::new() }
        };
        for (runs, is_ok, found) in [
            (8, true, "runs 8, as it shall"),
            (7, false, "runs 7, shall run 8; it gave up 8: it harms"),
            (0, false, "runs none, shall run 8; it gave up 8: it harms"),
        ] {
            let check = release_check(&report(runs), 8);
            assert_eq!((check.is_ok, check.found.as_str()), (is_ok, found));
        }
    }

    #[test]
    fn places_and_deadlines_are_read_or_refused() {
        let read = places(Some("n1:7:9,n2:4294967295:0")).expect("good");
        let n1 = NodeId::parse("n1").expect("good");
        assert_eq!((read.len(), read[&n1]), (2, LogPlace { process: 7, line: 9 }));
        assert!(places(None).expect("none").is_empty());
        let long = "n1:1:1,".repeat(2000);
        for bad in ["n1", "n1:1", "n1:1:1:1", "N:1:1", "n1:4294967296:1", "n1:-1:1", &long] {
            assert!(places(Some(bad)).is_err(), "{bad}");
        }
        assert_eq!(deadline(None).expect("default"), DEADLINE);
        assert_eq!(deadline(Some("3s")).expect("good"), Duration::from_secs(3));
        for bad in ["", "0s", "31s", "soon"] {
            assert!(deadline(Some(bad)).is_err(), "{bad}");
        }
    }
}

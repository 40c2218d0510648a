//! `tidegate doctor`: looks at everything from the operator's side, and says what to do about what is wrong.
//!
//! It changes nothing, unless `--purge` lets it send one purge of a key that nothing carries, through the whole system and
//! back. What a control plane does not offer is skipped, not failed.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    time::{Duration, SystemTime},
};

use serde::Serialize;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::{
    client::Client,
    context::Target,
    failure::{Exit, Failure},
    output::Output,
    trace::Calls,
};
use crate::{
    api::{
        access_model::{AuditVerdict, WhoamiView},
        model::{PopList, PopView, PurgeView},
    },
    unix_time::{millis, unix_ms},
};

/// How one thing is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum State {
    Ok,
    Warning,
    Failed,
    Skipped,
}

/// One thing that was looked at.
#[derive(Debug, Serialize)]
struct Check {
    check: String,
    state: State,
    detail: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    fix: Option<String>,
}

/// Looks at everything; exit code 1 when something failed.
pub(super) async fn run(
    target: &Target,
    calls: Calls,
    purge: bool,
    out: &Output,
) -> Result<Exit, Failure> {
    let mut checks = vec![token_file(target)];
    match Client::new(target, calls) {
        Ok(client) => online(&client, purge, &mut checks).await,
        Err(failure) => checks.push(failed("client", &failure)),
    }
    out.print(&checks, ["CHECK", "STATE", "DETAIL", "FIX"], |checks| {
        let row = |check: &Check| {
            let fix = check.fix.clone().unwrap_or_default();
            [check.check.clone(), check.state.as_str().to_owned(), check.detail.clone(), fix]
        };
        checks.iter().map(row).collect()
    })?;
    let is_failed = checks.iter().any(|check| check.state == State::Failed);
    Ok(if is_failed { Exit::Failed } else { Exit::Ok })
}

async fn online(client: &Client, purge: bool, checks: &mut Vec<Check>) {
    let since = Instant::now();
    let head = match client.head_of("/v1/whoami").await {
        Ok(head) => head,
        Err(failure) => {
            let fix = match failure.exit {
                Exit::Forbidden => {
                    "make a token on the control plane's machine: tidegate-control token create"
                }
                _ => {
                    "is tidegate-control running, and is --ca the authority that it shows? tidegate-control ca show"
                }
            };
            checks.push(Check { fix: Some(fix.to_owned()), ..failed("connection", &failure) });
            return;
        }
    };
    let took = since.elapsed().as_millis();
    checks.push(ok("connection", format!("{} answers in {took} ms", client.base())));
    checks.push(clock(head.get("date").and_then(|date| date.to_str().ok()), SystemTime::now()));
    match client.get::<WhoamiView>("/v1/whoami").await {
        Ok(me) => checks.push(ok("token", format!("{}: {}", me.label, me.scopes.join(" ")))),
        Err(failure) => checks.push(failed("token", &failure)),
    }
    match client.get::<PopList>("/v1/pops").await {
        Ok(list) => checks.extend(pops(&list.pops, unix_ms(SystemTime::now()))),
        Err(failure) => checks.push(failed("pops", &failure)),
    }
    checks.push(audit(client).await);
    checks.push(replicas(client).await);
    checks.push(if purge {
        probe(client).await
    } else {
        skipped("purge", "--purge sends one through every node and back".to_owned())
    });
}

fn token_file(target: &Target) -> Check {
    let Some(path) = &target.token_file else {
        let fix = "tidegate context add NAME --token-file FILE".to_owned();
        return Check { fix: Some(fix), ..warning("token file", "none is named".to_owned()) };
    };
    match fs::metadata(path) {
        Ok(metadata) if metadata.permissions().mode() & 0o077 != 0 => Check {
            fix: Some(format!("chmod 600 {}", path.display())),
            ..warning("token file", "others on this machine may read it".to_owned())
        },
        Ok(_) => ok("token file", "its owner alone may read it".to_owned()),
        Err(error) => Check {
            check: "token file".to_owned(),
            state: State::Failed,
            detail: format!("{}: {error}", path.display()),
            fix: Some("tidegate context add NAME --token-file FILE".to_owned()),
        },
    }
}

/// Tokens, leases and certificates go by the time of day.
fn clock(date: Option<&str>, now: SystemTime) -> Check {
    let Some(there) = date.and_then(parse_date) else {
        return skipped("clock", "the server does not say its time".to_owned());
    };
    let apart =
        now.duration_since(there).or_else(|_| there.duration_since(now)).unwrap_or_default();
    let detail = format!("{} s apart", apart.as_secs());
    if apart > CLOCKS_APART_MAX {
        let fix = "let both machines follow a time server".to_owned();
        return Check { fix: Some(fix), ..warning("clock", detail) };
    }
    ok("clock", detail)
}

fn parse_date(text: &str) -> Option<SystemTime> {
    let format = time::format_description::well_known::Rfc2822;
    time::OffsetDateTime::parse(text, &format).ok().map(SystemTime::from)
}

fn pops(pops: &[PopView], now_unix_ms: u64) -> Vec<Check> {
    let nodes = || pops.iter().flat_map(|pop| pop.nodes.iter().map(move |node| (pop, node)));
    let names = |list: Vec<String>| {
        let more = list.len().saturating_sub(NAMES_SHOWN);
        let shown = list.iter().take(NAMES_SHOWN).cloned().collect::<Vec<_>>().join(" ");
        if more == 0 { shown } else { format!("{shown} and {more} more") }
    };
    let mut checks = Vec::new();
    let mut look = |check: &str, good: String, bad: Vec<String>, state: State, fix: &str| {
        checks.push(if bad.is_empty() {
            ok(check, good)
        } else {
            let (detail, fix) = (names(bad), Some(fix.to_owned()));
            Check { check: check.to_owned(), state, detail, fix }
        });
    };
    let not_up: Vec<_> = pops
        .iter()
        .filter(|pop| pop.state != "up")
        .map(|pop| format!("{} ({})", pop.pop, pop.state))
        .collect();
    let fix =
        "tidegate pop status POP; on the node: is it running, and does it reach the control plane?";
    look("pops", format!("{} up", pops.len()), not_up, State::Failed, fix);
    let refused: Vec<_> = nodes()
        .filter_map(|(pop, node)| Some((pop, node, node.nack.as_ref()?)))
        .map(|(pop, node, nack)| format!("{}/{}: {}", pop.pop, node.node, nack.error))
        .collect();
    let fix = "repair what the node names, or roll back";
    look("configuration", "nobody refuses it".to_owned(), refused, State::Failed, fix);
    let behind: Vec<_> = nodes()
        .filter(|(pop, node)| node.connected && node.generation < pop.generation)
        .map(|(pop, node)| format!("{}/{}", pop.pop, node.node))
        .collect();
    let fix = "a release may be on its way: tidegate release status";
    look("generation", "every connected node runs it".to_owned(), behind, State::Warning, fix);
    let lagging: Vec<_> = nodes()
        .filter(|(_, node)| node.purge_lag.is_some_and(|lag| lag > PURGE_LAG_MAX))
        .map(|(pop, node)| format!("{}/{}", pop.pop, node.node))
        .collect();
    let fix = "tidegate purge lag; such a node revalidates what can change once its lease is over";
    look("purge lag", "nobody is behind".to_owned(), lagging, State::Warning, fix);
    let ending: Vec<_> = nodes()
        .filter(|(_, node)| {
            node.certificate_expires_unix_ms < now_unix_ms + millis(CERTIFICATE_LEFT_MIN)
        })
        .map(|(pop, node)| format!("{}/{}", pop.pop, node.node))
        .collect();
    let fix = "nodes renew at half of the lifetime; one that ended may renew for 7 days more, then enrol it again";
    look("certificates", "all are good for hours".to_owned(), ending, State::Warning, fix);
    checks
}

async fn audit(client: &Client) -> Check {
    match client.get::<AuditVerdict>("/v1/audit/verify").await {
        Ok(verdict) if verdict.ok => ok("audit log", format!("whole to row {}", verdict.to)),
        Ok(verdict) => Check {
            check: "audit log".to_owned(),
            state: State::Failed,
            detail: verdict.broken.map(|found| found.to_string()).unwrap_or_default(),
            fix: Some("tidegate audit verify; docs/operate/security.md".to_owned()),
        },
        Err(failure) => failed("audit log", &failure),
    }
}

async fn replicas(client: &Client) -> Check {
    match client.find::<Value>("/v1/replicas").await {
        Ok(Some(list)) => {
            let count = list["items"].as_array().map_or(0, Vec::len);
            ok("replicas", format!("{count} known"))
        }
        Ok(None) => skipped("replicas", "this control plane is alone".to_owned()),
        Err(failure) => failed("replicas", &failure),
    }
}

async fn probe(client: &Client) -> Check {
    let order = json!({
        "kind": "key", "key": "tidegate-doctor", "soft": true, "wait": "all", "deadline": "5s"
    });
    let since = Instant::now();
    match client.post::<PurgeView>("/v1/purges", &order).await {
        Ok(purge) if purge.complete == Some(true) => {
            let nodes = purge.pops.map_or(0, |nodes| nodes.len());
            ok("purge", format!("{nodes} nodes in {} ms", since.elapsed().as_millis()))
        }
        Ok(purge) => Check {
            fix: Some(format!("tidegate purge status {}; tidegate purge lag", purge.id)),
            ..warning("purge", "not every node confirmed within 5 s".to_owned())
        },
        Err(failure) => failed("purge", &failure),
    }
}

impl State {
    fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Failed => "failed",
            Self::Skipped => "skipped",
        }
    }
}

fn ok(check: &str, detail: String) -> Check {
    Check { check: check.to_owned(), state: State::Ok, detail, fix: None }
}

fn warning(check: &str, detail: String) -> Check {
    Check { check: check.to_owned(), state: State::Warning, detail, fix: None }
}

fn skipped(check: &str, detail: String) -> Check {
    Check { check: check.to_owned(), state: State::Skipped, detail, fix: None }
}

fn failed(check: &str, failure: &Failure) -> Check {
    let fix = failure.hint().map(str::to_owned);
    Check { check: check.to_owned(), state: State::Failed, detail: failure.to_string(), fix }
}

const CLOCKS_APART_MAX: Duration = Duration::from_secs(30);
const CERTIFICATE_LEFT_MIN: Duration = Duration::from_secs(6 * 3600);
const PURGE_LAG_MAX: u64 = 1000;
const NAMES_SHOWN: usize = 5;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clocks_far_apart_are_told() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777);
        let date = Some("Sun, 06 Nov 1994 08:49:37 GMT");
        assert_eq!(clock(date, now).state, State::Ok);
        assert_eq!(clock(date, now + Duration::from_secs(31)).state, State::Warning);
        assert_eq!(clock(date, now - Duration::from_secs(31)).state, State::Warning);
        assert_eq!(clock(Some("soon"), now).state, State::Skipped);
    }

    #[test]
    fn what_is_wrong_with_a_pop_is_told_with_what_to_do() {
        let pop: PopView = serde_json::from_value(json!({
            "pop": "fra", "role": "edge", "state": "down", "generation": 5, "purge_head": 9,
            "nodes": [{
                "node": "n1", "state": "up", "connected": true, "build": "x", "generation": 4,
                "nack": {"generation": 5, "error": "no room"}, "purge_applied": 9,
                "purge_lag": 5000, "heard_unix_ms": 1, "certificate_expires_unix_ms": 1000,
            }],
        }))
        .expect("a PoP");
        let found = pops(&[pop], 0);
        let states: Vec<_> =
            found.iter().map(|check| (check.check.as_str(), check.state)).collect();
        let expected = [
            ("pops", State::Failed),
            ("configuration", State::Failed),
            ("generation", State::Warning),
            ("purge lag", State::Warning),
            ("certificates", State::Warning),
        ];
        assert_eq!(states, expected);
        assert!(found.iter().all(|check| check.fix.is_some()));
        assert!(pops(&[], 0).iter().all(|check| check.state == State::Ok));
    }
}

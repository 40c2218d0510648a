//! Waits until a release is where it shall be: at every node, or with a canary at that one's.
//!
//! It asks for the same status that `release status` shows. A node that is not connected is not waited for: it gets the
//! newest release when it is back. What is decided is pure; the loop around it asks and tells.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::{
    client::Client,
    failure::{Exit, Failure},
    output::Output,
};
use crate::{
    api::model::{Items, ReleaseNodeView, ReleaseView, StatusView},
    rollout::Pace,
};

/// How far a release is.
#[derive(Debug, PartialEq, Eq)]
enum Standing {
    /// Not there yet, and what it waits for.
    UnderWay(String),
    /// Where it shall be, in words.
    There(String),
    /// A node refused it.
    Refused(String),
    /// A newer one is out: whether that took this one back stands in the releases.
    Overtaken,
}

/// Waits until a release is where it shall be, and tells how far it is.
///
/// # Errors
/// [`Exit::Invalid`] when a node refuses it or it is taken back, [`Exit::Timeout`] when the deadline is over; it goes on
/// then.
pub(super) async fn wait(
    version: u64,
    deadline: Duration,
    client: &Client,
    out: &Output,
) -> Result<(), Failure> {
    let began = Instant::now();
    let mut told = String::new();
    loop {
        let now = match client.get::<StatusView>("/v1/releases/status").await {
            Ok(status) => standing(&status, version),
            // It may be the one that is restarted meanwhile.
            Err(failure) if failure.exit == Exit::Unavailable => {
                Standing::UnderWay(failure.to_string())
            }
            Err(failure) => return Err(failure),
        };
        let now = match now {
            Standing::Overtaken => overtaken(version, client).await?,
            now => now,
        };
        let words = match now {
            Standing::There(words) => {
                out.note(&words);
                return Ok(());
            }
            Standing::Refused(why) => {
                let failure = Failure::new(Exit::Invalid, why);
                return Err(failure.with_hint("tidegate release status says where it stands"));
            }
            Standing::UnderWay(words) => words,
            Standing::Overtaken => "it is asked what became of it".to_owned(),
        };
        if words != told {
            out.note(&format!("{:>5}s {words}", began.elapsed().as_secs()));
            told = words;
        }
        if began.elapsed() >= deadline {
            let within = humantime::format_duration(deadline);
            let text = format!("version {version} is not there within {within}: {told}");
            let failure = Failure::new(Exit::Timeout, text);
            return Err(failure.with_hint("it goes on; tidegate release status -w follows it"));
        }
        sleep(LOOK_EVERY).await;
    }
}

/// What became of a release that is not the newest any more.
async fn overtaken(version: u64, client: &Client) -> Result<Standing, Failure> {
    let list: Items<ReleaseView> = client.get("/v1/releases").await?;
    Ok(taken_back(&list.items, version).unwrap_or_else(|| {
        Standing::There(format!("version {version} is everywhere, in a newer one"))
    }))
}

/// The release that gave everybody the content of before a version again, when there is one.
fn taken_back(releases: &[ReleaseView], version: u64) -> Option<Standing> {
    let is_back = |release: &&ReleaseView| {
        release.version > version && release.repeats.is_some_and(|repeats| repeats < version)
    };
    let back = releases.iter().filter(is_back).min_by_key(|release| release.version)?;
    let (by, why) = (back.version, &back.reason);
    Some(Standing::Refused(format!("version {version} was taken back by version {by}: {why}")))
}

fn standing(status: &StatusView, version: u64) -> Standing {
    let refused = status.nodes.iter().find_map(|node| {
        let nack = node.nack.as_ref().filter(|nack| nack.generation >= version)?;
        Some(format!("{} refused version {}: {}", node.node, nack.generation, nack.error))
    });
    if let Some(why) = refused {
        return Standing::Refused(why);
    }
    if status.version < version {
        return Standing::UnderWay(format!("version {version} is not known here yet"));
    }
    let shall = |node: &&ReleaseNodeView| node.connected && node.wanted >= version;
    let behind = status.nodes.iter().filter(shall).filter(|node| node.version < node.wanted);
    let behind: Vec<_> = behind.map(|node| node.node.as_str()).collect();
    if let Some(rollout) = status.rollout.as_ref().filter(|rollout| rollout.target >= version) {
        let is_somewhere = status.nodes.iter().any(|node| shall(&node));
        let is_canary = rollout.pace == Pace::Canary && rollout.target == version;
        if is_canary && is_somewhere && behind.is_empty() {
            let pops: Vec<_> = rollout.pops.iter().map(AsRef::as_ref).collect();
            let pops = pops.join(" ");
            return Standing::There(format!(
                "version {version} runs on {pops}; tidegate release promote lets it go on"
            ));
        }
        let paused = if rollout.paused { ", paused" } else { "" };
        return Standing::UnderWay(format!(
            "version {} at {}{paused}: {}",
            rollout.target, rollout.stage, rollout.next
        ));
    }
    if status.rollout.is_none() && !behind.is_empty() {
        return Standing::UnderWay(format!("version {version}: waits for {}", behind.join(", ")));
    }
    if status.version > version {
        return Standing::Overtaken;
    }
    let away = status.nodes.iter().filter(|node| !node.connected).count();
    let absent =
        if away == 0 { String::new() } else { format!(", but {away} nodes that are away") };
    Standing::There(format!("version {version} is everywhere{absent}"))
}

/// A node reports once a second.
const LOOK_EVERY: Duration = Duration::from_millis(500);

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn status(version: u64, rollout: Value, nodes: &[(bool, u64, u64)]) -> StatusView {
        let node = |(n, (connected, wanted, runs)): (usize, &(bool, u64, u64))| json!({"node": format!("p/n{n}"), "connected": connected, "wanted": wanted, "version": runs});
        let nodes: Vec<_> = nodes.iter().enumerate().map(node).collect();
        let mut view = json!({"version": version, "nodes": nodes});
        if !rollout.is_null() {
            view["rollout"] = rollout;
        }
        serde_json::from_value(view).expect("a status")
    }

    fn rollout(target: u64, pace: &str) -> Value {
        json!({
            "target": target, "base": 4, "stage": "canary", "pace": pace, "paused": false,
            "since_unix_ms": 1, "pops": ["p"], "next": "waits for p/n0",
        })
    }

    fn words(standing: &Standing) -> String {
        format!("{standing:?}")
    }

    #[test]
    fn it_is_there_when_every_connected_node_that_shall_have_it_runs_it() {
        for (status, expected) in [
            (status(4, Value::Null, &[(true, 4, 4)]), "UnderWay(\"version 5 is not known"),
            (status(5, Value::Null, &[]), "There(\"version 5 is everywhere\")"),
            (status(5, Value::Null, &[(true, 5, 4)]), "UnderWay(\"version 5: waits for p/n0"),
            (status(5, Value::Null, &[(true, 5, 5), (false, 5, 4)]), "but 1 nodes"),
            (status(5, rollout(5, "staged"), &[(true, 5, 5), (true, 4, 4)]), "UnderWay("),
            (status(5, rollout(5, "canary"), &[(true, 5, 4)]), "UnderWay("),
            (status(5, rollout(5, "canary"), &[(false, 5, 4)]), "UnderWay("),
            (
                status(5, rollout(5, "canary"), &[(true, 5, 5), (true, 4, 4)]),
                "There(\"version 5 runs on p;",
            ),
            (status(6, rollout(6, "canary"), &[(true, 6, 6)]), "UnderWay(\"version 6"),
            (status(6, Value::Null, &[(true, 6, 6)]), "Overtaken"),
        ] {
            let found = words(&standing(&status, 5));
            assert!(found.contains(expected), "{found} should be {expected}");
        }
    }

    #[test]
    fn who_refuses_it_is_named_and_a_way_back_is_told_from_a_later_change() {
        let mut refused = status(5, rollout(5, "staged"), &[(true, 5, 4)]);
        let nack = |generation: u64| json!({"generation": generation, "error": "no room"});
        refused.nodes[0].nack = serde_json::from_value(nack(5)).expect("a refusal");
        assert!(words(&standing(&refused, 5)).contains("p/n0 refused version 5: no room"));
        refused.nodes[0].nack = serde_json::from_value(nack(4)).expect("a refusal");
        assert!(matches!(standing(&refused, 5), Standing::UnderWay(_)), "that was another one");
        let release = |version: u64, repeats: Option<u64>| -> ReleaseView {
            serde_json::from_value(json!({
                "version": version, "root": "", "created_unix_ms": 1, "expires_unix_ms": 2,
                "build_min": "0.0.0", "key_number": 1, "author": "a", "reason": "it did harm",
                "repeats": repeats, "pace": "fast",
            }))
            .expect("a release")
        };
        assert_eq!(taken_back(&[release(7, None), release(6, Some(5))], 5), None);
        let back = taken_back(&[release(7, None), release(6, Some(4)), release(3, Some(1))], 5);
        assert!(words(&back.expect("taken back")).contains("by version 6: it did harm"));
    }
}

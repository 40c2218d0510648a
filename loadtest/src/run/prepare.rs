//! Reads what a scenario names: lists, feeds, logs, traces, hashes, tokens.
//!
//! Invariant: every file has a largest size, and an error names the file and what is wrong with it.

use std::{collections::BTreeMap, path::Path, time::Duration};

use url::Url;

use super::plan::{Inputs, RunError};
use crate::{
    arrival::{Profile, parse_log},
    catalogue::{parse_feed, parse_list},
    kind::Protocol,
    net::{Ask, Net, SessionPlan, Shape},
    scenario::Scenario,
};

/// Reads everything that the scenario names. Must run in a `LocalSet`, for the feed.
///
/// # Errors
/// The first file that cannot be used.
pub async fn prepare(scenario: &Scenario) -> Result<Inputs, RunError> {
    let target = &scenario.target;
    let mut inputs = Inputs { videos: target.urls.clone(), ..Inputs::default() };
    let base = target.base.as_ref().or(target.urls.first());
    if let Some(path) = &target.list {
        let text = read("list", path)?;
        let videos = parse_list(&text, base).map_err(|error| file("list", path, error))?;
        inputs.videos.extend(videos);
    }
    if let Some(feed) = &target.feed {
        let text = fetch_feed(scenario, feed).await?;
        let videos = parse_feed(&text, &target.pointer, feed);
        inputs.videos.extend(videos.map_err(|error| RunError::Feed(error.to_string()))?);
    }
    if let Profile::Replay { file: path, matching, speed, .. } = &scenario.arrivals.profile {
        let text = read("log", path)?;
        let entries =
            parse_log(&text, matching, *speed).map_err(|error| file("log", path, error))?;
        inputs.log = entries.into_iter().map(|entry| (entry.at, entry.path)).collect();
    }
    for (index, link) in scenario.sessions.links.iter().enumerate() {
        if let Some(path) = &link.trace {
            let text = read("trace", path)?;
            Shape::parse(&text).map_err(|error| file("trace", path, error))?;
            inputs.traces.insert(index, text);
        }
    }
    if let Some(path) = &target.hashes {
        let text = read("hashes", path)?;
        inputs.hashes = parse_hashes(&text).map_err(|reason| file("hashes", path, reason))?;
    }
    if let Some(token) = &target.token {
        let text = read("token", &token.file)?;
        let text = text.trim();
        if text.is_empty() || text.contains(char::is_control) {
            return Err(file("token", &token.file, "not one line of text"));
        }
        inputs.token = Some(text.to_owned());
    }
    Ok(inputs)
}

async fn fetch_feed(scenario: &Scenario, feed: &Url) -> Result<String, RunError> {
    let net = Net::new(scenario.net.clone()).map_err(|error| RunError::Net(error.to_string()))?;
    let session = net.session(SessionPlan {
        protocol: Protocol::H1,
        resumes: false,
        early_data: false,
        shape: None,
        migrate_every: None,
        new_connection_every: None,
    });
    let ask = Ask {
        url: feed.clone(),
        range: None,
        headers: Vec::new(),
        urgency: 3,
        keep: Some(FEED_BYTES_MAX),
        hash: false,
        timeout: FEED_TIMEOUT,
    };
    let fetched = session.fetch(ask, &mut |_| {}).await;
    let answer = fetched.outcome.map_err(|failure| {
        let status = fetched.facts.status.map(|status| format!(", status {status}"));
        RunError::Feed(format!(
            "{:?}{}: {}",
            failure.class,
            status.unwrap_or_default(),
            failure.detail
        ))
    })?;
    let body = answer.body.unwrap_or_default();
    String::from_utf8(body.to_vec()).map_err(|_| RunError::Feed("not UTF-8".to_owned()))
}

/// Lines of a hash in hexadecimal and a URL path, as `b3sum` writes for files below the document root.
fn parse_hashes(text: &str) -> Result<BTreeMap<String, String>, String> {
    let mut hashes = BTreeMap::new();
    for (index, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let wrong = || format!("line {} is not HASH PATH", index + 1);
        let (hash, path) = line.trim().split_once(char::is_whitespace).ok_or_else(wrong)?;
        let is_hash = hash.len() == 64 && hash.bytes().all(|byte| byte.is_ascii_hexdigit());
        if !is_hash {
            return Err(wrong());
        }
        let path = path.trim_start().trim_start_matches("./");
        let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
        hashes.insert(path, hash.to_ascii_lowercase());
    }
    Ok(hashes)
}

fn read(what: &'static str, path: &Path) -> Result<String, RunError> {
    let size = std::fs::metadata(path).map_err(|error| file(what, path, error))?.len();
    if size > FILE_BYTES_MAX {
        return Err(file(what, path, format!("more than {FILE_BYTES_MAX} bytes")));
    }
    std::fs::read_to_string(path).map_err(|error| file(what, path, error))
}

fn file(what: &'static str, path: &Path, reason: impl ToString) -> RunError {
    RunError::File { what, path: path.display().to_string(), reason: reason.to_string() }
}

/// A log of two million requests, and more.
const FILE_BYTES_MAX: u64 = 1 << 30;
const FEED_BYTES_MAX: usize = 64 << 20;
const FEED_TIMEOUT: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_read_as_b3sum_writes_them() {
        let hash = "AF1349B9F5F9A1A6A0404DEA36DCC9499BCB25C9ADC112B7CC9A93CAE41F3262";
        let text = format!("{hash}  ./v/1.m4s\n\n{hash}  /v/2.m4s\n{hash} v/3.m4s\n");
        let hashes = parse_hashes(&text).unwrap();
        let paths: Vec<&str> = hashes.keys().map(String::as_str).collect();
        assert_eq!(paths, ["/v/1.m4s", "/v/2.m4s", "/v/3.m4s"]);
        assert_eq!(hashes["/v/1.m4s"], hash.to_ascii_lowercase());
        for text in ["abc /v", "nothing", &format!("{}  /v", &hash[1..])] {
            assert!(parse_hashes(text).is_err(), "{text}");
        }
    }
}

//! Access logs as arrivals: Common and Combined Log Format, and JSON lines.
//!
//! Invariant: the entries come back ascending in time and begin at 0; a line that cannot be read is counted, not guessed.

use std::time::Duration;

use serde::Deserialize;
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

/// One request of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogEntry {
    /// Since the first one.
    pub at: Duration,
    /// Path and query as the log has it.
    pub path: String,
}

/// Why a log gives no arrivals.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReplayError {
    #[error("no line of the log can be read; line {line}: {what}")]
    Unreadable { line: usize, what: &'static str },
    #[error("no line of the log matches")]
    Nothing,
    #[error("the log has more than {ENTRIES_MAX} matching lines")]
    TooMany,
}

/// Reads a log. Lines whose path does not hold `matching` are left out; `speed` 2 takes half the time.
///
/// # Errors
/// When nothing can be read or matches, or too much does.
pub fn parse_log(text: &str, matching: &str, speed: f64) -> Result<Vec<LogEntry>, ReplayError> {
    let mut found: Vec<(i128, String)> = Vec::new();
    let mut unreadable = None;
    let mut is_any_readable = false;
    for (index, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        match parse_line(line.trim()) {
            Ok((at, path)) => {
                is_any_readable = true;
                if path.contains(matching) {
                    if found.len() == ENTRIES_MAX {
                        return Err(ReplayError::TooMany);
                    }
                    found.push((at, path));
                }
            }
            Err(what) => {
                unreadable.get_or_insert(ReplayError::Unreadable { line: index + 1, what });
            }
        }
    }
    if !is_any_readable {
        return Err(unreadable.unwrap_or(ReplayError::Nothing));
    }
    // Logs are written when a request ends, so their lines are not in the order of beginnings; equal times stay in order.
    found.sort_by_key(|(at, _)| *at);
    let Some(first) = found.first().map(|(at, _)| *at) else { return Err(ReplayError::Nothing) };
    let entry = |(at, path): (i128, String)| {
        let seconds = (at - first) as f64 / 1e9 / speed;
        LogEntry { at: Duration::from_secs_f64(seconds.clamp(0.0, LOG_MAX_S)), path }
    };
    Ok(found.into_iter().map(entry).collect())
}

fn parse_line(line: &str) -> Result<(i128, String), &'static str> {
    if line.starts_with('{') { parse_json(line) } else { parse_common(line) }
}

/// `host ident user [10/Oct/2026:13:55:36 +0200] "GET /path HTTP/1.1" 200 …`
fn parse_common(line: &str) -> Result<(i128, String), &'static str> {
    let (_, rest) = line.split_once('[').ok_or("no time in brackets")?;
    let (stamp, rest) = rest.split_once(']').ok_or("no time in brackets")?;
    let at = OffsetDateTime::parse(stamp, COMMON_TIME).map_err(|_| "the time cannot be read")?;
    let (_, rest) = rest.split_once('"').ok_or("no request in quotes")?;
    let (request, _) = rest.split_once('"').ok_or("no request in quotes")?;
    let path = request.split(' ').nth(1).ok_or("the request has no path")?;
    Ok((at.unix_timestamp_nanos(), path.to_owned()))
}

/// `{"time": "2026-10-10T13:55:36.123Z" or seconds, "path" or "uri" or "url": "/path"}`
fn parse_json(line: &str) -> Result<(i128, String), &'static str> {
    let entry: JsonLine = serde_json::from_str(line).map_err(|_| "no JSON object with time")?;
    let at = match entry.time {
        Stamp::Text(text) => OffsetDateTime::parse(&text, &Rfc3339)
            .map_err(|_| "the time is not RFC 3339")?
            .unix_timestamp_nanos(),
        Stamp::Seconds(seconds) if seconds.is_finite() => (seconds * 1e9) as i128,
        Stamp::Seconds(_) => return Err("the time is not finite"),
    };
    Ok((at, entry.path.unwrap_or_default()))
}

#[derive(Deserialize)]
struct JsonLine {
    #[serde(alias = "timestamp", alias = "ts")]
    time: Stamp,
    #[serde(alias = "uri", alias = "url", alias = "request_uri")]
    path: Option<String>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Stamp {
    Text(String),
    Seconds(f64),
}

const COMMON_TIME: &[time::format_description::BorrowedFormatItem<'static>] = time::macros::format_description!(
    "[day]/[month repr:short]/[year]:[hour]:[minute]:[second] [offset_hour sign:mandatory][offset_minute]"
);
/// Sessions that one log can begin.
const ENTRIES_MAX: usize = 2_000_000;
/// A year: a longer log is a wrong date in it.
const LOG_MAX_S: f64 = 366.0 * 86_400.0;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_formats_give_times_and_paths() {
        let log = "\
192.0.2.7 - - [10/Oct/2026:13:55:38 +0200] \"GET /b/index.m3u8?x=1 HTTP/2\" 200 512 \"-\" \"player\"
not a line
192.0.2.7 - - [10/Oct/2026:13:55:36 +0200] \"GET /a/index.m3u8 HTTP/1.1\" 200 512
192.0.2.7 - - [10/Oct/2026:13:55:37 +0200] \"GET /a/1.m4s HTTP/1.1\" 200 512
{\"time\":\"2026-10-10T11:55:40.500Z\",\"uri\":\"/c/index.m3u8\"}
{\"ts\": 1791633337, \"path\": \"/d/index.m3u8\"}
";
        let entries = parse_log(log, ".m3u8", 2.0).unwrap();
        let shown: Vec<(u128, &str)> =
            entries.iter().map(|entry| (entry.at.as_millis(), entry.path.as_str())).collect();
        let expected = [
            (0, "/a/index.m3u8"),
            (500, "/d/index.m3u8"),
            (1_000, "/b/index.m3u8?x=1"),
            (2_250, "/c/index.m3u8"),
        ];
        assert_eq!(shown, expected);
    }

    #[test]
    fn a_log_without_anything_says_why() {
        let table = [
            ("nonsense", "line 1: no time in brackets"),
            ("", "no line of the log matches"),
            (
                "a [10/Oct/2026:13:55:38 +0200] \"GET /a HTTP/1.1\" 200",
                "no line of the log matches",
            ),
            ("a [yesterday] \"GET /a.m3u8 HTTP/1.1\" 200", "the time cannot be read"),
        ];
        for (log, expected) in table {
            let error = parse_log(log, ".m3u8", 1.0).unwrap_err().to_string();
            assert!(error.contains(expected), "{log}: {error}");
        }
    }
}

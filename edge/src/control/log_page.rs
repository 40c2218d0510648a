//! Lines of the log that somebody asks for, out of those that are kept.
//!
//! Pure but for the lock of what is kept. Invariant: who goes on from the place that it was given misses no line that is
//! still kept, and is told how many were not.

use std::sync::Arc;

use tidegate_chassis::recent::{Behind, Line, Recent};
use tidegate_contract::node_question::{
    LOG_LINES_MAX, LogLevel, LogLine, LogPage, LogPlace, LogWish,
};

/// What is wanted, in at most so many bytes of JSON.
pub(super) fn page(recent: &Recent, wish: &LogWish, bytes_max: usize) -> LogPage {
    let process = recent.process();
    let is_wanted = filter(wish);
    let limit = usize::try_from(wish.limit.min(LOG_LINES_MAX)).unwrap_or_default();
    match wish.after {
        Some(place) => {
            // Of another process nothing is known: all of this one is news.
            let from = if place.process == process { place.line } else { 0 };
            onward(recent.behind(from), process, (limit, bytes_max), is_wanted)
        }
        None => newest(recent.behind(0), process, (limit, bytes_max), is_wanted),
    }
}

/// From a place on, the oldest lines first.
fn onward(
    behind: Behind,
    process: u32,
    (limit, bytes_max): (usize, usize),
    is_wanted: impl Fn(&Line) -> bool,
) -> LogPage {
    let (mut lines, mut bytes) = (Vec::new(), 0);
    let mut place = LogPlace { process, line: behind.last };
    let mut is_more = false;
    for line in behind.lines {
        if !is_wanted(&line) {
            continue;
        }
        bytes += length(&line);
        if lines.len() == limit || (bytes > bytes_max && !lines.is_empty()) {
            place.line = line.number - 1;
            is_more = true;
            break;
        }
        lines.push(told(&line));
    }
    LogPage { place, lost: behind.lost, is_more, older: 0, lines }
}

/// The newest lines.
fn newest(
    behind: Behind,
    process: u32,
    (limit, bytes_max): (usize, usize),
    is_wanted: impl Fn(&Line) -> bool,
) -> LogPage {
    let wanted: Vec<_> = behind.lines.iter().rev().filter(|line| is_wanted(line)).collect();
    let (mut left, count) = (bytes_max, wanted.len().min(limit));
    let fits = |line: &&Arc<Line>| {
        let is_room = length(line) <= left;
        left = left.saturating_sub(length(line));
        is_room
    };
    let fitting = wanted.into_iter().take(limit).take_while(fits);
    let mut lines: Vec<_> = fitting.map(told).collect();
    lines.reverse();
    let place = LogPlace { process, line: behind.last };
    let older = count.saturating_sub(lines.len()) as u64;
    LogPage { place, lost: 0, is_more: false, older, lines }
}

fn filter(wish: &LogWish) -> impl Fn(&Line) -> bool {
    let text = wish.text.to_lowercase();
    let (since, level) = (wish.since_unix_ms.unwrap_or_default(), wish.level);
    move |line| {
        let has = |found: &str| found.to_lowercase().contains(&text);
        line.at_unix_ms >= since
            && level.is_none_or(|worst| level_of(line) <= worst)
            && (text.is_empty()
                || has(&line.message)
                || has(&line.target)
                || line.fields.iter().any(|(name, value)| has(name) || has(value)))
    }
}

fn told(line: &Arc<Line>) -> LogLine {
    LogLine {
        line: line.number,
        at_unix_ms: line.at_unix_ms,
        level: level_of(line),
        target: line.target.clone(),
        message: line.message.clone(),
        fields: line.fields.iter().cloned().collect(),
        is_cut: line.is_cut,
    }
}

fn level_of(line: &Line) -> LogLevel {
    match line.level {
        tracing::Level::ERROR => LogLevel::Error,
        tracing::Level::WARN => LogLevel::Warn,
        tracing::Level::INFO => LogLevel::Info,
        tracing::Level::DEBUG => LogLevel::Debug,
        tracing::Level::TRACE => LogLevel::Trace,
    }
}

/// About how long it is as JSON; control characters become longer, and are rare.
fn length(line: &Arc<Line>) -> usize {
    let fields = line.fields.iter().map(|(name, value)| name.len() + value.len() + 6);
    line.target.len() + line.message.len() + fields.sum::<usize>() + LINE_BYTES
}

/// The names of its parts, numbers and signs.
const LINE_BYTES: usize = 120;

#[cfg(test)]
mod tests {
    use tidegate_chassis::recent::Limits;

    use super::*;

    fn logged(lines: usize, act: impl FnOnce()) -> Recent {
        let recent = Recent::new(Limits { lines, bytes: 1 << 20 });
        recent.during(act);
        recent
    }

    fn said(page: &LogPage) -> String {
        page.lines.iter().map(|line| line.message.as_str()).collect::<Vec<_>>().join(" ")
    }

    fn wish(limit: u32) -> LogWish {
        LogWish { limit, ..LogWish::default() }
    }

    #[test]
    fn lines_are_found_by_level_text_and_time_and_the_newest_are_told() {
        let recent = logged(100, || {
            tracing::info!("one");
            tracing::warn!(lane = "Purges", "two");
            tracing::error!("three");
            tracing::info!(target: "edge::listener", "four");
        });
        let far = u64::MAX / 2;
        let plain = wish(10);
        for (wish, expected) in [
            (plain.clone(), "one two three four"),
            (wish(2), "three four"),
            (wish(0), ""),
            (LogWish { level: Some(LogLevel::Warn), ..plain.clone() }, "two three"),
            (LogWish { level: Some(LogLevel::Error), ..plain.clone() }, "three"),
            (LogWish { text: "pURGES".into(), ..plain.clone() }, "two"),
            (LogWish { text: "listener".into(), ..plain.clone() }, "four"),
            (LogWish { text: "HRE".into(), ..plain.clone() }, "three"),
            (LogWish { since_unix_ms: Some(far), ..plain }, ""),
        ] {
            let page = page(&recent, &wish, 1 << 16);
            assert_eq!(said(&page), expected, "{wish:?}");
            assert_eq!((page.place.line, page.lost, page.is_more), (4, 0, false));
        }
        let some = page(&recent, &wish(10), 350);
        assert_eq!((said(&some).as_str(), some.older), ("three four", 2), "as many as fit");
        assert_eq!(page(&recent, &wish(2), 350).older, 0, "no more are wanted");
    }

    #[test]
    fn who_goes_on_gets_every_line_once_and_hears_what_was_lost() {
        let recent = logged(5, || {
            (0..8).for_each(|number| match number % 2 {
                0 => tracing::info!("{number}"),
                _ => tracing::warn!("{number}"),
            });
        });
        let process = recent.process();
        let from = |line: u64, limit: u32| LogWish {
            after: Some(LogPlace { process, line }),
            ..wish(limit)
        };
        // Kept are 3 to 7, which have the numbers 4 to 8.
        let mut next = from(1, 2);
        let mut all = Vec::new();
        loop {
            let page = page(&recent, &next, 1 << 16);
            all.push((said(&page), page.lost, page.place.line));
            if !page.is_more {
                break;
            }
            next.after = Some(page.place);
        }
        let expected = [("3 4", 2, 5), ("5 6", 0, 7), ("7", 0, 8)];
        assert_eq!(all, expected.map(|(text, lost, line)| (text.to_owned(), lost, line)));
        let warned = LogWish { level: Some(LogLevel::Warn), ..from(3, 2) };
        let page_of = |wish: &LogWish| page(&recent, wish, 1 << 16);
        let first = page_of(&warned);
        assert_eq!((said(&first).as_str(), first.place.line, first.is_more), ("3 5", 7, true));
        let nothing = page_of(&from(8, 5));
        assert_eq!((nothing.lines.len(), nothing.lost, nothing.place.line), (0, 0, 8));
        // A line larger than all is still told: nobody stands still before it.
        assert_eq!(said(&page(&recent, &from(3, 5), 1)), "3");
        let other = LogPlace { process: process ^ 1, line: 7 };
        let restarted = page_of(&LogWish { after: Some(other), ..wish(10) });
        assert_eq!((said(&restarted).as_str(), restarted.lost), ("3 4 5 6 7", 3));
    }
}

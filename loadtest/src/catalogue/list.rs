//! Lists of videos: plain text and M3U with a URL on each line, and JSON feeds.
//!
//! Invariant: a list that is read has at least one URL and at most `VIDEOS_MAX`.

use serde_json::Value;
use url::Url;

/// Why a list cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ListError {
    #[error("line {line}: {text:?} is no URL")]
    NoUrl { line: usize, text: String },
    #[error("the list has no video")]
    Empty,
    #[error("the list has more than {VIDEOS_MAX} videos")]
    TooLong,
    #[error("the feed is no JSON: {0}")]
    NoJson(String),
    #[error("the feed has nothing at {0}")]
    NoPointer(String),
}

/// Reads a list with a URL on each line. Lines that begin with `#` are left out, as M3U has it; others may be relative.
///
/// # Errors
/// Names the line that is no URL.
pub fn parse_list(text: &str, base: Option<&Url>) -> Result<Vec<Url>, ListError> {
    let mut videos = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let line = line.trim();
        if !line.is_empty() && !line.starts_with('#') {
            videos.push(parse_url(line, base, index + 1)?);
        }
        if videos.len() > VIDEOS_MAX {
            return Err(ListError::TooLong);
        }
    }
    if videos.is_empty() { Err(ListError::Empty) } else { Ok(videos) }
}

/// Reads a JSON feed. `pointer` is a JSON pointer (RFC 6901) in which `*` stands for every element of an array, like
/// `/items/*/playback/hls`.
///
/// # Errors
/// When nothing is there, or something that is no URL.
pub fn parse_feed(text: &str, pointer: &str, base: &Url) -> Result<Vec<Url>, ListError> {
    let feed: Value =
        serde_json::from_str(text).map_err(|error| ListError::NoJson(error.to_string()))?;
    let mut here = vec![&feed];
    for step in pointer.split('/').skip(1) {
        let step = step.replace("~1", "/").replace("~0", "~");
        here = here.into_iter().flat_map(|value| below(value, &step)).collect();
        if here.len() > VIDEOS_MAX {
            return Err(ListError::TooLong);
        }
    }
    let texts: Vec<&str> = here.into_iter().filter_map(Value::as_str).collect();
    if texts.is_empty() {
        return Err(ListError::NoPointer(pointer.to_owned()));
    }
    let url = |(index, text): (usize, &&str)| parse_url(text, Some(base), index + 1);
    texts.iter().enumerate().map(url).collect()
}

fn below<'a>(value: &'a Value, step: &str) -> Vec<&'a Value> {
    match value {
        Value::Array(items) if step == "*" => items.iter().collect(),
        Value::Array(items) => {
            step.parse::<usize>().ok().and_then(|index| items.get(index)).into_iter().collect()
        }
        Value::Object(fields) => fields.get(step).into_iter().collect(),
        _ => Vec::new(),
    }
}

fn parse_url(text: &str, base: Option<&Url>, line: usize) -> Result<Url, ListError> {
    let url = match base {
        Some(base) => base.join(text),
        None => Url::parse(text),
    };
    match url {
        Ok(url) if matches!(url.scheme(), "http" | "https") && url.has_host() => Ok(url),
        // What is wrong is shown without its query, which may hold a token.
        _ => {
            let text = text.split('?').next().unwrap_or_default().chars().take(80).collect();
            Err(ListError::NoUrl { line, text })
        }
    }
}

/// Videos of one catalogue.
pub const VIDEOS_MAX: usize = 1_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(videos: Result<Vec<Url>, ListError>) -> Result<Vec<String>, String> {
        videos
            .map(|all| all.into_iter().map(String::from).collect())
            .map_err(|error| error.to_string())
    }

    #[test]
    fn text_and_m3u_are_lists() {
        let base = Url::parse("http://a.test/feeds/").unwrap();
        let text = "#EXTM3U\n#EXTINF:-1,One\nhttps://b.test/1.m3u8\r\n\n  2.m3u8\n";
        let expected = vec!["https://b.test/1.m3u8".into(), "http://a.test/feeds/2.m3u8".into()];
        assert_eq!(shown(parse_list(text, Some(&base))), Ok(expected));
        for (text, expected) in [
            ("# nothing", "the list has no video"),
            ("http://a.test/\nmailto:x?token=1", "line 2: \"mailto:x\" is no URL"),
            ("a.m3u8", "line 1: \"a.m3u8\" is no URL"),
        ] {
            assert_eq!(shown(parse_list(text, None)), Err(expected.to_owned()), "{text}");
        }
    }

    #[test]
    fn a_feed_is_read_by_its_pointer() {
        let base = Url::parse("https://a.test/feed.json").unwrap();
        let feed = r#"{"items":[{"play":{"hls":"/v/1.m3u8"}},{"none":1},{"play":{"hls":"/v/2.m3u8"}}],"a/b":["x"]}"#;
        let table: &[(&str, Result<&[&str], &str>)] = &[
            ("/items/*/play/hls", Ok(&["https://a.test/v/1.m3u8", "https://a.test/v/2.m3u8"])),
            ("/items/2/play/hls", Ok(&["https://a.test/v/2.m3u8"])),
            ("/a~1b/0", Ok(&["https://a.test/x"])),
            ("/items/*/gone", Err("the feed has nothing at /items/*/gone")),
        ];
        for (pointer, expected) in table {
            let expected = expected
                .map(|all| all.iter().map(|url| (*url).to_owned()).collect())
                .map_err(str::to_owned);
            assert_eq!(shown(parse_feed(feed, pointer, &base)), expected, "{pointer}");
        }
        assert!(shown(parse_feed("{", "/a", &base)).is_err());
    }
}

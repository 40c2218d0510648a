//! Reading of an HLS media playlist what a cache can use: how far it has come, and which segment follows which.
//!
//! Pure, and forgiving: what is not understood is passed over (RFC 8216 section 6.3.1). Invariant: neither time nor
//! memory grow beyond the text that was read.

use std::time::Duration;

/// What is read of a media playlist.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Playlist<'a> {
    /// `EXT-X-TARGETDURATION`.
    pub(super) target: Duration,
    /// How far it has come.
    pub(super) position: Position,
    /// Whether it will not change any more.
    pub(super) is_ended: bool,
    /// The URIs of its segments, in order, as they are written.
    pub(super) segments: Vec<&'a str>,
}

/// How far a live playlist has come. Grows with every segment and part.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Position {
    /// The media sequence number behind the last segment.
    pub(super) sequence: u64,
    /// Parts behind the last segment.
    pub(super) parts: u32,
}

impl<'a> Playlist<'a> {
    /// Reads a text; `None` when it is no media playlist.
    pub(super) fn read(text: &'a [u8]) -> Option<Self> {
        let text = std::str::from_utf8(text).ok()?;
        let mut lines = text.lines().map(str::trim);
        (lines.next()?.trim_start_matches('\u{feff}') == "#EXTM3U").then_some(())?;
        let (mut target, mut first, mut parts, mut skipped) = (None, 0, 0, 0);
        let (mut is_ended, mut is_segment, mut segments) = (false, false, Vec::new());
        for line in lines {
            if let Some(value) = line.strip_prefix("#EXT-X-TARGETDURATION:") {
                target = value.trim().parse().ok().map(Duration::from_secs);
            } else if let Some(value) = line.strip_prefix("#EXT-X-MEDIA-SEQUENCE:") {
                first = value.trim().parse().ok()?;
            } else if let Some(value) = line.strip_prefix("#EXT-X-SKIP:") {
                skipped = attribute(value, "SKIPPED-SEGMENTS")?.parse().ok()?;
            } else if line.starts_with("#EXT-X-PART:") {
                parts += 1;
            } else if line.starts_with("#EXTINF:") {
                is_segment = true;
            } else if line == "#EXT-X-ENDLIST" {
                is_ended = true;
            } else if !line.is_empty() && !line.starts_with('#') && is_segment {
                segments.push(line);
                (is_segment, parts) = (false, 0);
            }
        }
        let count = (segments.len() as u64).checked_add(skipped)?;
        let position = Position { sequence: u64::checked_add(first, count)?, parts };
        Some(Self { target: target?, position, is_ended, segments })
    }
}

/// The path that a URI in the playlist at `base` stands for, on the same host; `None` for another host.
pub(super) fn resolve(base: &str, host: &str, uri: &str) -> Option<String> {
    let uri = uri.split('#').next().filter(|uri| !uri.is_empty())?;
    if !uri.bytes().all(|byte| byte.is_ascii_graphic()) || uri.len() > URI_BYTES_MAX {
        return None;
    }
    let after_scheme = uri
        .strip_prefix("https://")
        .or_else(|| uri.strip_prefix("http://"))
        .or(uri.strip_prefix("//"));
    if let Some(rest) = after_scheme {
        let at = rest.find('/').unwrap_or(rest.len());
        let is_same = tidegate_contract::purge::host_of(&rest[..at]).as_deref() == Some(host);
        return is_same.then(|| merged("/", &rest[at..]));
    }
    if uri.split(['/', '?']).next().is_some_and(|first| first.contains(':')) {
        return None; // another scheme
    }
    Some(merged(base, uri))
}

/// RFC 3986 section 5.2 for paths: relative to the folder of `base`, without dot segments.
fn merged(base: &str, reference: &str) -> String {
    let (path, query) = match reference.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (reference, None),
    };
    let base = base.split('?').next().unwrap_or_default();
    let folder = base.rfind('/').map_or("/", |at| &base[..=at]);
    let whole = if path.starts_with('/') { path.to_owned() } else { format!("{folder}{path}") };
    let mut kept: Vec<&str> = Vec::new();
    let mut segments = whole.split('/').skip(1).peekable();
    while let Some(segment) = segments.next() {
        let is_last = segments.peek().is_none();
        match segment {
            ".." => {
                kept.pop();
                kept.extend(is_last.then_some(""));
            }
            "." => kept.extend(is_last.then_some("")),
            _ => kept.push(segment),
        }
    }
    let path = format!("/{}", kept.join("/"));
    query.map_or_else(|| path.clone(), |query| format!("{path}?{query}"))
}

/// Whether bytes are a media playlist, and where its segments lead; for those who try to break it.
#[must_use]
pub fn segments_of(base: &str, host: &str, text: &[u8]) -> Option<Vec<String>> {
    let playlist = Playlist::read(text)?;
    Some(playlist.segments.iter().filter_map(|uri| resolve(base, host, uri)).collect())
}

/// An attribute of a tag's list, quotes removed.
fn attribute<'a>(list: &'a str, name: &str) -> Option<&'a str> {
    list.split(',').find_map(|pair| {
        let (known, value) = pair.split_once('=')?;
        (known.trim() == name).then(|| value.trim().trim_matches('"'))
    })
}

/// The longest URI that is looked at.
const URI_BYTES_MAX: usize = 4096;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LIVE: &str = "#EXTM3U\n#EXT-X-TARGETDURATION:4\n#EXT-X-MEDIA-SEQUENCE:10\n\
        #EXTINF:4.0,\na.m4s\n#EXT-X-PART:DURATION=1,URI=\"x\"\n#EXTINF:4,\r\nb.m4s\n\
        #EXT-X-PART:DURATION=1,URI=\"y\"\n#EXT-X-PART:DURATION=1,URI=\"z\"\n";

    #[test]
    fn a_live_playlist_says_how_far_it_is() {
        let playlist = Playlist::read(LIVE.as_bytes()).unwrap();
        assert_eq!(playlist.target, Duration::from_secs(4));
        assert_eq!(playlist.position, Position { sequence: 12, parts: 2 });
        assert_eq!(playlist.segments, ["a.m4s", "b.m4s"]);
        assert!(!playlist.is_ended);
        let further = format!("{LIVE}#EXTINF:4,\nc.m4s\n#EXT-X-ENDLIST\n");
        let further = Playlist::read(further.as_bytes()).unwrap();
        assert!(further.position > playlist.position && further.is_ended);
    }

    #[test]
    fn a_delta_update_counts_what_it_skips() {
        let delta = LIVE.replace("#EXTINF:4.0,\na.m4s\n", "#EXT-X-SKIP:SKIPPED-SEGMENTS=5\n");
        assert_eq!(Playlist::read(delta.as_bytes()).unwrap().position.sequence, 16);
    }

    #[test]
    fn what_is_no_media_playlist_is_none() {
        for text in [
            "",
            "x",
            "#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\nlow.m3u8\n",
            "#EXTM3U\n#EXT-X-TARGETDURATION:x\n",
            "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXT-X-MEDIA-SEQUENCE:-1\n",
            "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXT-X-MEDIA-SEQUENCE:18446744073709551615\n#EXTINF:1,\na\n",
        ] {
            assert_eq!(Playlist::read(text.as_bytes()), None, "{text:?}");
        }
    }

    #[test]
    fn uris_lead_to_paths_of_the_same_host() {
        for (uri, expected) in [
            ("b.m4s", Some("/v/x/b.m4s")),
            ("b.m4s?t=1#f", Some("/v/x/b.m4s?t=1")),
            ("../../m/1.m4s", Some("/m/1.m4s")),
            ("./a/./b/..", Some("/v/x/a/")),
            ("../../../../1.m4s", Some("/1.m4s")),
            ("/abs/1.m4s", Some("/abs/1.m4s")),
            ("https://A.org:8443/1.m4s", Some("/1.m4s")),
            ("//a.org/1.m4s", Some("/1.m4s")),
            ("https://b.org/1.m4s", None),
            ("data:video/mp4;base64,AA", None),
            ("#f", None),
            ("a b", None),
        ] {
            assert_eq!(resolve("/v/x/p.m3u8?q=/z", "a.org", uri).as_deref(), expected, "{uri}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic_and_every_path_is_absolute(text in "(?s).{0,300}", uri in ".{0,60}") {
            let _ = Playlist::read(text.as_bytes());
            if let Some(path) = resolve("/a/b", "a.org", &uri) {
                prop_assert!(path.starts_with('/'));
                prop_assert!(!path.split('?').next().unwrap().split('/').any(|s| s == ".."));
            }
        }
    }
}

//! Playlists as packagers and servers write them, and as nobody should.

mod multivariant; // first documents
mod media; // whole media playlists
mod low_latency; // parts, hints, delta updates
mod hostile; // what must end in an error, and soon

use url::Url;

use super::super::{ManifestError, Object, SegmentList};

fn base() -> Url {
    Url::parse("https://a.example/v/1/720p.m3u8?t=1").expect("a URL")
}

fn media(text: &str) -> Result<SegmentList, ManifestError> {
    super::media(text.as_bytes(), &base(), None)
}

/// A URL without what all share, and its range.
fn short(object: &Object) -> String {
    let url = object.url.as_str().replacen("https://a.example/v/1/", "", 1);
    match object.range {
        None => url,
        Some((first, Some(length))) => format!("{url} {length}@{first}"),
        Some((first, None)) => format!("{url} @{first}"),
    }
}

/// Every segment as `number/discontinuity url seconds init`.
fn lines(list: &SegmentList) -> Vec<String> {
    let one = |segment: &super::super::Segment| {
        format!(
            "{}/{} {} {}{}",
            segment.number,
            segment.discontinuity_sequence,
            segment.object.as_ref().map_or("-".to_owned(), short),
            segment.duration.as_secs_f64(),
            segment.init.as_ref().map_or(String::new(), |init| format!(" {}", short(init)))
        )
    };
    list.segments.iter().map(one).collect()
}

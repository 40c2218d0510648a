//! MPDs as packagers and servers write them, and as nobody should.

mod choices; // what can be played
mod whole; // static MPDs
mod live; // windows that move
mod hostile; // what must end in an error, and soon

use url::Url;

use super::{super::SegmentList, Mpd};

fn base() -> Url {
    Url::parse("https://a.example/v/1/manifest.mpd?t=1").expect("a URL")
}

fn mpd(text: &str) -> Mpd {
    Mpd::parse(text.as_bytes(), &base()).expect("an MPD")
}

/// A static MPD of one video representation `v`.
fn simple(inside: &str) -> String {
    format!(
        "<MPD type=\"static\" mediaPresentationDuration=\"PT10S\"><Period>\
         <AdaptationSet mimeType=\"video/mp4\"><Representation id=\"v\" bandwidth=\"500\">{inside}\
         </Representation></AdaptationSet></Period></MPD>"
    )
}

/// Every segment as `number/discontinuity url seconds init`.
fn lines(list: &SegmentList) -> Vec<String> {
    let short = |object: &crate::manifest::Object| {
        let url = object.url.as_str().replacen("https://a.example/v/1/", "", 1);
        match object.range {
            Some((first, Some(length))) => format!("{url} {length}@{first}"),
            _ => url,
        }
    };
    let one = |segment: &crate::manifest::Segment| {
        format!(
            "{}/{} {} {}{}",
            segment.number,
            segment.discontinuity_sequence,
            segment.object.as_ref().map_or("-".into(), short),
            segment.duration.as_secs_f64(),
            segment.init.as_ref().map_or(String::new(), |init| format!(" {}", short(init)))
        )
    };
    list.segments.iter().map(one).collect()
}

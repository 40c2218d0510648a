//! How much parsing does: bytes that it looks at or makes. Tests hold that against the size of a document, which says
//! more than a clock on a busy machine. Outside of tests nothing is counted.

#[cfg(test)]
use std::cell::Cell;

/// Some bytes were looked at or made.
#[cfg(test)]
pub(super) fn add(bytes: usize) {
    DONE.set(DONE.get() + bytes as u64);
}

#[cfg(not(test))]
#[inline]
pub(super) const fn add(_bytes: usize) {}

/// What a piece of work comes to on this thread.
#[cfg(test)]
pub(super) fn of<T>(work: impl FnOnce() -> T) -> (u64, T) {
    let before = DONE.get();
    let result = work();
    (DONE.get() - before, result)
}

#[cfg(test)]
thread_local! {
    static DONE: Cell<u64> = const { Cell::new(0) };
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use url::Url;

    use super::*;
    use crate::manifest::{dash::Mpd, hls};

    /// Everything that is done with a document.
    fn work(text: &str) -> u64 {
        let base = Url::parse("https://a.example/v/1/x?q=1").expect("a URL");
        let (done, ()) = of(|| {
            let _ = hls::multivariant(text.as_bytes(), &base);
            if let Ok(list) = hls::media(text.as_bytes(), &base, None) {
                let _ = hls::media(text.as_bytes(), &base, Some(&list));
            }
            if let Ok(mpd) = Mpd::parse(text.as_bytes(), &base) {
                let _ = mpd.presentation();
                let _ = mpd.segments("v", 1_795_251_600_000);
            }
        });
        done
    }

    /// Ten times the document is no more than about ten times the work.
    fn assert_in_proportion(name: &str, document: impl Fn(usize) -> String) {
        let (small, large) = (work(&document(200)), work(&document(2_000)));
        assert!(small > 0 && large > 0, "{name}: nothing was counted");
        assert!(large <= small * 11, "{name}: {small}, then {large}");
    }

    #[test]
    fn playlists_take_work_in_proportion_to_their_size() {
        let media = "#EXTM3U\n#EXT-X-TARGETDURATION:4\n";
        let repeated = [
            (media, "#EXTINF:4,\na.ts\n"),
            (media, "#EXT-X-KEY:A\n"),
            (media, "#EXT-X-MAP:A\n"),
            (media, "#EXT-X-PART:DURATION=1,URI=\"p\"\n#EXT-X-BYTERANGE:9\n"),
            (media, "#EXT-X-RENDITION-REPORT:,,,,=,=\"\n"),
            (media, "#EXTINF:4,\n#EXT-X-BYTERANGE:5\na.ts\n#EXT-X-DISCONTINUITY\n"),
            (media, "#EXT-X-DEFINE:NAME=\"a\",VALUE=\"b\"\n#EXTINF:4,\n{$a}{$a}{$\n"),
            (media, "\r"),
            (media, "#"),
            ("#EXTM3U\n", "#EXT-X-STREAM-INF:A\nu\n"),
            ("#EXTM3U\n", "#EXT-X-MEDIA:X=\"\n"),
            ("#EXTM3U\n#EXT-X-MEDIA:", "A=\"x,"),
            ("#EXTM3U\n#EXT-X-MEDIA:", ",,A=,\"\""),
            ("#EXTM3U\n#EXT-X-STREAM-INF:", "BANDWIDTH=1,"),
        ];
        for (head, line) in repeated {
            assert_in_proportion(line, |count| format!("{head}{}", line.repeat(count)));
        }
    }

    #[test]
    fn mpds_take_work_in_proportion_to_their_size() {
        let within = |inside: &str| {
            format!(
                "<MPD mediaPresentationDuration=\"PT90000S\"><Period><AdaptationSet mimeType=\"video/mp2t\">{inside}\
                 <Representation id=\"v\"><SegmentTemplate duration=\"9000\" media=\"m\"/></Representation>\
                 </AdaptationSet></Period></MPD>"
            )
        };
        assert_in_proportion("elements", |count| within(&"<x/>".repeat(count)));
        assert_in_proportion("text", |count| within(&"a&amp;".repeat(count)));
        assert_in_proportion("comments", |count| within(&"<!-- - -->".repeat(count)));
        assert_in_proportion("base URLs", |count| within(&"<BaseURL>a</BaseURL>".repeat(count)));
        assert_in_proportion("attributes", |count| {
            let attributes: String = (0..count).map(|n| format!(" a{n}=\"&lt;\"")).collect();
            within(&format!("<x{attributes}/>"))
        });
        assert_in_proportion("runs", |count| {
            let runs = "<S d=\"2\"/><S d=\"3\" r=\"1\"/>".repeat(count);
            let timeline = format!("<SegmentTimeline>{runs}</SegmentTimeline>");
            within("").replace(
                "<SegmentTemplate duration=\"9000\" media=\"m\"/>",
                &format!("<SegmentTemplate media=\"$Time$\">{timeline}</SegmentTemplate>"),
            )
        });
        assert_in_proportion("sets", |count| {
            let set = "<AdaptationSet mimeType=\"video/mp4\"><Representation/></AdaptationSet>";
            let period = format!("<Period duration=\"PT9S\">{}</Period>", set.repeat(10));
            format!("<MPD>{}{}</MPD>", period.repeat(count / 10), within(""))
        });
        assert_in_proportion("an open end", |count| format!("<MPD {}", "a=\"".repeat(count)));
        assert_in_proportion("deep", |count| format!("<MPD>{}", "<a>".repeat(count)));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn any_line_a_hundred_times_takes_a_hundred_times_the_work(
            line in "(#EXT-X-(MEDIA|PART|MAP|DEFINE|SKIP|STREAM-INF):|#EXTINF:1,\n)?[A-C=\",{$}:0-9 ]{0,40}",
        ) {
            let document = |count| {
                format!("#EXTM3U\n#EXT-X-TARGETDURATION:4\n{}", format!("{line}\n").repeat(count))
            };
            prop_assert!(work(&document(200)) <= work(&document(20)) * 11);
        }
    }
}

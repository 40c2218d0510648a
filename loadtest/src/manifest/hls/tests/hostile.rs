//! Playlists that must end in an error that names the line, or in a list within the limits, and never in a panic.

use proptest::prelude::*;

use super::{super::multivariant, *};
use crate::manifest::limit;

const HEAD: &str = "#EXTM3U\n#EXT-X-TARGETDURATION:4\n";

#[test]
fn what_breaks_play_is_refused_with_its_line() {
    let table = [
        ("#EXTINF:0,\na.ts\n", Some(3), "the duration of EXTINF cannot be \"0\""),
        ("#EXTINF:-1,\na.ts\n", Some(3), "the duration of EXTINF"),
        ("#EXTINF:NaN,\na.ts\n", Some(3), "the duration of EXTINF"),
        ("#EXTINF:1e9,\na.ts\n", Some(3), "the duration of EXTINF"),
        ("#EXTINF:99999999999999999999999,\na.ts\n", Some(3), "the duration of EXTINF"),
        ("#EXTINF:,\na.ts\n", Some(3), "the duration of EXTINF"),
        ("#EXTINF:4,\n1.m4s\n", Some(4), "the init segment (EXT-X-MAP) of a fragment is missing"),
        ("#EXTINF:4,\nftp://a/1.ts\n", Some(4), "the URL of a segment cannot be used"),
        ("#EXT-X-MAP:BYTERANGE=\"1@0\"\n", Some(3), "URI of EXT-X-MAP is missing"),
        ("#EXT-X-MAP:URI=\"a\",BYTERANGE=\"0@0\"\n", Some(3), "BYTERANGE of EXT-X-MAP cannot be"),
        ("#EXT-X-BYTERANGE:x\n", Some(3), "EXT-X-BYTERANGE cannot be \"x\""),
        (
            "#EXT-X-BYTERANGE:9007199254740992@9007199254740992\n#EXTINF:4,\na.ts\n",
            Some(5),
            "the end of a byte range",
        ),
        ("#EXT-X-MEDIA-SEQUENCE:-1\n", Some(3), "EXT-X-MEDIA-SEQUENCE cannot be \"-1\""),
        (
            "#EXT-X-MEDIA-SEQUENCE:9007199254740992\n#EXTINF:4,\na.ts\n#EXTINF:4,\nb.ts\n",
            Some(7),
            "a media sequence number",
        ),
        ("#EXT-X-PART-INF:PART-TARGET=0\n", Some(3), "PART-TARGET cannot be \"0\""),
        ("#EXT-X-PART:URI=\"a\"\n", Some(3), "DURATION of EXT-X-PART is missing"),
        ("#EXT-X-PART:DURATION=1\n", Some(3), "URI of EXT-X-PART is missing"),
        ("#EXT-X-PRELOAD-HINT:TYPE=PART\n", Some(3), "URI of EXT-X-PRELOAD-HINT is missing"),
        ("#EXT-X-TARGETDURATION:x\n", Some(3), "EXT-X-TARGETDURATION cannot be \"x\""),
    ];
    for (body, line, what) in table {
        let error = media(&format!("{HEAD}{body}")).expect_err(body);
        assert!(error.line == line && error.to_string().contains(what), "{body}: {error}");
    }
    let table = [
        ("#EXTM3U\n#EXTINF:4,\na.ts\n", None, "EXT-X-TARGETDURATION is missing"),
        ("#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\na.m3u8\n", Some(2), "a multivariant playlist"),
        ("#EXTINF:4,\na.ts\n", Some(1), "#EXTM3U is missing"),
        ("", None, "#EXTM3U is missing"),
    ];
    for (text, line, what) in table {
        let error = media(text).expect_err(text);
        assert!(error.line == line && error.to_string().contains(what), "{text}: {error}");
    }
}

#[test]
fn an_error_never_quotes_a_url() {
    let error = media(&format!("{HEAD}#EXTINF:4,\nhttps://[x?token=secret\n")).expect_err("no URL");
    assert!(!error.to_string().contains("secret"));
}

#[test]
fn many_lines_run_into_a_limit() {
    let segments = "#EXTINF:4,\na.ts\n".repeat(limit::MAX_SEGMENTS + 1);
    let error = media(&format!("{HEAD}{segments}")).expect_err("too many");
    assert_eq!(error.line, Some(200_004));
    assert!(error.to_string().contains("more than 100000 segments and parts"), "{error}");
    let parts = "#EXT-X-PART:DURATION=1,URI=\"a\"\n".repeat(limit::MAX_SEGMENTS + 1);
    let error = media(&format!("{HEAD}{parts}")).expect_err("too many");
    assert_eq!(error.line, Some(100_003));
    let comments = "#\n".repeat(limit::MAX_LINES as usize);
    let error = media(&format!("{HEAD}{comments}")).expect_err("too many");
    assert_eq!(error.line, Some(limit::MAX_LINES + 1));
    let long = format!("{HEAD}#EXTINF:4,\n{}\n", "a".repeat(limit::MAX_URL_BYTES + 1));
    assert_eq!(media(&long).expect_err("long").line, Some(4));
}

#[test]
fn a_long_init_url_under_many_segments_runs_into_a_limit() {
    let map = format!("#EXT-X-MAP:URI=\"{}\"\n", "i".repeat(8_000));
    let error = media(&format!("{HEAD}{map}{}", "#EXTINF:4,\na\n".repeat(50_000)))
        .expect_err("gigabytes of URLs");
    assert!(error.to_string().contains("bytes of URLs"), "{error}");
}

/// Lines that mean something, mixed and broken.
fn playlist() -> impl Strategy<Value = String> {
    let line = prop_oneof![
        "#EXT-X-(PART|SKIP|MAP|MEDIA|STREAM-INF|DEFINE|PRELOAD-HINT|START|PART-INF|RENDITION-REPORT|SERVER-CONTROL|CONTENT-STEERING):[A-Z=\",{}$@0-9.-]{0,30}",
        "#EXT-X-(PART|MAP|MEDIA|STREAM-INF|DEFINE|PRELOAD-HINT):(URI=\"a\"|TYPE=AUDIO|TYPE=PART|GROUP-ID=\"g\"|AUDIO=\"g\"|NAME=\"n\",VALUE=\"v\"|DURATION=1|BANDWIDTH=5|BYTERANGE=\"[0-9@]{1,5}\"|,){0,5}",
        "#EXTINF:[0-9.]{0,4},",
        "#EXT-X-(BYTERANGE|MEDIA-SEQUENCE|DISCONTINUITY-SEQUENCE|TARGETDURATION):[0-9@]{0,20}",
        "#EXT-X-(DISCONTINUITY|GAP|ENDLIST)",
        "#EXT-X-PROGRAM-DATE-TIME:20[0-9]{2}-1[0-2]-0[0-9]T0[0-9]:00:00Z",
        "[a-z{}$/.:]{1,12}",
        ".{0,20}",
    ];
    prop::collection::vec(line, 0..40)
        .prop_map(|lines| format!("#EXTM3U\n#EXT-X-TARGETDURATION:4\n{}", lines.join("\n")))
}

proptest! {
    #[test]
    fn any_playlist_ends_in_a_sound_list_or_an_error(text in playlist(), again in playlist()) {
        let _ = multivariant(text.as_bytes(), &base());
        let _ = multivariant(text.replacen("#EXT-X-TARGETDURATION:4", "", 1).as_bytes(), &base());
        if let Ok(list) = media(&text) {
            check(&list, &text)?;
            if let Ok(next) = super::super::media(again.as_bytes(), &base(), Some(&list)) {
                check(&next, &again)?;
            }
        }
    }

    #[test]
    fn any_bytes_end_in_a_list_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = multivariant(&bytes, &base());
        let _ = super::super::media(&bytes, &base(), None);
        let _ = crate::manifest::sniff(&bytes);
        let _ = crate::manifest::steering::parse(&bytes);
    }
}

/// What every list holds to.
fn check(list: &SegmentList, text: &str) -> Result<(), TestCaseError> {
    let last = list.segments.len().saturating_sub(1);
    for (index, segment) in list.segments.iter().enumerate() {
        prop_assert_eq!(segment.number, list.media_sequence + index as u64);
        prop_assert!(!segment.duration.is_zero());
        prop_assert!(segment.object.is_some() || index == last && !segment.parts.is_empty());
        prop_assert!(segment.parts.iter().all(|part| !part.duration.is_zero()));
    }
    let growing = |pair: &[super::super::super::Segment]| {
        pair[0].discontinuity_sequence <= pair[1].discontinuity_sequence
    };
    prop_assert!(list.segments.windows(2).all(growing), "{}", text);
    prop_assert!(!list.target_duration.is_zero());
    Ok(())
}

//! A playlist that a server sends, and one that follows it, with a NUL between: no text makes the reader panic, and
//! what it makes of one is within the limits, in order, and takes time to play.

#![no_main]

use libfuzzer_sys::fuzz_target;
use tidegate_load::manifest::{self, SegmentList, hls, limit};
use url::Url;

fuzz_target!(|bytes: &[u8]| {
    let base = Url::parse("https://a.example/v/1/main.m3u8?token=1").expect("a URL");
    let mut documents = bytes.splitn(2, |byte| *byte == 0);
    let (first, next) =
        (documents.next().unwrap_or_default(), documents.next().unwrap_or_default());
    if let Ok(presentation) = hls::multivariant(first, &base) {
        assert!(manifest::sniff(first).is_ok());
        assert!(!presentation.variants.is_empty());
        assert!(presentation.variants.len() <= limit::MAX_VARIANTS);
        assert!(presentation.variants.is_sorted_by_key(|variant| variant.bandwidth));
        for variant in &presentation.variants {
            if let Some(group) = &variant.audio_group {
                assert!(presentation.audio.iter().any(|audio| audio.group == *group));
            }
        }
        let _ = hls::media_importing(next, &base, None, &presentation.variables);
    }
    if let Ok(list) = hls::media(first, &base, None) {
        check(&list);
        if let Ok(list) = hls::media(next, &base, Some(&list)) {
            check(&list);
        }
    }
});

fn check(list: &SegmentList) {
    let parts: usize = list.segments.iter().map(|segment| segment.parts.len()).sum();
    assert!(list.segments.len() + parts <= limit::MAX_SEGMENTS + 1);
    assert!(!list.target_duration.is_zero());
    for (number, segment) in (list.media_sequence..).zip(&list.segments) {
        assert_eq!(segment.number, number);
        assert!(!segment.duration.is_zero());
        assert!(segment.object.is_some() || !segment.parts.is_empty());
        for object in segment.object.iter().chain(segment.parts.iter().map(|part| &part.object)) {
            assert!(matches!(object.url.scheme(), "http" | "https"));
            assert!(object.range.is_none_or(|(_, length)| length != Some(0)));
        }
    }
}

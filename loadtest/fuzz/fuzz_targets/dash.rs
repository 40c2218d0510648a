//! An MPD that a server sends, read at any time of day: the first eight bytes are the clock; behind a NUL is what the
//! server gives for a segment index. No bytes make the reader panic, and what it makes of them is within the
//! limits, in order, and takes time to play.

#![no_main]

use libfuzzer_sys::fuzz_target;
use tidegate_load::manifest::{dash::Mpd, limit};
use url::Url;

fuzz_target!(|bytes: &[u8]| {
    let Some((clock, bytes)) = bytes.split_first_chunk::<8>() else { return };
    let mut parts = bytes.splitn(2, |byte| *byte == 0);
    let (text, index) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    let base = Url::parse("https://a.example/v/1/live.mpd?token=1").expect("a URL");
    let Ok(mut mpd) = Mpd::parse(text, &base) else { return };
    let presentation = mpd.presentation();
    assert!(!presentation.variants.is_empty());
    assert!(presentation.variants.is_sorted_by_key(|variant| variant.bandwidth));
    for variant in &presentation.variants {
        let id = variant.representation.as_deref().unwrap_or_default();
        while let Ok(Some(object)) = mpd.index(id, None) {
            if mpd.learn(object, index).is_err() {
                break;
            }
        }
        let Ok(list) = mpd.segments(id, i64::from_be_bytes(*clock)) else { continue };
        assert!(list.segments.len() <= limit::MAX_SEGMENTS);
        assert!(!list.target_duration.is_zero());
        assert!(list.segments.windows(2).all(|pair| pair[0].number < pair[1].number));
        for segment in &list.segments {
            assert!(!segment.duration.is_zero());
            let object = segment.object.as_ref().expect("every segment of an MPD is an object");
            assert!(matches!(object.url.scheme(), "http" | "https"));
        }
    }
});

//! Live MPDs: what may be asked for when, windows, low latency, periods that come and go.

use std::time::Duration;

use super::*;

const NINE: i64 = 1_795_251_600_000; // 2026-11-21T09:00:00Z

fn live(attributes: &str, template: &str) -> Mpd {
    mpd(&format!(
        "<MPD type=\"dynamic\" availabilityStartTime=\"2026-11-21T09:00:00Z\" {attributes}>\
         <UTCTiming schemeIdUri=\"urn:mpeg:dash:utc:http-iso:2014\" value=\"https://time.example/\"/>\
         <Period id=\"P0\" start=\"PT0S\"><AdaptationSet mimeType=\"video/mp4\">{template}\
         <Representation id=\"v\" bandwidth=\"1\"/></AdaptationSet></Period></MPD>"
    ))
}

const EQUAL: &str = "<SegmentTemplate timescale=\"1000\" duration=\"2000\" startNumber=\"10\" \
                     initialization=\"i\" media=\"$Number$\"/>";

#[test]
fn equal_segments_come_as_time_goes_by() {
    let mpd = live("timeShiftBufferDepth=\"PT6S\" suggestedPresentationDelay=\"PT4S\"", EQUAL);
    let table: [(i64, &[&str], i64); 6] = [
        (-5_000, &[], 2_001),
        (1_999, &[], 2_001),
        (2_000, &["0/0 10 2 i"], 4_001),
        (7_000, &["0/0 10 2 i", "2000/0 11 2 i", "4000/0 12 2 i"], 8_001),
        (8_000, &["2000/0 11 2 i", "4000/0 12 2 i", "6000/0 13 2 i"], 10_001),
        (3_600_000, &["3594000/0 1807 2 i", "3596000/0 1808 2 i", "3598000/0 1809 2 i"], 3_602_001),
    ];
    for (after, expected, next) in table {
        let list = mpd.segments("v", NINE + after).expect("segments");
        assert_eq!(lines(&list), expected, "{after} ms");
        assert_eq!(list.next_unix_ms, Some(NINE + next), "{after} ms");
        assert!(!list.is_ended && list.minimum_update.is_none());
        assert_eq!(list.server_control.hold_back, Some(Duration::from_secs(4)));
        let dates = list.segments.iter().map(|s| s.program_date_time.unwrap_or(0));
        assert!(dates.eq(list.segments.iter().map(|s| NINE + s.number as i64)));
    }
}

#[test]
fn low_latency_lists_a_segment_before_it_is_whole() {
    let template = EQUAL.replace("duration", "availabilityTimeOffset=\"1.5\" duration");
    let mpd = live(
        "minimumUpdatePeriod=\"PT0S\" timeShiftBufferDepth=\"PT2S\"",
        &format!("<ServiceDescription/>{template}"),
    );
    let list = mpd.segments("v", NINE + 2_500).expect("segments");
    assert_eq!(lines(&list), ["2000/0 11 2 i"]);
    assert_eq!(list.next_unix_ms, Some(NINE + 4_501));
    assert_eq!(list.minimum_update, Some(Duration::from_secs(2)), "with every segment");
    let always = EQUAL.replace("duration", "availabilityTimeOffset=\"INF\" duration");
    let list = live("mediaPresentationDuration=\"PT6S\"", &always).segments("v", NINE);
    assert_eq!(list.expect("segments").segments.len(), 3);
    let text = "<MPD type=\"dynamic\" availabilityStartTime=\"2026-11-21T09:00:00\">\
        <ServiceDescription><Scope/><Latency target=\"3500\" max=\"9\"/></ServiceDescription>\
        <Period><AdaptationSet mimeType=\"video/mp2t\"><BaseURL availabilityTimeOffset=\"1\">x/</BaseURL>\
        <Representation id=\"v\" bandwidth=\"1\"><SegmentTemplate duration=\"2\" media=\"$Number$\"/>\
        </Representation></AdaptationSet></Period></MPD>";
    let list = super::mpd(text).segments("v", NINE + 1_000).expect("segments");
    assert_eq!(lines(&list), ["0/0 x/1 2"]);
    assert_eq!(list.server_control.hold_back, Some(Duration::from_millis(3_500)));
}

#[test]
fn a_timeline_lists_what_the_server_has() {
    let template = |timeline: &str| {
        format!(
            "<SegmentTemplate timescale=\"1000\" startNumber=\"1\" initialization=\"i\" media=\"$Time$\">\
             <SegmentTimeline>{timeline}</SegmentTimeline></SegmentTemplate>"
        )
    };
    let attributes = "minimumUpdatePeriod=\"PT2S\" timeShiftBufferDepth=\"PT5S\"";
    let first = live(attributes, &template("<S t=\"60000\" d=\"2000\" r=\"3\"/>"));
    let list = first.segments("v", NINE + 67_500).expect("segments");
    assert_eq!(
        lines(&list),
        ["62000/0 62000 2 i", "64000/0 64000 2 i", "66000/0 66000 2 i"],
        "the last has begun; the window counts back from its end"
    );
    assert_eq!((list.minimum_update, list.next_unix_ms), (Some(Duration::from_secs(2)), None));
    // The window moved; what is still there has the same number.
    let next = live(attributes, &template("<S t=\"64000\" d=\"2000\" r=\"2\"/>"));
    let list = next.segments("v", NINE + 70_000).expect("segments");
    assert_eq!(lines(&list), ["64000/0 64000 2 i", "66000/0 66000 2 i", "68000/0 68000 2 i"]);
    let open = live(attributes, &template("<S t=\"0\" d=\"2000\" r=\"-1\"/>"));
    let list = open.segments("v", NINE + 9_000).expect("segments");
    assert_eq!(lines(&list), ["2000/0 2000 2 i", "4000/0 4000 2 i", "6000/0 6000 2 i"]);
    let future = live(attributes, &template("<S t=\"0\" d=\"2000\" r=\"99999999999\"/>"));
    let list = future.segments("v", NINE + 4_500).expect("segments");
    assert_eq!(lines(&list).len(), 3, "only those that have begun");
}

#[test]
fn a_window_without_an_end_lists_the_newest() {
    let text = "<MPD type=\"dynamic\" availabilityStartTime=\"1970-01-01T00:00:00Z\">\
        <Period start=\"PT0S\"><AdaptationSet mimeType=\"video/mp4\"><SegmentTemplate timescale=\"48000\" \
        duration=\"96000\" initialization=\"i\" media=\"$Number$\"/><Representation id=\"v\" bandwidth=\"1\"/>\
        </AdaptationSet></Period></MPD>";
    let list = mpd(text).segments("v", NINE).expect("segments");
    assert_eq!(list.segments.len(), crate::manifest::limit::MAX_LIVE_SEGMENTS);
    let last = list.segments.last().expect("segments");
    assert_eq!(last.number as i64, NINE - 2_000);
}

#[test]
fn a_new_period_begins_beside_the_old_one_until_the_window_leaves_it() {
    let period = |start: &str, id: &str| {
        format!(
            "<Period start=\"{start}\"><AdaptationSet mimeType=\"video/mp4\">\
             <SegmentTemplate duration=\"2\" initialization=\"i{id}\" media=\"{id}$Number$\"/>\
             <Representation id=\"v\" bandwidth=\"1\"/></AdaptationSet></Period>"
        )
    };
    let mpd = |periods: &str| {
        mpd(&format!(
            "<MPD type=\"dynamic\" availabilityStartTime=\"2026-11-21T09:00:00Z\" \
             minimumUpdatePeriod=\"PT2S\" timeShiftBufferDepth=\"PT6S\">{periods}</MPD>"
        ))
    };
    let both = format!("{}{}", period("PT0S", "a"), period("PT5S", "b"));
    let list = mpd(&both).segments("v", NINE + 9_000).expect("segments");
    assert_eq!(
        lines(&list),
        ["2000/0 a2 2 ia", "4000/0 a3 1 ia", "5000/5000 b1 2 ib", "7000/5000 b2 2 ib"]
    );
    let alone = mpd(&period("PT5S", "b")).segments("v", NINE + 9_000).expect("segments");
    assert_eq!(lines(&alone), ["5000/5000 b1 2 ib", "7000/5000 b2 2 ib"]);
    // Announced, but when it begins is not known: not there yet.
    let early = format!("{}<Period id=\"next\"/>", period("PT0S", "a"));
    let list = mpd(&early).segments("v", NINE + 4_000).expect("segments");
    assert_eq!(lines(&list), ["0/0 a1 2 ia", "2000/0 a2 2 ia"]);
    assert_eq!(mpd(&both).presentation().variants.len(), 1);
}

#[test]
fn a_live_presentation_ends_when_its_time_is_over() {
    let mpd = live("mediaPresentationDuration=\"PT5S\"", EQUAL);
    let list = mpd.segments("v", NINE + 4_999).expect("segments");
    assert!(!list.is_ended && list.next_unix_ms == Some(NINE + 6_001));
    let list = mpd.segments("v", NINE + 6_000).expect("segments");
    assert!(list.is_ended && list.next_unix_ms.is_none());
    assert_eq!(lines(&list), ["0/0 10 2 i", "2000/0 11 2 i", "4000/0 12 1 i"]);
}

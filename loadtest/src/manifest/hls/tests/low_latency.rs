//! LL-HLS: parts, hints, reports, server control; and updates that leave segments out.

use std::time::Duration;

use super::*;
use crate::manifest::Fault;

const LIVE: &str = "#EXTM3U\n#EXT-X-VERSION:9\n#EXT-X-TARGETDURATION:4\n\
    #EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES,PART-HOLD-BACK=1.0,CAN-SKIP-UNTIL=24.0,HOLD-BACK=x\n\
    #EXT-X-PART-INF:PART-TARGET=0.33334\n#EXT-X-MEDIA-SEQUENCE:266\n\
    #EXT-X-DISCONTINUITY-SEQUENCE:2\n#EXT-X-MAP:URI=\"init.mp4\"\n\
    #EXT-X-PROGRAM-DATE-TIME:2026-11-21T09:00:00.000Z\n\
    #EXTINF:4.00008,\n266.m4s\n#EXT-X-DISCONTINUITY\n#EXTINF:4.00008,\n267.m4s\n\
    #EXT-X-PART:DURATION=2,URI=\"268.m4s\",INDEPENDENT=YES,BYTERANGE=\"100@0\"\n\
    #EXT-X-PART:DURATION=2.0,URI=\"268.m4s\",BYTERANGE=\"50\"\n\
    #EXTINF:4.00008,\n268.m4s\n\
    #EXT-X-PART:DURATION=0.33334,URI=\"269.0.m4s\",INDEPENDENT=YES\n\
    #EXT-X-PART:DURATION=0.33334,URI=\"269.1.m4s\",GAP=YES\n\
    #EXT-X-PRELOAD-HINT:TYPE=MAP,URI=\"next.mp4\"\n\
    #EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"269.2.m4s\",BYTERANGE-START=150\n\
    #EXT-X-RENDITION-REPORT:URI=\"../1M/waitForMSN.m3u8\",LAST-MSN=269,LAST-PART=1\n\
    #EXT-X-RENDITION-REPORT:URI=\"../4M/waitForMSN.m3u8\",LAST-MSN=269\n\
    #EXT-X-RENDITION-REPORT:URI=\"../8M/waitForMSN.m3u8\"\n";

#[test]
fn a_live_edge_with_parts() {
    let list = media(LIVE).expect("a playlist");
    assert_eq!(
        lines(&list),
        [
            "266/2 266.m4s 4.00008 init.mp4",
            "267/3 267.m4s 4.00008 init.mp4",
            "268/3 268.m4s 4.00008 init.mp4",
            "269/3 - 0.66668 init.mp4"
        ]
    );
    assert_eq!(list.part_target, Some(Duration::from_micros(333_340)));
    let control = list.server_control;
    assert!(control.can_block_reload && control.hold_back.is_none());
    assert_eq!(control.part_hold_back, Some(Duration::from_secs(1)));
    assert_eq!(control.can_skip_until, Some(Duration::from_secs(24)));
    let parts: Vec<_> = list.segments.iter().flat_map(|segment| &segment.parts).collect();
    let shown: Vec<_> = parts.iter().map(|part| short(&part.object)).collect();
    assert_eq!(shown, ["268.m4s 100@0", "268.m4s 50@100", "269.0.m4s", "269.1.m4s"]);
    assert!(parts[0].is_independent && !parts[1].is_independent);
    assert!(parts[3].is_gap && !parts[2].is_gap);
    let hint = list.preload_hint.expect("a hint");
    assert_eq!(short(&hint.object), "269.2.m4s @150");
    assert_eq!(hint.duration, Duration::from_micros(333_340));
    let reports: Vec<_> = list
        .rendition_reports
        .iter()
        .map(|report| (report.url.path(), report.last_number, report.last_part))
        .collect();
    let expected = [("/v/1M/waitForMSN.m3u8", 269, Some(1)), ("/v/4M/waitForMSN.m3u8", 269, None)];
    assert_eq!(reports, expected);
    let last = list.segments.last().and_then(|segment| segment.program_date_time);
    assert_eq!(last, Some(1_795_251_612_000), "12.00024 s later");
}

fn update(text: &str, before: &SegmentList) -> Result<SegmentList, ManifestError> {
    super::super::media(text.as_bytes(), &base(), Some(before))
}

#[test]
fn what_an_update_leaves_out_comes_from_the_list_before() {
    let before = media(LIVE).expect("a playlist");
    let head = "#EXTM3U\n#EXT-X-TARGETDURATION:4\n#EXT-X-MEDIA-SEQUENCE:267\n";
    let list = update(
        &format!(
            "{head}#EXT-X-SKIP:SKIPPED-SEGMENTS=2\n#EXTINF:4,\n269.m4s\n\
             #EXT-X-DISCONTINUITY\n#EXTINF:4,\n#EXT-X-BYTERANGE:9\n270.m4s\n"
        ),
        &before,
    )
    .expect("an update");
    assert_eq!(list.skipped, 2);
    assert_eq!(
        lines(&list),
        [
            "267/3 267.m4s 4.00008 init.mp4",
            "268/3 268.m4s 4.00008 init.mp4",
            "269/3 269.m4s 4 init.mp4",
            "270/4 270.m4s 9@0 4 init.mp4"
        ]
    );
    assert!(list.segments[1].parts.is_empty());
    let dates: Vec<_> = list.segments.iter().filter_map(|s| s.program_date_time).collect();
    assert_eq!(dates[1] - dates[0], 4_000);
    assert_eq!(dates[2] - dates[1], 4_000);

    let table = [
        ("#EXT-X-SKIP:SKIPPED-SEGMENTS=3\n", Fault::SkippedUnknown),
        ("#EXT-X-SKIP:SKIPPED-SEGMENTS=99999\n", Fault::SkippedUnknown),
        ("#EXT-X-SKIP:X=1\n", Fault::Missing("SKIPPED-SEGMENTS")),
        (
            "#EXT-X-SKIP:SKIPPED-SEGMENTS=100001\n",
            Fault::TooMany { what: "segments", limit: 100_000 },
        ),
    ];
    for (skip, fault) in table {
        let error = update(&format!("{head}{skip}"), &before).expect_err(skip);
        assert_eq!((error.line, error.what), (Some(4), fault));
    }
    let error = media(&format!("{head}#EXT-X-SKIP:SKIPPED-SEGMENTS=1\n")).expect_err("alone");
    assert_eq!(error.what, Fault::SkippedUnknown);
    let twice = format!("{head}#EXT-X-SKIP:SKIPPED-SEGMENTS=1\n#EXT-X-SKIP:SKIPPED-SEGMENTS=1\n");
    assert_eq!(update(&twice, &before).expect_err("twice").line, Some(5));
}

#[test]
fn an_update_goes_on_in_the_same_file() {
    let before =
        media("#EXTM3U\n#EXT-X-TARGETDURATION:4\n#EXTINF:4,\n#EXT-X-BYTERANGE:10@5\na.ts\n")
            .expect("a playlist");
    let list = update(
        "#EXTM3U\n#EXT-X-TARGETDURATION:4\n#EXT-X-SKIP:SKIPPED-SEGMENTS=1\n\
         #EXTINF:4,\n#EXT-X-BYTERANGE:20\na.ts\n",
        &before,
    )
    .expect("an update");
    assert_eq!(lines(&list), ["0/0 a.ts 10@5 4", "1/0 a.ts 20@15 4"]);
}

#[test]
fn an_ended_list_has_no_segment_in_the_making() {
    let list = media(&format!("{LIVE}#EXT-X-ENDLIST\n")).expect("a playlist");
    assert!(list.is_ended);
    assert_eq!(list.segments.len(), 3);
}

//! Whole media playlists: VOD, live, byte ranges, discontinuities, gaps, dates.

use std::time::Duration;

use super::*;
use crate::manifest::Start;

#[test]
fn a_vod_of_fragments() {
    let list = media(
        "#EXTM3U\n#EXT-X-VERSION:7\n#EXT-X-INDEPENDENT-SEGMENTS\n#EXT-X-TARGETDURATION:4\n\
         #EXT-X-PLAYLIST-TYPE:VOD\n#EXT-X-MAP:URI=\"../../m/m1/3/360p/init.mp4\"\n\
         #EXTINF:4,\n../../m/m1/3/360p/1.m4s\n#EXTINF:4,\n../../m/m1/3/360p/2.m4s\n\
         #EXTINF:0.5,\n../../m/m1/3/360p/3.m4s\n#EXT-X-ENDLIST\n",
    )
    .expect("a playlist");
    assert!(list.is_ended);
    assert_eq!(list.target_duration, Duration::from_secs(4));
    let m = "https://a.example/m/m1/3/360p";
    assert_eq!(
        lines(&list),
        [
            format!("0/0 {m}/1.m4s 4 {m}/init.mp4"),
            format!("1/0 {m}/2.m4s 4 {m}/init.mp4"),
            format!("2/0 {m}/3.m4s 0.5 {m}/init.mp4"),
        ]
    );
}

#[test]
fn a_live_window_of_transport_streams() {
    let list = media(
        "#EXTM3U\r\n#EXT-X-VERSION:3\r\n#EXT-X-MEDIA-SEQUENCE:127\r\n#EXT-X-TARGETDURATION:6\r\n\
         #EXTINF:5.005,\r\nlive-127.ts?x=1\r\n#EXTINF:5.005,title, with comma\r\nlive-128.ts\r\n\
         #EXT-X-DISCONTINUITY\r\n#EXTINF:3.336667,\r\nlive-129.ts\r\n",
    )
    .expect("a playlist");
    assert!(!list.is_ended);
    assert_eq!(list.media_sequence, 127);
    assert_eq!(
        lines(&list),
        ["127/0 live-127.ts?x=1 5.005", "128/0 live-128.ts 5.005", "129/1 live-129.ts 3.336667"]
    );
}

#[test]
fn one_file_in_byte_ranges() {
    let list = media(
        "#EXTM3U\n#EXT-X-TARGETDURATION:6\n\
         #EXT-X-MAP:URI=\"main.mp4\",BYTERANGE=\"719@0\"\n\
         #EXTINF:6.0,\n#EXT-X-BYTERANGE:1000@719\nmain.mp4\n\
         #EXT-X-BYTERANGE:500\n#EXTINF:6.0,\nmain.mp4\n\
         #EXTINF:2.0,\n#EXT-X-BYTERANGE:50\nother.mp4\n\
         #EXTINF:2.0,\n#EXT-X-BYTERANGE:7@100\nmain.mp4\n\
         #EXTINF:2.0,\nwhole.mp4\n#EXT-X-ENDLIST\n",
    )
    .expect("a playlist");
    let init = "main.mp4 719@0";
    assert_eq!(
        lines(&list),
        [
            format!("0/0 main.mp4 1000@719 6 {init}"),
            format!("1/0 main.mp4 500@1719 6 {init}"),
            format!("2/0 other.mp4 50@0 2 {init}"),
            format!("3/0 main.mp4 7@100 2 {init}"),
            format!("4/0 whole.mp4 2 {init}"),
        ]
    );
}

#[test]
fn discontinuities_change_the_init_segment_and_gaps_stay() {
    let list = media(
        "#EXTM3U\n#EXT-X-TARGETDURATION:6\n#EXT-X-DISCONTINUITY-SEQUENCE:3\n\
         #EXT-X-MAP:URI=\"a.mp4\"\n#EXTINF:6,\n1.m4s\n\
         #EXT-X-DISCONTINUITY\n#EXT-X-MAP:URI=\"b.mp4\",BYTERANGE=\"10\"\n#EXT-X-GAP\n#EXTINF:6,\n2.m4s\n\
         #EXT-X-DISCONTINUITY\n#EXTINF:6,\n3.m4s\n\
         #EXT-X-DISCONTINUITY-SEQUENCE:9\n#EXT-X-MEDIA-SEQUENCE:9\n#EXTINF:6,\n4.m4s\n",
    )
    .expect("a playlist");
    assert_eq!(
        lines(&list),
        [
            "0/3 1.m4s 6 a.mp4",
            "1/4 2.m4s 6 b.mp4 10@0",
            "2/5 3.m4s 6 b.mp4 10@0",
            "3/5 4.m4s 6 b.mp4 10@0"
        ]
    );
    let gaps: Vec<_> = list.segments.iter().map(|segment| segment.is_gap).collect();
    assert_eq!(gaps, [false, true, false, false]);
}

#[test]
fn dates_go_on_and_back_without_drift() {
    let third = "#EXTINF:0.333333333,\nx.ts\n".repeat(30);
    let list = media(&format!(
        "#EXTM3U\n#EXT-X-TARGETDURATION:6\n#EXTINF:2,\na.ts\n#EXTINF:1.5,\nb.ts\n\
         #EXT-X-PROGRAM-DATE-TIME:2026-11-21T09:00:00.000Z\n{third}\
         #EXT-X-PROGRAM-DATE-TIME:yesterday\n#EXTINF:2,\nc.ts\n"
    ))
    .expect("a playlist");
    let nine = 1_795_251_600_000;
    let dates: Vec<_> =
        list.segments.iter().filter_map(|s| Some(s.program_date_time? - nine)).collect();
    assert_eq!(dates.len(), 33);
    assert_eq!((dates[0], dates[1], dates[2]), (-3500, -1500, 0));
    assert_eq!((dates[3], dates[31], dates[32]), (333, 9_666, 9_999));
}

#[test]
fn what_players_pass_over_is_passed_over() {
    let list = media(
        "#EXTM3U some words\n#EXT-X-TARGETDURATION: 6.5\n#EXT-X-ALLOW-CACHE:YES\n#comment\n\
         #EXT-X-KEY:METHOD=AES-128,URI=\"key\"\n#EXT-X-DATERANGE:ID=\"x\",START-DATE=\"2026\"\n\
         #EXT-X-START:TIME-OFFSET=-12.5,PRECISE=YES\n#EXT-X-UNHEARD-OF\n\
         stray.ts\n#EXTINF: 6 ,\n  1.ts  \n#EXT-OATCLS-SCTE35:/DA=\n#EXT-X-CUE-OUT:30\n\
         #EXT-X-BITRATE:800\n#EXTINF:6\n2.ts\n#EXTINF:6,\n",
    )
    .expect("a playlist");
    assert_eq!(lines(&list), ["0/0 1.ts 6", "1/0 2.ts 6"]);
    assert_eq!(list.start, Some(Start::FromEnd(Duration::from_millis(12_500))));
    assert_eq!(list.target_duration, Duration::from_millis(6_500));
}

#[test]
fn a_live_playlist_may_be_empty_at_first() {
    let list = media("#EXTM3U\n#EXT-X-TARGETDURATION:0\n#EXT-X-MEDIA-SEQUENCE:5\n").expect("one");
    assert!(list.segments.is_empty() && list.media_sequence == 5);
    assert_eq!(list.target_duration, Duration::from_secs(1), "a reload is never at once");
    let short = media("#EXTM3U\n#EXT-X-TARGETDURATION:0\n#EXTINF:0.4,\na.ts\n").expect("one");
    assert_eq!(short.target_duration, Duration::from_millis(400));
}

#[test]
fn variables_are_replaced_wherever_a_uri_stands() {
    let text = "#EXTM3U\n#EXT-X-TARGETDURATION:4\n#EXT-X-DEFINE:NAME=\"d\",VALUE=\"x\"\n\
                #EXT-X-DEFINE:QUERYPARAM=\"t\"\n#EXT-X-MAP:URI=\"{$d}/init.mp4\"\n\
                #EXTINF:4,\n{$d}/{$t}.m4s\n";
    assert_eq!(lines(&media(text).expect("one")), ["0/0 x/1.m4s 4 x/init.mp4"]);
    let imports = "#EXTM3U\n#EXT-X-DEFINE:IMPORT=\"d\"\n#EXT-X-TARGETDURATION:4\n\
                   #EXTINF:4,\n{$d}.ts\n";
    assert_eq!(media(imports).expect_err("nothing to import").line, Some(2));
    let master = "#EXTM3U\n#EXT-X-DEFINE:NAME=\"d\",VALUE=\"y\"\n\
                  #EXT-X-STREAM-INF:BANDWIDTH=1\n720p.m3u8\n";
    let presentation = super::super::multivariant(master.as_bytes(), &base()).expect("a master");
    let variables = &presentation.variables;
    let list = super::super::media_importing(imports.as_bytes(), &base(), None, variables);
    assert_eq!(lines(&list.expect("one")), ["0/0 y.ts 4"]);
}

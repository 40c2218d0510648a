//! Static MPDs: timelines, templates, lists, indexes, several periods.

use std::time::Duration;

use super::{super::index::tests::sidx_box, *};
use crate::manifest::Fault;

fn whole(inside: &str) -> Vec<String> {
    lines(&mpd(&simple(inside)).segments("v", 0).expect("segments"))
}

#[test]
fn a_timeline_by_number() {
    let text = simple(
        "<SegmentTemplate timescale=\"30000\" startNumber=\"1\" initialization=\"../../m/m1/3/v/init.mp4\" \
         media=\"../../m/m1/3/v/$Number$.m4s\"><SegmentTimeline><S t=\"0\" d=\"120120\" r=\"1\"/>\
         <S d=\"15000\"/></SegmentTimeline></SegmentTemplate>",
    );
    let list = mpd(&text).segments("v", 0).expect("segments");
    assert!(list.is_ended && list.minimum_update.is_none());
    assert_eq!(list.target_duration, Duration::from_micros(4_004_000));
    let m = "https://a.example/m/m1/3/v";
    assert_eq!(
        lines(&list),
        [
            format!("1/0 {m}/1.m4s 4.004 {m}/init.mp4"),
            format!("2/0 {m}/2.m4s 4.004 {m}/init.mp4"),
            format!("3/0 {m}/3.m4s 0.5 {m}/init.mp4"),
        ]
    );
}

#[test]
fn a_timeline_by_time_with_gaps_and_an_open_end() {
    let template = |timeline: &str| {
        whole(&format!(
            "<SegmentTemplate timescale=\"10\" presentationTimeOffset=\"100\" initialization=\"i\" \
             media=\"$RepresentationID$/$Time%05d$\"><SegmentTimeline>{timeline}</SegmentTimeline></SegmentTemplate>"
        ))
    };
    assert_eq!(
        template("<S t=\"98\" d=\"40\"/><S d=\"40\" r=\"-1\"/>"),
        ["1/0 v/00098 4 i", "2/0 v/00138 4 i", "3/0 v/00178 4 i"]
    );
    assert_eq!(
        template("<S t=\"100\" d=\"40\" r=\"-1\"/><S t=\"170\" d=\"30\"/>"),
        ["1/0 v/00100 4 i", "2/0 v/00140 4 i", "3/0 v/00170 3 i"]
    );
    // Before the period, and behind it, is not played.
    assert_eq!(
        template("<S t=\"20\" d=\"40\"/><S t=\"60\" d=\"40\" r=\"1\"/><S t=\"200\" d=\"40\"/>"),
        ["1/0 v/00100 4 i"]
    );
}

#[test]
fn a_template_with_a_duration() {
    assert_eq!(
        whole(
            "<SegmentTemplate timescale=\"1000\" duration=\"4000\" startNumber=\"0\" \
             initialization=\"init-stream$RepresentationID$.m4s\" media=\"chunk-stream$RepresentationID$-$Number%05d$.m4s\"/>"
        ),
        [
            "0/0 chunk-streamv-00000.m4s 4 init-streamv.m4s",
            "1/0 chunk-streamv-00001.m4s 4 init-streamv.m4s",
            "2/0 chunk-streamv-00002.m4s 2 init-streamv.m4s"
        ]
    );
    assert_eq!(
        whole(
            "<SegmentTemplate duration=\"4\" endNumber=\"2\" initialization=\"i\" media=\"$Bandwidth$-$Number$\"/>"
        ),
        ["1/0 500-1 4 i", "2/0 500-2 4 i"]
    );
}

#[test]
fn a_list_of_segments() {
    assert_eq!(
        whole(
            "<BaseURL>m.mp4</BaseURL><SegmentList timescale=\"1\" duration=\"4\">\
             <Initialization range=\"0-99\"/><SegmentURL mediaRange=\"100-199\"/>\
             <SegmentURL media=\"b.mp4\" mediaRange=\"5-5\"/><SegmentURL media=\"c.mp4\"/>\
             <SegmentURL media=\"behind.mp4\"/></SegmentList>"
        ),
        [
            "1/0 m.mp4 100@100 4 m.mp4 100@0",
            "2/0 b.mp4 1@5 4 m.mp4 100@0",
            "3/0 c.mp4 2 m.mp4 100@0"
        ]
    );
    assert_eq!(
        whole(
            "<SegmentList><Initialization sourceURL=\"i\"/><SegmentURL media=\"all\"/></SegmentList>"
        ),
        ["1/0 all 10 i"]
    );
}

#[test]
fn an_on_demand_file_is_read_by_its_index() {
    let text = simple(
        "<BaseURL>v.mp4</BaseURL><SegmentBase indexRange=\"700-755\" timescale=\"10\" \
         presentationTimeOffset=\"0\"><Initialization range=\"0-699\"/></SegmentBase>",
    );
    let mut mpd = mpd(&text);
    assert_eq!(mpd.segments("v", 0).expect_err("no index").what, Fault::NeedsIndex);
    let index = mpd.index("v", None).expect("sound").expect("an index to fetch");
    assert_eq!((index.url.path(), index.range), ("/v/1/v.mp4", Some((700, Some(56)))));
    let bytes = sidx_box(1000, &[(5000, 4000), (6000, 4000), (100, 2000)]);
    assert_eq!(bytes.len(), 68);
    mpd.learn(index, &bytes).expect("an index");
    assert_eq!(mpd.index("v", None), Ok(None));
    assert_eq!(
        lines(&mpd.segments("v", 0).expect("segments")),
        [
            "1/0 v.mp4 5000@768 4 v.mp4 700@0",
            "2/0 v.mp4 6000@5768 4 v.mp4 700@0",
            "3/0 v.mp4 100@11768 2 v.mp4 700@0"
        ]
    );
    let without_init = mpd_text_without_init();
    let mut mpd = super::mpd(&without_init);
    let index = mpd.index("v", None).expect("sound").expect("an index");
    mpd.learn(index, &bytes).expect("an index");
    let list = mpd.segments("v", 0).expect("segments");
    assert!(lines(&list)[0].ends_with("v.mp4 700@0"), "what stands before the index");
}

fn mpd_text_without_init() -> String {
    simple("<BaseURL>v.mp4</BaseURL><SegmentBase indexRange=\"700-767\"/>")
}

#[test]
fn periods_follow_one_another_with_discontinuities() {
    let period = |attributes: &str, id: &str, bandwidth: u32, base: &str| {
        format!(
            "<Period {attributes}><BaseURL>{base}/</BaseURL><SegmentTemplate timescale=\"1\" duration=\"4\" \
             initialization=\"i\" media=\"$RepresentationID$-$Number$\"/>\
             <AdaptationSet mimeType=\"video/mp4\"><Representation id=\"low\" bandwidth=\"1\"/>\
             <Representation id=\"{id}\" bandwidth=\"{bandwidth}\"/></AdaptationSet></Period>"
        )
    };
    let text = format!(
        "<MPD mediaPresentationDuration=\"PT15S\">{}{}<Period xlink:href=\"urn:mpeg:dash:resolve-to-zero:2013\"/>{}</MPD>",
        period("duration=\"PT5S\"", "v", 900, "a"),
        period("", "ad", 800, "b"),
        period("start=\"PT11S\"", "v", 900, "c"),
    );
    let list = mpd(&text).segments("v", 0).expect("segments");
    assert_eq!(
        lines(&list),
        [
            "1/0 a/v-1 4 a/i",
            "2/0 a/v-2 1 a/i",
            "3/1 b/ad-1 4 b/i",
            "4/1 b/ad-2 2 b/i",
            "5/2 c/v-1 4 c/i"
        ]
    );
    assert_eq!(mpd(&text).segments("ad", 0).expect("segments").segments.len(), 5);
    let error = mpd(&text).segments("gone", 0).expect_err("no such representation");
    assert_eq!(error.what, Fault::UnknownRepresentation("gone".into()));
}

#[test]
fn what_a_level_does_not_say_the_one_above_says() {
    let text = "<MPD mediaPresentationDuration=\"PT4S\"><BaseURL>https://b.example/r/</BaseURL><Period>\
        <SegmentTemplate timescale=\"1000\" startNumber=\"5\" initialization=\"i-$RepresentationID$\"/>\
        <AdaptationSet mimeType=\"video/mp4\"><SegmentTemplate duration=\"2000\" media=\"x\"/>\
        <Representation id=\"v\" bandwidth=\"1\"><BaseURL>s/</BaseURL>\
        <SegmentTemplate media=\"$Number$\"/></Representation></AdaptationSet></Period></MPD>";
    assert_eq!(
        lines(&mpd(text).segments("v", 0).expect("segments")),
        [
            "5/0 https://b.example/r/s/5 2 https://b.example/r/s/i-v",
            "6/0 https://b.example/r/s/6 2 https://b.example/r/s/i-v"
        ]
    );
}

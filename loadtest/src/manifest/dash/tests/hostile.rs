//! MPDs that must end in an error that names the line, or in a list within the limits, and never in a panic.

use proptest::prelude::*;

use super::*;
use crate::manifest::limit;

fn refused(text: &str) -> crate::manifest::ManifestError {
    match Mpd::parse(text.as_bytes(), &base()) {
        Err(error) => error,
        Ok(mpd) => mpd.segments("v", 0).expect_err("no segments"),
    }
}

#[test]
fn what_cannot_be_played_is_refused_with_its_line() {
    let table = [
        ("", None, "it ends in the middle"),
        ("<html/>", None, "neither an HLS playlist nor an MPD"),
        ("<MPD>", Some(1), "it ends in the middle"),
        ("<MPD>\n<Period>\n</MPD>", Some(3), "not well-formed"),
        ("<MPD/>", None, "a representation of video or audio is missing"),
        ("<!DOCTYPE m [<!ENTITY a \"b\">]><MPD/>", Some(1), "a document type is not supported"),
        ("<MPD>\n<BaseURL>&a;</BaseURL></MPD>", Some(2), "an entity is not supported"),
        ("<MPD type=\"dynamic\"/>", None, "availabilityStartTime is missing"),
        (
            "<MPD\nmediaPresentationDuration=\"PT1H-\"/>",
            Some(2),
            "mediaPresentationDuration cannot be",
        ),
        (
            "<MPD mediaPresentationDuration=\"PT18446744073709551615M\"/>",
            Some(1),
            "mediaPresentationDuration cannot be",
        ),
        ("<MPD><Period xlink:href=\"http://x/\"/></MPD>", Some(1), "(xlink) is not supported"),
        ("<MPD><Period/><Period/></MPD>", None, "the start of a Period is missing"),
        (
            "<MPD><Period start=\"PT5S\"/><Period start=\"PT1S\"/></MPD>",
            None,
            "the order of periods",
        ),
    ];
    for (text, line, what) in table {
        let error = refused(text);
        assert!(error.to_string().contains(what), "{text}: {error}");
        if line.is_some() {
            assert_eq!(error.line, line, "{text}: {error}");
        }
    }
}

#[test]
fn segments_that_cannot_be_played_are_refused() {
    let timeline = |s: &str| {
        format!(
            "<SegmentTemplate initialization=\"i\" media=\"$Time$\"><SegmentTimeline>{s}</SegmentTimeline></SegmentTemplate>"
        )
    };
    let table = [
        ("".to_owned(), "one file without index"),
        ("<SegmentTemplate/>".to_owned(), "media of a SegmentTemplate is missing"),
        ("<SegmentTemplate media=\"m\" duration=\"1\"/>".to_owned(), "(initialization) of MP4 is missing"),
        ("<SegmentTemplate media=\"m\" duration=\"0\"/>".to_owned(), "duration of segments cannot be \"0\""),
        ("<SegmentTemplate media=\"m\" timescale=\"0\"/>".to_owned(), "timescale cannot be \"0\""),
        ("<SegmentTemplate media=\"$X$\" duration=\"1\"/>".to_owned(), "an identifier of a template"),
        (
            "<SegmentTemplate media=\"m\" initialization=\"i\" timescale=\"9000000000000\" duration=\"1\"/>".to_owned(),
            "more than 100000 segments",
        ),
        (timeline("<S d=\"0\"/>"), "d of S cannot be \"0\""),
        (timeline("<S t=\"0\"/>"), "d of S is missing"),
        (timeline("<S d=\"1\" r=\"x\"/>"), "r of S cannot be \"x\""),
        (timeline("<S d=\"-1\"/>"), "d of S cannot be \"-1\""),
        (timeline("<S t=\"5\" d=\"1\"/><S t=\"4\" d=\"1\"/>"), "t of S, before that"),
        (timeline("<S d=\"9007199254740992\" r=\"9223372036854775807\"/>"), "the duration of a segment"),
        ("<SegmentList duration=\"1\"/>".to_owned(), "SegmentURL of a SegmentList is missing"),
        ("<SegmentBase/>".to_owned(), "indexRange of a SegmentBase is missing"),
        ("<SegmentBase indexRange=\"5-4\"/>".to_owned(), "indexRange cannot be \"5-4\""),
        ("<SegmentBase indexRange=\"0-9999999\"/>".to_owned(), "bytes of an index"),
        ("<SegmentBase indexRange=\"0-99\"/>".to_owned(), "in an index that was not read"),
        ("<BaseURL>ftp://x/</BaseURL><SegmentTemplate media=\"m\"/>".to_owned(), "the URL of BaseURL"),
    ];
    for (inside, what) in table {
        let error = refused(&simple(&inside));
        assert!(error.to_string().contains(what), "{inside}: {error}");
    }
    let endless = simple(&timeline("<S d=\"1\" r=\"-1\"/>"));
    let endless = endless.replace("mediaPresentationDuration=\"PT10S\"", "");
    assert!(refused(&endless).to_string().contains("the end of the last period is missing"));
    let many = simple(&timeline("<S t=\"0\" d=\"1\" r=\"100000\"/>")).replace("PT10S", "PT200000S");
    assert!(refused(&many).to_string().contains("more than 100000 segments"));
}

#[test]
fn large_documents_run_into_limits() {
    let million = format!("<MPD>\n{}</MPD>", "<a/>".repeat(limit::MAX_ELEMENTS as usize));
    assert!(refused(&million).to_string().contains("line 2: there are more than 1000000 elements"));
    let deep = "<a>".repeat(100_000);
    let table = [
        (format!("<MPD>{deep}"), "more than 64 elements in one another"),
        (format!("<MPD>{}</MPD>", "<Period/>".repeat(1_001)), "more than 1000 periods"),
        (
            format!("<MPD><Period>{}</Period></MPD>", "<AdaptationSet/>".repeat(257)),
            "more than 256 adaptation sets",
        ),
        (
            simple(&"<Representation/>".repeat(0)).replace(
                "<Representation id",
                &format!("{}<Representation id", "<Representation/>".repeat(256)),
            ),
            "more than 256 representations of a period",
        ),
        (
            format!(
                "<MPD><Period><AdaptationSet>{}</AdaptationSet></Period></MPD>",
                "<Representation/>".repeat(16_385)
            ),
            "more than 16384 representations",
        ),
        (
            simple(&format!(
                "<SegmentTemplate media=\"m\"><SegmentTimeline>{}</SegmentTimeline></SegmentTemplate>",
                "<S d=\"1\"/>".repeat(100_001)
            )),
            "more than 100000 segments",
        ),
        (
            simple(&format!("<BaseURL>{}</BaseURL>", "x".repeat(limit::MAX_URL_BYTES + 1))),
            "bytes of text",
        ),
    ];
    for (text, what) in table {
        let error = refused(&text);
        assert!(error.to_string().contains(what), "{what}: {error}");
    }
    let long = format!("<BaseURL>{}/</BaseURL>", "x".repeat(8_000));
    let many =
        "<SegmentTemplate timescale=\"1\" duration=\"1\" initialization=\"i\" media=\"$Number$\"/>";
    let text = simple(&format!("{long}{many}")).replace("PT10S", "PT90000S");
    assert!(refused(&text).to_string().contains("bytes of URLs"));
    let attributes: String = (0..100_000).map(|n| format!(" a{n}=\"\"")).collect();
    assert!(refused(&format!("<MPD{attributes}/>")).to_string().contains("is missing"));
}

fn element() -> impl Strategy<Value = String> {
    let number = prop_oneof!["0", "1", "[0-9]{1,4}", "[0-9]{15,22}", "-1", "[a-z]"];
    let attribute = (
        prop_oneof![
            "id|t|d|r|duration|timescale|startNumber|endNumber|presentationTimeOffset|media|initialization|indexRange|mediaRange|range|start|mediaPresentationDuration|minimumUpdatePeriod|timeShiftBufferDepth|availabilityTimeOffset|bandwidth"
        ],
        prop_oneof![number, "PT[0-9]{1,9}S", "[0-9]{1,3}-[0-9]{1,6}", "\\$(Number|Time)(%0[0-9]d)?\\$", "INF"],
    )
        .prop_map(|(name, value)| format!(" {name}=\"{value}\""));
    let attributes = || {
        prop::collection::vec(attribute.clone(), 0..4).prop_map(|attributes| attributes.concat())
    };
    let leaf = (prop_oneof!["S|Initialization|SegmentURL|BaseURL|Role|x"], attributes())
        .prop_map(|(name, attributes)| format!("<{name}{attributes}/>"));
    leaf.prop_recursive(4, 24, 4, move |inner| {
        let names = prop_oneof![
            "Period|AdaptationSet|Representation|SegmentTemplate|SegmentTimeline|SegmentList|SegmentBase"
        ];
        let attribute = (
            prop_oneof!["id|duration|timescale|startNumber|media|initialization|start|indexRange|endNumber|availabilityTimeOffset"],
            prop_oneof!["[0-9]{1,4}", "PT[0-9]{1,9}S", "\\$Number\\$", "[0-9]{17,20}", "1-5"],
        )
            .prop_map(|(name, value)| format!(" {name}=\"{value}\""));
        (names, prop::collection::vec(attribute, 0..4), prop::collection::vec(inner, 0..4))
            .prop_map(|(name, attributes, inside)| {
                format!("<{name}{}>{}</{name}>", attributes.concat(), inside.concat())
            })
    })
}

/// What every list holds to.
fn check(mpd: &mut Mpd, now: i64) -> Result<(), TestCaseError> {
    for variant in mpd.presentation().variants {
        let id = variant.representation.unwrap_or_default();
        if let Ok(Some(index)) = mpd.index(&id, None) {
            let bytes = super::super::index::tests::sidx_box(10, &[(5, 50), (6, 40)]);
            mpd.learn(index, &bytes).expect("an index");
        }
        let Ok(list) = mpd.segments(&id, now) else { continue };
        prop_assert!(list.segments.len() <= limit::MAX_SEGMENTS);
        prop_assert!(list.segments.iter().all(|segment| !segment.duration.is_zero()));
        let order: Vec<_> =
            list.segments.iter().map(|s| (s.discontinuity_sequence, s.number)).collect();
        prop_assert!(order.is_sorted() && order.windows(2).all(|pair| pair[0].1 < pair[1].1));
        prop_assert!(!list.target_duration.is_zero());
    }
    Ok(())
}

proptest! {
    #[test]
    fn any_document_ends_in_a_sound_list_or_an_error(
        inside in element(),
        addressing in element(),
        is_live: bool,
        now in prop_oneof![any::<i64>(), 0i64..100_000],
        cut in 0usize..2_000,
    ) {
        let kind = if is_live { "dynamic" } else { "static" };
        let text = format!(
            "<MPD type=\"{kind}\" availabilityStartTime=\"1970-01-01T00:00:00Z\" mediaPresentationDuration=\"PT9S\">\
             {inside}<Period start=\"PT0S\"><AdaptationSet mimeType=\"video/mp2t\">{addressing}\
             <SegmentTemplate media=\"$Number$\" duration=\"2\">{addressing}</SegmentTemplate>\
             <Representation id=\"v\">{addressing}</Representation>\
             <Representation id=\"w\"><SegmentTemplate><SegmentTimeline>{addressing}</SegmentTimeline></SegmentTemplate></Representation>\
             </AdaptationSet></Period></MPD>"
        );
        if let Ok(mut mpd) = Mpd::parse(text.as_bytes(), &base()) {
            check(&mut mpd, now)?;
        }
        let cut = &text.as_bytes()[..cut.min(text.len())];
        let _ = Mpd::parse(cut, &base());
    }
}

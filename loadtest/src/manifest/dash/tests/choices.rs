//! Representations as variants and alternate audio.

use super::*;
use crate::manifest::Presentation;

/// Every variant as `id bandwidth group pathway`, every sound as `id default pathway`.
fn shown(presentation: &Presentation) -> (Vec<String>, Vec<String>) {
    let text = |field: &Option<String>| field.clone().unwrap_or("-".into());
    let variants = presentation.variants.iter().map(|v| {
        let (id, group) = (text(&v.representation), text(&v.audio_group));
        format!("{id} {} {group} {}", v.bandwidth, text(&v.pathway))
    });
    let audio = presentation
        .audio
        .iter()
        .map(|a| format!("{} {} {}", text(&a.representation), a.is_default, text(&a.pathway)));
    (variants.collect(), audio.collect())
}

const TEMPLATE: &str =
    "<SegmentTemplate timescale=\"1\" duration=\"2\" initialization=\"i\" media=\"$Number$\"/>";

#[test]
fn a_set_per_codec_family_and_one_of_sound() {
    let presentation = mpd(&format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<!-- made -->\n\
         <MPD xmlns=\"urn:mpeg:dash:schema:mpd:2011\" type=\"static\" minBufferTime=\"PT4S\" \
         mediaPresentationDuration=\"PT8.5S\"><Period id=\"0\" start=\"PT0S\">\
         <AdaptationSet id=\"0\" contentType=\"video\" mimeType=\"video/mp4\" segmentAlignment=\"true\">\
         <Representation id=\"720p\" codecs=\"avc1.64001f\" bandwidth=\"2000000\" width=\"720\" height=\"1280\">{TEMPLATE}</Representation>\
         <Representation id=\"360p\" codecs=\"avc1.64001e\" bandwidth=\"500000\" width=\"360\" height=\"640\" frameRate=\"30000/1001\">{TEMPLATE}</Representation>\
         </AdaptationSet>\
         <AdaptationSet contentType=\"video\"><Representation id=\"hevc\" codecs=\"hvc1.1.6.L93.90\" bandwidth=\"1000000\">{TEMPLATE}</Representation></AdaptationSet>\
         <AdaptationSet contentType=\"audio\" lang=\"en\"><Representation id=\"a64\" bandwidth=\"64000\">{TEMPLATE}</Representation>\
         <Representation id=\"a128\" bandwidth=\"128000\">{TEMPLATE}</Representation></AdaptationSet>\
         <AdaptationSet mimeType=\"audio/mp4\" lang=\"fr\"><Representation id=\"fr\" bandwidth=\"256000\">{TEMPLATE}</Representation></AdaptationSet>\
         <AdaptationSet contentType=\"text\"><Representation id=\"sub\" bandwidth=\"1\">{TEMPLATE}</Representation></AdaptationSet>\
         <AdaptationSet mimeType=\"video/mp4\"><EssentialProperty schemeIdUri=\"http://dashif.org/guidelines/trickmode\" value=\"0\"/>\
         <Representation id=\"trick\" bandwidth=\"1\">{TEMPLATE}</Representation></AdaptationSet>\
         <AdaptationSet mimeType=\"image/jpeg\"><Representation id=\"tiles\" bandwidth=\"1\" width=\"9\" height=\"9\">{TEMPLATE}</Representation></AdaptationSet>\
         </Period></MPD>"
    ))
    .presentation();
    let (variants, audio) = shown(&presentation);
    assert_eq!(variants, ["360p 500000 audio -", "hevc 1000000 audio -", "720p 2000000 audio -"]);
    assert_eq!(audio, ["a64 false -", "a128 true -", "fr false -"]);
    let small = &presentation.variants[0];
    assert_eq!(small.resolution, Some((360, 640)));
    assert_eq!(small.codecs.as_deref(), Some("avc1.64001e"));
    assert!(small.url == base() && presentation.is_dash && presentation.steering.is_none());
}

#[test]
fn sound_alone_is_the_content() {
    let text = simple(TEMPLATE).replace("video/mp4", "audio/mp4");
    let (variants, audio) = shown(&mpd(&text).presentation());
    assert_eq!(variants, ["v 500 - -"]);
    assert!(audio.is_empty());
}

#[test]
fn the_main_role_and_the_kind_are_found_wherever_they_stand() {
    let presentation = mpd(&format!(
        "<MPD mediaPresentationDuration=\"PT9S\"><Period>\
         <AdaptationSet><Role schemeIdUri=\"urn:mpeg:dash:role:2011\" value=\"alternate\"/>\
         <Representation id=\"angle\" mimeType=\"video/mp4\" bandwidth=\"1\">{TEMPLATE}</Representation></AdaptationSet>\
         <AdaptationSet width=\"4\" height=\"2\"><Role value=\"main\"/><Representation id=\"main\" bandwidth=\"2\">{TEMPLATE}</Representation></AdaptationSet>\
         <AdaptationSet><ContentComponent contentType=\"audio\"/><Representation id=\"one\" bandwidth=\"9\">{TEMPLATE}</Representation></AdaptationSet>\
         <AdaptationSet contentType=\"audio\"><Role value=\"main\"/><Representation id=\"two\" bandwidth=\"3\">{TEMPLATE}</Representation></AdaptationSet>\
         </Period></MPD>"
    ))
    .presentation();
    let (variants, audio) = shown(&presentation);
    assert_eq!(variants, ["main 2 audio -"]);
    assert_eq!(audio, ["one false -", "two true -"]);
}

#[test]
fn steering_makes_a_pathway_of_every_service_location() {
    let text = "<MPD mediaPresentationDuration=\"PT4S\">\
        <Location>https://b.example/live.mpd?a=1&amp;b=2</Location>\
        <BaseURL serviceLocation=\"alpha\">https://alpha.example/x/</BaseURL>\
        <BaseURL serviceLocation=\"beta\"><![CDATA[https://beta.example/y/]]></BaseURL>\
        <ContentSteering defaultServiceLocation=\"beta alpha\" queryBeforeStart=\"true\">\
        https://steer.example/dash?s=1&#38;t=2</ContentSteering>\
        <Period><AdaptationSet mimeType=\"video/mp2t\"><BaseURL>v/</BaseURL>\
        <Representation id=\"v\" bandwidth=\"5\"><SegmentTemplate media=\"$Number$.ts\" duration=\"2\"/>\
        </Representation></AdaptationSet></Period></MPD>";
    let mpd = mpd(text);
    let presentation = mpd.presentation();
    assert_eq!(shown(&presentation).0, ["v 5 - alpha", "v 5 - beta"]);
    assert_eq!(presentation.variants[0].url.as_str(), "https://b.example/live.mpd?a=1&b=2");
    let steering = presentation.steering.expect("a server");
    assert_eq!(steering.server.as_str(), "https://steer.example/dash?s=1&t=2");
    assert!(steering.is_before_start && steering.pathway.as_deref() == Some("beta"));
    for (pathway, first) in [
        (None, "https://alpha.example/x/v/1.ts"),
        (Some("beta"), "https://beta.example/y/v/1.ts"),
        (Some("gone"), "https://alpha.example/x/v/1.ts"),
    ] {
        let list = mpd.segments_on("v", pathway, 0).expect("segments");
        let object = list.segments[0].object.as_ref().expect("an object");
        assert_eq!(object.url.as_str(), first, "{pathway:?}");
    }
}

//! First documents: which variants, which sound, where steering is.

use super::{super::multivariant, *};
use crate::manifest::{Fault, Presentation};

fn read(text: &str) -> Result<Presentation, ManifestError> {
    multivariant(text.as_bytes(), &Url::parse("https://a.example/v/1/main.m3u8").expect("a URL"))
}

/// Every variant as `bandwidth url group pathway`.
fn variants(presentation: &Presentation) -> Vec<String> {
    let one = |variant: &crate::manifest::Variant| {
        let url = Object { url: variant.url.clone(), range: None };
        let text = |field: &Option<String>| field.clone().unwrap_or("-".into());
        format!(
            "{} {} {} {}",
            variant.bandwidth,
            short(&url),
            text(&variant.audio_group),
            text(&variant.pathway)
        )
    };
    presentation.variants.iter().map(one).collect()
}

#[test]
fn a_packager_with_one_sound_for_all() {
    let presentation = read(
        "#EXTM3U\n\
         #EXT-X-VERSION:7\n\
         #EXT-X-INDEPENDENT-SEGMENTS\n\
         #EXT-X-MEDIA:TYPE=AUDIO,URI=\"audio.m3u8\",GROUP-ID=\"audio\",NAME=\"main\",\
         DEFAULT=YES,AUTOSELECT=YES,CHANNELS=\"2\"\n\
         #EXT-X-STREAM-INF:BANDWIDTH=2000000,AVERAGE-BANDWIDTH=1800000,\
         CODECS=\"hvc1.1.6.L93.90,mp4a.40.2\",RESOLUTION=720x1280,FRAME-RATE=29.97,AUDIO=\"audio\"\n\
         hevc-720p.m3u8\n\
         #EXT-X-STREAM-INF:BANDWIDTH=1000000,AVERAGE-BANDWIDTH=922354,\
         CODECS=\"avc1.64001e,mp4a.40.2\",RESOLUTION=360x640,FRAME-RATE=29.97,AUDIO=\"audio\"\n\
         360p.m3u8\n",
    )
    .expect("a playlist");
    assert_eq!(
        variants(&presentation),
        ["1000000 360p.m3u8 audio -", "2000000 hevc-720p.m3u8 audio -"]
    );
    let small = &presentation.variants[0];
    assert_eq!(small.average_bandwidth, Some(922_354));
    assert_eq!(small.resolution, Some((360, 640)));
    assert_eq!(small.codecs.as_deref(), Some("avc1.64001e,mp4a.40.2"));
    let [audio] = &presentation.audio[..] else { panic!("one sound") };
    assert_eq!(audio.url.path(), "/v/1/audio.m3u8");
    assert!(audio.is_default && audio.group == "audio" && !presentation.is_dash);
}

#[test]
fn a_mastering_tool_with_groups_subtitles_and_i_frames() {
    let presentation = read(
        "#EXTM3U\r\n#EXT-X-VERSION:6\r\n\r\n## made by hand\r\n\
         #EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID=\"aud1\",LANGUAGE=\"en\",NAME=\"English\",AUTOSELECT=YES,DEFAULT=YES,URI=\"a1/prog_index.m3u8\"\r\n\
         #EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID=\"aud2\",LANGUAGE=\"en\",NAME=\"English\",AUTOSELECT=YES,DEFAULT=YES,URI=\"a2/prog_index.m3u8\"\r\n\
         #EXT-X-MEDIA:TYPE=SUBTITLES,GROUP-ID=\"sub1\",NAME=\"English\",URI=\"urn:of:no:matter\"\r\n\
         #EXT-X-MEDIA:TYPE=CLOSED-CAPTIONS,GROUP-ID=\"cc1\",NAME=\"English\",INSTREAM-ID=\"CC1\"\r\n\
         #EXT-X-I-FRAME-STREAM-INF:BANDWIDTH=187492,CODECS=\"avc1.64002a\",RESOLUTION=1920x1080,URI=\"v7/iframe_index.m3u8\"\r\n\
         #EXT-X-STREAM-INF:AVERAGE-BANDWIDTH=2168183,BANDWIDTH=2177116,CODECS=\"avc1.640020,mp4a.40.2\",RESOLUTION=960x540,FRAME-RATE=60.000,CLOSED-CAPTIONS=\"cc1\",AUDIO=\"aud1\",SUBTITLES=\"sub1\"\r\n\
         v5/prog_index.m3u8\r\n\
         #EXT-X-STREAM-INF:AVERAGE-BANDWIDTH=2390334,BANDWIDTH=2399619,CODECS=\"avc1.640020,ac-3\",RESOLUTION=960x540,FRAME-RATE=60.000,CLOSED-CAPTIONS=\"cc1\",AUDIO=\"aud2\",SUBTITLES=\"sub1\"\r\n\
         v5/prog_index.m3u8\r\n",
    )
    .expect("a playlist");
    assert_eq!(
        variants(&presentation),
        ["2177116 v5/prog_index.m3u8 aud1 -", "2399619 v5/prog_index.m3u8 aud2 -"]
    );
    assert_eq!(presentation.audio.len(), 2);
}

#[test]
fn a_live_server_with_nothing_but_bandwidth() {
    let presentation = read(
        "#EXTM3U\n#EXT-X-VERSION:3\n\
         #EXT-X-STREAM-INF:PROGRAM-ID=1,BANDWIDTH=800000\nlive_hi/index.m3u8\n\
         #EXT-X-STREAM-INF:PROGRAM-ID=1,BANDWIDTH=288000\n\n# low\nlive_low/index.m3u8\n\
         stray.m3u8\n\
         #EXT-X-STREAM-INF:PROGRAM-ID=1,BANDWIDTH=1\n",
    )
    .expect("a playlist");
    assert_eq!(
        variants(&presentation),
        ["288000 live_low/index.m3u8 - -", "800000 live_hi/index.m3u8 - -"]
    );
}

#[test]
fn a_media_playlist_given_first_is_one_variant() {
    let text = "#EXTM3U\n#EXT-X-TARGETDURATION:4\n#EXTINF:4,\na.ts\n";
    assert_eq!(variants(&read(text).expect("a playlist")), ["0 main.m3u8 - -"]);
}

#[test]
fn sound_that_is_in_the_variant_is_not_fetched_apart() {
    let table = [
        ("NAME=\"en\",DEFAULT=YES", "DEFAULT=NO,NAME=\"fr\",URI=\"fr.m3u8\"", "-"),
        ("NAME=\"en\"", "DEFAULT=YES,NAME=\"fr\",URI=\"fr.m3u8\"", "a"),
        ("NAME=\"en\"", "AUTOSELECT=YES,NAME=\"fr\",URI=\"fr.m3u8\"", "a"),
        ("NAME=\"en\"", "NAME=\"fr\",URI=\"fr.m3u8\"", "-"),
    ];
    for (one, other, group) in table {
        let presentation = read(&format!(
            "#EXTM3U\n#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID=\"a\",{one}\n\
             #EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID=\"a\",{other}\n\
             #EXT-X-STREAM-INF:BANDWIDTH=1,AUDIO=\"a\"\nv.m3u8\n\
             #EXT-X-STREAM-INF:BANDWIDTH=2,AUDIO=\"gone\"\nw.m3u8\n"
        ))
        .expect("a playlist");
        let expected = [format!("1 v.m3u8 {group} -"), "2 w.m3u8 - -".to_owned()];
        assert_eq!(variants(&presentation), expected, "{one} {other}");
    }
}

#[test]
fn variants_of_sound_alone_are_left_out_where_there_are_pictures() {
    let picture = "#EXT-X-STREAM-INF:BANDWIDTH=9,CODECS=\"avc1.4d401f,mp4a.40.2\"\nv.m3u8\n";
    let sound = "#EXT-X-STREAM-INF:BANDWIDTH=1,CODECS=\"mp4a.40.2\"\na.m3u8\n";
    let untold = "#EXT-X-STREAM-INF:BANDWIDTH=5\nx.m3u8\n";
    let table = [
        (vec![picture, sound], vec!["9 v.m3u8 - -"]),
        (vec![sound, untold, picture], vec!["5 x.m3u8 - -", "9 v.m3u8 - -"]),
        (vec![sound, untold], vec!["1 a.m3u8 - -", "5 x.m3u8 - -"]),
        (vec![sound], vec!["1 a.m3u8 - -"]),
    ];
    for (parts, expected) in table {
        let presentation = read(&format!("#EXTM3U\n{}", parts.concat())).expect("a playlist");
        assert_eq!(variants(&presentation), expected);
    }
}

#[test]
fn pathways_are_named_and_so_are_spare_streams() {
    let steered = read(
        "#EXTM3U\n\
         #EXT-X-DEFINE:NAME=\"p\",VALUE=\"CDN-A\"\n\
         #EXT-X-CONTENT-STEERING:SERVER-URI=\"/steer?s=1\",PATHWAY-ID=\"{$p}\"\n\
         #EXT-X-STREAM-INF:BANDWIDTH=1,PATHWAY-ID=\"{$p}\",STABLE-VARIANT-ID=\"v\"\nhttps://{$p}.example/v.m3u8\n\
         #EXT-X-STREAM-INF:BANDWIDTH=2\nw.m3u8\n",
    )
    .expect("a playlist");
    assert_eq!(variants(&steered), ["1 https://cdn-a.example/v.m3u8 - CDN-A", "2 w.m3u8 - ."]);
    let steering = steered.steering.expect("a server");
    assert_eq!(steering.server.as_str(), "https://a.example/steer?s=1");
    assert_eq!(steering.pathway.as_deref(), Some("CDN-A"));
    assert_eq!(steered.variants[0].stable_id.as_deref(), Some("v"));
    let spare = read(
        "#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\nhttps://b.example/v.m3u8\n\
         #EXT-X-STREAM-INF:BANDWIDTH=1\nv.m3u8\n#EXT-X-STREAM-INF:BANDWIDTH=3\nw.m3u8\n",
    )
    .expect("a playlist");
    let expected = ["1 https://b.example/v.m3u8 - .", "1 v.m3u8 - ..", "3 w.m3u8 - ."];
    assert_eq!(variants(&spare), expected);
}

#[test]
fn what_cannot_be_played_is_refused_with_its_line() {
    let many = "#EXT-X-STREAM-INF:BANDWIDTH=1\nv\n".repeat(257);
    let table = [
        ("", None, "#EXTM3U is missing"),
        ("<html>", Some(1), "#EXTM3U is missing"),
        ("#EXTM3U\n", None, "a variant (EXT-X-STREAM-INF and its URI) is missing"),
        ("#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\n", None, "a variant"),
        ("#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=x\nv\n", Some(2), "BANDWIDTH cannot be \"x\""),
        ("#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\nfile:///v\n", Some(3), "the URL of a variant"),
        ("#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\n{$v}\n", Some(3), "\"v\" is not defined"),
        ("#EXTM3U\n#EXT-X-CONTENT-STEERING:PATHWAY-ID=\"a\"\n", Some(2), "SERVER-URI is missing"),
        (&format!("#EXTM3U\n{many}"), Some(515), "more than 256 variants"),
    ];
    for (text, line, what) in table {
        let error = read(text).expect_err(what);
        assert!(error.line == line && error.to_string().contains(what), "{error}");
    }
    assert_eq!(read("").expect_err("empty").what, Fault::Missing("#EXTM3U"));
}

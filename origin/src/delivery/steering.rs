//! Content steering in manifests: who tells a player where to fetch from, and what the place it begins at is called.
//!
//! Manifests are stored without it, for where they are served is nobody's business who makes them. It is added when
//! they are delivered. Pure; what does not look like a manifest of ours is left as it is.

use std::borrow::Cow;

use tidegate_contract::media_path::ManifestName;

use super::config::Steering;

/// Names the steering server in a manifest that a player begins with.
pub(super) fn name_server(body: &str, name: &ManifestName, steering: &Steering) -> Option<String> {
    let server = steering.server_uri.as_deref()?;
    match name {
        ManifestName::Multivariant => in_playlist(body, server, &steering.pathway),
        ManifestName::Mpd => in_mpd(body, server, steering),
        // A player knows already.
        ManifestName::Media(_) => None,
    }
}

/// One tag for the server, and the pathway on every variant. Renditions go with the variants that name their group.
fn in_playlist(body: &str, server: &str, pathway: &str) -> Option<String> {
    if !body.starts_with(PLAYLIST) || body.contains(STEERING_TAG) {
        return None;
    }
    let mut text = String::with_capacity(body.len() + server.len() + 1024);
    let mut is_named = false;
    for line in body.lines() {
        let is_stream = STREAM_TAGS.iter().any(|tag| line.starts_with(tag));
        let is_entry = is_stream || line.starts_with(RENDITION_TAG);
        if is_entry && !is_named {
            is_named = true;
            text.push_str(&format!(
                "{STEERING_TAG}SERVER-URI=\"{server}\",PATHWAY-ID=\"{pathway}\"\n"
            ));
        }
        text.push_str(line);
        if is_stream {
            text.push_str(&format!(",PATHWAY-ID=\"{pathway}\""));
        }
        text.push('\n');
    }
    is_named.then_some(text)
}

/// A base that is the place of the MPD itself, so that it has a name, and the server.
fn in_mpd(body: &str, server: &str, steering: &Steering) -> Option<String> {
    if body.contains("<ContentSteering") || body.contains("<BaseURL") {
        return None;
    }
    let at = end_of_mpd_tag(body)?;
    let (server, pathway) = (escaped(server), escaped(&steering.pathway));
    let is_asked_first = steering.query_before_start;
    Some(format!(
        "{}\n  <BaseURL serviceLocation=\"{pathway}\">./</BaseURL>\n  <ContentSteering defaultServiceLocation=\"{pathway}\" \
         queryBeforeStart=\"{is_asked_first}\">{server}</ContentSteering>{}",
        &body[..at],
        &body[at..]
    ))
}

/// Behind the `>` of the root's start tag; a `>` in a value of an attribute ends nothing.
fn end_of_mpd_tag(body: &str) -> Option<usize> {
    let start = body.find("<MPD")?;
    let mut quote = None;
    for (at, byte) in body.bytes().enumerate().skip(start) {
        match (quote, byte) {
            (None, b'"' | b'\'') => quote = Some(byte),
            (Some(open), _) if open == byte => quote = None,
            // An element without content has no place for it.
            (None, b'>') if body.as_bytes()[at - 1] == b'/' => return None,
            (None, b'>') => return Some(at + 1),
            _ => {}
        }
    }
    None
}

fn escaped(text: &str) -> Cow<'_, str> {
    if !text.contains(['&', '<', '>', '"']) {
        return text.into();
    }
    let escaped = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    escaped.replace('"', "&quot;").into()
}

const PLAYLIST: &str = "#EXTM3U";
const STEERING_TAG: &str = "#EXT-X-CONTENT-STEERING:";
const STREAM_TAGS: [&str; 2] = ["#EXT-X-STREAM-INF:", "#EXT-X-I-FRAME-STREAM-INF:"];
const RENDITION_TAG: &str = "#EXT-X-MEDIA:";

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn steering() -> Steering {
        Steering {
            server_uri: Some("https://steer.example/steering/video?a=1&b=2".into()),
            ..Steering::default()
        }
    }

    const PLAYLIST_TEXT: &str = "#EXTM3U\n#EXT-X-VERSION:7\n\
        #EXT-X-MEDIA:TYPE=AUDIO,URI=\"audio.m3u8\",GROUP-ID=\"audio\",NAME=\"main\"\n\
        #EXT-X-STREAM-INF:BANDWIDTH=1,AUDIO=\"audio\"\n360p.m3u8\n\
        #EXT-X-STREAM-INF:BANDWIDTH=2,AUDIO=\"audio\"\n720p.m3u8\n";

    #[test]
    fn a_playlist_names_the_server_and_every_variant_its_pathway() {
        let named = name_server(PLAYLIST_TEXT, &ManifestName::Multivariant, &steering());
        assert_eq!(
            named.as_deref(),
            Some(
                "#EXTM3U\n#EXT-X-VERSION:7\n\
                 #EXT-X-CONTENT-STEERING:SERVER-URI=\"https://steer.example/steering/video?a=1&b=2\",PATHWAY-ID=\"main\"\n\
                 #EXT-X-MEDIA:TYPE=AUDIO,URI=\"audio.m3u8\",GROUP-ID=\"audio\",NAME=\"main\"\n\
                 #EXT-X-STREAM-INF:BANDWIDTH=1,AUDIO=\"audio\",PATHWAY-ID=\"main\"\n360p.m3u8\n\
                 #EXT-X-STREAM-INF:BANDWIDTH=2,AUDIO=\"audio\",PATHWAY-ID=\"main\"\n720p.m3u8\n"
            )
        );
        let again = named.expect("just made");
        assert_eq!(name_server(&again, &ManifestName::Multivariant, &steering()), None);
    }

    #[test]
    fn an_mpd_names_the_server_and_the_place_it_is_at() {
        let mpd = "<?xml version=\"1.0\"?>\n<MPD profiles=\"a>b\" type='static'><Period/></MPD>\n";
        assert_eq!(
            name_server(mpd, &ManifestName::Mpd, &steering()).as_deref(),
            Some(
                "<?xml version=\"1.0\"?>\n<MPD profiles=\"a>b\" type='static'>\n  \
                 <BaseURL serviceLocation=\"main\">./</BaseURL>\n  \
                 <ContentSteering defaultServiceLocation=\"main\" queryBeforeStart=\"false\">\
                 https://steer.example/steering/video?a=1&amp;b=2</ContentSteering><Period/></MPD>\n"
            )
        );
    }

    #[test]
    fn everything_else_is_left_as_it_is() {
        let media = "360p".parse().expect("an id");
        for (body, name) in [
            (PLAYLIST_TEXT, ManifestName::Media(media)),
            ("360p.m3u8\n", ManifestName::Multivariant),
            ("#EXTM3U\n", ManifestName::Multivariant),
            ("<MPD/>", ManifestName::Mpd),
            ("<MPD type=\"", ManifestName::Mpd),
            ("<MPD><BaseURL>a/</BaseURL></MPD>", ManifestName::Mpd),
            ("", ManifestName::Mpd),
        ] {
            assert_eq!(name_server(body, &name, &steering()), None, "{body}");
        }
        let off = Steering::default();
        assert_eq!(name_server(PLAYLIST_TEXT, &ManifestName::Multivariant, &off), None);
    }

    proptest! {
        #[test]
        fn nothing_that_is_stored_panics(body in ".*", tail in "[<>\"'/a-z ]{0,30}") {
            for name in [ManifestName::Multivariant, ManifestName::Mpd] {
                let _ = name_server(&body, &name, &steering());
                let _ = name_server(&format!("<MPD{tail}"), &name, &steering());
            }
        }
    }
}

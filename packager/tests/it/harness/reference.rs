//! Which objects a manifest names, as keys of the object store.

use tidegate_contract::package_job::PublishedManifest;

/// The keys of all objects that a manifest names; playlists that it names are no objects.
pub(crate) fn references(manifest: &PublishedManifest) -> Vec<String> {
    let references = if manifest.name.ends_with(".mpd") {
        mpd(&manifest.body)
    } else {
        playlist(&manifest.body)
    };
    references
        .into_iter()
        .map(|reference| {
            let key = reference.strip_prefix("../../").expect("relative to the tree's root");
            key.to_owned()
        })
        .collect()
}

fn playlist(body: &str) -> Vec<String> {
    let (_, playlist) = m3u8_rs::parse_playlist(body.as_bytes()).expect("a playlist");
    match playlist {
        m3u8_rs::Playlist::MasterPlaylist(_) => Vec::new(),
        m3u8_rs::Playlist::MediaPlaylist(playlist) => playlist
            .segments
            .into_iter()
            .flat_map(|segment| segment.map.map(|map| map.uri).into_iter().chain([segment.uri]))
            .collect(),
    }
}

fn mpd(body: &str) -> Vec<String> {
    let mpd = dash_mpd_core::parse(body).expect("an MPD");
    let mut references = Vec::new();
    let sets = mpd.periods.into_iter().flat_map(|period| period.adaptations);
    for representation in sets.flat_map(|set| set.representations) {
        let template = representation.SegmentTemplate.expect("a template");
        let media = template.media.expect("a media template");
        references.push(template.initialization.expect("an init segment"));
        let runs = template.SegmentTimeline.expect("a timeline").segments;
        let count: i64 = runs.iter().map(|run| run.r.unwrap_or(0) + 1).sum();
        references.extend((1..=count).map(|n| media.replace("$Number$", &n.to_string())));
    }
    references
}

//! What a player would fetch: every resource that the manifests of a video name; and what a decoder makes of it.

use std::process::Stdio;

use tokio::process::Command;
use url::Url;

use crate::viewer::{Answer, Viewer};

/// Every media segment and init segment of an HLS presentation, fetched as paths with their bodies.
pub async fn fetch_all(viewer: &Viewer, authority: &str, hls_path: &str) -> Vec<(String, Answer)> {
    let base = Url::parse(&format!("https://{authority}")).unwrap();
    let main = ok(viewer, authority, hls_path).await;
    let main_url = base.join(hls_path).unwrap();
    let mut fetched = Vec::new();
    for playlist in uris(&main.text()) {
        let playlist_url = main_url.join(&playlist).unwrap();
        let playlist = ok(viewer, authority, playlist_url.path()).await;
        for segment in uris(&playlist.text()) {
            let url = playlist_url.join(&segment).unwrap();
            let answer = ok(viewer, authority, url.path()).await;
            fetched.push((url.path().to_owned(), answer));
        }
    }
    fetched
}

/// Lines that are URIs, and `URI="…"` attributes (init segments, audio playlists), each once; but who steers is no part of the
/// video.
pub fn uris(playlist: &str) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    for line in playlist.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let uri = match line.strip_prefix('#') {
            None => Some(line),
            Some(tag) if tag.starts_with("EXT-X-CONTENT-STEERING:") => None,
            Some(tag) => tag.split_once("URI=\"").and_then(|(_, rest)| rest.split('"').next()),
        };
        if let Some(uri) = uri
            && !found.iter().any(|known| known == uri)
        {
            found.push(uri.to_owned());
        }
    }
    found
}

/// How many frames of the `n`-th video track ffmpeg's own demuxers and decoders get out of a URL.
pub async fn decoded_frames(url: &str, track: usize) -> u64 {
    let select = format!("v:{track}");
    let arguments = ["-select_streams", &select, "-count_frames", "-show_entries"];
    let text = ffprobe(url, &[&arguments[..], &["stream=nb_read_frames"]].concat()).await;
    // Programs repeat the stream; every line says the same.
    let frames = values(&text).next().and_then(|value| value.parse().ok());
    frames.unwrap_or_else(|| panic!("no frames: {text:?}"))
}

/// The times of the packets at which a decoder can begin, as ffprobe writes them.
pub async fn random_access_times(url: &str) -> Vec<String> {
    let arguments = ["-select_streams", "v:0", "-show_entries", "packet=pts_time,flags"];
    let text = ffprobe(url, &arguments).await;
    let keys = text.lines().filter(|line| line.contains(",K"));
    keys.filter_map(|line| line.split(',').next()).map(str::to_owned).collect()
}

async fn ffprobe(url: &str, arguments: &[&str]) -> String {
    let output = Command::new("ffprobe")
        .args(["-v", "error", "-of", "csv=p=0"])
        .args(arguments)
        .arg(url)
        .stdin(Stdio::null())
        .output()
        .await
        .unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && errors.is_empty(), "ffprobe {url}: {errors}");
    String::from_utf8(output.stdout).unwrap()
}

fn values(text: &str) -> impl Iterator<Item = &str> {
    text.lines().map(|line| line.trim().trim_end_matches(',')).filter(|line| !line.is_empty())
}

async fn ok(viewer: &Viewer, authority: &str, path: &str) -> Answer {
    let answer = viewer.get(authority, path).await;
    assert_eq!(answer.status, 200, "{viewer:?} https://{authority}{path}: {}", answer.text());
    answer
}

//! Videos as files, behind plain nginx: HLS and DASH in the forms that ffmpeg makes, encrypted ones, one with an index
//! of its own, one on two servers.

use std::{fs, path::Path};

use serde_json::Value;

use crate::harness::{CLIP_SECONDS, Nginx, clip, fetches, hashes_of, shown};

#[tokio::test]
async fn what_ffmpeg_makes_is_played_behind_plain_nginx() {
    let media = tempfile::tempdir().unwrap();
    let ffmpeg = |arguments: &str| {
        let ran = clip().args(arguments.split(' ')).current_dir(media.path()).output().unwrap();
        assert!(ran.status.success(), "{}", shown(&ran));
    };
    ffmpeg("-f hls -hls_time 1 -hls_playlist_type vod ts.m3u8");
    ffmpeg("-f hls -hls_time 1 -hls_playlist_type vod -hls_flags single_file ranges.m3u8");
    ffmpeg(
        "-f hls -hls_time 1 -hls_playlist_type vod -hls_segment_type fmp4 -master_pl_name main.m3u8 -hls_fmp4_init_filename i.mp4 fmp4.m3u8",
    );
    ffmpeg("-f dash -seg_duration 1 -use_template 1 -use_timeline 1 timeline.mpd");
    ffmpeg(
        "-f dash -seg_duration 1 -use_template 1 -use_timeline 0 -init_seg_name ti-$RepresentationID$.mp4 -media_seg_name t-$RepresentationID$-$Number$.m4s template.mpd",
    );
    let hashes = media.path().join("hashes");
    fs::write(&hashes, hashes_of(media.path())).unwrap();
    let nginx = Nginx::start(media.path()).await;
    for entry in ["ts.m3u8", "ranges.m3u8", "main.m3u8", "timeline.mpd", "template.mpd"] {
        let results = nginx.rig.run(&[
            &nginx.url(entry),
            "--protocol=h1=1,h2=1",
            "--rate=2",
            "--duration=2s",
            "--set=arrivals.drain=30s",
            &format!("--set=target.hashes={hashes:?}"),
        ]);
        let quality = &results["quality"];
        assert_eq!(quality["views"], 4, "{entry}: {quality}");
        for none in ["failed_starts", "failed_playbacks", "exits_before_start", "cut"] {
            assert_eq!(quality[none], 0, "{entry}: {quality}");
        }
        let played = quality["played_s"].as_f64().unwrap();
        assert!((played - 4.0 * CLIP_SECONDS).abs() < 4.0, "{entry}: {played} s played");
        let media_bytes: u64 = fetches(&results, "segment", "bytes");
        assert!(media_bytes > 4 * 50_000, "{entry}: {media_bytes}");
    }
    // One wrong byte is noticed by whoever plays it.
    let segment = media.path().join("ts1.ts");
    let mut bytes = fs::read(&segment).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&segment, bytes).unwrap();
    let results = nginx.rig.results(&[
        &nginx.url("ts.m3u8"),
        "--duration=1s",
        "--set=arrivals.drain=30s",
        &format!("--set=target.hashes={hashes:?}"),
    ]);
    let corrupt: u64 = results["fetches"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|fetches| fetches["failures"]["corrupt"].as_u64())
        .sum();
    assert!(corrupt > 0, "{}", results["fetches"]);
}

#[tokio::test]
async fn of_encrypted_video_the_keys_are_asked_for_and_the_ciphertext_is_compared() {
    let media = tempfile::tempdir().unwrap();
    fs::write(media.path().join("the.key"), [7; 16]).unwrap();
    fs::write(media.path().join("key-info"), "the.key\nthe.key\n").unwrap();
    ffmpeg(
        media.path(),
        "-f hls -hls_time 1 -hls_playlist_type vod -hls_key_info_file key-info secret.m3u8",
    );
    let playlist = fs::read_to_string(media.path().join("secret.m3u8")).unwrap();
    assert!(playlist.contains("METHOD=AES-128"), "{playlist}");
    let hashes = media.path().join("hashes");
    fs::write(&hashes, hashes_of(media.path())).unwrap();
    let nginx = Nginx::start(media.path()).await;
    let hashes = format!("--set=target.hashes={hashes:?}");
    let results = nginx.rig.run(&[
        &nginx.url("secret.m3u8"),
        "--protocol=h1=1,h2=1",
        FOUR,
        "--duration=2s",
        DRAIN,
        &hashes,
    ]);
    all_watched(&results, "secret.m3u8");
    assert_eq!((fetches(&results, "key", "count"), fetches(&results, "key", "bytes")), (4, 64));
}

#[tokio::test]
async fn a_file_with_an_index_of_its_own_is_played_by_its_parts() {
    let media = tempfile::tempdir().unwrap();
    ffmpeg(
        media.path(),
        "-an -movflags +frag_keyframe+empty_moov+default_base_moof+dash+global_sidx one.mp4",
    );
    let (at, length) = box_of(&fs::read(media.path().join("one.mp4")).unwrap(), b"sidx");
    let mpd = format!(
        r#"<MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static" mediaPresentationDuration="PT6S" minBufferTime="PT2S">
          <Period><AdaptationSet mimeType="video/mp4" contentType="video">
            <Representation id="v" bandwidth="300000" codecs="avc1.42c00d"><BaseURL>one.mp4</BaseURL>
              <SegmentBase indexRange="{at}-{}"><Initialization range="0-{}"/></SegmentBase>
            </Representation></AdaptationSet></Period></MPD>"#,
        at + length - 1,
        at - 1
    );
    fs::write(media.path().join("base.mpd"), mpd).unwrap();
    ffmpeg(
        media.path(),
        "-f dash -seg_duration 1 -single_file 1 -use_template 0 -use_timeline 0 list.mpd",
    );
    let nginx = Nginx::start(media.path()).await;
    for entry in ["base.mpd", "list.mpd"] {
        let results = nginx.rig.run(&[
            &nginx.url(entry),
            "--protocol=h1=1,h2=1",
            FOUR,
            "--duration=2s",
            DRAIN,
        ]);
        all_watched(&results, entry);
        assert!(fetches(&results, "segment", "count") >= 4 * 6, "{entry}: by parts");
    }
}

#[tokio::test]
async fn a_steering_server_says_which_of_two_servers_is_asked() {
    let media = tempfile::tempdir().unwrap();
    // What the steering server does not want is not even there.
    let beta = media.path().join("beta");
    fs::create_dir(&beta).unwrap();
    ffmpeg(&beta, "-an -f dash -seg_duration 1 -use_template 1 -use_timeline 0 own.mpd");
    let nginx = Nginx::start(media.path()).await;
    let own = fs::read_to_string(beta.join("own.mpd")).unwrap();
    let (before, after) = own.split_once("<Period").unwrap();
    let servers = format!(
        r#"<ContentSteering defaultServiceLocation="alpha" queryBeforeStart="true">{}</ContentSteering>
           <BaseURL serviceLocation="alpha">{}</BaseURL><BaseURL serviceLocation="beta">{}</BaseURL>"#,
        nginx.url("steering.json"),
        nginx.url("alpha/"),
        nginx.url("beta/"),
    );
    fs::write(media.path().join("steered.mpd"), format!("{before}{servers}<Period{after}"))
        .unwrap();
    let steering = r#"{"VERSION":1,"TTL":300,"PATHWAY-PRIORITY":["beta","alpha"]}"#;
    fs::write(media.path().join("steering.json"), steering).unwrap();
    let results = nginx.rig.run(&[&nginx.url("steered.mpd"), FOUR, "--duration=2s", DRAIN]);
    all_watched(&results, "steered.mpd");
    assert!(fetches(&results, "steering", "count") >= 4, "{}", results["fetches"]);
    for fetches in results["fetches"].as_array().unwrap() {
        assert_eq!(fetches["failures"], serde_json::json!({}), "nothing is asked of alpha");
    }
}

fn ffmpeg(folder: &Path, arguments: &str) {
    let ran = clip().args(arguments.split(' ')).current_dir(folder).output().unwrap();
    assert!(ran.status.success(), "{}", shown(&ran));
}

fn all_watched(results: &Value, entry: &str) {
    let quality = &results["quality"];
    assert_eq!(quality["views"], 4, "{entry}: {quality}");
    for none in ["failed_starts", "failed_playbacks", "exits_before_start", "cut"] {
        assert_eq!(quality[none], 0, "{entry}: {quality}");
    }
    let played = quality["played_s"].as_f64().unwrap();
    assert!((played - 4.0 * CLIP_SECONDS).abs() < 4.0, "{entry}: {played} s played");
}

/// Where a box of the file's first level lies, and its length.
fn box_of(file: &[u8], kind: &[u8; 4]) -> (usize, usize) {
    let mut at = 0;
    loop {
        let length = u32::from_be_bytes(file[at..at + 4].try_into().unwrap()) as usize;
        if &file[at + 4..at + 8] == kind {
            return (at, length);
        }
        at += length;
    }
}

const FOUR: &str = "--rate=2";
const DRAIN: &str = "--set=arrivals.drain=30s";

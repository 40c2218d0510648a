//! What viewers are said to have met is what the server was told to do to them.

use std::time::Duration;

use tidegate_load::kind::{FailureClass, ObjectKind};

use crate::harness::{Answer, FakeMedia, ONE, run, scenario, undisturbed};

const MS: Duration = Duration::from_millis(1);

#[test]
fn startup_stall_and_bitrate_are_those_of_the_script() {
    undisturbed(|| {
        let media = FakeMedia::start();
        media.video("/v", 6, 0.5, 800_000);
        media
            .delay("/v/master.m3u8", 100 * MS)
            .delay("/v/media.m3u8", 100 * MS)
            .delay("/v/0.ts", 200 * MS);
        // The first three segments last until 0.4 + 1.5 s; the fourth is asked for at 0.4 s.
        media.delay("/v/3.ts", 2_500 * MS);
        let results = run(&scenario(&[media.url("/v/master.m3u8")], ONE, "20s", ""));

        let quality = &results.quality;
        assert_eq!(
            (quality.views, quality.failed_starts, quality.cut, quality.stalls),
            (1, 0, 0, 1)
        );
        let startup = quality.startup_ms.max().unwrap();
        assert!((400..800).contains(&startup), "{startup} ms");
        assert!((quality.played_s - 3.0).abs() < 0.01, "{} s", quality.played_s);
        assert!((quality.stalled_s - 1.0).abs() < 0.3, "{} s", quality.stalled_s);
        let bitrate = quality.bitrate_bps.max().unwrap();
        assert!((799_000..802_000).contains(&bitrate), "{bitrate}");

        let segments =
            results.fetches.iter().find(|fetches| fetches.kind == ObjectKind::Segment).unwrap();
        assert_eq!((segments.count, segments.bytes, segments.failed()), (6, 300_000, 0));
        assert!(segments.first_byte_us.max().unwrap() >= 2_500_000);
        assert_eq!(
            (results.arrivals.scheduled, results.arrivals.begun, results.arrivals.blocked),
            (1, 1, 0)
        );
        let bytes: u64 = results.intervals.iter().map(|interval| interval.bytes).sum();
        assert_eq!(bytes, results.fetches.iter().map(|fetches| fetches.bytes).sum::<u64>());
    });
}

#[test]
fn a_video_that_is_not_there_is_a_failed_start() {
    let media = FakeMedia::start();
    let retries = "[player]\nretries_manifest = 0\n";
    let results = run(&scenario(&[media.url("/gone.m3u8")], ONE, "10s", retries));
    assert_eq!((results.quality.views, results.quality.failed_starts), (1, 1));
    assert_eq!(results.fetches[0].failures[&FailureClass::ClientError], 1);
    assert_eq!(results.quality.startup_ms.count(), 0);
}

#[test]
fn content_that_is_not_what_the_hashes_say_is_corrupt() {
    let media = FakeMedia::start();
    media.video("/v", 2, 0.5, 80_000);
    media.answer("/v/1.ts", Answer { status: 200, body: vec![1; 5_000], ..Answer::default() });
    let folder = tempfile::tempdir().unwrap();
    let hashes = folder.path().join("b3sums");
    let hash = blake3::hash(&[0; 5_000]).to_hex();
    std::fs::write(&hashes, format!("{hash}  v/0.ts\n{hash}  v/1.ts\n")).unwrap();
    let more = "[player]\nretries_segment = 0\n";
    let text = scenario(&[media.url("/v/master.m3u8")], ONE, "10s", more);
    let text =
        text.replace("[arrivals]", &format!("hashes = {:?}\n[arrivals]", hashes.to_str().unwrap()));
    let results = run(&text);
    let segments =
        results.fetches.iter().find(|fetches| fetches.kind == ObjectKind::Segment).unwrap();
    assert_eq!(segments.failures.get(&FailureClass::Corrupt), Some(&1));
    assert_eq!(segments.count, 2);
}

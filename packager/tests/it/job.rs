//! Probe → plan → encode → package → publish.

use tidegate_contract::package_job::{JobStage, Publication};

use crate::harness::{FakeOrigin, TestPackager, wait_for};

fn ids(publication: &Publication) -> Vec<&str> {
    publication.renditions.iter().map(|rendition| rendition.id.as_str()).collect()
}

#[tokio::test]
async fn a_video_is_published_rung_by_rung_and_then_complete() {
    let origin = FakeOrigin::start().await;
    let packager = TestPackager::new().start(&origin);
    origin.upload(b"clip sound seconds=9");
    let last = origin.completed().await;

    let all: Vec<_> =
        origin.publications().iter().map(|p| (p.complete, ids(p).join(" "))).collect();
    let h264 = "360p 720p audio";
    assert_eq!(
        all,
        [
            (false, "360p audio".to_owned()),
            (false, h264.to_owned()),
            (true, "360p 720p hevc-720p audio".to_owned()),
        ]
    );
    assert_eq!(last.duration.as_secs(), 9);
    assert_eq!(last.stills, 9);
    for image in ["thumb-1.jpg", "thumb-5.webp", "sprite-1.jpg", "sprite.vtt"] {
        assert!(last.images.iter().any(|name| name == image), "{image}");
        assert!(origin.object(&format!("m/m1/1/image/{image}")).is_file(), "{image}");
    }
    assert!(origin.object("stills/m1/1/000009.jpg").is_file());
    let audio = last.renditions.last().expect("a rendition");
    assert_eq!((audio.codecs.as_str(), audio.segments), ("mp4a.40.2", 3));
    let stages: Vec<_> = origin.renewed().iter().map(|renewal| renewal.stage).collect();
    assert!(stages.is_sorted_by_key(|stage| *stage == JobStage::Transcoding), "{stages:?}");
    wait_for("the metric", || packager.count("packager_jobs_total", "complete") > 0.0).await;
    assert_eq!(packager.count("packager_workers_total", "done"), 2.0);
}

#[tokio::test]
async fn a_video_without_sound_is_complete_too() {
    let origin = FakeOrigin::start().await;
    let _packager = TestPackager::new().start(&origin);
    origin.upload(b"clip seconds=3");
    assert_eq!(ids(&origin.completed().await), ["360p", "720p", "hevc-720p"]);
}

#[tokio::test]
async fn sound_that_fails_does_not_fail_the_video() {
    let origin = FakeOrigin::start().await;
    let _packager = TestPackager::new().start(&origin);
    origin.upload(b"clip sound-fails seconds=3");
    assert_eq!(ids(&origin.completed().await), ["360p", "720p", "hevc-720p"]);
    // Nothing was published while sound could still come.
    assert_eq!(ids(&origin.publications()[0]), ["360p", "720p"]);
}

#[tokio::test]
async fn hevc_that_fails_leaves_the_rest_complete() {
    let origin = FakeOrigin::start().await;
    let _packager = TestPackager::new().start(&origin);
    origin.upload(b"clip sound hevc-fails seconds=3");
    assert_eq!(ids(&origin.completed().await), ["360p", "720p", "audio"]);
}

#[tokio::test]
async fn a_worker_that_writes_much_to_its_log_does_not_stop() {
    let origin = FakeOrigin::start().await;
    let _packager = TestPackager::new().start(&origin);
    origin.upload(b"loud seconds=3");
    origin.completed().await;
}

#[tokio::test]
async fn an_origin_that_is_away_for_a_while_loses_nothing() {
    let origin = FakeOrigin::start().await;
    origin.set_down(true);
    let packager = TestPackager::new().start(&origin);
    origin.upload(b"clip sound seconds=3");
    let retries = || {
        let families = packager.registry.gather();
        let family = families.iter().find(|f| f.name() == "packager_origin_retries_total");
        family.map_or(0.0, |family| family.get_metric()[0].get_counter().get_value())
    };
    wait_for("two failed requests", || retries() >= 2.0).await;
    origin.set_down(false);
    origin.completed().await;
}

//! What the stories hand on to one another: the system, a clip, the video made of it, an origin that obeys.

use std::{fs, path::PathBuf, process::Stdio};

use serde_json::{Value, json};
use tidegate_system_test::{
    fake_origin::{FakeOrigin, Resource},
    system::{System, program},
    viewer::{PROTOCOLS, Viewer},
    wait::{PATIENCE, until},
};
use tokio::process::Command;

pub(crate) struct Stage {
    pub(crate) system: System,
    /// An MP4 of sixteen seconds, upright, 15 frames a second: long enough to switch qualities, little to encode.
    pub(crate) clip: Vec<u8>,
    /// The video made of it.
    pub(crate) video: String,
    /// The origin behind host `127.0.0.1`; all other hosts belong to the real one.
    pub(crate) origin: FakeOrigin,
}

pub(crate) const CLIP_FRAMES: u64 = 240;

impl Stage {
    pub(crate) async fn new(system: System) -> Self {
        let file = clip_file(&system);
        let made = Command::new(program("tidegate-packager-worker"))
            .args([
                "generate",
                "--seconds",
                "16",
                "--fps",
                "15",
                "--width",
                "1080",
                "--height",
                "1920",
                "--output",
            ])
            .arg(&file)
            .stdout(Stdio::null())
            .output()
            .await
            .unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let clip = fs::read(&file).unwrap();
        let origin = FakeOrigin::start().await;
        let stage = Self { system, clip, video: String::new(), origin };
        stage.add_property().await;
        stage
    }

    /// Host `127.0.0.1` belongs to the obedient origin from now on, in every PoP.
    async fn add_property(&self) {
        let property = json!({
            "id": "story",
            "hosts": ["127.0.0.1"],
            "origins": [{ "authority": self.origin.address.to_string() }],
        });
        let file = self.system.data().join("story.json");
        fs::write(&file, property.to_string()).unwrap();
        let applied =
            self.system.tidegate(&["property", "apply", "-f", file.to_str().unwrap()]).await;
        assert!(applied.status.success(), "{}", String::from_utf8_lossy(&applied.stderr));
        self.origin.put("/hello", Resource::new("hello").header("cache-control", "no-store"));
        for (authority, viewer) in self.story_viewers() {
            until("the property is in use", PATIENCE, || async {
                (viewer.get(&authority, "/hello").await.text() == "hello").then_some(())
            })
            .await;
        }
    }

    /// One viewer for each protocol at each edge, asking the obedient origin's host.
    pub(crate) fn story_viewers(&self) -> Vec<(String, Viewer)> {
        let authorities = self.system.edges().map(|pop| story_authority(&pop.authority));
        let with_viewers = |authority: String| {
            PROTOCOLS.map(|protocol| (authority.clone(), self.system.viewer(protocol)))
        };
        authorities.flat_map(with_viewers).collect()
    }

    /// Everybody everywhere gets this body from the obedient origin's host.
    pub(crate) async fn expect_everywhere(&self, path: &str, body: &str) {
        for (authority, viewer) in self.story_viewers() {
            let answer = viewer.get(&authority, path).await;
            assert_eq!(answer.text(), body, "{viewer:?} at {authority}{path}");
        }
    }

    /// Purges a key as an operator does, and waits for all PoPs.
    pub(crate) async fn purge_key(&self, key: &str) -> Value {
        let wait = ["purge", "key", key, "--wait", "--deadline", "30s"];
        let mut ordered = self.system.tidegate_json(&wait).await;
        ordered["purges"][0].take()
    }

    /// The ready file as it would be with a clip: the video was uploaded by a story instead.
    pub(crate) fn ready_with_video(&self) -> PathBuf {
        let text = fs::read(self.system.data().join("ready.json")).unwrap();
        let mut ready: Value = serde_json::from_slice(&text).unwrap();
        let edge = &self.system.pop("pop-a").authority;
        ready["watch_url"] = format!("https://{edge}/watch/{}", self.video).into();
        ready["video_id"] = self.video.clone().into();
        ready["hls_path"] = self.hls_path().into();
        ready["dash_path"] = self.dash_path().into();
        let file = self.system.data().join("ready-with-video.json");
        fs::write(&file, ready.to_string()).unwrap();
        file
    }

    pub(crate) fn clip_file(&self) -> PathBuf {
        clip_file(&self.system)
    }

    pub(crate) fn hls_path(&self) -> String {
        format!("/v/{}/main.m3u8", self.video)
    }

    pub(crate) fn dash_path(&self) -> String {
        format!("/v/{}/manifest.mpd", self.video)
    }
}

fn clip_file(system: &System) -> PathBuf {
    system.data().join("story.mp4")
}

/// The same PoP under the host that belongs to the obedient origin.
pub(crate) fn story_authority(authority: &str) -> String {
    let (_, port) = authority.rsplit_once(':').unwrap();
    format!("127.0.0.1:{port}")
}

//! A packager that makes nothing, but says all the right things, or the wrong ones.

use std::{path::PathBuf, time::Duration};

use serde::Serialize;
use tidegate_contract::{
    id::RenditionId,
    package_job::{
        Failure, FailureReason, JobStage, LeaseRequest, PackageJob, Publication, PublishedManifest,
        PublishedRendition, Renewal,
    },
};

use crate::harness::origin::client;

/// A packager of one origin.
pub struct FakePackager {
    name: String,
    url: String,
    token: String,
    objects: PathBuf,
    http: reqwest::Client,
}

/// A job that a packager holds.
#[derive(Debug, Clone)]
pub struct Leased(pub PackageJob);

/// A publication of some renditions with one segment each; manifests say their own name and a mark.
pub fn publication(epoch: u64, renditions: &[&str], mark: &str, complete: bool) -> Publication {
    let manifest = |name: &str| PublishedManifest {
        name: name.to_owned(),
        body: format!("#EXTM3U\n# {name} {mark}\n"),
    };
    let rendition = |id: &&str| PublishedRendition {
        id: RenditionId::parse(*id).unwrap(),
        codecs: "avc1.64001e".to_owned(),
        width: 360,
        height: 640,
        bandwidth: 800_000,
        segments: 1,
        encoder: "libx264".to_owned(),
    };
    let media = renditions.iter().map(|id| manifest(&format!("{id}.m3u8")));
    Publication {
        epoch,
        complete,
        duration: Duration::from_secs(4),
        renditions: renditions.iter().map(rendition).collect(),
        manifests: [manifest("main.m3u8"), manifest("manifest.mpd")]
            .into_iter()
            .chain(media)
            .collect(),
        images: vec!["thumb-1.jpg".to_owned(), "sprite.vtt".to_owned()],
        stills: 4,
    }
}

impl FakePackager {
    pub fn new(name: &str, url: &str, token: &str, objects: PathBuf) -> Self {
        Self {
            name: name.to_owned(),
            url: format!("{url}/internal/v1/jobs"),
            token: token.to_owned(),
            objects,
            http: client(),
        }
    }

    /// Asks for work.
    pub async fn lease(&self) -> Option<Leased> {
        let request = LeaseRequest { packager: self.name.clone() };
        let response = self.post("lease", &request).await;
        match response.status().as_u16() {
            200 => Some(Leased(response.json().await.unwrap())),
            204 => None,
            other => panic!("lease answered {other}"),
        }
    }

    pub async fn renew(&self, job: &Leased, stage: JobStage, permille: u16) -> u16 {
        let renewal = Renewal { epoch: job.0.epoch, stage, progress_permille: permille };
        self.say(job, "renew", &renewal).await
    }

    /// Writes the objects of a publication, then publishes.
    pub async fn publish(&self, job: &Leased, publication: &Publication) -> u16 {
        self.write_objects(job, publication);
        self.publish_only(job, publication).await
    }

    pub async fn publish_only(&self, job: &Leased, publication: &Publication) -> u16 {
        self.say(job, "publish", publication).await
    }

    pub async fn fail(&self, job: &Leased, reason: FailureReason, detail: &str) -> u16 {
        let failure = Failure { epoch: job.0.epoch, reason, detail: detail.to_owned() };
        self.say(job, "fail", &failure).await
    }

    /// Writes what a publication names: every init segment, segment and image says its own path.
    pub fn write_objects(&self, job: &Leased, publication: &Publication) {
        let base = format!("m/{}/{}", job.0.media, publication.epoch);
        for rendition in &publication.renditions {
            self.write(&format!("{base}/{}/init.mp4", rendition.id));
            for n in 1..=rendition.segments {
                self.write(&format!("{base}/{}/{n}.m4s", rendition.id));
            }
        }
        for image in &publication.images {
            self.write(&format!("{base}/image/{image}"));
        }
    }

    fn write(&self, key: &str) {
        let path = self.objects.join(key);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, format!("bytes of {key}")).unwrap();
    }

    async fn say(&self, job: &Leased, what: &str, message: &impl Serialize) -> u16 {
        self.post(&format!("{}/{what}", job.0.job), message).await.status().as_u16()
    }

    async fn post(&self, path: &str, message: &impl Serialize) -> reqwest::Response {
        let request = self.http.post(format!("{}/{path}", self.url)).bearer_auth(&self.token);
        request.json(message).send().await.unwrap()
    }
}

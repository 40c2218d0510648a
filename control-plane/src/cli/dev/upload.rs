//! Uploads a file to origin with tus 1.0, as any client does, and follows the video until it is made.
//!
//! The content's hash is remembered beside the video, so that a second start with the same file uploads nothing.

use std::{
    fs::{self, File},
    io::{self, Read},
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, bail, ensure};
use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use reqwest::{Client, Method, Response, StatusCode, header::LOCATION};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use tokio::{
    process::Command,
    time::{Instant, sleep},
};

use super::layout::{self, Layout};

/// Origin's public side.
pub(super) struct Origin {
    pub(super) client: Client,
    pub(super) base: String,
    pub(super) token: String,
}

/// What was uploaded at an earlier start.
#[derive(Debug, Serialize, Deserialize)]
struct Known {
    sha256: String,
    video: String,
}

/// A video as origin tells of it; only what is shown here.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(super) struct Video {
    pub(super) state: String,
    pub(super) is_final: bool,
    pub(super) progress_permille: u16,
    pub(super) failure: Option<VideoFailure>,
}

/// Why a video ended early.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(super) struct VideoFailure {
    reason: String,
    detail: String,
}

impl Origin {
    /// The video made from a file's content: the one of an earlier start, or a new upload.
    pub(super) async fn video_of(&self, file: &Path, known: &Path) -> anyhow::Result<String> {
        let sha256 = sha256_of(file).with_context(|| format!("cannot read {}", file.display()))?;
        if let Some(video) = self.known_video(&sha256, known).await? {
            tracing::info!(video, "this content was uploaded before");
            return Ok(video);
        }
        let video = self.upload(file).await?;
        let text = serde_json::to_string(&Known { sha256, video: video.clone() })?;
        layout::replace(known, &text)?;
        Ok(video)
    }

    async fn known_video(&self, sha256: &str, known: &Path) -> anyhow::Result<Option<String>> {
        let Ok(text) = fs::read(known) else { return Ok(None) };
        let known: Known = serde_json::from_slice(&text).context("video.json is damaged")?;
        if known.sha256 != sha256 {
            return Ok(None);
        }
        let is_usable =
            self.video(&known.video).await?.is_some_and(|video| video.state != "failed");
        Ok(is_usable.then_some(known.video))
    }

    /// A video, or `None` when origin does not know it.
    pub(super) async fn video(&self, video: &str) -> anyhow::Result<Option<Video>> {
        let answer = self.request(Method::GET, &format!("/api/v1/videos/{video}")).send().await?;
        if answer.status() == StatusCode::NOT_FOUND {
            return Ok(None);
        }
        Ok(Some(good(answer).await?.json().await?))
    }

    /// Uploads a file in chunks; gives back the video's id.
    async fn upload(&self, file: &Path) -> anyhow::Result<String> {
        let mut content = File::open(file)?;
        let length = content.metadata()?.len();
        let name = file.file_name().map(|name| name.to_string_lossy()).unwrap_or_default();
        let created = self
            .request(Method::POST, "/upload")
            .header("upload-length", length)
            .header("upload-metadata", format!("filename {}", STANDARD.encode(name.as_bytes())))
            .send()
            .await?;
        let created = good(created).await?;
        let mut video = video_in(&created);
        let location = header(&created, LOCATION.as_str()).context("origin named no upload")?;
        let upload = url::Url::parse(&self.base)?.join(&location)?;

        let mut offset = 0;
        while offset < length {
            let mut chunk = Vec::new();
            (&mut content).take(CHUNK_BYTES).read_to_end(&mut chunk)?;
            ensure!(!chunk.is_empty(), "{} became shorter while it was uploaded", file.display());
            let sent = self
                .client
                .patch(upload.clone())
                .bearer_auth(&self.token)
                .header("tus-resumable", "1.0.0")
                .header("upload-offset", offset)
                .header("content-type", "application/offset+octet-stream")
                .body(Bytes::from(chunk))
                .send()
                .await?;
            let sent = good(sent).await?;
            let reached = header(&sent, "upload-offset").context("origin named no offset")?;
            offset = reached.parse().context("origin named a bad offset")?;
            video = video_in(&sent).or(video);
            tracing::info!("uploaded {} of {length} bytes", offset);
        }
        video.context("origin did not name the video")
    }

    fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        self.client
            .request(method, format!("{}{path}", self.base))
            .bearer_auth(&self.token)
            .header("tus-resumable", "1.0.0")
    }

    /// Follows a video until nothing more will come, and tells `show` of every change.
    ///
    /// # Errors
    /// When the video fails, or takes longer than the limit.
    pub(super) async fn follow(
        &self,
        video: &str,
        limit: Duration,
        mut show: impl FnMut(&Video),
    ) -> anyhow::Result<Video> {
        let deadline = Instant::now() + limit;
        let mut shown = None;
        loop {
            let Some(now) = self.video(video).await? else { bail!("origin lost video {video}") };
            if shown.as_ref() != Some(&now) {
                show(&now);
                shown = Some(now.clone());
            }
            if let Some(VideoFailure { reason, detail }) =
                now.failure.clone().filter(|_| now.is_final)
            {
                bail!("the video could not be made: {reason}: {detail}");
            }
            if now.is_final {
                return Ok(now);
            }
            if Instant::now() > deadline {
                bail!("the video is still {} after {limit:?}", now.state);
            }
            sleep(LOOK_INTERVAL).await;
        }
    }
}

/// An answer of success, or an error that says what the server said.
pub(super) async fn good(answer: Response) -> anyhow::Result<Response> {
    let status = answer.status();
    if status.is_success() {
        return Ok(answer);
    }
    let url = answer.url().path().to_owned();
    let text = answer.text().await.unwrap_or_default();
    let text: String = text.chars().take(ERROR_CHARS_MAX).collect();
    bail!("{url} was answered with {status}: {text}")
}

fn video_in(answer: &Response) -> Option<String> {
    header(answer, "tidegate-video")
}

fn header(answer: &Response, name: &str) -> Option<String> {
    answer.headers().get(name)?.to_str().ok().map(str::to_owned)
}

fn sha256_of(file: &Path) -> io::Result<String> {
    let mut file = File::open(file)?;
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 1 << 20];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(hex::encode(hash.finalize())),
            n => hash.update(&buffer[..n]),
        }
    }
}

/// The clip that the worker draws: upright, as people film. Each length is drawn once.
pub(super) async fn generated(
    worker: &Path,
    layout: &Layout,
    seconds: u32,
) -> anyhow::Result<PathBuf> {
    let clip = layout.file(&format!("clip-{seconds}s.mp4"));
    if !clip.exists() {
        let beside = clip.with_extension("part.mp4");
        let made = Command::new(worker)
            .args(["generate", "--width", "1080", "--height", "1920", "--seconds"])
            .arg(seconds.to_string())
            .arg("--output")
            .arg(&beside)
            .kill_on_drop(true)
            .output()
            .await
            .context("cannot start the clip's generator")?;
        let errors = String::from_utf8_lossy(&made.stderr);
        ensure!(made.status.success(), "the clip cannot be generated: {errors}");
        fs::rename(&beside, &clip)?;
    }
    Ok(clip)
}

/// The chunk that origin hints at.
const CHUNK_BYTES: u64 = 5 * 1024 * 1024;
const LOOK_INTERVAL: Duration = Duration::from_millis(300);
const ERROR_CHARS_MAX: usize = 2_000;

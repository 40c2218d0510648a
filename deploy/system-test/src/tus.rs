//! An upload by tus 1.0, step by step, so that a story can break it anywhere.

use std::time::Duration;

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use futures::stream;
use reqwest::{Client, RequestBuilder, Response, StatusCode};
use serde_json::Value;

use crate::wait::until;

/// Origin's public side and a token.
#[derive(Clone)]
pub struct Uploader {
    client: Client,
    base: String,
    token: String,
}

/// An upload that was created.
pub struct Upload {
    uploader: Uploader,
    pub url: url::Url,
}

impl Uploader {
    pub fn new(base: &str, token: &str) -> Self {
        Self { client: Client::new(), base: base.to_owned(), token: token.to_owned() }
    }

    /// The same without a token.
    pub fn stranger(&self) -> Self {
        Self { token: String::new(), ..self.clone() }
    }

    pub async fn try_create(&self, length: u64) -> Response {
        let name = STANDARD.encode("clip.mp4");
        self.signed(self.client.post(format!("{}/upload", self.base)))
            .header("upload-length", length)
            .header("upload-metadata", format!("filename {name}"))
            .send()
            .await
            .unwrap()
    }

    pub async fn create(&self, length: u64) -> Upload {
        let created = self.try_create(length).await;
        assert_eq!(created.status(), StatusCode::CREATED, "{:?}", created.headers());
        let location = created.headers()["location"].to_str().unwrap();
        let url = url::Url::parse(&self.base).unwrap().join(location).unwrap();
        Upload { uploader: self.clone(), url }
    }

    /// Uploads a whole content; gives back the video.
    pub async fn upload(&self, content: &[u8]) -> String {
        let upload = self.create(content.len() as u64).await;
        let sent = upload.send(0, Bytes::copy_from_slice(content)).await;
        assert_eq!(sent.status(), StatusCode::NO_CONTENT);
        video_in(&sent)
    }

    /// As [`Self::upload`], also for a content of no bytes, which is whole as soon as it is created.
    pub async fn upload_any(&self, content: &[u8]) -> String {
        if content.is_empty() {
            return video_in(&self.try_create(0).await);
        }
        self.upload(content).await
    }

    pub async fn video(&self, video: &str) -> Value {
        let url = format!("{}/api/v1/videos/{video}", self.base);
        self.signed(self.client.get(url)).send().await.unwrap().json().await.unwrap()
    }

    /// The video once nothing more will come.
    pub async fn finished(&self, video: &str, limit: Duration) -> Value {
        until("the video is made", limit, || async {
            let view = self.video(video).await;
            (view["is_final"] == true).then_some(view)
        })
        .await
    }

    fn signed(&self, request: RequestBuilder) -> RequestBuilder {
        let request = request.header("tus-resumable", "1.0.0");
        if self.token.is_empty() { request } else { request.bearer_auth(&self.token) }
    }
}

impl Upload {
    fn patch(&self, offset: u64) -> RequestBuilder {
        let request = self.uploader.client.patch(self.url.clone());
        self.uploader
            .signed(request)
            .header("upload-offset", offset)
            .header("content-type", "application/offset+octet-stream")
    }

    pub async fn send(&self, offset: u64, chunk: Bytes) -> Response {
        self.patch(offset).body(chunk).send().await.unwrap()
    }

    pub async fn send_with_checksum(&self, offset: u64, chunk: Bytes, checksum: &str) -> Response {
        self.patch(offset).header("upload-checksum", checksum).body(chunk).send().await.unwrap()
    }

    /// Begins a chunk and never ends it: what was sent stays on the wire until the connection breaks.
    pub async fn send_and_hang(&self, offset: u64, sent: Bytes, announced: u64) {
        let begun = stream::once(async move { Ok::<_, std::io::Error>(sent) });
        let never = stream::pending();
        let body = reqwest::Body::wrap_stream(futures::StreamExt::chain(begun, never));
        let request = self.patch(offset).header("content-length", announced).body(body);
        tokio::spawn(async move {
            let _ = request.send().await;
        });
    }

    /// Where origin says that the upload stands.
    pub async fn offset(&self) -> Option<u64> {
        let asked = self.uploader.client.head(self.url.clone());
        let answer = self.uploader.signed(asked).send().await.ok()?;
        answer.headers().get("upload-offset")?.to_str().ok()?.parse().ok()
    }
}

/// The video that an answer names.
pub fn video_in(answer: &Response) -> String {
    answer.headers()["tidegate-video"].to_str().unwrap().to_owned()
}

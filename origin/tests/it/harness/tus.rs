//! A tus client that can also do everything wrong.

use base64::{Engine, prelude::BASE64_STANDARD};
use reqwest::Method;
use sha2::{Digest, Sha256};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::harness::origin::client;

/// A client of one origin with one token.
#[derive(Clone)]
pub struct TusClient {
    url: String,
    token: String,
    http: reqwest::Client,
}

/// What an origin answered.
#[derive(Debug, Clone)]
pub struct Answer {
    pub status: u16,
    pub offset: Option<u64>,
    pub video: Option<String>,
    /// Id of the upload, from `Location`.
    pub upload: String,
    /// Kind of the problem, without `/problem/`.
    pub problem: String,
    pub headers: reqwest::header::HeaderMap,
}

/// `Upload-Checksum` of some bytes.
pub fn checksum(bytes: &[u8]) -> String {
    format!("sha256 {}", BASE64_STANDARD.encode(Sha256::digest(bytes)))
}

pub fn encode(text: &str) -> String {
    BASE64_STANDARD.encode(text)
}

impl TusClient {
    pub fn new(url: &str, token: &str) -> Self {
        Self { url: url.to_owned(), token: token.to_owned(), http: client() }
    }

    pub async fn create(&self, length: u64) -> Answer {
        self.send(Method::POST, "", &[("upload-length", &length.to_string())], None).await
    }

    /// Begins an upload and sends its first bytes in the same request.
    pub async fn create_with(&self, length: u64, body: &[u8], more: &[(&str, &str)]) -> Answer {
        let length = length.to_string();
        let mut headers = vec![("upload-length", length.as_str()), CHUNK_TYPE];
        headers.extend_from_slice(more);
        self.send(Method::POST, "", &headers, Some(body.to_vec())).await
    }

    pub async fn head(&self, upload: &str) -> Answer {
        self.send(Method::HEAD, upload, &[], None).await
    }

    pub async fn patch(&self, upload: &str, offset: u64, body: &[u8]) -> Answer {
        self.patch_with(upload, offset, body, &[]).await
    }

    pub async fn patch_with(
        &self,
        upload: &str,
        offset: u64,
        body: &[u8],
        more: &[(&str, &str)],
    ) -> Answer {
        let offset = offset.to_string();
        let mut headers = vec![("upload-offset", offset.as_str()), CHUNK_TYPE];
        headers.extend_from_slice(more);
        self.send(Method::PATCH, upload, &headers, Some(body.to_vec())).await
    }

    pub async fn delete(&self, upload: &str) -> Answer {
        self.send(Method::DELETE, upload, &[], None).await
    }

    /// Any request below `/upload`; a header that is given replaces the one that is sent otherwise.
    pub async fn send(
        &self,
        method: Method,
        upload: &str,
        headers: &[(&str, &str)],
        body: Option<Vec<u8>>,
    ) -> Answer {
        let slash = if upload.is_empty() { "" } else { "/" };
        let url = format!("{}/upload{slash}{upload}", self.url);
        let mut request = self.http.request(method, url);
        let authorization = format!("Bearer {}", self.token);
        for (name, value) in [("tus-resumable", "1.0.0"), ("authorization", &authorization)] {
            if !headers.iter().any(|(given, _)| *given == name) {
                request = request.header(name, value);
            }
        }
        for (name, value) in headers.iter().filter(|(_, value)| !value.is_empty()) {
            request = request.header(*name, *value);
        }
        if let Some(body) = body {
            request = request.body(body);
        }
        Answer::read(request.send().await.unwrap()).await
    }

    /// Sends the head of a PATCH and some of its bytes, and leaves it at that. The connection stays open for as
    /// long as what is returned.
    pub async fn begin_patch(
        &self,
        upload: &str,
        offset: u64,
        announced: usize,
        sent: &[u8],
        more: &[(&str, &str)],
    ) -> TcpStream {
        let host = self.url.strip_prefix("http://").unwrap();
        let mut head = format!(
            "PATCH /upload/{upload} HTTP/1.1\r\nhost: {host}\r\nauthorization: Bearer {}\r\n\
             tus-resumable: 1.0.0\r\nupload-offset: {offset}\r\n\
             content-type: application/offset+octet-stream\r\ncontent-length: {announced}\r\n",
            self.token
        );
        for (name, value) in more {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str("\r\n");
        let mut stream = TcpStream::connect(host).await.unwrap();
        stream.write_all(head.as_bytes()).await.unwrap();
        // The origin may die meanwhile, that is what some stories are about.
        let _ = stream.write_all(sent).await;
        stream
    }

    /// Reads what was answered on a connection that [`Self::begin_patch`] left open.
    pub async fn read_status(mut stream: TcpStream) -> u16 {
        let mut answer = Vec::new();
        let mut buffer = [0; 1024];
        while !answer.windows(4).any(|w| w == b"\r\n\r\n") {
            let read = stream.read(&mut buffer).await.unwrap();
            assert!(read > 0, "the connection ended without an answer");
            answer.extend_from_slice(&buffer[..read]);
        }
        let text = String::from_utf8_lossy(&answer);
        text.split(' ').nth(1).unwrap().parse().unwrap()
    }
}

impl Answer {
    async fn read(response: reqwest::Response) -> Self {
        let headers = response.headers().clone();
        let text = |name: &str| headers.get(name).map(|v| v.to_str().unwrap().to_owned());
        let status = response.status().as_u16();
        let location = text("location").unwrap_or_default();
        let upload = location.rsplit('/').next().unwrap().to_owned();
        let body = response.bytes().await.unwrap();
        let is_problem = text("content-type").as_deref() == Some("application/problem+json");
        let problem = if is_problem && !body.is_empty() {
            let problem: serde_json::Value = serde_json::from_slice(&body).unwrap();
            assert_eq!(problem["status"], status);
            assert!(problem["detail"].as_str().is_some_and(|detail| !detail.is_empty()));
            let kind = problem["type"].as_str().unwrap();
            kind.strip_prefix("/problem/").unwrap().to_owned()
        } else {
            String::new()
        };
        let offset = text("upload-offset").map(|offset| offset.parse().unwrap());
        Self { status, offset, video: text("tidegate-video"), upload, problem, headers }
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

const CHUNK_TYPE: (&str, &str) = ("content-type", "application/offset+octet-stream");

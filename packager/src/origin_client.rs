//! Origin's job API: lease, renew, publish, fail (the paths stand in `tidegate_contract::package_job`).
//!
//! One call is one request with a time limit; trying again is the caller's decision, because only the caller
//! knows how long its lease still lasts. The token is never logged.

use std::{path::PathBuf, time::Duration};

use anyhow::Context;
use reqwest::{Method, StatusCode, header};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use tidegate_contract::{
    id::JobId,
    package_job::{Failure, LeaseReply, LeaseRequest, PackageJob, Publication, Renewal},
    problem::Problem,
};
use url::Url;

/// Section `[origin]`: where jobs come from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Base of origin's internal listener.
    pub url: String,
    /// File with the bearer token of the job API; read at start. Without one requests carry none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token_file: Option<PathBuf>,
    /// How long one request may take.
    #[serde(with = "humantime_serde")]
    pub timeout: Duration,
}

/// A connection pool to one origin; clones share it.
#[derive(Debug, Clone)]
pub struct OriginClient {
    http: reqwest::Client,
    base: String,
}

/// Why origin did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum OriginError {
    /// 409: the job belongs to somebody else now, or to nobody.
    #[error("the lease is lost")]
    LeaseLost,
    /// Another status: trying again will not help.
    #[error("origin answered {status}: {detail}")]
    Refused {
        /// The HTTP status.
        status: StatusCode,
        /// The problem's detail, cut short.
        detail: String,
    },
    /// An answer above [`ANSWER_BYTES_MAX`], or not the JSON that was asked for.
    #[error("origin's answer is not understood: {0}")]
    Answer(String),
    /// 5xx, or no answer: may be tried again.
    #[error("origin cannot be reached: {0}")]
    Unavailable(String),
}

impl Default for Config {
    fn default() -> Self {
        Self {
            url: "http://127.0.0.1:18001/".to_owned(),
            token_file: None,
            timeout: Duration::from_secs(10),
        }
    }
}

impl Config {
    /// Checks the URL.
    ///
    /// # Errors
    /// It is none of HTTP.
    pub fn check(&self) -> anyhow::Result<()> {
        let url = Url::parse(&self.url).context("origin.url")?;
        let is_http = matches!(url.scheme(), "http" | "https") && url.has_host();
        anyhow::ensure!(is_http, "origin.url is no http or https URL");
        Ok(())
    }
}

impl OriginClient {
    /// Reads the token and prepares the pool.
    ///
    /// # Errors
    /// The token file cannot be read, or its text cannot stand in a header.
    pub fn new(config: &Config) -> anyhow::Result<Self> {
        let mut headers = header::HeaderMap::new();
        if let Some(path) = &config.token_file {
            let token = std::fs::read_to_string(path)
                .with_context(|| format!("the token file {}", path.display()))?;
            let mut value = header::HeaderValue::from_str(&format!("Bearer {}", token.trim()))
                .context("the token of the job API has bytes that no header can carry")?;
            value.set_sensitive(true);
            headers.insert(header::AUTHORIZATION, value);
        }
        let http = reqwest::Client::builder()
            .default_headers(headers)
            .timeout(config.timeout)
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .build()
            .context("the HTTP client of the job API")?;
        Ok(Self { http, base: config.url.trim_end_matches('/').to_owned() })
    }

    /// Asks for work; `None` when there is none.
    ///
    /// # Errors
    /// [`OriginError`].
    pub async fn lease(&self, request: &LeaseRequest) -> Result<Option<PackageJob>, OriginError> {
        let (status, body) = self.post("lease", request).await?;
        if status == StatusCode::NO_CONTENT { Ok(None) } else { read(&body).map(Some) }
    }

    /// Keeps a job for another while.
    ///
    /// # Errors
    /// [`OriginError`].
    pub async fn renew(&self, job: &JobId, renewal: &Renewal) -> Result<LeaseReply, OriginError> {
        let (_, body) = self.post(&format!("{job}/renew"), renewal).await?;
        read(&body)
    }

    /// Publishes what is ready.
    ///
    /// # Errors
    /// [`OriginError`].
    pub async fn publish(
        &self,
        job: &JobId,
        publication: &Publication,
    ) -> Result<LeaseReply, OriginError> {
        let (_, body) = self.post(&format!("{job}/publish"), publication).await?;
        read(&body)
    }

    /// Ends a job without a result.
    ///
    /// # Errors
    /// [`OriginError`].
    pub async fn fail(&self, job: &JobId, failure: &Failure) -> Result<(), OriginError> {
        self.post(&format!("{job}/fail"), failure).await.map(drop)
    }

    async fn post(
        &self,
        path: &str,
        body: &impl Serialize,
    ) -> Result<(StatusCode, Vec<u8>), OriginError> {
        let url = format!("{}/internal/v1/jobs/{path}", self.base);
        let mut response = self
            .http
            .request(Method::POST, url)
            .json(body)
            .send()
            .await
            .map_err(|error| unavailable(&error))?;
        let status = response.status();
        let mut answer = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| unavailable(&error))? {
            if answer.len() + chunk.len() > ANSWER_BYTES_MAX {
                return Err(OriginError::Answer(format!("more than {ANSWER_BYTES_MAX} bytes")));
            }
            answer.extend_from_slice(&chunk);
        }
        match status {
            StatusCode::CONFLICT => Err(OriginError::LeaseLost),
            status if status.is_success() => Ok((status, answer)),
            status if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS => {
                Err(OriginError::Unavailable(format!("status {status}: {}", detail(&answer))))
            }
            status => Err(OriginError::Refused { status, detail: detail(&answer) }),
        }
    }
}

impl OriginError {
    /// Whether the same request may succeed later.
    #[must_use]
    pub fn is_temporary(&self) -> bool {
        matches!(self, Self::Unavailable(_))
    }
}

fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, OriginError> {
    serde_json::from_slice(body).map_err(|error| OriginError::Answer(error.to_string()))
}

/// The whole chain, since the outermost message of an HTTP error says only that sending failed.
fn unavailable(error: &reqwest::Error) -> OriginError {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        text.push_str(&format!(": {cause}"));
        source = cause.source();
    }
    OriginError::Unavailable(text)
}

fn detail(body: &[u8]) -> String {
    let detail = match serde_json::from_slice::<Problem>(body) {
        Ok(problem) => format!("{} {}", problem.title, problem.detail),
        Err(_) => String::from_utf8_lossy(body).into_owned(),
    };
    detail.chars().take(DETAIL_CHARS_MAX).collect()
}

/// The largest answer of origin, in bytes.
pub const ANSWER_BYTES_MAX: usize = 64 * 1024;
const DETAIL_CHARS_MAX: usize = 300;

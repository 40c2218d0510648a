//! The watch page: a folder of static files that was built from the page's sources.
//!
//! The page reads which video to play from its own path, so every video has the same page.

use std::{path::PathBuf, sync::Arc};

use anyhow::Context;
use axum::{
    extract::{Path, Request, State},
    http::{HeaderName, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::{Deserialize, Serialize};
use tidegate_contract::id::VideoId;
use tower::ServiceExt;
use tower_http::services::{ServeDir, ServeFile};
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::web::ApiError;

/// Section `[watch]`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// The built page: `index.html` and `assets/`. Without it there is none.
    pub web_root: Option<PathBuf>,
    /// Of the page, which changes with a new build.
    pub page_cache_control: String,
    /// Of assets, which carry a hash in their name.
    pub asset_cache_control: String,
}

impl Config {
    /// Checks what the types cannot.
    ///
    /// # Errors
    /// Names the setting.
    pub fn check(&self) -> anyhow::Result<()> {
        HeaderValue::from_str(&self.page_cache_control).context("watch.page_cache_control")?;
        HeaderValue::from_str(&self.asset_cache_control).context("watch.asset_cache_control")?;
        Ok(())
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            web_root: None,
            page_cache_control: "public, max-age=60".to_owned(),
            asset_cache_control: "public, max-age=31536000, immutable".to_owned(),
        }
    }
}

/// The routes of the watch page.
pub fn routes(config: Arc<Config>) -> OpenApiRouter {
    OpenApiRouter::default()
        .routes(routes!(show_page))
        .routes(routes!(show_asset))
        .with_state(config)
}

/// The page that plays a video.
#[utoipa::path(
    get, path = "/watch/{video}", tag = "watch", params(("video" = String, Path)),
    responses((status = 200, content_type = "text/html", body = String), (status = 404))
)]
async fn show_page(
    State(config): State<Arc<Config>>,
    Path(video): Path<String>,
    request: Request,
) -> Result<Response, ApiError> {
    VideoId::parse(video).map_err(|_| ApiError::not_found("there is no such video"))?;
    let page = web_root(&config)?.join("index.html");
    let Ok(response) = ServeFile::new(page).oneshot(request).await;
    finish(response, &config.page_cache_control, "index.html is not in watch.web_root")
}

/// A script, style or font of the page.
#[utoipa::path(
    get, path = "/assets/{file}", tag = "watch", params(("file" = String, Path)),
    responses((status = 200), (status = 404))
)]
async fn show_asset(
    State(config): State<Arc<Config>>,
    request: Request,
) -> Result<Response, ApiError> {
    let Ok(response) = ServeDir::new(web_root(&config)?)
        .append_index_html_on_directories(false)
        .oneshot(request)
        .await;
    finish(response, &config.asset_cache_control, "there is no such asset")
}

fn web_root(config: &Config) -> Result<&PathBuf, ApiError> {
    let root = config.web_root.as_ref().filter(|root| root.is_dir());
    root.ok_or_else(|| {
        ApiError::not_found("this origin has no watch page: watch.web_root names no folder")
    })
}

fn finish(
    response: impl IntoResponse,
    cache_control: &str,
    missing: &str,
) -> Result<Response, ApiError> {
    let mut response = response.into_response();
    if response.status() == StatusCode::NOT_FOUND {
        return Err(ApiError::not_found(missing));
    }
    let headers = response.headers_mut();
    headers.insert(NOSNIFF, HeaderValue::from_static("nosniff"));
    if let Ok(value) = HeaderValue::from_str(cache_control) {
        headers.insert(header::CACHE_CONTROL, value);
    }
    Ok(response)
}

const NOSNIFF: HeaderName = header::X_CONTENT_TYPE_OPTIONS;

//! Handlers of the catalog: one video, a page of them, their events, delete.
//!
//! A video may be read by everyone who knows its id, since players have no token; lists and deletion need the
//! token of the client that uploaded.

use std::sync::Arc;

use axum::{
    Json,
    extract::{FromRef, Path, Query, State},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{
        IntoResponse, Response,
        sse::{KeepAlive, Sse},
    },
};
use serde::{Deserialize, Serialize};
use tidegate_contract::id::VideoId;
use tokio::sync::Semaphore;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    app::App,
    catalog::{
        config::Config,
        events::Follow,
        model::{Media, Video},
        store,
        view::VideoView,
    },
    web::{ApiError, Client, Tokens},
};

#[derive(Clone)]
struct Catalog {
    app: App,
    config: Arc<Config>,
    streams: Arc<Semaphore>,
}

impl FromRef<Catalog> for Tokens {
    fn from_ref(catalog: &Catalog) -> Self {
        catalog.app.tokens.clone()
    }
}

/// The routes of the catalog.
pub fn routes(app: App, config: Arc<Config>) -> OpenApiRouter {
    let streams = Arc::new(Semaphore::new(config.event_streams_max));
    OpenApiRouter::default()
        .routes(routes!(list_videos))
        .routes(routes!(show_video, delete_video))
        .routes(routes!(follow_video))
        .with_state(Catalog { app, config, streams })
}

/// A page of videos.
#[derive(Debug, Serialize, ToSchema)]
struct VideoPage {
    /// The videos, newest first.
    videos: Vec<VideoView>,
    /// What to pass as `before` for the next page; absent on the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct PageQuery {
    /// The most videos of the page.
    limit: Option<u32>,
    /// Only videos older than this one.
    before: Option<String>,
}

/// The client's own videos, newest first.
#[utoipa::path(
    get, path = "/api/v1/videos", tag = "catalog",
    params(
        ("limit" = Option<u32>, Query, description = "The most videos of the page"),
        ("before" = Option<String>, Query, description = "Only videos older than this one"),
    ),
    responses((status = 200, body = VideoPage), (status = 400), (status = 401))
)]
async fn list_videos(
    State(catalog): State<Catalog>,
    Client(client): Client,
    query: Result<Query<PageQuery>, axum::extract::rejection::QueryRejection>,
) -> Result<Response, ApiError> {
    let Query(query) = query.map_err(|e| ApiError::bad_request("page", e.body_text()))?;
    let before = query.before.map(VideoId::parse).transpose();
    let before = before.map_err(|e| ApiError::bad_request("page", e.to_string()))?;
    let page_max = catalog.config.page_videos_max;
    let limit = query.limit.unwrap_or(page_max).clamp(1, page_max);
    // One more than asked for tells whether there is another page.
    let database = &catalog.app.database;
    let mut shown = store::list(database, client.as_str(), before.as_ref(), limit + 1).await?;
    let is_last = shown.len() <= limit as usize;
    shown.truncate(limit as usize);
    let next = if is_last { None } else { shown.last().map(|(video, _)| video.id.to_string()) };
    let videos = shown.iter().map(|(video, media)| VideoView::new(video, media)).collect();
    Ok(unstored(Json(VideoPage { videos, next })))
}

/// One video: its state, what can be played, why it failed.
#[utoipa::path(
    get, path = "/api/v1/videos/{video}", tag = "catalog",
    params(("video" = String, Path, description = "Id of the video")),
    responses((status = 200, body = VideoView), (status = 404))
)]
async fn show_video(
    State(catalog): State<Catalog>,
    Path(id): Path<String>,
) -> Result<Response, ApiError> {
    let (video, media) = find(&catalog, &id).await?;
    Ok(unstored(Json(VideoView::new(&video, &media))))
}

/// State and progress of one video as server-sent events: `state` with the whole video as data, at last one with
/// a final state; `deleted` when it was deleted.
#[utoipa::path(
    get, path = "/api/v1/videos/{video}/events", tag = "catalog",
    params(
        ("video" = String, Path, description = "Id of the video"),
        ("last-event-id" = Option<String>, Header, description = "Only what is newer"),
    ),
    responses(
        (status = 200, content_type = "text/event-stream", body = String),
        (status = 204, description = "The final state was seen already"),
        (status = 404), (status = 503, description = "Too many streams are open"),
    )
)]
async fn follow_video(
    State(catalog): State<Catalog>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let (video, media) = find(&catalog, &id).await?;
    let seen = headers.get("last-event-id").and_then(|v| v.to_str().ok()?.parse().ok());
    if media.is_final() && seen == Some(media.version) {
        // Tells an EventSource not to come again.
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    let Ok(permit) = catalog.streams.clone().try_acquire_owned() else {
        return Err(too_many_streams(catalog.config.event_streams_max));
    };
    let heartbeat = KeepAlive::new().interval(catalog.config.heartbeat_interval);
    let follow = Follow::new(catalog.app, catalog.config, &video, seen, permit);
    Ok(unstored(Sse::new(follow.into_stream()).keep_alive(heartbeat)))
}

/// Deletes a video; its media goes with the last video that shows it.
#[utoipa::path(
    delete, path = "/api/v1/videos/{video}", tag = "catalog",
    params(("video" = String, Path, description = "Id of the video")),
    responses((status = 204), (status = 401), (status = 403), (status = 404))
)]
async fn delete_video(
    State(catalog): State<Catalog>,
    Client(client): Client,
    Path(id): Path<String>,
) -> Result<StatusCode, ApiError> {
    let (video, _) = find(&catalog, &id).await?;
    if video.client != client.as_str() {
        return Err(ApiError::forbidden("the video was uploaded with another token"));
    }
    let (app, now_ms) = (&catalog.app, catalog.app.now_ms());
    let garbage_age = i64::try_from(catalog.config.garbage_age.as_millis()).unwrap_or(i64::MAX);
    let mut tx = app.database.begin().await?;
    store::delete_video(&mut tx, &video, now_ms, now_ms.saturating_add(garbage_age)).await?;
    tx.commit().await?;
    app.purge_waits.notify_one();
    app.tell_change(&video.media);
    tracing::info!(video.id = %video.id, client = %client, "video deleted");
    Ok(StatusCode::NO_CONTENT)
}

async fn find(catalog: &Catalog, id: &str) -> Result<(Video, Media), ApiError> {
    let missing = || ApiError::not_found("there is no such video");
    let id = VideoId::parse(id).map_err(|_| missing())?;
    store::find_shown(&catalog.app.database, &id).await?.ok_or_else(missing)
}

fn too_many_streams(limit: usize) -> ApiError {
    ApiError::new(
        StatusCode::SERVICE_UNAVAILABLE,
        "event-streams-full",
        "Too many event streams",
        format!("{limit} event streams are open; read the video itself instead"),
    )
    .with_header(header::RETRY_AFTER, "5")
}

/// State changes at any moment: no cache keeps it.
fn unstored(response: impl IntoResponse) -> Response {
    let mut response = response.into_response();
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

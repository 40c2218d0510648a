//! Handlers of uploads. Every request needs a token; an upload belongs to the token that began it.

use axum::{
    Json,
    body::Body,
    extract::{DefaultBodyLimit, Path, Request, State},
    http::{HeaderMap, Method, StatusCode, header},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::post,
};
use serde::Serialize;
use tidegate_contract::id::UploadId;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    app::App,
    upload::{
        append::{self, Chunk},
        disk, finish,
        model::{AppendRefusal, Upload, UploadState, parse_checksum, parse_metadata},
        parts::Parts,
        refusal::{
            disk_full, finished, locked, refuse, refuse_append, refuse_at, refuse_new, too_large,
        },
        store, tus,
        writers::WriterLock,
    },
    web::{ApiError, Client, ClientId, ProblemKind, linger_after_refusal},
};

/// The routes of uploads.
pub fn routes(parts: Parts) -> OpenApiRouter {
    let metrics = parts.app.metrics.clone();
    let count = middleware::from_fn(move |request: Request, next: Next| {
        let metrics = metrics.clone();
        async move {
            let response = next.run(request).await;
            if let Some(ProblemKind(kind)) = response.extensions().get() {
                metrics.upload_refusals.with_label_values(&[*kind]).inc();
            }
            response
        }
    });
    OpenApiRouter::default()
        .routes(routes!(tell_options, create_upload))
        .routes(routes!(tell_offset, append_chunk, terminate_upload, override_method))
        .routes(routes!(show_upload))
        .route("/upload/", post(create_upload).options(tell_options))
        .layer(DefaultBodyLimit::disable())
        .layer(middleware::from_fn(linger_after_refusal))
        .layer(count)
        .with_state(parts)
}

/// An upload as the API shows it.
#[derive(Debug, Serialize, ToSchema)]
struct UploadView {
    /// Its id.
    id: String,
    /// `open`, `finished`, `terminated` or `expired`.
    state: &'static str,
    /// Bytes that count.
    offset: u64,
    /// Bytes it will have.
    length: u64,
    /// The video it became.
    #[serde(skip_serializing_if = "Option::is_none")]
    video: Option<String>,
}

/// What this tus server can do.
#[utoipa::path(options, path = "/upload", tag = "upload", responses((status = 204)))]
async fn tell_options(State(parts): State<Parts>) -> Response {
    tus::options(&parts.config)
}

/// Begins an upload (tus creation), with its first bytes if the request has a body (creation-with-upload).
#[utoipa::path(
    post, path = "/upload", tag = "upload",
    params(
        ("tus-resumable" = String, Header, description = "1.0.0"),
        ("upload-length" = u64, Header, description = "Bytes of the whole upload"),
        ("upload-metadata" = Option<String>, Header, description = "filename and title, base64"),
        ("upload-checksum" = Option<String>, Header, description = "sha256 of the body, base64"),
    ),
    responses(
        (status = 201, description = "Location, Upload-Offset; Tidegate-Video once it is finished"),
        (status = 400), (status = 401), (status = 408), (status = 412), (status = 413), (status = 415),
        (status = 429), (status = 460), (status = 507),
    )
)]
async fn create_upload(
    State(parts): State<Parts>,
    Client(client): Client,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, ApiError> {
    tus::check_version(&headers)?;
    let has_body = tus::has_body(&headers);
    if has_body {
        tus::check_type(&headers)?;
    }
    let checksum = checksum(&headers)?;
    let upload = new_upload(&parts, &client, &headers)?;
    let room = upload
        .room(0, tus::content_length(&headers)?, parts.config.chunk_bytes_max.as_u64(), 0)
        .map_err(refuse)?;
    check_disk(&parts, upload.length)?;
    add(&parts, &upload).await?;
    let location = tus::location(&upload);
    // An upload without bytes has them all: it is finished at once.
    let upload = if has_body || upload.length == 0 {
        let lock = parts.writers.lock(&upload.id).ok_or_else(locked)?;
        let chunk = Chunk { body, checksum, room };
        let received = receive(parts, upload, lock, chunk).await;
        received.map_err(|error| error.with_header(header::LOCATION, &location))?
    } else {
        upload
    };
    let mut response = tus::answer(StatusCode::CREATED, &upload);
    tus::insert(&mut response, header::LOCATION, &location);
    Ok(response)
}

/// How many bytes count.
#[utoipa::path(
    head, path = "/upload/{upload}", tag = "upload", params(("upload" = String, Path)),
    responses(
        (status = 200, description = "Upload-Offset, Upload-Length, Tidegate-Video once it is finished"),
        (status = 401), (status = 403), (status = 404), (status = 410), (status = 412),
    )
)]
async fn tell_offset(
    State(parts): State<Parts>,
    Client(client): Client,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    tus::check_version(&headers)?;
    let upload = find_live(&parts, &client, id).await?;
    let mut response = tus::answer(StatusCode::OK, &upload);
    tus::describe(&mut response, &upload);
    Ok(response)
}

/// Adds bytes at the offset. With `Upload-Checksum` the chunk counts as a whole or not at all; without, whatever
/// arrived counts.
#[utoipa::path(
    patch, path = "/upload/{upload}", tag = "upload",
    params(
        ("upload" = String, Path),
        ("upload-offset" = u64, Header, description = "Where the body begins"),
        ("upload-checksum" = Option<String>, Header, description = "sha256 of the body, base64"),
    ),
    responses(
        (status = 204, description = "Upload-Offset; Tidegate-Video once it is finished"),
        (status = 400), (status = 401), (status = 403), (status = 404), (status = 408), (status = 409),
        (status = 410), (status = 412), (status = 413), (status = 415), (status = 423), (status = 460),
        (status = 507),
    )
)]
async fn append_chunk(
    State(parts): State<Parts>,
    Client(client): Client,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, ApiError> {
    tus::check_version(&headers)?;
    let found = find_live(&parts, &client, id).await?;
    tus::check_type(&headers)?;
    let (at, checksum) = (tus::upload_offset(&headers)?, checksum(&headers)?);
    let lock = parts.writers.lock(&found.id).ok_or_else(locked)?;
    // Read again: until the lock was ours, somebody else may have moved it.
    let upload = find_live(&parts, &client, found.id.to_string()).await?;
    let announced = tus::content_length(&headers)?;
    let room = upload
        .room(at, announced, parts.config.chunk_bytes_max.as_u64(), parts.app.now_ms())
        .map_err(|refusal| refuse_at(refusal, &upload))?;
    if upload.state == UploadState::Finished {
        return Ok(tus::answer(StatusCode::NO_CONTENT, &upload));
    }
    check_disk(&parts, announced.unwrap_or(0).min(room))?;
    let upload = receive(parts, upload, lock, Chunk { body, checksum, room }).await?;
    Ok(tus::answer(StatusCode::NO_CONTENT, &upload))
}

/// Takes an unfinished upload back.
#[utoipa::path(
    delete, path = "/upload/{upload}", tag = "upload", params(("upload" = String, Path)),
    responses(
        (status = 204), (status = 401), (status = 403), (status = 404),
        (status = 409, description = "It is finished: delete its video"), (status = 410), (status = 412),
        (status = 423),
    )
)]
async fn terminate_upload(
    State(parts): State<Parts>,
    Client(client): Client,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    tus::check_version(&headers)?;
    let upload = find_live(&parts, &client, id).await?;
    let lock = parts.writers.lock(&upload.id).ok_or_else(locked)?;
    let (database, state) = (parts.app.database.write(), UploadState::Terminated);
    if !store::end(database, &upload.id, state, None, parts.forget_ms()).await? {
        return Err(finished());
    }
    parts.spool.remove(&upload.id).await.map_err(ApiError::internal)?;
    lock.forget_hash();
    parts.app.metrics.uploads.with_label_values(&["terminated"]).inc();
    let mut response = StatusCode::NO_CONTENT.into_response();
    tus::insert(&mut response, tus::TUS_RESUMABLE, "1.0.0");
    Ok(response)
}

/// For clients that can send nothing but POST: the method stands in `X-HTTP-Method-Override`.
#[utoipa::path(
    post, path = "/upload/{upload}", tag = "upload",
    params(("upload" = String, Path), ("x-http-method-override" = String, Header)),
    responses((status = 204), (status = 400))
)]
async fn override_method(
    parts: State<Parts>,
    client: Client,
    id: Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, ApiError> {
    match tus::text(&headers, &tus::METHOD_OVERRIDE)? {
        Some("PATCH") => append_chunk(parts, client, id, headers, body).await,
        Some("DELETE") => terminate_upload(parts, client, id, headers).await,
        Some("HEAD") => tell_offset(parts, client, id, headers).await,
        _ => Err(ApiError::bad_request(
            "method-override",
            format!("use {}, or name it in X-HTTP-Method-Override", Method::PATCH),
        )),
    }
}

/// One upload: where it stands and which video it became.
#[utoipa::path(
    get, path = "/api/v1/uploads/{upload}", tag = "upload", params(("upload" = String, Path)),
    responses((status = 200, body = UploadView), (status = 401), (status = 403), (status = 404))
)]
async fn show_upload(
    State(parts): State<Parts>,
    Client(client): Client,
    Path(id): Path<String>,
) -> Result<Response, ApiError> {
    let upload = find(&parts, &client, id).await?;
    let view = UploadView {
        id: upload.id.to_string(),
        state: upload.state.as_str(),
        offset: upload.offset,
        length: upload.length,
        video: upload.video.map(String::from),
    };
    let mut response = Json(view).into_response();
    tus::insert(&mut response, header::CACHE_CONTROL, "no-store");
    Ok(response)
}

fn new_upload(parts: &Parts, client: &ClientId, headers: &HeaderMap) -> Result<Upload, ApiError> {
    let length = tus::upload_length(headers)?;
    let length_max = parts.config.upload_bytes_max.as_u64();
    if length > length_max {
        return Err(too_large(length, length_max));
    }
    let header = tus::text(headers, &tus::UPLOAD_METADATA)?.unwrap_or_default();
    let metadata = parse_metadata(header, parts.config.metadata_bytes_max.as_u64())
        .map_err(|error| ApiError::bad_request("upload-metadata", error.to_string()))?;
    Ok(Upload {
        id: UploadId::parse(App::new_id()).map_err(ApiError::internal)?,
        client: client.as_str().to_owned(),
        state: UploadState::Open,
        length,
        offset: 0,
        metadata: header.to_owned(),
        filename: metadata.filename,
        title: metadata.title,
        video: None,
        expires_ms: parts.expires_ms(),
    })
}

async fn add(parts: &Parts, upload: &Upload) -> Result<(), ApiError> {
    // The file comes first: a file without an upload is cleaned up at the next start, the reverse would be lost.
    parts.spool.create(&upload.id).await.map_err(ApiError::internal)?;
    let (config, now_ms) = (&parts.config, parts.app.now_ms());
    let (own_max, all_max) = (config.uploads_per_client_max, config.uploads_max);
    let added = store::add(&parts.app.database, upload, now_ms, own_max, all_max).await;
    if added.is_err() {
        parts.spool.remove(&upload.id).await.map_err(ApiError::internal)?;
    }
    added.map_err(refuse_new)
}

/// Takes a body in and finishes the upload if it is complete. Runs as a task of its own: when the client goes
/// away, its request is dropped, and what arrived must count nevertheless.
async fn receive(
    parts: Parts,
    mut upload: Upload,
    lock: WriterLock,
    chunk: Chunk,
) -> Result<Upload, ApiError> {
    let tasks = parts.app.tasks.clone();
    let task = tasks.spawn(async move {
        let writers = &parts.app.metrics.upload_writers;
        writers.inc();
        let appended = append::append(&parts, &mut upload, &lock, chunk).await;
        writers.dec();
        let sha = appended.map_err(|error| refuse_append(error, &upload))?;
        if upload.offset == upload.length && upload.state == UploadState::Open {
            let finished = finish::finish(&parts, &mut upload, &lock, sha).await;
            finished.map_err(ApiError::internal)?;
        }
        Ok(upload)
    });
    task.await.map_err(ApiError::internal)?
}

async fn find(parts: &Parts, client: &ClientId, id: String) -> Result<Upload, ApiError> {
    let missing = || ApiError::not_found("there is no such upload");
    let id = UploadId::parse(id).map_err(|_| missing())?;
    let upload = store::find(parts.app.database.read(), &id).await?.ok_or_else(missing)?;
    if upload.client != client.as_str() {
        return Err(ApiError::forbidden("the upload was begun with another token"));
    }
    Ok(upload)
}

async fn find_live(parts: &Parts, client: &ClientId, id: String) -> Result<Upload, ApiError> {
    let upload = find(parts, client, id).await?;
    if upload.is_gone(parts.app.now_ms()) { Err(refuse(AppendRefusal::Gone)) } else { Ok(upload) }
}

fn checksum(headers: &HeaderMap) -> Result<Option<[u8; 32]>, ApiError> {
    let Some(header) = tus::text(headers, &tus::UPLOAD_CHECKSUM)? else { return Ok(None) };
    let checksum = parse_checksum(header);
    checksum.map(Some).map_err(|e| ApiError::bad_request("upload-checksum", e.to_string()))
}

fn check_disk(parts: &Parts, bytes: u64) -> Result<(), ApiError> {
    let free = disk::free_bytes(parts.spool.folder());
    let has_room = disk::has_room(free, bytes, parts.config.disk_free_min.as_u64());
    if has_room { Ok(()) } else { Err(disk_full()) }
}

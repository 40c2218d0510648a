//! Handlers of the delivery: one for everything below `/v/`, one for everything below `/m/`.

use std::sync::Arc;

use axum::{
    body::Body,
    extract::{Path, State},
    http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use tidegate_contract::{
    header::SURROGATE_KEY,
    id::{MediaId, VideoId},
    media_path::{MediaObject, MediaPath},
    surrogate_key::{SurrogateKey, format_list},
};
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    app::App,
    catalog,
    delivery::{
        config::Config,
        model::{Conditions, Selection, manifest_type, object_keys, object_kind, object_type},
        steering::name_server,
    },
    objects::{ObjectError, ObjectFacts},
    web::ApiError,
};

#[derive(Clone)]
struct Delivery {
    app: App,
    config: Arc<Config>,
}

/// The routes of the delivery.
pub fn routes(app: App, config: Arc<Config>) -> OpenApiRouter {
    OpenApiRouter::default()
        .routes(routes!(deliver_manifest))
        .routes(routes!(deliver_object))
        .with_state(Delivery { app, config })
}

/// A manifest of a video: `main.m3u8`, `{rendition}.m3u8` or `manifest.mpd`.
#[utoipa::path(
    get, path = "/v/{video}/{name}", tag = "delivery",
    params(("video" = String, Path), ("name" = String, Path)),
    responses((status = 200), (status = 206), (status = 304), (status = 404), (status = 416))
)]
async fn deliver_manifest(
    State(delivery): State<Delivery>,
    Path((video, name)): Path<(String, String)>,
    method: Method,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let path = format!("/v/{video}/{name}");
    let Ok(MediaPath::Manifest { video, name }) = path.parse() else {
        return Err(delivery.missing(""));
    };
    let found = catalog::store::find_shown(&delivery.app.database, &video).await?;
    let Some((_, media)) = found else { return Err(delivery.missing("")) };
    let keys = manifest_keys(&video, &media.id);
    if media.manifest_prefix.is_empty() {
        // The answer carries the keys, so that the first publication purges it.
        return Err(delivery.missing(&keys));
    }
    let body = match delivery.app.objects.read(&format!("{}/{name}", media.manifest_prefix)).await {
        Ok(body) => body,
        Err(ObjectError::Missing(_)) => return Err(delivery.missing(&keys)),
        Err(error) => return Err(error.into()),
    };
    let body = match str::from_utf8(&body) {
        Ok(text) => name_server(text, &name, &delivery.config.steering).map_or(body, Bytes::from),
        Err(_) => body,
    };
    let etag = format!("\"{}\"", &blake3::hash(&body).to_hex()[..ETAG_HEX_DIGITS]);
    let length = body.len() as u64;
    let selection = conditions(&headers).select(&etag, None, length);
    let mut response = Representation {
        media_type: manifest_type(&name),
        cache_control: &delivery.config.manifest_cache_control,
        keys: &keys,
        etag: &etag,
        bytes: length,
    }
    .head(&selection);
    let slice = match selection {
        Selection::Whole => body,
        Selection::Part(part) => {
            let place = |at: u64| usize::try_from(at).expect("a part lies inside of the body");
            body.slice(place(part.start)..place(part.end))
        }
        Selection::NotModified | Selection::Unsatisfiable => return Ok(response),
    };
    if method != Method::HEAD {
        delivery.app.metrics.deliveries.with_label_values(&["manifest"]).inc();
        *response.body_mut() = Body::from(slice);
    }
    Ok(response)
}

/// An immutable object of a media: init segment, segment, thumbnail, sprite.
#[utoipa::path(
    get, path = "/m/{media}/{epoch}/{group}/{file}", tag = "delivery",
    params(
        ("media" = String, Path), ("epoch" = u64, Path),
        ("group" = String, Path, description = "A rendition, or `image`"), ("file" = String, Path),
    ),
    responses((status = 200), (status = 206), (status = 304), (status = 404), (status = 416))
)]
async fn deliver_object(
    State(delivery): State<Delivery>,
    Path((media, epoch, group, file)): Path<(String, String, String, String)>,
    method: Method,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let path = format!("/m/{media}/{epoch}/{group}/{file}");
    let Ok(MediaPath::Object { media, epoch, object }) = path.parse() else {
        return Err(delivery.missing(""));
    };
    let (media_type, keys) = (object_type(&object), object_keys(&media, &object));
    let kind = object_kind(&object);
    let key = object_key(media, epoch, object);
    let facts = delivery.facts(&key, &keys).await?;
    let selection = conditions(&headers).select(&facts.etag, Some(facts.modified), facts.bytes);
    let mut response = Representation {
        media_type,
        cache_control: &delivery.config.object_cache_control,
        keys: &keys,
        etag: &facts.etag,
        bytes: facts.bytes,
    }
    .head(&selection);
    let part = match selection {
        Selection::Whole => 0..facts.bytes,
        Selection::Part(part) => part,
        Selection::NotModified | Selection::Unsatisfiable => return Ok(response),
    };
    let modified = httpdate::fmt_http_date(facts.modified);
    insert(&mut response, header::LAST_MODIFIED, &modified);
    if method != Method::HEAD {
        delivery.app.metrics.deliveries.with_label_values(&[kind]).inc();
        *response.body_mut() = Body::from_stream(delivery.app.objects.stream(&key, part).await?);
    }
    Ok(response)
}

impl Delivery {
    async fn facts(&self, key: &str, keys: &str) -> Result<ObjectFacts, ApiError> {
        match self.app.objects.facts(key).await {
            Ok(facts) => Ok(facts),
            Err(ObjectError::Missing(_)) => Err(self.missing(keys)),
            Err(error) => Err(error.into()),
        }
    }

    /// Not found, for a moment: caches may keep it as long as the config says.
    fn missing(&self, keys: &str) -> ApiError {
        let error = ApiError::not_found("there is nothing at this path, or not yet")
            .with_header(header::CACHE_CONTROL, &self.config.missing_cache_control);
        if keys.is_empty() {
            error
        } else {
            error.with_header(HeaderName::from_static(SURROGATE_KEY), keys)
        }
    }
}

/// What the head of an answer says of the bytes.
struct Representation<'a> {
    media_type: &'static str,
    cache_control: &'a str,
    keys: &'a str,
    etag: &'a str,
    bytes: u64,
}

impl Representation<'_> {
    fn head(&self, selection: &Selection) -> Response {
        let (status, length) = match selection {
            Selection::Whole => (StatusCode::OK, Some(self.bytes)),
            Selection::Part(part) => (StatusCode::PARTIAL_CONTENT, Some(part.end - part.start)),
            Selection::NotModified => (StatusCode::NOT_MODIFIED, None),
            Selection::Unsatisfiable => (StatusCode::RANGE_NOT_SATISFIABLE, None),
        };
        let mut response = match selection {
            Selection::Unsatisfiable => unsatisfiable(self.bytes).into_response(),
            _ => status.into_response(),
        };
        if *selection != Selection::Unsatisfiable {
            insert(&mut response, header::CACHE_CONTROL, self.cache_control);
            insert(&mut response, header::ETAG, self.etag);
            insert(&mut response, HeaderName::from_static(SURROGATE_KEY), self.keys);
        }
        insert(&mut response, header::ACCEPT_RANGES, "bytes");
        if let Some(length) = length {
            insert(&mut response, header::CONTENT_TYPE, self.media_type);
            insert(&mut response, header::CONTENT_LENGTH, &length.to_string());
        }
        if let Selection::Part(part) = selection {
            let range = format!("bytes {}-{}/{}", part.start, part.end - 1, self.bytes);
            insert(&mut response, header::CONTENT_RANGE, &range);
        }
        response
    }
}

fn unsatisfiable(bytes: u64) -> ApiError {
    ApiError::new(
        StatusCode::RANGE_NOT_SATISFIABLE,
        "range",
        "The range is behind the end",
        format!("there are {bytes} bytes"),
    )
    .with_header(header::CONTENT_RANGE, format!("bytes */{bytes}"))
}

fn conditions(headers: &HeaderMap) -> Conditions<'_> {
    let text = |name| headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
    Conditions {
        if_none_match: text(header::IF_NONE_MATCH),
        if_range: text(header::IF_RANGE),
        range: text(header::RANGE),
    }
}

fn manifest_keys(video: &VideoId, media: &MediaId) -> String {
    format_list(&[
        SurrogateKey::video(video),
        SurrogateKey::media(media),
        SurrogateKey::manifest(media),
    ])
}

fn object_key(media: MediaId, epoch: u64, object: MediaObject) -> String {
    let path = MediaPath::Object { media, epoch, object };
    path.object_key().expect("an object has a key")
}

/// The values are made of ids, numbers and checked settings, so none is refused.
fn insert(response: &mut Response, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        response.headers_mut().insert(name, value);
    }
}

/// 128 bits tell any two manifests apart.
const ETAG_HEX_DIGITS: usize = 32;

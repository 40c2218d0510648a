//! The tus 1.0 protocol on the wire: header names, what a request says, what every answer carries.

use std::time::{Duration, UNIX_EPOCH};

use axum::{
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};

use crate::{
    upload::{
        config::Config,
        model::{CHECKSUM_ALGORITHM, Upload},
    },
    web::ApiError,
};

pub(super) const TUS_RESUMABLE: HeaderName = HeaderName::from_static("tus-resumable");
pub(super) const UPLOAD_OFFSET: HeaderName = HeaderName::from_static("upload-offset");
pub(super) const UPLOAD_LENGTH: HeaderName = HeaderName::from_static("upload-length");
pub(super) const UPLOAD_METADATA: HeaderName = HeaderName::from_static("upload-metadata");
pub(super) const UPLOAD_CHECKSUM: HeaderName = HeaderName::from_static("upload-checksum");
pub(super) const METHOD_OVERRIDE: HeaderName = HeaderName::from_static("x-http-method-override");
const TUS_VERSION: HeaderName = HeaderName::from_static("tus-version");
const TUS_EXTENSION: HeaderName = HeaderName::from_static("tus-extension");
const TUS_MAX_SIZE: HeaderName = HeaderName::from_static("tus-max-size");
const TUS_CHECKSUM_ALGORITHM: HeaderName = HeaderName::from_static("tus-checksum-algorithm");
const UPLOAD_DEFER_LENGTH: HeaderName = HeaderName::from_static("upload-defer-length");
const UPLOAD_CONCAT: HeaderName = HeaderName::from_static("upload-concat");
const UPLOAD_EXPIRES: HeaderName = HeaderName::from_static("upload-expires");
/// The video that a finished upload became.
const TIDEGATE_VIDEO: HeaderName = HeaderName::from_static("tidegate-video");
/// The chunk that clients are recommended to send, in bytes.
const TIDEGATE_CHUNK_BYTES: HeaderName = HeaderName::from_static("tidegate-chunk-bytes");

const VERSION: &str = "1.0.0";
const EXTENSIONS: &str = "creation,creation-with-upload,termination,checksum,expiration";
pub(super) const CHUNK_TYPE: &str = "application/offset+octet-stream";

/// What this server can do.
pub(super) fn options(config: &Config) -> Response {
    let mut response = StatusCode::NO_CONTENT.into_response();
    for (name, value) in [
        (TUS_RESUMABLE, VERSION.to_owned()),
        (TUS_VERSION, VERSION.to_owned()),
        (TUS_EXTENSION, EXTENSIONS.to_owned()),
        (TUS_CHECKSUM_ALGORITHM, CHECKSUM_ALGORITHM.to_owned()),
        (TUS_MAX_SIZE, config.upload_bytes_max.as_u64().to_string()),
        (TIDEGATE_CHUNK_BYTES, config.chunk_bytes.as_u64().to_string()),
    ] {
        insert(&mut response, name, &value);
    }
    response
}

/// An answer about an upload: where it stands, when it expires, what it became.
pub(super) fn answer(status: StatusCode, upload: &Upload) -> Response {
    let mut response = status.into_response();
    insert(&mut response, TUS_RESUMABLE, VERSION);
    insert(&mut response, UPLOAD_OFFSET, &upload.offset.to_string());
    insert(&mut response, header::CACHE_CONTROL, "no-store");
    match &upload.video {
        Some(video) => insert(&mut response, TIDEGATE_VIDEO, video.as_str()),
        None => insert(&mut response, UPLOAD_EXPIRES, &http_date(upload.expires_ms)),
    }
    response
}

/// Length and metadata, for HEAD.
pub(super) fn describe(response: &mut Response, upload: &Upload) {
    insert(response, UPLOAD_LENGTH, &upload.length.to_string());
    if !upload.metadata.is_empty() {
        insert(response, UPLOAD_METADATA, &upload.metadata);
    }
}

/// Where an upload is reached. Without a host, so that it is right behind every proxy.
pub(super) fn location(upload: &Upload) -> String {
    format!("/upload/{}", upload.id)
}

/// Refuses requests of another version of the protocol.
pub(super) fn check_version(headers: &HeaderMap) -> Result<(), ApiError> {
    if headers.get(TUS_RESUMABLE).is_some_and(|version| version == VERSION) {
        return Ok(());
    }
    let error = ApiError::new(
        StatusCode::PRECONDITION_FAILED,
        "tus-version",
        "Another version of tus is needed",
        format!("send `Tus-Resumable: {VERSION}`"),
    );
    Err(error.with_header(TUS_VERSION, VERSION))
}

/// The length that a new upload will have.
pub(super) fn upload_length(headers: &HeaderMap) -> Result<u64, ApiError> {
    if headers.contains_key(UPLOAD_DEFER_LENGTH) || headers.contains_key(UPLOAD_CONCAT) {
        let detail = "Upload-Defer-Length and Upload-Concat are not supported: send Upload-Length";
        return Err(ApiError::bad_request("upload-length", detail));
    }
    number(headers, &UPLOAD_LENGTH)?
        .ok_or_else(|| ApiError::bad_request("upload-length", "Upload-Length is missing"))
}

/// The place where a chunk begins.
pub(super) fn upload_offset(headers: &HeaderMap) -> Result<u64, ApiError> {
    number(headers, &UPLOAD_OFFSET)?
        .ok_or_else(|| ApiError::bad_request("upload-offset", "Upload-Offset is missing"))
}

/// How long the body says that it is; `None` when it comes in pieces without a length.
pub(super) fn content_length(headers: &HeaderMap) -> Result<Option<u64>, ApiError> {
    number(headers, &header::CONTENT_LENGTH)
}

/// Whether a request brings bytes of the upload.
pub(super) fn has_body(headers: &HeaderMap) -> bool {
    let length = headers.get(header::CONTENT_LENGTH);
    headers.contains_key(header::TRANSFER_ENCODING) || length.is_some_and(|length| length != "0")
}

/// Refuses bodies of another type.
pub(super) fn check_type(headers: &HeaderMap) -> Result<(), ApiError> {
    let shown = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    if shown.is_some_and(|shown| shown.trim().eq_ignore_ascii_case(CHUNK_TYPE)) {
        return Ok(());
    }
    Err(ApiError::new(
        StatusCode::UNSUPPORTED_MEDIA_TYPE,
        "content-type",
        "The body has another type than needed",
        format!("send `Content-Type: {CHUNK_TYPE}`"),
    ))
}

/// A header as text; an unreadable one counts as wrong, a missing one as absent.
pub(super) fn text<'a>(
    headers: &'a HeaderMap,
    name: &HeaderName,
) -> Result<Option<&'a str>, ApiError> {
    let Some(value) = headers.get(name) else { return Ok(None) };
    let text = value.to_str();
    text.map(Some).map_err(|_| ApiError::bad_request("header", format!("{name} is not ASCII")))
}

pub(super) fn insert(response: &mut Response, name: HeaderName, value: &str) {
    // Values are numbers, ids, dates and what came in as a header.
    if let Ok(value) = HeaderValue::from_str(value) {
        response.headers_mut().insert(name, value);
    }
}

fn number(headers: &HeaderMap, name: &HeaderName) -> Result<Option<u64>, ApiError> {
    let Some(text) = text(headers, name)? else { return Ok(None) };
    let is_digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let number = text.parse().ok().filter(|_| is_digits);
    let bad = || ApiError::bad_request("header", format!("{name} is no number of bytes: {text:?}"));
    number.map(Some).ok_or_else(bad)
}

fn http_date(ms: i64) -> String {
    httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_millis(ms.unsigned_abs()).min(DATE_MAX))
}

/// The end of the year 9999, the last that an HTTP date can name.
const DATE_MAX: Duration = Duration::from_secs(253_402_300_799);

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(name: HeaderName, value: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(name, HeaderValue::from_static(value))])
    }

    #[test]
    fn a_length_is_digits() {
        assert_eq!(upload_length(&headers(UPLOAD_LENGTH, "42")).unwrap(), 42);
        for bad in ["", "-1", "+1", "1.0", "0x1", "99999999999999999999", " 1"] {
            assert!(upload_length(&headers(UPLOAD_LENGTH, bad)).is_err(), "{bad}");
        }
        assert!(upload_length(&HeaderMap::new()).is_err());
        let mut both = headers(UPLOAD_LENGTH, "1");
        both.insert(UPLOAD_DEFER_LENGTH, HeaderValue::from_static("1"));
        assert!(upload_length(&both).is_err());
    }

    #[test]
    fn a_time_beyond_every_calendar_is_still_a_date() {
        assert_eq!(http_date(0), "Thu, 01 Jan 1970 00:00:00 GMT");
        assert_eq!(http_date(i64::MAX), "Fri, 31 Dec 9999 23:59:59 GMT");
    }

    #[test]
    fn a_body_is_announced_by_length_or_by_pieces() {
        assert!(has_body(&headers(header::CONTENT_LENGTH, "1")));
        assert!(has_body(&headers(header::TRANSFER_ENCODING, "chunked")));
        assert!(!has_body(&headers(header::CONTENT_LENGTH, "0")));
        assert!(!has_body(&HeaderMap::new()));
    }
}

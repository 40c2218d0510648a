//! Every refusal of the upload protocol as a problem document: status, kind, and what to do about it.

use axum::http::{StatusCode, header};

use crate::{
    upload::{
        append::AppendError,
        model::{AppendRefusal, Upload},
        store::AddError,
        tus,
    },
    web::ApiError,
};

pub(super) fn refuse_at(refusal: AppendRefusal, upload: &Upload) -> ApiError {
    refuse(refusal).with_header(tus::UPLOAD_OFFSET, upload.offset.to_string())
}

pub(super) fn refuse(refusal: AppendRefusal) -> ApiError {
    let (status, kind, title) = match refusal {
        AppendRefusal::Gone => (StatusCode::GONE, "upload-gone", "The upload is gone"),
        AppendRefusal::Offset { .. } => {
            (StatusCode::CONFLICT, "upload-offset", "The upload stands elsewhere")
        }
        AppendRefusal::BeyondLength { .. } | AppendRefusal::ChunkTooLong { .. } => {
            (StatusCode::PAYLOAD_TOO_LARGE, "chunk-too-large", "The chunk is too large")
        }
    };
    ApiError::new(status, kind, title, refusal.to_string())
}

pub(super) fn refuse_append(error: AppendError, upload: &Upload) -> ApiError {
    let mismatch = StatusCode::from_u16(CHECKSUM_MISMATCH).expect("a three-digit status");
    let (status, kind, title) = match error {
        AppendError::Checksum => (mismatch, "checksum-mismatch", "The checksum does not match"),
        AppendError::TooLong(_) => {
            (StatusCode::PAYLOAD_TOO_LARGE, "chunk-too-large", "The chunk is too large")
        }
        AppendError::Broken => (StatusCode::BAD_REQUEST, "body-broken", "The body broke off"),
        AppendError::Idle => (StatusCode::REQUEST_TIMEOUT, "body-idle", "The body came to a halt"),
        AppendError::Gone => return refuse(AppendRefusal::Gone),
        AppendError::DiskFull => return disk_full(),
        AppendError::Spool(error) => return ApiError::internal(error),
        AppendError::Database(error) => return error.into(),
    };
    ApiError::new(status, kind, title, error.to_string())
        .with_header(tus::UPLOAD_OFFSET, upload.offset.to_string())
}

pub(super) fn locked() -> ApiError {
    let detail = "another request is writing to it; ask for the offset when that has ended";
    ApiError::new(StatusCode::LOCKED, "upload-locked", "The upload is locked", detail)
        .with_header(header::RETRY_AFTER, "1")
}

pub(super) fn disk_full() -> ApiError {
    let detail = "there is too little space left for more bytes; try again later";
    ApiError::new(StatusCode::INSUFFICIENT_STORAGE, "disk-full", "No space left", detail)
        .with_header(header::RETRY_AFTER, "60")
}

pub(super) fn refuse_new(error: AddError) -> ApiError {
    match error {
        AddError::Database(error) => error.into(),
        AddError::ClientFull(_) => ApiError::new(
            StatusCode::TOO_MANY_REQUESTS,
            "uploads-per-client",
            "Too many unfinished uploads",
            format!("{error}; finish or terminate one"),
        ),
        AddError::Full(_) => ApiError::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "uploads-full",
            "Too many unfinished uploads",
            error.to_string(),
        )
        .with_header(header::RETRY_AFTER, "60"),
    }
}

pub(super) fn too_large(length: u64, length_max: u64) -> ApiError {
    ApiError::new(
        StatusCode::PAYLOAD_TOO_LARGE,
        "upload-too-large",
        "The upload is too large",
        format!("{length} bytes were announced, at most {length_max} are taken"),
    )
}

pub(super) fn finished() -> ApiError {
    ApiError::new(
        StatusCode::CONFLICT,
        "upload-finished",
        "The upload is finished",
        "it became a video; delete that instead",
    )
}

/// A status of the tus protocol's own.
const CHECKSUM_MISMATCH: u16 = 460;

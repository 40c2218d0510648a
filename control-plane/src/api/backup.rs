//! `POST /v1/backup`: the state as it is at one moment, as one file.
//!
//! Without the key files: those leave the machine only by a command on it. The copy is made on disk first, so that what
//! is streamed is whole and a slow reader holds nothing up; its name is gone before the first byte is sent.

use std::{fs, sync::Arc};

use axum::{
    body::Body,
    extract::State,
    http::header,
    response::{IntoResponse, Response},
};
use tokio_util::io::ReaderStream;

use super::{Api, auth::Caller, error::ApiError};
use crate::{
    access::Verb,
    store::{StoreError, backup::backup},
};

/// `POST /v1/backup`
pub(super) async fn make(
    State(api): State<Arc<Api>>,
    caller: Caller,
) -> Result<Response, ApiError> {
    api.require(&caller, Verb::Backup, "")?;
    let Some(data_dir) = api.parts.database_dir.clone() else {
        let text = "the state lies in etcd: take a snapshot with etcdctl";
        return Err(ApiError::Invalid(text.to_owned()));
    };
    let _only = api.backups.try_acquire().map_err(|_| ApiError::Busy)?;
    let copied = tokio::task::spawn_blocking(move || {
        let path = data_dir.join(COPY);
        backup(&data_dir, &path, &[])?;
        let file = |source| StoreError::File { path: path.clone(), source };
        let opened = fs::File::open(&path).map_err(file)?;
        fs::remove_file(&path).map_err(file)?;
        Ok::<_, StoreError>(opened)
    });
    let copy = copied.await.map_err(|_| ApiError::Panicked)??;
    caller.audit("backup", "");
    let headers =
        [(header::CONTENT_TYPE, "application/vnd.sqlite3"), (header::CACHE_CONTROL, "no-store")];
    let body = Body::from_stream(ReaderStream::new(tokio::fs::File::from_std(copy)));
    Ok((headers, body).into_response())
}

/// The name of the copy while it is made; one that a killed process left is overwritten.
const COPY: &str = "backup-for-api";

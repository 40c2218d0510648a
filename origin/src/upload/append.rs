//! Takes the body of one request into the spool file.
//!
//! Without a checksum, whatever reached the disk counts, also when the body breaks off: the client goes on from
//! there. With one, the chunk counts as a whole or not at all.

use std::io;

use axum::body::Body;
use bytes::Bytes;
use http_body_util::BodyExt;
use sha2::Sha256;

use crate::upload::{
    disk, model::Upload, parts::Parts, spool::SpoolWriter, store, writers::WriterLock,
};

/// The body of one request.
pub(super) struct Chunk {
    pub(super) body: Body,
    /// SHA-256 that the whole body must have.
    pub(super) checksum: Option<[u8; 32]>,
    /// How many bytes it may have.
    pub(super) room: u64,
}

/// Why a body did not get in as a whole. What [`Upload::offset`] says counts nevertheless.
#[derive(Debug, thiserror::Error)]
pub(super) enum AppendError {
    #[error("the chunk does not have the announced checksum")]
    Checksum,
    #[error("the body has more than {0} bytes")]
    TooLong(u64),
    #[error("the body broke off")]
    Broken,
    #[error("no byte came for too long")]
    Idle,
    #[error("the disk is full")]
    DiskFull,
    #[error("the upload is gone")]
    Gone,
    #[error(transparent)]
    Spool(#[from] io::Error),
    #[error(transparent)]
    Database(#[from] sqlx::Error),
}

/// Adds a body to an upload and moves its offset. Returns the hash of all its bytes.
pub(super) async fn append(
    parts: &Parts,
    upload: &mut Upload,
    lock: &WriterLock,
    chunk: Chunk,
) -> Result<Sha256, AppendError> {
    let kept = lock.take_hash(upload.offset);
    let compares = chunk.checksum.is_some();
    let writer = parts.spool.writer(&upload.id, upload.offset, kept, compares).await?;
    let sha_before = writer.sha();
    let offset_before = upload.offset;
    let appended = receive(parts, upload, writer, chunk).await;
    match &appended {
        Ok(sha) => lock.keep_hash(upload.offset, sha.clone()),
        Err(_) if upload.offset == offset_before => lock.keep_hash(offset_before, sha_before),
        // Something counts, but its hash is gone with the writer: the next one reads the file.
        Err(_) => {}
    }
    appended
}

async fn receive(
    parts: &Parts,
    upload: &mut Upload,
    mut writer: SpoolWriter,
    mut chunk: Chunk,
) -> Result<Sha256, AppendError> {
    let checkpoint = parts.config.checkpoint_bytes.as_u64();
    let mut unwritten = Unwritten::default();
    let mut received = 0;
    let end = loop {
        let piece = match next_piece(parts, &mut chunk.body).await {
            Ok(Some(piece)) => piece,
            Ok(None) => break Ok(()),
            Err(error) => break Err(error),
        };
        received += piece.len() as u64;
        if received > chunk.room {
            // What the client meant is unclear: nothing that is not recorded yet counts.
            return Err(AppendError::TooLong(chunk.room));
        }
        unwritten.push(piece);
        if unwritten.bytes >= WRITE_BYTES {
            writer = writer.write(unwritten.take()).await.map_err(full_or_broken)?;
        }
        if chunk.checksum.is_none() && writer.offset() - upload.offset >= checkpoint {
            writer = record(parts, upload, writer).await?;
            let free = disk::free_bytes(parts.spool.folder());
            if !disk::has_room(free, checkpoint, parts.config.disk_free_min.as_u64()) {
                break Err(AppendError::DiskFull);
            }
        }
    };
    match (chunk.checksum, end) {
        (Some(_), Err(error)) => Err(error),
        (checksum, end) => {
            writer = writer.write(unwritten.take()).await.map_err(full_or_broken)?;
            if checksum.is_some_and(|digest| !writer.chunk_has(&digest)) {
                return Err(AppendError::Checksum);
            }
            writer = record(parts, upload, writer).await?;
            end.map(|()| writer.sha())
        }
    }
}

/// The next bytes of a body; `None` at its end.
async fn next_piece(parts: &Parts, body: &mut Body) -> Result<Option<Bytes>, AppendError> {
    loop {
        let frame = tokio::time::timeout(parts.config.body_idle_timeout, body.frame()).await;
        match frame {
            Err(_) => return Err(AppendError::Idle),
            Ok(None) => return Ok(None),
            Ok(Some(Err(_))) => return Err(AppendError::Broken),
            // What is no data are trailers, and those say nothing to us.
            Ok(Some(Ok(frame))) => {
                if let Ok(data) = frame.into_data() {
                    return Ok(Some(data));
                }
            }
        }
    }
}

/// Syncs what was written, and then lets it count.
async fn record(
    parts: &Parts,
    upload: &mut Upload,
    writer: SpoolWriter,
) -> Result<SpoolWriter, AppendError> {
    let offset = writer.offset();
    if offset == upload.offset {
        return Ok(writer);
    }
    let writer = writer.sync().await.map_err(full_or_broken)?;
    let expires_ms = parts.expires_ms();
    if !store::advance(&parts.app.database, upload, offset, expires_ms).await? {
        return Err(AppendError::Gone);
    }
    parts.app.metrics.upload_bytes.inc_by(offset - upload.offset);
    upload.offset = offset;
    upload.expires_ms = expires_ms;
    Ok(writer)
}

fn full_or_broken(error: io::Error) -> AppendError {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => AppendError::DiskFull,
        _ => AppendError::Spool(error),
    }
}

#[derive(Default)]
struct Unwritten {
    pieces: Vec<Bytes>,
    bytes: usize,
}

impl Unwritten {
    fn push(&mut self, piece: Bytes) {
        self.bytes += piece.len();
        self.pieces.push(piece);
    }

    fn take(&mut self) -> Vec<Bytes> {
        self.bytes = 0;
        std::mem::take(&mut self.pieces)
    }
}

/// Bytes that are handed to a blocking thread at once.
const WRITE_BYTES: usize = 1024 * 1024;

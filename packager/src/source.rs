//! The upload as an open file.
//!
//! The worker gets a descriptor, never a path. Where the object store is a folder its file is opened as it is:
//! origin hashed it while it arrived, and hashing again would read everything twice. From any other store it is
//! fetched into an unnamed scratch file, with its length and SHA-256 checked against the job.

use std::{fs::File, io, path::PathBuf};

use futures::StreamExt;
use object_store::{ObjectStoreExt, path::Path};
use sha2::{Digest, Sha256};
use tidegate_contract::package_job::PackageJob;
use tokio::io::AsyncWriteExt;

use crate::store::Store;

/// Why there is no upload to work on.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// The job's key is no key.
    #[error("the source key is not a key: {0}")]
    Key(#[from] object_store::path::Error),
    /// Not what the job says it is.
    #[error("the source has {found} bytes where the job says {expected}")]
    Length {
        /// Bytes by the job.
        expected: u64,
        /// Bytes found.
        found: u64,
    },
    /// Not what the job says it is.
    #[error("the source's SHA-256 is not the job's")]
    Hash,
    /// Larger than this packager accepts.
    #[error("a source of {bytes} bytes, at most {limit} are accepted")]
    TooLarge {
        /// Its bytes.
        bytes: u64,
        /// The limit.
        limit: u64,
    },
    /// The store failed.
    #[error("the source cannot be fetched: {0}")]
    Store(#[from] object_store::Error),
    /// The disk failed.
    #[error("the source cannot be opened: {0}")]
    File(#[from] io::Error),
}

/// Opens a job's upload for reading, from its first byte.
///
/// # Errors
/// [`SourceError`].
pub async fn open(
    store: &Store,
    scratch: Option<PathBuf>,
    job: &PackageJob,
    bytes_max: u64,
) -> Result<File, SourceError> {
    if job.source_bytes > bytes_max {
        return Err(SourceError::TooLarge { bytes: job.source_bytes, limit: bytes_max });
    }
    let key = Path::parse(&job.source_key)?;
    let Some(path) = store.file(&key) else {
        return fetch(store, &key, scratch, job).await;
    };
    let file = tokio::fs::File::open(path).await?;
    let found = file.metadata().await?.len();
    check_length(job, found)?;
    Ok(file.into_std().await)
}

async fn fetch(
    store: &Store,
    key: &Path,
    scratch: Option<PathBuf>,
    job: &PackageJob,
) -> Result<File, SourceError> {
    let file = tempfile::tempfile_in(scratch.unwrap_or_else(std::env::temp_dir))?;
    let mut out = tokio::fs::File::from_std(file);
    let mut hash = Sha256::new();
    let mut found = 0;
    let mut chunks = store.objects().get(key).await?.into_stream();
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk?;
        found += chunk.len() as u64;
        if found > job.source_bytes {
            break;
        }
        hash.update(&chunk);
        out.write_all(&chunk).await?;
    }
    check_length(job, found)?;
    if hex::encode(hash.finalize()) != job.source_sha256 {
        return Err(SourceError::Hash);
    }
    out.flush().await?;
    let mut file = out.into_std().await;
    io::Seek::rewind(&mut file)?;
    Ok(file)
}

fn check_length(job: &PackageJob, found: u64) -> Result<(), SourceError> {
    let expected = job.source_bytes;
    if found == expected { Ok(()) } else { Err(SourceError::Length { expected, found }) }
}

#[cfg(test)]
mod tests {
    use std::{io::Read, sync::Arc, time::Duration};

    use object_store::memory::InMemory;
    use tidegate_contract::id::{JobId, MediaId};

    use super::*;

    fn job(content: &[u8]) -> PackageJob {
        PackageJob {
            job: JobId::parse("j1").expect("an id"),
            epoch: 1,
            lease: Duration::from_secs(30),
            media: MediaId::parse("m1").expect("an id"),
            source_key: "upload/u1/source".into(),
            source_bytes: content.len() as u64,
            source_sha256: hex::encode(Sha256::digest(content)),
        }
    }

    async fn open_from_memory(stored: &[u8], job: &PackageJob) -> Result<Vec<u8>, SourceError> {
        let memory = InMemory::new();
        memory.put(&Path::from("upload/u1/source"), stored.to_vec().into()).await?;
        let mut file = open(&Store::of(Arc::new(memory)), None, job, 1000).await?;
        let mut content = Vec::new();
        file.read_to_end(&mut content)?;
        Ok(content)
    }

    #[tokio::test]
    async fn a_fetched_upload_is_what_the_job_says() {
        let content = open_from_memory(b"content", &job(b"content")).await.expect("the same");
        assert_eq!(content, b"content");
    }

    #[tokio::test]
    async fn another_upload_is_refused() {
        let outcome = open_from_memory(b"kontent", &job(b"content")).await;
        assert!(matches!(outcome, Err(SourceError::Hash)), "{outcome:?}");
        let outcome = open_from_memory(b"content and more", &job(b"content")).await;
        assert!(matches!(outcome, Err(SourceError::Length { .. })), "{outcome:?}");
        let large = PackageJob { source_bytes: 1001, ..job(b"content") };
        let outcome = open_from_memory(b"content", &large).await;
        assert!(matches!(outcome, Err(SourceError::TooLarge { limit: 1000, .. })), "{outcome:?}");
        let outside = PackageJob { source_key: "../../etc/passwd".into(), ..job(b"content") };
        let outcome = open_from_memory(b"content", &outside).await;
        assert!(matches!(outcome, Err(SourceError::Key(_))), "{outcome:?}");
    }
}

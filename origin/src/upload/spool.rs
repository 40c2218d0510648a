//! Spool files: the bytes of uploads in progress.
//!
//! A file may hold more than counts, never less: a writer cuts it to the offset that counts before it adds to it.
//! Writing and hashing happen on blocking threads, a megabyte at a time.

use std::{
    fs::{File, OpenOptions},
    io::{self, Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
};

use bytes::Bytes;
use sha2::{Digest, Sha256};
use tidegate_contract::id::UploadId;

/// The folder of the spool files.
#[derive(Debug, Clone)]
pub(super) struct Spool {
    folder: PathBuf,
}

/// An open spool file at the place where bytes are added.
#[derive(Debug)]
pub(super) struct SpoolWriter {
    file: File,
    /// Of everything before `offset`.
    sha: Sha256,
    /// Of what this writer added, when somebody wants to compare it.
    chunk_sha: Option<Sha256>,
    offset: u64,
}

impl Spool {
    pub(super) fn open(folder: &Path) -> io::Result<Self> {
        std::fs::create_dir_all(folder)?;
        Ok(Self { folder: folder.to_owned() })
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    pub(super) fn path(&self, id: &UploadId) -> PathBuf {
        self.folder.join(id.as_str())
    }

    /// Makes an empty file, and makes sure that its name is on disk.
    pub(super) async fn create(&self, id: &UploadId) -> io::Result<()> {
        let (path, folder) = (self.path(id), self.folder.clone());
        blocking(move || {
            File::create_new(path)?;
            File::open(folder)?.sync_all()
        })
        .await
    }

    /// Opens a file at an offset, cuts off what lies behind it, and hashes what lies before it unless the hash is
    /// at hand. `compares` asks for a hash of what is added as well.
    pub(super) async fn writer(
        &self,
        id: &UploadId,
        offset: u64,
        sha: Option<Sha256>,
        compares: bool,
    ) -> io::Result<SpoolWriter> {
        let path = self.path(id);
        blocking(move || {
            let mut file = OpenOptions::new().read(true).write(true).open(path)?;
            let length = file.metadata()?.len();
            if length < offset {
                return Err(io::Error::new(
                    io::ErrorKind::UnexpectedEof,
                    format!("a spool file has {length} bytes, {offset} were acknowledged"),
                ));
            }
            if length > offset {
                file.set_len(offset)?;
            }
            let sha = match sha {
                Some(sha) => sha,
                None => hash(&mut file, offset)?,
            };
            file.seek(SeekFrom::Start(offset))?;
            Ok(SpoolWriter { file, sha, chunk_sha: compares.then(Sha256::new), offset })
        })
        .await
    }

    /// Removes a file; one that is not there counts as removed.
    pub(super) async fn remove(&self, id: &UploadId) -> io::Result<()> {
        match tokio::fs::remove_file(self.path(id)).await {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// Names of all files that an upload may have made.
    pub(super) fn ids(&self) -> io::Result<Vec<UploadId>> {
        let mut ids = Vec::new();
        for entry in std::fs::read_dir(&self.folder)? {
            let name = entry?.file_name();
            ids.extend(name.to_str().and_then(|name| UploadId::parse(name).ok()));
        }
        Ok(ids)
    }
}

impl SpoolWriter {
    /// Where the next byte goes.
    pub(super) fn offset(&self) -> u64 {
        self.offset
    }

    /// The hash of everything so far.
    pub(super) fn sha(&self) -> Sha256 {
        self.sha.clone()
    }

    /// Whether what was added has a digest; true when nobody wanted to know.
    pub(super) fn chunk_has(&self, digest: &[u8; 32]) -> bool {
        self.chunk_sha.clone().is_none_or(|sha| sha.finalize()[..] == digest[..])
    }

    /// Adds bytes; they count only after [`Self::sync`].
    pub(super) async fn write(mut self, pieces: Vec<Bytes>) -> io::Result<Self> {
        blocking(move || {
            for piece in &pieces {
                self.file.write_all(piece)?;
                self.sha.update(piece);
                if let Some(sha) = &mut self.chunk_sha {
                    sha.update(piece);
                }
                self.offset += piece.len() as u64;
            }
            Ok(self)
        })
        .await
    }

    /// Makes sure that everything added is on disk.
    pub(super) async fn sync(self) -> io::Result<Self> {
        blocking(move || {
            self.file.sync_data()?;
            Ok(self)
        })
        .await
    }
}

fn hash(file: &mut File, bytes: u64) -> io::Result<Sha256> {
    let mut sha = Sha256::new();
    let mut rest = file.take(bytes);
    let mut buffer = vec![0; HASH_BYTES];
    loop {
        let read = rest.read(&mut buffer)?;
        if read == 0 {
            return Ok(sha);
        }
        sha.update(&buffer[..read]);
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(io::Error::other)?
}

const HASH_BYTES: usize = 256 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(sha: Sha256) -> String {
        hex::encode(sha.finalize())
    }

    #[tokio::test]
    async fn a_file_is_cut_to_what_counts_and_its_hash_is_made_anew() {
        let home = tempfile::tempdir().unwrap();
        let spool = Spool::open(home.path()).unwrap();
        let id = UploadId::parse("u1").unwrap();
        spool.create(&id).await.unwrap();
        let writer = spool.writer(&id, 0, None, false).await.unwrap();
        let pieces = vec![Bytes::from_static(b"hello "), Bytes::from_static(b"world, and more")];
        writer.write(pieces).await.unwrap().sync().await.unwrap();

        let writer = spool.writer(&id, 6, None, true).await.unwrap();
        assert_eq!(digest(writer.sha()), digest(Sha256::new_with_prefix("hello ")));
        let writer = writer.write(vec![Bytes::from_static(b"there")]).await.unwrap();
        assert_eq!(writer.offset(), 11);
        assert!(writer.chunk_has(&Sha256::digest("there").into()));
        assert!(!writer.chunk_has(&Sha256::digest("hello there").into()));
        assert_eq!(digest(writer.sha()), digest(Sha256::new_with_prefix("hello there")));
        assert_eq!(std::fs::read(spool.path(&id)).unwrap(), b"hello there");
        assert_eq!(spool.ids().unwrap(), std::slice::from_ref(&id));
        spool.remove(&id).await.unwrap();
        spool.remove(&id).await.unwrap();
    }

    #[tokio::test]
    async fn a_file_that_lost_acknowledged_bytes_is_not_written_to() {
        let home = tempfile::tempdir().unwrap();
        let spool = Spool::open(home.path()).unwrap();
        let id = UploadId::parse("u1").unwrap();
        spool.create(&id).await.unwrap();
        assert!(spool.writer(&id, 1, None, false).await.is_err());
    }
}

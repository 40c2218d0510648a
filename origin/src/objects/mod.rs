//! The object store: sources, segments, images and manifests by key.
//!
//! Chosen by URL; today `file:`. Keys come from checked ids alone, never from a client's text.
//! **Invariant.** An object appears whole or not at all, and is on disk before the caller hears of it.

use std::{
    io::SeekFrom,
    ops::Range,
    path::{Path, PathBuf},
    sync::Arc,
};

use bytes::Bytes;
use futures::{Stream, StreamExt, TryStreamExt, stream::BoxStream};
use object_store::{
    GetOptions, GetRange, GetResultPayload, ObjectStore, ObjectStoreExt, PutPayload,
    local::LocalFileSystem, path::Path as Key,
};
use tokio::io::{AsyncReadExt, AsyncSeekExt};
use tokio_util::io::ReaderStream;

/// Handle to the object store; clones share it.
#[derive(Debug, Clone)]
pub struct Objects {
    store: Arc<dyn ObjectStore>,
    root: PathBuf,
}

/// What an object is, without its bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectFacts {
    /// Length in bytes.
    pub bytes: u64,
    /// A strong entity tag, quoted.
    pub etag: String,
    /// When it was written.
    pub modified: std::time::SystemTime,
}

/// Why an object could not be had.
#[derive(Debug, thiserror::Error)]
pub enum ObjectError {
    /// There is none under this key.
    #[error("no object {0:?}")]
    Missing(String),
    /// The store does not answer as it should.
    #[error("object store: {0}")]
    Store(#[source] object_store::Error),
    /// The file below it does not.
    #[error("object store: {0}")]
    File(#[from] std::io::Error),
}

/// Why there is no store at a URL.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Not a URL of a store that is built in.
    #[error("an object store URL begins with file: and names a folder, this one does not: {0:?}")]
    Url(String),
    /// The folder cannot be made.
    #[error("cannot make the folder of the object store: {0}")]
    Folder(#[from] std::io::Error),
    /// The store refuses.
    #[error("cannot open the object store: {0}")]
    Store(#[from] object_store::Error),
}

impl Objects {
    /// Opens the store of a URL; its folder is made.
    ///
    /// # Errors
    /// [`OpenError`] says why not.
    pub fn open(url: &str) -> Result<Self, OpenError> {
        let root = folder(url).ok_or_else(|| OpenError::Url(url.to_owned()))?;
        std::fs::create_dir_all(&root)?;
        let root = root.canonicalize()?;
        let store = LocalFileSystem::new_with_prefix(&root)?.with_fsync(true);
        Ok(Self { store: Arc::new(store), root })
    }

    /// Writes an object at once; one that was there is replaced.
    ///
    /// # Errors
    /// [`ObjectError::Store`].
    pub async fn put(&self, key: &str, body: impl Into<Bytes>) -> Result<(), ObjectError> {
        let payload = PutPayload::from_bytes(body.into());
        self.store.put(&Key::from(key), payload).await.map(drop).map_err(ObjectError::Store)
    }

    /// What is known of an object without reading it.
    ///
    /// # Errors
    /// [`ObjectError::Missing`] or [`ObjectError::Store`].
    pub async fn facts(&self, key: &str) -> Result<ObjectFacts, ObjectError> {
        let meta = self.store.head(&Key::from(key)).await.map_err(|e| store_error(key, e))?;
        let modified = meta.last_modified.into();
        let etag = meta.e_tag.unwrap_or_else(|| format!("\"{:x}\"", meta.size));
        Ok(ObjectFacts { bytes: meta.size, etag, modified })
    }

    /// A whole small object.
    ///
    /// # Errors
    /// [`ObjectError::Missing`] or [`ObjectError::Store`].
    pub async fn read(&self, key: &str) -> Result<Bytes, ObjectError> {
        let found = self.store.get(&Key::from(key)).await.map_err(|e| store_error(key, e))?;
        found.bytes().await.map_err(|e| store_error(key, e))
    }

    /// A range of an object as a stream.
    ///
    /// # Errors
    /// [`ObjectError::Missing`] or [`ObjectError::Store`]; later errors come through the stream.
    pub async fn stream(
        &self,
        key: &str,
        range: Range<u64>,
    ) -> Result<impl Stream<Item = std::io::Result<Bytes>> + Send + use<>, ObjectError> {
        let options =
            GetOptions { range: Some(GetRange::Bounded(range.clone())), ..Default::default() };
        let options = if range.is_empty() { GetOptions::default() } else { options };
        let found =
            self.store.get_opts(&Key::from(key), options).await.map_err(|e| store_error(key, e))?;
        let stream: BoxStream<'static, std::io::Result<Bytes>> = match found.payload {
            GetResultPayload::File(file, _) => {
                // The store's own stream reads 8 KiB at a time, each on a thread of its own.
                let mut file = tokio::fs::File::from_std(file);
                file.seek(SeekFrom::Start(range.start)).await?;
                let bytes = range.end.saturating_sub(range.start);
                ReaderStream::with_capacity(file.take(bytes), READ_BYTES).boxed()
            }
            GetResultPayload::Stream(stream) => stream.map_err(std::io::Error::other).boxed(),
        };
        Ok(stream)
    }

    /// Makes a local file an object; the file itself stays. On one file system the object is a second name of
    /// the same bytes, otherwise a copy. Doing it again changes nothing.
    ///
    /// # Errors
    /// [`ObjectError::File`].
    pub async fn adopt(&self, file: &Path, key: &str) -> Result<(), ObjectError> {
        let (file, target) = (file.to_owned(), self.root.join(key));
        let adopted = tokio::task::spawn_blocking(move || link_or_copy(&file, &target)).await;
        adopted.map_err(std::io::Error::other)??;
        Ok(())
    }

    /// Removes an object; one that is not there counts as removed.
    ///
    /// # Errors
    /// [`ObjectError::Store`].
    pub async fn remove(&self, key: &str) -> Result<(), ObjectError> {
        match self.store.delete(&Key::from(key)).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(ObjectError::Store(error)),
        }
    }

    /// Removes everything below a prefix, one after the other, and says how many that were.
    ///
    /// # Errors
    /// [`ObjectError::Store`] at the first that cannot be removed.
    pub async fn remove_below(&self, prefix: &str) -> Result<u64, ObjectError> {
        let prefix = Key::from(prefix);
        let mut found = self.store.list(Some(&prefix));
        let mut removed = 0;
        while let Some(meta) = found.try_next().await.map_err(ObjectError::Store)? {
            self.remove(meta.location.as_ref()).await?;
            removed += 1;
        }
        Ok(removed)
    }
}

/// Whether a URL names a store that can be opened.
#[must_use]
pub fn is_url(url: &str) -> bool {
    folder(url).is_some()
}

fn folder(url: &str) -> Option<PathBuf> {
    let path = url.strip_prefix("file:")?;
    let path = match path.strip_prefix("//") {
        Some(rest) => rest.strip_prefix("localhost").unwrap_or(rest),
        None => path,
    };
    let is_host = url.starts_with("file://") && !path.starts_with('/');
    (!path.trim_start_matches('/').is_empty() && !is_host).then(|| PathBuf::from(path))
}

fn store_error(key: &str, error: object_store::Error) -> ObjectError {
    match error {
        object_store::Error::NotFound { .. } => ObjectError::Missing(key.to_owned()),
        other => ObjectError::Store(other),
    }
}

fn link_or_copy(file: &Path, target: &Path) -> std::io::Result<()> {
    let folder = target.parent().expect("a key has a folder above it");
    std::fs::create_dir_all(folder)?;
    match std::fs::hard_link(file, target) {
        Ok(()) => {}
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => return Ok(()),
        Err(_) => {
            // Another file system. The copy gets its name only when it is whole.
            let part = target.with_extension("part");
            std::fs::copy(file, &part)?;
            std::fs::File::open(&part)?.sync_all()?;
            std::fs::rename(&part, target)?;
        }
    }
    std::fs::File::open(folder)?.sync_all()?;
    folder.parent().map_or(Ok(()), |above| std::fs::File::open(above)?.sync_all())
}

const READ_BYTES: usize = 256 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_is_a_folder_named_by_a_file_url() {
        let path = |url| folder(url).map(|p| p.to_string_lossy().into_owned());
        assert_eq!(path("file:///a/b").as_deref(), Some("/a/b"));
        assert_eq!(path("file:/a").as_deref(), Some("/a"));
        assert_eq!(path("file:data/objects").as_deref(), Some("data/objects"));
        assert_eq!(path("file://localhost/a").as_deref(), Some("/a"));
        for bad in ["", "file:", "file:///", "s3://bucket", "file://host/a", "/a"] {
            assert_eq!(path(bad), None, "{bad}");
        }
    }

    #[tokio::test]
    async fn an_adopted_file_is_an_object_and_adopting_it_twice_is_fine() {
        let home = tempfile::tempdir().unwrap();
        let objects =
            Objects::open(&format!("file://{}", home.path().join("o").display())).unwrap();
        let file = home.path().join("spooled");
        std::fs::write(&file, b"0123456789").unwrap();
        objects.adopt(&file, "upload/u1/source").await.unwrap();
        objects.adopt(&file, "upload/u1/source").await.unwrap();
        std::fs::remove_file(&file).unwrap();

        assert_eq!(objects.facts("upload/u1/source").await.unwrap().bytes, 10);
        let part = objects.stream("upload/u1/source", 2..5).await.unwrap();
        let part: Vec<Bytes> = part.try_collect().await.unwrap();
        assert_eq!(part.concat(), b"234");
    }

    #[tokio::test]
    async fn what_lies_below_a_prefix_goes_and_its_neighbours_stay() {
        let home = tempfile::tempdir().unwrap();
        let objects = Objects::open(&format!("file://{}", home.path().display())).unwrap();
        for key in ["m/a/1/x", "m/a/2/y", "m/ab/1/x"] {
            objects.put(key, "body").await.unwrap();
        }
        assert_eq!(objects.remove_below("m/a").await.unwrap(), 2);
        assert!(matches!(objects.facts("m/a/1/x").await, Err(ObjectError::Missing(_))));
        assert_eq!(objects.read("m/ab/1/x").await.unwrap(), "body");
        objects.remove("m/a/1/x").await.unwrap();
    }
}

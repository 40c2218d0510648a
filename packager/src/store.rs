//! The object store by URL: `file:` and a path is a folder on this machine.
//!
//! Writing goes through the `object_store` crate everywhere. A folder is also known by its path, so that an
//! upload can be handed to the worker as an open file without copying it.

use std::{path::PathBuf, sync::Arc};

use anyhow::Context;
use object_store::{ObjectStore, local::LocalFileSystem, path::Path, prefix::PrefixStore};
use url::Url;

/// An object store, and its folder where it has one.
#[derive(Debug, Clone)]
pub struct Store {
    objects: Arc<dyn ObjectStore>,
    folder: Option<Arc<LocalFileSystem>>,
}

impl Store {
    /// Opens a store. A folder is made when it is missing; its writes are synced before they count as done.
    ///
    /// # Errors
    /// A scheme that is not built in, or a folder that cannot be made.
    pub fn open(url: &str) -> anyhow::Result<Self> {
        let path = match parse(url)? {
            Address::Folder(path) => path,
            Address::Url(url) => {
                let (objects, prefix) = object_store::parse_url(&url)
                    .with_context(|| format!("no object store for {}", without_secrets(&url)))?;
                return Ok(Self::of(Arc::new(PrefixStore::new(objects, prefix))));
            }
        };
        std::fs::create_dir_all(&path).with_context(|| format!("the folder {}", path.display()))?;
        let folder = LocalFileSystem::new_with_prefix(&path)
            .with_context(|| format!("the folder {}", path.display()))?;
        let folder = Arc::new(folder.with_fsync(true));
        Ok(Self { objects: Arc::clone(&folder) as Arc<dyn ObjectStore>, folder: Some(folder) })
    }

    /// A store that has no folder.
    #[must_use]
    pub fn of(objects: Arc<dyn ObjectStore>) -> Self {
        Self { objects, folder: None }
    }

    /// Where objects go.
    #[must_use]
    pub fn objects(&self) -> &dyn ObjectStore {
        &*self.objects
    }

    /// The file of an object, where the store is a folder.
    #[must_use]
    pub fn file(&self, key: &Path) -> Option<PathBuf> {
        self.folder.as_ref()?.path_to_filesystem(key).ok()
    }
}

/// Where a store is.
#[derive(Debug, PartialEq, Eq)]
pub enum Address {
    /// A folder on this machine.
    Folder(PathBuf),
    /// Anything else.
    Url(Url),
}

/// Reads the URL of a store: `file:folder` is relative to the working directory, `file:///folder` is not.
///
/// # Errors
/// It is none.
pub fn parse(url: &str) -> anyhow::Result<Address> {
    let Some(path) = url.strip_prefix("file:") else {
        return Ok(Address::Url(Url::parse(url).context("object_store is no URL")?));
    };
    let names_host = path.starts_with("//") && !path.starts_with("///");
    anyhow::ensure!(!path.is_empty() && !names_host, "object_store {url:?} names no folder");
    Ok(Address::Folder(PathBuf::from(path.strip_prefix("//").unwrap_or(path))))
}

/// Scheme and host: a store's URL may hold credentials.
fn without_secrets(url: &Url) -> String {
    format!("{}://{}", url.scheme(), url.host_str().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_made_and_known() {
        let dir = tempfile::tempdir().expect("a folder");
        let url = Url::from_file_path(dir.path().join("objects")).expect("an absolute path");
        let store = Store::open(url.as_str()).expect("a store");
        let file = store.file(&Path::from("upload/u1/source")).expect("a file");
        assert!(file.ends_with("objects/upload/u1/source"), "{}", file.display());
    }

    #[test]
    fn a_folder_is_written_as_origin_writes_it() {
        for (url, folder) in [
            ("file:///srv/objects", Some("/srv/objects")),
            ("file:/srv/objects", Some("/srv/objects")),
            ("file:data/objects", Some("data/objects")),
            ("file:", None),
            ("file://host/objects", None),
            ("data/objects", None),
        ] {
            let expected = folder.map(|folder| Address::Folder(folder.into()));
            assert_eq!(parse(url).ok(), expected, "{url}");
        }
    }

    #[test]
    fn an_unknown_scheme_is_refused_without_its_credentials() {
        let url = "s3://key:secret@bucket/prefix?signature=x";
        let error = format!("{:#}", Store::open(url).expect_err("not built in"));
        assert!(error.contains("s3://bucket") && !error.contains("secret"), "{error}");
    }
}

//! The registry: which version is the newest, where its archive is, what its hash must be; and the download.
//!
//! Invariant: a file that is written here has the hash that the registry named, or it is an error.

use std::{io::Write, path::Path};

use aws_lc_rs::digest::{Context, SHA512};
use base64::{Engine, engine::general_purpose::STANDARD};
use futures::StreamExt;
use reqwest::{Client, Response, Url};
use serde::Deserialize;

use super::{
    ARCHIVE_BYTES_MAX, CONNECT_TIME_MAX, FetchError, RELEASE_BYTES_MAX, SILENCE_MAX,
    data_set::DataSet, failed,
};

/// A registry.
pub(super) struct Registry {
    base: Url,
    client: Client,
}

/// A version of a package.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Release {
    pub(super) version: String,
    archive: Url,
    sha512: Vec<u8>,
}

/// What the registry says; only what is needed.
#[derive(Debug, Deserialize)]
struct Written {
    version: String,
    dist: Dist,
}

#[derive(Debug, Deserialize)]
struct Dist {
    tarball: String,
    integrity: String,
}

impl Registry {
    pub(super) fn new(base: &str) -> Result<Self, FetchError> {
        let bad = || FetchError::Url(base.to_owned());
        let mut url = Url::parse(base.trim()).map_err(|_| bad())?;
        if !matches!(url.scheme(), "https" | "http") || url.cannot_be_a_base() {
            return Err(bad());
        }
        if !url.path().ends_with('/') {
            url.set_path(&format!("{}/", url.path()));
        }
        let client = Client::builder()
            .connect_timeout(CONNECT_TIME_MAX)
            .read_timeout(SILENCE_MAX)
            .user_agent(concat!("tidegate-geo/", env!("CARGO_PKG_VERSION")))
            .build()?;
        Ok(Self { base: url, client })
    }

    /// The newest release of a data set.
    pub(super) async fn newest(&self, data_set: DataSet) -> Result<Release, FetchError> {
        let package = data_set.package();
        // A scope's slash is part of the name.
        let path = format!("{}/latest", package.replace('/', "%2f"));
        let url = self.base.join(&path).map_err(|_| FetchError::Url(self.base.to_string()))?;
        let answer = self.client.get(url).send().await?.error_for_status()?;
        let refused = |reason: String| FetchError::Release { package, reason };
        let text = whole(answer).await?.ok_or_else(|| refused("too much".to_owned()))?;
        Release::read(&text, &self.base).map_err(refused)
    }

    /// Writes the archive of a release into a file.
    pub(super) async fn download(&self, release: &Release, file: &Path) -> Result<(), FetchError> {
        let answer = self.client.get(release.archive.clone()).send().await?.error_for_status()?;
        let mut out = std::fs::File::create(file).map_err(|source| failed(file, source))?;
        let mut hash = Context::new(&SHA512);
        let mut bytes = 0;
        let mut chunks = answer.bytes_stream();
        while let Some(chunk) = chunks.next().await {
            let chunk = chunk?;
            bytes += chunk.len() as u64;
            if bytes > ARCHIVE_BYTES_MAX {
                return Err(FetchError::Size(ARCHIVE_BYTES_MAX));
            }
            hash.update(&chunk);
            out.write_all(&chunk).map_err(|source| failed(file, source))?;
        }
        if hash.finish().as_ref() == release.sha512 { Ok(()) } else { Err(FetchError::Integrity) }
    }
}

impl Release {
    fn read(text: &[u8], registry: &Url) -> Result<Self, String> {
        let written: Written = serde_json::from_slice(text).map_err(|error| error.to_string())?;
        let Written { version, dist: Dist { tarball, integrity } } = written;
        let is_plain = |b: u8| b.is_ascii_alphanumeric() || b".-+".contains(&b);
        if version.len() > VERSION_BYTES_MAX || !version.bytes().all(is_plain) {
            return Err("its version is none".to_owned());
        }
        let archive = Url::parse(&tarball).map_err(|error| format!("{tarball:?}: {error}"))?;
        // Clear text only from where the registry itself is.
        if archive.scheme() != "https" && archive.origin() != registry.origin() {
            return Err(format!("its archive is elsewhere and in clear text: {tarball:?}"));
        }
        let mut hashes = integrity.split_ascii_whitespace();
        let sha512 = hashes
            .find_map(|hash| STANDARD.decode(hash.strip_prefix("sha512-")?).ok())
            .filter(|hash| hash.len() == SHA512.output_len())
            .ok_or("it has no sha512")?;
        Ok(Self { version, archive, sha512 })
    }
}

/// A body of limited size; `None` when it is larger.
async fn whole(answer: Response) -> Result<Option<Vec<u8>>, FetchError> {
    let mut body = Vec::new();
    let mut chunks = answer.bytes_stream();
    while let Some(chunk) = chunks.next().await {
        body.extend_from_slice(&chunk?);
        if body.len() > RELEASE_BYTES_MAX {
            return Ok(None);
        }
    }
    Ok(Some(body))
}

const VERSION_BYTES_MAX: usize = 100;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_release_is_read_or_refused_with_the_reason() {
        let registry = Url::parse("http://127.0.0.1:1/").expect("a URL");
        let sha512 = format!("sha1-AAAA sha512-{}", STANDARD.encode([7; 64]));
        let read = |version: &str, tarball: &str, integrity: &str| {
            let text = serde_json::json!({
                "name": "p", "version": version, "dist": { "tarball": tarball, "integrity": integrity },
            });
            Release::read(text.to_string().as_bytes(), &registry)
        };
        let good = read("1.2.3", "https://h.example/p.tgz", &sha512).expect("good");
        assert_eq!((good.version.as_str(), good.sha512.as_slice()), ("1.2.3", &[7; 64][..]));
        read("1.2.3", "http://127.0.0.1:1/p.tgz", &sha512).expect("where the registry is");
        for (version, tarball, integrity, reason) in [
            ("../1", "https://h.example/p.tgz", sha512.as_str(), "version"),
            ("1.2.3", "http://h.example/p.tgz", &sha512, "clear text"),
            ("1.2.3", "file:///etc/passwd", &sha512, "clear text"),
            ("1.2.3", "p.tgz", &sha512, "p.tgz"),
            ("1.2.3", "https://h.example/p.tgz", "sha1-AAAA", "sha512"),
            ("1.2.3", "https://h.example/p.tgz", "sha512-AAAA", "sha512"),
        ] {
            let error = read(version, tarball, integrity).expect_err(reason);
            assert!(error.contains(reason), "{error}");
        }
    }
}

//! What an upload is, what its metadata may say, and when bytes may be added. Values in, values out.

use base64::{Engine, prelude::BASE64_STANDARD};
use tidegate_contract::id::{UploadId, VideoId};

/// One upload, in progress or ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Upload {
    pub(super) id: UploadId,
    /// Who began it.
    pub(super) client: String,
    pub(super) state: UploadState,
    pub(super) length: u64,
    /// Bytes that are on disk and count.
    pub(super) offset: u64,
    /// `Upload-Metadata` as it was sent.
    pub(super) metadata: String,
    pub(super) filename: String,
    pub(super) title: String,
    /// The video it became.
    pub(super) video: Option<VideoId>,
    /// When it expires; of an ended one: when it is forgotten.
    pub(super) expires_ms: i64,
}

/// Where an upload stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum UploadState {
    /// Bytes may be added.
    Open,
    /// It became a video.
    Finished,
    /// The client took it back.
    Terminated,
    /// No bytes came for too long.
    Expired,
}

/// What metadata says that we keep.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Metadata {
    pub(super) filename: String,
    pub(super) title: String,
}

/// Why metadata is not understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum MetadataError {
    #[error("Upload-Metadata has {bytes} bytes, at most {max} are taken")]
    Length { bytes: usize, max: u64 },
    #[error("Upload-Metadata has more than {PAIRS_MAX} pairs")]
    Pairs,
    #[error("Upload-Metadata: a pair is `key base64-of-value`, pairs are separated by commas")]
    Syntax,
    #[error("Upload-Metadata: {0} stands there twice")]
    Twice(&'static str),
    #[error("Upload-Metadata: {key} has {bytes} bytes, at most {TEXT_BYTES_MAX} are taken")]
    Text { key: &'static str, bytes: usize },
    #[error("Upload-Metadata: {0} is no UTF-8 text without control characters")]
    Characters(&'static str),
}

/// Why a checksum is not understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum ChecksumError {
    #[error("Upload-Checksum is `sha256 base64-of-digest`")]
    Syntax,
    #[error("Upload-Checksum: only sha256 is supported, not {0:?}")]
    Algorithm(String),
}

/// Why bytes may not be added.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum AppendRefusal {
    #[error("the upload was removed or has expired")]
    Gone,
    #[error("the upload stands at {have}, the request begins at {asked}")]
    Offset { have: u64, asked: u64 },
    #[error("{announced} bytes were announced, {room} are missing")]
    BeyondLength { announced: u64, room: u64 },
    #[error("{announced} bytes were announced, one request takes at most {max}")]
    ChunkTooLong { announced: u64, max: u64 },
}

impl UploadState {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Finished => "finished",
            Self::Terminated => "terminated",
            Self::Expired => "expired",
        }
    }

    pub(super) fn parse(text: &str) -> Option<Self> {
        [Self::Open, Self::Finished, Self::Terminated, Self::Expired]
            .into_iter()
            .find(|state| state.as_str() == text)
    }
}

impl Upload {
    /// Whether it was removed, or would be if someone looked.
    pub(super) fn is_gone(&self, now_ms: i64) -> bool {
        match self.state {
            UploadState::Terminated | UploadState::Expired => true,
            // One that has all its bytes is only waiting for us.
            UploadState::Open => self.expires_ms <= now_ms && self.offset < self.length,
            UploadState::Finished => false,
        }
    }

    /// How many bytes one request may add at a place.
    pub(super) fn room(
        &self,
        at: u64,
        announced: Option<u64>,
        chunk_max: u64,
        now_ms: i64,
    ) -> Result<u64, AppendRefusal> {
        if self.is_gone(now_ms) {
            return Err(AppendRefusal::Gone);
        }
        if at != self.offset {
            return Err(AppendRefusal::Offset { have: self.offset, asked: at });
        }
        let room = self.length - self.offset;
        match announced {
            Some(announced) if announced > room => {
                Err(AppendRefusal::BeyondLength { announced, room })
            }
            Some(announced) if announced > chunk_max => {
                Err(AppendRefusal::ChunkTooLong { announced, max: chunk_max })
            }
            _ => Ok(room.min(chunk_max)),
        }
    }
}

/// Reads an `Upload-Metadata` header; keys that we do not know are left alone.
pub(super) fn parse_metadata(header: &str, bytes_max: u64) -> Result<Metadata, MetadataError> {
    if header.len() as u64 > bytes_max {
        return Err(MetadataError::Length { bytes: header.len(), max: bytes_max });
    }
    let (mut filename, mut name, mut title) = (None, None, None);
    for (index, pair) in header.split(',').map(str::trim).enumerate() {
        if index == PAIRS_MAX {
            return Err(MetadataError::Pairs);
        }
        let (key, value) = pair.split_once(' ').unwrap_or((pair, ""));
        if key.is_empty() {
            if header.trim().is_empty() { break } else { return Err(MetadataError::Syntax) }
        }
        let value = BASE64_STANDARD.decode(value.trim()).map_err(|_| MetadataError::Syntax)?;
        match key {
            "filename" => set("filename", &mut filename, value)?,
            "name" => set("name", &mut name, value)?,
            "title" => set("title", &mut title, value)?,
            _ => {}
        }
    }
    // Some clients send `name` where others send `filename`; a path in it is nobody's business.
    let filename = filename.or(name).unwrap_or_default();
    let filename = filename.rsplit(['/', '\\']).next().unwrap_or_default().to_owned();
    Ok(Metadata { filename, title: title.unwrap_or_default() })
}

/// Reads an `Upload-Checksum` header.
pub(super) fn parse_checksum(header: &str) -> Result<[u8; 32], ChecksumError> {
    let (algorithm, digest) = header.trim().split_once(' ').ok_or(ChecksumError::Syntax)?;
    if algorithm != CHECKSUM_ALGORITHM {
        return Err(ChecksumError::Algorithm(algorithm.chars().take(32).collect()));
    }
    let digest = BASE64_STANDARD.decode(digest.trim()).map_err(|_| ChecksumError::Syntax)?;
    digest.try_into().map_err(|_| ChecksumError::Syntax)
}

fn set(key: &'static str, place: &mut Option<String>, value: Vec<u8>) -> Result<(), MetadataError> {
    if value.len() > TEXT_BYTES_MAX {
        return Err(MetadataError::Text { key, bytes: value.len() });
    }
    let text = String::from_utf8(value).map_err(|_| MetadataError::Characters(key))?;
    if text.chars().any(char::is_control) {
        return Err(MetadataError::Characters(key));
    }
    match place.replace(text.trim().to_owned()) {
        None => Ok(()),
        Some(_) => Err(MetadataError::Twice(key)),
    }
}

pub(super) const CHECKSUM_ALGORITHM: &str = "sha256";
const PAIRS_MAX: usize = 16;
const TEXT_BYTES_MAX: usize = 255;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn encode(text: &str) -> String {
        BASE64_STANDARD.encode(text)
    }

    #[test]
    fn metadata_says_the_name_and_the_title() {
        let header = format!(
            "filename {},filetype {}, title {},is_private",
            encode("C:\\clips\\cat.mp4"),
            encode("video/mp4"),
            encode(" Käse ")
        );
        let metadata = parse_metadata(&header, 4096).unwrap();
        assert_eq!((metadata.filename.as_str(), metadata.title.as_str()), ("cat.mp4", "Käse"));
        assert_eq!(parse_metadata("", 10), Ok(Metadata::default()));
        let named = parse_metadata(&format!("name {}", encode("a/b.mov")), 4096).unwrap();
        assert_eq!(named.filename, "b.mov");
    }

    #[test]
    fn metadata_has_limits() {
        let title = |text: &str| format!("title {}", encode(text));
        for (header, error) in [
            ("x".repeat(11), MetadataError::Length { bytes: 11, max: 10 }),
            ("a,b,,c".into(), MetadataError::Syntax),
            ("title !!!".into(), MetadataError::Syntax),
        ] {
            assert_eq!(parse_metadata(&header, 10), Err(error), "{header}");
        }
        for (header, error) in [
            (vec!["k"; 17].join(","), MetadataError::Pairs),
            (title(&"x".repeat(256)), MetadataError::Text { key: "title", bytes: 256 }),
            (title("a\nb"), MetadataError::Characters("title")),
            ("title //8=".into(), MetadataError::Characters("title")),
            (format!("{},{}", title("a"), title("b")), MetadataError::Twice("title")),
        ] {
            assert_eq!(parse_metadata(&header, 4096), Err(error), "{header}");
        }
    }

    #[test]
    fn a_checksum_names_its_algorithm() {
        let digest = BASE64_STANDARD.encode([7; 32]);
        assert_eq!(parse_checksum(&format!("sha256 {digest}")), Ok([7; 32]));
        assert_eq!(parse_checksum("md5 x"), Err(ChecksumError::Algorithm("md5".into())));
        for bad in ["", "sha256", "sha256 ", "sha256 AAAA", "sha256 !"] {
            assert_eq!(parse_checksum(bad), Err(ChecksumError::Syntax), "{bad}");
        }
    }

    fn upload(state: UploadState) -> Upload {
        Upload {
            id: UploadId::parse("u1").unwrap(),
            client: "demo".into(),
            state,
            length: 100,
            offset: 40,
            metadata: String::new(),
            filename: String::new(),
            title: String::new(),
            video: None,
            expires_ms: 1000,
        }
    }

    #[test]
    fn bytes_are_added_at_the_end_and_only_as_many_as_are_missing() {
        let open = upload(UploadState::Open);
        assert_eq!(open.room(40, Some(60), 100, 0), Ok(60));
        assert_eq!(open.room(40, None, 50, 0), Ok(50));
        assert_eq!(
            open.room(39, Some(1), 100, 0),
            Err(AppendRefusal::Offset { have: 40, asked: 39 })
        );
        assert_eq!(
            open.room(40, Some(61), 100, 0),
            Err(AppendRefusal::BeyondLength { announced: 61, room: 60 })
        );
        assert_eq!(
            open.room(40, Some(51), 50, 0),
            Err(AppendRefusal::ChunkTooLong { announced: 51, max: 50 })
        );
    }

    #[test]
    fn an_upload_expires_unless_it_has_all_its_bytes() {
        for (state, now_ms, is_gone) in [
            (UploadState::Open, 999, false),
            (UploadState::Open, 1000, true),
            (UploadState::Finished, 1000, false),
            (UploadState::Expired, 0, true),
            (UploadState::Terminated, 0, true),
        ] {
            assert_eq!(upload(state).is_gone(now_ms), is_gone, "{state:?} {now_ms}");
        }
        let whole = Upload { offset: 100, ..upload(UploadState::Open) };
        assert!(!whole.is_gone(2000));
    }

    proptest! {
        #[test]
        fn no_header_panics(header in ".*") {
            let _ = parse_metadata(&header, 4096);
            let _ = parse_checksum(&header);
        }
    }
}

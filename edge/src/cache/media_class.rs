//! What kind of media a resource is, as far as its name and type tell.
//!
//! Classes give defaults where the origin is silent, and bounds where keeping something does harm. Pure, without
//! allocation. Invariant: what is not certain is `Other`, and then only the origin's headers count.

/// A kind of media.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum MediaClass {
    /// A multivariant or media playlist, or an MPD.
    Manifest,
    /// An init segment.
    Init,
    /// A segment.
    Segment,
    /// A part of a segment of low-latency HLS.
    Part,
    /// Everything else, also whole files.
    Other,
}

impl MediaClass {
    /// The class of a resource by its path, with or without query, and by the type of the response if there is one.
    #[must_use]
    pub fn of(path: &str, content_type: Option<&str>) -> Self {
        let essence = content_type.map(|text| text.split(';').next().unwrap_or_default().trim());
        if essence.is_some_and(|essence| is_any(essence, MANIFEST_TYPES)) {
            return Self::Manifest;
        }
        let by_name = Self::of_name(path);
        let is_segment = essence.is_some_and(|essence| is_any(essence, SEGMENT_TYPES));
        if by_name == Self::Other && is_segment { Self::Segment } else { by_name }
    }

    /// The class in metrics and logs.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Manifest => "manifest",
            Self::Init => "init",
            Self::Segment => "segment",
            Self::Part => "part",
            Self::Other => "other",
        }
    }

    /// Whether it changes, or comes into being, while somebody waits for it.
    #[must_use]
    pub fn is_live_edge(self) -> bool {
        matches!(self, Self::Manifest | Self::Part)
    }

    /// Whether it is known to be media.
    #[must_use]
    pub fn is_media(self) -> bool {
        self != Self::Other
    }

    /// Whether it may be large enough to be fetched in slices.
    #[must_use]
    pub fn is_sliced(self) -> bool {
        matches!(self, Self::Segment | Self::Other)
    }

    fn of_name(path: &str) -> Self {
        let path = path.split('?').next().unwrap_or_default();
        let name = path.rsplit('/').next().unwrap_or_default();
        let Some((stem, extension)) = name.rsplit_once('.') else { return Self::Other };
        if is_any(extension, MANIFEST_EXTENSIONS) {
            return Self::Manifest;
        }
        let is_segment = is_any(extension, SEGMENT_EXTENSIONS);
        let is_file = is_any(extension, FILE_EXTENSIONS);
        let has = |words: &[&str]| words_of(stem).any(|word| is_any(word, words));
        let numbers = || words_of(stem).filter(|word| is_number(word)).count();
        if !is_segment && !is_file {
            Self::Other
        } else if has(&["init"]) || is_any(extension, &["cmfi", "m4i"]) {
            Self::Init
        } else if has(&["part", "filepart"]) && numbers() > 1 {
            Self::Part
        } else if is_segment || (has(SEGMENT_WORDS) && numbers() > 0) {
            Self::Segment
        } else {
            Self::Other
        }
    }
}

/// The words of a name: runs of letters and runs of digits.
fn words_of(stem: &str) -> impl Iterator<Item = &str> {
    let mut rest = stem;
    std::iter::from_fn(move || {
        rest = rest.trim_start_matches(|c: char| !c.is_ascii_alphanumeric());
        let is_digit = rest.chars().next()?.is_ascii_digit();
        let is_of_word = |c: char| c.is_ascii_alphanumeric() && c.is_ascii_digit() == is_digit;
        let end = rest.find(|c| !is_of_word(c)).unwrap_or(rest.len());
        let (word, tail) = rest.split_at(end);
        rest = tail;
        Some(word)
    })
}

fn is_number(word: &str) -> bool {
    word.starts_with(|c: char| c.is_ascii_digit())
}

fn is_any(text: &str, known: &[&str]) -> bool {
    known.iter().any(|known| known.eq_ignore_ascii_case(text))
}

const MANIFEST_TYPES: &[&str] = &[
    "application/vnd.apple.mpegurl",
    "application/x-mpegurl",
    "audio/mpegurl",
    "audio/x-mpegurl",
    "application/dash+xml",
    "application/vnd.ms-sstr+xml",
];
const SEGMENT_TYPES: &[&str] = &["video/iso.segment", "audio/iso.segment", "video/mp2t"];
const MANIFEST_EXTENSIONS: &[&str] = &["m3u8", "m3u", "mpd"];
/// Extensions that only pieces have.
const SEGMENT_EXTENSIONS: &[&str] =
    &["m4s", "ts", "cmfv", "cmfa", "cmft", "cmfm", "cmfi", "m4i", "m4f", "aac", "ac3", "ec3"];
/// Extensions that pieces and whole files have.
const FILE_EXTENSIONS: &[&str] = &["mp4", "m4v", "m4a", "webm", "vtt"];
const SEGMENT_WORDS: &[&str] = &["seg", "segment", "chunk", "frag", "fragment"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_types_tell_the_class() {
        for (path, content_type, expected) in [
            ("/v/a/main.m3u8", None, MediaClass::Manifest),
            ("/v/a/main.M3U8?_HLS_msn=7", None, MediaClass::Manifest),
            ("/v/a/manifest.mpd", None, MediaClass::Manifest),
            ("/play/a", Some("application/vnd.apple.mpegurl; charset=utf-8"), MediaClass::Manifest),
            ("/m/a/1/720p/init.mp4", None, MediaClass::Init),
            ("/m/init-stream0.m4s", None, MediaClass::Init),
            ("/m/video_init.cmfv", None, MediaClass::Init),
            ("/m/initial.mp4", None, MediaClass::Other),
            ("/m/a/1/720p/17.m4s", None, MediaClass::Segment),
            ("/m/seg-17.mp4", None, MediaClass::Segment),
            ("/m/segment12.ts", Some("video/mp2t"), MediaClass::Segment),
            ("/m/x/17", Some("video/iso.segment"), MediaClass::Segment),
            ("/m/filePart271.1.mp4", None, MediaClass::Part),
            ("/m/seg17.part3.m4s", None, MediaClass::Part),
            ("/m/part1.mp4", None, MediaClass::Other),
            ("/film.mp4", Some("video/mp4"), MediaClass::Other),
            ("/segment.mp4", None, MediaClass::Other),
            ("/", None, MediaClass::Other),
            ("/a.json?x=/b.m3u8", None, MediaClass::Other),
            ("/.m4s", None, MediaClass::Segment),
        ] {
            assert_eq!(MediaClass::of(path, content_type), expected, "{path}");
        }
    }

    #[test]
    fn any_name_has_a_class() {
        for path in ["/\u{e9}.m4s", "/init\u{e9}1.mp4", "/9\u{fc}part2.3.mp4", "", "?", "/..."] {
            let _ = MediaClass::of(path, Some("\u{e9}"));
        }
    }
}

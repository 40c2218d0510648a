//! Bodies become models. What thousands of players on one worker read is parsed once: the result of a parse is kept,
//! by the hash of the text and of where it came from, for as long as a player holds it.
//!
//! Invariant: what is remembered is what parsing would give again; nothing but time and memory depends on it.

use std::{
    any::Any,
    cell::RefCell,
    collections::HashMap,
    sync::{Arc, Weak},
};

use url::Url;

use super::timeline::Timeline;
use crate::manifest::{self, Format, ManifestError, Presentation, SegmentList, dash::Mpd, hls};

/// What a first document says.
#[derive(Debug, Clone)]
pub(super) struct Opened {
    pub(super) presentation: Arc<Presentation>,
    /// The first document is an MPD.
    pub(super) mpd: Option<Arc<Mpd>>,
    /// The first document was a media playlist already.
    pub(super) list: Option<Media>,
    /// BANDWIDTH of the variant that stands first: players begin with it.
    pub(super) first_bandwidth: Option<u64>,
}

/// What a media playlist says.
#[derive(Debug, Clone)]
pub(super) struct Media {
    pub(super) timeline: Arc<Timeline>,
    /// The whole list, where the next one may leave segments out that stand in it.
    pub(super) whole: Option<Arc<SegmentList>>,
}

/// Reads what the first address of a video gave.
pub(super) fn open(text: &[u8], base: &Url) -> Result<Opened, ManifestError> {
    match manifest::sniff(text)? {
        Format::Dash => {
            let mpd = remembered(&key("mpd", text, base), || Mpd::parse(text, base))?;
            let presentation =
                remembered(&key("presentation", text, base), || Ok(mpd.presentation()))?;
            Ok(Opened { presentation, mpd: Some(mpd), list: None, first_bandwidth: None })
        }
        Format::Hls => {
            let presentation =
                remembered(&key("multivariant", text, base), || hls::multivariant(text, base))?;
            let is_media = matches!(&presentation.variants[..], [only] if only.url == *base);
            let list = is_media.then(|| media(text, base, &presentation, None)).transpose()?;
            let first_bandwidth = first_bandwidth(text);
            Ok(Opened { presentation, mpd: None, list, first_bandwidth })
        }
    }
}

/// Reads a media playlist. `before` is the version that a delta update counts on.
pub(super) fn media(
    text: &[u8],
    base: &Url,
    presentation: &Presentation,
    before: Option<&SegmentList>,
) -> Result<Media, ManifestError> {
    // A reference never takes the query of its base, a variable may. Without it, players with tokens share.
    let mut place = base.clone();
    if !contains(text, b"#EXT-X-DEFINE") {
        place.set_query(None);
    }
    let read = |before| hls::media_importing(text, &place, before, &presentation.variables);
    if contains(text, b"#EXT-X-SKIP") {
        let list = read(before)?;
        return Ok(Media { timeline: Arc::new(Timeline::of(&list)), whole: Some(Arc::new(list)) });
    }
    if contains(text, b"CAN-SKIP-UNTIL") {
        let list = remembered(&key("whole", text, &place), || read(None))?;
        let timeline = remembered(&key("media", text, &place), || Ok(Timeline::of(&list)))?;
        return Ok(Media { timeline, whole: Some(list) });
    }
    let timeline = remembered(&key("media", text, &place), || Ok(Timeline::of(&read(None)?)))?;
    Ok(Media { timeline, whole: None })
}

/// What relative references in an answer are against: the address that was meant, without what this player added to
/// it, unless the answer came from elsewhere.
pub(super) fn base(answered: &Url, meant: &Url) -> Url {
    let is_same = answered.origin() == meant.origin() && answered.path() == meant.path();
    if is_same { meant.clone() } else { answered.clone() }
}

/// BANDWIDTH of the first EXT-X-STREAM-INF.
fn first_bandwidth(text: &[u8]) -> Option<u64> {
    let tag = b"#EXT-X-STREAM-INF:";
    let line = text.split(|byte| *byte == b'\n').find(|line| line.starts_with(tag))?;
    let line = std::str::from_utf8(line.trim_ascii()).ok()?;
    // AVERAGE-BANDWIDTH ends in the same word.
    let at =
        line.match_indices("BANDWIDTH=").find(|(at, _)| line[..*at].ends_with([':', ',', ' ']))?;
    let digits = &line[at.0 + "BANDWIDTH=".len()..];
    let end = digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len());
    digits[..end].parse().ok()
}

fn contains(text: &[u8], needle: &[u8]) -> bool {
    text.windows(needle.len()).any(|window| window == needle)
}

type Key = [u8; 32];

fn key(kind: &str, text: &[u8], base: &Url) -> Key {
    let mut hasher = blake3::Hasher::new();
    for field in [kind.as_bytes(), base.as_str().as_bytes(), text] {
        hasher.update(&(field.len() as u64).to_le_bytes());
        hasher.update(field);
    }
    *hasher.finalize().as_bytes()
}

/// The model of this key, if somebody still holds it; else a new one.
fn remembered<T: Any + Send + Sync>(
    key: &Key,
    make: impl FnOnce() -> Result<T, ManifestError>,
) -> Result<Arc<T>, ManifestError> {
    let known = MODELS.with_borrow(|models| models.get(key).and_then(Weak::upgrade));
    if let Some(known) = known.and_then(|model| model.downcast::<T>().ok()) {
        return Ok(known);
    }
    let made = Arc::new(make()?);
    let weak = Arc::downgrade(&made);
    MODELS.with_borrow_mut(|models| {
        if models.len() >= MODELS_MAX {
            models.retain(|_, model| model.strong_count() > 0);
        }
        if models.len() < MODELS_MAX {
            models.insert(*key, weak);
        }
    });
    Ok(made)
}

thread_local! {
    static MODELS: RefCell<HashMap<Key, Weak<dyn Any + Send + Sync>>> = RefCell::default();
}

/// Models that are remembered on one worker; more are parsed by each player for itself.
const MODELS_MAX: usize = 16_384;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_players_share_what_both_hold() {
        let text = b"#EXTM3U\n#EXT-X-TARGETDURATION:4\n#EXTINF:4,\na.ts\n#EXT-X-ENDLIST\n";
        let base = Url::parse("https://a.example/v/m.m3u8").unwrap();
        let show = open(text, &base).unwrap();
        let one = show.list.unwrap();
        let with_token = Url::parse("https://a.example/v/m.m3u8?t=1").unwrap();
        let two = media(text, &with_token, &show.presentation, None).unwrap();
        assert!(Arc::ptr_eq(&one.timeline, &two.timeline));
        let other = Url::parse("https://b.example/v/m.m3u8").unwrap();
        let three = media(text, &other, &show.presentation, None).unwrap();
        assert!(!Arc::ptr_eq(&one.timeline, &three.timeline), "another place, other URLs");
    }

    #[test]
    fn the_first_named_variant_is_found() {
        let table: [(&str, Option<u64>); 4] = [
            (
                "#EXTM3U\n#EXT-X-STREAM-INF:AVERAGE-BANDWIDTH=5,BANDWIDTH=7,CODECS=\"x\"\na\n\
              #EXT-X-STREAM-INF:BANDWIDTH=9\nb\n",
                Some(7),
            ),
            ("#EXTM3U\r\n#EXT-X-STREAM-INF:BANDWIDTH=7\r\na\r\n", Some(7)),
            ("#EXTM3U\n#EXT-X-STREAM-INF:AVERAGE-BANDWIDTH=5\na\n", None),
            ("#EXTM3U\n", None),
        ];
        for (text, want) in table {
            assert_eq!(first_bandwidth(text.as_bytes()), want, "{text}");
        }
    }
}

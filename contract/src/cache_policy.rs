//! What a property keeps and for how long.

use std::time::Duration;

use bytesize::ByteSize;
use serde::{Deserialize, Serialize};

/// The most parameters that [`QueryPolicy::Keep`] names.
pub const QUERY_NAMES_MAX: usize = 64;
/// The most entries of [`CachePolicy::negative_ttl`].
pub const NEGATIVE_MAX: usize = 32;
/// The most languages of [`VaryPolicy::accept_language`].
pub const LANGUAGES_MAX: usize = 64;
/// The most headers of [`VaryPolicy::ignore`].
pub const IGNORED_MAX: usize = 32;
/// The smallest slice: smaller ones cost more in requests than they save in bytes.
pub const SLICE_MIN: ByteSize = ByteSize::kib(64);
/// The largest slice: a larger one is fetched before a seek is answered, and held in memory while it arrives.
pub const SLICE_MAX: ByteSize = ByteSize::mib(64);
/// The most segments that are fetched ahead of one viewer.
pub const PREFETCH_SEGMENTS_MAX: u8 = 8;

/// What is kept and for how long, where the origin's own headers leave a choice.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CachePolicy {
    /// Whether anything is kept at all.
    pub enabled: bool,
    /// Freshness of a 200 that carries none; absent means that it is not kept without freshness.
    #[serde(with = "humantime_serde", skip_serializing_if = "Option::is_none")]
    pub default_ttl: Option<Duration>,
    /// How long a stale response may be served while it is revalidated, where the origin does not say. For manifests
    /// and parts at most as long as they were fresh: a viewer of a live event must not fall further behind.
    #[serde(with = "humantime_serde")]
    pub stale_while_revalidate: Duration,
    /// How long a stale response may be served when upstream fails, where the origin does not say.
    #[serde(with = "humantime_serde")]
    pub stale_if_error: Duration,
    /// How long a stale response may be served when upstream gives no answer at all, as RFC 9111 4.2.4 allows a cache
    /// by itself, unless the origin forbids it (`must-revalidate`, `proxy-revalidate`, `no-cache`, `s-maxage`) or says
    /// another time (`stale-if-error`). For manifests and parts at most as long as they were fresh.
    #[serde(with = "humantime_serde")]
    pub stale_if_unreachable: Duration,
    /// Whether a tenth of the time since `Last-Modified`, at most a day, counts as freshness where the origin says
    /// nothing (RFC 9111 4.2.2). Never for manifests and parts.
    pub heuristic: bool,
    /// Whether [`CachePolicy::media_ttl`] counts where the origin says nothing.
    pub media_defaults: bool,
    /// Whether requests may ask for fresher or staler than what is kept (`Cache-Control` of the client). Off, because
    /// any client could make every request a request to the origin; `only-if-cached` is followed always.
    pub client_directives: bool,
    /// Whether a response with `Set-Cookie` is kept.
    pub set_cookie: SetCookiePolicy,
    /// Whether what an unsafe method changed is forgotten (RFC 9111 4.4).
    pub invalidation: bool,
    /// How long an error answer for a segment or an init segment is kept at most, even if the origin says more: it may
    /// appear any moment. Those for manifests and parts are never kept.
    #[serde(with = "humantime_serde")]
    pub live_edge_negative_max: Duration,
    /// The size of the aligned pieces in which an object is fetched when a range of it is asked for first; 0 fetches
    /// objects whole. Manifests, init segments and parts are always fetched whole.
    #[serde(with = "off_is_zero")]
    pub slice: Option<ByteSize>,
    /// The largest object that is kept; larger ones pass through.
    pub object_bytes_max: ByteSize,
    /// Which query parameters are part of the cache key.
    pub query: QueryPolicy,
    /// How requests are compared for a response that varies.
    pub vary: VaryPolicy,
    /// Freshness of media by class, where the origin says nothing and `media_defaults` is on.
    pub media_ttl: MediaTtl,
    /// What is fetched before a viewer asks for it.
    pub prefetch: PrefetchPolicy,
    /// Freshness of error answers that carry none, by status.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub negative_ttl: Vec<NegativeTtl>,
}

/// Which query parameters are part of the cache key (and are sent upstream). In requests for HLS playlists, the
/// delivery directives `_HLS_msn`, `_HLS_part` and `_HLS_skip` are always among them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum QueryPolicy {
    /// All, in the order given.
    All,
    /// All, sorted by name; parameters of one name keep their order.
    Sorted,
    /// None.
    Drop,
    /// The named ones, sorted by name.
    Keep(Vec<String>),
}

/// Whether a response with `Set-Cookie` is kept: every viewer would get the same cookie.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SetCookiePolicy {
    /// Never.
    Never,
    /// Only when the origin means shared caches: `public`, `s-maxage`, `CDN-Cache-Control` or `Surrogate-Control`.
    #[default]
    Shared,
    /// Whenever the origin gives it freshness, which is all that RFC 9111 asks for.
    Fresh,
}

/// How requests are compared for a response that varies.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct VaryPolicy {
    /// Whether requests that accept the same content codings share a variant, however they write it and whatever they
    /// prefer. Off compares the header as it is.
    pub normalise_accept_encoding: bool,
    /// The languages that the origin has, best first; requests share a variant when the same one fits them best.
    /// Empty compares what the header means: without regard to order, case and space.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub accept_language: Vec<String>,
    /// Headers that do not count although the origin names them in `Vary`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ignore: Vec<String>,
}

/// Freshness by class of media.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MediaTtl {
    /// Of manifests. Whether one is of a live event is not seen from outside, so it is short enough for one.
    #[serde(with = "humantime_serde")]
    pub manifest: Duration,
    /// Of init segments.
    #[serde(with = "humantime_serde")]
    pub init: Duration,
    /// Of segments.
    #[serde(with = "humantime_serde")]
    pub segment: Duration,
    /// Of parts; players ask for one only in the seconds after it was made.
    #[serde(with = "humantime_serde")]
    pub part: Duration,
}

/// Freshness of one status.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NegativeTtl {
    /// The status, 400 to 599.
    pub status: u16,
    /// How long it is fresh.
    #[serde(with = "humantime_serde")]
    pub ttl: Duration,
}

/// What is fetched before a viewer asks for it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PrefetchPolicy {
    /// Segments of a rendition ahead of one that was asked for; 0 is off.
    pub segments: u8,
}

/// Why a cache policy is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CachePolicyError {
    /// A list that is too long.
    #[error("{0} has at most {1} entries")]
    TooMany(&'static str, usize),
    /// A slice outside its limits.
    #[error("slice is 0 or between {SLICE_MIN} and {SLICE_MAX}, not {0}")]
    Slice(ByteSize),
    /// A status that is no error, or one that is named twice.
    #[error("negative_ttl: {0} is no status from 400 to 599, or is named twice")]
    Status(u16),
    /// No language tag in lower case.
    #[error("vary.accept_language: {0:?} is no language tag in lower case")]
    Language(String),
    /// No header name in lower case.
    #[error("vary.ignore: {0:?} is no header name in lower case")]
    Header(String),
    /// More segments than may be fetched ahead.
    #[error("prefetch.segments is at most {PREFETCH_SEGMENTS_MAX}, not {0}")]
    Prefetch(u8),
}

impl CachePolicy {
    /// All that RFC 9111 lets a shared cache do by itself, for an origin whose headers mean what they say: cookies are
    /// kept with what is fresh, and a stale response is served for an hour when upstream is away.
    #[must_use]
    pub fn by_the_letter() -> Self {
        Self {
            set_cookie: SetCookiePolicy::Fresh,
            stale_if_unreachable: Duration::from_secs(60 * 60),
            ..Self::default()
        }
    }

    /// Checks what the types cannot.
    ///
    /// # Errors
    /// The first [`CachePolicyError`] found.
    pub fn check(&self) -> Result<(), CachePolicyError> {
        let kept = match &self.query {
            QueryPolicy::Keep(names) => names.len(),
            QueryPolicy::All | QueryPolicy::Sorted | QueryPolicy::Drop => 0,
        };
        for (name, length, max) in [
            ("query.keep", kept, QUERY_NAMES_MAX),
            ("negative_ttl", self.negative_ttl.len(), NEGATIVE_MAX),
            ("vary.accept_language", self.vary.accept_language.len(), LANGUAGES_MAX),
            ("vary.ignore", self.vary.ignore.len(), IGNORED_MAX),
        ] {
            if length > max {
                return Err(CachePolicyError::TooMany(name, max));
            }
        }
        if let Some(slice) = self.slice.filter(|slice| *slice < SLICE_MIN || *slice > SLICE_MAX) {
            return Err(CachePolicyError::Slice(slice));
        }
        if self.prefetch.segments > PREFETCH_SEGMENTS_MAX {
            return Err(CachePolicyError::Prefetch(self.prefetch.segments));
        }
        self.check_negative()?;
        self.vary.check()
    }

    fn check_negative(&self) -> Result<(), CachePolicyError> {
        for (at, entry) in self.negative_ttl.iter().enumerate() {
            let is_repeated = self.negative_ttl[..at].iter().any(|e| e.status == entry.status);
            if is_repeated || !(400..=599).contains(&entry.status) {
                return Err(CachePolicyError::Status(entry.status));
            }
        }
        Ok(())
    }
}

impl VaryPolicy {
    fn check(&self) -> Result<(), CachePolicyError> {
        let is_tag = |text: &str| {
            !text.is_empty()
                && text.len() <= TAG_BYTES_MAX
                && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        };
        if let Some(tag) = self.accept_language.iter().find(|tag| !is_tag(tag)) {
            return Err(CachePolicyError::Language(tag.clone()));
        }
        if let Some(name) = self.ignore.iter().find(|name| !is_tag(name)) {
            return Err(CachePolicyError::Header(name.clone()));
        }
        Ok(())
    }
}

impl Default for CachePolicy {
    fn default() -> Self {
        Self {
            enabled: true,
            default_ttl: None,
            stale_while_revalidate: Duration::ZERO,
            stale_if_error: Duration::ZERO,
            stale_if_unreachable: Duration::ZERO,
            heuristic: true,
            media_defaults: false,
            client_directives: false,
            set_cookie: SetCookiePolicy::default(),
            invalidation: true,
            live_edge_negative_max: Duration::from_secs(1),
            slice: Some(ByteSize::mib(1)),
            object_bytes_max: ByteSize::mib(256),
            query: QueryPolicy::All,
            vary: VaryPolicy::default(),
            media_ttl: MediaTtl::default(),
            prefetch: PrefetchPolicy::default(),
            negative_ttl: Vec::new(),
        }
    }
}

impl Default for VaryPolicy {
    fn default() -> Self {
        Self { normalise_accept_encoding: true, accept_language: Vec::new(), ignore: Vec::new() }
    }
}

impl Default for MediaTtl {
    fn default() -> Self {
        Self {
            manifest: Duration::from_secs(1),
            init: Duration::from_secs(24 * 60 * 60),
            segment: Duration::from_secs(60 * 60),
            part: Duration::from_secs(60),
        }
    }
}

/// A size that may be switched off, written as 0, because TOML has no word for nothing.
mod off_is_zero {
    use bytesize::ByteSize;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    #[expect(clippy::ref_option, reason = "serde hands over a reference to the field")]
    pub(super) fn serialize<S: Serializer>(
        size: &Option<ByteSize>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        size.unwrap_or(ByteSize(0)).serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<ByteSize>, D::Error> {
        let size = ByteSize::deserialize(deserializer)?;
        Ok((size != ByteSize(0)).then_some(size))
    }
}

/// The longest language tag or header name.
const TAG_BYTES_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> CachePolicy {
        serde_json::from_str(json).expect("a policy")
    }

    #[test]
    fn what_is_left_out_has_its_default_and_what_is_written_is_read_again() {
        assert_eq!(read("{}"), CachePolicy::default());
        let policy = CachePolicy {
            slice: None,
            query: QueryPolicy::Sorted,
            set_cookie: SetCookiePolicy::Fresh,
            negative_ttl: vec![NegativeTtl { status: 404, ttl: Duration::from_secs(5) }],
            vary: VaryPolicy { accept_language: vec!["de".into()], ..VaryPolicy::default() },
            prefetch: PrefetchPolicy { segments: 2 },
            ..CachePolicy::default()
        };
        assert_eq!(read(&serde_json::to_string(&policy).expect("plain data")), policy);
        assert_eq!(policy.check(), Ok(()));
    }

    #[test]
    fn a_slice_of_nothing_is_off() {
        assert_eq!(read(r#"{"slice":"0B"}"#).slice, None);
        assert_eq!(read(r#"{"slice":0}"#).slice, None);
        assert_eq!(read(r#"{"slice":"2MiB"}"#).slice, Some(ByteSize::mib(2)));
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        for (json, expected) in [
            (r#"{"slice":"1KiB"}"#, CachePolicyError::Slice(ByteSize::kib(1))),
            (r#"{"slice":"1GiB"}"#, CachePolicyError::Slice(ByteSize::gib(1))),
            (r#"{"negative_ttl":[{"status":200,"ttl":"1s"}]}"#, CachePolicyError::Status(200)),
            (
                r#"{"negative_ttl":[{"status":404,"ttl":"1s"},{"status":404,"ttl":"2s"}]}"#,
                CachePolicyError::Status(404),
            ),
            (r#"{"vary":{"accept_language":["DE"]}}"#, CachePolicyError::Language("DE".into())),
            (
                r#"{"vary":{"ignore":["user agent"]}}"#,
                CachePolicyError::Header("user agent".into()),
            ),
            (r#"{"prefetch":{"segments":9}}"#, CachePolicyError::Prefetch(9)),
        ] {
            assert_eq!(read(json).check(), Err(expected), "{json}");
        }
        let names = QueryPolicy::Keep(vec![String::new(); QUERY_NAMES_MAX + 1]);
        let policy = CachePolicy { query: names, ..CachePolicy::default() };
        assert_eq!(policy.check(), Err(CachePolicyError::TooMany("query.keep", QUERY_NAMES_MAX)));
    }
}

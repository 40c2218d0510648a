//! Which bytes a request gets, and what they are called: conditions and ranges of RFC 9110. Values in, values out.

use std::{ops::Range, time::SystemTime};

use tidegate_contract::{
    id::MediaId,
    media_path::{ManifestName, MediaObject},
    surrogate_key::{SurrogateKey, format_list},
};

/// The headers of a request that decide which bytes it gets.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Conditions<'a> {
    pub(super) if_none_match: Option<&'a str>,
    pub(super) if_range: Option<&'a str>,
    pub(super) range: Option<&'a str>,
}

/// What a request gets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Selection {
    /// Everything.
    Whole,
    /// A part (206).
    Part(Range<u64>),
    /// What it has is what there is (304).
    NotModified,
    /// A range behind the end (416).
    Unsatisfiable,
}

impl Conditions<'_> {
    /// Chooses the bytes of a representation with a strong entity tag.
    pub(super) fn select(&self, etag: &str, modified: Option<SystemTime>, bytes: u64) -> Selection {
        if self.if_none_match.is_some_and(|list| names_tag(list, etag)) {
            return Selection::NotModified;
        }
        // A range of something else than what the client has the rest of is of no use to it.
        let is_same = self.if_range.is_none_or(|validator| is_validator(validator, etag, modified));
        match self.range.filter(|_| is_same) {
            Some(range) => select_range(range, bytes),
            None => Selection::Whole,
        }
    }
}

/// Media type of an object.
pub(super) fn object_type(object: &MediaObject) -> &'static str {
    match object {
        MediaObject::Init(rendition) | MediaObject::Segment(rendition, _) => {
            if rendition.as_str().starts_with("audio") { "audio/mp4" } else { "video/mp4" }
        }
        MediaObject::Image(name) => match name.as_str().rsplit('.').next() {
            Some("jpg" | "jpeg") => "image/jpeg",
            Some("webp") => "image/webp",
            Some("png") => "image/png",
            Some("vtt") => "text/vtt; charset=utf-8",
            _ => "application/octet-stream",
        },
    }
}

/// Media type of a manifest.
pub(super) fn manifest_type(name: &ManifestName) -> &'static str {
    match name {
        ManifestName::Multivariant | ManifestName::Media(_) => "application/vnd.apple.mpegurl",
        ManifestName::Mpd => "application/dash+xml",
    }
}

/// Surrogate keys of an object.
pub(super) fn object_keys(media: &MediaId, object: &MediaObject) -> String {
    let mut keys = vec![SurrogateKey::media(media)];
    if let MediaObject::Init(rendition) | MediaObject::Segment(rendition, _) = object {
        keys.push(SurrogateKey::rendition(media, rendition));
    }
    format_list(&keys)
}

/// The kind of an object in metrics.
pub(super) fn object_kind(object: &MediaObject) -> &'static str {
    match object {
        MediaObject::Init(_) => "init",
        MediaObject::Segment(..) => "segment",
        MediaObject::Image(_) => "image",
    }
}

/// `If-None-Match` compares weakly (RFC 9110, 13.1.2).
fn names_tag(list: &str, etag: &str) -> bool {
    list.split(',')
        .map(str::trim)
        .any(|tag| tag == "*" || tag.strip_prefix("W/").unwrap_or(tag) == etag)
}

/// `If-Range` compares strongly, a date exactly (RFC 9110, 13.1.5).
fn is_validator(validator: &str, etag: &str, modified: Option<SystemTime>) -> bool {
    validator == etag || modified.is_some_and(|m| validator == httpdate::fmt_http_date(m))
}

/// One range of bytes. What is no range, or more than one, may be ignored (RFC 9110, 14.2): the client gets all.
fn select_range(header: &str, bytes: u64) -> Selection {
    let Some(spec) = header.trim().strip_prefix("bytes=") else { return Selection::Whole };
    let Some((first, last)) = spec.trim().split_once('-') else { return Selection::Whole };
    let number = |text: &str| {
        let is_digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        // More digits than fit name a place behind every end.
        is_digits.then(|| text.parse::<u64>().unwrap_or(u64::MAX))
    };
    let range = match (first.trim(), last.trim()) {
        ("", suffix) => match number(suffix) {
            Some(length) => bytes.saturating_sub(length)..bytes,
            None => return Selection::Whole,
        },
        (first, "") => match number(first) {
            Some(first) => first..bytes,
            None => return Selection::Whole,
        },
        (first, last) => match (number(first), number(last)) {
            (Some(first), Some(last)) if first <= last => first..last.saturating_add(1).min(bytes),
            _ => return Selection::Whole,
        },
    };
    if range.is_empty() { Selection::Unsatisfiable } else { Selection::Part(range) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tidegate_contract::media_path::MediaPath;

    use super::*;

    const ETAG: &str = "\"a\"";

    #[test]
    fn one_range_is_served_and_what_is_no_range_gets_everything() {
        use Selection::{Part, Unsatisfiable, Whole};
        for (header, expected) in [
            ("bytes=0-0", Part(0..1)),
            ("bytes=0-9", Part(0..10)),
            ("bytes=5-", Part(5..10)),
            ("bytes=5-999", Part(5..10)),
            ("bytes=-3", Part(7..10)),
            ("bytes=-99", Part(0..10)),
            ("bytes=9-99999999999999999999999", Part(9..10)),
            ("bytes=10-", Unsatisfiable),
            ("bytes=10-11", Unsatisfiable),
            ("bytes=-0", Unsatisfiable),
            ("bytes=99999999999999999999999-", Unsatisfiable),
            ("bytes=5-4", Whole),
            ("bytes=0-1,3-4", Whole),
            ("bytes=", Whole),
            ("bytes=-", Whole),
            ("bytes=+1-2", Whole),
            ("bytes=a-b", Whole),
            ("lines=0-1", Whole),
            ("", Whole),
        ] {
            assert_eq!(select_range(header, 10), expected, "{header:?}");
        }
        assert_eq!(select_range("bytes=0-", 0), Unsatisfiable);
    }

    #[test]
    fn conditions_are_looked_at_before_ranges() {
        let modified = Some(SystemTime::UNIX_EPOCH);
        let check = |if_none_match, if_range, expected: Selection| {
            let conditions = Conditions { if_none_match, if_range, range: Some("bytes=1-2") };
            assert_eq!(conditions.select(ETAG, modified, 10), expected, "{conditions:?}");
        };
        for list in ["\"a\"", "W/\"a\"", "\"x\", \"a\"", "*"] {
            check(Some(list), None, Selection::NotModified);
        }
        check(Some("\"b\""), None, Selection::Part(1..3));
        check(None, Some("\"a\""), Selection::Part(1..3));
        check(None, Some("Thu, 01 Jan 1970 00:00:00 GMT"), Selection::Part(1..3));
        check(None, Some("W/\"a\""), Selection::Whole);
        check(None, Some("\"b\""), Selection::Whole);
        check(None, Some("Thu, 01 Jan 1970 00:00:01 GMT"), Selection::Whole);
    }

    proptest! {
        #[test]
        fn a_part_lies_inside_of_the_whole(header in "bytes=[0-9]{0,4}-[0-9]{0,4}", bytes in 0_u64..2000) {
            if let Selection::Part(range) = select_range(&header, bytes) {
                prop_assert!(range.start < range.end && range.end <= bytes);
            }
        }

        #[test]
        fn no_header_panics(header in ".*", bytes: u64) {
            let _ = select_range(&header, bytes);
        }
    }

    #[test]
    fn an_object_has_its_type_and_its_keys() {
        for (path, media_type, keys) in [
            ("/m/m1/1/720p/init.mp4", "video/mp4", "media-m1 rendition-m1-720p"),
            ("/m/m1/1/audio/3.m4s", "audio/mp4", "media-m1 rendition-m1-audio"),
            ("/m/m1/1/image/thumb-1.webp", "image/webp", "media-m1"),
            ("/m/m1/1/image/sprite.vtt", "text/vtt; charset=utf-8", "media-m1"),
        ] {
            let Ok(MediaPath::Object { media, object, .. }) = path.parse() else {
                panic!("{path}")
            };
            assert_eq!(
                (object_type(&object), object_keys(&media, &object).as_str()),
                (media_type, keys)
            );
        }
    }
}

//! Entity tags and their two comparisons (RFC 9110 8.8.3).
//!
//! A tag without quotes is compared as it is: it was made by a server that will get it back the same way.
//! Invariant: a weak tag is never strongly equal to anything.

use super::list::plain_members;

/// An entity tag as it stands in a header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EntityTag<'a> {
    is_weak: bool,
    opaque: &'a [u8],
}

impl<'a> EntityTag<'a> {
    /// Reads one tag.
    #[must_use]
    pub fn read(text: &'a [u8]) -> Self {
        let text = text.trim_ascii();
        match text.strip_prefix(b"W/") {
            Some(opaque) => Self { is_weak: true, opaque },
            None => Self { is_weak: false, opaque: text },
        }
    }

    /// Whether it is strong, and not empty.
    #[must_use]
    pub fn is_strong(&self) -> bool {
        !self.is_weak && !self.opaque.is_empty()
    }

    /// Whether both stand for the same representation, byte for byte.
    #[must_use]
    pub fn is_strongly(&self, other: &EntityTag<'_>) -> bool {
        self.is_strong() && other.is_strong() && self.opaque == other.opaque
    }

    /// Whether both stand for representations that may take each other's place.
    #[must_use]
    pub fn is_weakly(&self, other: &EntityTag<'_>) -> bool {
        !self.opaque.is_empty() && self.opaque == other.opaque
    }
}

/// The tags of a list such as `If-None-Match`.
pub fn list(value: &[u8]) -> impl Iterator<Item = EntityTag<'_>> {
    plain_members(value)
        .filter(|member| !member.text.is_empty())
        .map(|member| EntityTag::read(member.text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_comparisons() {
        for (a, b, strongly, weakly) in [
            ("\"1\"", "\"1\"", true, true),
            ("W/\"1\"", "\"1\"", false, true),
            ("W/\"1\"", "W/\"1\"", false, true),
            ("\"1\"", "\"2\"", false, false),
            ("w/\"1\"", "\"1\"", false, false),
            ("1", "\"1\"", false, false),
            ("1", "1", true, true),
            ("", "", false, false),
            ("W/", "W/", false, false),
        ] {
            let (a, b) = (EntityTag::read(a.as_bytes()), EntityTag::read(b.as_bytes()));
            assert_eq!(a.is_strongly(&b), strongly, "{a:?} {b:?}");
            assert_eq!(a.is_weakly(&b), weakly, "{a:?} {b:?}");
        }
    }

    #[test]
    fn a_list_may_have_commas_in_its_tags() {
        let tags: Vec<_> = list(b"\"a,b\", W/\"c\",, \"d\\\"").collect();
        assert_eq!(tags.len(), 3);
        assert!(tags[0].is_strongly(&EntityTag::read(b"\"a,b\"")));
        assert!(tags[2].is_strongly(&EntityTag::read(b"\"d\\\"")));
    }
}

//! Matching texts, and the parts of a URI that a token can match (`catu`).
//!
//! Invariant: a path that is not plain ([`crate::guard::plain_path`]) matches nothing, so that no `..` leads out of
//! what a token opens.

use aws_lc_rs::digest;
use tidegate_contract::playback_token::uri;

use crate::guard::plain_path::plain;

/// What a text must be. Several of one part must all hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Match {
    /// This.
    Exact(String),
    /// Beginning with this.
    Prefix(String),
    /// Ending with this.
    Suffix(String),
    /// Containing this.
    Contains(String),
    /// With this SHA-256.
    Sha256([u8; 32]),
}

/// A part of a URI.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// `http` or `https`.
    Scheme,
    /// The host.
    Host,
    /// The port, written or not.
    Port,
    /// The path.
    Path,
    /// The query without token and CMCD.
    Query,
    /// The path without its last segment.
    ParentPath,
    /// The last segment.
    Filename,
    /// The last segment without extension.
    Stem,
    /// The extension with its dot.
    Extension,
}

/// The URI of a request, without what is for the door alone.
#[derive(Debug, Clone, Copy)]
pub struct Uri<'a> {
    /// `http` or `https`.
    pub scheme: &'a str,
    /// In lower case, without port.
    pub host: &'a str,
    /// The port that was asked for.
    pub port: u16,
    /// As it was sent.
    pub path: &'a str,
    /// As it was sent.
    pub query: &'a str,
}

impl Match {
    /// Whether a text is what it must be.
    #[must_use]
    pub fn holds(&self, text: &str) -> bool {
        match self {
            Self::Exact(exact) => text == exact,
            Self::Prefix(prefix) => text.starts_with(prefix.as_str()),
            Self::Suffix(suffix) => text.ends_with(suffix.as_str()),
            Self::Contains(part) => text.contains(part.as_str()),
            Self::Sha256(hash) => digest::digest(&digest::SHA256, text.as_bytes()).as_ref() == hash,
        }
    }

    /// The match of a hash, given as bytes or as hexadecimal digits.
    #[must_use]
    pub fn sha256(hash: &[u8]) -> Option<Self> {
        let mut bytes = [0; 32];
        match hash.len() {
            32 => bytes.copy_from_slice(hash),
            64 => hex::decode_to_slice(hash, &mut bytes).ok()?,
            _ => return None,
        }
        Some(Self::Sha256(bytes))
    }
}

impl Part {
    /// The part of a label.
    #[must_use]
    pub fn of(label: i64) -> Option<Self> {
        Some(match label {
            uri::SCHEME => Self::Scheme,
            uri::HOST => Self::Host,
            uri::PORT => Self::Port,
            uri::PATH => Self::Path,
            uri::QUERY => Self::Query,
            uri::PARENT_PATH => Self::ParentPath,
            uri::FILENAME => Self::Filename,
            uri::STEM => Self::Stem,
            uri::EXTENSION => Self::Extension,
            _ => return None,
        })
    }

    fn is_of_path(self) -> bool {
        !matches!(self, Self::Scheme | Self::Host | Self::Port | Self::Query)
    }
}

impl Uri<'_> {
    /// Whether every part is what it must be.
    #[must_use]
    pub fn is_within(&self, parts: &[(Part, Vec<Match>)]) -> bool {
        if parts.iter().any(|(part, _)| part.is_of_path()) && plain(self.path).is_none() {
            return false;
        }
        parts.iter().all(|(part, matches)| self.is_part(*part, matches))
    }

    fn is_part(&self, part: Part, matches: &[Match]) -> bool {
        let all = |text: &str| matches.iter().all(|one| one.holds(text));
        let (parent, filename) = self.path.rsplit_once('/').unwrap_or(("", self.path));
        // A name without a dot, or with one in front alone, has no extension.
        let dot = filename.rfind('.').filter(|at| *at > 0).unwrap_or(filename.len());
        match part {
            Part::Scheme => all(self.scheme),
            Part::Host => all(self.host),
            Part::Port => all(self.port.to_string().as_str()),
            Part::Path => all(self.path),
            Part::Query => all(self.query),
            // Implementations differ in whether it ends with the slash: either is taken.
            Part::ParentPath => all(parent) || self.path.get(..=parent.len()).is_some_and(all),
            Part::Filename => all(filename),
            Part::Stem => all(&filename[..dot]),
            Part::Extension => all(&filename[dot..]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn within(path: &str, part: Part, one: Match) -> bool {
        let uri = Uri { scheme: "https", host: "a.org", port: 443, path, query: "b=1" };
        uri.is_within(&[(part, vec![one])])
    }

    #[test]
    fn every_part_is_matched() {
        let exact = |text: &str| Match::Exact(text.to_owned());
        let path = "/v/1/720p/seg.1.m4s";
        for (part, text) in [
            (Part::Scheme, "https"),
            (Part::Host, "a.org"),
            (Part::Port, "443"),
            (Part::Path, path),
            (Part::Query, "b=1"),
            (Part::ParentPath, "/v/1/720p"),
            (Part::ParentPath, "/v/1/720p/"),
            (Part::Filename, "seg.1.m4s"),
            (Part::Stem, "seg.1"),
            (Part::Extension, ".m4s"),
        ] {
            assert!(within(path, part, exact(text)), "{part:?} {text}");
            assert!(!within(path, part, exact("other")), "{part:?}");
        }
        assert!(within("/", Part::ParentPath, exact("/")));
        assert!(within("/.x", Part::Extension, exact("")));
    }

    #[test]
    fn every_match_matches() {
        let hash = digest::digest(&digest::SHA256, b"/v/1/a.mp4");
        let hex = hex::encode(hash.as_ref());
        for (one, expected) in [
            (Match::Prefix("/v/1/".into()), true),
            (Match::Prefix("/v/2/".into()), false),
            (Match::Suffix(".mp4".into()), true),
            (Match::Suffix(".m4s".into()), false),
            (Match::Contains("/1/".into()), true),
            (Match::Contains("/2/".into()), false),
            (Match::sha256(hash.as_ref()).unwrap(), true),
            (Match::sha256(hex.as_bytes()).unwrap(), true),
            (Match::Sha256([0; 32]), false),
        ] {
            assert_eq!(within("/v/1/a.mp4", Part::Path, one.clone()), expected, "{one:?}");
        }
        assert_eq!(Match::sha256(b"short"), None);
    }

    #[test]
    fn no_way_leads_out_of_a_prefix() {
        let prefix = || Match::Prefix("/v/1/".into());
        for path in ["/v/1/../2/a", "/v/1/%2e%2e/2", "/v/1/..%2f2", "/v/1/..;/2", "/v/1\\..\\2"] {
            assert!(!within(path, Part::Path, prefix()), "{path}");
        }
        assert!(within("/v/1/a%20b", Part::Path, prefix()));
    }
}

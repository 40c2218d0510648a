//! Why a manifest cannot be played, and on which line. Never quotes a URL: it may carry a token.

use std::fmt;

/// A manifest that cannot be played.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}{what}", Place(*.line))]
pub struct ManifestError {
    /// Counted from 1; `None` when it is about the whole document.
    pub line: Option<u32>,
    pub what: Fault,
}

/// What is wrong with it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    #[error("it is neither an HLS playlist nor an MPD")]
    NotAManifest,
    #[error("a multivariant playlist stands where a media playlist should")]
    NotAMediaPlaylist,
    #[error("{0} is missing")]
    Missing(&'static str),
    #[error("{what} cannot be {value:?}")]
    Invalid { what: &'static str, value: String },
    #[error("the URL of {0} cannot be used")]
    Url(&'static str),
    #[error("there are more than {limit} {what}")]
    TooMany { what: &'static str, limit: u64 },
    #[error("{0} is not supported")]
    Unsupported(&'static str),
    #[error("the variable {0:?} is not defined")]
    Undefined(String),
    /// The whole playlist is to be asked for.
    #[error("it leaves out segments that the playlist before did not have")]
    SkippedUnknown,
    /// `Mpd::index` says what to fetch.
    #[error("its segments stand in an index that was not read yet")]
    NeedsIndex,
    #[error("it has no representation {0:?}")]
    UnknownRepresentation(String),
    #[error("it is not well-formed: {0}")]
    Syntax(String),
}

impl Fault {
    /// On a line.
    pub(super) fn at(self, line: u32) -> ManifestError {
        ManifestError { line: Some(line), what: self }
    }

    /// A value that makes no sense; the beginning of it is quoted.
    pub(super) fn invalid(what: &'static str, value: &str) -> Self {
        Self::Invalid { what, value: excerpt(value) }
    }

    pub(super) fn too_many(what: &'static str, limit: usize) -> Self {
        Self::TooMany { what, limit: u64::try_from(limit).unwrap_or(u64::MAX) }
    }
}

impl From<Fault> for ManifestError {
    fn from(what: Fault) -> Self {
        Self { line: None, what }
    }
}

/// The beginning of a text, for people.
pub(super) fn excerpt(text: &str) -> String {
    match text.char_indices().nth(EXCERPT_CHARS) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

struct Place(Option<u32>);

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.map_or(Ok(()), |line| write!(f, "line {line}: "))
    }
}

const EXCERPT_CHARS: usize = 40;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_names_the_line_and_little_of_the_value() {
        let long = "9".repeat(500);
        let error = Fault::invalid("BANDWIDTH", &long).at(7);
        assert_eq!(
            error.to_string(),
            format!("line 7: BANDWIDTH cannot be \"{}…\"", "9".repeat(40))
        );
        let whole = ManifestError::from(Fault::Missing("EXT-X-TARGETDURATION"));
        assert_eq!(whole.to_string(), "EXT-X-TARGETDURATION is missing");
    }
}

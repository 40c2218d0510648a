//! What clients of a node ask for most: the properties and the paths with the most requests and bytes of a short time.
//!
//! Invariant: a path has neither a query nor anything that is not printable ASCII, and however many paths clients make up,
//! a message has at most [`ASKED_MAX`] of them.

use serde::{Deserialize, Serialize};

use crate::id::PropertyId;

/// The most properties, and the most paths, of one message.
pub const ASKED_MAX: usize = 50;
/// Longer paths are cut.
pub const PATH_BYTES_MAX: usize = 200;
/// The largest message, in bytes of JSON.
pub const DEMAND_BYTES_MAX: usize = 48 * 1024;
/// What a control plane that takes this says in the head of its answer on the telemetry lane; see
/// [`crate::geo_feed::TAKES_ROUND_TRIPS`].
pub const TAKES_DEMAND: &str = "tidegate-takes-demand";

/// What clients asked for in a while.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Demand {
    /// How long the while was.
    pub period_ms: u64,
    /// Properties, the busiest first.
    pub properties: Vec<Asked>,
    /// Paths, the busiest first.
    pub assets: Vec<Asked>,
}

/// How much was asked for one thing. Of what is rare the figures may be too low, never too high but by chance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Asked {
    /// The property.
    pub property: PropertyId,
    /// The path; empty when the whole property is meant.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub path: String,
    /// Requests that ended.
    pub requests: u64,
    /// Body bytes that were sent.
    pub bytes: u64,
}

/// Bytes that are no message.
#[derive(Debug, thiserror::Error)]
pub enum DemandError {
    /// Larger than [`DEMAND_BYTES_MAX`].
    #[error("at most {DEMAND_BYTES_MAX} bytes, not {0}")]
    Size(usize),
    /// Not the JSON of it.
    #[error("cannot be read: {0}")]
    Syntax(#[from] serde_json::Error),
    /// More than [`ASKED_MAX`].
    #[error("at most {ASKED_MAX} properties and paths each, not {0}")]
    Asked(usize),
    /// A path that is none, or not as it was shown.
    #[error("not the path of a resource")]
    Path,
}

impl Demand {
    /// The bytes that travel.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("demand holds only strings and numbers")
    }

    /// Reads what somebody else wrote.
    ///
    /// # Errors
    /// [`DemandError`]
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, DemandError> {
        if bytes.len() > DEMAND_BYTES_MAX {
            return Err(DemandError::Size(bytes.len()));
        }
        let demand: Self = serde_json::from_slice(bytes)?;
        let most = demand.properties.len().max(demand.assets.len());
        if most > ASKED_MAX {
            return Err(DemandError::Asked(most));
        }
        let is_good = demand.properties.iter().all(|asked| asked.path.is_empty())
            && demand.assets.iter().all(|asked| shown_path(&asked.path) == asked.path);
        if is_good { Ok(demand) } else { Err(DemandError::Path) }
    }
}

/// A path as it is shown: without a query, of printable ASCII, and cut where it is too long.
#[must_use]
pub fn shown_path(path: &str) -> &str {
    let is_shown = |byte: u8| byte.is_ascii_graphic() && byte != b'?';
    let end = path.bytes().take(PATH_BYTES_MAX).take_while(|byte| is_shown(*byte)).count();
    &path[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(path: &str) -> Asked {
        let property = PropertyId::parse("demo").expect("good");
        Asked { property, path: path.to_owned(), requests: 1, bytes: 2 }
    }

    #[test]
    fn what_is_told_is_read_and_what_is_too_much_or_shows_too_much_is_not() {
        let long = "/".repeat(PATH_BYTES_MAX);
        let whole = Demand {
            period_ms: 1,
            properties: vec![asked(""); ASKED_MAX],
            assets: vec![asked(&long); ASKED_MAX],
        };
        let bytes = whole.to_bytes();
        assert!(bytes.len() < DEMAND_BYTES_MAX, "{}", bytes.len());
        assert_eq!(Demand::from_bytes(&bytes).expect("readable"), whole);
        let none = Demand::default();
        for (wrong, why) in [
            (Demand { assets: vec![asked("/a"); ASKED_MAX + 1], ..none.clone() }, "at most"),
            (Demand { assets: vec![asked("/a?token=x")], ..none.clone() }, "path"),
            (Demand { assets: vec![asked("/a\nb")], ..none.clone() }, "path"),
            (
                Demand { assets: vec![asked(&"/".repeat(PATH_BYTES_MAX + 1))], ..none.clone() },
                "path",
            ),
            (Demand { properties: vec![asked("/a")], ..none }, "path"),
        ] {
            let error = Demand::from_bytes(&wrong.to_bytes()).expect_err(why).to_string();
            assert!(error.contains(why), "{error}");
        }
        assert!(Demand::from_bytes(&[b' '; DEMAND_BYTES_MAX + 1]).is_err());
    }

    #[test]
    fn a_path_is_shown_without_what_is_secret_or_strange() {
        for (path, shown) in [("/a/b.m4s", "/a/b.m4s"), ("/a?sig=1", "/a"), ("/é", "/"), ("", "")]
        {
            assert_eq!(shown_path(path), shown);
        }
    }
}

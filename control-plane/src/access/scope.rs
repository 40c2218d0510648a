//! What a bearer may do, and to what: verbs, each on everything or on what a pattern names.
//!
//! A grant reads `purge`, `config:write` or `pop:drain:pop/eu-*`: a verb and, if it is narrowed, a target of the form
//! `kind/name`, in which one `*` at the end stands for any rest. What is not granted is refused; `admin` holds every
//! verb, but not `breakglass`, which is never implied.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize, de};

/// What may be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verb {
    /// See everything that the API shows.
    Read,
    /// Order purges and see what became of them.
    Purge,
    /// Write resources and change-sets.
    ConfigWrite,
    /// Publish, promote, pause and roll back releases.
    ReleaseWrite,
    /// Add and remove PoPs and nodes, make enrolment tokens.
    PopWrite,
    /// Drain and undrain PoPs.
    PopDrain,
    /// Restart nodes, and take their release back.
    NodeWrite,
    /// Read the logs of nodes: they say more than how nodes are.
    NodeLogs,
    /// Change what is announced.
    BgpWrite,
    /// Hold the map of the DNS, and let it go.
    DnsWrite,
    /// Follow the fleet as a node of the DNS, and answer what operators ask it.
    Geo,
    /// Make and revoke API tokens, change roles.
    TokenWrite,
    /// Issue, revoke, rotate identities.
    CaWrite,
    /// Approve or reject what somebody else asked for.
    Approve,
    /// Read a whole backup, which holds secrets.
    Backup,
    /// Everything but `breakglass`.
    Admin,
    /// Go past approvals in an emergency; leaves a mark in the audit log.
    Breakglass,
}

/// One verb, on everything or on what a pattern names.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Grant {
    verb: Verb,
    target: Option<String>,
}

/// Everything that one bearer may do.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Scopes(Vec<Grant>);

/// Why a text is no grant.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GrantError {
    /// No verb begins it.
    #[error("a scope begins with one of {verbs}, not {found:?}", verbs = verbs())]
    Verb {
        /// The text.
        found: String,
    },
    /// The target has another form.
    #[error("a scope's target is kind/name or kind/prefix*, not {0:?}")]
    Target(String),
}

impl Verb {
    /// All verbs, by the name that stands in a scope.
    pub const ALL: [(Self, &'static str); 17] = [
        (Self::Read, "read"),
        (Self::Purge, "purge"),
        (Self::ConfigWrite, "config:write"),
        (Self::ReleaseWrite, "release:write"),
        (Self::PopWrite, "pop:write"),
        (Self::PopDrain, "pop:drain"),
        (Self::NodeWrite, "node:write"),
        (Self::NodeLogs, "node:logs"),
        (Self::BgpWrite, "bgp:write"),
        (Self::DnsWrite, "dns:write"),
        (Self::Geo, "geo"),
        (Self::TokenWrite, "token:write"),
        (Self::CaWrite, "ca:write"),
        (Self::Approve, "approve"),
        (Self::Backup, "backup"),
        (Self::Admin, "admin"),
        (Self::Breakglass, "breakglass"),
    ];

    /// Its name in a scope.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        Self::ALL.iter().find(|(verb, _)| *verb == self).map_or("", |(_, name)| name)
    }
}

impl Grant {
    /// A verb on everything.
    #[must_use]
    pub fn all(verb: Verb) -> Self {
        Self { verb, target: None }
    }

    /// Whether it allows a verb on a target: `kind/name`, or empty for what concerns everything.
    #[must_use]
    pub fn allows(&self, verb: Verb, target: &str) -> bool {
        let is_held = self.verb == verb || (self.verb == Verb::Admin && verb != Verb::Breakglass);
        is_held && self.target.as_deref().is_none_or(|pattern| matches(pattern, target))
    }

    /// Whether it allows all that another one does, so that its holder may hand the other one on.
    #[must_use]
    pub fn covers(&self, other: &Self) -> bool {
        // What ends in a star is matched as a name: `eu-*` is within `e*`, not within `eu-1`.
        self.allows(other.verb, other.target.as_deref().unwrap_or_default())
    }
}

impl Scopes {
    /// Those grants.
    #[must_use]
    pub fn of(grants: impl IntoIterator<Item = Grant>) -> Self {
        let mut grants: Vec<_> = grants.into_iter().collect();
        grants.sort();
        grants.dedup();
        Self(grants)
    }

    /// Whether a verb is allowed on a target: `kind/name`, or empty for what concerns everything.
    #[must_use]
    pub fn allows(&self, verb: Verb, target: &str) -> bool {
        self.0.iter().any(|grant| grant.allows(verb, target))
    }

    /// Whether a verb is allowed on something, whatever it is.
    #[must_use]
    pub fn allows_somewhere(&self, verb: Verb) -> bool {
        self.0.iter().any(|grant| grant.allows(verb, grant.target.as_deref().unwrap_or_default()))
    }

    /// The first of some grants that these do not cover.
    #[must_use]
    pub fn first_not_covered<'a>(&self, others: &'a Self) -> Option<&'a Grant> {
        others.0.iter().find(|other| !self.0.iter().any(|grant| grant.covers(other)))
    }

    /// The grants, in order.
    pub fn iter(&self) -> impl Iterator<Item = &Grant> {
        self.0.iter()
    }
}

impl fmt::Display for Grant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.verb.as_str())?;
        self.target.iter().try_for_each(|target| write!(f, ":{target}"))
    }
}

impl FromStr for Grant {
    type Err = GrantError;

    fn from_str(text: &str) -> Result<Self, GrantError> {
        let rest_of = |name: &str| match text.strip_prefix(name) {
            Some("") => Some(None),
            Some(rest) => rest.strip_prefix(':').map(Some),
            None => None,
        };
        let found = Verb::ALL.iter().find_map(|(verb, name)| Some((*verb, rest_of(name)?)));
        let short = || text.chars().take(TEXT_SHOWN_CHARS).collect::<String>();
        match found {
            Some((verb, None)) => Ok(Self { verb, target: None }),
            Some((verb, Some(target))) if is_target(target) => {
                Ok(Self { verb, target: Some(target.to_owned()) })
            }
            Some(_) => Err(GrantError::Target(short())),
            None => Err(GrantError::Verb { found: short() }),
        }
    }
}

impl Serialize for Grant {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Grant {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

fn matches(pattern: &str, target: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(prefix) => target.starts_with(prefix),
        None => pattern == target,
    }
}

fn is_target(text: &str) -> bool {
    let plain = |text: &str| {
        text.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'*' | b'"' | b'\\'))
    };
    let Some((kind, name)) = text.split_once('/') else { return false };
    let name = name.strip_suffix('*').unwrap_or(name);
    text.len() <= TARGET_BYTES_MAX
        && !kind.is_empty()
        && kind.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_')
        && plain(name)
        && !text.ends_with('/')
}

fn verbs() -> String {
    Verb::ALL.map(|(_, name)| name).join(", ")
}

const TARGET_BYTES_MAX: usize = 256;
const TEXT_SHOWN_CHARS: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    fn grant(text: &str) -> Grant {
        text.parse().expect(text)
    }

    #[test]
    fn grants_read_as_they_were_written() {
        for text in [
            "read",
            "purge:property/x",
            "pop:drain:pop/eu-*",
            "config:write",
            "bgp:write:anycast_group/*",
        ] {
            assert_eq!(grant(text).to_string(), text);
        }
        for bad in [
            "",
            "root",
            "reader",
            "purge:",
            "purge:x",
            "purge:a/b*c",
            "pop",
            "pop:fly",
            "read:pop/",
            "read:P/x",
        ] {
            assert!(bad.parse::<Grant>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_grant_allows_its_verb_on_its_target_alone() {
        for (held, verb, target, is_allowed) in [
            ("purge", Verb::Purge, "property/x", true),
            ("purge", Verb::Purge, "", true),
            ("purge", Verb::Read, "property/x", false),
            ("purge:property/x", Verb::Purge, "property/x", true),
            ("purge:property/x", Verb::Purge, "property/xy", false),
            ("purge:property/x", Verb::Purge, "", false),
            ("pop:drain:pop/eu-*", Verb::PopDrain, "pop/eu-1", true),
            ("pop:drain:pop/eu-*", Verb::PopDrain, "pop/us-1", false),
            ("pop:drain:pop/*", Verb::PopDrain, "property/eu-1", false),
            ("admin", Verb::CaWrite, "", true),
            ("admin:pop/fra", Verb::PopDrain, "pop/fra", true),
            ("admin:pop/fra", Verb::TokenWrite, "", false),
            ("admin", Verb::Breakglass, "", false),
            ("breakglass", Verb::Breakglass, "", true),
            ("breakglass", Verb::Read, "", false),
        ] {
            assert_eq!(grant(held).allows(verb, target), is_allowed, "{held} {verb:?} {target}");
        }
    }

    #[test]
    fn nobody_hands_on_more_than_they_hold() {
        let scopes = |texts: &[&str]| Scopes::of(texts.iter().map(|text| grant(text)));
        for (held, given, missing) in [
            (&["admin"][..], &["purge", "pop:drain:pop/x", "admin"][..], None),
            (&["admin"], &["breakglass"], Some("breakglass")),
            (&["purge:property/a*"], &["purge:property/ab*"], None),
            (&["purge:property/a*"], &["purge:property/*"], Some("purge:property/*")),
            (&["purge:property/a"], &["purge"], Some("purge")),
            (&["read", "purge"], &["read:pop/x", "purge"], None),
            (&["admin:pop/x"], &["admin"], Some("admin")),
        ] {
            let given = scopes(given);
            let found = scopes(held).first_not_covered(&given).map(ToString::to_string);
            assert_eq!(found.as_deref(), missing, "{held:?}");
        }
    }
}

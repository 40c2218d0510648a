//! Why a zone is refused.
//!
//! Invariant: where the line is known, it is said.

use std::fmt;

use hickory_proto::rr::{Name, RecordType};

use super::{data::kind_text, steered::SteeredError};

/// A zone that is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ZoneError {
    /// The line, from 1.
    pub line: Option<usize>,
    /// Why.
    pub reason: Box<Reason>,
}

/// What is wrong with a zone.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Reason {
    /// Its name is none, or has a dot at its end.
    #[error("{0:?} is not the name of a zone")]
    Name(String),
    /// Not the text of a master file.
    #[error("{0}")]
    Syntax(String),
    /// It names other files.
    #[error("$INCLUDE is not done")]
    Include,
    /// Too large.
    #[error("{what}: at most {max}")]
    TooMuch {
        /// What there is too much of.
        what: &'static str,
        /// How much may be.
        max: usize,
    },
    /// A name that belongs to another zone.
    #[error("{0} is outside of the zone")]
    Outside(Name),
    /// Not exactly one SOA record at the apex.
    #[error("the zone has no SOA record at {0}, its name")]
    NoSoa(Name),
    /// Two SOA records.
    #[error("{0} has two SOA records")]
    TwoSoas(Name),
    /// An SOA record elsewhere.
    #[error("{0} is not the name of the zone and has an SOA record")]
    SoaBelow(Name),
    /// Nobody serves the zone.
    #[error("the zone has no NS records")]
    NoServers,
    /// A type that is not served from files.
    #[error("{0}: records of type {kind} are not served from files", kind = kind_text(*.1))]
    Kind(Name, RecordType),
    /// Not the Internet's class.
    #[error("{0}: the class is IN")]
    Class(Name),
    /// A TTL with the highest bit (RFC 2181 8).
    #[error("{0}: a TTL is at most {max} seconds", max = i32::MAX)]
    Ttl(Name),
    /// A CNAME record and others.
    #[error("{0} has a CNAME record and others")]
    CnameAndOthers(Name),
    /// Two CNAME records.
    #[error("{0} has two CNAME records")]
    TwoCnames(Name),
    /// A name server that is an alias (RFC 2181 10.3).
    #[error("the name server {0} is an alias")]
    ServerIsAlias(Name),
    /// A name server in the zone that has no address there.
    #[error("the name server {0} has no address")]
    ServerWithoutAddress(Name),
    /// A delegated name with records of its own, or below it.
    #[error("{0}: {kind} is at or below a name that others serve", kind = kind_text(*.1))]
    BelowCut(Name, RecordType),
    /// DS records at a name that nobody else serves.
    #[error("{0} has DS records and is not delegated")]
    DsWithoutCut(Name),
    /// A wildcard that is delegated (RFC 4592 4.2).
    #[error("{0} is a wildcard and has {1} records")]
    Wildcard(Name, RecordType),
    /// The options of a steered name.
    #[error("{0}: {1}")]
    Steered(Name, SteeredError),
    /// The name that steers has something else than text.
    #[error("{0} has something else than one TXT record")]
    SteersNothing(Name),
    /// A steered name with addresses of its own.
    #[error("{0} is steered and has {1} records")]
    SteeredAnd(Name, RecordType),
}

impl fmt::Display for ZoneError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(f, "line {line}: {}", self.reason),
            None => self.reason.fmt(f),
        }
    }
}

impl std::error::Error for ZoneError {}

/// What is wrong with how something is written.
pub(super) fn syntax(text: &str) -> Reason {
    Reason::Syntax(text.to_owned())
}

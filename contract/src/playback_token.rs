//! The numbers and names of a Common Access Token (CTA-5007-B), which whoever signs and whoever checks must share.
//!
//! A token is a CWT (RFC 8392) in COSE_Mac0 or COSE_Sign1 (RFC 9052). Claims 1 to 7 are of RFC 8392. The numbers from
//! 308 on are those of IANA's registry of CWT claims, as three public implementations have them alike (Eyevinn's
//! node-cat, the crates and packages named common-access-token for Rust and Zig); an earlier draft had others, which
//! are not accepted. The text of CTA-5007-B itself is not public and was not at hand.

/// Issuer, text.
pub const ISS: i64 = 1;
/// Subject, text.
pub const SUB: i64 = 2;
/// Audience, text or an array of texts.
pub const AUD: i64 = 3;
/// Time of expiry in seconds since 1970.
pub const EXP: i64 = 4;
/// The time before which the token is not good.
pub const NBF: i64 = 5;
/// When it was issued.
pub const IAT: i64 = 6;
/// The token's id, bytes.
pub const CTI: i64 = 7;
/// Proof of possession (RFC 8747).
pub const CNF: i64 = 8;
/// Whether it may be used more than once: 0 yes, 1 no, 2 its reuse is detected.
pub const CATREPLAY: i64 = 308;
/// Probability of rejection.
pub const CATPOR: i64 = 309;
/// Version of the specification: 1.
pub const CATV: i64 = 310;
/// Networks of the client.
pub const CATNIP: i64 = 311;
/// Parts of the URI.
pub const CATU: i64 = 312;
/// Methods.
pub const CATM: i64 = 313;
/// ALPN names.
pub const CATALPN: i64 = 314;
/// Request headers.
pub const CATH: i64 = 315;
/// Countries and their parts.
pub const CATGEOISO3166: i64 = 316;
/// Data for `catif`.
pub const CATIFDATA: i64 = 320;
/// What to answer when a claim is not met.
pub const CATIF: i64 = 322;
/// Renewal.
pub const CATR: i64 = 323;

/// Labels of [`CATU`]'s parts.
pub mod uri {
    /// `http` or `https`.
    pub const SCHEME: i64 = 0;
    /// The host without port.
    pub const HOST: i64 = 1;
    /// The port, also where the URI does not write it.
    pub const PORT: i64 = 2;
    /// The path.
    pub const PATH: i64 = 3;
    /// The query without the token.
    pub const QUERY: i64 = 4;
    /// The path without its last segment.
    pub const PARENT_PATH: i64 = 5;
    /// The last segment.
    pub const FILENAME: i64 = 6;
    /// The last segment without its extension.
    pub const STEM: i64 = 7;
    /// The extension with its dot.
    pub const EXTENSION: i64 = 8;
}

/// Labels of a match.
pub mod matching {
    /// The whole text.
    pub const EXACT: i64 = 0;
    /// Its beginning.
    pub const PREFIX: i64 = 1;
    /// Its end.
    pub const SUFFIX: i64 = 2;
    /// Somewhere in it.
    pub const CONTAINS: i64 = 3;
    /// A regular expression; not supported, as its cost has no bound that all implementations share.
    pub const REGEX: i64 = 4;
    /// The SHA-256 of it.
    pub const SHA256: i64 = -1;
}

/// Labels of [`CATR`].
pub mod renewal {
    /// How: one of the values below.
    pub const TYPE: i64 = 0;
    /// Seconds that the new token is good for.
    pub const EXPADD: i64 = 1;
    /// Seconds before expiry at which renewal begins.
    pub const DEADLINE: i64 = 2;
    /// The cookie's name.
    pub const COOKIE_NAME: i64 = 3;
    /// The header's name.
    pub const HEADER_NAME: i64 = 4;
    /// Attributes of the cookie.
    pub const COOKIE_PARAMS: i64 = 5;
    /// Parameters of the header.
    pub const HEADER_PARAMS: i64 = 6;
    /// Status of the redirect.
    pub const CODE: i64 = 7;
    /// By the way that the token came.
    pub const AUTOMATIC: i64 = 0;
    /// By cookie.
    pub const COOKIE: i64 = 1;
    /// By response header.
    pub const HEADER: i64 = 2;
    /// By redirect to a URL with the new token.
    pub const REDIRECT: i64 = 3;
}

/// CBOR tags and COSE labels (RFC 8392 6, RFC 9052 2, 3.1).
pub mod cose {
    /// A CWT.
    pub const TAG_CWT: u64 = 61;
    /// COSE_Mac0.
    pub const TAG_MAC0: u64 = 17;
    /// COSE_Sign1.
    pub const TAG_SIGN1: u64 = 18;
    /// Header: algorithm.
    pub const ALG: i64 = 1;
    /// Header: labels that must be understood.
    pub const CRIT: i64 = 2;
    /// Header: the key's id, bytes.
    pub const KID: i64 = 4;
    /// HMAC with SHA-256, whole.
    pub const HS256: i64 = 5;
    /// ECDSA with SHA-256.
    pub const ES256: i64 = -7;
    /// RSASSA-PSS with SHA-256.
    pub const PS256: i64 = -37;
}

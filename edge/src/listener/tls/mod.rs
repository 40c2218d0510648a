//! TLS: which certificate a client sees, and how a session is resumed, on TCP and QUIC.
//!
//! Invariant: private keys and ticket secrets are in memory alone, and never in a log, a metric or a `Debug`.

mod certificates; // in use, swapped whole
mod table; // all certificates at one moment, by name and kind of key
mod hello; // what a client is told that offers too little
mod tickets; // sessions that any node of a PoP resumes
mod config;

pub use self::{
    certificates::Certificates,
    config::{Config, ConfigError, NamedCertificate},
    table::{CertificateError, check},
    tickets::Tickets,
};
pub(super) use self::{
    certificates::reload_on_hangup,
    hello::{HELLO_BYTES, alert},
};

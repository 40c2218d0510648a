//! DNSSEC: every answer of a signed zone is signed as it is given (RFC 4033 to 4035, RFC 9824).
//!
//! Answers depend on the client, so a zone cannot be signed beforehand; but there are few sets of addresses, so nearly
//! every signature has been made before. Invariant: a private key is in this folder's types alone, and never shown.

mod watch; // the folder of keys, again and again
pub mod keeper; // takes the sets that are told, works out the next one
mod set_file; // the set that a zone's keys are of, beside them
mod key_set; // a zone's keys as a set, and what a node does to have them
mod seal; // private keys sealed under others
mod signer; // finishes answers
mod metrics;
pub mod keys; // the keys of every signed zone
pub mod denial; // what is said of what is not there
mod signatures; // signatures that were made
mod rrset; // a set in canonical form, and its signature
pub mod key_file; // keys in files
pub mod config; // the section [dnssec]
pub mod step; // the next step of a roll-over, for whoever takes it
pub mod rollover; // when a key may take its next step

pub use signer::{SignError, Signer};

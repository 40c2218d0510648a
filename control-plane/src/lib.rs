//! The control plane: what every PoP shall do, and how it comes to know it.
//!
//! Operators and programs change the desired state over HTTP; nodes dial in over gRPC and get snapshots and
//! purges. Modules stand in the order a change meets them; a module may use only modules listed below it.

#![forbid(unsafe_code)]

pub mod cli; // the operators' command line: speaks to the HTTP API and nothing else
pub mod offline; // what is done in the data folder while nothing runs: tokens, the CA's certificate
pub mod server; // builds the parts, binds the sockets, drains
pub mod config; // the settings, part by part
pub mod api; // HTTP API v1, one file per resource
pub mod sync; // the lanes to the nodes: purges, configuration, enrolment
pub mod distribution; // desired state → one snapshot per PoP
pub mod purge; // accepted once, ordered, delivered to all, confirmed
pub mod drain; // a PoP is emptied in stages, and filled again slowly
pub mod anycast; // who announces what, and who may change that
pub mod health; // how PoPs are, by what everybody says
pub mod fleet; // what the nodes report, and what it means
pub mod listener; // TLS over TCP: bounded handshakes, certificates that change while it runs
pub mod ca; // the authority: identities of nodes and of this server
pub mod token; // bearer and enrolment tokens: made, hashed, compared
pub mod rate; // token buckets
pub mod store; // one writer, group commit, readers beside it
pub mod metrics; // every number we publish
pub mod wire; // the generated protocol
pub mod unix_time; // times as they travel: milliseconds since 1970

//! The control plane: what every PoP shall do, and how it comes to know it.
//!
//! Operators and programs change the desired state over HTTP; nodes dial in over gRPC and get snapshots and
//! purges. Modules stand in the order a change meets them; a module may use only modules listed below it.

#![forbid(unsafe_code)]

pub mod cli; // the operators' command line: speaks to the HTTP API and nothing else
pub mod offline; // what is done in the data folder while nothing runs: tokens, the CA's certificate
pub mod server; // builds the parts, binds the sockets, drains
pub mod keys; // the key files, which all replicas have alike
pub mod config; // the settings, part by part
pub mod api; // HTTP API v1, one file per resource
pub mod page; // the status page: three files and the rules for browsers
pub mod sync; // the lanes to the nodes: purges, configuration, enrolment
pub mod geo; // what the DNS hears of the fleet, and what it is asked
pub mod rotation; // one authority takes the place of another
pub mod release; // changes → signed releases, and how they go out
pub mod rollout; // which PoP runs which release, and when it turns back
pub mod change; // what somebody wants to be different
pub mod resource; // all resources at one version
pub mod purge; // accepted once, ordered, delivered to all, confirmed
pub mod replica; // what replicas tell one another: that they live, what they see
pub mod errands; // what one node shall do once
pub mod questions; // what operators ask single nodes
pub mod drain; // a PoP is emptied in stages, and filled again slowly
pub mod anycast; // who announces what, and who may change that
pub mod demand; // what clients ask for most
pub mod health; // how PoPs are, by what everybody says
pub mod fleet; // what the nodes report, and what it means
pub mod access; // who may do what, what needs a second person, what was done
pub mod listener; // TLS over TCP: bounded handshakes, certificates that change while it runs
pub mod ca; // the authority: identities of nodes and of this server
pub mod token; // bearer and enrolment tokens: made, hashed, compared
pub mod rate; // token buckets
pub mod leader; // which replica moves what one alone may move
pub mod store; // what must not be lost: records, purge logs, leases, in SQLite or etcd
pub mod metrics; // every number we publish
pub mod wire; // the generated protocol
pub mod unix_time; // times as they travel: milliseconds since 1970

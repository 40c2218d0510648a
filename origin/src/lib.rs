//! The origin: takes uploads, keeps the catalog of videos, hands jobs to packagers and delivers manifests and
//! segments to the edge. One binary; its parts are roles that are switched on by name.
//!
//! Modules stand top-down: a module may use only modules listed below it. Each role has the same files: `api`
//! (handlers, no SQL), `model` (rules, no I/O), `store` (queries, no HTTP), `jobs` (background work). A role uses
//! another only downward and only its `store` and `model`.

#![forbid(unsafe_code)]

pub mod node; // builds the parts, binds the sockets, drains
pub mod config; // every setting, composed of the parts' own
pub mod server; // connections → requests, for clear text and TLS
pub mod worker; // background work of the enabled roles
pub mod role; // the roles, and the routes of each
pub mod upload; // resumable uploads (tus 1.0) into the spool and the object store
pub mod watch; // the watch page
pub mod delivery; // manifests and immutable objects for the edge
pub mod package; // the job API of packagers: lease, renew, publish, fail
pub mod catalog; // videos, their media and what state they are in
pub mod purge; // purges that wait to be ordered at the control plane
pub mod app; // what every handler shares: stores, clock, metrics
pub mod web; // who asks, errors as problems, pages, cross-origin headers
pub mod objects; // the object store
pub mod database; // the relational store
pub mod metrics; // every number we publish

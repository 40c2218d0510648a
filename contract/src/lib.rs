//! The words two Tidegate programs exchange.
//!
//! A type enters this crate only when two programs exchange it. There is no I/O, no async and no logging here:
//! values are parsed from bytes, checked, and turned back into bytes.
//!
//! Modules stand top-down; a module may use only modules listed below it. The wire protocol between a PoP and
//! the control plane stands beside the code, in `proto/control.proto`; its payloads are the types below.

#![forbid(unsafe_code)]
#![warn(missing_docs)]

pub mod worker_frame; // what a packager and its sandboxed worker say to each other
pub mod package_job; // what origin asks of a packager, and the answers
pub mod release_compile; // from the resources of a release to what one PoP runs
pub mod geo_feed; // what the DNS hears of PoPs, zones and round trips
pub mod zone_keys; // keys of signed zones, sealed under keys of the zone
pub mod resource_spec; // what a resource shall be, kind by kind
#[cfg(feature = "zone")]
pub mod zone; // master files of the DNS, and what they tell of names
pub mod snapshot; // the whole configuration of a PoP at one generation
pub mod certificate; // what a PoP shows to TLS clients
pub mod property; // one customer configuration: hosts, origins, policies
pub mod cache_policy; // what a property keeps and for how long
pub mod guard_policy; // who may have what of it
pub mod token_policy; // which playback tokens open it
pub mod upstream; // a next hop towards the origin
#[cfg(feature = "packed")]
pub mod node_question; // what an operator asks single nodes, and what they say
pub mod purge; // by URL, surrogate key, folder, property or everything; hard or soft
#[cfg(feature = "packed")]
pub mod packed; // many alike, made small for their way
pub mod purge_offset; // places in a purge stream, also over a restore
pub mod telemetry; // how a node is once a second, and what it shall do about it
pub mod demand; // what clients of a node ask for most
pub mod node_order; // one thing that one node shall do once
pub mod anycast; // prefixes, groups of them, how strongly a PoP announces one, and where PoPs are
pub mod replacement; // the new body that arrives with a purge
pub mod field_code; // numbers and strings in the header sections of HTTP/2 and HTTP/3
pub mod surrogate_key; // the tag on a response that can be purged as a group
pub mod url_path; // the one spelling of a path
pub mod guard_error; // why the rules at the door are refused
pub mod playback_token; // the numbers of a Common Access Token's claims
pub mod network; // blocks of addresses, and where they are
pub mod media_path; // URL layout of manifests, init segments, segments and images
pub mod tier; // how a node proves to its parent that it asks for another node, and what it has purged
pub mod explanation; // what a node knows of one resource, and why
pub mod problem; // RFC 9457 error bodies
pub mod sealing; // how a secret is sealed for one node
pub mod release; // all resources at one version, named by one signed hash
pub mod resource; // what operators declare: kinds, names
pub mod header; // the names of the headers we speak
pub mod id; // checked identifiers and the generation number

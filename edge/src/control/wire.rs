//! The messages and calls of `contract/proto/control.proto`, generated at build time.
//!
//! Nothing here is trusted: every field that comes from the network is parsed into a checked type where it is used.

#![allow(unreachable_pub, unused_qualifications, dead_code, missing_docs, clippy::all)]

tonic::include_proto!("tidegate.control.v1");

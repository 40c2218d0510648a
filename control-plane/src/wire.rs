//! The generated messages and services of `contract/proto/control.proto`.
//!
//! Nothing is written by hand here; the meaning of each message stands in the proto file.

#![allow(missing_docs, unreachable_pub, unused_qualifications, clippy::pedantic)]
#![allow(clippy::use_self, elided_lifetimes_in_paths)]

tonic::include_proto!("tidegate.control.v1");

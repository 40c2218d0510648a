//! The worker: one sandboxed process that decodes one upload once and encodes all its renditions from it.
//!
//! It is the only program that links libav, because libav is C that reads what strangers upload. It gets the upload
//! as an open descriptor and answers in [`tidegate_contract::worker_frame`] frames on a socket; it never opens a
//! file, a socket or a process. Not one byte of the upload is read before the sandbox is closed.
//!
//! Modules stand in the order a run meets them. A module may use only modules listed below it.

#![deny(unsafe_code)]

pub mod cli; // verbs and flags
mod generate; // the demo clip
mod self_test; // attempts that the sandbox must stop
mod run; // one job: lock, order, probe, plan, verdict
mod transcode; // decode once, feed every encoder
mod source; // what is in the upload
mod codec; // encoders, filter graphs, init segments
mod failure; // why a run ends without a result
mod wire; // frames to and from the packager
mod sandbox; // limits, files, system calls
mod fraction; // frame rates and time bases
#[allow(unsafe_code)] // every call into C lives there, each with its reason
mod ffi;
mod logging; // bounded lines on stderr

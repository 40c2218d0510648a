//! The packager: makes an uploaded video into renditions, CMAF segments, HLS and DASH manifests and images.
//!
//! It leases jobs from origin, lets a sandboxed worker process decode and encode, turns the worker's samples into
//! segments in the object store, and publishes manifests through origin. Modules stand top-down, in the order a
//! job meets them; a module imports only modules listed below it.
//!
//! **Invariant.** This program links no decoder: what an upload holds is looked at only by the worker, and all
//! that the worker says is checked against a limit before it is used.

#![deny(unsafe_code)]

pub mod node; // builds the parts, starts the job loops
pub mod config; // composes the parts' configs
pub mod jobs; // the loop of one job slot: lease, run, tell origin how it ended
pub mod job; // one job: probe → plan → encode → package → publish
pub mod worker_run; // one run of a worker: start, probe, plan, frames
pub mod failure; // why a job did not complete, and who is to blame
pub mod assembly; // what one worker run delivers becomes objects and finished renditions
pub mod track; // the samples of one track become init segment and segments
pub mod picture; // thumbnails, sprite sheets and stills of one run
pub mod publication; // what is published at each moment (pure)
pub mod manifest; // multivariant playlist, media playlists, MPD and WebVTT (pure)
pub mod ladder; // what is in the upload → which tracks and pictures to make (pure)
pub mod cmaf; // sample entries, init segments, segment boundaries, boxes
pub mod worker_process; // the sandboxed child: start, speak, stop
pub mod source; // the upload as an open file
pub mod output; // immutable objects of one packaging attempt
pub mod store; // the object store by URL
pub mod lease; // keeping the right to work on a job
pub mod origin_client; // origin's job API
pub mod media; // rendition, segment: the words the files above share
pub mod metrics; // every metric of this program

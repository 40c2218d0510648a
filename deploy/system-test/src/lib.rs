//! What the stories about the whole system are told with: a running system, viewers on three protocols, an origin
//! that does what a test says, and the tools that look at the result.
//!
//! Nothing here knows the inside of a program: everything goes over the network, the command line and the files
//! that users have, too.

// A story that cannot go on ends, and the logs of one that failed go to the test's output.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

pub mod system; // the system as `tidegate dev up` starts it, and its processes one by one
pub mod tus; // an upload, step by step
pub mod playback; // every segment that a manifest names; frames by ffprobe
pub mod fake_origin; // an origin that does what the test says
pub mod viewer; // one client, one protocol
pub mod dns; // one question to the DNS, written by hand
pub mod runbook; // pages for operators, read as what is done and what is seen
pub mod wait; // conditions with a limit

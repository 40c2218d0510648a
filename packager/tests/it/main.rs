//! What the packager does, told as stories.
//!
//! Most stories run it in this process against a fake origin and a fake worker, both over real sockets. The ones
//! in `playback` run the real worker and need the `ffmpeg` and `ffprobe` commands.

mod harness; // FakeOrigin, TestPackager, uploads, waiting

mod job; // probe → plan → encode → package → publish
mod lease; // who may work on a job, and what happens when that changes
mod hostile; // uploads and workers that mean harm
mod playback; // real media: what comes out is what the encoder gave, and players can read it

//! The worker as a process: real uploads through a real sandbox, judged by the ffmpeg command line.
//!
//! Clips are made when a test needs them, tiny, and thrown away. Every wait has a limit.

mod harness;

mod bad_upload;
mod generate;
mod image;
mod rendition;
mod sandbox;
mod sound;
mod source;

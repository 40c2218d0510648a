//! libav's encoders, filter graphs and muxer behind small faces.
//!
//! Nothing here knows what a job is. Pictures and sound go in with frame or sample numbers as times; coded samples
//! come out ready for an `mdat`, with times that begin at zero and composition offsets that are never negative.

mod trial;
mod video;
mod audio;
mod image;
mod graph;
mod init_segment;
mod nal_unit;
mod sample;

pub(crate) use audio::{AudioEncoder, Channels, SAMPLE_RATE};
pub(crate) use graph::{Graph, PictureGraph, SoundGraph};
pub(crate) use image::{ImageEncoder, ImageFormat};
pub(crate) use sample::CodedSample;
pub(crate) use trial::{prepare, usable_encoders};
pub(crate) use video::{EncoderKind, VideoEncoder, VideoSettings};

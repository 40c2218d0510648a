//! What the stories are told with: clips, workers, and what a worker gave.

mod clip;
mod decode;
mod outcome;
mod worker;

pub(crate) use clip::{Clip, ffmpeg};
pub(crate) use decode::{annex_b, decoded_frames, psnr};
pub(crate) use outcome::{Outcome, Track};
pub(crate) use worker::{
    Worker, audio, generate, images, order, plan, program, self_test, transcode, transcode_with,
    video,
};

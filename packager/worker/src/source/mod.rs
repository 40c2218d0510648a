//! What is in the upload: container, tracks, displayed size, rate, and every reason not to go on.
//!
//! The first bytes decide which one demuxer libav may use; libav never guesses, never opens another file and never
//! uses a decoder that is not on the list. All limits of the order are checked here before a picture is decoded,
//! as far as the container tells the truth; the decode loop checks them again.

mod opened;
mod track;
mod decoder;
mod orientation;
mod rate;
mod container;

pub(crate) use opened::Source;
pub(crate) use track::AudioTrack;

//! One coded sample, and what asking an encoder for the next one can answer.

use ffmpeg_next::Error;

/// A coded sample with times in its track's ticks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CodedSample {
    pub(crate) is_sync: bool,
    pub(crate) dts: i64,
    pub(crate) composition_offset: i32,
    pub(crate) duration: u32,
    pub(crate) data: Vec<u8>,
}

/// Whether something came out; "not yet" and "never again" are both no.
pub(super) fn came_out(result: Result<(), Error>) -> Result<bool, Error> {
    match result {
        Ok(()) => Ok(true),
        Err(Error::Eof | Error::Other { errno: ffmpeg_next::error::EAGAIN }) => Ok(false),
        Err(error) => Err(error),
    }
}

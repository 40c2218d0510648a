//! An init segment minted by libavformat in memory.
//!
//! libavformat knows how to describe every codec in a sample entry; the packager takes that entry and writes
//! everything else itself. The muxer is used for its header only, no sample passes through it.

use std::{
    io::{self, Write},
    sync::{Arc, Mutex, PoisonError},
};

use ffmpeg_next::{
    Dictionary, Error, codec, encoder,
    format::{self, context::StreamIo},
};

use crate::{ffi::libav, fraction::Fraction};

/// The init segment of a track that an opened encoder will fill.
pub(super) fn mint(
    encoder: &codec::Context,
    time_base: Fraction,
    tag: Option<[u8; 4]>,
) -> Result<Vec<u8>, Error> {
    let bytes = Shared::default();
    let mut output =
        format::output_to_stream(StreamIo::from_write(bytes.clone())?, None, Some("mp4"))?;
    {
        let mut stream = output.add_stream(encoder::find(codec::Id::None))?;
        stream.set_parameters(codec::Parameters::from(&Borrowed(encoder)));
        stream.set_time_base((
            i32::try_from(time_base.num).unwrap_or(1),
            i32::try_from(time_base.den).unwrap_or(1),
        ));
        libav::set_stream_tag(&mut stream, tag.unwrap_or_default());
    }
    let options = Dictionary::from_iter([
        ("movflags", "frag_custom+empty_moov+default_base_moof+cmaf+skip_trailer"),
        ("fflags", "+bitexact"),
        ("video_track_timescale", &time_base.den.to_string()),
    ]);
    output.write_header_with(options)?;
    drop(output); // flushes what the muxer buffered
    Ok(bytes.take())
}

struct Borrowed<'a>(&'a codec::Context);

impl AsRef<codec::Context> for Borrowed<'_> {
    fn as_ref(&self) -> &codec::Context {
        self.0
    }
}

#[derive(Clone, Default)]
struct Shared(Arc<Mutex<Vec<u8>>>);

impl Shared {
    fn take(&self) -> Vec<u8> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

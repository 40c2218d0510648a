//! libav where its Rust wrapper has no safe way.
//!
//! Numbers that an upload chooses (pixel format, colour tags, layouts) are read as integers. Frames are shared by
//! reference counting, not copied.

use std::{
    ffi::CStr,
    sync::atomic::{AtomicBool, Ordering},
};

use ffmpeg_next::{
    Error, Packet, StreamMut, codec, ffi, filter, format::stream::Stream, frame,
    packet::side_data::Type as SideDataType,
};

use crate::logging;

/// What libav knows of a stream before anything of it was decoded by us.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct StreamFacts {
    pub(crate) tag: [u8; 4],
    pub(crate) width: u32,
    pub(crate) height: u32,
    /// Width to height of one sample; not positive when unknown.
    pub(crate) sample_aspect: (i32, i32),
    /// H.273 number of the transfer function.
    pub(crate) transfer: i32,
    /// H.273 number of the matrix.
    pub(crate) matrix: i32,
    pub(crate) is_full_range: bool,
    pub(crate) is_interlaced: bool,
    pub(crate) channels: i32,
    pub(crate) sample_rate: i32,
    pub(crate) display_matrix: Option<[i32; 9]>,
    pub(crate) has_encryption: bool,
}

/// Size and pixel format of a picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PictureFormat {
    pub(crate) width: u32,
    pub(crate) height: u32,
    /// libav's number of the pixel format.
    pub(crate) pixel_format: i32,
}

/// Rate, format and layout of sound.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SoundFormat {
    pub(crate) sample_rate: i32,
    /// libav's number of the sample format.
    pub(crate) sample_format: i32,
    /// libav's text for the layout, `5.1(side)`.
    pub(crate) layout: String,
}

/// Sends libav's errors to our bounded log; its own logger would ask about the terminal, which the sandbox forbids.
pub(crate) fn take_over_log() {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: the callback is thread-safe and lives as long as the process.
    unsafe {
        ffi::av_log_set_callback(Some(on_log));
    }
    #[cfg(not(target_arch = "x86_64"))]
    // the type of a C argument list differs from machine to machine
    ffmpeg_next::log::set_level(ffmpeg_next::log::Level::Quiet);
}

/// Whether a demuxer met more streams than it was allowed; libav says so only in its log.
pub(crate) fn streams_were_refused() -> bool {
    STREAMS_REFUSED.load(Ordering::Relaxed)
}

/// What libav knows of a stream.
pub(crate) fn stream_facts(stream: &Stream<'_>) -> StreamFacts {
    // SAFETY: a stream of an open input has parameters as long as the input lives; enums are read as integers.
    unsafe {
        let raw = stream.as_ptr();
        let parameters = (*raw).codecpar;
        let own = (*raw).sample_aspect_ratio;
        let aspect = if own.num > 0 { own } else { (*parameters).sample_aspect_ratio };
        StreamFacts {
            tag: (*parameters).codec_tag.to_le_bytes(),
            width: u32::try_from((*parameters).width).unwrap_or(0),
            height: u32::try_from((*parameters).height).unwrap_or(0),
            sample_aspect: (aspect.num, aspect.den),
            transfer: (&raw const (*parameters).color_trc).cast::<i32>().read(),
            matrix: (&raw const (*parameters).color_space).cast::<i32>().read(),
            is_full_range: (&raw const (*parameters).color_range).cast::<i32>().read()
                == ffi::AVColorRange::AVCOL_RANGE_JPEG as i32,
            is_interlaced: (&raw const (*parameters).field_order).cast::<i32>().read()
                > ffi::AVFieldOrder::AV_FIELD_PROGRESSIVE as i32,
            channels: (*parameters).ch_layout.nb_channels,
            sample_rate: (*parameters).sample_rate,
            display_matrix: display_matrix(stream),
            has_encryption: stream.side_data().any(|data| {
                matches!(
                    data.kind(),
                    SideDataType::EncryptionInitInfo | SideDataType::EncryptionInfo
                )
            }),
        }
    }
}

/// Size and pixel format of a decoded picture.
pub(crate) fn picture_format(picture: &frame::Video) -> PictureFormat {
    // SAFETY: the wrapper's frame pointer is valid; `format` is a plain integer there.
    let pixel_format = unsafe { (*picture.as_ptr()).format };
    PictureFormat { width: picture.width(), height: picture.height(), pixel_format }
}

/// Rate, format and layout of decoded sound.
pub(crate) fn sound_format(sound: &frame::Audio) -> Result<SoundFormat, Error> {
    let mut text = [0; LAYOUT_BYTES_MAX];
    // SAFETY: the frame is valid and the buffer as long as said; libav ends the text with a zero or fails.
    unsafe {
        let raw = sound.as_ptr();
        let written = ffi::av_channel_layout_describe(
            &raw const (*raw).ch_layout,
            text.as_mut_ptr(),
            text.len(),
        );
        if written < 0 || usize::try_from(written).is_ok_and(|bytes| bytes > text.len()) {
            return Err(Error::InvalidData);
        }
        Ok(SoundFormat {
            sample_rate: (*raw).sample_rate,
            sample_format: (*raw).format,
            layout: CStr::from_ptr(text.as_ptr()).to_string_lossy().into_owned(),
        })
    }
}

/// Another reference to the same picture; its pixels are not copied.
pub(crate) fn share(picture: &frame::Video) -> Result<frame::Video, Error> {
    let mut reference = frame::Video::empty();
    // SAFETY: both frames are valid; the source is only read, and its buffers are counted atomically.
    match unsafe { ffi::av_frame_ref(reference.as_mut_ptr(), picture.as_ptr()) } {
        0 => Ok(reference),
        error => Err(Error::from(error)),
    }
}

/// Declares a picture's samples square: the scaling to come accounts for their true shape.
pub(crate) fn make_square(picture: &mut frame::Video) {
    // SAFETY: the frame is valid and this holder's own.
    unsafe { (*picture.as_mut_ptr()).sample_aspect_ratio = ffi::AVRational { num: 1, den: 1 } };
}

/// Drops what a picture carries beside its pixels: captions and vendor data of the upload do not belong in a rendition.
pub(crate) fn forget_side_data(picture: &mut frame::Video) {
    // SAFETY: the frame is valid and its list of side data belongs to it alone; every step removes an entry.
    unsafe {
        let raw = picture.as_mut_ptr();
        for _ in 0..(*raw).nb_side_data {
            if (*raw).nb_side_data > 0 {
                let kind = (**(*raw).side_data).type_;
                ffi::av_frame_remove_side_data(raw, kind);
            }
        }
    }
}

/// Whether a packet is encrypted; a demuxer says so only with the packet.
pub(crate) fn is_encrypted(packet: &Packet) -> bool {
    packet.side_data().any(|data| data.kind() == SideDataType::EncryptionInfo)
}

/// Bounds the threads of a graph; must come before its first filter.
pub(crate) fn set_graph_threads(graph: &mut filter::Graph, threads: u32) {
    // SAFETY: the graph is valid and has no filters yet.
    unsafe { (*graph.as_mut_ptr()).nb_threads = i32::try_from(threads).unwrap_or(1) };
}

/// Samples that an opened audio encoder puts before the first one.
pub(crate) fn initial_padding(encoder: &codec::Context) -> u32 {
    // SAFETY: the context is valid.
    u32::try_from(unsafe { (*encoder.as_ptr()).initial_padding }).unwrap_or(0)
}

/// How many frames an opened video encoder may decode ahead of what is shown.
pub(crate) fn reorder_frames(encoder: &codec::Context) -> i64 {
    // SAFETY: the context is valid.
    i64::from(unsafe { (*encoder.as_ptr()).has_b_frames }.max(0))
}

/// Sets the four characters by which a muxer names the sample entry.
pub(crate) fn set_stream_tag(stream: &mut StreamMut<'_>, tag: [u8; 4]) {
    // SAFETY: a stream of an open output has parameters.
    unsafe { (*(*stream.as_mut_ptr()).codecpar).codec_tag = u32::from_le_bytes(tag) };
}

/// Tells players to turn the picture by `degrees`, clockwise positive as `av_display_rotation_set` takes it.
pub(crate) fn set_stream_rotation(stream: &mut StreamMut<'_>, degrees: f64) -> Result<(), Error> {
    let bytes = size_of::<[i32; 9]>();
    // SAFETY: the stream is valid; the matrix is written only when libav gave room for it, through a local copy
    // because that room is not aligned for integers by contract.
    unsafe {
        let room = ffi::av_stream_new_side_data(
            stream.as_mut_ptr(),
            ffi::AVPacketSideDataType::AV_PKT_DATA_DISPLAYMATRIX,
            bytes,
        );
        if room.is_null() {
            return Err(Error::Other { errno: libc::ENOMEM });
        }
        let mut matrix = [0_i32; 9];
        ffi::av_display_rotation_set(matrix.as_mut_ptr(), degrees);
        room.copy_from_nonoverlapping(matrix.as_ptr().cast(), bytes);
    }
    Ok(())
}

fn display_matrix(stream: &Stream<'_>) -> Option<[i32; 9]> {
    let data = stream.side_data().find(|data| data.kind() == SideDataType::DisplayMatrix)?;
    let (numbers, rest) = data.data().as_chunks::<4>();
    let numbers: [[u8; 4]; 9] = numbers.try_into().ok()?;
    rest.is_empty().then(|| numbers.map(i32::from_ne_bytes))
}

#[cfg(target_arch = "x86_64")]
unsafe extern "C" fn on_log(
    context: *mut libc::c_void,
    level: libc::c_int,
    template: *const libc::c_char,
    arguments: *mut ffi::__va_list_tag,
) {
    if level > ffi::AV_LOG_ERROR || template.is_null() {
        return;
    }
    let mut text = [0; LOG_BYTES_MAX];
    let mut prefix = 1;
    // SAFETY: libav hands over a valid template and its arguments; the buffer is as long as said and gets a zero.
    unsafe {
        if CStr::from_ptr(template).to_bytes().starts_with(STREAMS_REFUSED_TEXT) {
            STREAMS_REFUSED.store(true, Ordering::Relaxed);
        }
        ffi::av_log_format_line2(
            context,
            level,
            template,
            arguments,
            text.as_mut_ptr(),
            i32::try_from(text.len()).unwrap_or(0),
            &raw mut prefix,
        );
        let line = CStr::from_ptr(text.as_ptr()).to_string_lossy();
        logging::line(format_args!("libav: {}", line.trim_end()));
    }
}

static STREAMS_REFUSED: AtomicBool = AtomicBool::new(false);
/// How libav's message about too many streams begins.
#[cfg(target_arch = "x86_64")]
const STREAMS_REFUSED_TEXT: &[u8] = b"Number of streams exceeds max_streams";
/// The longest log line that is formatted.
#[cfg(target_arch = "x86_64")]
const LOG_BYTES_MAX: usize = 512;
/// The longest text of a channel layout.
const LAYOUT_BYTES_MAX: usize = 128;

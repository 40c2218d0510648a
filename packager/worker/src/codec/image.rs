//! Still pictures: scale, perhaps tile, encode as JPEG or WebP.
//!
//! JPEG files are full range with the BT.601 matrix (JFIF) and WebP is limited range with the same one, so colours
//! are converted from the renditions' BT.709.

use ffmpeg_next::{
    Dictionary, Error, Packet, codec, color, encoder, format::Pixel, frame, threading,
};

use super::{graph::PictureGraph, sample::came_out};
use crate::{ffi::libav::PictureFormat, fraction::Fraction};

/// The file formats.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ImageFormat {
    Jpeg,
    Webp,
}

/// Makes pictures of one size and format.
pub(crate) struct ImageEncoder {
    graph: PictureGraph,
    encoder: encoder::video::Encoder,
    taken: i64,
    made: i64,
}

impl ImageEncoder {
    /// Pictures of `width` × `height` from pictures of `input`.
    pub(crate) fn open(
        format: ImageFormat,
        input: PictureFormat,
        (width, height): (u32, u32),
    ) -> Result<Self, Error> {
        Self::with_sheet(format, input, (width, height), (1, 1))
    }

    /// Sheets of `columns` × `rows` pictures; one comes out when it is full or at the end.
    pub(crate) fn open_sheet(
        input: PictureFormat,
        (width, height): (u32, u32),
        (columns, rows): (u32, u32),
    ) -> Result<Self, Error> {
        Self::with_sheet(ImageFormat::Jpeg, input, (width, height), (columns, rows))
    }

    fn with_sheet(
        format: ImageFormat,
        input: PictureFormat,
        (width, height): (u32, u32),
        (columns, rows): (u32, u32),
    ) -> Result<Self, Error> {
        let (range, pixels) = match format {
            ImageFormat::Jpeg => ("pc", "yuvj420p"),
            ImageFormat::Webp => ("tv", "yuv420p"),
        };
        let tile = match (columns, rows) {
            (1, 1) => String::new(),
            _ => format!(",tile={columns}x{rows}"),
        };
        let chain = format!(
            "scale={width}:{height}:in_color_matrix=bt709:out_color_matrix=bt601:\
             in_range=tv:out_range={range},format={pixels},setsar=1{tile}"
        );
        let graph = PictureGraph::new(input, SECOND, &chain, 1)?;
        let encoder = open(format, width * columns, height * rows)?;
        Ok(Self { graph, encoder, taken: 0, made: 0 })
    }

    /// Takes a picture; gives a file, or nothing while a sheet is not full.
    pub(crate) fn make(&mut self, mut picture: frame::Video) -> Result<Option<Vec<u8>>, Error> {
        picture.set_pts(Some(self.taken));
        self.taken += 1;
        self.graph.push(picture)?;
        self.encode()
    }

    /// The last sheet, when it was begun.
    pub(crate) fn finish(&mut self) -> Result<Option<Vec<u8>>, Error> {
        self.graph.close(self.taken)?;
        self.encode()
    }

    fn encode(&mut self) -> Result<Option<Vec<u8>>, Error> {
        let mut picture = frame::Video::empty();
        if !self.graph.pull(&mut picture)? {
            return Ok(None);
        }
        picture.set_pts(Some(self.made));
        picture.set_kind(ffmpeg_next::picture::Type::None);
        self.made += 1;
        self.encoder.send_frame(&picture)?;
        let mut packet = Packet::empty();
        if !came_out(self.encoder.receive_packet(&mut packet))? {
            return Err(Error::Bug);
        }
        Ok(packet.data().map(<[u8]>::to_vec))
    }
}

fn open(format: ImageFormat, width: u32, height: u32) -> Result<encoder::video::Encoder, Error> {
    let (name, pixels, range) = match format {
        ImageFormat::Jpeg => ("mjpeg", Pixel::YUVJ420P, color::Range::JPEG),
        ImageFormat::Webp => ("libwebp", Pixel::YUV420P, color::Range::MPEG),
    };
    let codec = encoder::find_by_name(name).ok_or(Error::EncoderNotFound)?;
    let mut context = codec::context::Context::new_with_codec(codec);
    // With frame threads the picture would come out only after later ones went in.
    context.set_threading(threading::Config { count: 1, ..Default::default() });
    let mut video = context.encoder().video()?;
    video.set_width(width);
    video.set_height(height);
    video.set_format(pixels);
    video.set_color_range(range);
    video.set_colorspace(color::Space::BT470BG);
    video.set_time_base((1, 1));
    match format {
        ImageFormat::Jpeg => {
            video.set_flags(codec::Flags::QSCALE);
            video.set_global_quality(JPEG_QUALITY);
            video.open_with(Dictionary::new())
        }
        ImageFormat::Webp => video.open_with(Dictionary::from_iter([("quality", WEBP_QUALITY)])),
    }
}

const SECOND: Fraction = Fraction::new(1, 1);
/// libav's quantiser 4 of 2 (best) to 31, in its lambda unit.
const JPEG_QUALITY: i32 = 4 * 118;
const WEBP_QUALITY: &str = "80";

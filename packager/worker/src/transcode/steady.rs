//! From decoded pictures, which may change, to steady ones: one size, one pixel format, a constant rate.
//!
//! Filters trust the format they were set up for. A stream that changes its picture size or format in the middle is
//! scaled back to what it began with before it meets them.

use ffmpeg_next::{Error, frame};

use super::{picture_chain, timeline::Timeline};
use crate::{
    codec::PictureGraph,
    ffi::libav::{self, PictureFormat},
    fraction::{Fraction, MICROSECOND, rescale},
    source::Source,
};

/// The filters between decoder and rungs; made when the first picture is known.
pub(super) struct Steady {
    time_base: Fraction,
    /// Length of a frame that does not say its own.
    frame_ticks: i64,
    /// A frame that says it is longer is not believed.
    longest_ticks: i64,
    timeline: Timeline,
    graphs: Option<Graphs>,
}

struct Graphs {
    first: PictureFormat,
    common: PictureGraph,
    /// For pictures of another format than the first.
    back: Option<(PictureFormat, PictureGraph)>,
}

impl Steady {
    pub(super) fn new(source: &Source) -> Self {
        let video = &source.video;
        let time_base = video.time_base;
        let frame_ticks = rescale(1, video.rate.inverse(), time_base).max(1);
        Self {
            time_base,
            frame_ticks,
            longest_ticks: rescale(JUMP_US_MIN, MICROSECOND, time_base),
            timeline: timeline(source, time_base),
            graphs: None,
        }
    }

    /// Takes a decoded picture.
    pub(super) fn push(&mut self, source: &Source, mut picture: frame::Video) -> Result<(), Error> {
        let said = picture.packet().duration;
        let length = if (1..=self.longest_ticks).contains(&said) { said } else { self.frame_ticks };
        let place = self.timeline.place(picture.timestamp(), length);
        picture.set_pts(Some(place));
        libav::make_square(&mut picture);
        let format = libav::picture_format(&picture);
        let graphs = match &mut self.graphs {
            Some(graphs) => graphs,
            none => none.insert(Graphs::new(source, format, self.time_base)?),
        };
        graphs.push(format, picture, self.time_base)
    }

    /// No more pictures.
    pub(super) fn close(&mut self) -> Result<(), Error> {
        match &mut self.graphs {
            Some(graphs) => graphs.common.close(self.timeline.end()),
            None => Ok(()),
        }
    }

    /// The next steady picture.
    pub(super) fn pull(&mut self) -> Result<Option<frame::Video>, Error> {
        let Some(graphs) = &mut self.graphs else { return Ok(None) };
        let mut picture = frame::Video::empty();
        Ok(graphs.common.pull(&mut picture)?.then_some(picture))
    }
}

/// The line of time for a track of this source.
pub(super) fn timeline(source: &Source, time_base: Fraction) -> Timeline {
    let ticks = |us| rescale(us, MICROSECOND, time_base);
    Timeline::new(source.start_us.map(ticks), source.may_jump.then(|| ticks(JUMP_US_MIN)))
}

impl Graphs {
    fn new(source: &Source, first: PictureFormat, time_base: Fraction) -> Result<Self, Error> {
        let video = &source.video;
        let chain = picture_chain::chain(
            &video.facts,
            first.pixel_format,
            video.upright_chain(),
            video.rate,
        );
        let common = PictureGraph::new(first, time_base, &chain, FILTER_THREADS)?;
        Ok(Self { first, common, back: None })
    }

    fn push(
        &mut self,
        format: PictureFormat,
        picture: frame::Video,
        time_base: Fraction,
    ) -> Result<(), Error> {
        if format == self.first {
            return self.common.push(picture);
        }
        let back = match &mut self.back {
            Some((known, graph)) if *known == format => graph,
            other => &mut other.insert((format, back_to(self.first, format, time_base)?)).1,
        };
        back.push(picture)?;
        let mut scaled = frame::Video::empty();
        while back.pull(&mut scaled)? {
            let ready = std::mem::replace(&mut scaled, frame::Video::empty());
            self.common.push(ready)?;
        }
        Ok(())
    }
}

fn back_to(
    first: PictureFormat,
    format: PictureFormat,
    time_base: Fraction,
) -> Result<PictureGraph, Error> {
    let PictureFormat { width, height, pixel_format } = first;
    let chain = format!("scale={width}:{height},format=pix_fmts={pixel_format},setsar=1");
    PictureGraph::new(format, time_base, &chain, 1)
}

/// Steps of broadcast clocks from here on are jumps.
const JUMP_US_MIN: i64 = 10_000_000;
/// Tone mapping is the only filter that gains from more.
const FILTER_THREADS: u32 = 2;

//! An opened upload: one demuxer over the descriptor, its video track and perhaps its sound.
//!
//! libav reads through our own I/O on the descriptor. It cannot open anything by name: the protocol list is empty,
//! and the sandbox would refuse.

use std::{
    fs::File,
    io::{Read, Seek, SeekFrom},
};

use ffmpeg_next::{
    Dictionary, Error, Packet,
    format::{self, context::StreamIo},
};
use tidegate_contract::{
    package_job::FailureReason,
    worker_frame::{Probe, WorkerOrder},
};

use super::{
    container, decoder,
    track::{self, AudioTrack, VideoTrack},
};
use crate::{
    failure::RunError,
    ffi::libav,
    fraction::{Fraction, MICROSECOND, rescale},
};

/// An upload that can be decoded.
pub(crate) struct Source {
    pub(crate) video: VideoTrack,
    pub(crate) audio: Option<AudioTrack>,
    /// Whether times may jump in the middle.
    pub(crate) may_jump: bool,
    /// When the earlier of the two tracks begins, in microseconds; absent when the container does not say.
    pub(crate) start_us: Option<i64>,
    /// Length in milliseconds; 0 when the container does not say.
    pub(crate) duration_ms: u64,
    input: format::context::Input,
    container: String,
    failed_reads: u32,
}

impl Source {
    /// Reads the headers and checks them against the order.
    ///
    /// # Errors
    /// The verdict about an upload that cannot be made into a video.
    pub(crate) fn open(mut upload: File, order: &WorkerOrder) -> Result<Self, RunError> {
        let demuxer = demuxer(&mut upload)?;
        let input = open_input(upload, demuxer, order)?;
        if input.nb_streams() > order.tracks_max {
            return Err(too_many_tracks(order));
        }
        let duration_ms = u64::try_from(input.duration()).unwrap_or(0) / 1000;
        if duration_ms > order.duration_ms_max {
            let detail =
                format!("{duration_ms} ms are above the limit of {} ms", order.duration_ms_max);
            return Err(RunError::new(FailureReason::TooLong, detail));
        }
        let video = input
            .streams()
            .find(track::is_video)
            .ok_or_else(|| RunError::new(FailureReason::NoVideo, "there is no video track"))?;
        let video = VideoTrack::open(&video, order)?;
        let audio =
            input.streams().filter(track::is_audio).find_map(|stream| AudioTrack::open(&stream));
        Ok(Self {
            start_us: start_us(&input, video.index, audio.as_ref().map(|audio| audio.index)),
            video,
            audio,
            may_jump: container::may_jump(demuxer),
            duration_ms,
            container: input.format().name().to_owned(),
            input,
            failed_reads: 0,
        })
    }

    /// What the packager is told.
    pub(crate) fn probe(&self, encoders: &[&str]) -> Probe {
        let (width, height) = self.video.displayed();
        Probe {
            container: self.container.clone(),
            duration_ms: self.duration_ms,
            width,
            height,
            fps: (self.video.rate.num, self.video.rate.den),
            video_codec: self.video.codec.clone(),
            has_audio: self.audio.is_some(),
            encoders: encoders.iter().map(|name| (*name).to_owned()).collect(),
        }
    }

    /// Reads the next packet; false at the end, and when reading fails too often in a row.
    pub(crate) fn read(&mut self, packet: &mut Packet) -> bool {
        loop {
            match packet.read(&mut self.input) {
                Ok(()) => {
                    self.failed_reads = 0;
                    return true;
                }
                Err(Error::Eof) => return false,
                Err(_) if self.failed_reads < FAILED_READS_MAX => self.failed_reads += 1,
                Err(_) => return false,
            }
        }
    }
}

fn demuxer(upload: &mut File) -> Result<&'static str, RunError> {
    let unreadable = |error| {
        RunError::new(FailureReason::Internal, format!("the upload cannot be read: {error}"))
    };
    let bytes = upload.seek(SeekFrom::End(0)).map_err(unreadable)?;
    if bytes == 0 {
        return Err(RunError::new(FailureReason::Empty, "the upload has no bytes"));
    }
    upload.rewind().map_err(unreadable)?;
    let mut head = Vec::with_capacity(container::HEAD_BYTES);
    upload.take(container::HEAD_BYTES as u64).read_to_end(&mut head).map_err(unreadable)?;
    upload.rewind().map_err(unreadable)?;
    container::demuxer(&head).ok_or_else(|| {
        RunError::new(FailureReason::UnsupportedContainer, "no video container is recognised")
    })
}

fn open_input(
    upload: File,
    demuxer: &str,
    order: &WorkerOrder,
) -> Result<format::context::Input, RunError> {
    let io = StreamIo::from_read_seek(upload)
        .map_err(|error| RunError::internal("prepare reading", error))?;
    let options = Dictionary::from_iter([
        ("format_whitelist", demuxer),
        ("protocol_whitelist", "none"),
        ("codec_whitelist", decoder::LISTED),
        ("max_streams", &order.tracks_max.to_string()),
    ]);
    format::input_from_stream(io, None, Some(options)).map_err(|error| {
        if libav::streams_were_refused() {
            return too_many_tracks(order);
        }
        match error {
            // libav's probing found another format behind the same first bytes.
            Error::Other { errno: libc::EINVAL } => {
                RunError::new(FailureReason::UnsupportedContainer, "the container is not accepted")
            }
            _ => RunError::damaged(format!("the {demuxer} container cannot be read: {error}")),
        }
    })
}

fn too_many_tracks(order: &WorkerOrder) -> RunError {
    let detail = format!("there are more than {} tracks", order.tracks_max);
    RunError::new(FailureReason::TooManyTracks, detail)
}

fn start_us(input: &format::context::Input, video: usize, audio: Option<usize>) -> Option<i64> {
    [Some(video), audio]
        .into_iter()
        .flatten()
        .filter_map(|index| input.stream(index))
        .filter(|stream| stream.start_time() != ffmpeg_next::ffi::AV_NOPTS_VALUE)
        .filter_map(|stream| {
            let base = stream.time_base();
            let base = Fraction::from_pair((base.numerator(), base.denominator()))?;
            Some(rescale(stream.start_time(), base, MICROSECOND))
        })
        .min()
}

/// Errors in a row after which a demuxer is taken to have lost its way.
const FAILED_READS_MAX: u32 = 64;

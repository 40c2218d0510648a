//! The decode loop: packets in, steady pictures and sound out.
//!
//! Errors of single packets are counted and passed over: a damaged upload gives what can be decoded. Whether that is
//! enough is decided at the end. The limit on the length is checked here again, because containers lie.

use ffmpeg_next::{
    Error, Packet,
    error::{EAGAIN, ENOMEM},
    frame,
};
use tidegate_contract::{
    package_job::FailureReason,
    worker_frame::{Done, WorkerOrder},
};

use super::{
    fan_out::{FanOut, ReaderGone},
    shared::Shared,
    sound::Sound,
    steady::{self, Steady},
    wish::AudioWish,
};
use crate::{failure::RunError, ffi::libav, fraction::frame_ms, logging, source::Source};

/// One pass over the upload.
pub(super) struct Feed<'a> {
    source: Source,
    steady: Steady,
    sound: Option<Sound<'a>>,
    fan_out: FanOut<'a>,
    shared: &'a Shared<'a>,
    duration_ms_max: u64,
    decoded: u64,
    damaged_packets: u64,
}

impl<'a> Feed<'a> {
    pub(super) fn new(
        mut source: Source,
        order: &WorkerOrder,
        audio: Option<AudioWish>,
        fan_out: FanOut<'a>,
        shared: &'a Shared<'a>,
    ) -> Self {
        let steady = Steady::new(&source);
        let sound = source.audio.take().zip(audio).map(|(track, wish)| {
            let timeline = steady::timeline(&source, track.time_base);
            Sound::new(track, timeline, wish, order.duration_ms_max, shared)
        });
        let duration_ms_max = order.duration_ms_max.saturating_add(DURATION_SLACK_MS);
        Self {
            source,
            steady,
            sound,
            fan_out,
            shared,
            duration_ms_max,
            decoded: 0,
            damaged_packets: 0,
        }
    }

    /// Decodes everything.
    ///
    /// # Errors
    /// The verdict. When a reader of the pictures ended, its own error is the one that counts.
    pub(super) fn run(mut self) -> Result<Done, RunError> {
        let done = self.decode();
        if done.is_err() {
            // While the queues are still open: rungs that see them close must not flush what is no video.
            self.shared.stop();
        }
        done
    }

    fn decode(&mut self) -> Result<Done, RunError> {
        let mut packet = Packet::empty();
        while self.source.read(&mut packet) {
            if packet.stream() == self.source.video.index {
                if libav::is_encrypted(&packet) {
                    let detail = "the pictures are encrypted";
                    return Err(RunError::new(FailureReason::Encrypted, detail));
                }
                let taken = self.source.video.decoder.send_packet(&packet);
                self.count_damage(taken)?;
                self.decoded_pictures()?;
            } else if let Some(sound) = &mut self.sound
                && packet.stream() == sound.stream()
            {
                sound.packet(&packet)?;
            }
        }
        self.end()
    }

    fn end(&mut self) -> Result<Done, RunError> {
        // Refused only by a decoder that was told before.
        let _ = self.source.video.decoder.send_eof();
        self.decoded_pictures()?;
        self.steady.close().map_err(|error| RunError::internal("end the pictures", error))?;
        self.steady_pictures()?;
        let pictures = self.fan_out.pictures();
        let duration_ms = frame_ms(pictures, self.source.video.rate);
        self.require_enough(pictures, duration_ms)?;
        if self.damaged_packets > 0 {
            let damaged = self.damaged_packets;
            logging::line(format_args!("{damaged} packets or pictures could not be decoded"));
        }
        let audio_note = self.sound.as_mut().map(Sound::finish).transpose()?.unwrap_or_default();
        self.fan_out.finish().map_err(reader_gone)?;
        Ok(Done { frames: self.decoded, duration_ms, sprite_pictures: 0, audio_note })
    }

    fn decoded_pictures(&mut self) -> Result<(), RunError> {
        let mut picture = frame::Video::empty();
        let mut failed = 0;
        while failed < FAILED_PICTURES_MAX {
            match self.source.video.decoder.receive_frame(&mut picture) {
                Ok(()) => self.decoded += 1,
                Err(Error::Eof | Error::Other { errno: EAGAIN }) => return Ok(()),
                Err(error) => {
                    self.count_damage(Err(error))?;
                    failed += 1;
                    continue;
                }
            }
            let ready = std::mem::replace(&mut picture, frame::Video::empty());
            self.steady
                .push(&self.source, ready)
                .map_err(|error| RunError::internal("filter a picture", error))?;
            self.steady_pictures()?;
        }
        Ok(())
    }

    /// Passes over what is damaged; but a picture that is missing for want of memory is no damage of the upload.
    fn count_damage(&mut self, result: Result<(), Error>) -> Result<(), RunError> {
        match result {
            Ok(()) => Ok(()),
            Err(Error::Other { errno: ENOMEM }) => {
                let detail = "decoding needs more memory than the worker may use";
                Err(RunError::new(FailureReason::WorkerKilled, detail))
            }
            Err(_) => {
                self.damaged_packets += 1;
                Ok(())
            }
        }
    }

    fn steady_pictures(&mut self) -> Result<(), RunError> {
        let filtered = |error| RunError::internal("filter a picture", error);
        while let Some(picture) = self.steady.pull().map_err(filtered)? {
            let at_ms = frame_ms(self.fan_out.pictures(), self.source.video.rate);
            if at_ms > self.duration_ms_max {
                let detail = format!("it goes on after {at_ms} ms, above the limit");
                return Err(RunError::new(FailureReason::TooLong, detail));
            }
            self.fan_out.give(picture).map_err(reader_gone)?;
        }
        Ok(())
    }

    /// A damaged upload becomes a video when a second of it could be decoded.
    fn require_enough(&self, pictures: u64, duration_ms: u64) -> Result<(), RunError> {
        if pictures == 0 {
            return Err(RunError::damaged("no picture could be decoded"));
        }
        let is_cut = duration_ms.saturating_mul(2) < self.source.duration_ms;
        if (self.damaged_packets > 0 || is_cut) && duration_ms < DAMAGED_MS_MIN {
            let detail =
                format!("only {duration_ms} ms of {} could be decoded", self.source.duration_ms);
            return Err(RunError::damaged(detail));
        }
        Ok(())
    }
}

fn reader_gone(_: ReaderGone) -> RunError {
    RunError::new(FailureReason::Internal, "an encoder ended before the pictures did")
}

/// Errors for one packet after which the decoder is left alone; its threads can hold a few pictures each.
const FAILED_PICTURES_MAX: u32 = 64;
/// What must be decodable of a damaged upload, in milliseconds.
const DAMAGED_MS_MIN: u64 = 1000;
/// Containers round their length; the last frame may begin a little later.
const DURATION_SLACK_MS: u64 = 1000;

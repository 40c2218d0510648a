//! What one worker run delivers becomes objects and finished renditions.
//!
//! Frames may come in any order and with any content: a track has to begin before its samples and ends once, and
//! everything that the plan did not ask for is an error. Such an error is the end of the run, because a worker
//! that breaks the protocol is broken or taken over.

use std::time::Duration;

use tidegate_contract::{
    package_job::FailureReason,
    worker_frame::{Done, Frame, Sample, TrackPlan, TrackStart},
};
use tracing::warn;

use crate::{
    ladder::RunPlan,
    media::Rendition,
    output::Output,
    picture::{PictureError, Pictures},
    track::{self, Track, TrackError},
};

/// The state of one run.
#[derive(Debug)]
pub struct Assembly {
    run: RunPlan,
    config: track::Config,
    duration_max: Duration,
    slots: Vec<Slot>,
    pictures: Pictures,
}

#[derive(Debug)]
enum Slot {
    Waiting,
    Open(Box<Track>),
    Finished(Rendition),
    /// Sound that failed on the way; the video goes on without it.
    Dropped,
}

/// What a frame meant for the run.
#[derive(Debug, PartialEq, Eq)]
pub enum Event {
    /// Nothing that anybody waits for.
    Taken,
    /// How far the run is, in thousandths.
    Progress(u16),
    /// One more rendition is finished.
    RenditionFinished,
    /// The run is over; everything of it is stored.
    Done,
    /// The worker gives up.
    Failed {
        /// For programs.
        reason: FailureReason,
        /// For people.
        detail: String,
    },
}

/// Why a run ends here.
#[derive(Debug, thiserror::Error)]
pub enum AssemblyError {
    /// A frame that has no place in a run.
    #[error("an unexpected frame: {0}")]
    Unexpected(&'static str),
    /// A track's number outside of the plan, or in the wrong state.
    #[error("track {number} cannot {what} now")]
    Track {
        /// The number.
        number: u16,
        /// `begin`, `go on`, `end`.
        what: &'static str,
    },
    /// Done without a rendition that was ordered.
    #[error("the run is done without rendition {0}")]
    Missing(String),
    /// The track itself.
    #[error(transparent)]
    Content(#[from] TrackError),
    /// A picture.
    #[error(transparent)]
    Picture(#[from] PictureError),
}

impl Assembly {
    /// Waits for the frames of a run.
    #[must_use]
    pub fn new(run: RunPlan, config: track::Config, duration_max: Duration) -> Self {
        let slots = run.ids.iter().map(|_| Slot::Waiting).collect();
        let duration_ms = u64::try_from(duration_max.as_millis()).unwrap_or(u64::MAX);
        let pictures = Pictures::new(run.plan.images.clone(), duration_ms);
        Self { run, config, duration_max, slots, pictures }
    }

    /// Takes a frame.
    ///
    /// # Errors
    /// [`AssemblyError`] when the worker did what it must not, or an object could not be written.
    pub async fn take(
        &mut self,
        frame: Frame,
        output: &mut Output,
    ) -> Result<Event, AssemblyError> {
        match frame {
            Frame::Track(start) => self.begin(start),
            Frame::Sample(sample) => self.sample(sample, output).await,
            Frame::TrackEnd { track } => self.end(track, output).await,
            Frame::Image(image) => {
                self.pictures.take(image, output).await?;
                Ok(Event::Taken)
            }
            Frame::Progress { permille } => Ok(Event::Progress(permille.min(1000))),
            Frame::Done(done) => self.done(&done, output).await,
            Frame::Failed { reason, detail } => Ok(Event::Failed { reason, detail }),
            Frame::Order(_) => Err(AssemblyError::Unexpected("order")),
            Frame::Probe(_) => Err(AssemblyError::Unexpected("probe")),
            Frame::Plan(_) => Err(AssemblyError::Unexpected("plan")),
        }
    }

    /// The finished renditions, in the order of the plan.
    pub fn renditions(&self) -> impl Iterator<Item = &Rendition> {
        self.slots.iter().filter_map(|slot| match slot {
            Slot::Finished(rendition) => Some(rendition),
            _ => None,
        })
    }

    /// Whether sound is still to come: a publication without it would start players mute.
    #[must_use]
    pub fn awaits_audio(&self) -> bool {
        self.slots.iter().zip(&self.run.plan.tracks).any(|(slot, plan)| {
            matches!(plan, TrackPlan::Audio { .. }) && matches!(slot, Slot::Waiting | Slot::Open(_))
        })
    }

    /// Whether every rendition of the plan is finished.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.slots.iter().all(|slot| matches!(slot, Slot::Finished(_)))
    }

    /// The pictures that have arrived.
    #[must_use]
    pub fn pictures(&self) -> &Pictures {
        &self.pictures
    }

    fn begin(&mut self, start: TrackStart) -> Result<Event, AssemblyError> {
        let index = usize::from(start.track);
        let cannot = AssemblyError::Track { number: start.track, what: "begin" };
        let (Some(slot @ Slot::Waiting), Some(plan), Some(id)) =
            (self.slots.get_mut(index), self.run.plan.tracks.get(index), self.run.ids.get(index))
        else {
            return Err(cannot);
        };
        let track = Track::begin(&self.config, id.clone(), plan, start, self.duration_max)?;
        *slot = Slot::Open(Box::new(track));
        Ok(Event::Taken)
    }

    async fn sample(
        &mut self,
        sample: Sample,
        output: &mut Output,
    ) -> Result<Event, AssemblyError> {
        let number = sample.track;
        match self.slots.get_mut(usize::from(number)) {
            Some(Slot::Open(track)) => {
                track.push(sample, output).await?;
                Ok(Event::Taken)
            }
            _ => Err(AssemblyError::Track { number, what: "go on" }),
        }
    }

    async fn end(&mut self, number: u16, output: &mut Output) -> Result<Event, AssemblyError> {
        let cannot = AssemblyError::Track { number, what: "end" };
        let slot = self.slots.get_mut(usize::from(number)).ok_or(cannot)?;
        match std::mem::replace(slot, Slot::Dropped) {
            Slot::Open(track) => {
                *slot = Slot::Finished(track.finish(output).await?);
                Ok(Event::RenditionFinished)
            }
            _ => Err(AssemblyError::Track { number, what: "end" }),
        }
    }

    async fn done(&mut self, done: &Done, output: &mut Output) -> Result<Event, AssemblyError> {
        let plans = self.slots.iter_mut().zip(&self.run.plan.tracks).zip(&self.run.ids);
        for ((slot, plan), id) in plans {
            match (&*slot, plan) {
                (Slot::Finished(_), _) => {}
                (_, TrackPlan::Audio { .. }) => {
                    let note: String = done.audio_note.chars().take(NOTE_CHARS_MAX).collect();
                    warn!(%note, "the video goes on without sound");
                    *slot = Slot::Dropped;
                }
                (_, TrackPlan::Video { .. }) => return Err(AssemblyError::Missing(id.to_string())),
            }
        }
        let longest = self.renditions().map(|rendition| rendition.duration().as_millis()).max();
        let duration_ms = u64::try_from(longest.unwrap_or(0)).unwrap_or(u64::MAX);
        self.pictures.finish(done.sprite_pictures, duration_ms, output).await?;
        Ok(Event::Done)
    }
}

const NOTE_CHARS_MAX: usize = 200;

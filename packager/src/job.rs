//! One job: probe → plan → encode → package → publish.
//!
//! ```text
//! run 1   the worker probes → plan of H.264 rungs, sound and pictures → a publication at each finished rung
//! run 2   HEVC of the top rungs from the same upload; a failure here leaves what is published as it is
//! last    a publication with `complete`
//! ```
//!
//! **Invariant.** A job ends: every run has a deadline, and whoever drops the job's future kills its worker.

use std::{fs::File, path::PathBuf, time::Duration};

use bytesize::ByteSize;
use serde::{Deserialize, Serialize};
use tidegate_contract::{
    package_job::{FailureReason, JobStage, PackageJob},
    worker_frame::{Probe, WorkerOrder},
};
use tokio::time::Instant;
use tracing::{info, warn};

use crate::{
    assembly::{Assembly, Event},
    failure::JobError,
    ladder::{self, RunPlan},
    lease::Lease,
    manifest::Place,
    media::Rendition,
    metrics::Metrics,
    output::Output,
    publication::Stored,
    source,
    store::Store,
    track, worker_process,
    worker_run::WorkerRun,
};

/// Section `[limits]`: what an upload may be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// The longest video. Short video is the purpose; longer ones would hold a slot for hours.
    #[serde(with = "humantime_serde")]
    pub duration_max: Duration,
    /// The largest upload.
    pub source_bytes_max: ByteSize,
    /// The most pixels of a source frame: 4K in either direction, since decoding 8K takes seconds a frame.
    pub pixels_max: u64,
    /// The most tracks of an upload.
    pub tracks_max: u32,
    /// The highest frame rate that is kept; faster uploads are thinned out.
    pub fps_max: u32,
    /// The most bytes that one job may write.
    pub output_bytes_max: ByteSize,
}

/// What all jobs of this program share.
#[derive(Debug, Clone)]
pub struct Packager {
    /// What an upload may be.
    pub limits: Limits,
    /// What is made of it.
    pub ladder: ladder::Config,
    /// How it is cut.
    pub segment: track::Config,
    /// The child process.
    pub worker: worker_process::Config,
    /// The worker's binary.
    pub worker_binary: PathBuf,
    /// Uploads and objects.
    pub store: Store,
    /// Folder for uploads that have to be fetched; the system's by default.
    pub scratch: Option<PathBuf>,
    /// This program's metrics.
    pub metrics: Metrics,
}

/// One job on its way.
struct Work<'a> {
    packager: &'a Packager,
    lease: &'a Lease,
    output: Output,
    place: Place,
    began: Instant,
    is_published: bool,
}

/// What a run leaves behind.
#[derive(Debug, Default)]
struct Made {
    renditions: Vec<Rendition>,
    images: Vec<String>,
    stills: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            duration_max: Duration::from_secs(30 * 60),
            source_bytes_max: ByteSize::gib(8),
            pixels_max: 4096 * 2304,
            tracks_max: 32,
            fps_max: 60,
            output_bytes_max: ByteSize::gib(8),
        }
    }
}

impl Packager {
    /// Does a job to its end.
    ///
    /// # Errors
    /// [`JobError`]; origin has not been told of it.
    pub async fn run(&self, lease: &Lease) -> Result<(), JobError> {
        let job = lease.job();
        if job.source_bytes == 0 {
            return Err(JobError::failed(FailureReason::Empty, "the upload has no bytes"));
        }
        let mut work = Work::new(self, lease);
        let (probe, mut made) = work.h264().await?;
        if let Some(plan) = ladder::hevc(&self.ladder, &probe) {
            work.publish(&made.stored(), false).await?;
            match work.hevc(plan, &probe, &made).await {
                Ok(more) => made.renditions.extend(more),
                Err(JobError::LeaseLost) => return Err(JobError::LeaseLost),
                Err(error) => {
                    warn!(job = %job.job, %error, "the video stays without HEVC");
                    self.metrics.hevc_failures.inc();
                }
            }
        }
        work.publish(&made.stored(), true).await
    }

    async fn open(&self, job: &PackageJob) -> Result<File, JobError> {
        let bytes_max = self.limits.source_bytes_max.as_u64();
        Ok(source::open(&self.store, self.scratch.clone(), job, bytes_max).await?)
    }

    async fn start(&self, source: File) -> Result<WorkerRun, JobError> {
        let order = WorkerOrder {
            duration_ms_max: millis(self.limits.duration_max),
            pixels_max: self.limits.pixels_max,
            tracks_max: self.limits.tracks_max,
            fps_max: self.limits.fps_max,
            lag_bytes_max: self.worker.lag_bytes_max.as_u64(),
            threads: self.worker.threads(),
        };
        let metrics = self.metrics.clone();
        WorkerRun::start(&self.worker_binary, &self.worker, source, order, metrics).await
    }

    /// The worker has checked this already; it is checked again because the worker is not to be believed.
    fn check(&self, probe: &Probe) -> Result<(), JobError> {
        let pixels = u64::from(probe.width) * u64::from(probe.height);
        if pixels > self.limits.pixels_max {
            let detail = format!("{pixels} pixels, at most {}", self.limits.pixels_max);
            return Err(JobError::failed(FailureReason::TooLarge, detail));
        }
        if probe.duration_ms > millis(self.limits.duration_max) {
            let (is, limit) = (probe.duration_ms / 1000, self.limits.duration_max.as_secs());
            let detail = format!("{is} s, at most {limit} s");
            return Err(JobError::failed(FailureReason::TooLong, detail));
        }
        Ok(())
    }

    /// How long a run may take; a container that does not say its length gets the time of the longest video.
    fn deadline(&self, probe: &Probe) -> Duration {
        let length = match probe.duration_ms {
            0 => self.limits.duration_max,
            ms => Duration::from_millis(ms).min(self.limits.duration_max),
        };
        self.worker.deadline_base + length * self.worker.deadline_factor
    }

    fn assembly(&self, plan: RunPlan) -> Assembly {
        Assembly::new(plan, self.segment.clone(), self.limits.duration_max)
    }
}

impl<'a> Work<'a> {
    fn new(packager: &'a Packager, lease: &'a Lease) -> Self {
        let job = lease.job();
        let output = Output::new(
            packager.store.clone(),
            job.media.clone(),
            job.epoch,
            packager.metrics.clone(),
            packager.limits.output_bytes_max.as_u64(),
        );
        let place = Place::new(job.media.clone(), job.epoch);
        Self { packager, lease, output, place, began: Instant::now(), is_published: false }
    }

    /// The first run; publishes as soon as something plays.
    async fn h264(&mut self) -> Result<(Probe, Made), JobError> {
        let packager = self.packager;
        let source = packager.open(self.lease.job()).await?;
        let mut run = packager.start(source).await?;
        let probe = run.probe().clone();
        packager.check(&probe)?;
        let plan = ladder::h264(&packager.ladder, &probe)?;
        info!(
            job = %self.lease.job().job,
            width = probe.width,
            height = probe.height,
            duration_ms = probe.duration_ms,
            tracks = plan.plan.tracks.len(),
            "encoding"
        );
        let share =
            if ladder::hevc(&packager.ladder, &probe).is_some() { H264_SHARE } else { 1000 };
        self.lease.report(JobStage::Transcoding, 0);
        run.order(plan.plan.clone(), packager.deadline(&probe)).await?;
        let mut assembly = packager.assembly(plan);
        loop {
            match run.next(&mut assembly, &mut self.output).await? {
                Event::Progress(permille) => self.progress(0, share, permille),
                Event::RenditionFinished => {
                    let stored = stored(&assembly);
                    // With the last one everything is done in a moment, sprites and all.
                    if stored.is_playable() && !assembly.is_whole() {
                        self.publish(&stored, false).await?;
                    }
                }
                Event::Done => break,
                Event::Taken | Event::Failed { .. } => {}
            }
        }
        run.finish().await;
        let made = Made {
            renditions: assembly.renditions().cloned().collect(),
            images: assembly.pictures().names().to_vec(),
            stills: assembly.pictures().stills(),
        };
        Ok((probe, made))
    }

    /// The second run; adds to what the first one made.
    async fn hevc(
        &mut self,
        plan: RunPlan,
        probe: &Probe,
        made: &Made,
    ) -> Result<Vec<Rendition>, JobError> {
        let packager = self.packager;
        let source = packager.open(self.lease.job()).await?;
        let mut run = packager.start(source).await?;
        run.order(plan.plan.clone(), packager.deadline(probe)).await?;
        let mut assembly = packager.assembly(plan);
        loop {
            match run.next(&mut assembly, &mut self.output).await? {
                Event::Progress(permille) => self.progress(H264_SHARE, 1000, permille),
                Event::RenditionFinished if !assembly.is_whole() => {
                    let mut stored = made.stored();
                    stored.renditions.extend(assembly.renditions());
                    self.publish(&stored, false).await?;
                }
                Event::Done => break,
                Event::RenditionFinished | Event::Taken | Event::Failed { .. } => {}
            }
        }
        run.finish().await;
        Ok(assembly.renditions().cloned().collect())
    }

    async fn publish(&mut self, stored: &Stored<'_>, complete: bool) -> Result<(), JobError> {
        let publication = stored.publication(&self.place, self.lease.job().epoch, complete);
        self.lease.publish(&publication).await?;
        if !self.is_published {
            self.is_published = true;
            let waited = self.began.elapsed().as_secs_f64();
            self.packager.metrics.playable_seconds.observe(waited);
        }
        let renditions = publication.renditions.len();
        info!(job = %self.lease.job().job, renditions, complete, "published");
        Ok(())
    }

    /// Maps a run's progress to its part of the whole job.
    fn progress(&self, from: u16, to: u16, permille: u16) {
        let part = u32::from(to - from) * u32::from(permille) / 1000;
        let whole = from + u16::try_from(part).unwrap_or(0);
        self.lease.report(JobStage::Transcoding, whole);
    }
}

impl Made {
    fn stored(&self) -> Stored<'_> {
        Stored {
            renditions: self.renditions.iter().collect(),
            awaits_audio: false,
            images: &self.images,
            stills: self.stills,
        }
    }
}

fn stored(assembly: &Assembly) -> Stored<'_> {
    Stored {
        renditions: assembly.renditions().collect(),
        awaits_audio: assembly.awaits_audio(),
        images: assembly.pictures().names(),
        stills: assembly.pictures().stills(),
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// The part of a job's progress, in thousandths, that is H.264 when HEVC follows.
const H264_SHARE: u16 = 500;

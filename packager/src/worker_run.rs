//! One run of a worker: start it on an upload, learn what the upload holds, let it make a plan.
//!
//! Looking at an upload has a fixed deadline; a plan has one that grows with the video's length.

use std::{fs::File, path::Path, time::Duration};

use tidegate_contract::{
    package_job::FailureReason,
    worker_frame::{Frame, Plan, Probe, WorkerOrder},
};
use tokio::time::{Instant, timeout_at};

use crate::{
    assembly::{Assembly, Event},
    failure::JobError,
    metrics::Metrics,
    output::Output,
    worker_process::{Config, WorkerError, WorkerProcess},
};

/// A worker that has looked at its upload.
#[derive(Debug)]
pub struct WorkerRun {
    worker: WorkerProcess,
    probe: Probe,
    metrics: Metrics,
    began: Instant,
    deadline: Instant,
}

impl WorkerRun {
    /// Starts a worker and waits for its probe.
    ///
    /// # Errors
    /// The worker refuses the upload, ends, or takes too long.
    pub async fn start(
        binary: &Path,
        config: &Config,
        source: File,
        order: WorkerOrder,
        metrics: Metrics,
    ) -> Result<Self, JobError> {
        let began = Instant::now();
        let deadline = began + config.deadline_base;
        let mut worker = WorkerProcess::start(binary, config, source, order).await?;
        let frame = next(&mut worker, began, deadline, &metrics).await?;
        let probe = match frame {
            Frame::Probe(probe) => probe,
            Frame::Failed { reason, detail } => return Err(refused(&metrics, reason, detail)),
            _ => {
                count(&metrics, "protocol");
                let detail = "the worker's first word is no probe";
                return Err(JobError::failed(FailureReason::WorkerKilled, detail));
            }
        };
        Ok(Self { worker, probe, metrics, began, deadline })
    }

    /// What the upload holds, as far as the worker is to be believed.
    #[must_use]
    pub fn probe(&self) -> &Probe {
        &self.probe
    }

    /// Orders a plan; from here on the deadline is `limit` from now.
    ///
    /// # Errors
    /// The plan is above a limit of the protocol.
    pub async fn order(&mut self, plan: Plan, limit: Duration) -> Result<(), JobError> {
        self.began = Instant::now();
        self.deadline = self.began + limit;
        Ok(self.worker.send(&Frame::Plan(plan)).await?)
    }

    /// Takes the worker's next frame into the assembly.
    ///
    /// # Errors
    /// The worker gives up, ends, breaks the protocol or takes too long; or an object cannot be written.
    pub async fn next(
        &mut self,
        assembly: &mut Assembly,
        output: &mut Output,
    ) -> Result<Event, JobError> {
        let frame = next(&mut self.worker, self.began, self.deadline, &self.metrics).await?;
        match assembly.take(frame, output).await {
            Ok(Event::Failed { reason, detail }) => Err(refused(&self.metrics, reason, detail)),
            Ok(event) => Ok(event),
            Err(error) => {
                count(&self.metrics, "protocol");
                Err(error.into())
            }
        }
    }

    /// Waits for the end of a worker that is done.
    pub async fn finish(self) {
        count(&self.metrics, "done");
        self.worker.finish().await;
    }
}

async fn next(
    worker: &mut WorkerProcess,
    began: Instant,
    deadline: Instant,
    metrics: &Metrics,
) -> Result<Frame, JobError> {
    match timeout_at(deadline, worker.next()).await {
        Ok(Ok(frame)) => Ok(frame),
        Ok(Err(error)) => {
            count(
                metrics,
                match &error {
                    WorkerError::Killed(_) => "killed",
                    WorkerError::Frame(_) => "protocol",
                    WorkerError::Start { .. } | WorkerError::Exited(_) => "exited",
                },
            );
            Err(error.into())
        }
        Err(_) => {
            count(metrics, "deadline");
            Err(JobError::deadline(deadline - began))
        }
    }
}

fn refused(metrics: &Metrics, reason: FailureReason, detail: String) -> JobError {
    count(metrics, "failed");
    JobError::failed(reason, detail)
}

fn count(metrics: &Metrics, end: &'static str) {
    metrics.workers.with_label_values(&[end]).inc();
}

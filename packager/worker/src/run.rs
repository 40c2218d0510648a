//! One job: close the sandbox, take the order, look at the upload, take the plan, make it, give the verdict.
//!
//! Whatever the upload holds, the last frame is `Done` or `Failed`; only a packager that is gone gets none.

use std::{fs::File, io};

use tidegate_contract::worker_frame::Frame;

use crate::{
    codec,
    failure::RunError,
    ffi::kernel,
    sandbox::{self, Policy, SandboxError},
    source::Source,
    transcode,
    wire::{self, Inbox, Outbox, WireError},
};

/// Why a run gave no verdict.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RunEnd {
    /// The sandbox could not be closed; nothing was read.
    #[error(transparent)]
    Sandbox(#[from] SandboxError),
    /// The packager did not leave what it must leave, or is gone.
    #[error(transparent)]
    Wire(#[from] WireError),
    /// Descriptor 0 is missing or no regular file.
    #[error("the upload on descriptor 0 cannot be used: {0}")]
    Upload(io::Error),
}

/// Runs one job and delivers its verdict.
pub(crate) fn run(policy: Policy) -> Result<(), RunEnd> {
    let upload = upload().map_err(RunEnd::Upload)?;
    let (mut inbox, outbox) = wire::connect()?;
    codec::prepare();
    // Before the sandbox closes: loading a card's driver opens files, and the codecs load what they need.
    let encoders = codec::usable_encoders(policy.gpu);
    sandbox::close(&policy)?;
    let verdict = match job(upload, &policy, &encoders, &mut inbox, &outbox) {
        Ok(done) => done,
        Err(RunError::Wire(error)) => return Err(error.into()),
        Err(RunError::Failed { reason, mut detail }) => {
            detail.truncate(detail.floor_char_boundary(DETAIL_BYTES_MAX));
            Frame::Failed { reason, detail }
        }
    };
    Ok(outbox.send(&verdict)?)
}

fn job(
    upload: File,
    policy: &Policy,
    encoders: &[&str],
    inbox: &mut Inbox,
    outbox: &Outbox,
) -> Result<Frame, RunError> {
    let Frame::Order(mut order) = inbox.receive()? else {
        return Err(WireError::Unexpected("order").into());
    };
    // Waiting pictures must leave room for the decoder's and the encoders' own.
    order.lag_bytes_max = order.lag_bytes_max.min(policy.memory_bytes / LAG_PART);
    let source = Source::open(upload, &order)?;
    outbox.send(&Frame::Probe(source.probe(encoders)))?;
    let Frame::Plan(plan) = inbox.receive()? else {
        return Err(WireError::Unexpected("plan").into());
    };
    let done = transcode::transcode(source, &order, &plan, outbox)?;
    outbox.send(&Frame::Progress { permille: 1000 })?;
    Ok(Frame::Done(done))
}

/// Descriptor 0; its kind is checked, its bytes are not touched.
fn upload() -> io::Result<File> {
    kernel::close_from(FIRST_UNUSED_DESCRIPTOR)?;
    let upload = kernel::descriptor(0)?;
    if upload.metadata()?.is_file() {
        Ok(upload)
    } else {
        Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"))
    }
}

/// The part of the memory limit that waiting pictures may take.
const LAG_PART: u64 = 4;
/// 0 upload, 1 and 2 output, 3 packager.
const FIRST_UNUSED_DESCRIPTOR: u32 = 4;
const DETAIL_BYTES_MAX: usize = tidegate_contract::package_job::DETAIL_BYTES_MAX;

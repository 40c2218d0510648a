//! A worker process with its upload on descriptor 0 and a packager's socket on descriptor 3.

use std::{
    fs::File,
    io::{Read, Write},
    os::{
        fd::AsRawFd,
        unix::{net::UnixStream, process::CommandExt},
    },
    path::Path,
    process::{Child, Command, Output, Stdio},
    time::Duration,
};

use tidegate_contract::worker_frame::{
    self, Frame, HEAD_BYTES, ImagePlan, Plan, Probe, TrackPlan, WorkerOrder,
};

use super::{Clip, Outcome};

/// A worker that runs.
pub(crate) struct Worker {
    child: Child,
    socket: UnixStream,
}

impl Worker {
    /// Starts a worker on an upload.
    pub(crate) fn start(upload: &Path) -> Self {
        Self::start_with(upload, &[])
    }

    /// Starts a worker with more flags.
    pub(crate) fn start_with(upload: &Path, flags: &[&str]) -> Self {
        let (socket, theirs) = UnixStream::pair().expect("a socket pair");
        socket.set_read_timeout(Some(PATIENCE)).expect("a plain socket");
        let number = theirs.as_raw_fd();
        let mut command = program();
        command.arg("run").args(flags);
        command.stdin(File::open(upload).expect("the upload exists"));
        command.stdout(Stdio::null()).stderr(Stdio::piped());
        // SAFETY: only async-signal-safe calls on descriptors that stay open until the child runs.
        unsafe {
            command.pre_exec(move || {
                let status = match number {
                    SOCKET => libc::fcntl(SOCKET, libc::F_SETFD, 0),
                    _ => libc::dup2(number, SOCKET),
                };
                if status < 0 { Err(std::io::Error::last_os_error()) } else { Ok(()) }
            });
        }
        let child = command.spawn().expect("the worker starts");
        Self { child, socket }
    }

    /// Its process id.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn send(&mut self, frame: &Frame) {
        let bytes = frame.to_bytes().expect("a small frame");
        // A worker that already gave its verdict may be gone; what it said is still to be read.
        let _ = self.socket.write_all(&bytes);
    }

    /// The next frame; nothing when the worker closed the socket.
    pub(crate) fn receive(&mut self) -> Option<Frame> {
        let mut head = [0; HEAD_BYTES];
        self.socket.read_exact(&mut head).ok()?;
        let (kind, bytes) = worker_frame::parse_head(head).expect("a known frame");
        let mut payload = vec![0; bytes];
        self.socket.read_exact(&mut payload).expect("the whole frame");
        Some(Frame::parse(kind, &payload).expect("a sound frame"))
    }

    /// Gives the order and waits for the probe; nothing when the verdict came instead.
    pub(crate) fn probe(&mut self, order: WorkerOrder, outcome: &mut Outcome) -> Option<Probe> {
        self.send(&Frame::Order(order));
        match self.receive() {
            Some(Frame::Probe(probe)) => Some(probe),
            other => {
                outcome.frames.extend(other);
                None
            }
        }
    }

    /// Reads to the end.
    pub(crate) fn finish(mut self, outcome: &mut Outcome) {
        while let Some(frame) = self.receive() {
            outcome.frames.push(frame);
        }
        let output = self.child.wait_with_output().expect("the worker can be waited for");
        outcome.status = Some(output.status);
        outcome.stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    }

    /// Stops listening, as a packager does that was killed.
    pub(crate) fn abandon(self) -> Output {
        drop(self.socket);
        self.child.wait_with_output().expect("the worker can be waited for")
    }
}

/// Runs a whole job; the plan is made from the probe.
pub(crate) fn transcode(
    clip: &Clip,
    order: WorkerOrder,
    plan: impl FnOnce(&Probe) -> Plan,
) -> Outcome {
    transcode_with(clip, order, &[], plan)
}

/// Runs a whole job with more flags.
pub(crate) fn transcode_with(
    clip: &Clip,
    order: WorkerOrder,
    flags: &[&str],
    plan: impl FnOnce(&Probe) -> Plan,
) -> Outcome {
    let mut worker = Worker::start_with(&clip.path(), flags);
    let mut outcome = Outcome::default();
    if let Some(probe) = worker.probe(order, &mut outcome) {
        worker.send(&Frame::Plan(plan(&probe)));
        outcome.probe = Some(probe);
    }
    worker.finish(&mut outcome);
    outcome
}

/// Limits that fit every clip of the tests.
pub(crate) fn order() -> WorkerOrder {
    WorkerOrder {
        duration_ms_max: 60_000,
        pixels_max: 3840 * 2160,
        tracks_max: 16,
        fps_max: 60,
        lag_bytes_max: 64 << 20,
        threads: 2,
    }
}

/// A plan with a GOP of one second and no images.
pub(crate) fn plan(tracks: &[TrackPlan]) -> Plan {
    Plan { tracks: tracks.to_vec(), images: None, gop_ms: 1000 }
}

/// An H.264 rendition.
pub(crate) fn video(width: u32, height: u32) -> TrackPlan {
    TrackPlan::Video {
        encoder: "libx264".to_owned(),
        width,
        height,
        preset: "veryfast".to_owned(),
        crf: 23,
        maxrate: 2_000_000,
        bufsize: 4_000_000,
    }
}

/// An AAC rendition.
pub(crate) fn audio() -> TrackPlan {
    TrackPlan::Audio { bitrate: 96_000 }
}

/// Images of every kind.
pub(crate) fn images(thumbnail_ms: &[u64]) -> ImagePlan {
    ImagePlan {
        thumbnail_ms: thumbnail_ms.to_vec(),
        thumbnail_short_side: 120,
        sprite_ms: 500,
        sprite_width: 64,
        sprite_height: 48,
        sprite_columns: 3,
        sprite_rows: 2,
        still_short_side: 64,
    }
}

/// Runs `generate`.
pub(crate) fn generate(output: &Path, arguments: &[&str]) {
    let made = program().arg("generate").arg("--output").arg(output).args(arguments).output();
    let made = made.expect("the worker starts");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
}

/// Runs an attempt inside of the sandbox.
pub(crate) fn self_test(arguments: &[&str]) -> Output {
    program().arg("sandbox-self-test").args(arguments).output().expect("the worker starts")
}

/// The worker's program.
pub(crate) fn program() -> Command {
    Command::new(env!("CARGO_BIN_EXE_tidegate-packager-worker"))
}

const SOCKET: i32 = 3;
/// How long a frame may take: far above what any takes.
const PATIENCE: Duration = Duration::from_secs(120);

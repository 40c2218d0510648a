//! The sandboxed child: start, speak, stop.
//!
//! The worker gets the upload as descriptor 0, one end of a socket pair as descriptor 3, an empty environment and
//! nothing else. It is killed when its [`WorkerProcess`] is dropped, so whoever stops waiting for a job (deadline,
//! lost lease, drain) also stops its worker. What it writes to stderr is logged, line by line and bounded.
//!
//! **Invariant.** No frame is longer than the protocol allows, and no line of stderr longer than
//! [`LINE_BYTES_MAX`]; a worker cannot make this process hold more.

use std::{
    fs::File,
    os::{
        fd::{AsRawFd, OwnedFd},
        unix::process::ExitStatusExt,
    },
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    time::Duration,
};

use bytesize::ByteSize;
use serde::{Deserialize, Serialize};
use tidegate_contract::worker_frame::{Frame, FrameError, HEAD_BYTES, WorkerOrder, parse_head};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::UnixStream,
    process::{Child, ChildStderr, Command},
    time::timeout,
};
use tracing::{debug, info, warn};

/// Section `[worker]`: the child process and what it may use.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The worker's binary; by default `tidegate-packager-worker` beside this program's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<PathBuf>,
    /// Runs the worker without its sandbox. Only for platforms without Landlock and seccomp: an upload that
    /// takes over a decoder then has this program's rights.
    pub unsandboxed: bool,
    /// Lets the worker open GPU device nodes, for hardware encoders; widens the sandbox.
    pub allow_gpu: bool,
    /// Threads for decoder and encoders of one worker; 0: as many as there are cores.
    pub threads: u32,
    /// Decoded picture that may wait for slower encoders: lets the small rungs run ahead of the big ones. Every byte of
    /// it is memory that each job touches anew: 1 GiB lets 360p of a ten-second video play twice as early, for 3 % more
    /// CPU time.
    pub lag_bytes_max: ByteSize,
    /// Time that every run gets, whatever its length; also the limit for looking at an upload.
    #[serde(with = "humantime_serde")]
    pub deadline_base: Duration,
    /// Times the length of the video that a run gets on top: 60 is far above the slowest sane encode, so that
    /// only a stuck or hostile input meets it.
    pub deadline_factor: u32,
}

/// A running worker. Dropping it kills the process.
#[derive(Debug)]
pub struct WorkerProcess {
    child: Child,
    reader: BufReader<tokio::net::unix::OwnedReadHalf>,
    writer: tokio::net::unix::OwnedWriteHalf,
}

/// Why a worker says nothing more.
#[derive(Debug, thiserror::Error)]
pub enum WorkerError {
    /// It could not be started.
    #[error("the worker {path} cannot be started: {source}")]
    Start {
        /// Its binary.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A signal ended it: the sandbox, a limit, or a crash.
    #[error("the worker was killed by signal {0}")]
    Killed(i32),
    /// It ended by itself before it had said `Done` or `Failed`.
    #[error("the worker ended early with exit code {0}")]
    Exited(i32),
    /// Bytes that are no frame.
    #[error("the worker broke the protocol: {0}")]
    Frame(#[from] FrameError),
}

impl Default for Config {
    fn default() -> Self {
        Self {
            path: None,
            unsandboxed: false,
            allow_gpu: false,
            threads: 0,
            lag_bytes_max: ByteSize::mib(128),
            deadline_base: Duration::from_secs(60),
            deadline_factor: 60,
        }
    }
}

impl Config {
    /// The binary that is run.
    ///
    /// # Errors
    /// There is no such file.
    pub fn binary(&self) -> anyhow::Result<PathBuf> {
        let path = match &self.path {
            Some(path) => path.clone(),
            None => std::env::current_exe()?.with_file_name(WORKER),
        };
        let path = std::path::absolute(path)?;
        anyhow::ensure!(path.is_file(), "there is no worker at {}", path.display());
        Ok(path)
    }

    /// Threads for one worker.
    #[must_use]
    pub fn threads(&self) -> u32 {
        let cores = || std::thread::available_parallelism().map_or(1, |cores| cores.get());
        if self.threads == 0 { u32::try_from(cores()).unwrap_or(1) } else { self.threads }
    }
}

impl WorkerProcess {
    /// Starts a worker on an upload and gives it its order.
    ///
    /// # Errors
    /// [`WorkerError::Start`], or the child ended at once.
    pub async fn start(
        binary: &Path,
        config: &Config,
        source: File,
        order: WorkerOrder,
    ) -> Result<Self, WorkerError> {
        let failed = |source| WorkerError::Start { path: binary.to_owned(), source };
        let (ours, theirs) = std::os::unix::net::UnixStream::pair().map_err(failed)?;
        let mut command = Command::new(binary);
        command.arg("run");
        if config.unsandboxed {
            command.arg("--unsandboxed");
        }
        if config.allow_gpu {
            command.arg("--allow-gpu");
        }
        command
            .env_clear()
            .current_dir("/")
            .stdin(Stdio::from(source))
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        give_socket(&mut command, OwnedFd::from(theirs));
        let mut child = command.spawn().map_err(failed)?;
        // The command holds the child's end: without this the end of the child would never be seen.
        drop(command);
        if let Some(stderr) = child.stderr.take() {
            tokio::spawn(log_lines(stderr));
        }
        ours.set_nonblocking(true).map_err(failed)?;
        let (reader, writer) = UnixStream::from_std(ours).map_err(failed)?.into_split();
        let reader = BufReader::with_capacity(READ_BYTES, reader);
        let mut worker = Self { child, reader, writer };
        worker.send(&Frame::Order(order)).await?;
        Ok(worker)
    }

    /// Sends a frame. That the worker is gone is no error here: its last words may still wait to be read, and
    /// [`Self::next`] tells.
    ///
    /// # Errors
    /// The frame is above a limit.
    pub async fn send(&mut self, frame: &Frame) -> Result<(), WorkerError> {
        let bytes = frame.to_bytes()?;
        if let Err(error) = self.writer.write_all(&bytes).await {
            debug!(%error, "the worker takes no more frames");
        }
        Ok(())
    }

    /// The next frame.
    ///
    /// # Errors
    /// The worker is gone, or breaks the protocol.
    pub async fn next(&mut self) -> Result<Frame, WorkerError> {
        let mut head = [0; HEAD_BYTES];
        if self.reader.read_exact(&mut head).await.is_err() {
            return Err(self.why_it_ended().await);
        }
        let (kind, length) = parse_head(head)?;
        // Grows as bytes arrive: a head alone makes nobody hold 32 MiB.
        let mut payload = Vec::with_capacity(length.min(READ_BYTES));
        let read = (&mut self.reader).take(length as u64).read_to_end(&mut payload).await;
        if read.is_err() || payload.len() < length {
            return Err(self.why_it_ended().await);
        }
        Ok(Frame::parse(kind, &payload)?)
    }

    /// Waits for a worker that has said its last word.
    pub async fn finish(mut self) {
        if timeout(END_WAIT, self.child.wait()).await.is_err() {
            warn!("the worker does not end after its last frame and is killed");
        }
    }

    async fn why_it_ended(&mut self) -> WorkerError {
        match timeout(END_WAIT, self.child.wait()).await {
            Ok(Ok(status)) => end(status),
            // It closed its socket and stays: killed when dropped.
            Ok(Err(_)) | Err(_) => WorkerError::Exited(-1),
        }
    }
}

fn end(status: ExitStatus) -> WorkerError {
    match status.signal() {
        Some(signal) => WorkerError::Killed(signal),
        None => WorkerError::Exited(status.code().unwrap_or(-1)),
    }
}

/// Makes the child's end of the socket its descriptor 3.
#[expect(unsafe_code, reason = "the only way to pass a descriptor with a given number")]
fn give_socket(command: &mut Command, socket: OwnedFd) {
    let install = move || {
        let from = socket.as_raw_fd();
        let failed = if from == SOCKET_FD {
            // SAFETY: fcntl on a descriptor that this closure owns; async-signal-safe, touches no memory.
            unsafe { libc::fcntl(from, libc::F_SETFD, 0) == -1 }
        } else {
            // SAFETY: dup2 of a descriptor that this closure owns; async-signal-safe, touches no memory. What
            // stood at the target is at most the pipe on which a failed exec is told; such a child simply exits.
            unsafe { libc::dup2(from, SOCKET_FD) == -1 }
        };
        if failed { Err(std::io::Error::last_os_error()) } else { Ok(()) }
    };
    // SAFETY: between fork and exec the closure makes one system call, allocates nothing and takes no lock.
    unsafe { command.pre_exec(install) };
}

/// Logs what the worker writes to stderr, until it closes it.
async fn log_lines(stderr: ChildStderr) {
    let mut reader = BufReader::with_capacity(LINE_BYTES_MAX, stderr);
    for _ in 0..LINES_MAX {
        match read_line(&mut reader).await {
            Some(line) => info!(target: "tidegate_packager::worker", "{line}"),
            None => return,
        }
    }
    warn!("the worker writes too much; the rest of its lines is dropped");
    while read_line(&mut reader).await.is_some() {}
}

/// A line without what is above the limit; `None` at the end.
async fn read_line(reader: &mut BufReader<ChildStderr>) -> Option<String> {
    let mut line = Vec::new();
    loop {
        let buffer = reader.fill_buf().await.ok().filter(|buffer| !buffer.is_empty())?;
        let newline = buffer.iter().position(|&byte| byte == b'\n');
        let end = newline.unwrap_or(buffer.len());
        let room = LINE_BYTES_MAX.saturating_sub(line.len());
        line.extend_from_slice(&buffer[..end.min(room)]);
        let used = newline.map_or(end, |at| at + 1);
        reader.consume(used);
        if newline.is_some() {
            return Some(String::from_utf8_lossy(&line).into_owned());
        }
    }
}

/// The name of the worker's binary.
pub const WORKER: &str = "tidegate-packager-worker";
/// The longest line of the worker's stderr that is logged, in bytes.
pub const LINE_BYTES_MAX: usize = 2048;
/// The most lines of one worker that are logged.
pub const LINES_MAX: usize = 500;
/// Where the worker finds its socket.
const SOCKET_FD: i32 = 3;
const READ_BYTES: usize = 256 * 1024;
/// How long a worker may take to end once its socket is closed.
const END_WAIT: Duration = Duration::from_secs(5);

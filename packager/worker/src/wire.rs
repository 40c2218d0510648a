//! Frames to and from the packager.
//!
//! One socket, both ways. Writers of all threads share it and wait for a slow packager: that wait is the only
//! queue between them. A frame is written whole or the run ends.

use std::{
    fs::File,
    io::{self, Read, Write},
    sync::{Mutex, PoisonError},
};

use tidegate_contract::worker_frame::{self, Frame, FrameError, HEAD_BYTES};

use crate::ffi;

/// The socket cannot be used any more.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WireError {
    /// Reading or writing failed: the packager is gone.
    #[error("the packager cannot be reached: {0}")]
    Socket(#[from] io::Error),
    /// What came is no frame, or what should go is too large for one.
    #[error("a frame is wrong: {0}")]
    Frame(#[from] FrameError),
    /// A frame of another kind was due.
    #[error("the packager sent no {0}")]
    Unexpected(&'static str),
}

/// Frames from the packager.
#[derive(Debug)]
pub(crate) struct Inbox {
    socket: File,
}

/// Frames to the packager.
#[derive(Debug)]
pub(crate) struct Outbox {
    socket: Mutex<File>,
}

/// Takes the socket that the packager left on descriptor 3; at most once per process.
///
/// # Errors
/// There is no such descriptor.
pub(crate) fn connect() -> Result<(Inbox, Outbox), WireError> {
    let socket = ffi::kernel::descriptor(SOCKET_DESCRIPTOR)?;
    let writer = socket.try_clone()?;
    Ok((Inbox { socket }, Outbox { socket: Mutex::new(writer) }))
}

impl Inbox {
    /// Waits for the next frame.
    pub(crate) fn receive(&mut self) -> Result<Frame, WireError> {
        let mut head = [0; HEAD_BYTES];
        self.socket.read_exact(&mut head)?;
        let (kind, bytes) = worker_frame::parse_head(head)?;
        let mut payload = vec![0; bytes];
        self.socket.read_exact(&mut payload)?;
        Ok(Frame::parse(kind, &payload)?)
    }
}

impl Outbox {
    /// Writes a frame; waits while the packager does not read.
    pub(crate) fn send(&self, frame: &Frame) -> Result<(), WireError> {
        let bytes = frame.to_bytes()?;
        // A thread that panics ends the process, so the lock cannot be poisoned by half a frame.
        let mut socket = self.socket.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(socket.write_all(&bytes)?)
    }
}

const SOCKET_DESCRIPTOR: i32 = 3;

//! A running process hands its sockets to the one that follows it, so that an upgrade refuses nobody.
//!
//! The successor is started with one end of a line (a sequenced socket pair) as its standard input. Over it come the
//! sockets, as descriptors, and what else the program has to say; then both sides take turns: `ready`, `go`, `serving`.
//!
//! **Invariant.** Until the successor has said that it serves, everything can be taken back: a successor that fails or
//! stays silent is ended, and its predecessor has lost nothing.

use std::{
    io::{self, IoSlice, IoSliceMut},
    mem::MaybeUninit,
    net::TcpListener,
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::process::parent_id,
    },
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use rustix::{
    io::Errno,
    net::{
        AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags,
        SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketFlags, SocketType, recvmsg,
        sendmsg, socketpair, sockopt,
    },
};
use serde::{Deserialize, Serialize};
use tokio::{io::Interest, net::UnixStream, time::timeout};

/// A socket on its way from one process to the next.
#[derive(Debug)]
pub struct Passed {
    /// Which of the program's sockets it is.
    pub name: String,
    /// What the configuration called it: an address, as it stands there.
    pub asked: String,
    /// The socket.
    pub socket: OwnedFd,
}

/// What the process before this one has left, and the line to it.
#[derive(Debug)]
pub struct Predecessor {
    line: Line,
    sockets: Vec<Passed>,
    state: serde_json::Value,
}

/// A process that is to follow this one.
#[derive(Debug)]
pub struct Successor {
    line: Line,
    child: Child,
    is_settled: bool,
}

/// Why a handover did not happen; this process goes on.
#[derive(Debug, thiserror::Error)]
pub enum HandoverError {
    /// The program cannot be started, or the line to it broke.
    #[error("the line to the other process: {0}")]
    Line(#[from] io::Error),
    /// The other process has ended.
    #[error("the other process has ended")]
    Ended,
    /// It did not answer in time.
    #[error("the other process did not answer within {}", humantime::format_duration(*.0))]
    Silent(Duration),
    /// It said something else than was due.
    #[error("the other process said something unexpected")]
    Unexpected,
}

/// What is said on the line.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Word {
    /// A socket comes with this.
    Socket { name: String, asked: String },
    /// All sockets have come; and what the program says besides.
    State(serde_json::Value),
    /// The successor has built everything and could serve.
    Ready,
    /// The predecessor has let go of what two cannot hold.
    Go,
    /// The successor serves.
    Serving,
}

impl Predecessor {
    /// The process before this one, when this one was started to follow it. Takes everything that is handed over.
    ///
    /// # Errors
    /// When that process is gone, or says nothing.
    pub(crate) async fn of_process() -> Result<Option<Self>, HandoverError> {
        let parent = std::env::var(VARIABLE).ok().and_then(|text| text.parse().ok());
        if parent != Some(parent_id()) {
            return Ok(None);
        }
        let end = io::stdin().as_fd().try_clone_to_owned()?;
        if sockopt::socket_type(&end) != Ok(SocketType::SEQPACKET) {
            return Ok(None);
        }
        let line = Line::new(end)?;
        let taking = async {
            let mut sockets = Vec::new();
            loop {
                match line.hear().await? {
                    (Word::Socket { name, asked }, Some(socket)) if sockets.len() < SOCKETS_MAX => {
                        sockets.push(Passed { name, asked, socket });
                    }
                    (Word::State(state), _) => return Ok((sockets, state)),
                    _ => return Err(HandoverError::Unexpected),
                }
            }
        };
        let taken = timeout(TAKE_TIME, taking).await;
        let (sockets, state) = taken.map_err(|_| HandoverError::Silent(TAKE_TIME))??;
        Ok(Some(Self { line, sockets, state }))
    }

    /// Takes the sockets of a name.
    pub fn take(&mut self, name: &str) -> Vec<Passed> {
        let all = std::mem::take(&mut self.sockets);
        let (taken, left) = all.into_iter().partition(|passed| passed.name == name);
        self.sockets = left;
        taken
    }

    /// What the program before said besides.
    #[must_use]
    pub fn state(&self) -> &serde_json::Value {
        &self.state
    }

    /// Says that this process could serve, and waits until it may. A predecessor that has ended holds nothing back.
    ///
    /// # Errors
    /// When the line breaks.
    pub async fn take_over(&self) -> Result<(), HandoverError> {
        let asked = async {
            self.line.say(&Word::Ready, None).await?;
            match self.line.hear().await? {
                (Word::Go, _) => Ok(()),
                _ => Err(HandoverError::Unexpected),
            }
        };
        match asked.await {
            Err(error) if error.is_end() => Ok(()),
            other => other,
        }
    }

    /// Says that this process serves.
    pub async fn serving(&self) {
        // One that has ended knows by then.
        let _ = self.line.say(&Word::Serving, None).await;
    }

    /// Waits until the predecessor has ended.
    pub async fn ended(&self) {
        // It has nothing more to say; whatever comes is passed over.
        while self.line.hear().await.is_ok() {}
    }
}

impl Successor {
    /// Starts a program with these arguments and hands it the sockets and the state.
    ///
    /// # Errors
    /// When it cannot be started, or ends at once.
    pub async fn start(
        program: &Path,
        args: Vec<std::ffi::OsString>,
        sockets: Vec<Passed>,
        state: serde_json::Value,
    ) -> Result<Self, HandoverError> {
        let (ours, theirs) =
            socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
                .map_err(io::Error::from)?;
        let line = Line::new(ours)?;
        let child = Command::new(program)
            .args(args)
            .env(VARIABLE, std::process::id().to_string())
            .stdin(Stdio::from(theirs))
            .spawn()?;
        let successor = Self { line, child, is_settled: false };
        for Passed { name, asked, socket } in &sockets {
            let word = Word::Socket { name: name.clone(), asked: asked.clone() };
            successor.line.say(&word, Some(socket.as_fd())).await?;
        }
        successor.line.say(&Word::State(state), None).await?;
        Ok(successor)
    }

    /// Its process.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits until it could serve.
    ///
    /// # Errors
    /// When it ends first, or takes longer than that.
    pub async fn ready(&self, limit: Duration) -> Result<(), HandoverError> {
        self.expect(&Word::Ready, limit).await
    }

    /// Lets it serve, and waits until it does.
    ///
    /// # Errors
    /// When it ends first, or takes longer than that. Take back what you have let go.
    pub async fn go(&mut self, limit: Duration) -> Result<(), HandoverError> {
        self.line.say(&Word::Go, None).await?;
        self.expect(&Word::Serving, limit).await?;
        self.is_settled = true;
        Ok(())
    }

    async fn expect(&self, word: &Word, limit: Duration) -> Result<(), HandoverError> {
        let heard = timeout(limit, self.line.hear()).await;
        let (heard, _) = heard.map_err(|_| HandoverError::Silent(limit))??;
        if heard == *word { Ok(()) } else { Err(HandoverError::Unexpected) }
    }
}

impl Drop for Successor {
    fn drop(&mut self) {
        if !self.is_settled {
            // It serves nobody yet.
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

impl HandoverError {
    fn is_end(&self) -> bool {
        match self {
            Self::Ended => true,
            Self::Line(error) => {
                matches!(error.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset)
            }
            Self::Silent(_) | Self::Unexpected => false,
        }
    }
}

/// One end of the line, over which words keep their bounds; the runtime only waits for it.
#[derive(Debug)]
struct Line(UnixStream);

impl Line {
    fn new(end: OwnedFd) -> io::Result<Self> {
        let end = std::os::unix::net::UnixStream::from(end);
        end.set_nonblocking(true)?;
        Ok(Self(UnixStream::from_std(end)?))
    }

    async fn say(&self, word: &Word, socket: Option<BorrowedFd<'_>>) -> io::Result<()> {
        let text = serde_json::to_vec(word)?;
        if text.len() > WORD_BYTES_MAX {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "too much to say at once"));
        }
        let sockets: Vec<_> = socket.into_iter().collect();
        self.0
            .async_io(Interest::WRITABLE, || {
                let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
                let mut control = SendAncillaryBuffer::new(&mut space);
                if !sockets.is_empty() {
                    control.push(SendAncillaryMessage::ScmRights(&sockets));
                }
                sendmsg(&self.0, &[IoSlice::new(&text)], &mut control, SendFlags::NOSIGNAL)?;
                Ok(())
            })
            .await
    }

    async fn hear(&self) -> Result<(Word, Option<OwnedFd>), HandoverError> {
        let mut text = vec![0; WORD_BYTES_MAX];
        let (length, socket) =
            self.0.async_io(Interest::READABLE, || receive(&self.0, &mut text)).await?;
        if length == 0 {
            return Err(HandoverError::Ended);
        }
        let word =
            serde_json::from_slice(&text[..length]).map_err(|_| HandoverError::Unexpected)?;
        Ok((word, socket))
    }
}

fn receive(end: &UnixStream, text: &mut [u8]) -> io::Result<(usize, Option<OwnedFd>)> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let received =
        recvmsg(end, &mut [IoSliceMut::new(text)], &mut control, RecvFlags::CMSG_CLOEXEC)?;
    if received.flags.contains(ReturnFlags::TRUNC) {
        return Err(Errno::MSGSIZE.into());
    }
    let mut socket = None;
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(mut sockets) = message {
            socket = sockets.next();
        }
    }
    Ok((received.bytes, socket))
}

/// The admin listener that a predecessor hands over.
pub(crate) fn admin(predecessor: Option<&mut Predecessor>) -> Option<TcpListener> {
    let passed = predecessor?.take(ADMIN).pop()?;
    Some(TcpListener::from(passed.socket))
}

/// The name of the admin listener among what is handed over.
pub(crate) const ADMIN: &str = "admin";
/// Says to a process that its standard input is a line to this process, its parent.
const VARIABLE: &str = "TIDEGATE_HANDOVER_FROM";
/// Sockets of one process: some for each of many cores.
const SOCKETS_MAX: usize = 16_384;
/// One word; the state of a program is small.
const WORD_BYTES_MAX: usize = 64 * 1024;
/// For taking what is handed over: all of it waits in the line already, or is being sent.
const TAKE_TIME: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};

    use super::*;

    fn line() -> (Line, Line) {
        let (ours, theirs) =
            socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
                .unwrap();
        (Line::new(ours).unwrap(), Line::new(theirs).unwrap())
    }

    #[tokio::test]
    async fn a_socket_arrives_as_the_same_socket_and_the_end_is_heard() {
        let (ours, theirs) = line();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let word = Word::Socket { name: "http".to_owned(), asked: "127.0.0.1:0".to_owned() };
        ours.say(&word, Some(listener.as_fd())).await.unwrap();
        drop(listener);
        let (heard, socket) = theirs.hear().await.unwrap();
        assert_eq!(heard, word);
        let arrived = TcpListener::from(socket.unwrap());
        let mut client = std::net::TcpStream::connect(address).unwrap();
        client.write_all(b"x").unwrap();
        let mut served = arrived.accept().unwrap().0;
        let mut byte = [0];
        served.read_exact(&mut byte).unwrap();
        assert_eq!(byte, *b"x");

        drop(ours);
        assert!(theirs.hear().await.unwrap_err().is_end());
    }

    #[tokio::test]
    async fn a_successor_that_cannot_start_or_stays_silent_is_an_error() {
        let state = serde_json::Value::Null;
        let nowhere = Successor::start(
            Path::new("/nonexistent/program"),
            Vec::new(),
            Vec::new(),
            state.clone(),
        )
        .await;
        assert!(matches!(nowhere, Err(HandoverError::Line(_))));

        let ends = Successor::start(Path::new("true"), Vec::new(), Vec::new(), state.clone());
        let ended = match ends.await {
            Ok(successor) => successor.ready(Duration::from_secs(20)).await,
            Err(error) => Err(error),
        };
        assert!(ended.unwrap_err().is_end());

        let args = vec!["60".into()];
        let silent = Successor::start(Path::new("sleep"), args, Vec::new(), state).await.unwrap();
        let pid = silent.pid();
        let waited = silent.ready(Duration::from_millis(10)).await;
        assert!(matches!(waited, Err(HandoverError::Silent(_))));
        drop(silent);
        assert!(!Path::new(&format!("/proc/{pid}")).exists(), "it was ended");
    }
}

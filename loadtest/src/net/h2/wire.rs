//! One HTTP/2 connection: whoever waits for an answer reads for all; while nobody does, a small task of its own.
//!
//! Invariant: while a connection lives, somebody who will be woken reads it: an exchange, or the task when there is none;
//! and whoever stops doing so wakes the others.

use std::{
    cell::RefCell,
    future::poll_fn,
    io,
    net::IpAddr,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, Waker},
};

use tokio::{io::AsyncWrite, task::AbortHandle};

use super::{
    engine::{End, Engine, Heading},
    frame,
    wrong::Wrong,
};
use crate::{
    kind::FailureClass,
    net::{Failure, course::Course, failure::Broken, link::Call, transport::Transport},
};

/// A connection.
pub(super) struct Wire {
    io: RefCell<Io>,
    address: IpAddr,
    keeper: AbortHandle,
}

/// Its inside.
struct Io {
    engine: Engine,
    /// Gone when it is over.
    transport: Option<Transport>,
    over: Option<Over>,
    /// Who waits until another stream may begin.
    waiting: Vec<Waker>,
    /// The task that reads while nobody waits for an answer.
    keeper: Option<Waker>,
}

/// Why it is over.
#[derive(Clone)]
enum Over {
    Io(Rc<io::Error>),
    Wrong(Wrong),
}

/// What came for an exchange.
enum Turn {
    Head(Box<Heading>),
    /// Bytes of the body, and whether the rest of it is wanted.
    Data(u64, bool),
    End(End),
}

/// One stream, for as long as somebody waits for it.
struct Guard<'a> {
    wire: &'a Wire,
    id: u32,
}

impl Wire {
    /// HTTP/2 on a connection, from its first byte on.
    pub(super) fn new(transport: Transport, window: u32, address: IpAddr) -> Rc<Self> {
        let io = Io {
            engine: Engine::new(window),
            transport: Some(transport),
            over: None,
            waiting: Vec::new(),
            keeper: None,
        };
        Rc::new_cyclic(|weak: &std::rc::Weak<Self>| {
            let weak = weak.clone();
            let keeper = tokio::task::spawn_local(poll_fn(move |cx| match weak.upgrade() {
                Some(wire) => wire.io.borrow_mut().poll_idle(cx),
                None => Poll::Ready(()),
            }));
            Self { io: RefCell::new(io), address, keeper: keeper.abort_handle() }
        })
    }

    /// Whether nothing can be asked on it any more.
    pub(super) fn is_leaving(&self) -> bool {
        let io = self.io.borrow();
        io.over.is_some() || io.engine.is_leaving()
    }

    pub(super) async fn exchange(
        &self,
        call: &Call<'_>,
        course: &mut Course<'_>,
    ) -> Result<(), Broken> {
        let pace = course.pace;
        let stream = self.open(call, course).await?;
        loop {
            let turn = poll_fn(|cx| self.io.borrow_mut().poll_turn(cx, stream.id, course)).await?;
            match turn {
                Turn::Head(heading) => {
                    course.head(heading.status, &heading.headers, self.address);
                    if course.is_unwanted() {
                        return Ok(());
                    }
                }
                Turn::Data(count, is_wanted) => {
                    pace.pass(count).await;
                    if !is_wanted {
                        return Ok(());
                    }
                    self.io.borrow_mut().engine.release(stream.id);
                }
                Turn::End(End::Whole) => break,
                Turn::End(end) => return Err(Broken::of_end(end)),
            }
        }
        drop(stream);
        course.end()?;
        pace.settle().await;
        Ok(())
    }

    /// Begins a stream as soon as the server lets us.
    async fn open(&self, call: &Call<'_>, course: &Course<'_>) -> Result<Guard<'_>, Broken> {
        let target = &course.url[url::Position::BeforePath..url::Position::AfterQuery];
        let authority = call.origin.authority();
        poll_fn(|cx| {
            let mut io = self.io.borrow_mut();
            if let Some(over) = &io.over {
                return Poll::Ready(Err(over.broken(course)));
            }
            if io.engine.is_leaving() {
                return Poll::Ready(Err(Broken::of_end(End::Undone)));
            }
            if !io.engine.has_room() {
                io.waiting.push(cx.waker().clone());
                return Poll::Pending;
            }
            let id = io.engine.open(call.origin.is_tls, &authority, target, call.headers);
            Poll::Ready(Ok(Guard { wire: self, id }))
        })
        .await
    }
}

impl Io {
    /// Reads until there is something for a stream.
    fn poll_turn(
        &mut self,
        cx: &mut Context<'_>,
        me: u32,
        course: &mut Course<'_>,
    ) -> Poll<Result<Turn, Broken>> {
        self.engine.attend(me);
        loop {
            if let Some(heading) = self.engine.take_head(me) {
                return Poll::Ready(Ok(Turn::Head(heading)));
            }
            if let Some(end) = self.engine.end(me) {
                return Poll::Ready(Ok(Turn::End(end)));
            }
            let (mut count, mut took) = (0, Ok(true));
            let read = self.poll_read(cx, me, &mut |piece| {
                count += piece.len() as u64;
                // What comes behind a failure, or is not wanted, is passed over.
                if matches!(took, Ok(true)) {
                    took = course.take(piece);
                }
            });
            if count > 0 {
                return Poll::Ready(Ok(Turn::Data(count, took?)));
            }
            match read {
                Poll::Pending => {
                    self.engine.wait(me, cx.waker());
                    return Poll::Pending;
                }
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(over)) => return Poll::Ready(Err(over.broken(course))),
            }
        }
    }

    /// Reads while nobody waits for an answer: what belongs to the connection itself.
    fn poll_idle(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.keeper = Some(cx.waker().clone());
        while self.engine.is_idle() {
            match self.poll_read(cx, NOBODY, &mut |_| {}) {
                Poll::Pending => break,
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(_)) => return Poll::Ready(()),
            }
        }
        Poll::Pending
    }

    /// Sends what is to be sent, and reads a piece.
    fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        me: u32,
        take: &mut dyn FnMut(&[u8]),
    ) -> Poll<Result<(), Over>> {
        if let Some(over) = &self.over {
            return Poll::Ready(Err(over.clone()));
        }
        if let Err(over) = self.send(cx) {
            return Poll::Ready(Err(self.end(over)));
        }
        if self.engine.is_blocked(me) {
            return Poll::Pending;
        }
        let had_room = self.engine.has_room();
        let Some(transport) = &mut self.transport else { return Poll::Pending };
        let (engine, mut wrong) = (&mut self.engine, None);
        let read = transport.poll_take(cx, &mut |piece| match engine.feed(piece, me, take) {
            Ok(count) => count,
            Err(one) => {
                wrong = wrong.or(Some(one));
                piece.len()
            }
        });
        let over = match (read, wrong) {
            (_, Some(wrong)) => Over::Wrong(wrong),
            (Poll::Pending, None) => return Poll::Pending,
            (Poll::Ready(Ok(1..)), None) => {
                if !had_room && self.engine.has_room() {
                    self.wake_waiting();
                }
                return Poll::Ready(Ok(()));
            }
            (Poll::Ready(Ok(0)), None) => Over::Io(Rc::new(io::ErrorKind::UnexpectedEof.into())),
            (Poll::Ready(Err(error)), None) => Over::Io(Rc::new(error)),
        };
        Poll::Ready(Err(self.end(over)))
    }

    fn send(&mut self, cx: &mut Context<'_>) -> Result<(), Over> {
        let Some(transport) = &mut self.transport else { return Ok(()) };
        let output = &mut self.engine.output;
        while !output.is_empty() {
            match Pin::new(&mut *transport).poll_write(cx, output) {
                Poll::Ready(Ok(count)) => drop(output.drain(..count)),
                Poll::Ready(Err(error)) => return Err(Over::Io(Rc::new(error))),
                Poll::Pending => break,
            }
        }
        match output.len() {
            // Nothing is kept for the next request: most of the time there is none.
            0 => *output = Vec::new(),
            1..=OUTPUT_MAX => return Ok(()),
            _ => {
                let detail = "a server that asks and does not read";
                return Err(Over::Wrong(Wrong::new(frame::ENHANCE_YOUR_CALM, detail)));
            }
        }
        match Pin::new(transport).poll_flush(cx) {
            Poll::Ready(Err(error)) => Err(Over::Io(Rc::new(error))),
            _ => Ok(()),
        }
    }

    /// It is over for everybody.
    fn end(&mut self, over: Over) -> Over {
        if let Over::Wrong(wrong) = &over {
            self.leave(wrong.code);
        }
        self.transport = None;
        self.over = Some(over.clone());
        self.engine.wake_all();
        self.wake_waiting();
        over
    }

    /// Tells the server that we go, as far as the socket takes it.
    fn leave(&mut self, code: u32) {
        let mut cx = Context::from_waker(Waker::noop());
        self.engine.leave(code);
        let _ = self.send(&mut cx);
        if let Some(transport) = &mut self.transport {
            let _ = Pin::new(transport).poll_shutdown(&mut cx);
        }
    }

    fn wake_waiting(&mut self) {
        self.waiting.drain(..).for_each(Waker::wake);
    }
}

impl Over {
    fn broken(&self, course: &Course<'_>) -> Broken {
        let failure = match self {
            Self::Wrong(wrong) => Failure::new(FailureClass::Protocol, wrong.detail),
            Self::Io(error) => {
                // However a connection ends, a stream that was open on it was cut.
                match Failure::of_io(error, course.step()) {
                    Failure { class: FailureClass::Truncated, detail } => {
                        Failure { class: FailureClass::Reset, detail }
                    }
                    failure => failure,
                }
            }
        };
        Broken { failure, is_stream: false, is_undone: false }
    }
}

impl Broken {
    fn of_end(end: End) -> Self {
        let (class, detail) = match end {
            End::Reset(code) => (FailureClass::Reset, format!("reset with code {code}").into()),
            End::Undone => (FailureClass::Reset, "the server is leaving".into()),
            End::Wrong(detail) => (FailureClass::Protocol, detail.into()),
            End::Whole => (FailureClass::Truncated, "over".into()),
        };
        Self {
            failure: Failure { class, detail },
            is_stream: end != End::Undone,
            is_undone: matches!(end, End::Undone | End::Reset(frame::REFUSED_STREAM)),
        }
    }
}

impl Drop for Guard<'_> {
    fn drop(&mut self) {
        let mut io = self.wire.io.borrow_mut();
        io.engine.close(self.id);
        // It may have been the one who reads, or whose data is in the way of others.
        io.engine.wake_all();
        io.wake_waiting();
        if io.engine.is_idle()
            && let Some(keeper) = &io.keeper
        {
            keeper.wake_by_ref();
        }
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.keeper.abort();
        self.io.get_mut().leave(frame::NO_ERROR);
    }
}

/// No stream has this number.
const NOBODY: u32 = 0;
/// What waits to be sent at most: requests, and answers to what a server asks.
const OUTPUT_MAX: usize = 256 * 1024;

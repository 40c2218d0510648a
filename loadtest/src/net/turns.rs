//! The order of a worker's loop: what the schedule asks for comes first, then every connection reads a piece, then again.
//!
//! One connection whose server keeps its socket full would hold the thread for many milliseconds, and a handshake more
//! than half of one: all the others, and sessions that are to begin, would be late by that. So a connection reads a
//! bounded amount in a turn, all of them together for a bounded time, and nothing at all while a session is due; whoever
//! is put off is woken at the next turn. What was read is taken by its player before others read on: little lies about.
//! Invariant: who was put off is woken exactly once, those that had nothing in a turn before those that had their
//! share; and nobody is put off unless somebody keeps the turns.

use std::{
    cell::{Cell, RefCell},
    task::{Context, Waker},
    time::Duration,
};

use tokio::time::Instant;

/// The turns of one worker.
#[derive(Debug, Default)]
pub struct Turns {
    /// 0 while nobody keeps them.
    number: Cell<u64>,
    /// From when on nothing more is read in this turn.
    until: Cell<Option<Instant>>,
    waiting: RefCell<Waiting>,
}

/// What a connection had of a turn.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Share {
    turn: u64,
    bytes: usize,
}

#[derive(Debug, Default)]
struct Waiting {
    /// Had nothing in this turn.
    unserved: Vec<Waker>,
    served: Vec<Waker>,
    /// Whoever keeps the turns.
    keeper: Option<Waker>,
}

impl Turns {
    /// A new turn begins. `due` is when the next session is to begin. The caller's task is woken when there is somebody
    /// for another turn.
    pub fn begin(&self, context: &Context<'_>, now: Instant, due: Option<Instant>) {
        self.number.set(self.number.get() + 1);
        self.until.set(Some(end(now, due)));
        let put_off = {
            let mut waiting = self.waiting.borrow_mut();
            if !waiting.keeper.as_ref().is_some_and(|kept| kept.will_wake(context.waker())) {
                waiting.keeper = Some(context.waker().clone());
            }
            waiting.drain()
        };
        put_off.into_iter().for_each(Waker::wake);
    }

    /// Nobody keeps turns any more.
    pub fn end(&self) {
        self.number.set(0);
        let put_off = {
            let mut waiting = self.waiting.borrow_mut();
            waiting.keeper = None;
            waiting.drain()
        };
        put_off.into_iter().for_each(Waker::wake);
    }

    /// Whether a connection may read now. If not, it is woken at the next turn.
    pub(super) fn may_read(&self, share: &mut Share, context: &Context<'_>) -> bool {
        self.may_read_at(Instant::now(), share, context)
    }

    fn may_read_at(&self, now: Instant, share: &mut Share, context: &Context<'_>) -> bool {
        let turn = self.number.get();
        if turn == 0 {
            return true;
        }
        if share.turn != turn {
            *share = Share { turn, bytes: 0 };
        }
        let is_over = self.until.get().is_some_and(|until| now >= until);
        if share.bytes < SHARE_BYTES && !is_over {
            return true;
        }
        let mut waiting = self.waiting.borrow_mut();
        let list = if share.bytes == 0 { &mut waiting.unserved } else { &mut waiting.served };
        list.push(context.waker().clone());
        if let Some(keeper) = &waiting.keeper {
            keeper.wake_by_ref();
        }
        false
    }
}

impl Share {
    /// Takes note of bytes that were read.
    pub(super) fn add(&mut self, bytes: usize) {
        self.bytes = self.bytes.saturating_add(bytes);
    }
}

impl Waiting {
    fn drain(&mut self) -> Vec<Waker> {
        let mut all = std::mem::take(&mut self.unserved);
        all.append(&mut self.served);
        all
    }
}

/// Until when connections read in a turn that begins now.
fn end(now: Instant, due: Option<Instant>) -> Instant {
    let longest = now + TURN_MAX;
    due.map_or(longest, |due| due.clamp(now + TURN_MIN, longest))
}

/// What a connection reads in a turn before others have theirs: one more read may go beyond it. About as long as two
/// wakes of a task are not worth speaking of.
const SHARE_BYTES: usize = 64 * 1024;
/// Connections have at least so much of a turn, however many sessions are late: those that have begun go on.
const TURN_MIN: Duration = Duration::from_micros(500);
/// A turn lasts no longer by far: timers are as late as it is long.
const TURN_MAX: Duration = Duration::from_millis(2);

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    /// Wakes are written down by name.
    struct Named(&'static str, Arc<Mutex<Vec<&'static str>>>);

    impl std::task::Wake for Named {
        fn wake(self: Arc<Self>) {
            self.1.lock().unwrap().push(self.0);
        }
    }

    struct Loop {
        turns: Turns,
        now: Cell<Instant>,
        woken: Arc<Mutex<Vec<&'static str>>>,
    }

    impl Loop {
        fn new() -> Self {
            let now = Cell::new(Instant::now());
            Self { turns: Turns::default(), now, woken: Arc::default() }
        }

        fn begin(&self, due: Option<Instant>) {
            self.as_task("keeper", |context| self.turns.begin(context, self.now.get(), due));
        }

        fn reads(&self, name: &'static str, share: &mut Share) -> bool {
            self.as_task(name, |context| self.turns.may_read_at(self.now.get(), share, context))
        }

        fn as_task<T>(&self, name: &'static str, run: impl FnOnce(&Context<'_>) -> T) -> T {
            let waker = Waker::from(Arc::new(Named(name, self.woken.clone())));
            run(&Context::from_waker(&waker))
        }

        fn woken(&self) -> Vec<&'static str> {
            std::mem::take(&mut self.woken.lock().unwrap())
        }
    }

    #[test]
    fn a_connection_has_its_share_of_a_turn_and_no_more() {
        let one = Loop::new();
        let mut share = Share::default();
        one.begin(None);
        for _ in 0..2 {
            assert!(one.reads("a", &mut share));
            share.add(SHARE_BYTES / 2);
        }
        assert!(!one.reads("a", &mut share));
        assert_eq!(one.woken(), ["keeper"], "whoever keeps the turns hears of it");
        one.begin(None);
        assert_eq!(one.woken(), ["a"]);
        assert!(one.reads("a", &mut share), "another turn, another share");
    }

    #[test]
    fn nothing_is_read_while_a_session_is_due_and_who_had_nothing_is_first_then() {
        let one = Loop::new();
        let (mut rich, mut poor) = (Share::default(), Share::default());
        let due = one.now.get();
        one.begin(Some(due));
        assert!(one.reads("rich", &mut rich), "those that have begun go on for a while");
        rich.add(1);
        one.now.set(due + TURN_MIN);
        assert!(!one.reads("rich", &mut rich));
        assert!(!one.reads("poor", &mut poor));
        one.woken();
        one.begin(Some(due + Duration::from_secs(3_600)));
        assert_eq!(one.woken(), ["poor", "rich"]);
        assert!(one.reads("rich", &mut rich) && one.reads("poor", &mut poor));
        one.begin(None);
        assert_eq!(one.woken(), [""; 0], "each is woken once");
    }

    #[test]
    fn a_turn_ends_when_a_session_is_due_or_after_a_while() {
        let now = Instant::now();
        let ms = Duration::from_millis;
        for (due, lasts) in [
            (None, TURN_MAX),
            (Some(now), TURN_MIN),
            (Some(now + ms(1)), ms(1)),
            (Some(now + ms(100)), TURN_MAX),
        ] {
            assert_eq!(end(now, due), now + lasts, "{due:?}");
        }
        let long_ago = now.checked_sub(ms(100)).unwrap_or(now);
        assert_eq!(end(now, Some(long_ago)), now + TURN_MIN);
    }

    #[test]
    fn without_a_keeper_everybody_reads() {
        let one = Loop::new();
        let mut share = Share::default();
        share.add(usize::MAX);
        assert!(one.reads("a", &mut share));
        one.begin(None);
        share = Share { turn: 1, bytes: usize::MAX };
        assert!(!one.reads("a", &mut share));
        one.woken();
        one.turns.end();
        assert_eq!(one.woken(), ["a"], "nobody is left behind");
        assert!(one.reads("a", &mut share));
    }
}

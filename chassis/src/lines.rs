//! Log lines that come often, written many at a time.
//!
//! Each thread keeps its lines in a buffer of its own; one thread writes what has come together, after
//! [`FLUSH_TIME`] or when a buffer is [`FLUSH_BYTES`] long. Whoever logs never waits for whoever reads the log: a line
//! that finds no room is dropped and counted.
//!
//! **Invariant.** A line is written whole and by one call, or not at all; lines of one thread keep their order.

use std::{
    cell::RefCell,
    io::{self, Write},
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use tracing_subscriber::fmt::MakeWriter;

/// A handle on the lines of a process; all clones are the same.
#[derive(Clone)]
pub struct Lines(Arc<Shared>);

struct Shared {
    /// Those of all threads.
    buffers: Mutex<Vec<Buffer>>,
    due: Mutex<Due>,
    is_due: Condvar,
    sink: Mutex<Sink>,
}

/// The lines of a thread that wait.
type Buffer = Arc<Mutex<Vec<u8>>>;

#[derive(Default)]
struct Due {
    /// There are lines that wait.
    is_waiting: bool,
    /// And they should not wait any longer.
    is_urgent: bool,
}

struct Sink {
    to: Box<dyn Write + Send>,
    /// So that one call is never cut by that of another process.
    chunk_max: usize,
    /// Changes places with the buffer that is written.
    spare: Vec<u8>,
}

/// What writes one line.
pub struct Line<'a>(&'a Lines);

impl Lines {
    /// Lines that are written in calls of at most so many bytes (one line is one call, however long), by a thread that
    /// lives as long as the process.
    ///
    /// # Errors
    /// When there is no thread to be had.
    pub fn to(sink: impl Write + Send + 'static, chunk_max: usize) -> io::Result<Self> {
        let sink = Sink { to: Box::new(sink), chunk_max, spare: Vec::new() };
        let lines = Self(Arc::new(Shared {
            buffers: Mutex::default(),
            due: Mutex::default(),
            is_due: Condvar::new(),
            sink: Mutex::new(sink),
        }));
        let shared = Arc::downgrade(&lines.0);
        std::thread::Builder::new().name("log".to_owned()).spawn(move || {
            while let Some(shared) = shared.upgrade() {
                if shared.wait() {
                    shared.flush();
                }
            }
        })?;
        Ok(lines)
    }

    /// Writes everything that waits.
    pub fn flush(&self) {
        self.0.flush();
    }

    fn take(&self, line: &[u8]) {
        let length = self.with_own(|buffer| {
            let mut buffer = lock(buffer);
            if buffer.len() + line.len() > BUFFER_BYTES_MAX {
                DROPPED.fetch_add(1, Relaxed);
                return None;
            }
            buffer.extend_from_slice(line);
            Some((buffer.len() - line.len(), buffer.len()))
        });
        let Some((before, after)) = length else { return };
        let is_urgent = before < FLUSH_BYTES && after >= FLUSH_BYTES;
        if before == 0 || is_urgent {
            let mut due = lock(&self.0.due);
            let is_news = !due.is_waiting || (is_urgent && !due.is_urgent);
            due.is_waiting = true;
            due.is_urgent |= is_urgent;
            drop(due);
            if is_news {
                self.0.is_due.notify_one();
            }
        }
    }

    fn with_own<T>(&self, act: impl FnOnce(&Buffer) -> T) -> T {
        let place = Arc::as_ptr(&self.0) as usize;
        OWN.with_borrow_mut(|own| {
            if let Some((of, buffer)) = own
                && *of == place
            {
                return act(buffer);
            }
            let buffer = Buffer::default();
            lock(&self.0.buffers).push(buffer.clone());
            let done = act(&buffer);
            *own = Some((place, buffer));
            done
        })
    }
}

impl Shared {
    /// Waits for lines, and then a moment for more of them; false when there are none for long.
    fn wait(&self) -> bool {
        let mut due = lock(&self.due);
        if !due.is_waiting {
            let waited = self.is_due.wait_timeout_while(due, IDLE_TIME, |due| !due.is_waiting);
            due = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        if due.is_waiting {
            let waited = self.is_due.wait_timeout_while(due, FLUSH_TIME, |due| !due.is_urgent);
            due = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        // Before the buffers are looked at: a line that comes meanwhile is written now or asks for another time.
        std::mem::take(&mut *due).is_waiting
    }

    fn flush(&self) {
        let buffers = lock(&self.buffers).clone();
        let mut sink = lock(&self.sink);
        for buffer in &buffers {
            let mut full = std::mem::take(&mut sink.spare);
            std::mem::swap(&mut full, &mut *lock(buffer));
            sink.write(&full);
            full.clear();
            sink.spare = full;
        }
        drop((buffers, sink));
        // Threads that have ended have nothing left to say.
        lock(&self.buffers)
            .retain(|buffer| Arc::strong_count(buffer) > 1 || !lock(buffer).is_empty());
    }
}

impl Sink {
    fn write(&mut self, mut lines: &[u8]) {
        while !lines.is_empty() {
            let (chunk, rest) = lines.split_at(chunk_length(lines, self.chunk_max));
            if self.to.write_all(chunk).is_err() {
                // Nobody reads the log any more, or the disk is full.
                let lost = chunk.iter().filter(|byte| **byte == b'\n').count();
                DROPPED.fetch_add(lost as u64, Relaxed);
            }
            lines = rest;
        }
    }
}

impl Write for Line<'_> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0.take(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Lines {
    type Writer = Line<'a>;

    fn make_writer(&'a self) -> Line<'a> {
        Line(self)
    }
}

/// How many lines were dropped in this process.
pub(crate) fn dropped() -> u64 {
    DROPPED.load(Relaxed)
}

/// As many whole lines as fit, and one at least.
fn chunk_length(lines: &[u8], max: usize) -> usize {
    if lines.len() <= max {
        return lines.len();
    }
    let is_end = |byte: &u8| *byte == b'\n';
    let fits = lines[..max].iter().rposition(is_end);
    fits.or_else(|| lines.iter().position(is_end)).map_or(lines.len(), |end| end + 1)
}

fn lock<T>(what: &Mutex<T>) -> MutexGuard<'_, T> {
    what.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How long a line may wait: whoever follows the log sees it within this time.
pub const FLUSH_TIME: Duration = Duration::from_millis(100);
/// A buffer of this length is written at once.
pub const FLUSH_BYTES: usize = 64 * 1024;
/// Lines of one thread that may wait, about 2,000: what comes while a write takes a tenth of a second.
pub const BUFFER_BYTES_MAX: usize = 1024 * 1024;
/// How often the thread looks whether anybody is left who could log.
const IDLE_TIME: Duration = Duration::from_secs(3600);

static DROPPED: AtomicU64 = AtomicU64::new(0);

thread_local! {
    /// The buffer of this thread, and of which lines it is one.
    static OWN: RefCell<Option<(usize, Buffer)>> = const { RefCell::new(None) };
}

#[cfg(test)]
mod tests {
    use std::{sync::mpsc, time::Instant};

    use super::*;

    /// Takes one call a time, when it is told to.
    struct Slow {
        calls: Arc<Mutex<Vec<Vec<u8>>>>,
        go: Option<mpsc::Receiver<()>>,
    }

    impl Write for Slow {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            if let Some(go) = &self.go {
                let _ = go.recv();
            }
            lock(&self.calls).push(bytes.to_vec());
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn written(calls: &Mutex<Vec<Vec<u8>>>) -> Vec<String> {
        let text = lock(calls).concat();
        String::from_utf8(text).unwrap().lines().map(str::to_owned).collect()
    }

    #[test]
    fn lines_of_all_threads_arrive_whole_in_order_and_in_few_calls() {
        let calls = Arc::<Mutex<Vec<Vec<u8>>>>::default();
        let lines = Lines::to(Slow { calls: calls.clone(), go: None }, 4096).unwrap();
        std::thread::scope(|scope| {
            for thread in 0..4 {
                let lines = &lines;
                scope.spawn(move || {
                    for n in 0..1000 {
                        lines
                            .make_writer()
                            .write_all(format!("{thread} {n}\n").as_bytes())
                            .unwrap();
                    }
                });
            }
        });
        lines.flush();
        let written = written(&calls);
        assert_eq!(written.len(), 4000);
        for thread in 0..4 {
            let own = written.iter().filter_map(|line| line.strip_prefix(&format!("{thread} ")));
            assert!(own.map(|n| n.parse::<u32>().unwrap()).eq(0..1000), "{thread}");
        }
        let calls = lock(&calls);
        assert!(calls.iter().all(|call| call.ends_with(b"\n") && call.len() <= 4096));
        assert!(calls.len() < 4000, "{} calls", calls.len());
    }

    #[test]
    fn a_line_arrives_without_a_flush_and_one_that_finds_no_room_is_counted() {
        let calls = Arc::<Mutex<Vec<Vec<u8>>>>::default();
        let (go, wait) = mpsc::channel();
        let lines = Lines::to(Slow { calls: calls.clone(), go: Some(wait) }, 1 << 20).unwrap();
        lines.make_writer().write_all(b"first\n").unwrap();
        go.send(()).unwrap();
        let began = Instant::now();
        while written(&calls).is_empty() {
            assert!(began.elapsed() < Duration::from_secs(90), "nobody flushed");
            std::thread::yield_now();
        }
        assert_eq!(written(&calls), ["first"]);

        // Nobody reads: the buffer fills, and the thread that logs goes on.
        let before = dropped();
        let line = [&[b'x'; 999][..], b"\n"].concat();
        for _ in 0..2 * BUFFER_BYTES_MAX / line.len() + 200 {
            lines.make_writer().write_all(&line).unwrap();
        }
        assert!(dropped() > before);
        drop(go);
        lines.flush();
        let kept = written(&calls).len();
        assert!(kept > 1000 && kept <= 1 + 2 * BUFFER_BYTES_MAX / line.len(), "{kept}");
    }

    #[test]
    fn a_chunk_ends_with_a_line() {
        for (lines, max, expected) in [
            (&b"ab\ncd\n"[..], 10, 6),
            (b"ab\ncd\n", 6, 6),
            (b"ab\ncd\n", 5, 3),
            (b"abcdef\ncd\n", 5, 7),
            (b"abcdef", 5, 6),
        ] {
            assert_eq!(chunk_length(lines, max), expected, "{}", lines.escape_ascii());
        }
    }
}

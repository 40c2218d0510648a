//! The newest lines of this process's log, kept in memory for whoever asks.
//!
//! What is kept is what the log says, once more: filtered by the same level, without the records that come once a
//! request. Invariant: never more than [`Limits`] allow is kept, whatever is logged; what is dropped can be told by the
//! numbers of the lines, which grow by one from 1.

use std::{
    collections::VecDeque,
    fmt::{self, Write},
    hash::{BuildHasher, Hasher, RandomState},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{SystemTime, UNIX_EPOCH},
};

use tracing::{
    Event, Level, Subscriber,
    field::{Field, Visit},
};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};

/// How much is kept at the most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Lines.
    pub lines: usize,
    /// Bytes of all lines together, with what it takes to keep them.
    pub bytes: usize,
}

/// The newest lines. Clones are the same.
#[derive(Clone)]
pub struct Recent(Arc<Inner>);

struct Inner {
    limits: Limits,
    process: u32,
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    lines: VecDeque<Arc<Line>>,
    bytes: usize,
    last: u64,
}

/// One line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// Its number; the first has 1.
    pub number: u64,
    /// When it was written. Milliseconds since 1970.
    pub at_unix_ms: u64,
    /// How bad it is.
    pub level: Level,
    /// Which part of the program wrote it.
    pub target: String,
    /// What it says.
    pub message: String,
    /// The values beside it, in order.
    pub fields: Vec<(String, String)>,
    /// Whether it was longer than [`LINE_BYTES_MAX`].
    pub is_cut: bool,
}

/// What stands behind a place.
#[derive(Debug, Clone)]
pub struct Behind {
    /// The lines that are kept, in order.
    pub lines: Vec<Arc<Line>>,
    /// Those that are not any more.
    pub lost: u64,
    /// The number of the newest line of all.
    pub last: u64,
}

impl Limits {
    /// Nothing is kept.
    pub const NONE: Self = Self { lines: 0, bytes: 0 };

    /// Whether nothing is kept.
    #[must_use]
    pub fn is_none(self) -> bool {
        self.lines == 0 || self.bytes == 0
    }
}

impl Recent {
    /// Nothing yet.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        let drawn = RandomState::new().build_hasher().finish();
        let process = u32::try_from(drawn >> 32).unwrap_or_default();
        Self(Arc::new(Inner { limits, process, kept: Mutex::default() }))
    }

    /// Drawn for this log: another process has another one.
    #[must_use]
    pub fn process(&self) -> u32 {
        self.0.process
    }

    /// What stands behind the line with a number; 0 for everything. A number that was never given is like the newest.
    #[must_use]
    pub fn behind(&self, number: u64) -> Behind {
        let kept = self.lock();
        let last = kept.last;
        let first_kept = kept.lines.front().map_or(last + 1, |line| line.number);
        let wanted = number.min(last) + 1;
        let skip = usize::try_from(wanted.saturating_sub(first_kept)).unwrap_or(usize::MAX);
        let lines = kept.lines.iter().skip(skip).cloned().collect();
        Behind { lines, lost: first_kept.saturating_sub(wanted), last }
    }

    /// Keeps what is logged while something runs on this thread, and nothing else is told of it: for tests.
    pub fn during<T>(&self, act: impl FnOnce() -> T) -> T {
        let subscriber = tracing_subscriber::registry().with(self.clone());
        tracing::subscriber::with_default(subscriber, act)
    }

    fn keep(&self, mut line: Line) {
        let Limits { lines, bytes } = self.0.limits;
        let length = line.length();
        let mut kept = self.lock();
        kept.last += 1;
        line.number = kept.last;
        kept.bytes += length;
        kept.lines.push_back(Arc::new(line));
        while kept.lines.len() > lines || kept.bytes > bytes {
            let Some(gone) = kept.lines.pop_front() else { return };
            kept.bytes -= gone.length();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.0.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// As a layer of the subscriber it takes what is logged.
impl<S: Subscriber> Layer<S> for Recent {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let meta = event.metadata();
        if meta.target() == ACCESS {
            return;
        }
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
        let mut line = Line {
            number: 0,
            at_unix_ms: u64::try_from(now).unwrap_or(u64::MAX),
            level: *meta.level(),
            target: meta.target().to_owned(),
            message: String::new(),
            fields: Vec::new(),
            is_cut: false,
        };
        event.record(&mut Reader { left: LINE_BYTES_MAX, line: &mut line });
        // Outside of the lock until here: a value may log while it is written.
        self.keep(line);
    }
}

impl Line {
    fn length(&self) -> usize {
        let fields = self.fields.iter().map(|(name, value)| name.len() + value.len() + FIELD_BYTES);
        self.target.len() + self.message.len() + fields.sum::<usize>() + LINE_BYTES
    }
}

/// Reads the fields of a record, as long as there is room.
struct Reader<'a> {
    left: usize,
    line: &'a mut Line,
}

impl Reader<'_> {
    fn take(&mut self, field: &Field, value: fmt::Arguments<'_>) {
        let name = field.name();
        let is_own = name == "message" || name.starts_with("log.");
        let around = if is_own { 0 } else { name.len() + FIELD_BYTES };
        if self.left <= around {
            self.line.is_cut = true;
            return;
        }
        let mut text = Cut { text: String::new(), left: self.left - around, is_cut: false };
        // A value that cannot be written is as far as it could be.
        let _ = text.write_fmt(value);
        self.line.is_cut |= text.is_cut;
        let text = text.text;
        self.left -= around + text.len();
        match name {
            "message" => self.line.message = text,
            // Records of the `log` crate come under one target and say in a field which it was.
            "log.target" => self.line.target = text,
            _ if is_own => {}
            _ => self.line.fields.push((name.to_owned(), text)),
        }
    }
}

impl Visit for Reader<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.take(field, format_args!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.take(field, format_args!("{value}"));
    }
}

/// Text that ends where there is no room.
struct Cut {
    text: String,
    left: usize,
    is_cut: bool,
}

impl Write for Cut {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let end = text.floor_char_boundary(self.left);
        self.text.push_str(&text[..end]);
        self.left -= end;
        if end < text.len() {
            // Nothing that comes behind it is asked for.
            self.is_cut = true;
            return Err(fmt::Error);
        }
        Ok(())
    }
}

/// The target of records that come once a request.
pub const ACCESS: &str = "access";
/// The longest line: a panic with a long message fits, a whole configuration does not.
pub const LINE_BYTES_MAX: usize = 4 * 1024;
/// What it takes to keep a line, beside its text.
const LINE_BYTES: usize = 160;
/// The same of a field.
const FIELD_BYTES: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    fn logged(limits: Limits, act: impl FnOnce()) -> Recent {
        let recent = Recent::new(limits);
        recent.during(act);
        recent
    }

    const ROOM: Limits = Limits { lines: 100, bytes: 1 << 20 };

    #[test]
    fn a_line_has_its_level_its_target_its_message_and_its_values() {
        let recent = logged(ROOM, || {
            tracing::warn!(target: "a::b", count = 3, name = "x", error = ?Some(1), "it {}", "broke");
            tracing::info!(target: ACCESS, "GET /");
            tracing::debug!("quiet");
        });
        let Behind { lines, lost, last } = recent.behind(0);
        assert_eq!((lines.len(), lost, last), (2, 0, 2));
        let line = &lines[0];
        assert_eq!((line.number, line.level, line.target.as_str()), (1, Level::WARN, "a::b"));
        assert_eq!((line.message.as_str(), line.is_cut), ("it broke", false));
        let fields = [("count", "3"), ("name", "x"), ("error", "Some(1)")];
        assert_eq!(line.fields, fields.map(|(name, value)| (name.to_owned(), value.to_owned())));
        assert!(line.at_unix_ms > 1_700_000_000_000);
    }

    #[test]
    fn only_so_much_is_kept_and_what_went_is_counted() {
        let recent = logged(Limits { lines: 3, ..ROOM }, || {
            (0..10).for_each(|number| tracing::info!("{number}"));
        });
        let said = |behind: Behind| {
            let lines = behind.lines.iter().map(|line| line.message.clone()).collect::<String>();
            (lines, behind.lost, behind.last)
        };
        for (number, expected) in [
            (0, ("789", 7)),
            (6, ("789", 1)),
            (7, ("789", 0)),
            (9, ("9", 0)),
            (10, ("", 0)),
            (u64::MAX, ("", 0)),
        ] {
            let (lines, lost) = expected;
            assert_eq!(said(recent.behind(number)), (lines.to_owned(), lost, 10), "{number}");
        }
        let bytes = 10 * LINE_BYTES;
        let recent = logged(Limits { bytes, ..ROOM }, || {
            (0..100).for_each(|number| tracing::info!("{number}"));
        });
        let kept = recent.behind(0).lines;
        assert!((1..10).contains(&kept.len()), "{}", kept.len());
        assert!(recent.lock().bytes <= bytes);
        let none = logged(Limits { bytes: 10, ..ROOM }, || tracing::info!("larger than all"));
        let Behind { lines, lost, last } = none.behind(0);
        assert_eq!((lines.len(), lost, last, none.lock().bytes), (0, 1, 1, 0));
    }

    #[test]
    fn what_is_too_long_is_cut_between_letters_and_says_so() {
        let long = "é".repeat(LINE_BYTES_MAX);
        let recent = logged(ROOM, || {
            tracing::info!("x{long}");
            tracing::info!(first = long, second = 2, "short");
        });
        let lines = recent.behind(0).lines;
        assert!(lines[0].is_cut && lines[0].message.len() <= LINE_BYTES_MAX);
        assert!(lines[0].message.ends_with('é') && lines[0].message.len() > LINE_BYTES_MAX - 3);
        let line = &lines[1];
        assert!(line.is_cut && line.message == "short", "{line:?}");
        assert!(line.fields[0].1.starts_with("éé"), "{line:?}");
        assert!(lines.iter().all(|line| line.length() <= LINE_BYTES_MAX + 2 * LINE_BYTES));
    }

    #[test]
    fn every_log_has_a_mark_of_its_own() {
        let marks: std::collections::HashSet<_> =
            (0..8).map(|_| Recent::new(ROOM).process()).collect();
        assert!(marks.len() > 1);
    }
}

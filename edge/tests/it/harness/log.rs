//! What the edge writes to its log, at every level, kept so that a story can look for what must not be in it.
//!
//! One for all stories of this process, which tell their own lines by paths or words that no other story has.

use std::{
    fmt::{Debug, Write},
    sync::{Mutex, Once, PoisonError},
};

use tracing::{
    Event, Level, Metadata, Subscriber,
    field::{Field, Visit},
    span,
    subscriber::Interest,
};

/// Keeps the log from now on; every edge calls it before it starts.
pub(crate) fn keep() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        tracing::subscriber::set_global_default(Log).expect("nobody else takes the log");
    });
}

/// Everything that was written so far.
pub(crate) fn written() -> String {
    LINES.lock().unwrap_or_else(PoisonError::into_inner).clone()
}

struct Log;

struct Line(String);

impl Subscriber for Log {
    fn register_callsite(&self, metadata: &'static Metadata<'static>) -> Interest {
        if self.enabled(metadata) { Interest::always() } else { Interest::never() }
    }

    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        // Ours in every detail; of libraries what a node in production may write.
        let is_ours = metadata.target().starts_with("tidegate") || metadata.target() == "access";
        is_ours || *metadata.level() <= Level::INFO
    }

    fn new_span(&self, attributes: &span::Attributes<'_>) -> span::Id {
        let mut line = Line(attributes.metadata().name().to_owned());
        attributes.record(&mut line);
        line.keep();
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, values: &span::Record<'_>) {
        let mut line = Line(String::new());
        values.record(&mut line);
        line.keep();
    }

    fn event(&self, event: &Event<'_>) {
        let mut line = Line(event.metadata().target().to_owned());
        event.record(&mut line);
        line.keep();
    }

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn enter(&self, _: &span::Id) {}

    fn exit(&self, _: &span::Id) {}
}

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        let _ = write!(self.0, " {}={value:?}", field.name());
    }
}

impl Line {
    fn keep(self) {
        let mut lines = LINES.lock().unwrap_or_else(PoisonError::into_inner);
        lines.push_str(&self.0);
        lines.push('\n');
    }
}

static LINES: Mutex<String> = Mutex::new(String::new());

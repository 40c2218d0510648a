//! What a person sees while a run goes on: a dashboard on a terminal, else lines; and who else watches.
//!
//! Invariant: nothing that watches can stop a run but a person's key.

use std::{io::IsTerminal, process, time::Duration};

use prometheus::Registry;

use super::{outputs::IntervalFile, say::note};
use crate::{
    output::{dashboard::Dashboard, lines, prometheus::Exporter},
    results::{Interval, Results},
    run::Watch,
};

/// Everything that watches.
pub(super) struct Screen {
    view: View,
    intervals: Option<IntervalFile>,
    exporter: Option<Exporter>,
    /// Notes that the dashboard hides, for after it.
    notes: Vec<String>,
    keys: u32,
}

enum View {
    Dashboard(Box<Dashboard>),
    Lines,
    Nothing,
}

impl Screen {
    /// A dashboard when standard error is a terminal, and lines are not asked for.
    pub(super) fn open(is_plain: bool, is_quiet: bool, planned: Option<Duration>) -> Self {
        let is_terminal = std::io::stderr().is_terminal() && std::io::stdout().is_terminal();
        let view = if is_quiet {
            View::Nothing
        } else if is_plain || !is_terminal {
            View::Lines
        } else {
            Dashboard::open(planned)
                .map_or(View::Lines, |dashboard| View::Dashboard(Box::new(dashboard)))
        };
        Self { view, intervals: None, exporter: None, notes: Vec::new(), keys: 0 }
    }

    pub(super) fn with_intervals(mut self, file: Option<IntervalFile>) -> Self {
        self.intervals = file;
        self
    }

    pub(super) fn with_metrics(mut self, registry: Option<&Registry>) -> Self {
        self.exporter = registry.map(Exporter::register);
        self
    }

    /// Gives the terminal back, and says what was hidden.
    pub(super) fn close(self) {
        drop(self.view);
        self.notes.iter().for_each(|text| note(text));
    }
}

impl Watch for Screen {
    fn wants_totals(&self) -> bool {
        matches!(self.view, View::Dashboard(_)) || self.exporter.is_some()
    }

    fn second(&mut self, interval: &Interval, totals: Option<&Results>) {
        if let Some(file) = &mut self.intervals
            && let Err(error) = file.write(interval)
        {
            self.intervals = None;
            self.note(&format!("intervals cannot be written any more: {error}"));
        }
        if let Some((exporter, totals)) = self.exporter.as_mut().zip(totals) {
            exporter.observe(interval, totals);
        }
        let is_gone = match (&mut self.view, totals) {
            (View::Dashboard(dashboard), Some(totals)) => dashboard.show(interval, totals).is_err(),
            (View::Lines, _) => {
                note(lines::line(interval, 1.0).trim_end());
                false
            }
            _ => false,
        };
        // A terminal that went away is no reason to end a run.
        if is_gone {
            self.view = View::Nothing;
        }
    }

    fn note(&mut self, text: &str) {
        match self.view {
            View::Dashboard(_) if self.notes.len() < NOTES_MAX => self.notes.push(text.to_owned()),
            View::Dashboard(_) => {}
            View::Lines | View::Nothing => note(text),
        }
    }

    fn is_stop_asked(&mut self) -> bool {
        let View::Dashboard(dashboard) = &mut self.view else { return false };
        let is_asked = dashboard.is_stop_asked().unwrap_or(false);
        self.keys += u32::from(is_asked);
        if self.keys > 1 {
            // Asked twice: at once. Dropping the dashboard gives the terminal back.
            self.view = View::Nothing;
            note("ended at once; nothing was written, and faults were not undone");
            process::exit(130);
        }
        is_asked
    }
}

/// Notes that are kept until the dashboard closes.
const NOTES_MAX: usize = 200;

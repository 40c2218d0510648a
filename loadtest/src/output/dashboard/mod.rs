//! The run live on a terminal.
//!
//! Invariant: however the program ends, the terminal is as it was: on drop, and on a panic in any thread, through the
//! hook that opening installs.

mod screen;

use std::{io, time::Duration};

use ratatui::{
    DefaultTerminal,
    crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers},
};

use self::screen::Screen;
use crate::results::{Interval, Results};

/// A terminal that shows a run. Only one at a time.
pub struct Dashboard {
    terminal: DefaultTerminal,
    screen: Screen,
}

impl Dashboard {
    /// Takes the terminal. `planned` is how long the run is to last, if it is known.
    ///
    /// While it is open, keys do not make signals: call `is_stop_asked` often. Nothing else may write to the terminal.
    pub fn open(planned: Option<Duration>) -> io::Result<Self> {
        let terminal = ratatui::try_init().inspect_err(|_| drop(ratatui::try_restore()))?;
        Ok(Self { terminal, screen: Screen::new(planned) })
    }

    /// Shows the last interval and the totals so far.
    pub fn show(&mut self, interval: &Interval, totals: &Results) -> io::Result<()> {
        self.screen.push(interval);
        let Self { terminal, screen } = self;
        terminal.draw(|frame| screen.draw(frame, interval, totals))?;
        Ok(())
    }

    /// Whether `q`, Escape or Ctrl-C was pressed since the last call. Never waits.
    pub fn is_stop_asked(&mut self) -> io::Result<bool> {
        let mut is_asked = false;
        for _ in 0..KEYS_MAX {
            if !event::poll(Duration::ZERO)? {
                break;
            }
            if let Event::Key(key) = event::read()? {
                is_asked |= is_stop(key);
            }
        }
        Ok(is_asked)
    }
}

impl Drop for Dashboard {
    fn drop(&mut self) {
        // Nobody is left to be told that it did not work.
        drop(ratatui::try_restore());
    }
}

fn is_stop(key: KeyEvent) -> bool {
    let is_control = key.modifiers.contains(KeyModifiers::CONTROL);
    key.kind != KeyEventKind::Release
        && match key.code {
            KeyCode::Char('c' | 'd') => is_control,
            KeyCode::Char('q' | 'Q') | KeyCode::Esc => true,
            _ => false,
        }
}

/// Keys read in one call: a held key must not hold the run.
const KEYS_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn q_escape_and_control_c_stop_and_nothing_else_does() {
        let key = |code, modifiers| is_stop(KeyEvent::new(code, modifiers));
        assert!(key(KeyCode::Char('q'), KeyModifiers::NONE));
        assert!(key(KeyCode::Esc, KeyModifiers::NONE));
        assert!(key(KeyCode::Char('c'), KeyModifiers::CONTROL));
        assert!(!key(KeyCode::Char('c'), KeyModifiers::NONE));
        assert!(!key(KeyCode::Enter, KeyModifiers::NONE));
        let mut released = KeyEvent::new(KeyCode::Char('q'), KeyModifiers::NONE);
        released.kind = KeyEventKind::Release;
        assert!(!is_stop(released));
    }
}

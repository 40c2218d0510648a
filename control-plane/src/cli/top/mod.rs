//! `tidegate top`: the PoPs live, the worst first; the properties and paths that clients ask for most.
//!
//! It asks once a second and draws what it got; when the control plane does not answer it says so and shows what was last
//! known. The drawing is pure and works at any size.

mod busiest; // properties and paths
mod pops;

use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};
use ratatui::{
    Frame,
    crossterm::event::{self, Event, KeyCode, KeyModifiers},
    layout::{Constraint, Layout},
    style::{Color, Style, Stylize as _},
    text::Line,
    widgets::{Row, Table},
};
use serde::de::DeserializeOwned;
use tidegate_contract::id::PopId;
use tokio::{
    signal::unix::{SignalKind, signal},
    time::{Instant, timeout},
};

use self::{busiest::Busiest, pops::Pops};
use super::{
    client::Client,
    failure::{Exit, Failure},
    output::Output,
};

/// What is shown.
#[derive(Subcommand)]
pub(super) enum TopCommand {
    /// The PoPs, the worst first; what `top` alone shows
    Pops,
    /// The properties that clients ask for most, over the last minute
    Services(Which),
    /// The paths that clients ask for most, over the last minute
    Assets(Which),
}

/// Of which PoPs, and in which order.
#[derive(Args)]
pub(super) struct Which {
    /// In one PoP; without, in all of them
    #[arg(long)]
    pop: Option<PopId>,
    /// What counts
    #[arg(long, value_enum, default_value_t = By::Requests)]
    by: By,
}

/// What counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum By {
    Requests,
    Bytes,
}

/// What a screen is about.
trait Content {
    /// What is asked of the server.
    type Answer: DeserializeOwned;
    fn path(&self) -> String;
    fn take(&mut self, answer: Self::Answer);
    /// The first line.
    fn title(&self) -> String;
    /// How many rows there are.
    fn rows(&self) -> usize;
    /// The columns that a screen of some width has room for, and their cells in a row.
    fn columns(&self, width: u16) -> Vec<(&'static str, u16)>;
    fn row(&self, at: usize, width: u16) -> Vec<Line<'static>>;
    /// Prints it as every other command does.
    fn print(&self, out: &Output) -> Result<(), Failure>;
}

/// What is shown.
struct Screen<C> {
    content: C,
    failure: Option<String>,
    first: usize,
}

/// The terminal while the screen is on it; dropped, it is as it was before, however the command ends.
struct Held(ratatui::DefaultTerminal);

impl Held {
    fn take() -> std::io::Result<Self> {
        ratatui::try_init().map(Self)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        ratatui::restore();
    }
}

/// Shows it until q is pressed; once, where that is asked for or nobody looks at a table.
pub(super) async fn run(
    command: Option<TopCommand>,
    once: bool,
    client: &Client,
    out: &Output,
) -> Result<Exit, Failure> {
    match command.unwrap_or(TopCommand::Pops) {
        TopCommand::Pops => show(Pops::default(), once, client, out).await,
        TopCommand::Services(which) => {
            show(Busiest::of("services", which), once, client, out).await
        }
        TopCommand::Assets(which) => show(Busiest::of("assets", which), once, client, out).await,
    }
}

async fn show<C: Content>(
    content: C,
    once: bool,
    client: &Client,
    out: &Output,
) -> Result<Exit, Failure> {
    // The first answer comes before the screen: a wrong token is told in words.
    let mut screen = Screen { content, failure: None, first: 0 };
    screen.take(client.get(&screen.content.path()).await?);
    if once || !out.is_for_people() {
        screen.content.print(out)?;
        return Ok(Exit::Ok);
    }
    let mut ended = signal(SignalKind::terminate()).map_err(failed)?;
    let mut hung_up = signal(SignalKind::hangup()).map_err(failed)?;
    let mut held = Held::take().map_err(failed)?;
    tokio::select! {
        quit = go_on(&mut screen, &mut held.0, client) => quit,
        _ = ended.recv() => Err(Failure::new(Exit::Interrupted, "ended")),
        _ = hung_up.recv() => Err(Failure::new(Exit::Interrupted, "the terminal is gone")),
    }
}

async fn go_on<C: Content>(
    screen: &mut Screen<C>,
    terminal: &mut ratatui::DefaultTerminal,
    client: &Client,
) -> Result<Exit, Failure> {
    loop {
        terminal.draw(|frame| screen.draw(frame)).map_err(failed)?;
        let until = Instant::now() + EVERY;
        while Instant::now() < until {
            let key = tokio::task::spawn_blocking(next_key).await;
            let key = key.map_err(|error| Failure::new(Exit::Failed, error.to_string()))?;
            match key.map_err(failed)? {
                Some(Key::Quit) => return Ok(Exit::Ok),
                Some(key) => {
                    screen.turn(key);
                    terminal.draw(|frame| screen.draw(frame)).map_err(failed)?;
                }
                None => {}
            }
        }
        match timeout(ANSWER_MAX, client.get(&screen.content.path())).await {
            Ok(Ok(answer)) => screen.take(answer),
            Ok(Err(failure)) => screen.failure = Some(failure.to_string()),
            Err(_) => screen.failure = Some("no answer in time".to_owned()),
        }
    }
}

fn failed(error: std::io::Error) -> Failure {
    Failure::new(Exit::Failed, format!("terminal: {error}"))
}

#[derive(Debug, Clone, Copy)]
enum Key {
    Quit,
    Up,
    Down,
    /// None was pressed; the terminal has another size.
    Resized,
}

fn next_key() -> std::io::Result<Option<Key>> {
    if !event::poll(POLL)? {
        return Ok(None);
    }
    let key = match event::read()? {
        Event::Key(key) => key,
        Event::Resize(..) => return Ok(Some(Key::Resized)),
        _ => return Ok(None),
    };
    let is_control = key.modifiers.contains(KeyModifiers::CONTROL);
    Ok(match key.code {
        KeyCode::Char('q') | KeyCode::Esc => Some(Key::Quit),
        KeyCode::Char('c') if is_control => Some(Key::Quit),
        KeyCode::Up | KeyCode::Char('k') => Some(Key::Up),
        KeyCode::Down | KeyCode::Char('j') => Some(Key::Down),
        _ => None,
    })
}

impl<C: Content> Screen<C> {
    fn take(&mut self, answer: C::Answer) {
        self.content.take(answer);
        self.first = self.first.min(self.content.rows().saturating_sub(1));
        self.failure = None;
    }

    fn turn(&mut self, key: Key) {
        self.first = match key {
            Key::Up => self.first.saturating_sub(1),
            Key::Down => (self.first + 1).min(self.content.rows().saturating_sub(1)),
            Key::Quit | Key::Resized => self.first,
        };
    }

    fn draw(&self, frame: &mut Frame<'_>) {
        let areas =
            Layout::vertical([Constraint::Length(1), Constraint::Min(0), Constraint::Length(1)]);
        let [head, body, foot] = areas.areas(frame.area());
        frame.render_widget(Line::from(self.content.title()).bold(), head);
        let columns = self.content.columns(body.width);
        let header = Row::new(columns.iter().map(|(title, _)| *title)).style(Style::new().dim());
        let widths = columns.iter().map(|(_, width)| Constraint::Length(*width));
        let rows = (self.first..self.content.rows())
            .take(usize::from(body.height))
            .map(|at| Row::new(self.content.row(at, body.width)));
        frame.render_widget(Table::new(rows, widths).header(header), body);
        let foot_line = match &self.failure {
            Some(failure) => Line::from(format!("last known; {failure}")).fg(Color::Red),
            None => Line::from("q quits, j and k turn").dim(),
        };
        frame.render_widget(foot_line, foot);
    }
}

const EVERY: Duration = Duration::from_secs(1);
const POLL: Duration = Duration::from_millis(100);
const ANSWER_MAX: Duration = Duration::from_secs(5);

#[cfg(test)]
fn drawn<C: Content>(screen: &Screen<C>, width: u16, height: u16) -> String {
    use ratatui::{Terminal, backend::TestBackend};

    let mut terminal = Terminal::new(TestBackend::new(width, height)).expect("a screen");
    terminal.draw(|frame| screen.draw(frame)).expect("drawn");
    terminal.backend().to_string()
}

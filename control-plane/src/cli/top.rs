//! `tidegate top`: the PoPs, live, the worst first.
//!
//! It asks once a second and draws what it got; when the control plane does not answer it says so and shows what was last
//! known. The drawing is pure and works at any size.

use std::time::Duration;

use ratatui::{
    Frame,
    crossterm::event::{self, Event, KeyCode, KeyModifiers},
    layout::{Constraint, Layout},
    style::{Color, Style, Stylize as _},
    text::Line,
    widgets::{Row, Table},
};
use tokio::time::{Instant, timeout};

use super::{
    client::Client,
    failure::{Exit, Failure},
    output::or_dash,
};
use crate::api::model::{PopList, PopView};

/// What is shown.
#[derive(Default)]
struct Screen {
    pops: Vec<PopView>,
    failure: Option<String>,
    first: usize,
}

/// Shows the PoPs until q is pressed.
pub(super) async fn run(client: &Client) -> Result<Exit, Failure> {
    // The first answer comes before the screen: a wrong token is told in words.
    let mut screen = Screen::default();
    screen.take(client.get::<PopList>("/v1/pops").await?.pops);
    let failed = |error: std::io::Error| Failure::new(Exit::Failed, format!("terminal: {error}"));
    let mut terminal = ratatui::try_init().map_err(failed)?;
    let shown = async {
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
            match timeout(ANSWER_MAX, client.get::<PopList>("/v1/pops")).await {
                Ok(Ok(list)) => screen.take(list.pops),
                Ok(Err(failure)) => screen.failure = Some(failure.to_string()),
                Err(_) => screen.failure = Some("no answer in time".to_owned()),
            }
        }
    };
    let ended = shown.await;
    ratatui::restore();
    ended
}

#[derive(Debug, Clone, Copy)]
enum Key {
    Quit,
    Up,
    Down,
}

fn next_key() -> std::io::Result<Option<Key>> {
    if !event::poll(POLL)? {
        return Ok(None);
    }
    let Event::Key(key) = event::read()? else { return Ok(None) };
    let is_control = key.modifiers.contains(KeyModifiers::CONTROL);
    Ok(match key.code {
        KeyCode::Char('q') | KeyCode::Esc => Some(Key::Quit),
        KeyCode::Char('c') if is_control => Some(Key::Quit),
        KeyCode::Up | KeyCode::Char('k') => Some(Key::Up),
        KeyCode::Down | KeyCode::Char('j') => Some(Key::Down),
        _ => None,
    })
}

impl Screen {
    fn take(&mut self, mut pops: Vec<PopView>) {
        pops.sort_by(|a, b| (rank(&a.state), &a.pop).cmp(&(rank(&b.state), &b.pop)));
        self.first = self.first.min(pops.len().saturating_sub(1));
        (self.pops, self.failure) = (pops, None);
    }

    fn turn(&mut self, key: Key) {
        self.first = match key {
            Key::Up => self.first.saturating_sub(1),
            Key::Down => (self.first + 1).min(self.pops.len().saturating_sub(1)),
            Key::Quit => self.first,
        };
    }

    fn draw(&self, frame: &mut Frame<'_>) {
        let areas =
            Layout::vertical([Constraint::Length(1), Constraint::Min(0), Constraint::Length(1)]);
        let [head, body, foot] = areas.areas(frame.area());
        let up = self.pops.iter().filter(|pop| pop.state == "up").count();
        let purges = self.pops.iter().map(|pop| pop.purge_head).max().unwrap_or(0);
        let title = format!("tidegate  {up}/{} PoPs up  purge head {purges}", self.pops.len());
        frame.render_widget(Line::from(title).bold(), head);
        let header =
            Row::new(["POP", "ROLE", "STATE", "NODES", "GENERATION", "PURGE LAG", "HIT RATIO"]);
        let widths = [18, 8, 10, 7, 12, 10, 10].map(Constraint::Length);
        let rows = self.pops.iter().skip(self.first).map(row);
        let table = Table::new(rows, widths).header(header.style(Style::new().dim()));
        frame.render_widget(table, body);
        let foot_line = match &self.failure {
            Some(failure) => Line::from(format!("last known; {failure}")).fg(Color::Red),
            None => Line::from("q quits, j and k turn").dim(),
        };
        frame.render_widget(foot_line, foot);
    }
}

fn row(pop: &PopView) -> Row<'static> {
    let color = match pop.state.as_str() {
        "up" => Color::Green,
        "down" => Color::Red,
        _ => Color::Yellow,
    };
    let up = pop.nodes.iter().filter(|node| node.state == "up").count();
    let health = || pop.nodes.iter().filter_map(|node| node.health.as_ref());
    let requests: u64 = health().map(|health| health.requests_total).sum();
    let hits: u64 = health().map(|health| health.hits_total).sum();
    let ratio = (requests > 0).then(|| format!("{:.1} %", hits as f64 * 100.0 / requests as f64));
    Row::new([
        pop.pop.to_string().into(),
        pop.role.as_str().to_owned().into(),
        Line::from(pop.state.clone()).fg(color),
        format!("{up}/{}", pop.nodes.len()).into(),
        format!(
            "{}/{}",
            or_dash(pop.nodes.iter().map(|node| node.generation).min()),
            pop.generation
        )
        .into(),
        or_dash(pop.nodes.iter().filter_map(|node| node.purge_lag).max()).into(),
        or_dash(ratio).into(),
    ])
}

/// What needs somebody stands first.
fn rank(state: &str) -> u8 {
    match state {
        "down" => 0,
        "uncertain" => 1,
        "not_ready" => 2,
        "draining" => 3,
        "empty" => 4,
        _ => 5,
    }
}

const EVERY: Duration = Duration::from_secs(1);
const POLL: Duration = Duration::from_millis(100);
const ANSWER_MAX: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use ratatui::{Terminal, backend::TestBackend};
    use serde_json::json;

    use super::*;

    fn pop(name: &str, state: &str) -> PopView {
        serde_json::from_value(json!({
            "pop": name, "role": "edge", "state": state, "generation": 5, "purge_head": 9,
            "nodes": [{
                "node": "n1", "state": state, "connected": true, "build": "x", "generation": 4,
                "purge_applied": 9, "purge_lag": 3, "heard_unix_ms": 1,
                "certificate_expires_unix_ms": 1,
                "health": {
                    "ready": true, "draining": false, "requests_total": 8, "hits_total": 6,
                    "errors_total": 0, "cache_bytes": 0, "started_unix_ms": 0
                },
            }],
        }))
        .expect("a PoP")
    }

    fn drawn(screen: &Screen, width: u16, height: u16) -> String {
        let mut terminal = Terminal::new(TestBackend::new(width, height)).expect("a screen");
        terminal.draw(|frame| screen.draw(frame)).expect("drawn");
        terminal.backend().to_string()
    }

    #[test]
    fn the_worst_stands_first_and_any_size_is_drawn() {
        let mut screen = Screen::default();
        screen.take(vec![pop("ams", "up"), pop("fra", "down"), pop("bom", "draining")]);
        let text = drawn(&screen, 80, 10);
        let at = |name: &str| text.find(name).unwrap_or_else(|| panic!("{name}: {text}"));
        assert!(at("fra") < at("bom") && at("bom") < at("ams"), "{text}");
        assert!(text.contains("1/3 PoPs up") && text.contains("75.0 %") && text.contains("4/5"));
        screen.failure = Some("gone".into());
        assert!(drawn(&screen, 80, 10).contains("last known; gone"));
        for (width, height) in [(1, 1), (20, 3), (200, 2)] {
            drawn(&screen, width, height);
        }
        screen.turn(Key::Down);
        assert!(!drawn(&screen, 80, 10).contains("fra"));
    }
}

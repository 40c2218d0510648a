//! Data on standard output: a table for people, JSON, YAML or names for programs.
//!
//! Tables have no borders, so that they read the same in a terminal, a pipe and a log; colours are put on a few words
//! that say how something is, and only where a terminal shows them. Messages go to standard error.

use std::{
    env,
    io::{self, IsTerminal, Write},
};

use clap::ValueEnum;
use comfy_table::{Table, presets::NOTHING};
use serde::Serialize;

use super::failure::{Exit, Failure};

/// How data is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// A table.
    Table,
    /// A table with more columns.
    Wide,
    /// JSON.
    Json,
    /// YAML.
    Yaml,
    /// The names alone, one a line.
    Name,
}

/// When words are coloured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Color {
    /// On a terminal, unless NO_COLOR is set.
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// Where data goes, and how.
pub(super) struct Output {
    format: Format,
    has_headers: bool,
    has_colors: bool,
    is_quiet: bool,
}

impl Output {
    /// Data in one format; without headers, in colour, without notes.
    pub(super) fn new(format: Format, has_headers: bool, color: Color, is_quiet: bool) -> Self {
        let has_colors = match color {
            Color::Always => true,
            Color::Never => false,
            Color::Auto => {
                let is_unwanted = env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
                !is_unwanted && io::stdout().is_terminal()
            }
        };
        Self { format, has_headers, has_colors, is_quiet }
    }

    /// Whether the table shall have its wide form.
    pub(super) fn is_wide(&self) -> bool {
        self.format == Format::Wide
    }

    /// Whether messages are left out.
    pub(super) fn is_quiet(&self) -> bool {
        self.is_quiet
    }

    /// Whether people read it.
    pub(super) fn is_for_people(&self) -> bool {
        matches!(self.format, Format::Table | Format::Wide)
    }

    /// Prints a value: whole as JSON or YAML, as a table by the rows that `rows` makes of it, or the first column alone.
    pub(super) fn print<T: Serialize, const N: usize>(
        &self,
        value: &T,
        header: [&str; N],
        rows: impl FnOnce(&T) -> Vec<[String; N]>,
    ) -> Result<(), Failure> {
        match self.format {
            Format::Json => self.print_json(value),
            Format::Yaml => print_yaml(value),
            Format::Name => {
                let mut names = rows(value).into_iter().filter_map(|row| row.into_iter().next());
                names.try_for_each(|name| write_out(&name))
            }
            Format::Table | Format::Wide => {
                let rows = rows(value);
                if rows.is_empty() {
                    self.note("nothing found");
                    return Ok(());
                }
                write_out(&self.paint(&table(self.has_headers.then_some(header), rows)))
            }
        }
    }

    /// Whether names alone are wanted.
    pub(super) fn is_names(&self) -> bool {
        self.format == Format::Name
    }

    /// Prints a value as JSON or YAML, as the name of what it is about, or as the one line of text that `line` makes of it.
    pub(super) fn print_line<T: Serialize>(
        &self,
        value: &T,
        name: impl ToString,
        line: impl FnOnce(&T) -> String,
    ) -> Result<(), Failure> {
        match self.format {
            Format::Json => self.print_json(value),
            Format::Yaml => print_yaml(value),
            Format::Name => write_out(&name.to_string()),
            Format::Table | Format::Wide => write_out(&self.paint(&line(value))),
        }
    }

    /// Prints a value that has no form as a table, or its name.
    pub(super) fn print_whole<T: Serialize>(
        &self,
        value: &T,
        name: impl ToString,
    ) -> Result<(), Failure> {
        if self.is_names() { write_out(&name.to_string()) } else { self.print_json(value) }
    }

    /// Prints one of many values as they come: JSON on one line, a document of YAML, a line of text, or its name.
    pub(super) fn print_next<T: Serialize>(
        &self,
        value: &T,
        line: impl FnOnce(&T) -> String,
        name: impl FnOnce(&T) -> String,
    ) -> Result<(), Failure> {
        match self.format {
            Format::Json => {
                let text = serde_json::to_string(value)
                    .map_err(|error| Failure::new(Exit::Failed, error.to_string()))?;
                write_out(&text)
            }
            Format::Yaml => write_out(&format!("---\n{}", yaml(value)?.trim_end())),
            Format::Name => write_out(&name(value)),
            Format::Table | Format::Wide => write_out(&self.paint(&line(value))),
        }
    }

    /// Prints a value that has no form as a table: as YAML where that is asked for, as JSON otherwise.
    pub(super) fn print_json<T: Serialize>(&self, value: &T) -> Result<(), Failure> {
        if self.format == Format::Yaml {
            return print_yaml(value);
        }
        let text = serde_json::to_string_pretty(value)
            .map_err(|error| Failure::new(Exit::Failed, error.to_string()))?;
        write_out(&text)
    }

    /// Prints text as it is; lines that begin with + and - are those of a difference.
    pub(super) fn print_text(&self, text: &str) -> Result<(), Failure> {
        let text = text.trim_end();
        let paint = |text: &str| text.lines().map(paint_difference).collect::<Vec<_>>().join("\n");
        if self.has_colors { write_out(&paint(text)) } else { write_out(text) }
    }

    /// Tells the person something that is no data.
    pub(super) fn note(&self, text: &str) {
        if !self.is_quiet {
            let _ = writeln!(io::stderr(), "{text}");
        }
    }

    /// Colours words that say how something is.
    fn paint(&self, text: &str) -> String {
        if self.has_colors { paint(text) } else { text.to_owned() }
    }
}

/// A time as text, in UTC.
pub(super) fn time(unix_ms: u64) -> String {
    let time = std::time::UNIX_EPOCH + std::time::Duration::from_millis(unix_ms);
    humantime::format_rfc3339_millis(time).to_string()
}

/// A value, or a dash where there is none.
pub(super) fn or_dash(value: Option<impl ToString>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| value.to_string())
}

/// A value as YAML.
pub(super) fn yaml<T: Serialize>(value: &T) -> Result<String, Failure> {
    serde_yaml::to_string(value).map_err(|error| Failure::new(Exit::Failed, error.to_string()))
}

fn print_yaml<T: Serialize>(value: &T) -> Result<(), Failure> {
    write_out(yaml(value)?.trim_end())
}

fn table<const N: usize>(header: Option<[&str; N]>, rows: Vec<[String; N]>) -> String {
    let mut table = Table::new();
    table.load_style(NOTHING);
    if let Some(header) = header {
        table.set_header(header);
    }
    table.add_rows(rows);
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    table.lines().map(|line| line.trim_end().to_owned()).collect::<Vec<_>>().join("\n")
}

fn paint(text: &str) -> String {
    text.lines().map(paint_line).collect::<Vec<_>>().join("\n")
}

/// Cells are parted by two spaces; colours have no width, so that what is aligned stays so.
fn paint_line(line: &str) -> String {
    let cell = |cell: &str| {
        let word = cell.trim();
        let color = COLORS.iter().find(|(words, _)| words.contains(&word));
        match color {
            Some((_, color)) => cell.replacen(word, &format!("\x1b[{color}m{word}\x1b[0m"), 1),
            None => cell.to_owned(),
        }
    };
    line.split("  ").map(cell).collect::<Vec<_>>().join("  ")
}

fn paint_difference(line: &str) -> String {
    let color = match line.as_bytes().first() {
        Some(b'+') => GREEN,
        Some(b'-') => RED,
        _ => return line.to_owned(),
    };
    format!("\x1b[{color}m{line}\x1b[0m")
}

fn write_out(text: &str) -> Result<(), Failure> {
    match writeln!(io::stdout(), "{text}") {
        // Whoever read has seen enough.
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Failure::new(Exit::Failed, format!("standard output: {error}")))
        }
        _ => Ok(()),
    }
}

const GREEN: u8 = 32;
const YELLOW: u8 = 33;
const RED: u8 = 31;
/// Words that say how something is.
const COLORS: [(&[&str], u8); 3] = [
    (&["up", "ok", "applied", "approved", "published", "whole", "created", "yes", "normal"], GREEN),
    (
        &[
            "draining",
            "uncertain",
            "pending",
            "not_ready",
            "empty",
            "changed",
            "skipped",
            "warning",
            "paused",
            "no",
            "late",
        ],
        YELLOW,
    ),
    (&["down", "refused", "rejected", "failed", "broken", "withdrawn", "deleted", "ended"], RED),
];

#[cfg(test)]
mod tests {
    use super::*;

    fn rows() -> Vec<[String; 2]> {
        vec![["fra".into(), "up".into()], ["nyc-long-name".into(), "uncertain".into()]]
    }

    #[test]
    fn a_table_is_plain_text() {
        let text = table(Some(["POP", "STATE"]), rows());
        assert_eq!(text, "POP            STATE\nfra            up\nnyc-long-name  uncertain");
        assert_eq!(table(None, rows()), "fra            up\nnyc-long-name  uncertain");
    }

    #[test]
    fn colours_are_put_on_states_alone_and_move_nothing() {
        let plain = table(Some(["POP", "STATE"]), rows());
        let painted = paint(&plain);
        assert!(painted.contains("\x1b[32mup\x1b[0m") && painted.contains("\x1b[33muncertain"));
        let mut bare = painted;
        for code in ["\x1b[32m", "\x1b[33m", "\x1b[0m"] {
            bare = bare.replace(code, "");
        }
        assert_eq!(bare, plain);
        assert_eq!(paint("up-and-down  x"), "up-and-down  x");
    }

    #[test]
    fn times_are_utc() {
        assert_eq!(time(1_500), "1970-01-01T00:00:01.500Z");
        assert_eq!(or_dash(None::<u64>), "-");
    }
}

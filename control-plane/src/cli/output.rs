//! Data on standard output: a table for people, JSON for programs.
//!
//! Tables have no colours and no borders, so that they read the same in a terminal, a pipe and a log.

use std::io::{self, Write};

use comfy_table::{Table, presets::NOTHING};
use serde::Serialize;

use super::{
    Format,
    failure::{Exit, Failure},
};

/// Where data goes, and how.
pub(super) struct Output {
    format: Format,
}

impl Output {
    /// Data in one format.
    pub(super) fn new(format: Format) -> Self {
        Self { format }
    }

    /// Prints a value: as JSON whole, as a table by the rows that `rows` makes of it.
    pub(super) fn print<T: Serialize, const N: usize>(
        &self,
        value: &T,
        header: [&str; N],
        rows: impl FnOnce(&T) -> Vec<[String; N]>,
    ) -> Result<(), Failure> {
        match self.format {
            Format::Json => self.print_json(value),
            Format::Table => write_out(&table(header, rows(value))),
        }
    }

    /// Prints a value as JSON, or as the one line of text that `line` makes of it.
    pub(super) fn print_line<T: Serialize>(
        &self,
        value: &T,
        line: impl FnOnce(&T) -> String,
    ) -> Result<(), Failure> {
        match self.format {
            Format::Json => self.print_json(value),
            Format::Table => write_out(&line(value)),
        }
    }

    /// Prints a value as JSON, whatever the format: it has no form as a table.
    pub(super) fn print_json<T: Serialize>(&self, value: &T) -> Result<(), Failure> {
        let text = serde_json::to_string_pretty(value)
            .map_err(|error| Failure::new(Exit::Failed, error.to_string()))?;
        write_out(&text)
    }

    /// Tells the person something that is no data.
    pub(super) fn note(&self, text: &str) {
        let _ = writeln!(io::stderr(), "{text}");
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

fn table<const N: usize>(header: [&str; N], rows: Vec<[String; N]>) -> String {
    let mut table = Table::new();
    table.load_style(NOTHING);
    table.set_header(header);
    table.add_rows(rows);
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    table.lines().map(|line| line.trim_end().to_owned()).collect::<Vec<_>>().join("\n")
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_plain_text() {
        let text = table(
            ["POP", "STATE"],
            vec![["fra".into(), "up".into()], ["nyc-long-name".into(), "uncertain".into()]],
        );
        assert_eq!(text, "POP            STATE\nfra            up\nnyc-long-name  uncertain");
    }

    #[test]
    fn times_are_utc() {
        assert_eq!(time(1_500), "1970-01-01T00:00:01.500Z");
        assert_eq!(or_dash(None::<u64>), "-");
    }
}

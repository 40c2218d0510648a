//! Histograms as `.hgrm`: the percentile table that the plotters of HdrHistogram read, one file for each histogram.
//!
//! Times are in milliseconds whatever the unit of the field, so that files can be laid over one another.

use std::{fs, path::Path};

use super::file::{self, FileError};
use crate::results::{
    Histogram, Results,
    figure::{Values, kind_name, protocol_name},
};

/// Writes a file for each histogram that holds something into `dir`, which is made if need be. Gives their number.
pub fn write_all(dir: &Path, results: &Results) -> Result<usize, FileError> {
    fs::create_dir_all(dir).map_err(FileError::of(dir))?;
    let tables = tables(results);
    for (name, text) in &tables {
        file::replace(&dir.join(format!("{name}.hgrm")), text.as_bytes())?;
    }
    Ok(tables.len())
}

/// Names and tables.
fn tables(results: &Results) -> Vec<(String, String)> {
    let mut tables = Vec::new();
    for (name, values, scale) in [
        ("startup", Values::Startup, 1.0),
        ("stall", Values::Stall, 1.0),
        ("live-latency", Values::LiveLatency, 1.0),
        ("first-fresh", Values::FirstFresh, 1.0),
        ("schedule-error", Values::ScheduleError, 1e-3),
        ("loop-lag", Values::LoopLag, 1e-3),
    ] {
        tables.push((name.to_owned(), table(&values.find(results, None), scale)));
    }
    for fetches in &results.fetches {
        let protocol = protocol_name(fetches.protocol);
        let kind = kind_name(fetches.kind);
        tables.push((format!("{kind}-ttfb-{protocol}"), table(&fetches.first_byte_us, 1e-3)));
        tables.push((format!("{kind}-took-{protocol}"), table(&fetches.took_us, 1e-3)));
    }
    for (protocol, connections) in &results.connections {
        let protocol = protocol_name(*protocol);
        tables.push((format!("connect-{protocol}"), table(&connections.connect_us, 1e-3)));
        tables.push((format!("handshake-{protocol}"), table(&connections.handshake_us, 1e-3)));
    }
    tables.retain(|(_, text)| !text.is_empty());
    tables
}

/// The table of one histogram; empty if it is.
fn table(values: &Histogram, scale: f64) -> String {
    if values.is_empty() {
        return String::new();
    }
    let inner = values.inner();
    let mut text = format!(
        "{:>12} {:>14} {:>10} {:>14}\n\n",
        "Value", "Percentile", "TotalCount", "1/(1-Percentile)"
    );
    let mut total = 0_u64;
    for step in inner.iter_quantiles(TICKS_PER_HALF_DISTANCE) {
        total += step.count_since_last_iteration();
        let value = step.value_iterated_to() as f64 * scale;
        let quantile = step.quantile_iterated_to();
        let far = if quantile < 1.0 {
            format!("{:.2}", 1.0 / (1.0 - quantile))
        } else {
            "inf".to_owned()
        };
        text += &format!("{value:>12.3} {quantile:>14.12} {total:>10} {far:>14}\n");
    }
    let (mean, deviation) = (inner.mean() * scale, inner.stdev() * scale);
    let max = inner.max() as f64 * scale;
    text += &format!("#[Mean    = {mean:>12.3}, StdDeviation   = {deviation:>12.3}]\n");
    text += &format!("#[Max     = {max:>12.3}, Total count    = {:>12}]\n", inner.len());
    let buckets = inner.buckets();
    text += &format!("#[Buckets = {buckets:>12}, SubBuckets     = {SUB_BUCKETS:>12}]\n");
    text
}

/// As fine as the plotters' own examples.
const TICKS_PER_HALF_DISTANCE: u32 = 5;
/// Of 3 digits.
const SUB_BUCKETS: u32 = 2_048;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::fixture;

    #[test]
    fn a_table_says_values_in_milliseconds_up_to_the_largest() {
        let mut values = Histogram::default();
        (1..=1_000).for_each(|value| values.record(value * 1_000));
        let text = table(&values, 1e-3);
        let rows: Vec<Vec<f64>> = text
            .lines()
            .filter(|line| line.trim_start().starts_with(|c: char| c.is_ascii_digit()))
            .map(|line| line.split_whitespace().map(|word| word.parse().unwrap()).collect())
            .collect();
        assert!(rows.len() > 20);
        let half = rows.iter().find(|row| row[1] >= 0.5).unwrap();
        assert!((half[0] / 500.0 - 1.0).abs() < 2e-3, "{half:?}");
        assert_eq!(half[2], 500.0);
        let last = rows.last().unwrap();
        assert!(last[1] == 1.0 && last[2] == 1_000.0 && last[3].is_infinite(), "{last:?}");
        assert!(rows.windows(2).all(|pair| pair[0][0] <= pair[1][0] && pair[0][2] <= pair[1][2]));
        assert!(text.starts_with("       Value     Percentile TotalCount 1/(1-Percentile)\n\n"));
        assert!(text.contains("Total count    =         1000]"), "{text}");
        assert_eq!(table(&Histogram::default(), 1.0), "");
    }

    #[test]
    fn only_what_was_measured_gets_a_file() {
        let dir = tempfile::tempdir().unwrap();
        let at = dir.path().join("hgrm");
        let written = write_all(&at, &fixture::results(7)).unwrap();
        assert_eq!(fs::read_dir(&at).unwrap().count(), written);
        assert!(at.join("segment-ttfb-h3.hgrm").exists());
        assert!(!at.join("part-ttfb-h3.hgrm").exists());
        assert_eq!(write_all(&dir.path().join("none"), &Results::new("steady", 1)).unwrap(), 0);
    }
}

//! The results document as JSON: the only form that is read again.
//!
//! Invariant: a document of another schema is refused by its number, before anything else of it is understood.

use std::{fs::File, io::Read as _, path::Path};

use serde::Deserialize;

use super::file::{self, FileError};
use crate::results::{INTERVALS_MAX, POPS_MAX, Results, SCHEMA};

/// Why a document was not read.
#[derive(Debug, thiserror::Error)]
pub enum JsonError {
    #[error(transparent)]
    File(#[from] FileError),
    #[error("larger than {BYTES_MAX} bytes, which no results are")]
    TooLarge,
    #[error("not results of this program: {0}")]
    NotResults(serde_json::Error),
    #[error("results have schema {found}; this program reads {SCHEMA}")]
    Schema { found: u64 },
    #[error("at {path}: {error}")]
    Field { path: String, error: serde_json::Error },
    #[error("{0} cannot be those of a run")]
    OutOfRange(&'static str),
}

/// The document as text, with a line break at its end.
#[must_use]
pub fn write(results: &Results) -> Vec<u8> {
    let mut text = serde_json::to_vec_pretty(results).expect("results have plain keys");
    text.push(b'\n');
    text
}

/// Reads a document.
pub fn read(text: &[u8]) -> Result<Results, JsonError> {
    #[derive(Deserialize)]
    struct Head {
        schema: u64,
    }
    if text.len() > BYTES_MAX {
        return Err(JsonError::TooLarge);
    }
    let head: Head = serde_json::from_slice(text).map_err(JsonError::NotResults)?;
    if head.schema != u64::from(SCHEMA) {
        return Err(JsonError::Schema { found: head.schema });
    }
    let reader = &mut serde_json::Deserializer::from_slice(text);
    let results: Results = serde_path_to_error::deserialize(reader).map_err(|error| {
        JsonError::Field { path: error.path().to_string(), error: error.into_inner() }
    })?;
    let is_time = |seconds: f64| (0.0..SECONDS_MAX).contains(&seconds);
    let is_ascending = results.intervals.is_sorted_by(|a, b| a.at_s < b.at_s);
    let are_times = results.intervals.iter().all(|interval| is_time(interval.at_s));
    let mut others = results.faults.iter().map(|fault| fault.at_s);
    for (is_over, what) in [
        (!is_ascending || !are_times, "the times of the intervals"),
        (!is_time(results.duration_s), "the seconds it lasted"),
        (!others.all(is_time), "the times of the faults"),
        (results.intervals.len() > INTERVALS_MAX, "the intervals"),
        (results.pops.len() > POPS_MAX, "the PoPs"),
        (results.fetches.len() > FETCHES_MAX, "the kinds of fetches"),
        (results.steps.len() > STEPS_MAX, "the steps"),
    ] {
        if is_over {
            return Err(JsonError::OutOfRange(what));
        }
    }
    Ok(results)
}

/// Writes a file, whole or not at all.
pub fn save(path: &Path, results: &Results) -> Result<(), FileError> {
    file::replace(path, &write(results))
}

/// Reads a file.
pub fn load(path: &Path) -> Result<Results, JsonError> {
    let mut text = Vec::new();
    let file = File::open(path).map_err(FileError::of(path))?;
    let limit = BYTES_MAX as u64 + 1;
    file.take(limit).read_to_end(&mut text).map_err(FileError::of(path))?;
    read(&text)
}

/// A day of seconds has some tens of megabytes.
const BYTES_MAX: usize = 256 << 20;
/// Thirty years.
const SECONDS_MAX: f64 = 1e9;
/// Kinds times protocols.
const FETCHES_MAX: usize = 64;
/// A search for the knee halves; it has some tens of steps.
const STEPS_MAX: usize = 10_000;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::fixture;

    #[test]
    fn what_is_written_is_read_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.json");
        let results = fixture::results(7);
        save(&path, &results).unwrap();
        assert_eq!(load(&path).unwrap(), results);
    }

    #[test]
    fn what_is_not_ours_is_refused_with_its_reason() {
        let table: [(&str, &str); 5] = [
            ("", "not results of this program"),
            ("[]", "not results of this program"),
            ("{\"schema\": 2}", "results have schema 2; this program reads 1"),
            ("{\"schema\": 1}", "missing field `rig_version`"),
            ("{\"schema\": 1, \"seed\": \"x\"}", "at seed: invalid type"),
        ];
        for (text, reason) in table {
            let error = read(text.as_bytes()).unwrap_err().to_string();
            assert!(error.contains(reason), "{text}: {error}");
        }
        let missing = load(Path::new("there-is-no-such-file.json")).unwrap_err();
        assert!(missing.to_string().contains("there-is-no-such-file.json"), "{missing}");
    }

    #[test]
    fn times_that_no_run_has_are_refused() {
        let mut results = fixture::results(7);
        results.intervals.swap(3, 4);
        let error = read(&write(&results)).unwrap_err().to_string();
        assert!(error.contains("times of the intervals"), "{error}");
        let results = Results { duration_s: 1e300, ..Results::new("steady", 1) };
        let error = read(&write(&results)).unwrap_err().to_string();
        assert!(error.contains("seconds it lasted"), "{error}");
    }

    #[test]
    fn numbers_beyond_all_others_are_shown_and_compared_without_harm() {
        let mut results = fixture::results(7);
        for fetches in &mut results.fetches {
            (fetches.count, fetches.hits, fetches.misses) = (u64::MAX, u64::MAX, u64::MAX);
            fetches.failures.insert(crate::kind::FailureClass::Reset, u64::MAX);
            fetches.first_byte_us.record_many(7, u64::MAX);
        }
        for pop in results.pops.values_mut() {
            (pop.count, pop.bytes) = (u64::MAX, u64::MAX);
        }
        (results.quality.cut, results.quality.exits_in_stall) = (u64::MAX, u64::MAX);
        results.quality.played_s = 1e300;
        results.quality.startup_ms.record_many(u64::MAX, u64::MAX);
        results.intervals.truncate(20);
        results.intervals[3].playing = u64::MAX;
        results.intervals[3].stalled = u64::MAX;
        results.merge(results.clone());
        let read = read(&write(&results)).unwrap();
        assert!(!crate::output::html::page(&read).contains("NaN"));
        assert!(!crate::output::lines::summary(&read).is_empty());
        assert!(!crate::output::compare::compare(&read, &read).json().is_empty());
    }

    #[test]
    fn a_histogram_of_another_precision_is_refused() {
        let mut value: serde_json::Value =
            serde_json::from_slice(&write(&Results::new("steady", 1))).unwrap();
        let mut foreign = Vec::new();
        use hdrhistogram::serialization::{Serializer as _, V2Serializer};
        let histogram = hdrhistogram::Histogram::<u64>::new(5).unwrap();
        V2Serializer::new().serialize(&histogram, &mut foreign).unwrap();
        use base64::{Engine as _, prelude::BASE64_STANDARD};
        value["quality"]["startup_ms"] = BASE64_STANDARD.encode(foreign).into();
        let error = read(value.to_string().as_bytes()).unwrap_err().to_string();
        assert!(error.contains("quality.startup_ms") && error.contains("precision"), "{error}");
    }
}

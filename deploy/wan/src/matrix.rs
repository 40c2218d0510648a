//! Round trips between places.
//!
//! Without a file they are modelled: 1.95 times what light takes there and back in fibre along the great circle, which
//! is the median of what is measured between cities. A file is a table of milliseconds whose first row and first column
//! name the places.

use std::{collections::HashMap, path::Path, time::Duration};

use anyhow::{Context, bail};

use crate::city::City;

/// Round trips, by place.
#[derive(Debug, Clone)]
pub struct Matrix {
    names: Vec<String>,
    round_trips: Vec<Vec<Duration>>,
}

impl Matrix {
    /// The model for these places.
    #[must_use]
    pub fn modelled(cities: &[City]) -> Self {
        let to = |from: &City| cities.iter().map(|city| model(from, city)).collect();
        let round_trips = cities.iter().map(to).collect();
        Self { names: cities.iter().map(|city| city.name.to_owned()).collect(), round_trips }
    }

    /// The table of a file. What is missing in it is an hour: such a place is left out by whoever chooses places.
    ///
    /// # Errors
    /// The file cannot be read, or is no such table.
    pub fn read(path: &Path) -> anyhow::Result<Self> {
        let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
        Self::parse(&text).with_context(|| path.display().to_string())
    }

    fn parse(text: &str) -> anyhow::Result<Self> {
        let mut lines = text.lines().filter(|line| !line.trim().is_empty());
        let header = lines.next().context("it is empty")?;
        let names: Vec<_> = header.split(',').skip(1).map(|name| name.trim().to_owned()).collect();
        let names: Vec<_> = names.into_iter().filter(|name| !name.is_empty()).collect();
        let mut rows = HashMap::new();
        for line in lines {
            let mut cells = line.split(',');
            let name = cells.next().unwrap_or_default().trim().to_owned();
            let row: Vec<_> = cells.take(names.len()).map(cell).collect();
            if row.len() != names.len() {
                bail!("the row of {name} has {} cells, not {}", row.len(), names.len());
            }
            rows.insert(name, row);
        }
        let row = |name: &String| rows.remove(name).with_context(|| format!("no row for {name}"));
        let round_trips = names.iter().map(row).collect::<anyhow::Result<_>>()?;
        Ok(Self { names, round_trips })
    }

    /// All places.
    #[must_use]
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// The number of a place.
    ///
    /// # Errors
    /// There is none of this name.
    pub fn place(&self, name: &str) -> anyhow::Result<usize> {
        let found = self.names.iter().position(|known| known.eq_ignore_ascii_case(name));
        found.with_context(|| format!("the matrix has no place {name}"))
    }

    /// The round trip between two places.
    #[must_use]
    pub fn round_trip(&self, from: usize, to: usize) -> Duration {
        self.round_trips[from][to]
    }
}

fn cell(text: &str) -> Duration {
    text.trim().parse().map_or(UNKNOWN, |ms: f64| Duration::from_secs_f64(ms.max(0.2) / 1e3))
}

fn model(from: &City, to: &City) -> Duration {
    let there_and_back_ms = 2.0 * from.distance_km(to) / FIBRE_KM_PER_MS;
    Duration::from_secs_f64((INFLATION * there_and_back_ms).max(NEAR_MS) / 1e3)
}

/// How much longer real ways are than the great circle: the median between cities.
const INFLATION: f64 = 1.95;
/// Light in fibre.
const FIBRE_KM_PER_MS: f64 = 204.0;
/// Between two sites of one city.
const NEAR_MS: f64 = 0.4;
/// In the place of a cell that says nothing.
pub const UNKNOWN: Duration = Duration::from_secs(3600);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::city::CITIES;

    #[test]
    fn the_model_is_symmetric_and_near_to_what_is_known() {
        let matrix = Matrix::modelled(CITIES);
        let ms = |from: &str, to: &str| {
            let (from, to) = (matrix.place(from).expect("known"), matrix.place(to).expect("known"));
            assert_eq!(matrix.round_trip(from, to), matrix.round_trip(to, from));
            matrix.round_trip(from, to).as_secs_f64() * 1e3
        };
        assert!((80.0..140.0).contains(&ms("Frankfurt", "Washington")));
        assert!((240.0..350.0).contains(&ms("London", "Sydney")));
        assert!(ms("Paris", "Paris") < 1.0);
    }

    #[test]
    fn a_file_is_a_table_with_names() {
        let matrix = Matrix::parse(",A,B\nB,20,\nA,0,10.5\n").expect("a table");
        assert_eq!(matrix.round_trip(0, 1), Duration::from_micros(10_500));
        assert_eq!(matrix.round_trip(1, 1), UNKNOWN);
        assert!(Matrix::parse(",A,B\nA,1\nB,1,2\n").is_err());
        assert!(Matrix::parse(",A,B\nA,1,2\n").is_err());
        assert!(matrix.place("C").is_err());
    }
}

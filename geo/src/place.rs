//! Points on the earth, the way between them, and the round trip that it costs when nobody has measured it.
//!
//! A point is kept as a unit vector: the nearest of many is then the largest of as many products, without a root or
//! a cosine for each.

use std::f64::consts::PI;

/// A point on the earth.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Place {
    x: f64,
    y: f64,
    z: f64,
}

/// Degrees that are no place.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
#[error("latitude {0}, longitude {1} is no place: -90 to 90 and -180 to 180 degrees")]
pub struct PlaceError(f64, f64);

impl Place {
    /// A place by its degrees.
    ///
    /// # Errors
    /// [`PlaceError`] for what is not on the earth, or not a number.
    pub fn new(latitude: f64, longitude: f64) -> Result<Self, PlaceError> {
        if !(-90.0..=90.0).contains(&latitude) || !(-180.0..=180.0).contains(&longitude) {
            return Err(PlaceError(latitude, longitude));
        }
        let (latitude, longitude) = (latitude * PI / 180.0, longitude * PI / 180.0);
        let (x, y) = (latitude.cos() * longitude.cos(), latitude.cos() * longitude.sin());
        Ok(Self { x, y, z: latitude.sin() })
    }

    /// Latitude and longitude in degrees.
    #[must_use]
    pub fn degrees(&self) -> (f64, f64) {
        (self.z.clamp(-1.0, 1.0).asin() * 180.0 / PI, self.y.atan2(self.x) * 180.0 / PI)
    }

    /// How near another place is, from -1 (on the other side of the earth) to 1 (here); only good to compare.
    #[must_use]
    pub fn nearness(&self, other: &Self) -> f64 {
        self.x * other.x + self.y * other.y + self.z * other.z
    }

    /// The way along the great circle, in km.
    #[must_use]
    pub fn distance_km(&self, other: &Self) -> f64 {
        self.nearness(other).clamp(-1.0, 1.0).acos() * EARTH_RADIUS_KM
    }

    /// The round trip to be expected between two places, in ms.
    #[must_use]
    pub fn modelled_rtt_ms(&self, other: &Self) -> f64 {
        LAST_MILE_MS + INFLATION * 2.0 * self.distance_km(other) / FIBRE_KM_PER_MS
    }
}

/// Mean radius of the earth (IUGG).
const EARTH_RADIUS_KM: f64 = 6371.0;
/// Light in fibre: two thirds of its speed in vacuum.
const FIBRE_KM_PER_MS: f64 = 200.0;
/// How much longer measured round trips are than light in fibre along the great circle, at the median of public
/// measurements between some two hundred cities (a twentieth is below 1.40, a twentieth above 4.30).
const INFLATION: f64 = 1.95;
/// What no distance explains: the way out of a building and back. It only keeps near places from costing nothing.
const LAST_MILE_MS: f64 = 1.0;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn place(latitude: f64, longitude: f64) -> Place {
        Place::new(latitude, longitude).expect("on the earth")
    }

    #[test]
    fn known_distances_come_out_within_a_percent() {
        let (frankfurt, sydney, quito) =
            (place(50.11, 8.68), place(-33.87, 151.21), place(-0.18, -78.47));
        for (from, to, km) in [
            (frankfurt, sydney, 16_480.0),
            (frankfurt, place(52.37, 4.90), 364.0),
            (quito, place(-0.18, 101.53), 20_000.0),
            (sydney, sydney, 0.0),
        ] {
            let found = from.distance_km(&to);
            assert!((found - km).abs() <= km * 0.01 + 0.1, "{found} is not {km}");
        }
    }

    #[test]
    fn what_is_not_on_the_earth_is_refused() {
        for (latitude, longitude) in
            [(90.1, 0.0), (0.0, -180.5), (f64::NAN, 0.0), (0.0, f64::INFINITY)]
        {
            assert!(Place::new(latitude, longitude).is_err());
        }
    }

    proptest! {
        #[test]
        fn degrees_come_back_and_distance_is_the_same_both_ways(
            a in (-89.0..89.0f64, -179.0..179.0f64), b in (-89.0..89.0f64, -179.0..179.0f64),
        ) {
            let (one, other) = (place(a.0, a.1), place(b.0, b.1));
            let (latitude, longitude) = one.degrees();
            prop_assert!((latitude - a.0).abs() < 1e-6 && (longitude - a.1).abs() < 1e-6);
            prop_assert!((one.distance_km(&other) - other.distance_km(&one)).abs() < 1e-6);
            prop_assert!(one.modelled_rtt_ms(&other) >= LAST_MILE_MS);
        }
    }
}

//! What a file of places says of a prefix, in both spellings.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::{Located, country};
use crate::place::Place;

/// A record of a file of cities or countries.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct PlaceRecord<'a> {
    // MaxMind's spelling
    #[serde(borrow)]
    country: Option<Country<'a>>,
    #[serde(borrow)]
    city: Option<City<'a>>,
    location: Option<Location>,
    // the flat one
    country_code: Option<&'a str>,
    latitude: Option<f64>,
    longitude: Option<f64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Country<'a> {
    #[serde(borrow)]
    iso_code: Option<&'a str>,
}

/// A city with names by language, or its plain name.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum City<'a> {
    Named {
        #[serde(borrow, default)]
        names: BTreeMap<&'a str, &'a str>,
    },
    Plain(&'a str),
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Location {
    latitude: Option<f64>,
    longitude: Option<f64>,
}

/// A record of a file of networks.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct AsnRecord {
    autonomous_system_number: Option<u32>,
}

impl PlaceRecord<'_> {
    /// Where that is; `None` when it says no place that we can find.
    pub(super) fn located(&self, prefix: u8) -> Option<Located> {
        let nested = self.country.as_ref().and_then(|country| country.iso_code);
        let country = nested.or(self.country_code).and_then(letters).unwrap_or_default();
        let location = self.location.as_ref();
        let latitude = location.and_then(|location| location.latitude).or(self.latitude);
        let longitude = location.and_then(|location| location.longitude).or(self.longitude);
        let place = match (latitude, longitude) {
            (Some(latitude), Some(longitude)) => Place::new(latitude, longitude).ok(),
            _ => None,
        };
        let place = place.or_else(|| country::place(country))?;
        let city = match &self.city {
            Some(City::Named { names }) => names.get("en").map(|name| (*name).to_owned()),
            Some(City::Plain(name)) if !name.is_empty() => Some((*name).to_owned()),
            _ => None,
        };
        Some(Located { country, city, place, prefix })
    }
}

impl AsnRecord {
    pub(super) fn number(&self) -> u32 {
        self.autonomous_system_number.unwrap_or(0)
    }
}

fn letters(text: &str) -> Option<[u8; 2]> {
    let letters: [u8; 2] = text.as_bytes().try_into().ok()?;
    letters.iter().all(u8::is_ascii_uppercase).then_some(letters)
}

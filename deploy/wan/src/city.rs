//! Places and where they are: cities in which networks meet, all over the world.
//!
//! Written down from general knowledge, to two places behind the point; no third party's table.

/// A place.
#[derive(Debug, Clone, Copy)]
pub struct City {
    /// Its name, without spaces.
    pub name: &'static str,
    /// Degrees north.
    pub latitude: f64,
    /// Degrees east.
    pub longitude: f64,
}

impl City {
    /// The way along the great circle.
    #[must_use]
    pub fn distance_km(&self, other: &Self) -> f64 {
        let (from, to) = (self.latitude.to_radians(), other.latitude.to_radians());
        let north = (to - from) / 2.0;
        let east = (other.longitude - self.longitude).to_radians() / 2.0;
        let half = north.sin().powi(2) + from.cos() * to.cos() * east.sin().powi(2);
        2.0 * EARTH_RADIUS_KM * half.sqrt().min(1.0).asin()
    }
}

const fn city(name: &'static str, latitude: f64, longitude: f64) -> City {
    City { name, latitude, longitude }
}

const EARTH_RADIUS_KM: f64 = 6371.0;

/// All places.
pub const CITIES: &[City] = &[
    city("Frankfurt", 50.11, 8.68),
    city("Washington", 38.91, -77.04),
    city("London", 51.51, -0.13),
    city("Paris", 48.86, 2.35),
    city("Amsterdam", 52.37, 4.9),
    city("Brussels", 50.85, 4.35),
    city("Madrid", 40.42, -3.7),
    city("Barcelona", 41.39, 2.17),
    city("Lisbon", 38.72, -9.14),
    city("Dublin", 53.35, -6.26),
    city("Manchester", 53.48, -2.24),
    city("Edinburgh", 55.95, -3.19),
    city("Milan", 45.46, 9.19),
    city("Rome", 41.9, 12.5),
    city("Palermo", 38.12, 13.36),
    city("Marseille", 43.3, 5.37),
    city("Zurich", 47.38, 8.54),
    city("Geneva", 46.2, 6.14),
    city("Vienna", 48.21, 16.37),
    city("Munich", 48.14, 11.58),
    city("Berlin", 52.52, 13.4),
    city("Hamburg", 53.55, 9.99),
    city("Dusseldorf", 51.23, 6.77),
    city("Copenhagen", 55.68, 12.57),
    city("Stockholm", 59.33, 18.07),
    city("Gothenburg", 57.71, 11.97),
    city("Oslo", 59.91, 10.75),
    city("Helsinki", 60.17, 24.94),
    city("Tallinn", 59.44, 24.75),
    city("Riga", 56.95, 24.11),
    city("Vilnius", 54.69, 25.28),
    city("Warsaw", 52.23, 21.01),
    city("Prague", 50.08, 14.44),
    city("Bratislava", 48.15, 17.11),
    city("Budapest", 47.5, 19.04),
    city("Bucharest", 44.43, 26.1),
    city("Sofia", 42.7, 23.32),
    city("Belgrade", 44.79, 20.45),
    city("Zagreb", 45.82, 15.98),
    city("Athens", 37.98, 23.73),
    city("Istanbul", 41.01, 28.98),
    city("Kyiv", 50.45, 30.52),
    city("Chisinau", 47.01, 28.86),
    city("Reykjavik", 64.15, -21.94),
    city("Tbilisi", 41.72, 44.79),
    city("Yerevan", 40.18, 44.51),
    city("Baku", 40.41, 49.87),
    city("TelAviv", 32.09, 34.78),
    city("Amman", 31.95, 35.93),
    city("Beirut", 33.89, 35.5),
    city("Cairo", 30.04, 31.24),
    city("Riyadh", 24.71, 46.68),
    city("Dubai", 25.2, 55.27),
    city("Doha", 25.29, 51.53),
    city("Kuwait", 29.38, 47.99),
    city("Muscat", 23.59, 58.41),
    city("Manama", 26.23, 50.59),
    city("Karachi", 24.86, 67.01),
    city("Lahore", 31.55, 74.34),
    city("Mumbai", 19.08, 72.88),
    city("Delhi", 28.61, 77.21),
    city("Chennai", 13.08, 80.27),
    city("Bangalore", 12.97, 77.59),
    city("Kolkata", 22.57, 88.36),
    city("Hyderabad", 17.39, 78.49),
    city("Colombo", 6.93, 79.86),
    city("Dhaka", 23.81, 90.41),
    city("Kathmandu", 27.72, 85.32),
    city("Almaty", 43.24, 76.89),
    city("Tashkent", 41.3, 69.24),
    city("Singapore", 1.35, 103.82),
    city("KualaLumpur", 3.15, 101.69),
    city("Jakarta", -6.21, 106.85),
    city("Bangkok", 13.76, 100.5),
    city("Hanoi", 21.03, 105.85),
    city("HoChiMinhCity", 10.82, 106.63),
    city("PhnomPenh", 11.56, 104.92),
    city("Manila", 14.6, 120.98),
    city("HongKong", 22.32, 114.17),
    city("Taipei", 25.03, 121.57),
    city("Seoul", 37.57, 126.98),
    city("Busan", 35.18, 129.08),
    city("Tokyo", 35.68, 139.69),
    city("Osaka", 34.69, 135.5),
    city("Fukuoka", 33.59, 130.4),
    city("Sapporo", 43.06, 141.35),
    city("Ulaanbaatar", 47.89, 106.91),
    city("Sydney", -33.87, 151.21),
    city("Melbourne", -37.81, 144.96),
    city("Brisbane", -27.47, 153.03),
    city("Perth", -31.95, 115.86),
    city("Adelaide", -34.93, 138.6),
    city("Auckland", -36.85, 174.76),
    city("Wellington", -41.29, 174.78),
    city("Honolulu", 21.31, -157.86),
    city("NewYork", 40.71, -74.01),
    city("Newark", 40.74, -74.17),
    city("Boston", 42.36, -71.06),
    city("Philadelphia", 39.95, -75.17),
    city("Atlanta", 33.75, -84.39),
    city("Miami", 25.76, -80.19),
    city("Tampa", 27.95, -82.46),
    city("Charlotte", 35.23, -80.84),
    city("Columbus", 39.96, -83.0),
    city("Detroit", 42.33, -83.05),
    city("Chicago", 41.88, -87.63),
    city("Minneapolis", 44.98, -93.27),
    city("StLouis", 38.63, -90.2),
    city("KansasCity", 39.1, -94.58),
    city("Dallas", 32.78, -96.8),
    city("Houston", 29.76, -95.37),
    city("Austin", 30.27, -97.74),
    city("Denver", 39.74, -104.99),
    city("SaltLakeCity", 40.76, -111.89),
    city("Phoenix", 33.45, -112.07),
    city("LasVegas", 36.17, -115.14),
    city("LosAngeles", 34.05, -118.24),
    city("SanDiego", 32.72, -117.16),
    city("SanJose", 37.34, -121.89),
    city("Portland", 45.52, -122.68),
    city("Seattle", 47.61, -122.33),
    city("Vancouver", 49.28, -123.12),
    city("Calgary", 51.05, -114.07),
    city("Winnipeg", 49.9, -97.14),
    city("Toronto", 43.65, -79.38),
    city("Montreal", 45.5, -73.57),
    city("Halifax", 44.65, -63.58),
    city("MexicoCity", 19.43, -99.13),
    city("Queretaro", 20.59, -100.39),
    city("Guadalajara", 20.66, -103.35),
    city("GuatemalaCity", 14.63, -90.51),
    city("PanamaCity", 8.98, -79.52),
    city("SanJuan", 18.47, -66.11),
    city("Bogota", 4.71, -74.07),
    city("Medellin", 6.25, -75.56),
    city("Quito", -0.18, -78.47),
    city("Lima", -12.05, -77.04),
    city("Santiago", -33.45, -70.67),
    city("BuenosAires", -34.6, -58.38),
    city("Cordoba", -31.42, -64.18),
    city("Montevideo", -34.9, -56.16),
    city("Asuncion", -25.26, -57.58),
    city("SaoPaulo", -23.55, -46.63),
    city("RioDeJaneiro", -22.91, -43.17),
    city("PortoAlegre", -30.03, -51.23),
    city("Curitiba", -25.43, -49.27),
    city("BeloHorizonte", -19.92, -43.94),
    city("Brasilia", -15.79, -47.88),
    city("Fortaleza", -3.73, -38.53),
    city("Recife", -8.05, -34.88),
    city("Johannesburg", -26.2, 28.05),
    city("CapeTown", -33.92, 18.42),
    city("Durban", -29.86, 31.02),
    city("Nairobi", -1.29, 36.82),
    city("Mombasa", -4.04, 39.67),
    city("Lagos", 6.52, 3.38),
    city("Accra", 5.6, -0.19),
    city("Dakar", 14.72, -17.47),
    city("Casablanca", 33.57, -7.59),
    city("Tunis", 36.81, 10.18),
    city("Algiers", 36.75, 3.06),
    city("Luanda", -8.84, 13.29),
    city("Kigali", -1.94, 30.06),
    city("Maputo", -25.97, 32.57),
    city("PortLouis", -20.16, 57.5),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_enough_places_and_each_is_on_earth_once() {
        assert!(CITIES.len() >= 152);
        let mut names: Vec<_> = CITIES.iter().map(|city| city.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), CITIES.len());
        for city in CITIES {
            let is_there = city.latitude.abs() < 70.0 && city.longitude.abs() <= 180.0;
            assert!(is_there, "{}", city.name);
        }
    }

    #[test]
    fn distances_are_those_of_a_globe() {
        let find = |name| CITIES.iter().find(|city| city.name == name).expect("known");
        let way = find("London").distance_km(find("NewYork"));
        assert!((5500.0..5650.0).contains(&way), "{way}");
    }
}

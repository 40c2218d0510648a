//! Where a client is, and whether the property is for that country.
//!
//! A country comes from a proxy in front that is trusted, from the property's own table, or from the node's
//! ([`Places`]), in this order. Invariant: a header is believed from a trusted address alone.

use std::{
    net::{IpAddr, Ipv6Addr},
    sync::Arc,
};

use http::{HeaderMap, HeaderName};
use tidegate_contract::{
    guard_policy::GeoPolicy,
    network::{CountryCode, Network, Place},
};

/// Whatever knows where addresses are: the seam for a database of the node.
pub trait Places: Send + Sync {
    /// The country of an address, when it is known. Must neither wait nor take long.
    fn country(&self, address: IpAddr) -> Option<CountryCode>;
}

/// A table of places; the longest prefix wins. Each lookup is a binary search.
#[derive(Debug, Default)]
pub struct PlaceTable {
    v4: Vec<Stretch>,
    v6: Vec<Stretch>,
}

/// From this address on, up to the next stretch.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Stretch {
    first: u128,
    country: Option<CountryCode>,
}

/// The countries of a property.
#[derive(Debug)]
pub struct Geo {
    allow: Vec<CountryCode>,
    deny: Vec<CountryCode>,
    allow_unknown: bool,
    header: Option<HeaderName>,
    trusted: Vec<Network>,
    places: PlaceTable,
}

impl Geo {
    /// The rules of a policy.
    #[must_use]
    pub fn new(policy: &GeoPolicy) -> Self {
        Self {
            allow: policy.allow.clone(),
            deny: policy.deny.clone(),
            allow_unknown: policy.allow_unknown,
            header: policy.header.as_ref().and_then(|name| name.parse().ok()),
            trusted: policy.trusted.clone(),
            places: PlaceTable::new(&policy.places),
        }
    }

    /// The country of a client.
    #[must_use]
    pub fn country(
        &self,
        client: IpAddr,
        headers: &HeaderMap,
        node: Option<&Arc<dyn Places>>,
    ) -> Option<CountryCode> {
        let said = || {
            let name = self.header.as_ref()?;
            let is_trusted = self.trusted.iter().any(|network| network.contains(client));
            is_trusted.then(|| headers.get(name)?.to_str().ok()?.parse().ok())?
        };
        said()
            .or_else(|| self.places.country(client))
            .or_else(|| node.and_then(|places| places.country(client)))
    }

    /// Whether a client at this place is let in.
    #[must_use]
    pub fn is_let_in(&self, country: Option<CountryCode>) -> bool {
        let Some(country) = country else { return self.allow_unknown };
        !self.deny.contains(&country) && (self.allow.is_empty() || self.allow.contains(&country))
    }
}

impl PlaceTable {
    /// A table of these places.
    #[must_use]
    pub fn new(places: &[Place]) -> Self {
        let of =
            |is_v4| places.iter().filter(move |place| place.network.parts().0.is_ipv4() == is_v4);
        Self { v4: flatten(of(true), 32), v6: flatten(of(false), 128) }
    }
}

impl Places for PlaceTable {
    fn country(&self, address: IpAddr) -> Option<CountryCode> {
        let address = address.to_canonical();
        let stretches = if address.is_ipv4() { &self.v4 } else { &self.v6 };
        let number = number(address);
        let after = stretches.partition_point(|stretch| stretch.first <= number);
        stretches[..after].last()?.country
    }
}

/// Nested blocks as stretches side by side.
fn flatten<'a>(places: impl Iterator<Item = &'a Place>, bits: u8) -> Vec<Stretch> {
    let mut blocks: Vec<_> = places
        .map(|place| {
            let (first, prefix) = place.network.parts();
            let first = number(first);
            let host_bits = u32::from(bits - prefix);
            let last = first | 1_u128.checked_shl(host_bits).map_or(u128::MAX, |size| size - 1);
            (first, last, place.country)
        })
        .collect();
    // Outer blocks before inner ones, so that a stack holds what is around; of two alike the later stays on top.
    blocks.sort_by_key(|(first, last, _)| (*first, std::cmp::Reverse(*last)));
    let mut stretches = Vec::with_capacity(2 * blocks.len());
    let mut around: Vec<(u128, CountryCode)> = Vec::new();
    for (first, last, country) in blocks {
        close(&mut stretches, &mut around, Some(first));
        push(&mut stretches, first, Some(country));
        around.push((last, country));
    }
    close(&mut stretches, &mut around, None);
    stretches
}

/// Ends the blocks that end before an address, inner ones first.
fn close(
    stretches: &mut Vec<Stretch>,
    around: &mut Vec<(u128, CountryCode)>,
    before: Option<u128>,
) {
    while let Some((last, _)) = around.last().copied() {
        if before.is_some_and(|before| last >= before) {
            break;
        }
        // Blocks that end together end with the outermost.
        around.retain(|(other, _)| *other != last);
        if let Some(next) = last.checked_add(1) {
            push(stretches, next, around.last().map(|(_, country)| *country));
        }
    }
}

fn push(stretches: &mut Vec<Stretch>, first: u128, country: Option<CountryCode>) {
    match stretches.last_mut() {
        Some(last) if last.first == first => last.country = country,
        _ => stretches.push(Stretch { first, country }),
    }
}

fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => u128::from(u32::from(v4)),
        IpAddr::V6(v6) => u128::from(Ipv6Addr::from(v6.octets())),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn table(places: &[&str]) -> PlaceTable {
        let places: Vec<Place> = places.iter().map(|place| place.parse().unwrap()).collect();
        PlaceTable::new(&places)
    }

    fn at(table: &PlaceTable, address: &str) -> Option<String> {
        table.country(address.parse().unwrap()).map(|country| country.to_string())
    }

    #[test]
    fn the_longest_prefix_wins() {
        let table = table(&[
            "10.0.0.0/8=DE",
            "10.1.0.0/16=FR",
            "10.1.2.0/24=IT",
            "10.1.2.3=ES",
            "255.255.255.255=US",
            "2001:db8::/32=DE",
            "2001:db8:1::/48=FR",
        ]);
        for (address, expected) in [
            ("9.255.255.255", None),
            ("10.0.0.0", Some("DE")),
            ("10.1.0.0", Some("FR")),
            ("10.1.1.255", Some("FR")),
            ("10.1.2.2", Some("IT")),
            ("10.1.2.3", Some("ES")),
            ("10.1.2.4", Some("IT")),
            ("10.1.3.0", Some("FR")),
            ("10.2.0.0", Some("DE")),
            ("11.0.0.0", None),
            ("::ffff:10.1.2.3", Some("ES")),
            ("255.255.255.254", None),
            ("255.255.255.255", Some("US")),
            ("2001:db8:0:ffff::1", Some("DE")),
            ("2001:db8:1::1", Some("FR")),
            ("2001:db9::", None),
        ] {
            assert_eq!(at(&table, address).as_deref(), expected, "{address}");
        }
        assert_eq!(at(&PlaceTable::default(), "10.0.0.1"), None);
    }

    #[test]
    fn a_header_is_believed_from_a_trusted_address_alone() {
        let geo = Geo::new(&GeoPolicy {
            header: Some("x-country".into()),
            trusted: vec!["192.0.2.0/24".parse().unwrap()],
            places: vec!["0.0.0.0/0=FR".parse().unwrap()],
            ..GeoPolicy::default()
        });
        let headers = HeaderMap::from_iter([("x-country".parse().unwrap(), "de".parse().unwrap())]);
        let country = |client: &str| geo.country(client.parse().unwrap(), &headers, None);
        assert_eq!(country("192.0.2.1"), "DE".parse().ok());
        assert_eq!(country("192.0.3.1"), "FR".parse().ok());
    }

    #[test]
    fn deny_goes_before_allow_and_nobody_is_let_in_unknown() {
        let geo = |allow: &[&str], deny: &[&str]| {
            let list =
                |list: &[&str]| list.iter().map(|country| country.parse().unwrap()).collect();
            Geo::new(&GeoPolicy { allow: list(allow), deny: list(deny), ..GeoPolicy::default() })
        };
        let (de, fr) = ("DE".parse().ok(), "FR".parse().ok());
        assert!(geo(&["DE"], &[]).is_let_in(de) && !geo(&["DE"], &[]).is_let_in(fr));
        assert!(geo(&[], &["DE"]).is_let_in(fr) && !geo(&[], &["DE"]).is_let_in(de));
        assert!(!geo(&["DE"], &["DE"]).is_let_in(de));
        assert!(!geo(&[], &["DE"]).is_let_in(None));
    }

    proptest! {
        #[test]
        fn the_table_says_what_a_scan_says(
            blocks in prop::collection::vec((any::<u8>(), 0..=8_u8, 0..4_usize), 0..12), asked in any::<u8>(),
        ) {
            const COUNTRIES: [&str; 4] = ["DE", "FR", "IT", "ES"];
            let places: Vec<Place> = blocks
                .iter()
                .map(|(last, bits, n)| format!("10.0.0.{last}/{}={}", 24 + bits, COUNTRIES[*n]).parse().unwrap())
                .collect();
            let address: IpAddr = format!("10.0.0.{asked}").parse().unwrap();
            let longest = places.iter().filter(|place| place.network.contains(address));
            let longest = longest.max_by_key(|place| place.network.parts().1);
            prop_assert_eq!(PlaceTable::new(&places).country(address), longest.map(|place| place.country));
        }
    }
}

//! A block of addresses (`192.0.2.0/24`, `2001:db8::/32`, one address alone) and a country's code.
//!
//! Both are written as text in a configuration and are ready values from then on. Invariant: the address of a block
//! has no bits beyond its prefix.

use core::{fmt, net::IpAddr, str::FromStr};

use serde::{Deserialize, Serialize};

/// A block of addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Network {
    first: IpAddr,
    prefix: u8,
}

/// A country's two letters of ISO 3166-1, in upper case.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct CountryCode([u8; 2]);

/// Where a block of addresses is: `192.0.2.0/24=DE`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Place {
    /// The addresses.
    pub network: Network,
    /// Their country.
    pub country: CountryCode,
}

/// Why a text is none of these.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NetworkError {
    /// Not a block of addresses.
    #[error("{0:?} is not a network such as 192.0.2.0/24 or 2001:db8::/32")]
    Network(String),
    /// Not a country's code.
    #[error("{0:?} is not a country's two letters")]
    Country(String),
    /// Not a network and a country.
    #[error("{0:?} is not network=country such as 192.0.2.0/24=DE")]
    Place(String),
}

impl Network {
    /// The block around an address; `None` when the prefix is longer than an address. Bits beyond the prefix are
    /// cleared, and an IPv4 address that is mapped into IPv6 counts as IPv4 when the prefix covers the mapping.
    #[must_use]
    pub fn new(address: IpAddr, prefix: u8) -> Option<Self> {
        let first = match address {
            IpAddr::V4(v4) => {
                let mask = mask(prefix, 32)? as u32;
                IpAddr::V4((u32::from(v4) & mask).into())
            }
            IpAddr::V6(v6) => match v6.to_ipv4_mapped() {
                Some(v4) if prefix >= MAPPED_BITS => {
                    return Self::new(IpAddr::V4(v4), prefix - MAPPED_BITS);
                }
                _ => IpAddr::V6((u128::from(v6) & mask(prefix, 128)?).into()),
            },
        };
        Some(Self { first, prefix })
    }

    /// Whether an address is in it. A mapped IPv4 address counts as IPv4.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        address.is_ipv4() == self.first.is_ipv4()
            && Self::new(address, self.prefix).is_some_and(|block| block.first == self.first)
    }

    /// The first address and the length of the prefix in bits.
    #[must_use]
    pub fn parts(&self) -> (IpAddr, u8) {
        (self.first, self.prefix)
    }
}

impl CountryCode {
    /// The two letters.
    #[must_use]
    pub fn as_str(&self) -> &str {
        core::str::from_utf8(&self.0).expect("two ASCII letters")
    }
}

impl FromStr for Network {
    type Err = NetworkError;
    fn from_str(text: &str) -> Result<Self, NetworkError> {
        let bad = || NetworkError::Network(text.to_owned());
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix.parse::<u8>().map_err(|_| bad())?)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| bad())?;
        let whole = if address.is_ipv4() { 32 } else { 128 };
        Self::new(address, prefix.unwrap_or(whole)).ok_or_else(bad)
    }
}

impl FromStr for CountryCode {
    type Err = NetworkError;
    fn from_str(text: &str) -> Result<Self, NetworkError> {
        match text.as_bytes() {
            [a, b] if a.is_ascii_alphabetic() && b.is_ascii_alphabetic() => {
                Ok(Self([a.to_ascii_uppercase(), b.to_ascii_uppercase()]))
            }
            _ => Err(NetworkError::Country(text.to_owned())),
        }
    }
}

impl FromStr for Place {
    type Err = NetworkError;
    fn from_str(text: &str) -> Result<Self, NetworkError> {
        let (network, country) =
            text.split_once('=').ok_or_else(|| NetworkError::Place(text.to_owned()))?;
        Ok(Self { network: network.trim().parse()?, country: country.trim().parse()? })
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.first, self.prefix)
    }
}

impl fmt::Display for CountryCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for CountryCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.network, self.country)
    }
}

macro_rules! as_text {
    ($($type:ty),*) => {$(
        impl TryFrom<String> for $type {
            type Error = NetworkError;
            fn try_from(text: String) -> Result<Self, NetworkError> {
                text.parse()
            }
        }
        impl From<$type> for String {
            fn from(value: $type) -> Self {
                value.to_string()
            }
        }
    )*};
}
as_text!(Network, CountryCode, Place);

/// The bits that a prefix keeps of an address of `whole` bits, at the low end of the number.
fn mask(prefix: u8, whole: u8) -> Option<u128> {
    let cleared = whole.checked_sub(prefix)?;
    let all = u128::MAX >> (128 - u32::from(whole));
    Some(if cleared >= 128 { 0 } else { (all >> cleared) << cleared })
}

/// Bits before an IPv4 address that is mapped into IPv6.
const MAPPED_BITS: u8 = 96;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_contains_what_begins_as_it_does() {
        for (block, inside, outside) in [
            ("192.0.2.77/24", "192.0.2.1", "192.0.3.1"),
            ("192.0.2.1", "192.0.2.1", "192.0.2.2"),
            ("0.0.0.0/0", "203.0.113.9", "2001:db8::1"),
            ("2001:db8::/32", "2001:db8:1::1", "2001:db9::1"),
            ("::/0", "2001:db8::1", "192.0.2.1"),
            ("::ffff:192.0.2.0/120", "192.0.2.9", "192.0.3.9"),
        ] {
            let network: Network = block.parse().expect("good");
            assert!(network.contains(inside.parse().expect("good")), "{block} {inside}");
            assert!(!network.contains(outside.parse().expect("good")), "{block} {outside}");
        }
        let mapped: IpAddr = "::ffff:192.0.2.7".parse().expect("good");
        assert!("192.0.2.0/24".parse::<Network>().expect("good").contains(mapped));
    }

    #[test]
    fn what_is_no_block_or_place_is_refused() {
        for bad in ["", "192.0.2.0/33", "192.0.2/24", "2001:db8::/129", "a/8", "1.1.1.1/", "/8"] {
            assert!(bad.parse::<Network>().is_err(), "{bad}");
        }
        for bad in ["192.0.2.0/24", "=DE", "192.0.2.0/24=", "192.0.2.0/24=D1", "192.0.2.0/24=DEU"] {
            assert!(bad.parse::<Place>().is_err(), "{bad}");
        }
        let place: Place = "192.0.2.9/24=de".parse().expect("good");
        assert_eq!(place.to_string(), "192.0.2.0/24=DE");
    }
}

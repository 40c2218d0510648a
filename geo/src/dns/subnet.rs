//! The client's subnet, as a resolver tells it (RFC 7871).
//!
//! Invariant: a subnet has no bits beyond its prefix, and is never longer than what is honoured.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// A subnet that a resolver asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Subnet {
    /// Its family as it was told: 1 or 2; 0 only where nothing is told.
    pub family: u16,
    /// SOURCE PREFIX-LENGTH.
    pub source: u8,
    /// ADDRESS, filled up with zeros.
    pub address: IpAddr,
}

/// An option that is no subnet: answered with FORMERR.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a client's subnet")]
pub struct SubnetError;

impl Subnet {
    /// Reads the data of the option.
    ///
    /// # Errors
    /// [`SubnetError`]: a family that there is not, a scope in a query, too many or too few bytes, bits beyond the prefix
    /// (RFC 7871 6, 7.1.2).
    pub fn parse(data: &[u8]) -> Result<Self, SubnetError> {
        let [high, low, source, scope, address @ ..] = data else { return Err(SubnetError) };
        let (family, source) = (u16::from_be_bytes([*high, *low]), *source);
        let bits_max = match family {
            // Nothing is told, so nothing is told of what.
            0 => 0,
            1 => 32,
            2 => 128,
            _ => return Err(SubnetError),
        };
        let bytes = usize::from(source).div_ceil(8);
        if *scope != 0 || source > bits_max || address.len() != bytes {
            return Err(SubnetError);
        }
        let mut whole = [0; 16];
        whole[..bytes].copy_from_slice(address);
        if bytes > 0 && whole[bytes - 1] & !prefix_mask(source) != 0 {
            return Err(SubnetError);
        }
        let address = match family {
            2 => Ipv6Addr::from(whole).into(),
            _ => Ipv4Addr::new(whole[0], whole[1], whole[2], whole[3]).into(),
        };
        Ok(Self { family, source, address })
    }

    /// The address to answer for; `None`: the resolver wants its client left out of it, and is answered for itself
    /// (RFC 7871 7.1.2).
    #[must_use]
    pub fn client(&self) -> Option<IpAddr> {
        let honoured =
            self.source.min(if self.address.is_ipv4() { HONOURED.0 } else { HONOURED.1 });
        (honoured > 0).then(|| cut(self.address, honoured))
    }

    /// The longest scope that an answer to it may have: what is not honoured makes no difference, and an answer that was
    /// not for the client is for everybody.
    #[must_use]
    pub fn scope(&self, scope: u8) -> u8 {
        if self.source == 0 {
            return 0;
        }
        scope.min(if self.address.is_ipv4() { HONOURED.0 } else { HONOURED.1 })
    }

    /// The data of the option in an answer.
    #[must_use]
    pub fn to_bytes(&self, scope: u8) -> Vec<u8> {
        let [high, low] = self.family.to_be_bytes();
        let mut data = vec![high, low, self.source, scope];
        let bytes = usize::from(self.source).div_ceil(8);
        match self.address {
            IpAddr::V4(address) => data.extend(&address.octets()[..bytes]),
            IpAddr::V6(address) => data.extend(&address.octets()[..bytes]),
        }
        data
    }
}

/// The network of a client as far as it may be told: /24 or /48.
#[must_use]
pub fn network(client: IpAddr) -> String {
    let prefix = if client.is_ipv4() { HONOURED.0 } else { HONOURED.1 };
    format!("{}/{prefix}", cut(client, prefix))
}

/// What counts as one client where connections are limited: an address, or a /64.
#[must_use]
pub fn host(client: IpAddr) -> IpAddr {
    match client.to_canonical() {
        IpAddr::V4(client) => client.into(),
        IpAddr::V6(client) => cut(client.into(), 64),
    }
}

/// The bits of the last byte that belong to a prefix.
fn prefix_mask(prefix: u8) -> u8 {
    match prefix % 8 {
        0 => 0xff,
        bits => 0xff << (8 - bits),
    }
}

fn cut(address: IpAddr, prefix: u8) -> IpAddr {
    match address {
        IpAddr::V4(address) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0);
            Ipv4Addr::from(u32::from(address) & mask).into()
        }
        IpAddr::V6(address) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(prefix)).unwrap_or(0);
            Ipv6Addr::from(u128::from(address) & mask).into()
        }
    }
}

/// The longest prefix that makes a difference, IPv4 and IPv6 (RFC 7871 11.1): no answer is for a single household, and
/// caches of resolvers stay small.
const HONOURED: (u8, u8) = (24, 48);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_no_subnet_is_refused() {
        for (data, is_good) in [
            (&[0, 1, 24, 0, 10, 1, 2][..], true),
            (&[0, 1, 20, 0, 10, 1, 0x20], true),
            (&[0, 1, 20, 0, 10, 1, 0x28], false),
            (&[0, 1, 24, 0, 10, 1], false),
            (&[0, 1, 24, 0, 10, 1, 2, 0], false),
            (&[0, 1, 24, 16, 10, 1, 2], false),
            (&[0, 1, 33, 0, 10, 1, 2, 3, 0], false),
            (&[0, 1, 0, 0], true),
            (&[0, 2, 0, 0], true),
            (&[0, 0, 0, 0], true),
            (&[0, 0, 8, 0, 10], false),
            (&[0, 3, 0, 0], false),
            (&[1, 1, 0, 0], false),
            (&[0, 1, 0], false),
            (&[], false),
        ] {
            assert_eq!(Subnet::parse(data).is_ok(), is_good, "{data:?}");
        }
        let mut six = vec![0, 2, 129, 0];
        six.extend([0; 17]);
        assert!(Subnet::parse(&six).is_err());
    }

    #[test]
    fn nobody_is_told_more_than_the_network() {
        for (client, shown, counted) in [
            ("192.0.2.77", "192.0.2.0/24", "192.0.2.77"),
            ("2001:db8:1:2:3::4", "2001:db8:1::/48", "2001:db8:1:2::"),
        ] {
            let client: IpAddr = client.parse().unwrap();
            assert_eq!(
                (network(client).as_str(), host(client).to_string().as_str()),
                (shown, counted)
            );
        }
        assert_eq!(host("::ffff:192.0.2.77".parse().unwrap()).to_string(), "192.0.2.77");
    }

    proptest! {
        #[test]
        fn a_subnet_comes_back_as_it_was_told(is_six in any::<bool>(), source in 0..=128_u8, bits in any::<u128>()) {
            let (family, source) = if is_six { (2, source) } else { (1, source.min(32)) };
            let whole = if is_six { bits.to_be_bytes().to_vec() } else { (bits as u32).to_be_bytes().to_vec() };
            let bytes = usize::from(source).div_ceil(8);
            let mut data = vec![0, family, source, 0];
            data.extend(&whole[..bytes]);
            if bytes > 0 {
                let last = data.len() - 1;
                data[last] &= prefix_mask(source);
            }
            let subnet = Subnet::parse(&data).unwrap();
            prop_assert_eq!(subnet.to_bytes(0), data);
            let honoured = if is_six { 48 } else { 24 };
            prop_assert_eq!(subnet.client(), (source > 0).then(|| cut(subnet.address, source.min(honoured))));
            prop_assert!(subnet.scope(200) <= honoured && (source > 0 || subnet.scope(9) == 0));
        }
    }
}

//! Draws: which of its unit's PoPs a subnet gets, and for how many of its neighbours the same is true.
//!
//! A subnet is a /24 or a /48. Draws are hashes under fixed keys: every server of one map gives a client the same answer. Who
//! explores is drawn in two steps, first the block of sixteen subnets, then the one in it, so that most answers are true for
//! the whole block and resolvers keep few of them. Pure. Invariant: all addresses that share the bits of a scope with an
//! address have the same turn.

use std::{hash::Hasher, net::IpAddr};

use siphasher::sip::SipHasher13;

/// Whether a subnet explores.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Turn {
    /// If it does, a number that chooses among those that are to be explored.
    pub(super) explores: Option<u64>,
    /// All subnets that share so many first bits have the same turn.
    pub(super) scope: u8,
}

/// The turn of an address's subnet at a moment: the number of the round, or of the minute.
pub(super) fn turn(address: IpAddr, moment: u64) -> Turn {
    let (subnet, bits) = (subnet(address), subnet_bits(address));
    let own = subnet[usize::from(bits / 8) - 1] % BLOCK;
    let mut block = subnet;
    block[usize::from(bits / 8) - 1] -= own;
    let turn = hash(&block, EXPLORE).wrapping_add(moment.wrapping_mul(STRIDE)) >> 7;
    let (rest, part) = (turn / EXPLORED_ONE_IN, turn % EXPLORED_ONE_IN);
    if part >= u64::from(BLOCK) {
        return Turn { explores: None, scope: bits - BLOCK_BITS };
    }
    let chosen = (rest % u64::from(BLOCK)) as u8;
    match (own ^ chosen).checked_ilog2() {
        None => Turn { explores: Some(rest / u64::from(BLOCK)), scope: bits },
        // The largest part of the block that has this one and not the other.
        Some(highest) => Turn { explores: None, scope: bits - highest as u8 },
    }
}

/// Where a subnet stands among the shares of its unit, from 0 to below 1.
pub(super) fn share(address: IpAddr) -> f64 {
    point(hash(&subnet(address), SHARE))
}

/// Where a subnet stands among those that may be shed, from 0 to below 1.
pub(super) fn shed(address: IpAddr) -> f64 {
    point(hash(&subnet(address), SHED))
}

/// The bits of the subnet that an address is drawn with.
pub(super) fn subnet_bits(address: IpAddr) -> u8 {
    if address.to_canonical().is_ipv4() { 24 } else { 48 }
}

fn hash(bytes: &[u8], key: (u64, u64)) -> u64 {
    let mut hash = SipHasher13::new_with_keys(key.0, key.1);
    hash.write(bytes);
    hash.finish()
}

fn point(hash: u64) -> f64 {
    (hash >> 11) as f64 / (1u64 << 53) as f64
}

/// What decides among the parts of a unit: the /24 or /48, so that the clients of one resolver stay together.
fn subnet(address: IpAddr) -> [u8; 8] {
    let mut subnet = [0; 8];
    match address.to_canonical() {
        IpAddr::V4(address) => subnet[..3].copy_from_slice(&address.octets()[..3]),
        IpAddr::V6(address) => {
            subnet[..6].copy_from_slice(&address.octets()[..6]);
            subnet[7] = 6;
        }
    }
    subnet
}

/// One answer in so many goes to the second or third candidate, so that its round trip stays known.
const EXPLORED_ONE_IN: u64 = 100;
/// The subnets of a block: few enough that most blocks have none that explores.
const BLOCK: u8 = 1 << BLOCK_BITS;
const BLOCK_BITS: u8 = 4;
/// Fixed keys; there is nothing to gain by guessing them.
const SHARE: (u64, u64) = (0x7469_6465_6761_7465, 0x6d61_7020_6472_6177);
/// Of another key, so that those who are shed are of every share.
const SHED: (u64, u64) = (0x7469_6465_6761_7465, 0x6d61_7020_7368_6564);
/// Of a third, so that those who explore are of every share too.
const EXPLORE: (u64, u64) = (0x7469_6465_6761_7465, 0x6d61_7020_6578_706c);
/// Odd and large, so that all blocks have their turn.
const STRIDE: u64 = 0x9E37_79B9_7F4A_7C15;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn one_subnet_in_a_hundred_explores_and_most_answers_are_for_a_block() {
        let (mut explored, mut entries) = (0, 0.0);
        let count = 64 * 256;
        for number in 0..count {
            let address = IpAddr::V4((0x0a00_0000 + (number << 8)).into());
            let Turn { explores, scope } = turn(address, 7);
            explored += u32::from(explores.is_some());
            entries += f64::from(2_u32.pow(u32::from(scope) - 20)) / 16.0;
        }
        assert!((80..260).contains(&explored), "{explored} of {count}");
        // What a resolver keeps, beside a /24 each.
        assert!(entries < f64::from(count) / 6.0, "{entries} of {count}");
    }

    #[test]
    fn every_subnet_has_its_turn() {
        let address = "198.51.100.0".parse().expect("an address");
        let turns = (0..10_000).filter(|moment| turn(address, *moment).explores.is_some()).count();
        assert!((50..200).contains(&turns), "{turns} of 10000");
    }

    proptest! {
        #[test]
        fn a_turn_is_that_of_all_its_scope(bits in any::<u128>(), is_v4 in any::<bool>(), other in any::<u128>(), moment in any::<u64>()) {
            let address = |bits: u128| match is_v4 {
                true => IpAddr::V4((bits as u32).into()),
                false => IpAddr::V6((bits | 1 << 127).into()),
            };
            let found = turn(address(bits), moment);
            let mask = if is_v4 { u128::from(u32::MAX >> found.scope) } else { u128::MAX >> found.scope };
            prop_assert_eq!(turn(address(bits ^ (other & mask)), moment), found);
            let full = subnet_bits(address(bits));
            prop_assert!((full - 4..=full).contains(&found.scope));
        }
    }
}

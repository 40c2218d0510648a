//! From an address to the unit that it belongs to.
//!
//! IPv4 has a table of its upper 16 bits, and for those that are not all of one unit a page of the 8 bits below: two
//! reads of memory, whatever the number of prefixes. IPv6 has the edges of the ranges in order and is searched by
//! halves. Both also say up to which prefix length the answer is the same, which is the scope of an answer to a
//! client subnet (RFC 7871, 7.2.1).
//!
//! **Invariant.** Every address within the prefix of a match has the same match.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The longest prefix that units are cut to, IPv4.
pub const V4_PREFIX_MAX: u8 = 24;
/// The longest prefix that units are cut to, IPv6.
pub const V6_PREFIX_MAX: u8 = 48;
/// The most units: a cell of the table holds a unit in 24 bits.
pub const UNITS_MAX: usize = (1 << 24) - 2;

/// The index of a unit.
pub type UnitIndex = u32;

/// What an address belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Match {
    /// The unit; `None` for addresses that nobody has located.
    pub unit: Option<UnitIndex>,
    /// All addresses that share so many first bits with it have the same match.
    pub scope: u8,
}

/// The table.
#[derive(Debug, Clone)]
pub struct Lookup {
    v4: Vec<u32>,
    v4_pages: Vec<[u32; 256]>,
    /// First upper 64 bits of a range that reaches to the next one, and its cell.
    v6: Vec<(u64, u32)>,
}

/// Builds a [`Lookup`] from prefixes, in any order.
#[derive(Debug, Default)]
pub struct LookupBuilder {
    v4: Vec<Range<u32>>,
    v6: Vec<Range<u64>>,
}

#[derive(Debug)]
struct Range<T> {
    rank: (u8, u64),
    first: T,
    last: T,
    cell: u32,
}

impl LookupBuilder {
    /// Gives the addresses of a prefix to a unit. Of two prefixes that overlap the longer has what they share. One that
    /// is longer than units are cut to stands for its whole /24 or /48, unless that has a unit of its own or an
    /// earlier such prefix took it.
    pub fn add(&mut self, first: IpAddr, prefix: u8, unit: UnitIndex) {
        let cell = unit.min(UNITS_MAX as u32) + 1;
        let number = (self.v4.len() + self.v6.len()) as u64;
        match first {
            IpAddr::V4(first) => {
                let rank = rank(prefix, V4_PREFIX_MAX, number);
                let prefix = prefix.min(V4_PREFIX_MAX);
                let mask = u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0);
                let first = u32::from(first) & mask;
                self.v4.push(Range { rank, first: first >> 8, last: (first | !mask) >> 8, cell });
            }
            IpAddr::V6(first) => {
                let rank = rank(prefix, V6_PREFIX_MAX, number);
                let prefix = prefix.min(V6_PREFIX_MAX);
                let mask = u64::MAX.checked_shl(64 - u32::from(prefix)).unwrap_or(0);
                let first = (u128::from(first) >> 64) as u64 & mask;
                self.v6.push(Range { rank, first, last: first | !mask, cell });
            }
        }
    }

    /// The table.
    #[must_use]
    pub fn build(mut self) -> Lookup {
        self.v4.sort_unstable_by_key(|range| range.rank);
        self.v6.sort_unstable_by_key(|range| range.rank);
        let mut v4 = vec![0u32; 1 << 16];
        let mut v4_pages: Vec<[u32; 256]> = Vec::new();
        for Range { first, last, cell, .. } in self.v4 {
            for (upper, here) in (first >> 8..=last >> 8).zip(&mut v4[(first >> 8) as usize..]) {
                let from = if upper == first >> 8 { first & 0xff } else { 0 };
                let to = if upper == last >> 8 { last & 0xff } else { 0xff };
                // Wider ranges came before, so that what is whole has no page yet.
                if (from, to) == (0, 0xff) {
                    *here = cell;
                    continue;
                }
                if *here & PAGE == 0 {
                    v4_pages.push([*here; 256]);
                    *here = PAGE | u32::try_from(v4_pages.len() - 1).expect("65,536 at most");
                }
                v4_pages[(*here & !PAGE) as usize][from as usize..=to as usize].fill(cell);
            }
        }
        v4_pages.iter_mut().for_each(note_scopes);
        Lookup { v4, v4_pages, v6: edges(self.v6) }
    }
}

/// Where a prefix stands among those that are written one over the other.
fn rank(prefix: u8, longest: u8, number: u64) -> (u8, u64) {
    // What is cut comes before what has just the length, and the first of it last.
    if prefix > longest { (2 * longest - 1, u64::MAX - number) } else { (2 * prefix, number) }
}

impl Lookup {
    /// What an address belongs to. An IPv4 address that is mapped into IPv6 counts as IPv4.
    #[must_use]
    pub fn find(&self, address: IpAddr) -> Match {
        match address.to_canonical() {
            IpAddr::V4(address) => self.find_v4(address),
            IpAddr::V6(address) => self.find_v6(address),
        }
    }

    fn find_v4(&self, address: Ipv4Addr) -> Match {
        let [a, b, c, _] = address.octets();
        let cell = self.v4[usize::from(a) << 8 | usize::from(b)];
        if cell & PAGE == 0 {
            return Match { unit: unit(cell), scope: 16 };
        }
        let cell = self.v4_pages[(cell & !PAGE) as usize][usize::from(c)];
        // A page never has more than its three bits there.
        let scope = V4_PREFIX_MAX - (cell >> UNIT_BITS) as u8;
        Match { unit: unit(cell & UNIT_MASK), scope }
    }

    fn find_v6(&self, address: Ipv6Addr) -> Match {
        let here = (u128::from(address) >> 64) as u64;
        let after = self.v6.partition_point(|(first, _)| *first <= here);
        let (first, cell) = match after.checked_sub(1) {
            Some(at) => self.v6[at],
            None => (0, 0),
        };
        let last = self.v6.get(after).map_or(u64::MAX, |(next, _)| next - 1);
        let mut scope = V6_PREFIX_MAX;
        while scope > 1 {
            let mask = u64::MAX << (64 - u32::from(scope - 1));
            if here & mask < first || here | !mask > last {
                break;
            }
            scope -= 1;
        }
        Match { unit: unit(cell), scope }
    }
}

/// Ranges, of which later ones are written over earlier ones, as edges; neighbours of one unit become one.
fn edges(ranges: Vec<Range<u64>>) -> Vec<(u64, u32)> {
    let mut edges: Vec<u64> = ranges.iter().map(|range| range.first).collect();
    edges.extend(ranges.iter().filter_map(|range| range.last.checked_add(1)));
    edges.push(0);
    edges.sort_unstable();
    edges.dedup();
    let mut cells = vec![0u32; edges.len()];
    for Range { first, last, cell, .. } in ranges {
        let from = edges.partition_point(|edge| *edge < first);
        let to = edges.partition_point(|edge| *edge <= last);
        cells[from..to].fill(cell);
    }
    let mut out: Vec<(u64, u32)> = Vec::new();
    for (edge, cell) in edges.into_iter().zip(cells) {
        if out.last().is_none_or(|(_, before)| *before != cell) {
            out.push((edge, cell));
        }
    }
    out
}

/// Writes into each cell of a page by how many bits the largest block around it that is all of one unit is wider than it.
fn note_scopes(page: &mut [u32; 256]) {
    for wider in 1..=7u32 {
        for block in page.chunks_exact_mut(1 << wider) {
            let first = block[0] & UNIT_MASK;
            if block.iter().all(|cell| cell & UNIT_MASK == first) {
                block.fill(first | wider << UNIT_BITS);
            }
        }
    }
}

fn unit(cell: u32) -> Option<UnitIndex> {
    cell.checked_sub(1)
}

/// The bits of a cell that hold a unit; in pages the scope stands above them.
const UNIT_BITS: u32 = 24;
const UNIT_MASK: u32 = (1 << UNIT_BITS) - 1;
/// Marks a cell that names a page.
const PAGE: u32 = 1 << 31;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn lookup(prefixes: &[(&str, u8, u32)]) -> Lookup {
        let mut builder = LookupBuilder::default();
        for (first, prefix, unit) in prefixes {
            builder.add(first.parse().expect("an address"), *prefix, *unit);
        }
        builder.build()
    }

    fn find(lookup: &Lookup, address: &str) -> (Option<u32>, u8) {
        let found = lookup.find(address.parse().expect("an address"));
        (found.unit, found.scope)
    }

    #[test]
    fn the_longest_prefix_wins_and_the_scope_is_the_widest_that_is_true() {
        let table = lookup(&[
            ("10.0.0.0", 8, 1),
            ("10.1.0.0", 16, 2),
            ("10.1.128.0", 17, 3),
            ("10.1.4.0", 24, 4),
            ("10.2.3.77", 32, 5),
        ]);
        assert_eq!(find(&table, "10.9.9.9"), (Some(1), 16));
        assert_eq!(find(&table, "10.1.200.1"), (Some(3), 17));
        assert_eq!(find(&table, "10.1.4.9"), (Some(4), 24));
        assert_eq!(find(&table, "10.1.5.9"), (Some(2), 24));
        assert_eq!(find(&table, "10.1.6.9"), (Some(2), 23));
        assert_eq!(find(&table, "10.1.64.9"), (Some(2), 18));
        assert_eq!(find(&table, "10.2.3.1"), (Some(5), 24), "a host takes its /24");
        assert_eq!(find(&table, "11.0.0.1"), (None, 16));
        assert_eq!(find(&table, "::ffff:10.9.9.9"), (Some(1), 16));
    }

    #[test]
    fn ipv6_ranges_do_not_overlap_and_gaps_belong_to_nobody() {
        let table = lookup(&[
            ("2001:db8::", 32, 1),
            ("2001:db8:7::", 48, 2),
            ("2001:db8:8000::", 33, 3),
            ("2001:db8:7:1::", 64, 4),
        ]);
        assert_eq!(find(&table, "2001:db8:9::1"), (Some(1), 45));
        assert_eq!(find(&table, "2001:db8:7:9::1"), (Some(2), 48), "the wider one keeps its /48");
        assert_eq!(find(&table, "2001:db8:ffff::1"), (Some(3), 33));
        assert_eq!(find(&table, "2001:db9::1").0, None);
        assert_eq!(find(&table, "::1").0, None);
        assert_eq!(find(&lookup(&[]), "2001:db8::1"), (None, 1));
    }

    proptest! {
        #[test]
        fn all_addresses_within_the_scope_have_the_same_match(
            prefixes in prop::collection::vec((any::<u16>(), 9u8..=24, 0u32..5), 0..20),
            wide in prop::collection::vec((any::<u32>(), 20u8..=48, 0u32..5), 0..20),
            address in any::<u32>(), other in any::<u128>(),
        ) {
            let mut builder = LookupBuilder::default();
            for (bits, prefix, unit) in prefixes {
                // Few upper bits, so that they meet.
                let first = u32::from(bits & 0xff) << 8 | u32::from(bits >> 8) << 16;
                builder.add(IpAddr::V4(first.into()), prefix, unit);
            }
            for (bits, prefix, unit) in wide {
                let first = u128::from(bits & 0x00ff_ffff) << 72;
                builder.add(IpAddr::V6(first.into()), prefix, unit);
            }
            let table = builder.build();
            let v4 = IpAddr::V4((address & 0x00ff_ffff).into());
            let found = table.find(v4);
            let inside = (address & 0x00ff_ffff) ^ (other as u32 & (u32::MAX >> found.scope));
            prop_assert_eq!(table.find(IpAddr::V4(inside.into())), found);
            let v6 = other & (u128::MAX >> 24);
            let found = table.find(IpAddr::V6(v6.into()));
            let inside = v6 ^ (u128::from(address) << 50 & (u128::MAX >> found.scope));
            prop_assert_eq!(table.find(IpAddr::V6(inside.into())).unit, found.unit);
        }
    }
}

//! What one replica was told, small enough to be told to all others.
//!
//! The busiest properties and paths, once over all PoPs and once PoP by PoP, as many as fit into [`LIST_BYTES_MAX`]. What is
//! left out is not silent: the largest of it goes with the list, so that whoever adds lists up can say by how much a figure
//! may be too low. Pure.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet, HashMap},
};

use serde::{Deserialize, Serialize};
use tidegate_contract::id::{PopId, PropertyId};

use super::{Kind, Rate, Slice};

/// The largest list of a share, in bytes of JSON; a share has four of them.
pub const LIST_BYTES_MAX: usize = 32 * 1024;

/// What one replica tells the others.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Share {
    /// PoPs in order, and how many of their nodes told it.
    pops: Vec<(PopId, usize)>,
    properties: Lists,
    assets: Lists,
}

/// The most that was left out.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Left {
    /// Requests a second.
    pub requests: f64,
    /// Body bytes a second.
    pub bytes: f64,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
struct Lists {
    /// Over all PoPs.
    all: Vec<Item>,
    all_left: Left,
    /// Each in one PoP.
    by_pop: Vec<Item>,
    by_pop_left: Left,
}

/// How much of one thing is asked for. Rates are in thousandths: that is all that anybody reads.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Item {
    #[serde(rename = "p")]
    property: PropertyId,
    #[serde(rename = "a", default, skip_serializing_if = "String::is_empty")]
    path: String,
    #[serde(rename = "r")]
    requests_milli: u64,
    #[serde(rename = "b")]
    bytes_milli: u64,
    /// A bit for each PoP of the share, the first one lowest, in hex.
    #[serde(rename = "w")]
    pops: String,
}

/// What a node told in the last while, and where it is.
pub(super) type Fresh = (PopId, Vec<Slice>);

/// What is asked for of one thing, in one PoP.
type Sums<'a> = HashMap<(usize, &'a PropertyId, &'a str), (f64, f64)>;

impl Share {
    /// What nodes told; each of them counts as one.
    pub(super) fn of(nodes: &[Fresh]) -> Self {
        let mut pops: BTreeMap<&PopId, usize> = BTreeMap::new();
        for (pop, _) in nodes {
            *pops.entry(pop).or_default() += 1;
        }
        let places: HashMap<&PopId, usize> =
            pops.keys().enumerate().map(|(n, pop)| (*pop, n)).collect();
        let lists = |kind| Lists::of(&sums(nodes, kind, &places));
        Self {
            properties: lists(Kind::Properties),
            assets: lists(Kind::Assets),
            pops: pops.into_iter().map(|(pop, nodes)| (pop.clone(), nodes)).collect(),
        }
    }

    /// Whether nobody told anything.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.pops.is_empty()
    }

    /// How many nodes told it, in a PoP or in all.
    pub(super) fn nodes(&self, pop: Option<&PopId>) -> usize {
        let counted = self.pops.iter().filter(|(of, _)| pop.is_none_or(|pop| pop == of));
        counted.map(|(_, nodes)| nodes).sum()
    }

    /// What is asked for, in a PoP or in all, and the most that is not in it.
    pub(super) fn rates(&self, kind: Kind, pop: Option<&PopId>) -> (Vec<Rate>, Left) {
        let lists = match kind {
            Kind::Properties => &self.properties,
            Kind::Assets => &self.assets,
        };
        let Some(pop) = pop else {
            return (lists.all.iter().map(|item| self.rate(item)).collect(), lists.all_left);
        };
        if self.nodes(Some(pop)) == 0 {
            return (Vec::new(), Left::default());
        }
        let rates = lists.by_pop.iter().map(|item| self.rate(item));
        (rates.filter(|rate| rate.pops.contains(pop)).collect(), lists.by_pop_left)
    }

    fn rate(&self, item: &Item) -> Rate {
        let pops = places_in(&item.pops).filter_map(|n| Some(self.pops.get(n)?.0.clone()));
        Rate {
            property: item.property.clone(),
            path: item.path.clone(),
            requests: item.requests_milli as f64 / 1000.0,
            bytes: item.bytes_milli as f64 / 1000.0,
            pops: pops.collect(),
        }
    }
}

impl Lists {
    fn of(sums: &Sums<'_>) -> Self {
        let mut all: HashMap<(&PropertyId, &str), (f64, f64, BTreeSet<usize>)> = HashMap::new();
        for ((place, property, path), (requests, bytes)) in sums {
            let sum = all.entry((property, path)).or_default();
            sum.0 += requests;
            sum.1 += bytes;
            sum.2.insert(*place);
        }
        let all = all.into_iter().map(|((property, path), (requests, bytes, places))| {
            Item::new(property, path, requests, bytes, &places)
        });
        let by_pop = sums.iter().map(|((place, property, path), (requests, bytes))| {
            Item::new(property, path, *requests, *bytes, &BTreeSet::from([*place]))
        });
        let (all, all_left) = busiest(all.collect());
        let (by_pop, by_pop_left) = busiest(by_pop.collect());
        Self { all, all_left, by_pop, by_pop_left }
    }
}

impl Item {
    fn new(
        property: &PropertyId,
        path: &str,
        requests: f64,
        bytes: f64,
        places: &BTreeSet<usize>,
    ) -> Self {
        let (property, path) = (property.clone(), path.to_owned());
        let milli = |rate: f64| (rate * 1000.0).round() as u64;
        let (requests_milli, bytes_milli) = (milli(requests), milli(bytes));
        Self { property, path, requests_milli, bytes_milli, pops: bits_of(places) }
    }

    /// No less than it takes in JSON: paths are of printable ASCII, of which quotes and backslashes take two bytes.
    fn bytes_in_list(&self) -> usize {
        let escaped = self.path.bytes().filter(|byte| matches!(byte, b'"' | b'\\')).count();
        ITEM_BYTES + self.property.as_str().len() + self.path.len() + escaped + self.pops.len()
    }
}

impl Left {
    /// Adds what another list leaves out: an item may be missing in both.
    pub(super) fn add(&mut self, other: Self) {
        self.requests += other.requests;
        self.bytes += other.bytes;
    }
}

/// The busiest by requests and by bytes, in turns, as many as fit; and the most of those that do not.
fn busiest(mut items: Vec<Item>) -> (Vec<Item>, Left) {
    // Equals in one order, whatever order they came in.
    items.sort_by(|one, other| {
        (&one.property, &one.path, &one.pops).cmp(&(&other.property, &other.path, &other.pops))
    });
    let order = |key: fn(&Item) -> u64| {
        let mut order: Vec<usize> = (0..items.len()).collect();
        order.sort_by_key(|at| Reverse(key(&items[*at])));
        order
    };
    let orders = [order(|item| item.requests_milli), order(|item| item.bytes_milli)];
    let mut taken = BTreeSet::new();
    let mut bytes = 0;
    'full: for rank in 0..items.len() {
        for order in &orders {
            let at = order[rank];
            if taken.contains(&at) {
                continue;
            }
            bytes += items[at].bytes_in_list();
            if bytes > LIST_BYTES_MAX {
                break 'full;
            }
            taken.insert(at);
        }
    }
    let (mut kept, mut left) = (Vec::new(), Left::default());
    for (at, item) in items.into_iter().enumerate() {
        if taken.contains(&at) {
            kept.push(item);
        } else {
            left.requests = left.requests.max(item.requests_milli as f64 / 1000.0);
            left.bytes = left.bytes.max(item.bytes_milli as f64 / 1000.0);
        }
    }
    (kept, left)
}

fn sums<'a>(nodes: &'a [Fresh], kind: Kind, places: &HashMap<&PopId, usize>) -> Sums<'a> {
    let mut sums = Sums::new();
    for (pop, slices) in nodes {
        let Some(place) = places.get(pop) else { continue };
        let seconds: f64 = slices.iter().map(|told| told.period_ms as f64 / 1000.0).sum();
        for asked in slices.iter().flat_map(|told| kind.of(told)) {
            let sum = sums.entry((*place, &asked.property, &asked.path)).or_default();
            sum.0 += asked.requests as f64 / seconds;
            sum.1 += asked.bytes as f64 / seconds;
        }
    }
    sums
}

fn bits_of(places: &BTreeSet<usize>) -> String {
    let mut digits = vec![0_u32; places.last().map_or(0, |last| last / 4 + 1)];
    for place in places {
        digits[place / 4] |= 1 << (place % 4);
    }
    digits.into_iter().filter_map(|digit| char::from_digit(digit, 16)).collect()
}

fn places_in(bits: &str) -> impl Iterator<Item = usize> {
    let digits = bits.chars().map(|digit| digit.to_digit(16).unwrap_or(0)).enumerate();
    digits.flat_map(|(n, digit)| {
        (0..4).filter(move |bit| digit >> bit & 1 == 1).map(move |bit| n * 4 + bit)
    })
}

/// Names of fields, signs, and the longest of both numbers.
const ITEM_BYTES: usize = 72;

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tidegate_contract::demand::{Asked, Demand as Told, PATH_BYTES_MAX};

    use super::*;

    fn pop(name: &str) -> PopId {
        PopId::parse(name).expect("good")
    }

    fn asked(path: &str, requests: u64, bytes: u64) -> Asked {
        let property = PropertyId::parse("demo").expect("good");
        Asked { property, path: path.to_owned(), requests, bytes }
    }

    fn node(name: &str, assets: Vec<Asked>) -> Fresh {
        (pop(name), vec![Arc::new(Told { period_ms: 1000, properties: Vec::new(), assets })])
    }

    #[test]
    fn what_is_shared_is_read_as_it_was_told() {
        let share = Share::of(&[
            node("fra", vec![asked("/a", 3, 30)]),
            node("ams", vec![asked("/a", 1, 10), asked("/b", 2, 0)]),
            node("ams", vec![asked("/a", 1, 10)]),
        ]);
        let share: Share =
            serde_json::from_slice(&serde_json::to_vec(&share).expect("plain")).expect("its own");
        assert_eq!((share.nodes(None), share.nodes(Some(&pop("ams")))), (3, 2));
        let (rates, left) = share.rates(Kind::Assets, None);
        let found: Vec<_> =
            rates.iter().map(|rate| (rate.path.as_str(), rate.requests, rate.pops.len())).collect();
        assert_eq!(found, [("/a", 5.0, 2), ("/b", 2.0, 1)]);
        assert_eq!(left, Left::default());
        let (rates, _) = share.rates(Kind::Assets, Some(&pop("ams")));
        assert_eq!((rates.len(), rates[0].requests, rates[0].bytes), (2, 2.0, 20.0));
        assert!(share.rates(Kind::Assets, Some(&pop("bom"))).0.is_empty());
        assert!(share.rates(Kind::Properties, None).0.is_empty());
        assert!(Share::of(&[]).is_empty() && !share.is_empty());
    }

    #[test]
    fn a_share_is_bounded_and_says_what_it_leaves_out() {
        let path = |n: usize| format!("/\"{n:0>width$}", width = PATH_BYTES_MAX - 2);
        let nodes: Vec<_> = (0..1000)
            .map(|n| {
                let some = (0..50).map(|k| asked(&path(n * 50 + k), (n * 50 + k) as u64, 7));
                node(&format!("{n:0>64}"), some.collect())
            })
            .collect();
        let share = Share::of(&nodes);
        let bytes = serde_json::to_vec(&share).expect("plain").len();
        assert!(bytes < crate::store::VALUE_BYTES_MAX / 2, "{bytes}");
        for list in [&share.assets.all, &share.assets.by_pop] {
            let bytes = serde_json::to_vec(list).expect("plain").len();
            assert!(bytes <= LIST_BYTES_MAX && bytes > LIST_BYTES_MAX / 2, "{bytes}");
        }
        let (rates, left) = share.rates(Kind::Assets, None);
        let least = rates.iter().map(|rate| rate.requests).filter(|rate| *rate > 1000.0);
        let least = least.fold(f64::MAX, f64::min);
        assert_eq!(left.requests, least - 1.0, "the first that is not in it");
        assert_eq!(left.bytes, 7.0);
        assert_eq!(rates.iter().map(|rate| rate.requests).fold(0.0, f64::max), 49_999.0);
    }

    #[test]
    fn places_are_bits() {
        for places in [vec![], vec![0], vec![3, 4, 5], vec![0, 999]] {
            let set: BTreeSet<usize> = places.iter().copied().collect();
            assert_eq!(places_in(&bits_of(&set)).collect::<Vec<_>>(), places);
        }
        assert_eq!(bits_of(&BTreeSet::from([1, 4])), "21");
    }
}

//! What this node's own looks at PoPs mean.
//!
//! An address is dead after some failures in a row and lives again after some answers in a row; a PoP is dead when all
//! of its addresses are. When more than half of what is looked at seems dead, it is this node that cannot see, and
//! nobody is dead. Addresses of one family are weighed by themselves: a node without IPv6 sees none of it.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use tidegate_contract::id::PopId;

use crate::fleet::{Fleet, Pop, PopState};

/// How an address looks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Sight {
    failures: u32,
    answers: u32,
    pub(super) is_dead: bool,
}

/// What is believed to be dead.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Seen {
    /// PoPs.
    pub(crate) pops: BTreeSet<PopId>,
    /// Addresses of PoPs that have others.
    pub(crate) addresses: BTreeSet<IpAddr>,
    /// So much seems dead that it is not believed.
    pub(crate) is_doubted: bool,
}

impl Sight {
    /// Takes one look in; whether that changes how the address looks.
    pub(super) fn look(&mut self, is_good: bool, failures_max: u32, answers_min: u32) -> bool {
        let before = self.is_dead;
        if is_good {
            (self.failures, self.answers) = (0, self.answers.saturating_add(1));
            self.is_dead &= self.answers < answers_min;
        } else {
            (self.failures, self.answers) = (self.failures.saturating_add(1), 0);
            self.is_dead |= self.failures >= failures_max;
        }
        self.is_dead != before
    }
}

impl Seen {
    /// Weighs all addresses.
    pub(super) fn of<'a>(all: impl Iterator<Item = (&'a PopId, IpAddr, bool)> + Clone) -> Self {
        let is_majority = |dead: usize, all: usize| dead * 2 > all;
        let is_blind = |is_v6: bool| {
            let family = all.clone().filter(|(_, address, _)| address.is_ipv6() == is_v6);
            is_majority(family.clone().filter(|(.., is_dead)| *is_dead).count(), family.count())
        };
        let is_blind = [is_blind(false), is_blind(true)];
        let believed =
            all.clone().filter(|(_, address, _)| !is_blind[usize::from(address.is_ipv6())]);
        let mut pops: BTreeMap<&PopId, bool> = BTreeMap::new();
        for (pop, _, is_dead) in believed.clone() {
            *pops.entry(pop).or_insert(true) &= is_dead;
        }
        let dead = pops.values().filter(|is_dead| **is_dead).count();
        if is_majority(dead, pops.len()) {
            return Self { is_doubted: true, ..Self::default() };
        }
        let addresses = believed.filter(|(pop, _, is_dead)| *is_dead && !pops[pop]);
        Self {
            addresses: addresses.map(|(_, address, _)| address).collect(),
            pops: pops
                .iter()
                .filter(|(_, is_dead)| **is_dead)
                .map(|(pop, _)| (*pop).clone())
                .collect(),
            is_doubted: is_blind.contains(&true),
        }
    }

    /// The fleet without what is dead. A PoP that lost some of its addresses is in trouble.
    pub(crate) fn applied(&self, fleet: &Fleet) -> Fleet {
        let seen = |pop: &Pop| {
            let mut pop = pop.clone();
            if self.pops.contains(&pop.id) {
                pop.state = PopState::Down;
            }
            let before = pop.addresses.len();
            pop.addresses.retain(|address| !self.addresses.contains(address));
            if pop.addresses.len() < before && pop.state == PopState::Up {
                pop.state = PopState::Troubled;
            }
            pop
        };
        let pops = fleet.pops().iter().map(seen).collect();
        Fleet::new(pops).expect("ids as they were, values as checked")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_dies_after_failures_in_a_row_and_lives_after_answers_in_a_row() {
        let mut sight = Sight::default();
        for (looks, is_dead) in [
            ("x", false),
            (".x.x.", false),
            ("xx", true),
            ("..x..", true),
            (".", false),
            ("xx", true),
        ] {
            for look in looks.chars() {
                sight.look(look == '.', 2, 3);
            }
            assert_eq!(sight.is_dead, is_dead, "{looks}");
        }
    }

    /// `a4` is the IPv4 address of PoP a, `a6` its IPv6 address; an exclamation mark says that it looks dead.
    fn seen(text: &str) -> Seen {
        let all: Vec<_> = text
            .split(' ')
            .map(|word| {
                let address: IpAddr = match &word[1..2] {
                    "4" => [192, 0, 2, word.as_bytes()[0]].into(),
                    "5" => [198, 51, 100, word.as_bytes()[0]].into(),
                    _ => [0x2001, 0xdb8, 0, 0, 0, 0, 0, u16::from(word.as_bytes()[0])].into(),
                };
                (PopId::parse(&word[..1]).expect("good"), address, word.ends_with('!'))
            })
            .collect();
        Seen::of(all.iter().map(|(pop, address, is_dead)| (pop, *address, *is_dead)))
    }

    #[test]
    fn the_dead_are_believed_as_long_as_they_are_not_most_of_all() {
        for (looks, pops, addresses, is_doubted) in [
            ("a4 b4 c4", "", 0, false),
            ("a4! b4 c4", "a", 0, false),
            ("a4! b4", "a", 0, false),
            ("a4! b4! c4", "", 0, true),
            ("a4!", "", 0, true),
            // One of two addresses: the PoP lives.
            ("a4! a5 b4", "", 1, false),
            ("a4! a5! b4 c4 d4", "a", 0, false),
            // No IPv6 from here: IPv4 alone counts.
            ("a4! a6! b4 b6! c4 c6!", "a", 0, true),
            ("a4 a6! b4 b6 c4 c6", "", 1, false),
            // One PoP for each family: whether it is dead or its family is not seen from here, nobody can tell.
            ("a4 b6", "", 0, false),
            ("a4! b6", "", 0, true),
            ("a4 b6!", "", 0, true),
            ("a4! b6 c4 c6", "a", 0, false),
            ("a4 b6! c4 c6", "b", 0, false),
        ] {
            let found = seen(looks);
            let dead: Vec<_> = found.pops.iter().map(PopId::as_str).collect();
            assert_eq!(dead.concat(), pops, "{looks}");
            assert_eq!(
                (found.addresses.len(), found.is_doubted),
                (addresses, is_doubted),
                "{looks}"
            );
        }
    }

    #[test]
    fn what_is_dead_leaves_the_fleet() {
        let text = r#"
            pop = [
                { id = "a", latitude = 0.0, longitude = 0.0, capacity = 1.0, addresses = ["192.0.2.97", "192.0.2.1"] },
                { id = "b", latitude = 0.0, longitude = 0.0, capacity = 1.0, addresses = ["192.0.2.98"] },
            ]"#;
        let fleet = Fleet::from_toml(text).expect("good");
        let seen = Seen {
            pops: [PopId::parse("b").expect("good")].into(),
            addresses: [IpAddr::from([192, 0, 2, 97])].into(),
            is_doubted: false,
        };
        let fleet = seen.applied(&fleet);
        let [a, b] = fleet.pops() else { panic!("two") };
        assert_eq!((a.state, a.addresses.len()), (PopState::Troubled, 1));
        assert_eq!((b.state, b.takes_clients()), (PopState::Down, false));
    }
}

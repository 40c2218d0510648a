//! What the protocols of BIRD are called that stand for a prefix at a level, and back.
//!
//! Invariant: a name is a symbol of BIRD's language (letters, digits, `_`), and the settings are checked so that no two
//! prefixes or peers share one.

use tidegate_contract::{
    anycast::{Level, PREPEND_MAX},
    id::{PeerId, PrefixId},
};

/// The pipe behind which the neighbours are.
pub(super) fn gate(is_v6: bool) -> &'static str {
    if is_v6 { "anycast_gate6" } else { "anycast_gate4" }
}

/// The protocol of a prefix at a level; `None` for levels that no single protocol stands for.
pub(super) fn of(prefix: &PrefixId, level: &Level) -> Option<String> {
    let suffix = match level {
        Level::Normal => "normal".to_owned(),
        Level::Prepend(times) => format!("prepend{times}"),
        Level::GracefulShutdown => "gshut".to_owned(),
        Level::NoExport(peers) => {
            let mut peers = peers.iter();
            match (peers.next(), peers.next()) {
                (Some(peer), None) => format!("noexport_{}", symbol(peer.as_str())),
                _ => return None,
            }
        }
        Level::Withdrawn => return None,
    };
    Some(format!("any_{}_{suffix}", symbol(prefix.as_str())))
}

/// Every level that a prefix has a protocol for, from the least preferred to the most. A more preferred protocol hides
/// the others, so that enabling one is one step.
pub(super) fn prepared(peers: &[PeerId]) -> Vec<Level> {
    let mut levels = vec![Level::Normal];
    levels.extend(peers.iter().map(|peer| Level::NoExport([peer.clone()].into())));
    levels.extend((1..=PREPEND_MAX).map(Level::Prepend));
    levels.push(Level::GracefulShutdown);
    levels
}

/// An id as a part of a symbol.
pub(super) fn symbol(id: &str) -> String {
    id.replace('-', "_")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_a_symbol() {
        let prefix = PrefixId::parse("eu-1").unwrap();
        for (level, expected) in [
            ("normal", Some("any_eu_1_normal")),
            ("prepend-2", Some("any_eu_1_prepend2")),
            ("gshut", Some("any_eu_1_gshut")),
            ("no-export:as-9", Some("any_eu_1_noexport_as_9")),
            ("no-export:as-9,b", None),
            ("withdrawn", None),
        ] {
            assert_eq!(of(&prefix, &level.parse().unwrap()).as_deref(), expected);
        }
        let prepared = prepared(&[PeerId::parse("p").unwrap()]);
        assert!(prepared.windows(2).all(|pair| pair[0].rank() < pair[1].rank()));
    }
}

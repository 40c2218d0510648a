//! What several replicas of a control plane say of one fleet.
//!
//! Invariant: the highest version wins, and of two that say the same version the one that spoke last: a replica that is
//! behind takes nothing back.

use std::{collections::BTreeMap, sync::Arc};

use tidegate_contract::geo_feed::FleetView;

/// The newest view of each replica.
#[derive(Debug, Default)]
pub(crate) struct Replicas {
    views: BTreeMap<usize, (u64, Arc<FleetView>)>,
    said: u64,
}

impl Replicas {
    /// Takes what a replica says; gives back the view that counts when that is another one than before.
    pub(crate) fn take(&mut self, replica: usize, view: FleetView) -> Option<Arc<FleetView>> {
        let before = self.newest();
        self.said += 1;
        self.views.insert(replica, (self.said, Arc::new(view)));
        let now = self.newest()?;
        (before.as_ref() != Some(&now)).then_some(now)
    }

    fn newest(&self) -> Option<Arc<FleetView>> {
        let newest = self.views.values().max_by_key(|(said, view)| (view.version, *said));
        newest.map(|(_, view)| Arc::clone(view))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn view(version: u64, frozen: Option<&str>) -> FleetView {
        FleetView { version, frozen: frozen.map(str::to_owned), ..FleetView::default() }
    }

    #[test]
    fn the_highest_version_wins_and_of_one_version_the_last_word() {
        let mut replicas = Replicas::default();
        for (replica, version, frozen, counts) in [
            (0, 5, None, Some((5, None))),
            (1, 5, None, None),
            (1, 5, Some("a"), Some((5, Some("a")))),
            (0, 4, Some("old"), None),
            (0, 6, None, Some((6, None))),
            (1, 5, Some("b"), None),
            // Nobody says 6 any more: what is left counts.
            (0, 5, None, Some((5, None))),
        ] {
            let found = replicas.take(replica, view(version, frozen));
            let found = found.as_ref().map(|view| (view.version, view.frozen.as_deref()));
            assert_eq!(found, counts, "{replica} said {version} {frozen:?}");
        }
    }
}

//! What several replicas of a control plane say of one fleet.
//!
//! Of what they all read in one store (zones, policies, PoPs) the highest version counts, and of one version the last
//! word. How a PoP is each of them judges for itself, from what reaches it; so they may differ for a while, and
//! [`agreed`] says what counts until they do not. Invariant: a replica that is behind takes nothing back, and a PoP is
//! better off only after all who are heard have said so for [`AGREED_AFTER`].

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, SystemTime},
};

use tidegate_contract::{
    geo_feed::{FleetView, PopCondition, PopView},
    id::PopId,
};

/// For so long replicas that differed must agree before a PoP gets better: longer than one hears of another what a node
/// told it, shorter than a viewer waits.
pub(crate) const AGREED_AFTER: Duration = Duration::from_secs(5);

/// The newest view of each replica, and what counts.
#[derive(Debug, Default)]
pub(crate) struct Replicas {
    views: BTreeMap<usize, Said>,
    said: u64,
    counts: Option<Arc<FleetView>>,
    /// When replicas differed last about a PoP.
    differed: BTreeMap<PopId, SystemTime>,
}

#[derive(Debug)]
struct Said {
    number: u64,
    view: FleetView,
    is_heard: bool,
}

impl Replicas {
    /// Takes what a replica says; gives back the view that counts when that is another one than before.
    pub(crate) fn take(
        &mut self,
        replica: usize,
        view: FleetView,
        now: SystemTime,
    ) -> Option<Arc<FleetView>> {
        self.said += 1;
        self.views.insert(replica, Said { number: self.said, view, is_heard: true });
        self.weigh(now)
    }

    /// A replica is not heard any more. What it said of a PoP counts no more where others are heard.
    pub(crate) fn lose(&mut self, replica: usize, now: SystemTime) -> Option<Arc<FleetView>> {
        if let Some(said) = self.views.get_mut(&replica) {
            said.is_heard = false;
        }
        self.weigh(now)
    }

    /// Time has passed, which may be all that was missing; gives back what [`Replicas::take`] does.
    pub(crate) fn weigh(&mut self, now: SystemTime) -> Option<Arc<FleetView>> {
        // Where nobody is heard what counted last goes on to count.
        if !self.views.values().any(|said| said.is_heard) {
            return None;
        }
        let newest = self
            .views
            .values()
            .max_by_key(|said| (said.view.version, said.is_heard, said.number))?;
        let mut view = newest.view.clone();
        let is_newest = |said: &&Said| said.is_heard && said.view.version == view.version;
        let heard: Vec<&FleetView> =
            self.views.values().filter(is_newest).map(|said| &said.view).collect();
        self.differed.retain(|id, _| view.pops.iter().any(|pop| pop.id == *id));
        for pop in &mut view.pops {
            let said: Vec<&PopView> = heard
                .iter()
                .filter_map(|view| view.pops.iter().find(|other| other.id == pop.id))
                .collect();
            if said.windows(2).any(|pair| pair[0].state != pair[1].state) {
                self.differed.insert(pop.id.clone(), now);
            }
            let agreed_for = self.differed.get(&pop.id).map(|differed| {
                // A clock that was put back has measured nothing.
                now.duration_since(*differed).unwrap_or_default()
            });
            let before = self.counts.iter().flat_map(|view| &view.pops);
            let before = before.filter(|other| other.id == pop.id).map(|pop| pop.state).next();
            let states = said.iter().map(|pop| pop.state);
            pop.state = agreed(states, before, agreed_for).unwrap_or(pop.state);
            pop.weight = said.iter().map(|pop| pop.weight).fold(pop.weight, f64::min);
        }
        if self.counts.as_deref() == Some(&view) {
            return None;
        }
        let view = Arc::new(view);
        self.counts = Some(Arc::clone(&view));
        Some(view)
    }
}

/// How a PoP is: the worst that anybody says, at once; what is better than before only when nobody has differed for
/// [`AGREED_AFTER`]. `agreed_for` is nothing where nobody ever differed. `None` when nobody says anything.
fn agreed(
    said: impl Iterator<Item = PopCondition>,
    before: Option<PopCondition>,
    agreed_for: Option<Duration>,
) -> Option<PopCondition> {
    let worst = said.max_by_key(|state| severity(*state))?;
    let has_settled = agreed_for.is_none_or(|agreed_for| agreed_for >= AGREED_AFTER);
    match before {
        Some(before) if !has_settled && severity(before) > severity(worst) => Some(before),
        _ => Some(worst),
    }
}

fn severity(state: PopCondition) -> u8 {
    match state {
        PopCondition::Up => 0,
        PopCondition::Troubled => 1,
        PopCondition::Draining => 2,
        PopCondition::Down => 3,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tidegate_contract::anycast::Coordinates;

    use super::{PopCondition::*, *};

    fn at(seconds: f64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs_f64(seconds)
    }

    fn view(version: u64, frozen: Option<&str>) -> FleetView {
        FleetView { version, frozen: frozen.map(str::to_owned), ..FleetView::default() }
    }

    fn pop(state: PopCondition, weight: f64) -> FleetView {
        let pop = PopView {
            id: PopId::parse("a").expect("good"),
            place: Coordinates { latitude: 0.0, longitude: 0.0 },
            capacity_mbps: 1.0,
            weight,
            state,
            addresses: Vec::new(),
            port: 443,
            name: None,
        };
        FleetView { version: 1, pops: vec![pop], ..FleetView::default() }
    }

    fn state(replicas: &Replicas) -> PopCondition {
        replicas.counts.as_ref().expect("something was said").pops[0].state
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
            let found = replicas.take(replica, view(version, frozen), at(0.0));
            let found = found.as_ref().map(|view| (view.version, view.frozen.as_deref()));
            assert_eq!(found, counts, "{replica} said {version} {frozen:?}");
        }
        let left = replicas.lose(0, at(1.0)).expect("the other one is heard");
        assert_eq!((left.version, left.frozen.as_deref()), (5, Some("b")));
        assert!(replicas.lose(1, at(2.0)).is_none(), "what was said last stays");
    }

    #[test]
    fn a_pop_is_as_bad_as_anybody_says_and_better_when_all_have_said_so_for_a_while() {
        let mut replicas = Replicas::default();
        for (seconds, replica, said, counts) in [
            (0.0, 0, Up, Up),
            (0.1, 1, Up, Up),
            (1.0, 1, Down, Down),
            // The other one repeats what it thinks, again and again.
            (2.0, 0, Up, Down),
            (3.0, 0, Troubled, Down),
            (4.0, 0, Up, Down),
            // They agree, but not for long.
            (5.0, 1, Up, Down),
            (8.0, 0, Up, Down),
            (8.5, 0, Troubled, Down),
            (9.0, 0, Up, Down),
            (14.1, 0, Up, Up),
            // Nobody differs: what both say is true at once, as from one.
            (20.0, 0, Draining, Draining),
        ] {
            replicas.take(replica, pop(said, 1.0), at(seconds));
            assert_eq!(state(&replicas), counts, "{replica} says {said:?} after {seconds} s");
        }
    }

    #[test]
    fn time_alone_settles_it_and_so_does_the_loss_of_who_differs() {
        let mut replicas = Replicas::default();
        replicas.take(0, pop(Up, 1.0), at(0.0));
        replicas.take(1, pop(Down, 0.5), at(0.0));
        assert_eq!(state(&replicas), Down);
        assert!(replicas.weigh(at(60.0)).is_none(), "they differ still");
        assert!(replicas.lose(1, at(61.0)).is_some_and(|view| view.pops[0].weight > 0.9));
        assert_eq!(state(&replicas), Down, "not for long enough");
        assert!(replicas.weigh(at(64.9)).is_none());
        assert!(replicas.weigh(at(65.1)).is_some());
        assert_eq!(state(&replicas), Up);
        // Nobody is heard: what was said last stays.
        assert!(replicas.lose(0, at(70.0)).is_none());
        assert_eq!(state(&replicas), Up);
    }

    #[test]
    fn one_replica_alone_waits_for_nobody() {
        let mut replicas = Replicas::default();
        for (seconds, said) in [(0.0, Up), (0.1, Down), (0.2, Up), (0.3, Troubled), (0.4, Up)] {
            replicas.take(0, pop(said, 1.0), at(seconds));
            assert_eq!(state(&replicas), said);
        }
    }

    fn states() -> impl Strategy<Value = PopCondition> {
        prop::sample::select(&[Up, Troubled, Draining, Down][..])
    }

    proptest! {
        #[test]
        fn it_gets_better_at_most_once_in_a_while_however_replicas_differ(
            said in prop::collection::vec((0..3usize, states(), 0.0..2.0f64), 1..200),
        ) {
            let mut replicas = Replicas::default();
            let (mut now, mut better): (f64, Vec<f64>) = (0.0, Vec::new());
            for replica in 0..3 {
                replicas.take(replica, pop(Up, 1.0), at(0.0));
            }
            for (replica, said, wait) in said {
                now += wait;
                let before = severity(state(&replicas));
                replicas.take(replica, pop(said, 1.0), at(now));
                let is_worse = replicas.views.values().any(|one| severity(one.view.pops[0].state) > severity(state(&replicas)));
                prop_assert!(!is_worse, "nobody's bad word is passed over");
                if severity(state(&replicas)) < before {
                    better.push(now);
                }
            }
            // With one bad word between two of them they are further apart than replicas have to agree.
            prop_assert!(better.windows(2).all(|pair| pair[1] - pair[0] >= AGREED_AFTER.as_secs_f64()));
        }
    }
}

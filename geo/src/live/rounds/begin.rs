//! The first map: from what was kept, as far as there is something.
//!
//! Invariant: what was kept and cannot be read is said and left, never a reason not to start.

use std::{
    mem,
    sync::Arc,
    time::{Duration, Instant, UNIX_EPOCH},
};

use tidegate_chassis::Clock;
use tidegate_contract::id::PopId;

use super::{Rounds, Times, said};
use crate::{
    fleet::Fleet,
    live::{
        inbox::Inbox,
        ingest::Ingest,
        kept::{Kept, Past, demand_of},
        metrics::Metrics,
        state::{State, Status},
        still::home,
        told,
    },
    map::{Inputs, Map, Round},
    place::Place,
    unit::Units,
    world::{Trust, World, Worlds},
};

/// What a node starts with.
pub(in crate::live) struct Beginning {
    /// The PoP of this node.
    pub(in crate::live) own: Option<PopId>,
    /// For how long a map is good without a word.
    pub(in crate::live) alone_after: Duration,
    /// Where clients are that nobody can locate, when that was said.
    pub(in crate::live) home: Option<Place>,
    /// Whether there is a control plane to be heard.
    pub(in crate::live) has_control: bool,
    /// The Internet.
    pub(in crate::live) units: Arc<Units>,
    /// The fleet of a file.
    pub(in crate::live) fleet: Option<Fleet>,
    /// What was kept.
    pub(in crate::live) kept: Option<Kept>,
}

impl Rounds {
    /// Makes the first map, from what was kept as far as there is something.
    pub(in crate::live) fn begin(
        beginning: Beginning,
        inbox: Arc<Inbox>,
        clock: Clock,
        metrics: Metrics,
    ) -> Self {
        let now = clock.now();
        let view = beginning.kept.as_ref().filter(|_| beginning.has_control).and_then(|kept| {
            said(kept.view(), "the fleet that was kept cannot be used").flatten().map(Arc::new)
        });
        let of_view = view
            .as_ref()
            .and_then(|view| said(told::fleet(view), "the fleet that was kept cannot be used"));
        let told = Arc::new(of_view.or(beginning.fleet.clone()).unwrap_or_default());
        let kept = beginning.kept.as_ref();
        let hold = kept.and_then(|kept| said(kept.hold(), "the hold that was kept cannot be used"));
        let past =
            kept.and_then(|kept| said(kept.past(&told), "what was kept of units cannot be used"));
        let units = Arc::clone(&beginning.units);
        let mut ingest = Ingest::new(Arc::clone(&units), &told);
        let mut past = past.unwrap_or_default();
        let demand = demand_of(&units, &past);
        ingest.recall(mem::take(&mut past.latency), demand);
        let Past { shares, round, .. } = past;
        let previous = (!shares.is_empty())
            .then(|| Map::recalled(Arc::clone(&units), Arc::clone(&told), &shares));
        let demand = Arc::clone(ingest.demand());
        let begun = Instant::now();
        let Round { map, moved } = Round::make(Inputs {
            units: &units,
            demand: &demand,
            fleet: &told,
            latency: &ingest.latency,
            home: home(beginning.home, beginning.own.as_ref(), &told),
            previous: previous.as_ref(),
        });
        let took = begun.elapsed();
        let since_1970 = now.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let round = since_1970.max(round + 1);
        let worlds = Worlds::new(World { map, trust: Trust::Current, round, heard: now });
        let state = State::new(worlds, Status::default(), Arc::clone(ingest.catchment()), now);
        let times = Times { round: now, step: now, fade: now, keep: now, shed: now };
        let rounds = Self {
            inbox,
            clock,
            metrics,
            state,
            view,
            fleet: Arc::clone(&told),
            told,
            seen: Arc::default(),
            units,
            ingest,
            hold: hold.flatten(),
            heard: now,
            load: None,
            shed: 0.0,
            demand,
            moved,
            took,
            round,
            is_due: false,
            times,
            making: None,
            keeping: None,
            beginning,
        };
        rounds.tell();
        rounds
    }
}

//! What PoPs measured, by unit: round trips, and how much each unit asks for.
//!
//! Demand is a mean that leans on the last minute, in Mbit/s, as capacities are. Invariant: what comes in is bounded by
//! the number of units and by what [`Latency`] keeps.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tidegate_contract::{geo_feed::RoundTrips, id::PopId};

use super::catchment::Catchment;
use crate::{
    fleet::Fleet,
    latency::{Digest, Latency},
    unit::Units,
};

/// What was measured.
#[derive(Debug, Clone)]
pub(super) struct Ingest {
    pub(super) latency: Arc<Latency>,
    units: Arc<Units>,
    /// The numbers that PoPs have in `latency`.
    pops: Vec<PopId>,
    /// Bytes of each unit since the last step.
    bytes: Vec<u64>,
    demand: Arc<Vec<f64>>,
    /// Who lands where; shared with those who ask.
    catchment: Arc<Mutex<Catchment>>,
}

impl Ingest {
    pub(super) fn new(units: Arc<Units>, fleet: &Fleet) -> Self {
        let count = units.all().len();
        let pops = ids(fleet);
        let (bytes, demand) = (vec![0; count], Arc::new(vec![0.0; count]));
        let (latency, catchment) = (Arc::default(), Arc::default());
        Self { latency, units, pops, bytes, demand, catchment }
    }

    /// Who lands where.
    pub(super) fn catchment(&self) -> &Arc<Mutex<Catchment>> {
        &self.catchment
    }

    /// Demand by unit, in Mbit/s.
    pub(super) fn demand(&self) -> &Arc<Vec<f64>> {
        &self.demand
    }

    /// Puts a demand that was kept in its place.
    pub(super) fn recall(&mut self, latency: Latency, demand: Vec<f64>) {
        if demand.len() == self.bytes.len() {
            (self.latency, self.demand) = (Arc::new(latency), Arc::new(demand));
        }
    }

    /// Whether nobody else reads the round trips now, so that taking some in copies nothing.
    pub(super) fn is_free(&self) -> bool {
        Arc::strong_count(&self.latency) == 1
    }

    /// Takes a batch in; of a PoP that the fleet does not have, only who lands there.
    pub(super) fn take(&mut self, batch: &RoundTrips) {
        self.arrivals().take(batch, &self.units);
        let pop = batch.pop.as_ref().and_then(|pop| self.pops.binary_search(pop).ok());
        let Some(pop) = pop.and_then(|pop| u16::try_from(pop).ok()) else { return };
        let latency = Arc::make_mut(&mut self.latency);
        for subnet in &batch.subnets {
            let Some(unit) = self.units.lookup().find(subnet.subnet.parts().0).unit else {
                continue;
            };
            let bytes = &mut self.bytes[unit as usize];
            *bytes = bytes.saturating_add(subnet.sent_bytes);
            let centroids = subnet.centroids.iter().copied().filter(|(_, count)| *count > 0.0);
            let centroids: Vec<_> = centroids.collect();
            let Ok(digest) = Digest::try_from(centroids) else { continue };
            if digest.weight() > 0.0 {
                // What finds no room is left out; what is known stays.
                let _ = latency.observe(&self.units.all()[unit as usize].key, pop, &digest);
            }
        }
    }

    /// A step of demand, after so long.
    pub(super) fn step(&mut self, after: Duration) {
        let seconds = after.as_secs_f64().max(1e-3);
        let lean = 1.0 - (-seconds / LEANS_ON.as_secs_f64()).exp();
        let demand = Arc::make_mut(&mut self.demand);
        for (demand, bytes) in demand.iter_mut().zip(&mut self.bytes) {
            let mbps = std::mem::take(bytes) as f64 * 8e-6 / seconds;
            *demand += (mbps - *demand) * lean;
            if *demand < NOTHING {
                *demand = 0.0;
            }
        }
    }

    /// A minute has passed.
    pub(super) fn fade(&mut self) {
        Arc::make_mut(&mut self.latency).fade();
        self.arrivals().fade();
    }

    fn arrivals(&self) -> MutexGuard<'_, Catchment> {
        self.catchment.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// PoPs have other numbers now.
    pub(super) fn follow_fleet(&mut self, fleet: &Fleet) {
        let new = ids(fleet);
        if new == self.pops {
            return;
        }
        let number = |old: u16| new.binary_search(&self.pops[usize::from(old)]).ok();
        Arc::make_mut(&mut self.latency)
            .renumber(|old| number(old).and_then(|new| u16::try_from(new).ok()));
        self.pops = new;
    }

    /// The Internet was read again: what is known of a unit is known of the one with the same key.
    pub(super) fn follow_units(&mut self, units: Arc<Units>) {
        let mut demand = vec![0.0; units.all().len()];
        let mut bytes = vec![0; units.all().len()];
        for (number, unit) in self.units.all().iter().enumerate() {
            if let Some(new) = units.index(&unit.key) {
                demand[new as usize] = self.demand[number];
                bytes[new as usize] = self.bytes[number];
            }
        }
        (self.units, self.demand, self.bytes) = (units, Arc::new(demand), bytes);
    }
}

fn ids(fleet: &Fleet) -> Vec<PopId> {
    fleet.pops().iter().map(|pop| pop.id.clone()).collect()
}

/// Demand of longer ago hardly counts.
const LEANS_ON: Duration = Duration::from_secs(60);
/// Less than a bit a second is nothing.
const NOTHING: f64 = 1e-6;

#[cfg(test)]
mod tests {
    use tidegate_contract::geo_feed::SubnetRoundTrips;

    use super::*;
    use crate::{place::Place, unit::UnitsBuilder};

    fn units(prefixes: &[(&str, f64)]) -> Arc<Units> {
        let mut units = UnitsBuilder::default();
        for (first, longitude) in prefixes {
            let place = Place::new(10.0, *longitude).expect("a place");
            units.add(first.parse().expect("an address"), 16, *b"XX", 7, place).expect("few");
        }
        Arc::new(units.build())
    }

    fn fleet(ids: &[&str]) -> Fleet {
        let pop = |id: &&str| {
            format!("{{ id = '{id}', latitude = 0.0, longitude = 0.0, capacity = 1.0 }}")
        };
        let pops: Vec<_> = ids.iter().map(pop).collect();
        Fleet::from_toml(&format!("pop = [{}]", pops.join(","))).expect("good")
    }

    fn batch(pop: &str, subnet: &str, ms: f64, sent_bytes: u64) -> RoundTrips {
        let subnet = subnet.parse().expect("a network");
        let centroids = vec![(0.0, 0.0), (ms, 30.0)];
        RoundTrips {
            pop: Some(PopId::parse(pop).expect("good")),
            period_ms: 10_000,
            subnets: vec![SubnetRoundTrips { subnet, centroids, sent_bytes, reached: vec![] }],
        }
    }

    #[test]
    fn batches_become_round_trips_and_demand_of_units() {
        let world = units(&[("10.1.0.0", 1.0), ("10.2.0.0", 2.0)]);
        let mut ingest = Ingest::new(Arc::clone(&world), &fleet(&["a", "b"]));
        for _ in 0..60 {
            ingest.take(&batch("b", "10.2.3.0/24", 17.0, 12_500_000));
            ingest.take(&batch("b", "192.0.2.0/24", 1.0, 1 << 40));
            ingest.take(&batch("nobody", "10.2.3.0/24", 1.0, 1 << 40));
            ingest.step(Duration::from_secs(10));
        }
        assert_eq!(ingest.demand()[0], 0.0);
        assert!((ingest.demand()[1] - 10.0).abs() < 0.1, "10 Mbit/s: {:?}", ingest.demand());
        let key = world.all()[1].key;
        assert_eq!(ingest.latency.of(&key).of_unit(1), Some(17.0));
        for _ in 0..200 {
            ingest.step(Duration::from_secs(10));
        }
        assert_eq!(ingest.demand()[1], 0.0, "nothing is forgotten for good");
    }

    #[test]
    fn what_is_known_follows_fleet_and_places() {
        let world = units(&[("10.1.0.0", 1.0), ("10.2.0.0", 2.0)]);
        let mut ingest = Ingest::new(Arc::clone(&world), &fleet(&["b"]));
        let key = world.all()[1].key;
        ingest.take(&batch("b", "10.2.3.0/24", 17.0, 12_500_000));
        ingest.step(Duration::from_secs(60));
        ingest.follow_fleet(&fleet(&["a", "b"]));
        assert_eq!(ingest.latency.of(&key).measured().collect::<Vec<_>>(), [(1, 17.0)]);
        let before = ingest.demand()[1];
        let newer = units(&[("10.2.0.0", 2.0), ("10.3.0.0", 3.0)]);
        ingest.follow_units(Arc::clone(&newer));
        assert!(before > 0.0);
        assert_eq!(**ingest.demand(), [before, 0.0]);
        ingest.take(&batch("a", "10.3.0.0/24", 5.0, 0));
        assert_eq!(ingest.latency.of(&newer.all()[1].key).of_unit(0), Some(5.0));
    }
}

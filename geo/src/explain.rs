//! Which PoP a client gets, and why: every number that went into it, for people and for programs.

use std::{fmt, net::IpAddr};

use serde::Serialize;

use crate::{map::score::Source, world::World};

/// Why a client gets the PoP it gets.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Explanation {
    /// The client.
    pub client: IpAddr,
    /// For all clients that share so many first bits with it the same is true.
    pub scope: u8,
    /// The unit it belongs to; absent when nobody knows where it is.
    pub unit: Option<UnitView>,
    /// The PoPs that come into question, best first.
    pub candidates: Vec<CandidateView>,
    /// The PoP that it gets; absent when none serves.
    pub pop: Option<String>,
    /// A PoP that is named after it, since the first is nearly full.
    pub next: Option<String>,
    /// Why that one: `nearest`, `balance`, `exploration`, `unlocated` or `alone`.
    pub reason: Option<&'static str>,
    /// How long the answer may be kept, in seconds.
    pub ttl_seconds: Option<u32>,
}

/// A unit, as shown.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct UnitView {
    /// Its number in this map.
    pub index: u32,
    /// Two letters; absent when the file of places did not say.
    pub country: Option<String>,
    /// The network; absent when nobody said.
    pub asn: Option<u32>,
    /// Degrees.
    pub latitude: f64,
    /// Degrees.
    pub longitude: f64,
}

/// A candidate, as shown.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CandidateView {
    /// The PoP.
    pub pop: String,
    /// What it is ranked by, in ms.
    pub rtt_ms: f32,
    /// Where that comes from: `unit`, `network` or `distance`.
    pub source: &'static str,
    /// What was measured from this unit, in ms.
    pub measured_ms: Option<f32>,
    /// What the distance makes likely, in ms.
    pub modelled_ms: f32,
    /// The way there, in km.
    pub distance_km: u32,
    /// The planned load of the PoP over what it can carry.
    pub utilisation: f64,
    /// The share of this unit that it gets.
    pub share: f64,
}

/// Explains.
#[must_use]
pub fn explain(world: &World, client: IpAddr) -> Explanation {
    let map = &world.map;
    let found = map.units().lookup().find(client);
    let unit = found.unit.map(|index| (index, &map.units().all()[index as usize]));
    let plan = map.plan(found.unit);
    let share_of = |pop: u16| {
        plan.each_share().find(|(sharing, _)| *sharing == pop).map_or(0.0, |(_, share)| share)
    };
    let candidates = plan.candidates.iter().map(|candidate| {
        let pop = &map.fleet().pops()[usize::from(candidate.pop)];
        let place = unit.map(|(_, unit)| unit.place);
        CandidateView {
            pop: pop.id.to_string(),
            rtt_ms: candidate.score.rtt_ms,
            source: candidate.score.source.as_str(),
            measured_ms: match candidate.score.source {
                Source::Unit => Some(candidate.score.rtt_ms),
                Source::Network | Source::Distance => None,
            },
            modelled_ms: place
                .map_or(candidate.score.rtt_ms, |place| place.modelled_rtt_ms(&pop.place) as f32),
            distance_km: place.map_or(0, |place| place.distance_km(&pop.place) as u32),
            utilisation: map.utilisation()[usize::from(candidate.pop)],
            share: share_of(candidate.pop),
        }
    });
    let target = world.target(client);
    let name = |pop: u16| map.pop(pop).to_string();
    Explanation {
        client,
        scope: target.map_or(found.scope, |target| target.scope),
        unit: unit.map(|(index, unit)| {
            let (latitude, longitude) = unit.place.degrees();
            let country = (unit.key.country != [0; 2])
                .then(|| String::from_utf8_lossy(&unit.key.country).into_owned());
            let asn = (unit.key.asn != 0).then_some(unit.key.asn);
            UnitView { index, country, asn, latitude, longitude }
        }),
        candidates: candidates.collect(),
        pop: target.map(|target| name(target.pop)),
        next: target.and_then(|target| target.next).map(name),
        reason: target.map(|target| target.reason.as_str()),
        ttl_seconds: target.map(|target| target.ttl_seconds),
    }
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.unit {
            None => writeln!(f, "{}/{}: nobody knows where that is", self.client, self.scope)?,
            Some(unit) => writeln!(
                f,
                "{}/{}: unit {}, {}, {:.1} {:.1}, network {}",
                self.client,
                self.scope,
                unit.index,
                unit.country.as_deref().unwrap_or("--"),
                unit.latitude,
                unit.longitude,
                unit.asn.map_or_else(|| "--".to_owned(), |asn| asn.to_string()),
            )?,
        }
        let head = ["PoP", "RTT ms", "from", "measured", "modelled", "km", "load", "share"];
        let [pop, rtt, from, measured, modelled, km, load, share] = head;
        writeln!(
            f,
            "{pop:<20} {rtt:>7} {from:<8} {measured:>8} {modelled:>8} {km:>6} {load:>5} {share:>5}"
        )?;
        for one in &self.candidates {
            let measured = one.measured_ms.map_or_else(|| "--".to_owned(), |ms| format!("{ms:.1}"));
            writeln!(
                f,
                "{:<20} {:>7.1} {:<8} {measured:>8} {:>8.1} {:>6} {:>4.0}% {:>4.0}%",
                one.pop,
                one.rtt_ms,
                one.source,
                one.modelled_ms,
                one.distance_km,
                one.utilisation * 100.0,
                one.share * 100.0,
            )?;
        }
        match (&self.pop, self.reason, self.ttl_seconds) {
            (Some(pop), Some(reason), Some(ttl)) => {
                write!(f, "→ {pop} ({reason}), for {ttl} s")?;
                match &self.next {
                    Some(next) => write!(f, "; then {next}"),
                    None => Ok(()),
                }
            }
            _ => write!(f, "→ no PoP serves"),
        }
    }
}

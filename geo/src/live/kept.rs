//! What a node keeps, so that a start without a control plane serves the last map.
//!
//! Three files in one folder: the fleet as it was told last, why an operator holds the map here, and what is known of
//! units: round trips, demand, who served them. A file is written beside its place, forced to disk and renamed over it.
//! Invariant: what is read is checked like what comes from the network; a file that is damaged is said and passed over,
//! for a node without a past still serves.

use std::{
    collections::HashMap,
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, BufRead, BufReader, BufWriter, Read, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::Arc,
};

use serde::{Deserialize, Serialize};
use tidegate_contract::{
    geo_feed::{FEED_LINE_BYTES_MAX, FleetView},
    id::PopId,
};

use crate::{
    fleet::Fleet,
    latency::{Digest, Latency, PAIRS_MAX},
    map::Map,
    unit::{UnitKey, Units},
};

/// The most centroids that are kept of a digest.
const KEPT_CENTROIDS_MAX: usize = 5;
/// The most units that are read.
const UNITS_READ_MAX: usize = 4_000_000;
/// The longest line: a unit with a hundred PoPs and their digests.
const LINE_BYTES_MAX: u64 = 64 * 1024;
const HOLD_BYTES_MAX: usize = 64 * 1024;

/// The folder.
#[derive(Debug, Clone)]
pub(super) struct Kept {
    folder: PathBuf,
}

/// What is known of units, by the numbers of a fleet.
#[derive(Debug, Default)]
pub(super) struct Past {
    /// Who served which unit.
    pub(super) shares: HashMap<UnitKey, Vec<(u16, f64)>>,
    /// Demand by unit.
    pub(super) demand: HashMap<UnitKey, f64>,
    /// Round trips.
    pub(super) latency: Latency,
    /// The round of the map.
    pub(super) round: u64,
}

/// The first line.
#[derive(Debug, Serialize, Deserialize)]
struct Head {
    round: u64,
    pops: Vec<PopId>,
}

/// One unit.
#[derive(Debug, Serialize, Deserialize)]
struct Line {
    /// Country, network and cell.
    key: ([u8; 2], u32, (i16, i16)),
    demand: f64,
    shares: Vec<(u16, f64)>,
    round_trips: Vec<Written>,
}

/// A PoP and the centroids of its digest.
type Written = (u16, Vec<(f32, f32)>);

impl Kept {
    /// Makes the folder, which only its owner may enter.
    pub(super) fn open(folder: &Path) -> io::Result<Self> {
        DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        Ok(Self { folder: folder.to_owned() })
    }

    /// Keeps the fleet as it is told.
    pub(super) fn keep_view(&self, view: &FleetView) -> io::Result<()> {
        let bytes = serde_json::to_vec(view).map_err(io::Error::other)?;
        self.replace("fleet.json", |file| file.write_all(&bytes))
    }

    /// The fleet as it was told last.
    pub(super) fn view(&self) -> io::Result<Option<FleetView>> {
        self.read("fleet.json", FEED_LINE_BYTES_MAX)
    }

    /// Keeps why an operator holds the map here.
    pub(super) fn keep_hold(&self, reason: Option<&str>) -> io::Result<()> {
        let bytes = serde_json::to_vec(&reason).map_err(io::Error::other)?;
        self.replace("hold.json", |file| file.write_all(&bytes))
    }

    /// Why an operator holds the map here.
    pub(super) fn hold(&self) -> io::Result<Option<String>> {
        Ok(self.read::<Option<String>>("hold.json", HOLD_BYTES_MAX)?.flatten())
    }

    /// Keeps what is known of units: of those that have anything to be known.
    pub(super) fn keep_past(
        &self,
        map: &Map,
        round: u64,
        demand: (&Units, &[f64]),
        latency: &Latency,
    ) -> io::Result<()> {
        let mut measured: HashMap<&UnitKey, Vec<Written>> = HashMap::new();
        for (key, digests) in latency.units() {
            let short = |digest: &Digest| -> Vec<(f32, f32)> {
                let centroids: Vec<(f64, f64)> = digest.coarser(KEPT_CENTROIDS_MAX).into();
                centroids.into_iter().map(|(ms, count)| (ms as f32, count as f32)).collect()
            };
            measured.insert(key, digests.map(|(pop, digest)| (pop, short(digest))).collect());
        }
        let (units, demand) = demand;
        self.replace("units.ndjson", |file| {
            let pops = map.fleet().pops().iter().map(|pop| pop.id.clone()).collect();
            line(file, &Head { round, pops })?;
            for (unit, plan) in map.units().all().iter().zip(map.plans()) {
                let index = units.index(&unit.key).map(|index| index as usize);
                let demand = index.and_then(|index| demand.get(index)).copied().unwrap_or(0.0);
                let round_trips = measured.remove(&unit.key).unwrap_or_default();
                let best = plan.candidates.first().map(|one| one.pop);
                let is_plain = plan.shares.len() == 1 && best == Some(plan.shares[0].0);
                if is_plain && demand == 0.0 && round_trips.is_empty() {
                    continue;
                }
                let UnitKey { country, asn, cell } = unit.key;
                let (key, shares) = ((country, asn, cell), plan.each_share().collect());
                line(file, &Line { key, demand, shares, round_trips })?;
            }
            Ok(())
        })
    }

    /// What was known of units, by the numbers of a fleet; nothing of PoPs that it does not have.
    pub(super) fn past(&self, fleet: &Fleet) -> io::Result<Past> {
        let mut past = Past::default();
        let mut file = match File::open(self.folder.join("units.ndjson")) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(past),
            opened => BufReader::new(opened?),
        };
        let Some(head) = next::<Head>(&mut file)? else { return Ok(past) };
        past.round = head.round;
        let numbers: Vec<Option<u16>> = head.pops.iter().map(|pop| fleet.index(pop)).collect();
        let number = |old: u16| numbers.get(usize::from(old)).copied().flatten();
        let mut count = 0;
        while let Some(line) = next::<Line>(&mut file)? {
            count += 1;
            if count > UNITS_READ_MAX || past.latency.pairs() >= PAIRS_MAX {
                return Err(io::Error::other("more units than are read"));
            }
            let (country, asn, cell) = line.key;
            let key = UnitKey { country, asn, cell };
            let is_share = |(_, share): &(u16, f64)| (0.0..=1.001).contains(share);
            if !line.shares.iter().all(is_share) || !(0.0..1e12).contains(&line.demand) {
                return Err(io::Error::other(format!("unit {count} has no shares or no demand")));
            }
            let shares =
                line.shares.into_iter().filter_map(|(pop, share)| Some((number(pop)?, share)));
            past.shares.insert(key, shares.collect());
            past.demand.insert(key, line.demand);
            for (pop, centroids) in line.round_trips {
                let Some(pop) = number(pop) else { continue };
                let wide =
                    centroids.into_iter().map(|(ms, count)| (f64::from(ms), f64::from(count)));
                let digest =
                    Digest::try_from(wide.collect::<Vec<_>>()).map_err(io::Error::other)?;
                past.latency.observe(&key, pop, &digest).map_err(io::Error::other)?;
            }
        }
        Ok(past)
    }

    fn read<T: for<'de> Deserialize<'de>>(
        &self,
        name: &str,
        bytes_max: usize,
    ) -> io::Result<Option<T>> {
        let file = match File::open(self.folder.join(name)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            opened => opened?,
        };
        let mut bytes = Vec::new();
        file.take(bytes_max as u64 + 1).read_to_end(&mut bytes)?;
        if bytes.len() > bytes_max {
            return Err(io::Error::other(format!("more than {bytes_max} bytes")));
        }
        serde_json::from_slice(&bytes).map(Some).map_err(io::Error::other)
    }

    fn replace(
        &self,
        name: &str,
        write: impl FnOnce(&mut BufWriter<File>) -> io::Result<()>,
    ) -> io::Result<()> {
        let (path, beside) = (self.folder.join(name), self.folder.join(format!("{name}.new")));
        // A file left by a crash may have another mode: it is removed, not reused.
        match fs::remove_file(&beside) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&beside)?;
        let mut file = BufWriter::new(file);
        write(&mut file)?;
        file.into_inner().map_err(|error| error.into_error())?.sync_all()?;
        fs::rename(&beside, &path)?;
        File::open(&self.folder)?.sync_all()
    }
}

/// What was known, in the order of units.
pub(super) fn demand_of(units: &Arc<Units>, past: &Past) -> Vec<f64> {
    let of = |key: &UnitKey| past.demand.get(key).copied().unwrap_or(0.0);
    units.all().iter().map(|unit| of(&unit.key)).collect()
}

fn line(file: &mut impl Write, value: &impl Serialize) -> io::Result<()> {
    serde_json::to_writer(&mut *file, value).map_err(io::Error::other)?;
    file.write_all(b"\n")
}

fn next<T: for<'de> Deserialize<'de>>(file: &mut impl BufRead) -> io::Result<Option<T>> {
    let mut line = Vec::new();
    file.take(LINE_BYTES_MAX).read_until(b'\n', &mut line)?;
    match line.last() {
        None => Ok(None),
        Some(b'\n') => serde_json::from_slice(&line).map(Some).map_err(io::Error::other),
        Some(_) => Err(io::Error::other("a line that is cut off, or longer than may be")),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::{
        map::{Inputs, Round},
        place::Place,
        unit::UnitsBuilder,
    };

    fn fleet(ids: &[&str]) -> Arc<Fleet> {
        let pop = |(number, id): (usize, &&str)| {
            format!(
                "{{ id = '{id}', latitude = 0.0, longitude = {}.0, capacity = 1.0 }}",
                number * 30
            )
        };
        let pops: Vec<_> = ids.iter().enumerate().map(pop).collect();
        Arc::new(Fleet::from_toml(&format!("pop = [{}]", pops.join(","))).expect("good"))
    }

    fn world() -> (Arc<Units>, Vec<f64>, Latency, Map) {
        let mut units = UnitsBuilder::default();
        for number in 0..4u8 {
            let place = Place::new(0.0, f64::from(number) * 20.0).expect("a place");
            units.add([10, number, 0, 0].into(), 16, *b"XX", 1, place).expect("few");
        }
        let units = Arc::new(units.build());
        let mut latency = Latency::default();
        let digest = Digest::of((0..100).map(f64::from).collect());
        latency.observe(&units.all()[1].key, 1, &digest).expect("room");
        let demand = vec![0.6, 0.6, 0.6, 0.0];
        let fleet = fleet(&["a", "b", "c"]);
        let home = fleet.pops()[0].place;
        let inputs = Inputs {
            units: &units,
            demand: &demand,
            fleet: &fleet,
            latency: &latency,
            home,
            previous: None,
        };
        let map = Round::make(inputs).map;
        (units, demand, latency, map)
    }

    #[test]
    fn what_is_kept_comes_back_for_a_fleet_with_other_numbers() {
        let folder = tempfile::tempdir().expect("a folder");
        let kept = Kept::open(&folder.path().join("data")).expect("writable");
        let (units, demand, latency, map) = world();
        assert_eq!(kept.past(map.fleet()).expect("none").shares.len(), 0);
        kept.keep_past(&map, 77, (&units, &demand), &latency).expect("writable");
        let past = kept.past(&fleet(&["b", "c", "d"])).expect("good");
        assert_eq!((past.round, past.latency.pairs()), (77, 1));
        assert_eq!(demand_of(&units, &past), demand);
        let key = units.all()[1].key;
        let median = past.latency.of(&key).of_unit(0).expect("b is the first now");
        assert!((35.0..65.0).contains(&median), "{median}");
        let shares = |pops: &[u16]| -> f64 {
            let of_pop = |(pop, share): &(u16, f64)| if pops.contains(pop) { *share } else { 0.0 };
            past.shares.values().flatten().map(of_pop).sum()
        };
        let before = |pop: u16| -> f64 {
            let kept = map.plans().iter().zip(&demand).filter(|(_, demand)| **demand > 0.0);
            let all = kept.flat_map(|(plan, _)| plan.each_share());
            all.filter(|(named, _)| *named == pop).map(|(_, share)| share).sum()
        };
        assert!((shares(&[0]) - before(1)).abs() < 1e-6 && before(1) > 0.1);
        assert!((shares(&[1]) - before(2)).abs() < 1e-6 && shares(&[2]) == 0.0);
        let mode = |name: &str| {
            fs::metadata(folder.path().join("data").join(name)).expect("there").permissions().mode()
        };
        assert_eq!((mode("units.ndjson") & 0o777, mode("") & 0o777), (0o600, 0o700));
    }

    #[test]
    fn what_is_damaged_is_an_error_and_never_a_panic() {
        let folder = tempfile::tempdir().expect("a folder");
        let kept = Kept::open(folder.path()).expect("writable");
        let (units, demand, latency, map) = world();
        kept.keep_past(&map, 77, (&units, &demand), &latency).expect("writable");
        let path = folder.path().join("units.ndjson");
        let good = fs::read(&path).expect("there");
        for end in 1..good.len() - 1 {
            fs::write(&path, &good[..end]).expect("writable");
            let is_whole = good[end - 1] == b'\n';
            assert_eq!(kept.past(map.fleet()).is_ok(), is_whole, "cut at {end}");
        }
        let text = String::from_utf8(good).expect("text");
        for (change, with) in
            [("0.6", "-0.6"), ("0.6", "1e300"), ("[10", "[-10"), ("\"demand\"", "\"x\"")]
        {
            if text.contains(change) {
                fs::write(&path, text.replace(change, with)).expect("writable");
                assert!(kept.past(map.fleet()).is_err(), "{change} {with}");
            }
        }
        fs::write(folder.path().join("fleet.json"), "{").expect("writable");
        assert!(kept.view().is_err());
    }

    #[test]
    fn a_hold_and_a_view_come_back() {
        let folder = tempfile::tempdir().expect("a folder");
        let kept = Kept::open(folder.path()).expect("writable");
        assert!(kept.hold().expect("none").is_none() && kept.view().expect("none").is_none());
        kept.keep_hold(Some("a storm")).expect("writable");
        assert_eq!(kept.hold().expect("good").as_deref(), Some("a storm"));
        kept.keep_hold(None).expect("writable");
        assert_eq!(kept.hold().expect("good"), None);
        let view = FleetView { version: 9, ..FleetView::default() };
        kept.keep_view(&view).expect("writable");
        assert_eq!(kept.view().expect("good"), Some(view));
    }
}

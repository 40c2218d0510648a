//! How good maps are on measured round trips between cities: `accuracy CITIES.csv MATRIX.csv`.
//!
//! CITIES has the columns name, latitude and longitude; MATRIX has a row and a column for each city, in ms. Public ping
//! data has both. Every city is a unit; PoPs are drawn from the cities. Printed: the share of clients that get a PoP
//! more than 25 ms worse than their best one, by place alone and with measured round trips; and what a crowd six times
//! the usual in one region does to the fullest PoP.

#![allow(clippy::print_stdout)]

use std::{collections::HashMap, env, error::Error, fs, net::IpAddr, sync::Arc};

use tidegate_contract::id::PopId;
use tidegate_geo::{
    fleet::{Fleet, Pop, PopState},
    latency::{Digest, Latency},
    map::{Inputs, Map, Round},
    place::Place,
    unit::{Units, UnitsBuilder},
};

struct World {
    units: Arc<Units>,
    fleet: Arc<Fleet>,
    /// Round trip from a unit to a PoP, in ms.
    rtt: Vec<Vec<f64>>,
    latency: Latency,
    places: Vec<Place>,
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut paths = env::args().skip(1);
    let (Some(cities), Some(matrix)) = (paths.next(), paths.next()) else {
        return Err("accuracy CITIES.csv MATRIX.csv".into());
    };
    let cities = read_cities(&fs::read_to_string(cities)?)?;
    let matrix = read_matrix(&fs::read_to_string(matrix)?)?;
    println!(
        "| PoPs | by place alone | with measured round trips | in a crowd: fullest PoP | moved |"
    );
    println!("|---|---|---|---|---|");
    for pops in [20, 50, 150] {
        let (mut by_place, mut by_rtt, mut fullest, mut moved) = (0.0, 0.0, 0.0f64, 0.0);
        for draw in 0..DRAWS {
            let world = World::new(&cities, &matrix, pops, draw)?;
            let demand = vec![1.0; world.units.all().len()];
            by_place += world.far_off(&world.round(&Latency::default(), &demand, None).map);
            let calm = world.round(&world.latency, &demand, None).map;
            by_rtt += world.far_off(&calm);
            let (worst, share) = world.crowd()?;
            fullest = fullest.max(worst);
            moved += share;
        }
        let percent = |sum: f64| sum / f64::from(DRAWS) * 100.0;
        println!(
            "| {pops} | {:.1} % | {:.1} % | {fullest:.3} | {:.0} % |",
            percent(by_place),
            percent(by_rtt),
            percent(moved)
        );
    }
    Ok(())
}

impl World {
    fn new(
        cities: &HashMap<String, Place>,
        matrix: &[(String, Vec<(String, f64)>)],
        pops: usize,
        draw: u32,
    ) -> Result<Self, Box<dyn Error>> {
        let rows: Vec<_> = matrix.iter().filter(|(name, _)| cities.contains_key(name)).collect();
        let order = shuffled(rows.len(), draw);
        let sites: Vec<_> = order[..pops.min(rows.len())].iter().map(|at| &rows[*at].0).collect();
        let mut builder = UnitsBuilder::default();
        for (number, (name, _)) in rows.iter().enumerate() {
            let first = IpAddr::V4(((number as u32) << 8).into());
            builder.add(first, 24, *b"XX", number as u32 + 1, cities[name])?;
        }
        let units = Arc::new(builder.build());
        let pop = |(number, name): (usize, &&String)| Pop {
            id: PopId::parse(format!("pop-{number:03}")).expect("good"),
            place: cities[*name],
            capacity: rows.len() as f64,
            weight: 1.0,
            state: PopState::Up,
            addresses: Vec::new(),
        };
        let fleet = Arc::new(Fleet::new(sites.iter().enumerate().map(pop).collect())?);
        let rtt: Vec<Vec<f64>> = rows
            .iter()
            .map(|(_, row)| {
                let find = |site: &&String| {
                    row.iter().find(|(to, _)| to == *site).map_or(f64::NAN, |(_, ms)| *ms)
                };
                sites.iter().map(find).collect()
            })
            .collect();
        let mut latency = Latency::default();
        for (unit, row) in units.all().iter().zip(&rtt) {
            // What comes in by itself: the candidates' handshakes.
            for pop in tidegate_geo::map::candidate::nearest(&unit.place, fleet.pops()) {
                let ms = row[usize::from(pop)];
                if ms.is_finite() {
                    latency.observe(&unit.key, pop, &Digest::of(vec![ms; 30]))?;
                }
            }
        }
        let places = units.all().iter().map(|unit| unit.place).collect();
        Ok(Self { units, fleet, rtt, latency, places })
    }

    fn round(&self, latency: &Latency, demand: &[f64], previous: Option<&Map>) -> Round {
        let Self { units, fleet, .. } = self;
        Round::make(Inputs { units, demand, fleet, latency, home: self.places[0], previous })
    }

    fn far_off(&self, map: &Map) -> f64 {
        let is_far = |(unit, row): &(usize, &Vec<f64>)| {
            let best = row.iter().copied().fold(f64::INFINITY, f64::min);
            let got = map.plan(Some(*unit as u32)).shares[0].0;
            row[usize::from(got)] > best + 25.0
        };
        self.rtt.iter().enumerate().filter(is_far).count() as f64 / self.rtt.len() as f64
    }

    /// Six times the demand within 3,000 km of the middle of Europe, in a fleet that could carry 1.3 times all of it:
    /// the fullest PoP, and the share of demand that was moved.
    fn crowd(&self) -> Result<(f64, f64), Box<dyn Error>> {
        let europe = Place::new(48.0, 8.0)?;
        let is_there = |place: &&Place| place.distance_km(&europe) < 3000.0;
        let calm = vec![1.0; self.places.len()];
        let crowd: Vec<f64> =
            self.places.iter().map(|place| if is_there(&place) { 6.0 } else { 1.0 }).collect();
        let sum: f64 = crowd.iter().sum();
        let mut pops = self.fleet.pops().to_vec();
        let count = pops.len() as f64;
        for pop in &mut pops {
            pop.capacity = sum * 1.3 / count;
        }
        let world = Self {
            fleet: Arc::new(Fleet::new(pops)?),
            units: Arc::clone(&self.units),
            rtt: Vec::new(),
            latency: self.latency.clone(),
            places: self.places.clone(),
        };
        let before = world.round(&world.latency, &calm, None).map;
        let Round { map, moved } = world.round(&world.latency, &crowd, Some(&before));
        let worst = map.utilisation().iter().copied().fold(0.0, f64::max);
        Ok((worst, (moved.forced + moved.chosen) / sum))
    }
}

/// The numbers below `count` in an order that follows from the seed.
fn shuffled(count: usize, seed: u32) -> Vec<usize> {
    let mut order: Vec<usize> = (0..count).collect();
    let mut state = u64::from(seed) + 0x9E37_79B9_7F4A_7C15;
    for last in (1..count).rev() {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        order.swap(last, (state >> 33) as usize % (last + 1));
    }
    order
}

fn read_cities(text: &str) -> Result<HashMap<String, Place>, Box<dyn Error>> {
    let mut lines = text.lines().map(fields);
    let head = lines.next().ok_or("CITIES is empty")?;
    let column =
        |name: &str| head.iter().position(|field| field == name).ok_or(format!("no column {name}"));
    let (name, latitude, longitude) = (column("name")?, column("latitude")?, column("longitude")?);
    let mut cities = HashMap::new();
    for fields in lines.filter(|fields| fields.len() == head.len()) {
        let place = Place::new(fields[latitude].parse()?, fields[longitude].parse()?)?;
        cities.insert(fields[name].clone(), place);
    }
    Ok(cities)
}

type Row = (String, Vec<(String, f64)>);

fn read_matrix(text: &str) -> Result<Vec<Row>, Box<dyn Error>> {
    let mut lines = text.lines().map(fields);
    let head = lines.next().ok_or("MATRIX is empty")?;
    let row = |fields: Vec<String>| {
        let cells = head.iter().zip(&fields).skip(1);
        let row = cells.filter_map(|(to, ms)| Some((to.clone(), ms.parse().ok()?))).collect();
        (fields[0].clone(), row)
    };
    Ok(lines.map(row).collect())
}

/// The fields of a line; quotes are taken off, and a comma within them stays.
fn fields(line: &str) -> Vec<String> {
    let mut fields = vec![String::new()];
    let mut is_quoted = false;
    for letter in line.trim_end().chars() {
        match letter {
            '"' => is_quoted = !is_quoted,
            ',' if !is_quoted => fields.push(String::new()),
            _ => fields.last_mut().expect("one at least").push(letter),
        }
    }
    fields
}

const DRAWS: u32 = 20;

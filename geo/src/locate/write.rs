//! A file of places from lines of text: for networks of one's own, for labs and for tests.
//!
//! A line is `PREFIX,COUNTRY,LATITUDE,LONGITUDE[,CITY]`; of overlapping prefixes the longer one has what they share. The
//! format is MaxMind DB 2.0: a tree of bits whose leaves point into a section of records, and a map that describes both.

use std::{
    collections::{BTreeMap, HashMap},
    net::IpAddr,
};

use tidegate_contract::network::Network;

use crate::place::Place;

/// The most lines.
pub const LINES_MAX: usize = 1_000_000;
/// The longest name of a city, in bytes.
const CITY_BYTES_MAX: usize = 128;

/// What is wrong with a line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {what}")]
pub struct LineError {
    /// Its number, from 1.
    pub line: usize,
    /// What is wrong.
    pub what: String,
}

/// Makes a file from text. Empty lines, and lines that begin with `#`, count for nothing. `made_unix_s` is what the
/// file says of its age.
///
/// # Errors
/// [`LineError`] for the first line that is wrong.
pub fn from_lines(text: &str, made_unix_s: u64) -> Result<Vec<u8>, LineError> {
    let mut lines = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let is_said = !line.trim().is_empty() && !line.starts_with('#');
        if is_said {
            let failed = |what| LineError { line: number + 1, what };
            if lines.len() == LINES_MAX {
                return Err(failed(format!("a file has at most {LINES_MAX} lines")));
            }
            lines.push(Line::parse(line).map_err(failed)?);
        }
    }
    // Wider prefixes first: longer ones are written over them.
    lines.sort_by_key(|line| line.network.parts().1);
    // Of one family alone a file is as those are that come in two.
    let is_v4 = !lines.is_empty() && lines.iter().all(|line| line.network.parts().0.is_ipv4());
    let mut tree = Tree::new(is_v4);
    let mut data = Data::default();
    for line in &lines {
        tree.insert(&line.network, data.record(line));
    }
    Ok(tree.file(&data, made_unix_s))
}

struct Line {
    network: Network,
    country: String,
    place: (f64, f64),
    city: Option<String>,
}

impl Line {
    fn parse(line: &str) -> Result<Self, String> {
        let fields: Vec<_> = line.splitn(5, ',').map(str::trim).collect();
        let [network, country, latitude, longitude, city @ ..] = fields.as_slice() else {
            return Err("PREFIX,COUNTRY,LATITUDE,LONGITUDE[,CITY] are wanted".to_owned());
        };
        let network = network.parse::<Network>().map_err(|error| error.to_string())?;
        if country.len() != 2 || !country.bytes().all(|letter| letter.is_ascii_uppercase()) {
            return Err(format!("{country:?} is not a country's two letters"));
        }
        let degrees =
            |text: &str| text.parse::<f64>().map_err(|_| format!("{text:?} is no number"));
        let place = (degrees(latitude)?, degrees(longitude)?);
        Place::new(place.0, place.1).map_err(|error| error.to_string())?;
        let city = city.first().filter(|city| !city.is_empty()).map(|city| (*city).to_owned());
        if city.as_ref().is_some_and(|city| city.len() > CITY_BYTES_MAX) {
            return Err(format!("a city's name has at most {CITY_BYTES_MAX} bytes"));
        }
        Ok(Self { network, country: (*country).to_owned(), place, city })
    }
}

/// The tree: two ways out of each node.
struct Tree {
    nodes: Vec<[Way; 2]>,
    /// Of IPv4 alone.
    is_v4: bool,
}

#[derive(Debug, Clone, Copy)]
enum Way {
    Nowhere,
    Node(usize),
    Record(usize),
}

impl Tree {
    fn new(is_v4: bool) -> Self {
        Self { nodes: vec![[Way::Nowhere; 2]], is_v4 }
    }

    fn insert(&mut self, network: &Network, record: usize) {
        let (first, prefix) = network.parts();
        let (bits, length) = match first {
            IpAddr::V4(first) if self.is_v4 => {
                (u128::from(u32::from(first)) << 96, u32::from(prefix))
            }
            // IPv4 lies in the last 32 bits of IPv6.
            IpAddr::V4(first) => (u128::from(u32::from(first)), u32::from(prefix) + 96),
            IpAddr::V6(first) => (u128::from(first), u32::from(prefix)),
        };
        let bit = |depth: u32| usize::from(bits >> (127 - depth) & 1 == 1);
        let mut node = 0;
        for depth in 0..length.max(1) - 1 {
            node = match self.nodes[node][bit(depth)] {
                Way::Node(next) => next,
                // A wider prefix goes on below.
                leaf => {
                    self.nodes.push([leaf; 2]);
                    let next = self.nodes.len() - 1;
                    self.nodes[node][bit(depth)] = Way::Node(next);
                    next
                }
            };
        }
        if length == 0 {
            self.nodes[0] = [Way::Record(record); 2];
        } else {
            self.nodes[node][bit(length - 1)] = Way::Record(record);
        }
    }

    fn file(&self, data: &Data, made_unix_s: u64) -> Vec<u8> {
        let mut file = Vec::with_capacity(self.nodes.len() * 8 + data.bytes.len() + 512);
        let count = self.nodes.len();
        for way in self.nodes.iter().flatten() {
            let value = match way {
                Way::Nowhere => count,
                Way::Node(node) => *node,
                Way::Record(offset) => count + SEPARATOR.len() + offset,
            };
            let value =
                u32::try_from(value).expect("a million lines make at most 128 million nodes");
            file.extend_from_slice(&value.to_be_bytes());
        }
        file.extend_from_slice(&SEPARATOR);
        file.extend_from_slice(&data.bytes);
        file.extend_from_slice(MARKER);
        file.extend_from_slice(&metadata(count, self.is_v4, made_unix_s));
        file
    }
}

/// The section of records; equal ones are there once.
#[derive(Default)]
struct Data {
    bytes: Vec<u8>,
    known: HashMap<Vec<u8>, usize>,
}

impl Data {
    fn record(&mut self, line: &Line) -> usize {
        let mut record = Vec::new();
        map(&mut record, 2 + usize::from(line.city.is_some()));
        if let Some(city) = &line.city {
            text(&mut record, "city");
            map(&mut record, 1);
            text(&mut record, "names");
            map(&mut record, 1);
            text(&mut record, "en");
            text(&mut record, city);
        }
        text(&mut record, "country");
        map(&mut record, 1);
        text(&mut record, "iso_code");
        text(&mut record, &line.country);
        text(&mut record, "location");
        map(&mut record, 2);
        for (name, degrees) in [("latitude", line.place.0), ("longitude", line.place.1)] {
            text(&mut record, name);
            control(&mut record, DOUBLE, 8);
            record.extend_from_slice(&degrees.to_be_bytes());
        }
        let next = self.bytes.len();
        let offset = *self.known.entry(record.clone()).or_insert(next);
        if offset == next {
            self.bytes.extend_from_slice(&record);
        }
        offset
    }
}

fn metadata(nodes: usize, is_v4: bool, made_unix_s: u64) -> Vec<u8> {
    let numbers = BTreeMap::from([
        ("binary_format_major_version", (UINT16, 2)),
        ("binary_format_minor_version", (UINT16, 0)),
        ("build_epoch", (UINT64, made_unix_s)),
        ("ip_version", (UINT16, if is_v4 { 4 } else { 6 })),
        ("node_count", (UINT32, nodes as u64)),
        ("record_size", (UINT16, 32)),
    ]);
    let mut out = Vec::new();
    map(&mut out, numbers.len() + 3);
    for (name, (kind, value)) in numbers {
        text(&mut out, name);
        number(&mut out, kind, value);
    }
    text(&mut out, "database_type");
    text(&mut out, "Tidegate-City");
    text(&mut out, "description");
    map(&mut out, 1);
    text(&mut out, "en");
    text(&mut out, "Places of an operator's own networks");
    text(&mut out, "languages");
    control(&mut out, ARRAY, 1);
    text(&mut out, "en");
    out
}

fn map(out: &mut Vec<u8>, entries: usize) {
    control(out, MAP, entries);
}

fn text(out: &mut Vec<u8>, text: &str) {
    control(out, TEXT, text.len());
    out.extend_from_slice(text.as_bytes());
}

fn number(out: &mut Vec<u8>, kind: u8, value: u64) {
    let bytes = value.to_be_bytes();
    let used = &bytes[value.leading_zeros() as usize / 8..];
    control(out, kind, used.len());
    out.extend_from_slice(used);
}

/// Kind and size of a value: kinds above 7 in a byte of their own, sizes from 29 on in a second byte.
fn control(out: &mut Vec<u8>, kind: u8, size: usize) {
    let (short, extra) = if size < 29 { (size as u8, None) } else { (29, Some((size - 29) as u8)) };
    if kind <= 7 {
        out.push(kind << 5 | short);
    } else {
        out.push(short);
        out.push(kind - 7);
    }
    out.extend(extra);
}

const TEXT: u8 = 2;
const DOUBLE: u8 = 3;
const UINT16: u8 = 5;
const UINT32: u8 = 6;
const MAP: u8 = 7;
const UINT64: u8 = 9;
const ARRAY: u8 = 11;
/// Between the tree and the records.
const SEPARATOR: [u8; 16] = [0; 16];
/// Before the description.
const MARKER: &[u8] = b"\xab\xcd\xefMaxMind.com";

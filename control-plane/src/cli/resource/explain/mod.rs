//! `tidegate explain`: what a kind of resource is, and each of its fields: what it takes, what it is without, and why it
//! is there.
//!
//! Fields and their words come from the types that validation reads ([`super::shape`]), defaults from a spec that those
//! types filled in. An example stands only where a test reads it as the type that nodes take.

use std::{collections::BTreeMap, fmt::Write};

use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};
use tidegate_contract::{
    anycast::{AnycastGroup, Prefix},
    property::{CachePolicy, Upstream},
    resource::Kind,
    resource_spec::{
        CertificateSpec, DnsZoneSpec, NodeSpec, PopSpec, PropertySpec, SecretSpec,
        SteeringPolicySpec,
    },
};

use super::shape::{Field, Shape, core, shapes};
use crate::{
    cli::{
        failure::{Exit, Failure},
        near::nearest,
    },
    resource::LABELS_MAX,
};

/// Explains a kind, or a field of one: `property`, `property.cache.default_ttl`.
pub(super) fn explain(what: &str) -> Result<String, Failure> {
    let mut steps = what.split('.');
    let first = steps.next().unwrap_or_default();
    let kind: Kind =
        first.parse().map_err(|_| unknown("kind", first, Kind::ALL.map(Kind::as_str)))?;
    if steps.clone().eq([LABELS]) {
        return Ok(of_labels(kind));
    }
    let shapes = shapes();
    let mut place = Place { shapes: &shapes, name: table_of(kind), path: Vec::new() };
    let mut last = None;
    for step in steps {
        let (field, next) = place.step(kind, step)?;
        (last, place) = (Some(field), next);
    }
    Ok(match last {
        None => of_kind(kind, &place),
        Some(field) => of_field(kind, &field, &place),
    })
}

/// Where in a spec one is.
struct Place<'a> {
    shapes: &'a BTreeMap<String, Shape>,
    /// The type there.
    name: &'a str,
    path: Vec<String>,
}

impl<'a> Place<'a> {
    fn fields(&self) -> &'a [Field] {
        let shapes = self.shapes;
        match shapes.get(self.name) {
            Some(Shape::Table(fields)) => fields,
            Some(Shape::NameOr(table)) => Place { shapes, name: table, path: Vec::new() }.fields(),
            _ => &[],
        }
    }

    fn step(&self, kind: Kind, step: &str) -> Result<(Field, Self), Failure> {
        let fields = self.fields();
        let Some(field) = fields.iter().find(|field| field.name == step) else {
            let here = [&[kind.as_str().to_owned()], &self.path[..]].concat().join(".");
            if fields.is_empty() {
                let text = format!("{here} has no fields");
                return Err(Failure::new(Exit::NotFound, text)
                    .with_hint(format!("tidegate explain {here}")));
            }
            let known = fields.iter().map(|field| field.name.as_str());
            return Err(unknown(&format!("field of {here}"), step, known));
        };
        let path = [&self.path[..], &[step.to_owned()]].concat();
        Ok((self.meant(field), Place { shapes: self.shapes, name: core(&field.kind).0, path }))
    }

    /// The field, in the words of another type where its own are only "As in …".
    fn meant(&self, field: &Field) -> Field {
        let other = field.doc.strip_prefix("As in ").map(|rest| rest.trim_end_matches('.'));
        let Some(Shape::Table(fields)) = other.and_then(|name| self.shapes.get(name)) else {
            return field.clone();
        };
        let doc =
            fields.iter().find(|other| other.name == field.name).map(|other| other.doc.clone());
        Field { doc: doc.unwrap_or_default(), ..field.clone() }
    }
}

fn of_kind(kind: Kind, place: &Place<'_>) -> String {
    let (what, example) = words(kind);
    let who = if kind.is_for_caches() { "caches" } else { "the control plane" };
    let mut text =
        format!("{kind}\n\n{what}\nRead by {who}; at most {} of them.\n\n", kind.count_max());
    text.push_str(&list(kind, place));
    writeln!(text, "\nBeside the spec it may have labels: tidegate explain {kind}.{LABELS}")
        .expect("a String takes everything");
    match example {
        Some(example) => write!(text, "\nExample:\n\n{example}"),
        None => writeln!(text, "\nTo see one as it is written: tidegate get {kind} NAME -o yaml"),
    }
    .expect("a String takes everything");
    text
}

/// Labels stand beside the spec, and are the same for every kind.
fn of_labels(kind: Kind) -> String {
    let what = wrapped(
        "Names with values for people and their scripts: no node is told of them. They stand beside the spec. A document \
         without them keeps those that are there; labels: {} takes all away. What -l of get, export and delete chooses by.",
    );
    format!(
        "{kind}.{LABELS}\n\n{what}\n\nTYPE      table of text, at most {LABELS_MAX}\nDEFAULT   (none)\n\n\
         Example:\n\nkind: {kind}\nname: demo\nlabels: {{tier: gold, example.com/region: eu}}\n"
    )
}

fn of_field(kind: Kind, field: &Field, place: &Place<'_>) -> String {
    let mut text = format!("{kind}.{}\n\n{}\n\n", place.path.join("."), wrapped(&field.doc));
    let mut line = |name: &str, value: &str| {
        writeln!(text, "{name:<8}  {value}").expect("a String takes everything");
    };
    line("TYPE", &type_of(&field.kind, &field.name, place.shapes));
    line("DEFAULT", &default_of(kind, field, &place.path));
    if let Some(Shape::Words(words)) = place.shapes.get(place.name) {
        text.push('\n');
        for word in words {
            let name = match &word.holds {
                None => word.name.clone(),
                Some(holds) => format!("{} = {}", word.name, type_of(holds, "", place.shapes)),
            };
            writeln!(text, "  {name:<16}  {}", word.doc).expect("a String takes everything");
        }
    }
    let below = list(kind, place);
    if !below.is_empty() {
        text.push('\n');
        text.push_str(&below);
    }
    text
}

/// The fields at a place, one a line.
fn list(kind: Kind, place: &Place<'_>) -> String {
    let row = |field: &Field| {
        let field = place.meant(field);
        let path = [&place.path[..], std::slice::from_ref(&field.name)].concat();
        let default = default_of(kind, &field, &path);
        let default =
            if default.chars().count() > DEFAULT_CHARS { "…".to_owned() } else { default };
        let doc = short(field.doc.split(". ").next().unwrap_or_default().trim_end_matches('.'));
        let kind = type_of(&field.kind, &field.name, place.shapes);
        [field.name, kind, default, doc]
    };
    let rows: Vec<_> = place.fields().iter().map(row).collect();
    if rows.is_empty() {
        return String::new();
    }
    let header = ["FIELD", "TYPE", "DEFAULT", "WHAT"].map(str::to_owned);
    let all: Vec<_> = [header].into_iter().chain(rows).collect();
    let width =
        |column: usize| all.iter().map(|row| row[column].chars().count()).max().unwrap_or_default();
    let widths = [width(0), width(1), width(2)];
    let mut text = String::new();
    for [name, kind, default, doc] in &all {
        let [a, b, c] = widths;
        writeln!(text, "{name:<a$}  {kind:<b$}  {default:<c$}  {doc}")
            .expect("a String takes everything");
    }
    text
}

/// The beginning of a text that is longer than a line has room for, up to a whole word.
fn short(text: &str) -> String {
    if text.chars().count() <= SHORT_CHARS {
        return text.to_owned();
    }
    let room: String = text.chars().take(SHORT_CHARS).collect();
    let whole = room.rfind(' ').map_or(room.as_str(), |end| &room[..end]);
    format!("{} …", whole.trim_end_matches([',', ';', ':']))
}

/// A text in lines that fit a terminal.
fn wrapped(text: &str) -> String {
    let mut lines = String::new();
    let mut width = 0;
    for word in text.split_whitespace() {
        let length = word.chars().count();
        let is_first = width == 0;
        let fits = width + 1 + length <= LINE_CHARS;
        lines.push_str(if is_first {
            ""
        } else if fits {
            " "
        } else {
            "\n"
        });
        lines.push_str(word);
        width = if is_first || !fits { length } else { width + 1 + length };
    }
    lines
}

/// What is written there, in the words of people who write it, with its unit.
fn type_of(kind: &str, field: &str, shapes: &BTreeMap<String, Shape>) -> String {
    let (name, is_list) = core(kind);
    let unit = UNITS.iter().find(|(ending, _)| field.ends_with(ending)).map(|(_, unit)| *unit);
    let one = match (name, shapes.get(name)) {
        (_, Some(Shape::Table(_))) => "table".to_owned(),
        (_, Some(Shape::NameOr(_))) => "name or table".to_owned(),
        (_, Some(Shape::Words(words))) => {
            words.iter().map(|word| word.name.as_str()).collect::<Vec<_>>().join("|")
        }
        ("bool", _) => "true|false".to_owned(),
        ("Duration", _) => "duration, like 10s".to_owned(),
        ("SystemTime", _) => "time, like 2026-05-04T10:00:00Z".to_owned(),
        ("ByteSize", _) => "bytes, like 8MiB".to_owned(),
        ("u8" | "u16" | "u32" | "u64" | "usize" | "f64", _) => {
            let number = if name == "f64" { "number" } else { "whole number" };
            unit.map_or_else(|| number.to_owned(), |unit| format!("{number}, {unit}"))
        }
        ("IpAddr", _) => "IP address".to_owned(),
        ("Network", _) => "network, like 192.0.2.0/24".to_owned(),
        ("CountryCode", _) => "country, like DE".to_owned(),
        ("Place", _) => "network=country, like 192.0.2.0/24=DE".to_owned(),
        ("ResourceName" | "PopId" | "PrefixId" | "AnycastGroupId", _) => "name".to_owned(),
        _ => "text".to_owned(),
    };
    if is_list { format!("list of {one}") } else { one }
}

/// What a field is when a spec does not say.
fn default_of(kind: Kind, field: &Field, path: &[String]) -> String {
    if field.is_needed {
        return "(needed)".to_owned();
    }
    match at(&filled(kind), path) {
        None | Some(Value::Null) => "(absent)".to_owned(),
        Some(Value::Object(_)) => "(its fields')".to_owned(),
        Some(Value::Array(items)) if items.is_empty() => "(none)".to_owned(),
        Some(Value::String(text)) => text.clone(),
        Some(value) => value.to_string(),
    }
}

/// A spec with no more than must be said, as the types fill it in.
fn filled(kind: Kind) -> Value {
    fn fill<T: Serialize + DeserializeOwned>(least: Value) -> Value {
        serde_json::from_value::<T>(least)
            .ok()
            .and_then(|spec| serde_json::to_value(spec).ok())
            .unwrap_or_default()
    }
    let least = least(kind);
    match kind {
        Kind::Property => fill::<PropertySpec>(least),
        Kind::Origin => fill::<Upstream>(least),
        Kind::CachePolicy => fill::<CachePolicy>(least),
        Kind::Certificate => fill::<CertificateSpec>(least),
        Kind::SteeringPolicy => fill::<SteeringPolicySpec>(least),
        Kind::DnsZone => fill::<DnsZoneSpec>(least),
        Kind::Prefix => fill::<Prefix>(least),
        Kind::AnycastGroup => fill::<AnycastGroup>(least),
        Kind::Pop => fill::<PopSpec>(least),
        Kind::Node => fill::<NodeSpec>(least),
        Kind::Secret => fill::<SecretSpec>(least),
    }
}

/// What must be said, and of each table that may be absent what it must say: else its defaults could not be seen.
fn least(kind: Kind) -> Value {
    let authority = "origin.example:443";
    match kind {
        Kind::Property => json!({
            "hosts": ["video.example"],
            "origins": [{"authority": authority}],
            "guard": {
                "cors": {}, "geo": {}, "tokens": {"session": {}, "renewal": {}},
                "rates": {
                    "client": {"requests_per_second": 1, "burst": 1},
                    "token": {"requests_per_second": 1, "burst": 1},
                },
            },
            "upstream": {"health": {"path": "/"}},
        }),
        Kind::Origin => json!({"authority": authority, "tls": {"server_name": "origin.example"}}),
        Kind::CachePolicy => json!({}),
        Kind::Certificate => json!({"names": [], "chain_pem": "", "key": "k"}),
        Kind::SteeringPolicy => json!({"ttl": "30s", "pathways": [{"id": "a", "pops": []}]}),
        Kind::DnsZone => json!({"zone": ""}),
        Kind::Prefix => json!({"block": "192.0.2.0/24"}),
        Kind::AnycastGroup => json!({"prefixes": ["p"]}),
        Kind::Pop => json!({"role": "edge", "site": {"capacity_mbps": 1}}),
        Kind::Node => json!({"pop": "fra"}),
        Kind::Secret => json!({"salt": "", "value": ""}),
    }
}

/// The value at a path; of a list its first. What [`least`] had to say itself for a table that may be absent is none.
fn at<'a>(spec: &'a Value, path: &[String]) -> Option<&'a Value> {
    const SAID: [&str; 12] = [
        "guard.cors",
        "guard.geo",
        "guard.tokens",
        "guard.tokens.session",
        "guard.tokens.renewal",
        "guard.rates.client",
        "guard.rates.token",
        "upstream.health",
        "tls",
        "site",
        "site.capacity_mbps",
        "origins",
    ];
    if SAID.contains(&path.join(".").as_str()) {
        return None;
    }
    path.iter().try_fold(spec, |value, step| match value {
        Value::Array(items) => items.first()?.get(step),
        value => value.get(step),
    })
}

/// The type that a kind's spec is read as.
fn table_of(kind: Kind) -> &'static str {
    match kind {
        Kind::Property => "PropertySpec",
        Kind::Origin => "Upstream",
        Kind::CachePolicy => "CachePolicy",
        Kind::Certificate => "CertificateSpec",
        Kind::SteeringPolicy => "SteeringPolicySpec",
        Kind::DnsZone => "DnsZoneSpec",
        Kind::Prefix => "Prefix",
        Kind::AnycastGroup => "AnycastGroup",
        Kind::Pop => "PopSpec",
        Kind::Node => "NodeSpec",
        Kind::Secret => "SecretSpec",
    }
}

fn unknown<'a>(what: &str, given: &str, known: impl IntoIterator<Item = &'a str>) -> Failure {
    let known: Vec<_> = known.into_iter().collect();
    let failure = Failure::new(Exit::NotFound, format!("there is no {what} {given:?}"));
    failure.with_hint(match nearest(given, known.iter().copied()) {
        Some(near) => format!("did you mean {near:?}?"),
        None => format!("there are {}", known.join(", ")),
    })
}

fn words(kind: Kind) -> (&'static str, Option<&'static str>) {
    match kind {
        Kind::Property => (
            "What one customer serves: hosts, origins, what is kept and for how long, who may have it.",
            Some(PROPERTY),
        ),
        Kind::Origin => {
            ("A next hop towards an origin, by a name that properties share.", Some(ORIGIN))
        }
        Kind::CachePolicy => {
            ("What is kept and for how long, by a name that properties share.", Some(CACHE_POLICY))
        }
        Kind::Certificate => {
            ("What is shown to TLS clients: a chain, and the secret that holds its key.", None)
        }
        Kind::SteeringPolicy => ("How players are steered between pathways.", None),
        Kind::DnsZone => ("A zone of the authoritative DNS.", None),
        Kind::Prefix => ("A prefix that PoPs announce.", None),
        Kind::AnycastGroup => {
            ("PoPs that announce the same prefixes, and how few of them may.", None)
        }
        Kind::Pop => {
            ("One site: what it is to its neighbours, where it is, what it can carry.", Some(POP))
        }
        Kind::Node => ("One node of a site, in the operators' words.", Some(NODE)),
        Kind::Secret => ("Bytes that only nodes may read; an operator sees a fingerprint.", None),
    }
}

const PROPERTY: &str = "kind = \"property\"\nname = \"demo\"\n\n[spec]\n\
                        hosts = [\"video.example\"]\n\n[[spec.origins]]\n\
                        authority = \"origin.example:443\"\n\n[spec.cache]\ndefault_ttl = \"10s\"\n";
const ORIGIN: &str =
    "kind = \"origin\"\nname = \"studio\"\n\n[spec]\nauthority = \"origin.example:443\"\n";
const CACHE_POLICY: &str =
    "kind = \"cache_policy\"\nname = \"segments\"\n\n[spec]\ndefault_ttl = \"1h\"\n";
const NODE: &str = "kind = \"node\"\nname = \"fra-1\"\n\n[spec]\npop = \"fra\"\n";
const POP: &str = "kind = \"pop\"\nname = \"fra\"\n\n[spec]\nrole = \"edge\"\n";
/// Of every kind, beside its spec.
const LABELS: &str = "labels";
const UNITS: [(&str, &str); 5] = [
    ("_mbps", "Mbit/s"),
    ("_percent", "of a hundred"),
    ("_per_second", "each second"),
    ("tude", "degrees"),
    ("segments", "segments"),
];
/// Longer defaults are shown where the field itself is explained.
const DEFAULT_CHARS: usize = 24;
/// Of what a field is, in a list of fields.
const SHORT_CHARS: usize = 72;
const LINE_CHARS: usize = 80;

#[cfg(test)]
mod tests;

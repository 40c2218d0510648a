//! Reading a scenario: text, variables, `--set`, flags; and errors that name the place.
//!
//! Invariant: an error names the key in full and, where the text has it, its line; it never repeats a value.

use std::{path::PathBuf, time::Duration};

use serde_path_to_error::Segment;
use toml::{
    Spanned, Table, Value,
    de::{DeTable, DeValue},
};

use super::{
    check::check,
    model::{Mix, Scenario},
    variable::Variables,
};
use crate::{arrival::ProfileError, gate::Gate, kind::Protocol};

/// Why a scenario was refused.
#[derive(Debug, thiserror::Error)]
pub enum ScenarioError {
    #[error("{origin}: {reason}")]
    File { origin: String, reason: String },
    #[error("{origin}, line {line}: {reason}")]
    Syntax { origin: String, line: usize, reason: String },
    #[error("{origin}{}: {key}: {reason}", line.map(|line| format!(", line {line}")).unwrap_or_default())]
    Key { origin: String, line: Option<usize>, key: String, reason: String },
    #[error("{0}")]
    Flag(String),
}

/// What the command line says over the scenario.
#[derive(Debug, Clone, Default)]
pub struct Overrides {
    pub rate: Option<f64>,
    pub duration: Option<Duration>,
    pub seed: Option<u64>,
    pub protocols: Option<Mix>,
    /// Beside those of the scenario.
    pub gates: Vec<Gate>,
    /// `key=value` with a key in full.
    pub set: Vec<String>,
    pub insecure: bool,
    pub ca: Vec<PathBuf>,
    pub resolve: Vec<String>,
}

/// Reads a scenario. `origin` names it in errors.
///
/// # Errors
/// The first thing that is wrong with it.
pub fn load(
    text: &str,
    origin: &str,
    variables: &Variables,
    overrides: &Overrides,
) -> Result<Scenario, ScenarioError> {
    if text.len() > TEXT_MAX {
        let reason = format!("more than {TEXT_MAX} bytes");
        return Err(ScenarioError::File { origin: origin.to_owned(), reason });
    }
    let mut table: Table = text.parse().map_err(|error| syntax(origin, text, &error))?;
    for setting in &overrides.set {
        set(&mut table, setting)?;
    }
    let mut value = Value::Table(table);
    variables
        .put_into(&mut value)
        .map_err(|reason| ScenarioError::File { origin: origin.to_owned(), reason })?;
    let refused = |key: &[Segment], reason: String| ScenarioError::Key {
        origin: origin.to_owned(),
        line: line_of(text, key),
        key: shown(key),
        reason,
    };
    let mut scenario: Scenario = serde_path_to_error::deserialize(value).map_err(|error| {
        let mut key: Vec<Segment> = error.path().iter().cloned().collect();
        let reason = error.inner().message().trim();
        // An unknown key is not always part of the path.
        let unknown = reason.strip_prefix("unknown field `").and_then(|rest| rest.split_once('`'));
        if let Some((name, _)) = unknown
            && !matches!(key.last(), Some(Segment::Map { key }) if key == name)
        {
            key.push(Segment::Map { key: name.to_owned() });
        }
        refused(&key, reason.to_owned())
    })?;
    apply(&mut scenario, overrides)?;
    check(&scenario).map_err(|(key, reason)| {
        let key: Vec<Segment> = key
            .split('.')
            .map(|part| match part.parse() {
                Ok(index) => Segment::Seq { index },
                Err(_) => Segment::Map { key: part.to_owned() },
            })
            .collect();
        refused(&key, reason)
    })?;
    Ok(scenario)
}

impl std::str::FromStr for Mix {
    type Err = String;

    /// `h1=50,h2=30,h3=20`, or one protocol alone.
    fn from_str(text: &str) -> Result<Self, String> {
        let mut mix = Self { h1: 0.0, h2: 0.0, h3: 0.0 };
        for part in text.split(',') {
            let (name, weight) = part.split_once('=').unwrap_or((part, "1"));
            let weight: f64 =
                weight.trim().parse().map_err(|_| format!("{weight:?} is no weight"))?;
            match name.trim() {
                "h1" => mix.h1 = weight,
                "h2" => mix.h2 = weight,
                "h3" => mix.h3 = weight,
                other => return Err(format!("{other:?} is none of h1, h2, h3")),
            }
        }
        mix.check()?;
        Ok(mix)
    }
}

impl Mix {
    pub(super) fn check(&self) -> Result<(), String> {
        let is_fine = |(_, weight): (Protocol, f64)| (0.0..=1e9).contains(&weight);
        if !self.weights().into_iter().all(is_fine) {
            Err("a weight is a number from 0".to_owned())
        } else if self.weights().iter().all(|(_, weight)| *weight == 0.0) {
            Err("all weights are 0".to_owned())
        } else {
            Ok(())
        }
    }
}

fn apply(scenario: &mut Scenario, overrides: &Overrides) -> Result<(), ScenarioError> {
    let flag =
        |name: &str, error: &dyn std::fmt::Display| ScenarioError::Flag(format!("{name}: {error}"));
    if let Some(rate) = overrides.rate {
        let changed: Result<_, ProfileError> = scenario.arrivals.profile.with_rate(rate);
        scenario.arrivals.profile = changed.map_err(|error| flag("--rate", &error))?;
        if let Some(knee) = &mut scenario.knee {
            knee.from = rate;
        }
    }
    scenario.arrivals.duration = overrides.duration.unwrap_or(scenario.arrivals.duration);
    scenario.seed = overrides.seed.unwrap_or(scenario.seed);
    scenario.sessions.protocols = overrides.protocols.unwrap_or(scenario.sessions.protocols);
    scenario.gates.extend(overrides.gates.iter().cloned());
    scenario.net.insecure |= overrides.insecure;
    scenario.net.ca.extend(overrides.ca.iter().cloned());
    for text in &overrides.resolve {
        scenario.net.add_override(text).map_err(|error| flag("--resolve", &error))?;
    }
    Ok(())
}

/// Puts `a.b.c=value` in; the value is TOML where it is, else text. A number is an element that an array has.
fn set(table: &mut Table, setting: &str) -> Result<(), ScenarioError> {
    let wrong = || {
        ScenarioError::Flag(format!(
            "--set {}: not key=value",
            setting.split('=').next().unwrap_or("")
        ))
    };
    let (key, raw) = setting.split_once('=').ok_or_else(wrong)?;
    let mut parts: Vec<&str> = key.trim().split('.').collect();
    let last = parts.pop().filter(|last| !last.is_empty()).ok_or_else(wrong)?;
    let no_table = |part: &str| ScenarioError::Flag(format!("--set {key}: {part} is no table"));
    let mut here = table;
    let mut parts = parts.into_iter();
    while let Some(part) = parts.next() {
        let mut next = here.entry(part).or_insert_with(|| Value::Table(Table::new()));
        while let Value::Array(elements) = next {
            let element = parts.next().and_then(|index| index.parse::<usize>().ok());
            next =
                element.and_then(|index| elements.get_mut(index)).ok_or_else(|| no_table(part))?;
        }
        here = next.as_table_mut().ok_or_else(|| no_table(part))?;
    }
    let value = raw.parse().unwrap_or_else(|_| Value::String(raw.to_owned()));
    here.insert(last.to_owned(), value);
    Ok(())
}

fn syntax(origin: &str, text: &str, error: &toml::de::Error) -> ScenarioError {
    let at = error.span().map_or(0, |span| span.start);
    let line = line_at(text, at);
    ScenarioError::Syntax { origin: origin.to_owned(), line, reason: error.message().to_owned() }
}

/// The line on which a key stands, or the nearest of the tables it is in.
fn line_of(text: &str, key: &[Segment]) -> Option<usize> {
    let document = DeTable::parse(text).ok()?;
    let mut at = None;
    let mut here: Option<&DeValue<'_>> = None;
    let mut table = Some(document.get_ref());
    for segment in key {
        match segment {
            Segment::Map { key } => {
                let found = table?.iter().find(|(name, _)| name.get_ref() == key);
                let Some((name, value)) = found else { break };
                at = Some(name.span().start);
                here = Some(value.get_ref());
            }
            Segment::Seq { index } => {
                let Some(DeValue::Array(items)) = here else { break };
                let Some(item) = items.get(*index) else { break };
                at = Some(Spanned::span(item).start);
                here = Some(item.get_ref());
            }
            _ => break,
        }
        table = match here {
            Some(DeValue::Table(table)) => Some(table),
            _ => None,
        };
        if table.is_none() && !matches!(here, Some(DeValue::Array(_))) {
            break;
        }
    }
    at.map(|at| line_at(text, at))
}

fn line_at(text: &str, at: usize) -> usize {
    text.as_bytes()[..at.min(text.len())].iter().filter(|byte| **byte == b'\n').count() + 1
}

fn shown(key: &[Segment]) -> String {
    let parts: Vec<String> = key
        .iter()
        .filter_map(|segment| match segment {
            Segment::Map { key } => Some(key.clone()),
            Segment::Seq { index } => Some(index.to_string()),
            _ => None,
        })
        .collect();
    if parts.is_empty() { "top level".to_owned() } else { parts.join(".") }
}

/// A scenario is written by hand.
const TEXT_MAX: usize = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "\
name = \"test\"
gates = [\"error_rate<1%\"]
[target]
urls = [\"${target}\"]
[arrivals]
profile = { kind = \"constant\", rate = 5 }
duration = \"10s\"

[[fault]]
name = \"stop\"
at = \"3s\"
run = [\"${stop:-true}\"]
";

    fn read(text: &str, overrides: &Overrides) -> Result<Scenario, String> {
        let mut variables = Variables::default();
        variables.set("target", "https://a.test/a.m3u8 https://a.test/b.m3u8");
        load(text, "test.toml", &variables, overrides).map_err(|error| error.to_string())
    }

    #[test]
    fn flags_lie_over_the_scenario() {
        let overrides = Overrides {
            rate: Some(7.5),
            duration: Some(Duration::from_secs(3)),
            seed: Some(9),
            protocols: Some("h1=1,h3=3".parse().unwrap()),
            gates: vec![Gate::parse("startup_p95<1s").unwrap()],
            set: ["player.buffer_max=12s", "rig.workers=3", "fault.0.at=2s"]
                .map(str::to_owned)
                .into(),
            resolve: vec!["a.test:443=127.0.0.1:8443".to_owned()],
            ..Overrides::default()
        };
        let scenario = read(TEXT, &overrides).unwrap();
        assert_eq!(scenario.target.urls.len(), 2);
        assert_eq!(scenario.arrivals.profile, crate::arrival::Profile::Constant { rate: 7.5 });
        assert_eq!((scenario.seed, scenario.rig.workers, scenario.gates.len()), (9, 3, 2));
        assert_eq!(scenario.player.buffer_max, Duration::from_secs(12));
        assert_eq!(scenario.sessions.protocols, Mix { h1: 1.0, h2: 0.0, h3: 3.0 });
        assert_eq!(scenario.net.resolve.len(), 1);
        assert_eq!(scenario.faults[0].run, ["true"]);
        assert_eq!(scenario.faults[0].at, Duration::from_secs(2));
    }

    #[test]
    fn an_error_names_key_and_line() {
        let table = [
            ("at = \"3s\"", "at = \"soon\"", "test.toml, line 11: fault.0.at"),
            (
                "duration = \"10s\"",
                "durations = \"10s\"",
                "line 7: arrivals.durations: unknown field",
            ),
            ("rate = 5", "rates = 5", "line 6: arrivals.profile"),
            ("rate = 5", "rate = -5", "line 6: arrivals.profile: rate is -5"),
            ("error_rate<1%", "error<1%", "line 2: gates.0: \"error\" is no figure"),
            ("name = \"test\"", "name = test", "test.toml, line 1: "),
            ("${target}", "${goal}", "variable goal has no value"),
            ("${target}", "ftp://a.test/", "target.urls"),
            ("run = [", "ran = [", "line 12: fault.0.ran"),
        ];
        for (from, to, expected) in table {
            let error = read(&TEXT.replacen(from, to, 1), &Overrides::default()).unwrap_err();
            assert!(error.contains(expected), "{to}: {error}");
        }
    }

    #[test]
    fn a_flag_that_fits_nothing_is_named() {
        let with = |set: &str| Overrides { set: vec![set.to_owned()], ..Overrides::default() };
        assert!(read(TEXT, &with("player.nothing=1")).unwrap_err().contains("player.nothing"));
        assert!(read(TEXT, &with("seed.more=1")).is_err());
        assert!(read(TEXT, &with("name.more=1")).unwrap_err().contains("name is no table"));
        assert!(read(TEXT, &with("fault.9.at=1s")).unwrap_err().contains("fault is no table"));
        assert!(read(TEXT, &with("fault.x.at=1s")).unwrap_err().contains("fault is no table"));
        assert!(read(TEXT, &with("novalue")).unwrap_err().contains("not key=value"));
        for mix in ["", "h1=x", "h4", "h1=0", "h1=-1", "h1=nan"] {
            assert!(mix.parse::<Mix>().is_err(), "{mix}");
        }
    }
}

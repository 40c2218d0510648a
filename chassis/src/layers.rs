//! The layers of a config, from file to command line, and whose fault a bad key is.
//!
//! Tables merge key by key, everything else replaces what the layer below said. Text from the environment and
//! from `--set` is read as a TOML value where it is one, and as plain text where it is not or where the key
//! wants text.
//!
//! **Invariant.** An error names the key in full and the layer it came from, and never repeats a line of a file,
//! which may hold a secret.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    path::{Path, PathBuf},
};

use serde::de::DeserializeOwned;
use serde_path_to_error::Segment;
use toml::{Table, Value};

/// Why a config was refused.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file is not there, cannot be read or is too long.
    #[error("config file {}: {reason}", path.display())]
    File {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        reason: String,
    },
    /// The file is not TOML.
    #[error("config file {}, line {line}: {reason}", path.display())]
    Syntax {
        /// Which file.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
        /// What the parser said.
        reason: String,
    },
    /// A key that does not exist, or a value that does not fit its key.
    #[error("{layer}: {key}: {reason}")]
    Key {
        /// Where the key was set.
        layer: String,
        /// The key in full, its parts joined with dots.
        key: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A variable or `--set` whose name is not a key.
    #[error("{text} does not name a key")]
    Name {
        /// The variable, or what followed `--set`.
        text: String,
    },
    /// Each value fits its key, but together they make no sense.
    #[error("config: {0:#}")]
    Check(anyhow::Error),
}

/// One layer: what a file, the environment or the command line says.
#[derive(Debug)]
pub(crate) struct Layer {
    name: String,
    table: Table,
    /// What was given as text and may yet be taken as text: the key's parts, then what was written.
    texts: BTreeMap<Vec<String>, Text>,
}

#[derive(Debug)]
struct Text {
    from: String,
    raw: String,
}

impl Layer {
    /// What a TOML file says.
    pub(crate) fn file(path: &Path) -> Result<Self, ConfigError> {
        let file = |reason: String| ConfigError::File { path: path.to_owned(), reason };
        let size = std::fs::metadata(path).map_err(|error| file(error.to_string()))?.len();
        if size > FILE_BYTES_MAX {
            return Err(file(format!("{size} bytes are more than {FILE_BYTES_MAX}")));
        }
        let text = std::fs::read_to_string(path).map_err(|error| file(error.to_string()))?;
        let table = text.parse().map_err(|error| syntax(path, &text, &error))?;
        Ok(Self { name: format!("config file {}", path.display()), table, texts: BTreeMap::new() })
    }

    /// What the variables that begin with `PREFIX__` say: `PREFIX__LISTEN__HTTP` is the key `listen.http`.
    pub(crate) fn environment(
        prefix: &str,
        variables: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> Result<Self, ConfigError> {
        let prefix = format!("{prefix}__");
        let mut layer = Self::empty("environment");
        for (name, raw) in variables {
            let Some(key) = name.to_str().and_then(|name| name.strip_prefix(&prefix)) else {
                continue;
            };
            let from = format!("environment variable {prefix}{key}");
            let parts: Vec<String> = key.split("__").map(str::to_ascii_lowercase).collect();
            let Ok(raw) = raw.into_string() else {
                let reason = "not UTF-8".to_owned();
                return Err(ConfigError::Key { layer: from, key: parts.join("."), reason });
            };
            layer.add_text(parts, Text { from, raw })?;
        }
        Ok(layer)
    }

    /// What the program made of its own flags.
    pub(crate) fn flags(table: Table) -> Self {
        Self { table, ..Self::empty("command line") }
    }

    /// What `--set key=value` says.
    pub(crate) fn settings(settings: &[String]) -> Result<Self, ConfigError> {
        let mut layer = Self::empty("command line");
        for setting in settings {
            let name = || ConfigError::Name { text: "--set without key=value".to_owned() };
            let (key, raw) = setting.split_once('=').ok_or_else(name)?;
            let from = format!("--set {key}");
            let parts = key.split('.').map(str::to_owned).collect();
            layer.add_text(parts, Text { from, raw: raw.to_owned() })?;
        }
        Ok(layer)
    }

    fn empty(name: &str) -> Self {
        Self { name: name.to_owned(), table: Table::new(), texts: BTreeMap::new() }
    }

    fn add_text(&mut self, parts: Vec<String>, text: Text) -> Result<(), ConfigError> {
        if parts.iter().any(String::is_empty) || parts.len() > DEPTH_MAX {
            return Err(ConfigError::Name { text: text.from });
        }
        let value = text.raw.parse().unwrap_or_else(|_| Value::String(text.raw.clone()));
        merge(&mut self.table, nested(&parts, value));
        self.texts.insert(parts, text);
        Ok(())
    }

    /// Takes the text at `key` as plain text, where it was read as something else. Says whether that changed it.
    fn take_as_text(&mut self, key: &[String]) -> bool {
        let Some(text) = self.texts.get(key) else { return false };
        if matches!(lookup(&self.table, key), None | Some(Value::String(_))) {
            return false;
        }
        merge(&mut self.table, nested(key, Value::String(text.raw.clone())));
        true
    }

    /// How an error names this layer when `key` is at fault.
    fn describe(&self, key: &[String]) -> String {
        let text = self.texts.iter().find(|(parts, _)| key.starts_with(parts));
        text.map_or_else(|| self.name.clone(), |(_, text)| text.from.clone())
    }
}

/// Merges the layers, later ones over earlier ones, and reads the result. Keys that no layer sets have the
/// defaults of `C`.
pub(crate) fn read<C: DeserializeOwned>(mut layers: Vec<Layer>) -> Result<C, ConfigError> {
    loop {
        let mut merged = Table::new();
        for layer in &layers {
            merge(&mut merged, layer.table.clone());
        }
        let error = match serde_path_to_error::deserialize(Value::Table(merged)) {
            Ok(config) => return Ok(config),
            Err(error) => error,
        };
        let key = full_key(&error);
        let owner = owner(&layers, &key);
        // Each text is turned at most once, so this ends.
        if owner.is_some_and(|owner| layers[owner].take_as_text(&key)) {
            continue;
        }
        return Err(ConfigError::Key {
            layer: owner.map_or_else(|| "config".to_owned(), |owner| layers[owner].describe(&key)),
            key: if key.is_empty() { "top level".to_owned() } else { key.join(".") },
            reason: reason(error.inner()),
        });
    }
}

/// Lays `over` on `base`: tables merge, everything else replaces.
pub(crate) fn merge(base: &mut Table, over: Table) {
    for (key, value) in over {
        match (base.get_mut(&key), value) {
            (Some(Value::Table(base)), Value::Table(over)) => merge(base, over),
            (_, value) => {
                base.insert(key, value);
            }
        }
    }
}

/// The topmost layer that sets `key`; if none does, the one that sets the longest part of it.
fn owner(layers: &[Layer], key: &[String]) -> Option<usize> {
    (1..=key.len()).rev().find_map(|length| {
        layers.iter().rposition(|layer| lookup(&layer.table, &key[..length]).is_some())
    })
}

fn lookup<'a>(table: &'a Table, key: &[String]) -> Option<&'a Value> {
    let (first, rest) = key.split_first()?;
    let mut value = table.get(first)?;
    for part in rest {
        value = match value {
            Value::Table(table) => table.get(part)?,
            Value::Array(values) => values.get(part.parse::<usize>().ok()?)?,
            _ => return None,
        };
    }
    Some(value)
}

fn nested(parts: &[String], value: Value) -> Table {
    let (last, parents) = parts.split_last().expect("a key has at least one part");
    let leaf = Table::from_iter([(last.clone(), value)]);
    parents
        .iter()
        .rev()
        .fold(leaf, |inner, part| Table::from_iter([(part.clone(), Value::Table(inner))]))
}

/// The key an error is about. serde reports an unknown key at the table that holds it, and names it in words.
fn full_key(error: &serde_path_to_error::Error<toml::de::Error>) -> Vec<String> {
    let mut key: Vec<String> = error
        .path()
        .iter()
        .filter_map(|segment| match segment {
            Segment::Map { key } => Some(key.clone()),
            Segment::Seq { index } => Some(index.to_string()),
            Segment::Enum { .. } | Segment::Unknown => None,
        })
        .collect();
    let unknown = error.inner().message().strip_prefix("unknown field `");
    if let Some((name, _)) = unknown.and_then(|rest| rest.split_once('`'))
        && key.last().is_none_or(|last| last != name)
    {
        key.push(name.to_owned());
    }
    key
}

fn reason(error: &toml::de::Error) -> String {
    match error.message().strip_prefix("unknown field `") {
        Some(rest) => match rest.split_once("`, ") {
            Some((_, expected)) => format!("unknown key, {expected}"),
            None => "unknown key".to_owned(),
        },
        None => error.message().to_owned(),
    }
}

fn syntax(path: &Path, text: &str, error: &toml::de::Error) -> ConfigError {
    let end = error.span().map_or(0, |span| span.start.min(text.len()));
    let line = 1 + text.as_bytes()[..end].iter().filter(|byte| **byte == b'\n').count();
    ConfigError::Syntax { path: path.to_owned(), line, reason: error.message().to_owned() }
}

/// The longest config file, in bytes.
const FILE_BYTES_MAX: u64 = 4 << 20;
/// The most parts of a key that comes as text.
const DEPTH_MAX: usize = 16;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde::{Deserialize, Serialize};

    use super::*;
    use crate::secret::Secret;

    #[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
    #[serde(default, deny_unknown_fields)]
    struct Sample {
        listen: Listen,
        token: Secret,
        upstream: Vec<Upstream>,
        home: BTreeMap<String, Upstream>,
    }

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    #[serde(default, deny_unknown_fields)]
    struct Listen {
        http: Option<std::net::SocketAddr>,
        name: String,
        backlog: u32,
        #[serde(with = "humantime_serde")]
        idle: Duration,
    }

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Upstream {
        host: String,
        port: u16,
    }

    impl Default for Listen {
        fn default() -> Self {
            let idle = Duration::from_secs(60);
            Self { http: None, name: "front".to_owned(), backlog: 128, idle }
        }
    }

    fn from_text(text: &str) -> Layer {
        let table = text.parse().unwrap();
        Layer { name: "config file a.toml".to_owned(), table, texts: BTreeMap::new() }
    }

    fn environment(variables: &[(&str, &str)]) -> Layer {
        let variables = variables.iter().map(|(name, value)| (name.into(), value.into()));
        Layer::environment("APP", variables).unwrap()
    }

    fn settings(settings: &[&str]) -> Layer {
        let settings: Vec<String> = settings.iter().map(ToString::to_string).collect();
        Layer::settings(&settings).unwrap()
    }

    #[test]
    fn a_later_layer_wins_key_by_key() {
        let config: Sample = read(vec![
            from_text("[listen]\nname = \"file\"\nbacklog = 1\nidle = \"1s\""),
            environment(&[
                ("APP__LISTEN__BACKLOG", "2"),
                ("APP__LISTEN__IDLE", "2s"),
                ("HOME", "/"),
            ]),
            Layer::flags("listen.idle = \"3s\"".parse().unwrap()),
            settings(&["listen.http=127.0.0.1:80"]),
        ])
        .unwrap();
        assert_eq!(config.listen.name, "file");
        assert_eq!(config.listen.backlog, 2);
        assert_eq!(config.listen.idle, Duration::from_secs(3));
        assert_eq!(config.listen.http, Some(([127, 0, 0, 1], 80).into()));
        assert_eq!(read::<Sample>(vec![]).unwrap(), Sample::default());
    }

    #[test]
    fn text_that_looks_like_a_number_fits_a_key_that_wants_text() {
        for raw in ["443", "true", "nan", "2024-01-01", "[a", "plain", "1.5", "a=b"] {
            let config: Sample = read(vec![
                environment(&[("APP__LISTEN__NAME", raw)]),
                settings(&[&format!("token={raw}")]),
            ])
            .unwrap();
            assert_eq!(config.listen.name, raw);
            assert_eq!(config.token.expose(), raw);
        }
    }

    #[test]
    fn keys_that_need_each_other_may_come_one_by_one() {
        let config: Sample = read(vec![
            settings(&["home.fra.host=443"]),
            environment(&[("APP__HOME__FRA__PORT", "7"), ("APP__UPSTREAM", "[{host='a',port=1}]")]),
        ])
        .unwrap();
        assert_eq!(config.home["fra"], Upstream { host: "443".to_owned(), port: 7 });
        assert_eq!(config.upstream, [Upstream { host: "a".to_owned(), port: 1 }]);
    }

    #[test]
    fn an_error_names_the_layer_and_the_whole_key() {
        let table = [
            (from_text("lissten = 1"), "config file a.toml: lissten: unknown key, expected one of"),
            (from_text("[listen]\nhtpp = 1"), "config file a.toml: listen.htpp: unknown key, exp"),
            (
                from_text("[listen]\nbacklog = -1"),
                "config file a.toml: listen.backlog: invalid val",
            ),
            (
                from_text("[[upstream]]\nhost = \"a\"\nprt = 1"),
                "config file a.toml: upstream.0.prt: unk",
            ),
            (
                from_text("[home.fra]\nhost = \"a\""),
                "config file a.toml: home.fra: missing field `port`",
            ),
            (
                environment(&[("APP__LISTEN__HTPP", "1")]),
                "environment variable APP__LISTEN__HTPP: listen.htpp: unknown key",
            ),
            (settings(&["listen.idle=soon"]), "--set listen.idle: listen.idle: "),
            (Layer::flags("nothing = 1".parse().unwrap()), "command line: nothing: unknown key"),
        ];
        for (layer, expected) in table {
            let error = read::<Sample>(vec![layer, from_text("listen.name = \"x\"")]).unwrap_err();
            assert!(error.to_string().starts_with(expected), "{error}\nis not\n{expected}");
        }
    }

    #[test]
    fn the_layer_on_top_is_blamed() {
        let error = read::<Sample>(vec![
            from_text("[listen]\nbacklog = 1"),
            environment(&[("APP__LISTEN__BACKLOG", "many")]),
        ])
        .unwrap_err();
        assert!(
            error.to_string().starts_with("environment variable APP__LISTEN__BACKLOG"),
            "{error}"
        );
    }

    #[test]
    fn a_name_that_is_no_key_is_refused() {
        for name in ["APP__LISTEN____HTTP", "APP__"] {
            assert!(Layer::environment("APP", [(name.into(), "1".into())]).is_err(), "{name}");
        }
        for setting in ["listen", "=1", "a..b=1", &format!("{}a=1", "a.".repeat(DEPTH_MAX))] {
            assert!(Layer::settings(&[setting.to_owned()]).is_err(), "{setting}");
        }
    }

    #[test]
    fn a_broken_file_is_named_with_its_line_and_not_quoted() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.toml");
        std::fs::write(&path, "a = 1\n\ntoken = \"hunter2\nb = 1\n").unwrap();
        let error = Layer::file(&path).unwrap_err().to_string();
        assert!(error.contains("a.toml, line 3: "), "{error}");
        assert!(!error.contains("hunter2"), "{error}");
        assert!(
            Layer::file(&dir.path().join("b.toml")).unwrap_err().to_string().contains("b.toml")
        );
    }
}

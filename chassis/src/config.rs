//! What is asked of a program's config, the section that every program has, and the flags that choose layers.
//!
//! Layers, each over the one before: the defaults in the code, the file, the environment, the program's own flags,
//! `--set`. The file is optional; a program with no config at all runs on its defaults.
//!
//! **Invariant.** A key that nobody reads is refused, so a typing error never passes for a setting.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

use anyhow::{Context, ensure};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use toml::{Table, Value};

use crate::{
    layers::{self, ConfigError, Layer},
    logging::{self, LogFormat},
    recent::Limits,
};

/// Which program this is.
#[derive(Debug, Clone, Copy)]
pub struct Program {
    /// The name of the binary: `tidegate-edge`.
    pub name: &'static str,
    /// What its environment variables begin with: `TIDEGATE_EDGE`. `TIDEGATE_EDGE_CONFIG` names the config file
    /// where `--config` does not, `TIDEGATE_EDGE__LISTEN__HTTP` sets the key `listen.http`.
    pub env_prefix: &'static str,
}

/// The flags that choose and show the config; a program's command line flattens them into its own.
#[derive(Debug, Clone, Default, clap::Args)]
#[command(about = None, long_about = None)] // or the text above becomes that of a program without one
pub struct ConfigArgs {
    /// Read the config from this TOML file
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Set one key of the config, over file and environment: --set listen.http=127.0.0.1:8080
    #[arg(long, value_name = "KEY=VALUE")]
    pub set: Vec<String>,
    /// Say whether the config is good, and what it amounts to, and exit with 0 or 2
    #[arg(long)]
    pub check_config: bool,
    /// Print the config in effect as TOML, secrets hidden, and exit
    #[arg(long)]
    pub print_config: bool,
}

/// A program's config. It derives `Deserialize` with `#[serde(default, deny_unknown_fields)]` on each struct, so
/// that every key may be left out and none may be misspelt; [`check_reference`] proves it.
pub trait ProgramConfig: Default + Serialize + DeserializeOwned + Send + Sync + 'static {
    /// Whether the values make sense together. Called once, before anything starts.
    ///
    /// # Errors
    /// What does not, with the keys in it.
    fn check(&self) -> anyhow::Result<()>;

    /// What `--check-config` says of a good config, beside that it is one; whole lines.
    fn summary(&self) -> String {
        String::new()
    }

    /// How much of the log is kept in memory, for [`crate::Process::recent_log`].
    fn recent_log(&self) -> Limits {
        Limits::NONE
    }

    /// The section `[process]`.
    fn process(&self) -> &ProcessConfig;
}

/// The section `[process]`, the same in every program.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ProcessConfig {
    /// Address of the admin port, or "off". Default "127.0.0.1:0", a free port on loopback.
    #[serde(with = "or_off")]
    pub admin: Option<SocketAddr>,
    /// Allows an admin address that is not loopback. Default false: the port has no login.
    pub admin_public: bool,
    /// Log level, or a list of targets with levels: "info,pingora=warn". Default "info".
    pub log_level: String,
    /// "auto" (text on a terminal, JSON otherwise), "text" or "json". Default "auto".
    pub log_format: LogFormat,
    /// The longest a drain may take before the process ends all the same. Default "30s".
    #[serde(with = "humantime_serde")]
    pub drain_grace: Duration,
    /// A file that appears once the process is ready, with the bound addresses as JSON. Default none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ready_file: Option<PathBuf>,
}

impl Default for ProcessConfig {
    fn default() -> Self {
        Self {
            admin: Some(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0)),
            admin_public: false,
            log_level: "info".to_owned(),
            log_format: LogFormat::Auto,
            drain_grace: Duration::from_secs(30),
            ready_file: None,
        }
    }
}

impl ProcessConfig {
    fn check(&self) -> anyhow::Result<()> {
        if let Some(addr) = self.admin {
            ensure!(
                addr.ip().to_canonical().is_loopback() || self.admin_public,
                "process.admin is {addr}, which others can reach, and the port has no login; \
                 process.admin_public = true allows it"
            );
        }
        ensure!(
            self.drain_grace <= DRAIN_GRACE_MAX,
            "process.drain_grace is {}, more than {}",
            humantime::format_duration(self.drain_grace),
            humantime::format_duration(DRAIN_GRACE_MAX)
        );
        logging::check_level(&self.log_level).context("process.log_level")
    }
}

/// Reads a program's config from all layers and checks it: for commands that run nothing.
///
/// # Errors
/// [`ConfigError`]
pub fn load<C: ProgramConfig>(
    program: &Program,
    args: &ConfigArgs,
    overrides: Table,
) -> Result<C, ConfigError> {
    let variable = format!("{}_CONFIG", program.env_prefix);
    let file = args.config.clone().or_else(|| std::env::var_os(variable).map(PathBuf::from));

    let mut layers = Vec::new();
    if let Some(file) = file {
        layers.push(Layer::file(&file)?);
    }
    layers.push(Layer::environment(program.env_prefix, std::env::vars_os())?);
    layers.push(Layer::flags(overrides));
    layers.push(Layer::settings(&args.set)?);
    checked(layers::read(layers)?)
}

/// Reads a config from TOML text alone, without environment and flags; for tests and harnesses.
///
/// # Errors
/// As for a config file.
pub fn from_toml<C: ProgramConfig>(text: &str) -> Result<C, ConfigError> {
    let table = text.parse::<Table>().map_err(|error| ConfigError::Syntax {
        path: "text".into(),
        line: 0,
        reason: error.message().to_owned(),
    })?;
    checked(layers::read(vec![Layer::flags(table)])?)
}

/// Compares a reference config file with the code: it must read, give every key that the default config shows
/// the value it has there, and an unknown key put into any of its tables must be refused.
///
/// # Errors
/// Every difference, one a line.
pub fn check_reference<C: ProgramConfig>(text: &str) -> Result<(), String> {
    let reference: Table = text.parse().map_err(|error| format!("not TOML: {error}"))?;
    let read: C = from_toml(text).map_err(|error| error.to_string())?;
    let mut faults = Vec::new();
    compare("", &table_of(&C::default())?, &table_of(&read)?, &mut faults);
    missing("", &table_of(&C::default())?, &reference, &mut faults);
    for path in tables(&reference) {
        let mut spoilt = reference.clone();
        table_at(&mut spoilt, &path).insert(UNKNOWN_KEY.to_owned(), Value::Boolean(true));
        if layers::read::<C>(vec![Layer::flags(spoilt)]).is_ok() {
            faults.push(format!(
                "[{}] takes unknown keys; deny_unknown_fields is missing",
                path.join(".")
            ));
        }
    }
    if faults.is_empty() { Ok(()) } else { Err(faults.join("\n")) }
}

/// The config in effect as TOML, secrets hidden.
pub(crate) fn effective_toml<C: ProgramConfig>(config: &C) -> anyhow::Result<String> {
    toml::to_string_pretty(config).context("the config cannot be written as TOML")
}

/// The config in effect as JSON, secrets hidden.
pub(crate) fn effective_json<C: ProgramConfig>(config: &C) -> anyhow::Result<serde_json::Value> {
    serde_json::to_value(config).context("the config cannot be written as JSON")
}

fn checked<C: ProgramConfig>(config: C) -> Result<C, ConfigError> {
    config.process().check().and_then(|()| config.check()).map_err(ConfigError::Check)?;
    Ok(config)
}

fn table_of<C: Serialize>(config: &C) -> Result<Table, String> {
    Table::try_from(config)
        .map_err(|error| format!("the config cannot be written as TOML: {error}"))
}

fn compare(path: &str, code: &Table, file: &Table, faults: &mut Vec<String>) {
    for (key, ours) in code {
        let path = join(path, key);
        match (ours, file.get(key)) {
            (Value::Table(ours), Some(Value::Table(theirs))) => {
                compare(&path, ours, theirs, faults)
            }
            (_, None) => faults.push(format!("{path} is {ours} in the code and unset in the file")),
            (_, Some(theirs)) if ours != theirs => {
                faults.push(format!("{path} is {ours} in the code and {theirs} in the file"));
            }
            _ => {}
        }
    }
    for key in file.keys().filter(|key| !code.contains_key(*key)) {
        faults
            .push(format!("{} is set in the file and has no default in the code", join(path, key)));
    }
}

fn missing(path: &str, code: &Table, file: &Table, faults: &mut Vec<String>) {
    for (key, value) in code {
        let path = join(path, key);
        match (value, file.get(key)) {
            (Value::Table(code), Some(Value::Table(file))) => missing(&path, code, file, faults),
            (Value::Table(code), None) if code.is_empty() => {}
            (_, None) => faults.push(format!("{path} is not named in the file")),
            _ => {}
        }
    }
}

/// The paths of all tables, the top one first.
fn tables(table: &Table) -> Vec<Vec<String>> {
    let mut paths = vec![Vec::new()];
    for (key, value) in table {
        let Value::Table(inner) = value else { continue };
        paths.extend(tables(inner).into_iter().map(|mut path| {
            path.insert(0, key.clone());
            path
        }));
    }
    paths
}

fn table_at<'a>(table: &'a mut Table, path: &[String]) -> &'a mut Table {
    path.iter().fold(table, |table, key| {
        table
            .get_mut(key)
            .and_then(Value::as_table_mut)
            .expect("the path was taken from this table")
    })
}

fn join(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}

/// An address, or "off".
mod or_off {
    use std::net::SocketAddr;

    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(super) fn serialize<S: Serializer>(
        addr: &Option<SocketAddr>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        match addr {
            Some(addr) => serializer.collect_str(addr),
            None => serializer.serialize_str("off"),
        }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<SocketAddr>, D::Error> {
        let text = String::deserialize(deserializer)?;
        if text == "off" {
            return Ok(None);
        }
        let parsed = text.parse();
        parsed
            .map(Some)
            .map_err(|_| D::Error::custom(format!("{text:?} is no address and not \"off\"")))
    }
}

/// The longest grace of a drain: beyond it a process looks hung to whoever stops it.
const DRAIN_GRACE_MAX: Duration = Duration::from_secs(24 * 3600);
/// A key that no config has.
const UNKNOWN_KEY: &str = "a_key_that_nobody_reads";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::Secret;

    #[derive(Debug, Default, Serialize, Deserialize)]
    #[serde(default, deny_unknown_fields)]
    struct Strict {
        process: ProcessConfig,
        part: Part,
    }

    #[derive(Debug, Serialize, Deserialize)]
    #[serde(default, deny_unknown_fields)]
    struct Part {
        size: u32,
        token: Secret,
    }

    #[derive(Debug, Default, Serialize, Deserialize)]
    #[serde(default, deny_unknown_fields)]
    struct Loose {
        process: ProcessConfig,
        part: LoosePart,
    }

    #[derive(Debug, Default, Serialize, Deserialize)]
    #[serde(default)]
    struct LoosePart {
        size: u32,
    }

    impl Default for Part {
        fn default() -> Self {
            Self { size: 7, token: Secret::default() }
        }
    }

    impl ProgramConfig for Strict {
        fn check(&self) -> anyhow::Result<()> {
            ensure!(self.part.size < 100, "part.size is {}, more than 99", self.part.size);
            Ok(())
        }

        fn process(&self) -> &ProcessConfig {
            &self.process
        }
    }

    impl ProgramConfig for Loose {
        fn check(&self) -> anyhow::Result<()> {
            Ok(())
        }

        fn process(&self) -> &ProcessConfig {
            &self.process
        }
    }

    const REFERENCE: &str = r#"
        [process]
        admin = "127.0.0.1:0"
        admin_public = false
        log_level = "info"
        log_format = "auto"
        drain_grace = "30s"
    "#;

    #[test]
    fn a_reference_config_must_name_every_key_with_its_default() {
        let table = [
            ("[part]\nsize = 7\ntoken = \"\"", ""),
            ("[part]\nsize = 8\ntoken = \"\"", "part.size is 7 in the code and 8 in the file"),
            ("[part]\nsize = 7", "part.token is not named in the file"),
            ("[part]\nsize = 7\ntoken = \"\"\nsise = 1", "command line: part.sise: unknown key"),
        ];
        for (part, fault) in table {
            let faults = check_reference::<Strict>(&format!("{REFERENCE}{part}")).err();
            let faults = faults.unwrap_or_default();
            assert!(faults.starts_with(fault) && faults.is_empty() == fault.is_empty(), "{faults}");
        }
    }

    #[test]
    fn a_struct_that_takes_unknown_keys_is_found() {
        let faults = check_reference::<Loose>(&format!("{REFERENCE}[part]\nsize = 0")).unwrap_err();
        assert_eq!(faults, "[part] takes unknown keys; deny_unknown_fields is missing");
    }

    #[test]
    fn values_that_make_no_sense_together_are_refused() {
        let table = [
            ("part.size = 100", "config: part.size is 100"),
            ("process.admin = \"0.0.0.0:9000\"", "config: process.admin is 0.0.0.0:9000"),
            ("process.admin = \"[::ffff:10.0.0.1]:1\"", "config: process.admin is"),
            ("process.log_level = \"a=b=c\"", "config: process.log_level"),
            ("process.drain_grace = \"2days\"", "config: process.drain_grace is 2days"),
            ("process.admin = \"here\"", "command line: process.admin: \"here\" is no address"),
        ];
        for (text, expected) in table {
            let error = from_toml::<Strict>(text).unwrap_err().to_string();
            assert!(error.starts_with(expected), "{error}");
        }
        for text in [
            "process.admin = \"off\"",
            "process.admin = \"[::1]:0\"",
            "process = { admin = \"0.0.0.0:9000\", admin_public = true }",
        ] {
            from_toml::<Strict>(text).unwrap();
        }
    }

    #[test]
    fn the_printed_config_reads_back_and_hides_secrets() {
        let config: Strict =
            from_toml("process.admin = \"off\"\npart.token = \"hunter2\"\npart.size = 9").unwrap();
        let printed = effective_toml(&config).unwrap();
        assert!(!printed.contains("hunter2"), "{printed}");
        assert!(!effective_json(&config).unwrap().to_string().contains("hunter2"));

        let read: Strict = from_toml(&printed.replace("[redacted]", "other")).unwrap();
        assert_eq!((read.process.admin, read.part.size), (None, 9));
        assert!(
            from_toml::<Strict>(&printed).is_err(),
            "a hidden secret is not taken for a secret"
        );
    }
}

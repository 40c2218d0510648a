//! Which scenario is meant: a built-in, a file, or a URL; and what lies over it.
//!
//! Invariant: what is none of these is refused with the names of those that there are.

use std::{fs, path::PathBuf, time::Duration};

use clap::Args;
use url::Url;

use super::exit::Failure;
use crate::{
    gate::Gate,
    scenario::{Builtin, Mix, Overrides, Scenario, Variables, builtins, load},
};

/// What changes a scenario for a run.
#[derive(Args, Clone, Default)]
pub(super) struct Changes {
    #[command(flatten)]
    pub(super) reach: Reach,
    /// Sessions a second: the profile's rate, base, mean or highest
    #[arg(long, value_name = "RATE")]
    rate: Option<f64>,
    /// For how long sessions begin
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    duration: Option<Duration>,
    /// One more threshold, like startup_p95<800ms
    #[arg(long = "gate", value_name = "GATE")]
    gates: Vec<Gate>,
}

/// What changes how the server is reached, and by whom.
#[derive(Args, Clone, Default)]
pub(super) struct Reach {
    /// A variable of the scenario; TIDEGATE_LOAD_VAR_NAME in the environment does the same
    #[arg(long = "var", value_name = "NAME=VALUE")]
    variables: Vec<String>,
    /// The same seed gives the same schedule and the same viewers
    #[arg(long)]
    seed: Option<u64>,
    /// Weights of the protocols, like h1=50,h2=30,h3=20
    #[arg(long, value_name = "MIX")]
    protocol: Option<Mix>,
    /// Any key of the scenario, like player.buffer_max=10s
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub(super) set: Vec<String>,
    /// Take any certificate: for test machines only
    #[arg(long)]
    insecure: bool,
    /// PEM of an authority to trust beside the platform's
    #[arg(long, value_name = "FILE")]
    ca: Vec<PathBuf>,
    /// Where a name leads instead of what DNS says
    #[arg(long, value_name = "HOST:PORT=ADDR[,ADDR]")]
    resolve: Vec<String>,
}

impl From<Reach> for Changes {
    fn from(reach: Reach) -> Self {
        Self { reach, ..Self::default() }
    }
}

impl Changes {
    fn overrides(&self) -> Overrides {
        Overrides {
            rate: self.rate,
            duration: self.duration,
            gates: self.gates.clone(),
            seed: self.reach.seed,
            protocols: self.reach.protocol,
            set: self.reach.set.clone(),
            insecure: self.reach.insecure,
            ca: self.reach.ca.clone(),
            resolve: self.reach.resolve.clone(),
        }
    }
}

/// A scenario, and its text as it was before anything was put in.
pub(super) fn read(what: &str, changes: &Changes) -> Result<(Scenario, String), Failure> {
    let mut variables = Variables::default();
    for text in &changes.reach.variables {
        variables.add(text).map_err(|error| Failure::usage(format!("--var: {error}")))?;
    }
    let environment = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    variables.add_environment(environment);
    let (text, origin) = if what.contains("://") {
        let url = Url::parse(what).map_err(|error| Failure::usage(format!("{what}: {error}")))?;
        variables.set("target", url.as_str());
        let builtin = Builtin::of(DEFAULT).expect("a test reads every built-in");
        (builtin.text.to_owned(), format!("scenario {DEFAULT}"))
    } else if let Some(builtin) = Builtin::of(what) {
        (builtin.text.to_owned(), format!("scenario {what}"))
    } else {
        let text = fs::read_to_string(what).map_err(|error| {
            let names: Vec<&str> = builtins().iter().map(|builtin| builtin.name).collect();
            Failure::usage(format!(
                "{what}: no URL, no file ({error}), and none of: {}",
                names.join(" ")
            ))
        })?;
        (text, what.to_owned())
    };
    let scenario =
        load(&text, &origin, &variables, &changes.overrides()).map_err(Failure::usage)?;
    Ok((scenario, text))
}

/// What `run URL` runs.
const DEFAULT: &str = "smoke";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_a_name_and_a_file_are_scenarios() {
        let changes = Changes { rate: Some(3.0), ..Changes::default() };
        let (scenario, text) = read("http://a.test/a.m3u8", &changes).unwrap();
        assert_eq!(scenario.target.urls[0].as_str(), "http://a.test/a.m3u8");
        assert!(text.contains("${target}"));

        let mut with = changes.clone();
        with.reach.variables.push("target=http://a.test/a.m3u8".into());
        assert_eq!(read("steady", &with).unwrap().0.name, "steady");

        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("own.toml");
        fs::write(&path, text.replace("\"smoke\"", "\"own\"")).unwrap();
        assert_eq!(read(path.to_str().unwrap(), &with).unwrap().0.name, "own");

        for (what, expected) in [
            ("smok", "none of: smoke steady"),
            ("http://", "http://: "),
            ("steady", "variable target has no value"),
        ] {
            let failure = read(what, &changes).map(drop).unwrap_err();
            assert!(failure.to_string().contains(expected), "{what}: {failure}");
            assert_eq!(failure.exit.code(), 2);
        }
    }
}

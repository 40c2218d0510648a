//! The scenarios that the program brings.
//!
//! Invariant: each has a name of its own, says what it is for, and can be read when its variables have values.

use super::variable::named_in;

/// One of them.
#[derive(Debug, Clone, Copy)]
pub struct Builtin {
    pub name: &'static str,
    /// Its TOML, with comments.
    pub text: &'static str,
}

impl Builtin {
    /// The built-in of a name.
    #[must_use]
    pub fn of(name: &str) -> Option<Self> {
        builtins().iter().find(|builtin| builtin.name == name).copied()
    }

    /// One line on what it is for.
    #[must_use]
    pub fn about(&self) -> &'static str {
        let line = self.text.lines().find_map(|line| line.strip_prefix("about = \""));
        line.and_then(|line| line.strip_suffix('"')).unwrap_or_default()
    }

    /// Its variables, and what they are when they are not given.
    #[must_use]
    pub fn variables(&self) -> Vec<(String, Option<String>)> {
        named_in(self.text)
    }
}

/// All of them, in the order in which a person meets them.
#[must_use]
pub fn builtins() -> &'static [Builtin] {
    BUILTINS
}

macro_rules! builtin {
    ($name:literal) => {
        Builtin { name: $name, text: include_str!(concat!("../../scenarios/", $name, ".toml")) }
    };
}

const BUILTINS: &[Builtin] = &[
    builtin!("smoke"),
    builtin!("steady"),
    builtin!("ramp-to-knee"),
    builtin!("flash-crowd"),
    builtin!("live-event"),
    builtin!("swipe-feed"),
    builtin!("thundering-manifest"),
    builtin!("slow-clients"),
    builtin!("cold-cache"),
    builtin!("purge-storm"),
    builtin!("pop-kill"),
    builtin!("origin-brownout"),
    builtin!("config-rollout"),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::{Overrides, Variables, load};

    #[test]
    fn every_scenario_reads_when_its_variables_have_values() {
        for builtin in builtins() {
            let mut variables = Variables::default();
            for (name, otherwise) in builtin.variables() {
                if otherwise.is_none() {
                    let value = if name.ends_with("url") || name == "target" {
                        "https://video.test/a.m3u8"
                    } else {
                        "true --a 'b c'"
                    };
                    variables.set(&name, value);
                }
            }
            let read = load(builtin.text, builtin.name, &variables, &Overrides::default());
            let scenario = read.unwrap_or_else(|error| panic!("{error}"));
            assert_eq!(scenario.name, builtin.name);
            assert_eq!(scenario.about, builtin.about());
            assert!(scenario.about.len() > 20 && !scenario.gates.is_empty(), "{}", builtin.name);
        }
        assert!(Builtin::of("smoke").is_some() && Builtin::of("nothing").is_none());
    }

    #[test]
    fn a_scenario_without_its_variables_says_which() {
        let smoke = Builtin::of("smoke").unwrap();
        let error = load(smoke.text, smoke.name, &Variables::default(), &Overrides::default());
        assert!(error.unwrap_err().to_string().contains("variable target has no value"));
    }
}

//! Which resource is meant: `KIND NAME` or `KIND/NAME`, as people are used to.

use std::str::FromStr;

use clap::Args;
use tidegate_contract::resource::{Kind, ResourceName};

use crate::cli::{
    failure::{Exit, Failure},
    near::nearest,
};

/// A kind, and perhaps one of it.
#[derive(Args)]
pub(in crate::cli) struct Which {
    /// The kind: property, origin, cache_policy, certificate, pop, node, prefix, anycast_group, …; or kind/name
    #[arg(value_name = "KIND[/NAME]")]
    kind: Said,
    /// The name
    name: Option<ResourceName>,
}

#[derive(Debug, Clone, PartialEq)]
struct Said(Kind, Option<ResourceName>);

impl Which {
    /// The kind, and the one of it that is named.
    pub(super) fn any(self) -> Result<(Kind, Option<ResourceName>), Failure> {
        match (self.kind, self.name) {
            (Said(_, Some(first)), Some(second)) => {
                let text = format!("one name is enough: {first} or {second}");
                Err(Failure::new(Exit::Usage, text))
            }
            (Said(kind, first), second) => Ok((kind, first.or(second))),
        }
    }

    /// The kind alone: a selector says which of it.
    pub(super) fn all(self) -> Result<Kind, Failure> {
        match self.any()? {
            (kind, None) => Ok(kind),
            (kind, Some(name)) => {
                let text = format!("{kind}/{name} is one: a selector chooses among all");
                Err(Failure::new(Exit::Usage, text))
            }
        }
    }

    /// The one that is named.
    pub(super) fn one(self) -> Result<(Kind, ResourceName), Failure> {
        let (kind, name) = self.any()?;
        let name = name.ok_or_else(|| {
            let failure = Failure::new(Exit::Usage, format!("which {kind}?"));
            failure.with_hint(format!("tidegate get {kind} lists what there is"))
        })?;
        Ok((kind, name))
    }
}

impl FromStr for Said {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (kind, name) = match text.split_once('/') {
            None => (text, None),
            Some((kind, name)) => (kind, Some(name)),
        };
        let known = kind.parse::<Kind>().map_err(|error| {
            match nearest(kind, Kind::ALL.map(Kind::as_str)) {
                Some(near) => format!("{error}; did you mean {near:?}?"),
                None => error.to_string(),
            }
        })?;
        let name = name.map(ResourceName::parse).transpose().map_err(|error| error.to_string())?;
        Ok(Self(known, name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_resource_is_named_in_one_word_or_in_two() {
        let name = |text: &str| ResourceName::parse(text).expect("good");
        let which = |kind: &str, second: Option<&str>| Which {
            kind: kind.parse().expect("known"),
            name: second.map(name),
        };
        assert_eq!(which("pops/fra", None).one().ok(), Some((Kind::Pop, name("fra"))));
        assert_eq!(which("pop", Some("fra")).one().ok(), Some((Kind::Pop, name("fra"))));
        assert_eq!(which("pop", None).any().ok(), Some((Kind::Pop, None)));
        assert_eq!(which("pop", None).one().err().map(|failure| failure.exit), Some(Exit::Usage));
        assert!(which("pop/fra", Some("ams")).any().is_err());
        assert!(
            "porperty".parse::<Said>().expect_err("unknown").contains("did you mean \"property\"")
        );
        assert!("pop/FRA".parse::<Said>().is_err());
    }
}

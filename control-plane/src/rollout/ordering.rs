//! Who learns of what first, when caches and what steers clients to them both change.
//!
//! Pure. What is added must be served before anybody is sent there; what is taken away must have nobody sent there
//! before it goes. So additions reach caches first and what steers (DNS, content steering) after them, and what is
//! taken away leaves what steers first and the caches after a time in which old answers run out. An operator never
//! has to think of it.

use tidegate_contract::resource::Kind;

use crate::change::{Act, Step};

/// Who reads releases.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Audience {
    /// Nodes that serve.
    Caches,
    /// What tells clients where to go.
    Steering,
}

/// What of a release is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// All but what is taken away: old and new stand side by side.
    Additions,
    /// The release as it is.
    Whole,
}

/// One turn: an audience gets a part, after a wait for old answers where one is needed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Turn {
    /// Who.
    pub audience: Audience,
    /// What.
    pub part: Part,
    /// Whether old answers of what steers must have run out before.
    pub after_ttl: bool,
}

impl Turn {
    /// The turn in words.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match (self.audience, self.part, self.after_ttl) {
            (Audience::Caches, Part::Additions, _) => "caches get what is added",
            (Audience::Caches, Part::Whole, false) => "caches get it",
            (Audience::Caches, Part::Whole, true) => "caches get it after the TTL",
            (Audience::Steering, _, _) => "steering gets it",
        }
    }
}

/// The turns in which a change goes out. `steers` says whether anything that steers is connected.
#[must_use]
pub fn turns(steps: &[Step], steers: bool) -> Vec<Turn> {
    let caches = Turn { audience: Audience::Caches, part: Part::Whole, after_ttl: false };
    let steering = Turn { audience: Audience::Steering, part: Part::Whole, after_ttl: false };
    let is_read = |step: &&Step| steers && is_for_steering(step.key.kind);
    if !steps.iter().any(|step| is_read(&step)) {
        return vec![caches];
    }
    let takes_away =
        steps.iter().any(|step| step.key.kind.is_for_caches() && step.act == Act::Delete);
    let adds = steps.iter().any(|step| step.key.kind.is_for_caches() && step.act != Act::Delete);
    match (adds, takes_away) {
        (true, true) => vec![
            Turn { part: Part::Additions, ..caches },
            steering,
            Turn { after_ttl: true, ..caches },
        ],
        (_, true) => vec![steering, Turn { after_ttl: true, ..caches }],
        (_, false) => vec![caches, steering],
    }
}

fn is_for_steering(kind: Kind) -> bool {
    matches!(
        kind,
        Kind::SteeringPolicy | Kind::DnsZone | Kind::Pop | Kind::Property | Kind::AnycastGroup
    )
}

#[cfg(test)]
mod tests {
    use tidegate_contract::resource::ResourceKey;

    use super::*;

    fn steps(texts: &[(&str, Act)]) -> Vec<Step> {
        let step = |(text, act): &(&str, Act)| Step {
            key: ResourceKey::parse(text).expect("good"),
            act: *act,
        };
        texts.iter().map(step).collect()
    }

    fn words(turns: &[Turn]) -> String {
        let word = |turn: &Turn| {
            format!(
                "{:?} {:?}{}",
                turn.audience,
                turn.part,
                if turn.after_ttl { " late" } else { "" }
            )
        };
        turns.iter().map(word).collect::<Vec<_>>().join(", ")
    }

    #[test]
    fn additions_reach_caches_first_and_what_goes_leaves_them_last() {
        let zone = ("dns_zone/example.com", Act::Update);
        for (changed, order) in [
            (vec![("property/a", Act::Create), zone], "Caches Whole, Steering Whole"),
            (vec![("property/a", Act::Delete), zone], "Steering Whole, Caches Whole late"),
            (
                vec![("property/a", Act::Delete), ("pop/b", Act::Create), zone],
                "Caches Additions, Steering Whole, Caches Whole late",
            ),
            (vec![zone], "Caches Whole, Steering Whole"),
            (vec![("origin/a", Act::Delete)], "Caches Whole"),
        ] {
            assert_eq!(words(&turns(&steps(&changed), true)), order, "{changed:?}");
        }
    }

    #[test]
    fn without_anything_that_steers_caches_get_it_at_once() {
        let changed = steps(&[("property/a", Act::Delete), ("dns_zone/z", Act::Create)]);
        assert_eq!(words(&turns(&changed, false)), "Caches Whole");
    }
}

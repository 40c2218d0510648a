//! Who learns of what first, when caches and what steers clients to them both change.
//!
//! Pure. What is added must be served before anybody is sent there; what is taken away must have nobody sent there
//! before it goes. So additions reach caches first and what steers (DNS, content steering) after them, and what is
//! taken away leaves what steers first and the caches after a time in which old answers run out. An operator never
//! has to think of it.

use tidegate_contract::resource::{Kind, ResourceKey};

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
    let takes_away = steps.iter().any(is_taken_away);
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

/// How a change goes out where something steers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Split {
    /// Whether what steers gets it before any cache does.
    pub steering_first: bool,
    /// What is taken away in a second release, when caches have the rest of this one.
    pub then: Vec<ResourceKey>,
}

/// The same turns as what is done about them.
#[must_use]
pub fn split(steps: &[Step], steers: bool) -> Split {
    match turns(steps, steers).first() {
        Some(Turn { audience: Audience::Steering, .. }) => {
            Split { steering_first: true, then: Vec::new() }
        }
        Some(Turn { part: Part::Additions, .. }) => {
            let gone = steps.iter().filter(|step| is_taken_away(step));
            Split { steering_first: false, then: gone.map(|step| step.key.clone()).collect() }
        }
        _ => Split::default(),
    }
}

/// Whether caches would miss it while clients are still sent there. A PoP that goes takes its nodes along: they serve on
/// with what they have, and nobody else misses it.
fn is_taken_away(step: &Step) -> bool {
    let kind = step.key.kind;
    step.act == Act::Delete && kind.is_for_caches() && kind != Kind::Pop
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
            (vec![("pop/a", Act::Delete)], "Caches Whole, Steering Whole"),
        ] {
            assert_eq!(words(&turns(&steps(&changed), true)), order, "{changed:?}");
        }
    }

    #[test]
    fn what_goes_waits_for_a_release_of_its_own_where_something_comes_as_well() {
        let (come, gone) = (("property/b", Act::Create), ("property/a", Act::Delete));
        let key = ResourceKey::parse("property/a").expect("good");
        for (changed, steers, steering_first, then) in [
            (vec![come], true, false, vec![]),
            (vec![gone], true, true, vec![]),
            (vec![come, gone], true, false, vec![key]),
            (vec![come, gone], false, false, vec![]),
        ] {
            let expected = Split { steering_first, then };
            assert_eq!(split(&steps(&changed), steers), expected, "{changed:?} {steers}");
        }
    }

    #[test]
    fn without_anything_that_steers_caches_get_it_at_once() {
        let changed = steps(&[("property/a", Act::Delete), ("dns_zone/z", Act::Create)]);
        assert_eq!(words(&turns(&changed, false)), "Caches Whole");
    }
}

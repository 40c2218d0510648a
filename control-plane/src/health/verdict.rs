//! What a PoP's self-tests, rates and the views of others together mean.
//!
//! Pure. One source alone never makes a PoP bad that others find good, except its own word. Invariant: a state changes
//! only after the same opinion came several times in a row.

use serde::{Deserialize, Serialize};

/// What is known of a PoP at one moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Signs {
    /// Nodes that were heard of a moment ago and find themselves good.
    pub good_nodes: u32,
    /// Nodes that were heard of a moment ago and find themselves bad.
    pub bad_nodes: u32,
    /// Requests of the last seconds, and how many of them failed by our or upstream's fault.
    pub requests: u64,
    /// As above.
    pub errors: u64,
    /// Other PoPs whose requests it answered a moment ago.
    pub views_good: u32,
    /// Other PoPs whose requests it did not answer.
    pub views_bad: u32,
}

/// How a PoP is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Health {
    /// Nobody can tell.
    Unknown,
    /// It serves.
    Good,
    /// It serves, with many errors.
    Degraded,
    /// It does not serve.
    Bad,
}

/// What the signs of one moment say, and why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Opinion {
    /// How it is.
    pub health: Health,
    /// In a few words.
    pub why: &'static str,
}

/// One PoP's state with its hysteresis.
#[derive(Debug, Clone)]
pub struct Judge {
    state: Opinion,
    against: Option<(Health, u32)>,
}

impl Health {
    /// The name in the API and tables.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Good => "good",
            Self::Degraded => "degraded",
            Self::Bad => "bad",
        }
    }
}

/// What the signs say by themselves.
#[must_use]
pub fn opinion(signs: &Signs) -> Opinion {
    let say = |health, why| Opinion { health, why };
    let views = signs.views_good + signs.views_bad;
    let is_lost = signs.views_bad >= QUORUM_MIN && signs.views_bad * 2 > views;
    let is_seen = signs.views_good > 0 && signs.views_good * 2 > views;
    match (signs.good_nodes, signs.bad_nodes) {
        (0, 0) if is_lost => say(Health::Bad, "not heard of, and not reached by most others"),
        (0, 0) if is_seen => say(Health::Good, "not heard of, but reached by others"),
        (0, 0) => say(Health::Unknown, "not heard of"),
        (0, _) => say(Health::Bad, "every node fails its own test"),
        _ if is_lost => say(Health::Bad, "not reached by most others"),
        (good, bad) if bad > good => say(Health::Degraded, "most nodes fail their own test"),
        _ if signs.requests >= REQUESTS_MIN
            && signs.errors * 100 >= signs.requests * ERROR_PERCENT =>
        {
            say(Health::Degraded, "many requests fail")
        }
        _ => say(Health::Good, "serves"),
    }
}

impl Default for Judge {
    fn default() -> Self {
        let state = Opinion { health: Health::Unknown, why: "not heard of" };
        Self { state, against: None }
    }
}

impl Judge {
    /// Takes one opinion a second; gives back the state.
    pub fn hear(&mut self, opinion: Opinion) -> Opinion {
        if opinion.health == self.state.health {
            self.against = None;
            self.state = opinion;
            return self.state;
        }
        let times = match self.against {
            Some((health, times)) if health == opinion.health => times + 1,
            _ => 1,
        };
        self.against = Some((opinion.health, times));
        // A first word about a PoP is better than none.
        let needed = match (self.state.health, opinion.health) {
            (Health::Unknown, _) => 1,
            (_, Health::Good) => TO_GOOD,
            (_, Health::Unknown) => TO_UNKNOWN,
            _ => TO_WORSE,
        };
        if times >= needed {
            self.state = opinion;
            self.against = None;
        }
        self.state
    }

    /// The state.
    #[must_use]
    pub fn state(&self) -> Opinion {
        self.state
    }
}

/// One PoP's view of another may be about the path between them.
const QUORUM_MIN: u32 = 2;
const REQUESTS_MIN: u64 = 50;
const ERROR_PERCENT: u64 = 10;
/// Seconds of the same opinion.
const TO_WORSE: u32 = 3;
const TO_GOOD: u32 = 10;
const TO_UNKNOWN: u32 = 5;

#[cfg(test)]
mod tests {
    use super::*;

    fn signs(good: u32, bad: u32, seen: u32, lost: u32) -> Signs {
        Signs {
            good_nodes: good,
            bad_nodes: bad,
            views_good: seen,
            views_bad: lost,
            ..Signs::default()
        }
    }

    #[test]
    fn nobody_is_bad_by_one_view_and_everybody_by_its_own_word() {
        for (signs, expected) in [
            (signs(1, 0, 0, 0), Health::Good),
            (signs(1, 0, 0, 1), Health::Good),
            (signs(1, 0, 3, 2), Health::Good),
            (signs(1, 0, 1, 2), Health::Bad),
            (signs(0, 2, 5, 0), Health::Bad),
            (signs(1, 2, 5, 0), Health::Degraded),
            (signs(0, 0, 0, 0), Health::Unknown),
            (signs(0, 0, 1, 1), Health::Unknown),
            (signs(0, 0, 2, 1), Health::Good),
            (signs(0, 0, 0, 2), Health::Bad),
            (Signs { requests: 100, errors: 10, ..signs(1, 0, 0, 0) }, Health::Degraded),
            (Signs { requests: 49, errors: 49, ..signs(1, 0, 0, 0) }, Health::Good),
        ] {
            assert_eq!(opinion(&signs).health, expected, "{signs:?}");
        }
    }

    #[test]
    fn it_turns_worse_after_three_seconds_and_good_again_after_ten() {
        let (good, bad) = (opinion(&signs(1, 0, 0, 0)), opinion(&signs(0, 1, 0, 0)));
        let mut judge = Judge::default();
        assert_eq!(judge.hear(good).health, Health::Good, "the first word counts");
        let mut heard = |text: &str| {
            let letter = |byte: u8| {
                let state = judge.hear(if byte == b'b' { bad } else { good });
                if state.health == Health::Good { 'g' } else { 'b' }
            };
            text.bytes().map(letter).collect::<String>()
        };
        assert_eq!(heard("bbgbbgbbb"), "ggggggggb");
        assert_eq!(heard("gggggggggbgggggggggg"), "bbbbbbbbbbbbbbbbbbbg");
    }
}

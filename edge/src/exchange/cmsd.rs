//! Common Media Server Data (CTA-5006): what this node knows of the way to a player, said with the response.
//!
//! `CMSD-Dynamic` is a list with one member for each server on the way, origin first. Ours is made for each response;
//! `CMSD-Static` is the origin's and passes through. Invariant: nothing is said that was not measured.

use std::time::Duration;

use http::{HeaderName, HeaderValue};

use crate::listener::stream::Way;

/// The header's name.
pub const CMSD_DYNAMIC: HeaderName = HeaderName::from_static("cmsd-dynamic");

/// What is known beside the way itself.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Dynamic {
    /// From the request's arrival to the first byte of the body that was there to be sent (`rd`).
    pub delay: Option<Duration>,
    /// The bitrate above which a player should not go, in kbit/s (`mb`): the operator's limit, not a guess.
    pub bitrate_max_kbps: Option<u64>,
    /// Whether this node is short of something, so that players should go elsewhere (`du`).
    pub is_under_duress: bool,
}

/// The header of a response; `before` is what came with it from upstream just now, if it was not stored. `None` when
/// there is nothing to say.
#[must_use]
pub fn dynamic(
    node: &str,
    way: &Way,
    more: Dynamic,
    before: Option<&HeaderValue>,
) -> Option<HeaderValue> {
    let ms = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX).min(INTEGER_MAX);
    // Rounded: a way of half a kilobit is none.
    let kbps = |bits: u64| (bits.saturating_add(500) / 1000).min(INTEGER_MAX);
    let numbers = [
        ("etp", way.bits_per_second.map(kbps)),
        ("rtt", way.rtt.map(ms)),
        ("mb", more.bitrate_max_kbps.map(|kbps| kbps.min(INTEGER_MAX))),
        ("rd", more.delay.map(ms)),
    ];
    let said = numbers.into_iter().filter_map(|(name, number)| Some((name, number?)));
    let mut member = String::with_capacity(64);
    for (name, number) in said {
        member.push_str(&format!(";{name}={number}"));
    }
    if more.is_under_duress {
        member.push_str(";du");
    }
    if member.is_empty() {
        return before.cloned();
    }
    let own = format!("{}{member}", text(node));
    let before = before.and_then(|before| before.to_str().ok());
    let before = before.filter(|before| !before.is_empty() && before.len() <= BEFORE_BYTES_MAX);
    let list = match before {
        Some(before) => format!("{before},{own}"),
        None => own,
    };
    HeaderValue::try_from(list).ok()
}

/// A string of structured fields (RFC 9651 4.1.6); what cannot stand in one is left out.
fn text(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for character in text.chars().filter(|character| matches!(character, ' '..='~')) {
        if matches!(character, '"' | '\\') {
            out.push('\\');
        }
        out.push(character);
    }
    out.push('"');
    out
}

/// The largest integer of structured fields.
const INTEGER_MAX: u64 = 999_999_999_999_999;
/// What other servers may have said before us.
const BEFORE_BYTES_MAX: usize = 2048;

#[cfg(test)]
mod tests {
    use super::*;

    fn way(bits_per_second: Option<u64>, rtt_ms: Option<u64>) -> Way {
        Way { bits_per_second, rtt: rtt_ms.map(Duration::from_millis), client: None }
    }

    #[test]
    fn what_is_known_is_said() {
        let say = |way, more, before| {
            let before: Option<HeaderValue> = before;
            dynamic("fra-1", &way, more, before.as_ref())
                .map(|value| value.to_str().unwrap().to_owned())
        };
        let none = Dynamic::default();
        assert_eq!(say(way(None, None), none, None), None);
        assert_eq!(
            say(way(Some(115_400_499), Some(16)), none, None).as_deref(),
            Some("\"fra-1\";etp=115400;rtt=16")
        );
        let all = Dynamic {
            delay: Some(Duration::from_micros(2900)),
            bitrate_max_kbps: Some(5000),
            is_under_duress: true,
        };
        assert_eq!(
            say(way(None, Some(0)), all, None).as_deref(),
            Some("\"fra-1\";rtt=0;mb=5000;rd=2;du")
        );
        let before = HeaderValue::from_static("\"origin\";etp=76;rtt=32");
        let both = "\"origin\";etp=76;rtt=32,\"fra-1\";rtt=1";
        assert_eq!(say(way(None, Some(1)), none, Some(before.clone())).as_deref(), Some(both));
        assert_eq!(
            say(way(None, None), none, Some(before)).as_deref(),
            Some("\"origin\";etp=76;rtt=32")
        );
    }

    #[test]
    fn names_and_numbers_stay_within_structured_fields() {
        let value =
            dynamic("a\"b\\c\u{e9}\r\n", &way(Some(u64::MAX), None), Dynamic::default(), None)
                .unwrap();
        assert_eq!(value.to_str().unwrap(), "\"a\\\"b\\\\c\";etp=999999999999999");
    }
}

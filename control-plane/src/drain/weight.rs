//! How much of its share of new clients a PoP gets, while it drains and while it comes back.
//!
//! Pure. Invariant: a PoP whose DNS stage has begun gets nothing, and one that comes back never jumps.

use super::machine::{Drain, Stage};

/// In percent of its share.
#[must_use]
pub fn weight_percent(drain: Option<&Drain>, now_unix_ms: u64) -> u8 {
    let Some(drain) = drain else { return 100 };
    match drain.returns_since_unix_ms {
        Some(since) => {
            let gone = now_unix_ms.saturating_sub(since);
            let whole = drain.slow_start_ms.max(1);
            u8::try_from((gone.saturating_mul(100) / whole).min(100)).unwrap_or(100)
        }
        None if drain.stage >= Stage::Dns => 0,
        None => 100,
    }
}

#[cfg(test)]
mod tests {
    use tidegate_contract::id::PopId;

    use super::{super::machine::Target, *};

    #[test]
    fn a_pop_goes_at_once_and_comes_back_by_a_tenth_a_minute() {
        let mut drain = Drain {
            pop: PopId::parse("a").expect("good"),
            stage: Stage::Permit,
            target: Target::Off,
            since_unix_ms: 0,
            begun_unix_ms: 0,
            deadline_unix_ms: 0,
            by: String::new(),
            reason: String::new(),
            returns_since_unix_ms: None,
            slow_start_ms: 600_000,
        };
        assert_eq!((weight_percent(None, 5), weight_percent(Some(&drain), 5)), (100, 100));
        drain.stage = Stage::Dns;
        assert_eq!(weight_percent(Some(&drain), 5), 0);
        drain.returns_since_unix_ms = Some(1000);
        for (minute, expected) in [(0, 0), (1, 10), (5, 50), (10, 100), (99, 100)] {
            assert_eq!(weight_percent(Some(&drain), 1000 + minute * 60_000), expected);
        }
        drain.slow_start_ms = 0;
        assert_eq!(weight_percent(Some(&drain), 1001), 100);
    }
}

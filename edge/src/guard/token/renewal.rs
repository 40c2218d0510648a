//! A token that asks for it lives on (`catr`): same claims, later expiry, signed here.
//!
//! Invariant: a renewed token opens no more than the old one, and the chain ends: it is renewed only up to a time after
//! it was first issued, which the property sets.

use ciborium::Value;
use tidegate_contract::{guard_policy::RenewalPolicy, playback_token as claim};

use super::{Token, cwt, key::Keys};

/// The new token, when it is time for one and it may be.
#[must_use]
pub fn renew(
    token: &Token,
    policy: &RenewalPolicy,
    keys: &Keys,
    now: u64,
) -> Option<(String, u64)> {
    let renewal = token.claims.renewal?;
    let is_due = now.saturating_add(renewal.deadline) >= token.claims.expires;
    let last = token.claims.issued?.saturating_add(policy.age_max.as_secs());
    let lifetime = renewal.lifetime.min(policy.lifetime_max.as_secs());
    let expires = now.saturating_add(lifetime).min(last);
    if !is_due || expires <= token.claims.expires {
        return None;
    }
    let mut payload = cwt::value(token.renewable.as_ref()?).ok()?;
    let expiry =
        payload.as_map_mut()?.iter_mut().find(|(label, _)| *label == Value::from(claim::EXP))?;
    expiry.1 = Value::from(expires);
    Some((cwt::seal(&cwt::encode(&payload), keys, now)?, expires))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::guard::fixture::{NOW, keys};

    fn sealed(expires: u64, issued: u64) -> String {
        let renewal =
            Value::Map(vec![(0.into(), 1.into()), (1.into(), 600.into()), (2.into(), 30.into())]);
        let claims = Value::Map(vec![
            (claim::EXP.into(), expires.into()),
            (claim::IAT.into(), issued.into()),
            (claim::CTI.into(), Value::Bytes(b"id".to_vec())),
            (claim::CATR.into(), renewal),
        ]);
        cwt::seal(&cwt::encode(&claims), &keys(), NOW).unwrap()
    }

    fn renewed(expires: u64, issued: u64) -> Option<u64> {
        let policy = RenewalPolicy {
            lifetime_max: Duration::from_secs(300),
            age_max: Duration::from_secs(3600),
        };
        let token = cwt::read(&sealed(expires, issued), &keys(), NOW).unwrap();
        let (text, until) = renew(&token, &policy, &keys(), NOW)?;
        let again = cwt::read(&text, &keys(), NOW).unwrap();
        assert_eq!(again.claims.expires, until);
        assert_eq!((again.claims.id, again.claims.issued), (token.claims.id, token.claims.issued));
        Some(until)
    }

    #[test]
    fn a_token_is_renewed_near_its_end_and_not_for_ever() {
        assert_eq!(renewed(NOW + 31, NOW - 100), None, "too early");
        assert_eq!(renewed(NOW + 30, NOW - 100), Some(NOW + 300));
        assert_eq!(renewed(NOW + 30, NOW - 3500), Some(NOW + 100), "cut at its age");
        assert_eq!(renewed(NOW + 30, NOW - 3600), None, "too old");
    }
}

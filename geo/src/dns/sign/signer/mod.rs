//! Finishes answers of signed zones: what is said about keys, signatures, proofs of what is not there.
//!
//! Signing takes tens of microseconds of a core, so what was signed is kept, and only so many sign at one time. Invariant:
//! what leaves this file for somebody who wants signatures is signed as a whole, or refused.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, SystemTime},
};

use arc_swap::ArcSwap;
use hickory_proto::{
    dnssec::rdata::DNSSECRData,
    op::ResponseCode,
    rr::{Name, RData, RecordType},
    serialize::binary::BinEncodable,
};
use prometheus::Registry;

use super::{
    config::Config,
    denial::{Denied, nsec},
    keys::{Keys, OF_KEYS, ZoneKeys},
    metrics::Metrics,
    rrset::{Canonical, Validity},
    signatures::{Signatures, fresh_until},
};
use crate::{
    dns::answer::{Answer, Denial, Outcome, Query},
    zone::{RecordSet, Zones},
};

/// Signs answers.
#[derive(Debug)]
pub struct Signer {
    pub(super) keys: ArcSwap<Keys>,
    pub(super) metrics: Metrics,
    signatures: Signatures,
    signing: AtomicUsize,
    signing_max: usize,
    lifetime: Duration,
    dnskey_ttl: u32,
    ttl_max: u32,
}

/// Why an answer was not signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SignError {
    /// Too many are being signed; whoever asks is to ask again, by TCP if it asked by UDP.
    #[error("too many signatures are being made")]
    Busy,
    /// The answer cannot be signed.
    #[error("the answer cannot be signed")]
    Unsignable,
}

impl Signer {
    /// Signs with these keys.
    #[must_use]
    pub fn new(config: &Config, keys: Keys, registry: &Registry) -> Self {
        let metrics = Metrics::new(registry);
        metrics.zones.set(keys.zones().count() as i64);
        let seconds = |duration: Duration| u32::try_from(duration.as_secs()).unwrap_or(u32::MAX);
        Self {
            keys: ArcSwap::from_pointee(keys),
            metrics,
            signatures: Signatures::new(config.signatures_max),
            signing: AtomicUsize::new(0),
            signing_max: config.signing_max,
            lifetime: config.signature_lifetime,
            dnskey_ttl: seconds(config.dnskey_ttl),
            ttl_max: seconds(config.ttl_max),
        }
    }

    /// Whether answers of a zone are signed.
    #[must_use]
    pub fn signs(&self, apex: &Name) -> bool {
        self.keys.load().zone(apex).is_some()
    }

    /// The keys that sign now.
    #[must_use]
    pub fn keys(&self) -> Arc<Keys> {
        self.keys.load_full()
    }

    /// Adds what DNSSEC adds to an answer: to everybody what is asked about keys, to those who want it signatures and
    /// proofs. Those get a name that is not there as one that has nothing, unless they know compact denials
    /// (RFC 9824 3 and 5).
    ///
    /// # Errors
    /// [`SignError`]; the answer is then worth nothing.
    pub fn finish(
        &self,
        answer: &mut Answer,
        zones: &Zones,
        query: &Query<'_>,
        now: SystemTime,
    ) -> Result<(), SignError> {
        let keys = self.keys.load();
        if keys.is_empty() {
            return Ok(());
        }
        let mut denies = None;
        if let Some(denial) = answer.denial.take() {
            denies = keys.zone(denial.zone.origin());
            if let Some(zone) = denies {
                self.settle(answer, zone, denial, query)?;
            }
        }
        if !query.dnssec_ok {
            return Ok(());
        }
        // Whoever knows compact denials is told in every answer of a signed zone that they are given here.
        let zone = zones.find(query.name, query.kind).map(|zone| zone.origin());
        answer.is_compact = query.compact_ok && zone.is_some_and(|zone| keys.zone(zone).is_some());
        let is_ours = |set: &RecordSet| {
            match set.kind {
                // What denies at a delegation is of the zone above.
                RecordType::NSEC => denies,
                // The name servers of a delegation are what the zone below says.
                RecordType::NS if answer.outcome == Outcome::Referral => None,
                kind => keys.zone(zones.find(&set.owner, kind)?.origin()),
            }
        };
        let answers = self.signed(&answer.answers, is_ours, now)?;
        let authorities = self.signed(&answer.authorities, is_ours, now)?;
        (answer.answers, answer.authorities) = (answers, authorities);
        Ok(())
    }

    /// Turns a denial into what was asked for about keys, or into the record that proves it.
    fn settle(
        &self,
        answer: &mut Answer,
        zone: &ZoneKeys,
        denial: Denial,
        query: &Query<'_>,
    ) -> Result<(), SignError> {
        let Denial { zone: of, name, mut kinds, ttl } = denial;
        let is_apex = name == *of.origin();
        let given = |data: Vec<RData>, kind, ttl| RecordSet {
            owner: name.clone(),
            kind,
            ttl,
            data: data.into(),
        };
        if is_apex && OF_KEYS.contains(&query.kind) {
            let data = zone.data(query.kind).map_err(|_| SignError::Unsignable)?;
            answer.answers.push(given(data, query.kind, self.dnskey_ttl));
            answer.authorities.clear();
            answer.outcome = Outcome::Records;
            return Ok(());
        }
        if !query.dnssec_ok && query.kind != RecordType::NSEC {
            return Ok(());
        }
        let is_missing = answer.code == ResponseCode::NXDomain;
        if is_apex {
            kinds.extend(OF_KEYS);
        }
        let denied = if is_missing { Denied::Name } else { Denied::Type(kinds) };
        let proof = nsec(&name, &denied).ok_or(SignError::Unsignable)?;
        let proof = given(vec![proof], RecordType::NSEC, ttl);
        if is_missing && !(query.dnssec_ok && query.compact_ok) {
            answer.code = ResponseCode::NoError;
        }
        if query.kind == RecordType::NSEC && answer.outcome != Outcome::Referral {
            answer.authorities.clear();
            answer.answers.push(proof);
            answer.code = ResponseCode::NoError;
            answer.outcome = Outcome::Records;
        } else {
            answer.authorities.push(proof);
        }
        Ok(())
    }

    /// The sets, and after each that is ours its signatures.
    fn signed<'k>(
        &self,
        sets: &[RecordSet],
        is_ours: impl Fn(&RecordSet) -> Option<&'k Arc<ZoneKeys>>,
        now: SystemTime,
    ) -> Result<Vec<RecordSet>, SignError> {
        let mut all = Vec::with_capacity(2 * sets.len());
        for set in sets {
            let mut set = set.clone();
            let Some(zone) = is_ours(&set) else {
                all.push(set);
                continue;
            };
            set.ttl = set.ttl.min(self.ttl_max);
            let signatures = self.sign(zone, &set, now)?;
            let signatures = RecordSet { kind: RecordType::RRSIG, data: signatures, ..set.clone() };
            all.extend([set, signatures]);
        }
        Ok(all)
    }

    /// The signatures of a set, by every key of its zone that signs it.
    ///
    /// # Errors
    /// [`SignError`]
    pub fn sign(
        &self,
        zone: &ZoneKeys,
        set: &RecordSet,
        now: SystemTime,
    ) -> Result<Arc<[RData]>, SignError> {
        let unsignable = |_| SignError::Unsignable;
        let canonical =
            Canonical::new(&set.owner, set.kind, set.ttl, &set.data).map_err(unsignable)?;
        let apex = zone.apex().to_bytes().map_err(unsignable)?;
        let tags = zone.signers(set.kind).map(|key| key.life.tag);
        let identity = self.signatures.identity(&canonical, &apex, tags);
        if let Some(signatures) = self.signatures.get(identity, now) {
            self.metrics.reused.inc();
            return Ok(signatures);
        }
        let _turn = self.turn()?;
        let validity = Validity::from(now, self.lifetime, identity.salt());
        let made = zone.signers(set.kind).map(|key| {
            let rrsig = canonical.sign(zone.apex(), key, validity)?;
            Ok(RData::DNSSEC(DNSSECRData::RRSIG(rrsig)))
        });
        let made: Arc<[RData]> = made.collect::<Result<_, _>>().map_err(unsignable)?;
        self.metrics.made.inc_by(made.len() as u64);
        self.signatures.insert(
            identity,
            made.clone(),
            fresh_until(validity.expiration, self.lifetime),
        );
        self.metrics.kept.set(self.signatures.len() as i64);
        Ok(made)
    }

    fn turn(&self) -> Result<Turn<'_>, SignError> {
        let turn = Turn(&self.signing);
        if self.signing.fetch_add(1, Ordering::Relaxed) >= self.signing_max {
            self.metrics.refused.inc();
            return Err(SignError::Busy);
        }
        Ok(turn)
    }
}

/// One that signs; it was counted before it could be refused, and is counted out either way.
struct Turn<'a>(&'a AtomicUsize);

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests;

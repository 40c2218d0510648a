//! The section `[dnssec]`.
//!
//! Invariant: how long signatures last and how long things are held leaves time to sign anew.

use std::{path::PathBuf, time::Duration};

use anyhow::ensure;
use serde::{Deserialize, Serialize};

use super::rollover::Holding;

/// How zones are signed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The folder of the keys, as `tidegate-geo keys` makes them; a zone with keys is signed. The node writes there when keys are
    /// rolled over by the control plane. Default none: no zone is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keys: Option<PathBuf>,
    /// How often the folder is looked at for changes.
    #[serde(with = "humantime_serde")]
    pub look_every: Duration,
    /// How long a signature lasts; it is made anew when a quarter is left.
    #[serde(with = "humantime_serde")]
    pub signature_lifetime: Duration,
    /// Signatures that are kept, for the sets that were asked for last: about 400 bytes each.
    pub signatures_max: usize,
    /// Signatures that are made at one time. Beyond that whoever asks is told to ask again by TCP, so that names nobody
    /// asked for before cannot keep all cores busy.
    pub signing_max: usize,
    /// The TTL of DNSKEY, CDS and CDNSKEY records.
    #[serde(with = "humantime_serde")]
    pub dnskey_ttl: Duration,
    /// The TTL of the DS records at the parent: what a roll-over waits for.
    #[serde(with = "humantime_serde")]
    pub ds_ttl: Duration,
    /// The longest TTL of a signed record; longer ones are cut to it, and a roll-over waits for it.
    #[serde(with = "humantime_serde")]
    pub ttl_max: Duration,
    /// How long it takes at most until a change of the folder has reached every node: a roll-over waits for it as well.
    #[serde(with = "humantime_serde")]
    pub margin: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            keys: None,
            look_every: Duration::from_secs(10),
            signature_lifetime: 7 * DAY,
            signatures_max: 100_000,
            signing_max: 4,
            dnskey_ttl: Duration::from_secs(3600),
            ds_ttl: DAY,
            ttl_max: DAY,
            margin: Duration::from_secs(3600),
        }
    }
}

impl Config {
    /// Whether the values make sense.
    ///
    /// # Errors
    /// What does not.
    pub fn check(&self) -> anyhow::Result<()> {
        ensure!(!self.look_every.is_zero(), "dnssec.look_every is 0");
        ensure!(
            self.signatures_max >= SIGNATURES_MIN,
            "dnssec.signatures_max is below {SIGNATURES_MIN}"
        );
        ensure!(self.signing_max > 0, "dnssec.signing_max is 0");
        let ttls = [self.dnskey_ttl, self.ds_ttl, self.ttl_max, self.margin];
        ensure!(
            ttls.iter().all(|ttl| *ttl <= 31 * DAY),
            "dnssec: dnskey_ttl, ds_ttl, ttl_max and margin are 31 days at most"
        );
        ensure!(
            (DAY..=60 * DAY).contains(&self.signature_lifetime),
            "dnssec.signature_lifetime is 1 to 60 days"
        );
        // What is given out has a quarter left, less half a day of jitter.
        let left = self.signature_lifetime / 4;
        ensure!(
            self.ttl_max.max(self.dnskey_ttl) <= left,
            "dnssec.ttl_max and dnskey_ttl are at most a quarter of signature_lifetime: a signature must not end while it \
             is held"
        );
        Ok(())
    }

    /// What a roll-over waits for.
    #[must_use]
    pub fn holding(&self) -> Holding {
        let Self { dnskey_ttl, ds_ttl, ttl_max, margin, .. } = *self;
        Holding { dnskey_ttl, ds_ttl, ttl_max, margin }
    }
}

const DAY: Duration = Duration::from_secs(86_400);
/// Fewer would be forgotten before they are asked for again.
const SIGNATURES_MIN: usize = 128;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_leave_time_to_sign_anew() {
        let good = Config::default();
        assert!(good.check().is_ok());
        for bad in [
            Config { look_every: Duration::ZERO, ..good.clone() },
            Config { signatures_max: 0, ..good.clone() },
            Config { signing_max: 0, ..good.clone() },
            Config { signature_lifetime: DAY / 2, ..good.clone() },
            Config { signature_lifetime: 61 * DAY, ..good.clone() },
            Config { ttl_max: 2 * DAY, ..good.clone() },
            Config { dnskey_ttl: 2 * DAY, ..good.clone() },
            Config { ds_ttl: 32 * DAY, ..good },
        ] {
            assert!(bad.check().is_err(), "{bad:?}");
        }
    }
}

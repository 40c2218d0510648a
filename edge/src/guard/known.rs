//! Tokens whose signature was good a moment ago, so that a player costs one check a minute and not one a segment.
//!
//! A token is found by its hash under the rules that it was read by: with other keys or rules it is read again.
//! Invariant: what is found is checked against the time and the request as if it had just been read.

use std::{sync::Arc, time::Duration};

use moka::sync::Cache;

use super::{
    metrics::Metrics,
    token::{Token, TokenError, Verifier},
};

/// Tokens by their hash.
pub struct Known(Cache<[u8; 32], Arc<Token>>);

impl Known {
    /// The token of a text. `rules` names what it is read by.
    ///
    /// # Errors
    /// [`TokenError`]; what is refused is not remembered, or a stranger could fill the memory.
    pub fn read(
        &self,
        text: &str,
        rules: &[u8; 32],
        verifier: &Verifier,
        now: u64,
        metrics: &Metrics,
    ) -> Result<Arc<Token>, TokenError> {
        let hash = *blake3::keyed_hash(rules, text.as_bytes()).as_bytes();
        if let Some(token) = self.0.get(&hash) {
            metrics.known.inc();
            verifier.check_time(&token, now)?;
            return Ok(token);
        }
        metrics.read.inc();
        let token = Arc::new(verifier.read(text, now)?);
        self.0.insert(hash, token.clone());
        Ok(token)
    }
}

impl Default for Known {
    fn default() -> Self {
        let known = Cache::builder()
            .max_capacity(BYTES_MAX)
            .weigher(|_, token: &Arc<Token>| token.weight)
            .time_to_live(AGE_MAX)
            .build();
        Self(known)
    }
}

/// How long a token is believed without looking at its signature again.
const AGE_MAX: Duration = Duration::from_secs(60);
/// About 30000 tokens of usual size.
const BYTES_MAX: u64 = 32 * 1024 * 1024;

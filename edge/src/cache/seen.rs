//! Which keys were met lately, in a few bytes each: whether something comes back, without keeping it.
//!
//! A table of fingerprints in rows; a full row forgets its oldest. A false "yes" is as rare as equal fingerprints in
//! one row; it costs one admission that was not earned. Invariant: the size never changes.

use super::key::Key;

/// Fingerprints of keys, the youngest of each row in front.
pub(super) struct Seen {
    rows: Box<[[u32; ROW]]>,
}

impl Seen {
    /// A memory of about so many keys.
    pub(super) fn new(keys: usize) -> Self {
        Self { rows: vec![[0; ROW]; (keys / ROW).max(1)].into() }
    }

    /// Notes a key; whether it was known.
    pub(super) fn note(&mut self, key: &Key) -> bool {
        let (row, print) = self.place(key);
        let known = row.iter().position(|other| *other == print);
        let end = known.unwrap_or(ROW - 1);
        row.copy_within(..end, 1);
        row[0] = print;
        known.is_some()
    }

    /// Forgets a key; whether it was known.
    pub(super) fn take(&mut self, key: &Key) -> bool {
        let (row, print) = self.place(key);
        let Some(known) = row.iter().position(|other| *other == print) else { return false };
        row.copy_within(known + 1.., known);
        row[ROW - 1] = 0;
        true
    }

    fn place(&mut self, key: &Key) -> (&mut [u32; ROW], u32) {
        let word = u128::from_le_bytes(key.0);
        let at = ((word as u64) % self.rows.len() as u64) as usize;
        // Zero stands for an empty place.
        let print = ((word >> 96) as u32).max(1);
        (&mut self.rows[at], print)
    }
}

/// Fingerprints in a row: one cache line.
const ROW: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    fn key(n: u64) -> Key {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&n.to_le_bytes());
        let mut key = [0; 16];
        key.copy_from_slice(&hasher.finalize().as_bytes()[..16]);
        Key(key)
    }

    #[test]
    fn what_comes_back_soon_is_known_and_what_never_came_is_not() {
        let mut seen = Seen::new(4096);
        assert!((0..2000).all(|n| !seen.note(&key(n))));
        assert!((0..2000).all(|n| seen.note(&key(n))));
        assert!(seen.take(&key(7)) && !seen.take(&key(7)) && !seen.note(&key(7)));
    }

    #[test]
    fn a_long_scan_pushes_the_old_out() {
        let mut seen = Seen::new(1024);
        seen.note(&key(0));
        for n in 1..20_000 {
            seen.note(&key(n));
        }
        assert!(!seen.note(&key(0)));
    }
}

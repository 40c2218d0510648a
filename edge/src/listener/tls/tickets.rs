//! Session tickets that every node of a PoP can read: TLS over TCP is resumed at any of them (RFC 8446 4.6.1).
//!
//! A ticket is `slot (4 bytes), nonce (12), AES-256-GCM of the session`. The key of a slot of time is derived from a
//! secret that the nodes share, so nothing has to be handed round when it changes. Invariant: a ticket is read only in
//! its own slot and the [`SLOTS_KEPT`] after it, and nothing that a client made up is read at all.

use std::{fmt, sync::Arc};

use arc_swap::ArcSwap;
use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use rustls::server::ProducesTickets;
use tidegate_chassis::Clock;

/// Writes and reads tickets.
pub struct Tickets {
    secret: ArcSwap<[u8; 32]>,
    clock: Clock,
}

impl Tickets {
    /// Tickets under a secret of this process alone, until [`Tickets::share`] is called.
    #[must_use]
    pub fn new(clock: Clock) -> Arc<Self> {
        Arc::new(Self { secret: ArcSwap::from_pointee(rand::random()), clock })
    }

    /// From now on tickets are under this secret; those under another are not read any more.
    pub fn share(&self, secret: [u8; 32]) {
        self.secret.store(Arc::new(secret));
    }

    fn key(&self, slot: u32) -> Option<LessSafeKey> {
        let key = blake3::keyed_hash(&self.secret.load(), &slot.to_be_bytes());
        Some(LessSafeKey::new(UnboundKey::new(&AES_256_GCM, key.as_bytes()).ok()?))
    }

    /// The slot of time that it is.
    fn slot(&self) -> u32 {
        let since_1970 = self.clock.now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        u32::try_from(since_1970.as_secs() / SLOT_S).unwrap_or(u32::MAX)
    }
}

impl ProducesTickets for Tickets {
    fn enabled(&self) -> bool {
        true
    }

    fn lifetime(&self) -> u32 {
        // A ticket of the slot's end is read that long.
        (SLOT_S as u32) * SLOTS_KEPT
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        let slot = self.slot();
        let nonce: [u8; NONCE_LEN] = rand::random();
        let head = slot.to_be_bytes();
        let mut sealed = plain.to_vec();
        self.key(slot)?
            .seal_in_place_append_tag(
                Nonce::assume_unique_for_key(nonce),
                Aad::from(head),
                &mut sealed,
            )
            .ok()?;
        Some([&head[..], &nonce, &sealed].concat())
    }

    fn decrypt(&self, ticket: &[u8]) -> Option<Vec<u8>> {
        let (head, rest) = ticket.split_first_chunk::<4>()?;
        let (nonce, sealed) = rest.split_first_chunk::<NONCE_LEN>()?;
        let (slot, now) = (u32::from_be_bytes(*head), self.slot());
        // The clock of the node that wrote it may be ahead.
        if slot > now.saturating_add(1) || now.saturating_sub(slot) > SLOTS_KEPT {
            return None;
        }
        let mut plain = sealed.to_vec();
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let length = self.key(slot)?.open_in_place(nonce, Aad::from(*head), &mut plain).ok()?.len();
        plain.truncate(length);
        Some(plain)
    }
}

impl fmt::Debug for Tickets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tickets(…)")
    }
}

/// A key is used for two hours: random nonces of all nodes together stay far from repeating.
const SLOT_S: u64 = 2 * 60 * 60;
/// Slots after its own in which a ticket is read: it is good for twelve to fourteen hours.
const SLOTS_KEPT: u32 = 6;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn hours(n: u64) -> Duration {
        Duration::from_secs(n * 60 * 60)
    }

    #[test]
    fn a_ticket_of_one_node_is_read_by_another_that_shares_the_secret() {
        let (one, other) = (Tickets::new(Clock::system()), Tickets::new(Clock::system()));
        let ticket = one.encrypt(b"session").unwrap();
        assert_eq!(one.decrypt(&ticket).unwrap(), b"session");
        assert_eq!(other.decrypt(&ticket), None);
        one.share([7; 32]);
        other.share([7; 32]);
        assert_eq!(one.decrypt(&ticket), None, "the old secret is forgotten");
        let ticket = one.encrypt(b"session").unwrap();
        assert_eq!(other.decrypt(&ticket).unwrap(), b"session");
        assert_ne!(one.encrypt(b"session"), Some(ticket));
    }

    #[test]
    fn keys_change_with_time_and_old_tickets_are_not_read() {
        let clock = Clock::manual(std::time::UNIX_EPOCH + hours(500_000));
        let tickets = Tickets::new(clock.clone());
        let ticket = tickets.encrypt(b"session").unwrap();
        clock.advance(hours(11));
        assert!(tickets.decrypt(&ticket).is_some());
        assert_ne!(tickets.encrypt(b"session").unwrap()[..4], ticket[..4], "another slot");
        clock.advance(hours(4));
        assert!(tickets.decrypt(&ticket).is_none());
    }

    #[test]
    fn what_was_changed_or_made_up_is_not_read() {
        let tickets = Tickets::new(Clock::system());
        let ticket = tickets.encrypt(b"session").unwrap();
        for at in 0..ticket.len() {
            let mut changed = ticket.clone();
            changed[at] ^= 1;
            assert_eq!(tickets.decrypt(&changed), None, "{at}");
            assert_eq!(tickets.decrypt(&ticket[..at]), None, "{at}");
        }
        assert!(!format!("{tickets:?}").contains("secret"));
    }
}

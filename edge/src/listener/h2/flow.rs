//! Windows: how much may be sent, and how much a client may send (RFC 9113 5.2 and 6.9). Pure.
//!
//! Invariant: no window exceeds 2^31-1, and nothing is sent into one that is not positive; a client's setting may make
//! it negative.

/// What we may send.
#[derive(Debug, Clone, Copy)]
pub struct SendWindow(i64);

/// What a client may send, and what of it is to be told.
#[derive(Debug)]
pub struct ReceiveWindow {
    /// What the client may still send.
    left: u32,
    /// Taken away by the app, and not given back to the client yet.
    taken: u32,
    size: u32,
}

impl SendWindow {
    /// A window of this size.
    #[must_use]
    pub fn new(size: u32) -> Self {
        Self(size.into())
    }

    /// Bytes that may be sent now.
    #[must_use]
    pub fn room(self) -> usize {
        usize::try_from(self.0).unwrap_or(0)
    }

    /// Bytes were sent, no more than there is room for.
    pub fn sent(&mut self, bytes: usize) {
        self.0 -= bytes as i64;
    }

    /// The client, or its setting, makes it larger or smaller.
    ///
    /// # Errors
    /// When it would be too large.
    pub fn add(&mut self, change: i64) -> Result<(), Overflow> {
        let sum = self.0.saturating_add(change);
        if sum > WINDOW_MAX {
            return Err(Overflow);
        }
        self.0 = sum;
        Ok(())
    }
}

impl ReceiveWindow {
    /// A window of this size.
    #[must_use]
    pub fn new(size: u32) -> Self {
        Self { left: size, taken: 0, size }
    }

    /// Bytes have come.
    ///
    /// # Errors
    /// When they are more than the window.
    pub fn received(&mut self, bytes: u32) -> Result<(), Overflow> {
        self.left = self.left.checked_sub(bytes).ok_or(Overflow)?;
        Ok(())
    }

    /// Bytes were taken away; returns by how much the client is to be told that the window grows, if it is worth it.
    #[must_use]
    pub fn release(&mut self, bytes: u32) -> Option<u32> {
        self.taken += bytes;
        if self.taken < self.size / 2 {
            return None;
        }
        self.left += self.taken;
        Some(std::mem::take(&mut self.taken))
    }
}

/// A window beyond its bounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Overflow;

const WINDOW_MAX: i64 = (1 << 31) - 1;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_window_may_become_negative_but_not_too_large() {
        let mut window = SendWindow::new(10);
        window.sent(8);
        assert_eq!(window.add(-10), Ok(()));
        assert_eq!(window.room(), 0, "8 below");
        assert_eq!(window.add(9), Ok(()));
        assert_eq!(window.room(), 1);
        assert_eq!(window.add(WINDOW_MAX), Err(Overflow));
        assert_eq!(window.room(), 1, "unchanged");
        assert_eq!(window.add(WINDOW_MAX - 1), Ok(()));
    }

    proptest! {
        #[test]
        fn what_a_client_may_send_and_what_is_held_is_the_size(
            steps in prop::collection::vec((any::<bool>(), 0_u32..600), 1..60),
        ) {
            let mut window = ReceiveWindow::new(1000);
            let (mut known_to_client, mut held) = (1000_u32, 0_u32);
            for (is_data, bytes) in steps {
                if is_data {
                    let is_fine = window.received(bytes).is_ok();
                    prop_assert_eq!(is_fine, bytes <= known_to_client);
                    if is_fine {
                        known_to_client -= bytes;
                        held += bytes;
                    }
                } else {
                    let taken = bytes.min(held);
                    held -= taken;
                    known_to_client += window.release(taken).unwrap_or(0);
                }
                prop_assert_eq!(window.left, known_to_client);
                prop_assert_eq!(window.left + window.taken + held, 1000);
                prop_assert!(window.taken < 500, "a client that waits is not left waiting");
            }
        }
    }
}

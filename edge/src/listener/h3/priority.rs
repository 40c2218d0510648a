//! What QUIC is told of how urgent a response is (RFC 9218).
//!
//! Pure. Urgency orders streams of different urgency. Of equal ones those that are not incremental go one after the
//! other, in the order of their requests, and those that are share what is left. Invariant: QUIC's own order never
//! contradicts what the client asked for.

use crate::listener::priority::Priority;

/// The priority of a stream at QUIC, where more goes first and equals take turns packet by packet.
#[must_use]
pub fn of_stream(priority: Priority, stream: u64) -> i32 {
    // Behind all that go one after the other.
    let turn = if priority.is_incremental { TURNS - 1 } else { (stream / 4) as i32 & (TURNS - 1) };
    -(i32::from(priority.urgency) * TURNS + turn)
}

/// Places within one urgency: eight urgencies fit into an i32, and no connection lives for this many requests.
const TURNS: i32 = 1 << 27;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urgency_comes_first_then_the_order_of_requests_then_the_incremental() {
        let at = |text: &str, stream| of_stream(Priority::default().with(text.as_bytes()), stream);
        let order = [
            at("u=0", 400),
            at("u=0,i", 0),
            at("", 4),
            at("", 8),
            at("i", 0),
            at("u=7", 0),
            at("u=7,i", 0),
        ];
        assert!(order.is_sorted_by(|a, b| a > b), "{order:?}");
        assert_eq!(at("i", 0), at("i", 400), "they share");
    }
}

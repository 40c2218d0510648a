//! Which of several responses goes first (RFC 9218).

use quinn::RecvStream;

use crate::harness::{
    Edge,
    raw::{self, frame, request},
    within,
};

/// Reads two streams as their bytes come; how much of each had come when the first of them was complete.
async fn race(mut a: RecvStream, mut b: RecvStream) -> (usize, usize) {
    let (mut from_a, mut from_b) = (0, 0);
    within(async {
        loop {
            tokio::select! {
                read = a.read_chunk(usize::MAX, true) => match read.unwrap() {
                    Some(chunk) => from_a += chunk.bytes.len(),
                    None => return (from_a, from_b),
                },
                read = b.read_chunk(usize::MAX, true) => match read.unwrap() {
                    Some(chunk) => from_b += chunk.bytes.len(),
                    None => return (from_a, from_b),
                },
            }
        }
    })
    .await
}

/// Two requests at once; what had come of each when one was complete.
async fn two(edge: &Edge, first: &str, second: &str, update: Option<&[u8]>) -> (usize, usize) {
    two_of(edge, ("bytes", first), ("bytes", second), update).await
}

/// The same for kinds of responses.
async fn two_of(
    edge: &Edge,
    first: (&str, &str),
    second: (&str, &str),
    update: Option<&[u8]>,
) -> (usize, usize) {
    let (connection, mut control) = raw::greeted(edge).await;
    assert!(raw::is_alive(&connection).await);
    if let Some(update) = update {
        control.write_all(&frame(0xf_0700, update)).await.unwrap();
        // The control stream is read before a later request is answered.
        assert!(raw::is_alive(&connection).await);
    }
    let (mut a, a_recv) = connection.open_bi().await.unwrap();
    let (mut b, b_recv) = connection.open_bi().await.unwrap();
    let ask = |(kind, priority): (&str, &str)| {
        request("GET", &format!("/{kind}/1000000"), &[("priority", priority)])
    };
    // Both leave in one packet, for nothing runs in between.
    let (a_request, b_request) = (ask(first), ask(second));
    let (wrote_a, wrote_b) = tokio::join!(a.write_all(&a_request), b.write_all(&b_request));
    wrote_a.unwrap();
    wrote_b.unwrap();
    a.finish().unwrap();
    b.finish().unwrap();
    race(a_recv, b_recv).await
}

/// Whether it comes out so at least once: a client that gets no time of its machine finds more in its buffers than what was
/// sent first, while another order would never look like this one.
async fn comes_out(
    edge: &Edge,
    (first, second, update): (&str, &str, Option<&[u8]>),
    is_so: fn(usize, usize) -> bool,
) -> bool {
    for _ in 0..TRIES {
        let (a, b) = two(edge, first, second, update).await;
        if is_so(a, b) {
            return true;
        }
    }
    false
}

const TRIES: usize = 8;

#[tokio::test]
async fn the_urgent_goes_first_though_it_was_asked_for_last() {
    let edge = Edge::start().await;
    let urgent_first = |a, b| b > 1_000_000 && a < 500_000;
    assert!(comes_out(&edge, ("u=7", "u=0", None), urgent_first).await);
}

#[tokio::test]
async fn equals_go_one_after_the_other_unless_they_are_incremental() {
    let edge = Edge::start().await;
    let in_order = |a, b| a > 1_000_000 && b < 500_000;
    assert!(comes_out(&edge, ("u=3", "u=3", None), in_order).await);
    let together = |a: usize, b: usize| a.min(b) > 700_000;
    assert!(comes_out(&edge, ("u=3, i", "u=3, i", None), together).await);
}

#[tokio::test]
async fn a_frame_changes_what_the_header_said() {
    let edge = Edge::start().await;
    // Streams 0 and 4 are those that ask whether the connection lives; 12 is the second of the race.
    let urgent_first = |a, b| b > 1_000_000 && a < 500_000;
    assert!(comes_out(&edge, ("u=2", "u=7", Some(b"\x0cu=0")), urgent_first).await);
}

#[tokio::test]
async fn a_response_says_how_urgent_it_is_where_no_frame_does() {
    let edge = Edge::start().await;
    let (a, b) = two_of(&edge, ("bytes", "u=2"), ("first", "u=5"), None).await;
    assert!(b > 1_000_000 && a < 500_000, "{a} {b}");
    // What it leaves out stays as the client asked for it.
    let (a, b) = two_of(&edge, ("shared", "u=6"), ("shared", "u=1"), None).await;
    assert!(b > 1_000_000 && a < 500_000, "{a} {b}");
    let (a, b) = two_of(&edge, ("shared", "u=3"), ("shared", "u=3"), None).await;
    assert!(a.min(b) > 700_000, "{a} {b}");
    let (a, b) = two_of(&edge, ("bytes", "u=2"), ("first", "u=0"), Some(b"\x0cu=7")).await;
    assert!(a > 1_000_000 && b < 500_000, "the client's last word: {a} {b}");
}

//! A slow client that comes first must not set the pace for the others.

use crate::harness::{FakeOrigin, PROTOCOLS, TestEdge, noise, reply};

#[tokio::test]
async fn a_client_that_does_not_read_holds_up_nobody() {
    let origin = FakeOrigin::start().await;
    let body = noise(8_000_000);
    for slow in PROTOCOLS {
        let path = format!("/{}", slow.as_str().replace('/', "-"));
        origin.on(&path, reply(200).cache_control("max-age=60").body(body.clone()));
        let edge = TestEdge::before(&origin).start().await;
        let mut stuck = edge.open(slow, &path).await;
        stuck.read().await.unwrap().expect("the first bytes");
        for fast in PROTOCOLS {
            let answer = edge.get_by(fast, &path).await;
            assert_eq!(answer.whole_body().len(), body.len(), "{slow:?} before {fast:?}");
        }
        assert_eq!(origin.count(&path), 1);
        let mut read = 0;
        while let Some(bytes) = stuck.read().await.unwrap() {
            read += bytes.len();
        }
        assert!(read > 7_000_000, "the slow one gets its own, too: {read}");
    }
}

//! Control stream, QPACK streams, and streams that mean nothing.

use std::time::Duration;

use crate::harness::{
    Edge, client,
    raw::{self, Outcome, SETTINGS, frame},
    within,
};

#[tokio::test]
async fn the_rules_of_one_way_streams_hold_with_their_codes() {
    let edge = Edge::start().await;
    let control = |frames: &[Vec<u8>]| [vec![0], frames.concat()].concat();
    let settings = || frame(SETTINGS, &[]);
    let after = |more: &[Vec<u8>]| control(&[settings(), more.concat()]);
    for (what, streams, code) in [
        ("no SETTINGS", vec![control(&[frame(0xd, &[1])])], raw::MISSING_SETTINGS),
        ("DATA", vec![after(&[frame(0, b"")])], raw::FRAME_UNEXPECTED),
        ("HEADERS", vec![after(&[frame(1, b"")])], raw::FRAME_UNEXPECTED),
        ("second SETTINGS", vec![after(&[settings()])], raw::FRAME_UNEXPECTED),
        ("PRIORITY of HTTP/2", vec![after(&[frame(2, &[0; 5])])], raw::FRAME_UNEXPECTED),
        ("setting of HTTP/2", vec![control(&[frame(SETTINGS, &[2, 1])])], raw::SETTINGS_ERROR),
        ("setting twice", vec![control(&[frame(SETTINGS, &[6, 1, 6, 1])])], raw::SETTINGS_ERROR),
        ("cut off setting", vec![control(&[frame(SETTINGS, &[6])])], raw::FRAME_ERROR),
        ("push id down", vec![after(&[frame(0xd, &[9]), frame(0xd, &[1])])], raw::ID_ERROR),
        ("push id and more", vec![after(&[frame(0xd, &[1, 9])])], raw::FRAME_ERROR),
        ("GOAWAY up", vec![after(&[frame(7, &[0]), frame(7, &[4])])], raw::ID_ERROR),
        ("CANCEL_PUSH", vec![after(&[frame(3, &[0])])], raw::ID_ERROR),
        ("priority of a push", vec![after(&[frame(0xf_0701, &[0])])], raw::ID_ERROR),
        ("two control streams", vec![after(&[]), after(&[])], raw::STREAM_CREATION_ERROR),
        ("two encoder streams", vec![vec![2], vec![2]], raw::STREAM_CREATION_ERROR),
        ("two decoder streams", vec![vec![3], vec![3]], raw::STREAM_CREATION_ERROR),
        ("push stream", vec![vec![1, 0]], raw::STREAM_CREATION_ERROR),
        ("capacity", vec![vec![2, 0x3f, 0xe1, 0x1f]], raw::QPACK_ENCODER_STREAM_ERROR),
        ("insertion", vec![vec![2, 0x41, b'a', 1, b'b']], raw::QPACK_ENCODER_STREAM_ERROR),
        ("increment 0", vec![vec![3, 0]], raw::QPACK_DECODER_STREAM_ERROR),
        ("acknowledgement", vec![vec![3, 0x84]], raw::QPACK_DECODER_STREAM_ERROR),
    ] {
        let connection = raw::connect(&edge).await;
        let mut open = Vec::new();
        for bytes in &streams {
            open.push(raw::one_way(&connection, bytes).await);
        }
        assert_eq!(raw::close_code(&connection).await, Outcome::Closed(code), "{what}");
    }
}

#[tokio::test]
async fn a_critical_stream_that_ends_or_is_reset_closes_the_connection() {
    let edge = Edge::start().await;
    for bytes in [[&[0][..], &frame(SETTINGS, &[])].concat(), vec![2], vec![3]] {
        for is_reset in [false, true] {
            let connection = raw::connect(&edge).await;
            let mut stream = raw::one_way(&connection, &bytes).await;
            if is_reset {
                assert!(raw::is_alive(&connection).await, "so the stream's type has arrived");
                stream.reset(0x100u32.into()).unwrap();
            } else {
                stream.finish().unwrap();
            }
            let code = raw::close_code(&connection).await;
            assert_eq!(code, Outcome::Closed(raw::CLOSED_CRITICAL_STREAM), "{bytes:?} {is_reset}");
        }
    }
}

#[tokio::test]
async fn a_client_that_does_not_want_our_control_stream_is_left() {
    let edge = Edge::start().await;
    let connection = raw::connect(&edge).await;
    let mut theirs = within(connection.accept_uni()).await.unwrap();
    assert!(raw::is_alive(&connection).await);
    theirs.stop(raw::NO_ERROR.into()).unwrap();
    let code = raw::close_code(&connection).await;
    assert_eq!(code, Outcome::Closed(raw::CLOSED_CRITICAL_STREAM));

    // One that leaves no room in it is waited for as long as a handshake.
    let edge = Edge::with(|config| config.limits.handshake_timeout = Duration::from_secs(1)).await;
    let mut transport = quinn::TransportConfig::default();
    transport.stream_receive_window(4u32.into());
    let endpoint = client::endpoint_with(client::trusting(), transport);
    let connection = within(endpoint.connect(edge.address, "localhost").unwrap()).await.unwrap();
    let code = raw::close_code(&connection).await;
    assert_eq!(code, Outcome::Closed(raw::STREAM_CREATION_ERROR));
}

#[tokio::test]
async fn what_is_unknown_is_ignored() {
    let edge = Edge::start().await;
    let connection = raw::connect(&edge).await;
    let mut unknown =
        raw::one_way(&connection, &[raw::varint(0x21 + 0x1f * 7), b"xyz".to_vec()].concat()).await;
    let stopped = within(unknown.stopped()).await.unwrap();
    assert_eq!(stopped, Some(raw::STREAM_CREATION_ERROR.into()), "its reading is ended");
    let _ = unknown.finish();
    // A stream that ends before it says its type.
    raw::one_way(&connection, &[]).await.finish().unwrap();
    let greased = [raw::varint(0x21), vec![5], vec![8, 1], vec![0x33, 1]].concat();
    let frames = [vec![0], frame(SETTINGS, &greased), frame(0x21, &[7; 3_000]), frame(7, &[0])];
    let _control = raw::one_way(&connection, &frames.concat()).await;
    let _encoder = raw::one_way(&connection, &[2, 0x20]).await;
    let _decoder = raw::one_way(&connection, &[3, 0x44]).await;
    assert!(raw::is_alive(&connection).await);
}

#[tokio::test]
async fn endless_control_data_and_endless_streams_close_the_connection() {
    let edge = Edge::start().await;
    let (connection, mut control) = raw::greeted(&edge).await;
    let junk = frame(0x21, &[0; 10_000]);
    while control.write_all(&junk).await.is_ok() {}
    assert_eq!(raw::close_code(&connection).await, Outcome::Closed(raw::EXCESSIVE_LOAD));

    let connection = raw::connect(&edge).await;
    while let Ok(mut stream) = connection.open_uni().await {
        let _ = stream.write_all(&[0x40, 0x40]).await;
        let _ = stream.finish();
    }
    assert_eq!(raw::close_code(&connection).await, Outcome::Closed(raw::EXCESSIVE_LOAD));
}

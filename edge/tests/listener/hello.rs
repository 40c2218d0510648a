//! Clients whose first word of TLS offers too little, and what they are told.

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::harness::{Edge, Wire, within};

#[tokio::test]
async fn a_client_of_an_old_version_learns_that_it_is_the_version() {
    let edge = Edge::start().await;
    let cases: [(&str, u16, &[u8], u8); 8] = [
        ("SSL 3.0", 0x0300, b"", PROTOCOL_VERSION),
        ("SSL 3.0 and algorithms", 0x0300, &[0, 13, 0, 4, 0, 2, 4, 3], PROTOCOL_VERSION),
        ("TLS 1.0", 0x0301, b"", PROTOCOL_VERSION),
        ("TLS 1.1 with algorithms", 0x0302, &[0, 13, 0, 4, 0, 2, 4, 3], PROTOCOL_VERSION),
        ("no known version", 0x0303, &[0, 43, 0, 3, 2, 0x7f, 0x1c], PROTOCOL_VERSION),
        ("TLS 1.3 without algorithms", 0x0303, &[0, 43, 0, 3, 2, 3, 4], MISSING_EXTENSION),
        (
            "TLS 1.3 without shares",
            0x0303,
            &[0, 43, 0, 3, 2, 3, 4, 0, 13, 0, 4, 0, 2, 4, 3, 0, 10, 0, 4, 0, 2, 0, 29],
            MISSING_EXTENSION,
        ),
        ("TLS 1.2 without algorithms", 0x0303, b"", HANDSHAKE_FAILURE),
    ];
    for (what, version, extensions, expected) in cases {
        for is_in_parts in [false, true] {
            let mut client = TcpStream::connect(edge.https).await.unwrap();
            let hello = hello(version, extensions);
            // What comes in parts is the library's, which says no for its own reasons.
            let (first, rest) = hello.split_at(if is_in_parts { 7 } else { hello.len() });
            client.write_all(first).await.unwrap();
            if is_in_parts {
                client.set_nodelay(true).unwrap();
                client.write_all(rest).await.unwrap();
            }
            let mut answer = Vec::new();
            within(client.read_to_end(&mut answer)).await.expect(what);
            let [21, 3, _, 0, 2, 2, alert] = *answer else { panic!("{what}: {answer:?}") };
            assert!(
                alert == expected || is_in_parts && alert == HANDSHAKE_FAILURE,
                "{what}: {alert}"
            );
        }
    }
    let refused = (2 * cases.len()) as f64;
    edge.expect_metric("edge_connections_refused_total", &[("reason", "handshake")], refused).await;
    assert_eq!(edge.client(Wire::H1).await.get("/bytes/5").await.status, 200);
}

/// A hello with these extensions, after one suite that every server has.
fn hello(version: u16, extensions: &[u8]) -> Vec<u8> {
    let mut body =
        [&version.to_be_bytes()[..], &[7; 32], &[0, 0, 4, 0xc0, 0x2b, 0x13, 1, 1, 0]].concat();
    if !extensions.is_empty() {
        body.extend((extensions.len() as u16).to_be_bytes());
        body.extend_from_slice(extensions);
    }
    let message = [&[1, 0], &(body.len() as u16).to_be_bytes()[..], &body].concat();
    [&[22, 3, 1], &(message.len() as u16).to_be_bytes()[..], &message].concat()
}

const HANDSHAKE_FAILURE: u8 = 40;
const PROTOCOL_VERSION: u8 = 70;
const MISSING_EXTENSION: u8 = 109;

//! Traces of single connections.

use crate::harness::{Edge, raw, until};

#[tokio::test]
async fn a_traced_connection_leaves_a_file_that_names_nobody() {
    let folder = tempfile::tempdir().unwrap();
    let edge = Edge::with(|config| {
        config.quic.qlog_dir = Some(folder.path().to_owned());
        config.quic.qlog_one_of = 1;
    })
    .await;
    let connection = raw::connect(&edge).await;
    assert!(raw::is_alive(&connection).await);
    connection.close(0x100u32.into(), b"");
    drop(connection);
    let text = || {
        let file = folder.path().read_dir().unwrap().next().unwrap().unwrap();
        std::fs::read_to_string(file.path()).unwrap()
    };
    until("packets are written", || text().contains("packet_sent")).await;
    assert!(!text().contains("127.0.0.1"));
}

#[tokio::test]
async fn an_operator_traces_the_next_connections_and_no_others() {
    let folder = tempfile::tempdir().unwrap();
    let edge = Edge::with(|config| config.quic.qlog_dir = Some(folder.path().to_owned())).await;
    let files = || folder.path().read_dir().unwrap().count();
    let come = async || assert!(raw::is_alive(&raw::connect(&edge).await).await);
    come().await;
    assert_eq!(files(), 0, "nobody asked");
    assert_eq!(edge.traces.as_ref().unwrap().ask(2), 2);
    for _ in 0..4 {
        come().await;
    }
    assert_eq!(files(), 2);
}

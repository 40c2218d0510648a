//! A whole edge tells the control plane how far the clients of each protocol are.

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use tidegate_chassis::{Clock, Process, believe};
use tidegate_contract::{geo_feed::SubnetRoundTrips, telemetry::SELF_TEST_PATH};
use tidegate_edge::{config::Config, control, node::Node};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
};
use tokio_rustls::TlsConnector;

use super::{
    fake::{FakeControl, within},
    node::settings,
};

#[tokio::test]
async fn an_edge_tells_how_far_its_clients_are_by_subnet_whatever_they_speak() {
    let folder = tempfile::tempdir().unwrap();
    let control = FakeControl::start().await;
    control.take_round_trips();
    let free = vec![SocketAddr::from(([127, 0, 0, 1], 0))];
    let mut config = Config {
        control: Some(control::Config {
            round_trips_interval: Duration::from_millis(200),
            // Nobody sends heartbeats.
            lease: Duration::from_secs(600),
            ..settings(&control, folder.path())
        }),
        ..Config::default()
    };
    (config.listen.http, config.listen.https, config.listen.workers) = (free.clone(), free, 1);
    config.listen.tls.self_signed = true;
    let process = Process::for_test();
    let node = Node::start(&config, &process, Clock::system()).await.unwrap();
    let addresses: BTreeMap<_, _> = node.addresses().into_iter().collect();
    let serving = tokio::spawn(node.serve());

    // Each client comes from a subnet of its own, so that the node's own tests are none of them.
    let plain = within(tcp([127, 7, 1, 1], addresses["http"])).await;
    let (_plain, body) = within(ask(plain)).await;
    let tls = TlsConnector::from(Arc::new(believe::client_of_anyone(&[b"http/1.1"])));
    let socket = within(tcp([127, 7, 2, 1], addresses["https"])).await;
    let tls = within(tls.connect("localhost".try_into().unwrap(), socket)).await.unwrap();
    within(ask(tls)).await;
    let quic =
        quinn::crypto::rustls::QuicClientConfig::try_from(believe::client_of_anyone(&[b"h3"]))
            .unwrap();
    let mut endpoint = quinn::Endpoint::client(([127, 7, 3, 1], 0).into()).unwrap();
    endpoint.set_default_client_config(quinn::ClientConfig::new(Arc::new(quic)));
    let connecting = endpoint.connect(addresses["quic"], "localhost").unwrap();
    let connection = within(connecting).await.unwrap();
    // The server's settings: the handshake is done on both sides.
    within(connection.accept_uni()).await.unwrap();
    connection.close(0u32.into(), b"");

    let mut lane = control.telemetry_lane().await;
    let mut heard: BTreeMap<String, SubnetRoundTrips> = BTreeMap::new();
    let wanted = ["127.7.1.0/24", "127.7.2.0/24", "127.7.3.0/24"];
    let is_known = |heard: &BTreeMap<String, SubnetRoundTrips>, subnet: &str| {
        heard.get(subnet).is_some_and(|one| !one.centroids.is_empty() && one.sent_bytes > 0)
    };
    within(async {
        while !wanted.iter().all(|subnet| is_known(&heard, subnet)) {
            for one in lane.round_trips().await.subnets {
                let none = SubnetRoundTrips {
                    centroids: Vec::new(),
                    sent_bytes: 0,
                    reached: Vec::new(),
                    ..one
                };
                let known = heard.entry(one.subnet.to_string()).or_insert(none);
                known.sent_bytes += one.sent_bytes;
                known.centroids.extend(one.centroids);
                known.reached.extend(one.reached);
            }
        }
    })
    .await;
    for subnet in wanted {
        let one = &heard[subnet];
        assert!(one.centroids.iter().all(|(ms, _)| (0.0..5000.0).contains(ms)), "{one:?}");
        // To which of the node's addresses it came: of anycast ones that says who lands here.
        assert!(one.reached.iter().all(|reached| reached.at == IpAddr::from([127, 0, 0, 1])));
        let connections: u32 = one.reached.iter().map(|reached| reached.connections).sum();
        let sent_bytes: u64 = one.reached.iter().map(|reached| reached.sent_bytes).sum();
        assert_eq!((connections, sent_bytes), (1, one.sent_bytes), "{one:?}");
    }
    assert!(!body.is_empty());
    serving.abort();
}

async fn tcp(from: [u8; 4], to: SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind((from, 0).into()).unwrap();
    socket.connect(to).await.unwrap()
}

/// Asks for what every node answers, and reads until the end of the answer.
async fn ask<T: AsyncReadExt + AsyncWriteExt + Unpin>(mut stream: T) -> (T, Vec<u8>) {
    let request =
        format!("GET {SELF_TEST_PATH} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    (stream, answer)
}

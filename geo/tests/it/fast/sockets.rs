//! Over real sockets: what is common and what is not, changes of the world, the drain.

use std::{
    net::{SocketAddr, UdpSocket},
    sync::Arc,
    time::{Duration, Instant},
};

use tidegate_chassis::Process;
use tidegate_geo::{
    dns::{
        fast::{self, Fast},
        handler::Handler,
    },
    world::Trust,
};

use super::{
    plain::Plain,
    stage::{PopPlan, Stage, world},
};

const ZONE: &str = "\
$TTL 300
@ SOA ns1 hostmaster 7 3600 600 86400 60
@ NS ns1
ns1 A 192.0.2.53
_steer.www TXT \"\"
";

fn stage() -> Stage {
    let world = world(&[PopPlan::roomy(), PopPlan::roomy()], Trust::Current, 1.0, 1);
    Stage::new(&[("cdn.test", ZONE.to_owned())], world)
}

fn serve(address: &str, sockets: usize, handler: &Arc<Handler>, process: &Process) -> SocketAddr {
    let config = fast::config::Config { sockets, ..fast::config::Config::default() };
    let fast = Fast::bind(&[address.parse().expect("good")], &config).expect("good");
    let bound = fast.addresses()[0];
    fast.serve(handler, &config, process).expect("good");
    bound
}

fn query(name: &str, record_type: u16, id: u16) -> Vec<u8> {
    let mut bytes = vec![0, 0, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    bytes[..2].copy_from_slice(&id.to_be_bytes());
    for label in name.split('.') {
        bytes.push(label.len() as u8);
        bytes.extend(label.bytes());
    }
    bytes.push(0);
    bytes.extend(record_type.to_be_bytes());
    bytes.extend([0, 1]);
    bytes
}

/// Asks, again when nothing comes: a datagram may be lost.
fn ask(server: SocketAddr, packet: &[u8]) -> Vec<u8> {
    let client = UdpSocket::bind(("127.0.0.1", 0)).expect("good");
    client.set_read_timeout(Some(Duration::from_secs(2))).expect("good");
    for _ in 0..15 {
        client.send_to(packet, server).expect("good");
        let mut buffer = [0; 1500];
        if let Ok((length, from)) = client.recv_from(&mut buffer) {
            assert_eq!(from, server);
            return buffer[..length].to_vec();
        }
    }
    panic!("no answer from {server}");
}

#[tokio::test(flavor = "multi_thread")]
async fn common_and_unusual_queries_are_answered_from_one_socket() {
    let (stage, process) = (stage(), Process::for_test());
    let handler = stage.handler(None, true);
    for (address, host) in [("127.0.0.1:0", [127, 0, 0, 1]), ("0.0.0.0:0", [127, 0, 0, 5])] {
        let process = if host[3] == 1 { process.clone() } else { Process::for_test() };
        let port = serve(address, 2, &handler, &process).port();
        let server = SocketAddr::from((host, port));
        let asking = tokio::task::spawn_blocking(move || {
            for (number, (name, record_type)) in [
                ("www.cdn.test", 1),
                ("www.cdn.test", 255),
                ("www.else.test", 1),
                ("no.cdn.test", 1),
            ]
            .into_iter()
            .enumerate()
            {
                let packet = query(name, record_type, number as u16);
                let answer = Plain::read(&ask(server, &packet));
                let expected = handler_answer(&packet);
                assert_eq!(answer, expected, "{name} {record_type}");
            }
        });
        asking.await.expect("good");
        process.drain().begin();
    }
}

fn handler_answer(packet: &[u8]) -> Plain {
    let handler = stage().handler(None, false);
    let client = "127.0.0.1:9".parse().expect("good");
    let answer = handler.answer_bytes(packet, client, tidegate_geo::dns::transport::Transport::Udp);
    Plain::read(&answer.expect("good"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_newer_world_is_answered_from_soon() {
    let (stage, process) = (stage(), Process::for_test());
    let server = serve("127.0.0.1:0", 1, &stage.handler(None, false), &process);
    let worlds = Arc::clone(&stage.worlds);
    let asking = tokio::task::spawn_blocking(move || {
        let packet = query("www.cdn.test", 1, 7);
        let first = ask(server, &packet);
        assert_eq!(first[first.len() - 4..], [192, 0, 2, 0]);
        let only = [PopPlan { capacity: 0.0, ..PopPlan::roomy() }, PopPlan::roomy()];
        worlds.replace(world(&only, Trust::Current, 1.0, 2));
        let began = Instant::now();
        while ask(server, &packet)[first.len() - 4..] != [192, 0, 2, 16] {
            assert!(began.elapsed() < Duration::from_secs(90), "the old world is answered from");
        }
    });
    asking.await.expect("good");
    process.drain().begin();
}

/// Queries go on all the time, one at a time; every one has its answer, whatever is exchanged meanwhile.
#[tokio::test(flavor = "multi_thread")]
async fn no_query_is_lost_to_a_change() {
    let (stage, process) = (stage(), Process::for_test());
    let server = serve("127.0.0.1:0", 1, &stage.handler(None, false), &process);
    let worlds = Arc::clone(&stage.worlds);
    let changing = tokio::spawn(async move {
        for round in 2..12 {
            let pops = [PopPlan::roomy(), PopPlan::roomy()];
            worlds.replace(world(&pops, Trust::Current, 1.0, round));
            tokio::task::yield_now().await;
        }
    });
    let asking = tokio::task::spawn_blocking(move || {
        let client = UdpSocket::bind("127.0.0.1:0").expect("good");
        client.set_read_timeout(Some(Duration::from_secs(90))).expect("good");
        for id in 0..400u16 {
            client.send_to(&query("www.cdn.test", 1, id), server).expect("good");
            let mut buffer = [0; 1500];
            let (length, _) = client.recv_from(&mut buffer).expect("an answer");
            assert_eq!(buffer[..2], id.to_be_bytes());
            assert_eq!(buffer[7], 1, "{:?}", &buffer[..length]);
        }
    });
    changing.await.expect("good");
    asking.await.expect("good");
    process.drain().begin();
}

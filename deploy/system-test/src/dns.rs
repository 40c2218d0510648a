//! One question to the system's DNS, as a resolver asks it for a client: A records, with the client's subnet (RFC 7871).
//!
//! Written by hand, so that what answers is not read by the library that it was written with.

use std::{
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};

use tokio::{net::UdpSocket, time::timeout};

/// What was answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    pub code: u8,
    pub addresses: Vec<Ipv4Addr>,
    pub ttl_seconds: u32,
    /// For how many first bits of the client's address it is true.
    pub scope: Option<u8>,
}

/// Asks over UDP for a client's /24; `None` when nothing comes back in time.
pub async fn ask(server: &str, name: &str, client: Ipv4Addr) -> Option<Answer> {
    let server: SocketAddr = server.parse().unwrap();
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    socket.connect(server).await.unwrap();
    socket.send(&query(name, client)).await.ok()?;
    let mut answer = [0; 1500];
    let length = timeout(TIME_MAX, socket.recv(&mut answer)).await.ok()?.ok()?;
    Some(read(&answer[..length]))
}

fn query(name: &str, client: Ipv4Addr) -> Vec<u8> {
    let mut out = vec![0x12, 0x34, 0, 0, 0, 1, 0, 0, 0, 0, 0, 1];
    for label in name.split('.') {
        out.push(u8::try_from(label.len()).unwrap());
        out.extend(label.bytes());
    }
    out.extend([0, 0, A, 0, 1]);
    // The root's name, OPT, 1232 bytes, no flags; one option: family 1, 24 bits of the address.
    out.extend([0, 0, OPT, 4, 208, 0, 0, 0, 0, 0, 11, 0, CLIENT_SUBNET, 0, 7, 0, 1, 24, 0]);
    out.extend(&client.octets()[..3]);
    out
}

fn read(message: &[u8]) -> Answer {
    let number = |at: usize| usize::from(u16::from_be_bytes([message[at], message[at + 1]]));
    let records = number(6) + number(8) + number(10);
    let mut at = behind_name(message, 12) + 4;
    let mut answer =
        Answer { code: message[3] & 15, addresses: Vec::new(), ttl_seconds: 0, scope: None };
    for _ in 0..records {
        at = behind_name(message, at);
        let (kind, length) = (number(at), number(at + 8));
        let data = at + 10;
        if kind == usize::from(A) {
            let octets: [u8; 4] = message[data..data + 4].try_into().unwrap();
            answer.addresses.push(octets.into());
            answer.ttl_seconds = u32::from_be_bytes(message[at + 4..at + 8].try_into().unwrap());
        }
        if kind == usize::from(OPT) {
            let mut option = data;
            while option < data + length {
                if number(option) == usize::from(CLIENT_SUBNET) {
                    answer.scope = Some(message[option + 7]);
                }
                option += 4 + number(option + 2);
            }
        }
        at = data + length;
    }
    answer
}

fn behind_name(message: &[u8], mut at: usize) -> usize {
    loop {
        match message[at] {
            0 => return at + 1,
            pointer if pointer >= 0xC0 => return at + 2,
            length => at += 1 + usize::from(length),
        }
    }
}

const A: u8 = 1;
const OPT: u8 = 41;
const CLIENT_SUBNET: u8 = 8;
const TIME_MAX: Duration = Duration::from_secs(5);

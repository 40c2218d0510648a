//! What asks a node: messages over UDP and TCP, and the tools that operators use.

use std::{net::SocketAddr, process::Command};

use hickory_proto::{
    op::{Edns, Message, OpCode, Query},
    rr::{Name, RecordType, rdata::opt::EdnsOption},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpStream, UdpSocket},
    time::timeout,
};

use super::WAIT;

/// A query that is built up.
pub(crate) struct Asked(Message);

impl Asked {
    /// What is asked.
    pub(crate) fn of(name: &str, kind: RecordType) -> Self {
        let mut message = Message::new(7, hickory_proto::op::MessageType::Query, OpCode::Query);
        message.add_query(Query::query(Name::from_ascii(name).expect("a name"), kind));
        Self(message)
    }

    /// With EDNS, and the client's subnet as it stands in the option.
    pub(crate) fn subnet(mut self, data: &[u8]) -> Self {
        let mut edns = Edns::new();
        edns.set_max_payload(1232);
        edns.options_mut().insert(EdnsOption::Unknown(8, data.to_vec()));
        self.0.set_edns(edns);
        self
    }

    /// As it goes out.
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        self.0.to_vec().expect("a message")
    }
}

/// Asks over UDP.
pub(crate) async fn ask_udp(address: SocketAddr, query: &[u8]) -> Message {
    let socket = UdpSocket::bind("127.0.0.1:0").await.expect("a socket");
    socket.connect(address).await.expect("loopback");
    socket.send(query).await.expect("loopback");
    let mut buffer = vec![0; 65_535];
    let length =
        timeout(WAIT, socket.recv(&mut buffer)).await.expect("an answer").expect("loopback");
    Message::from_vec(&buffer[..length]).expect("a message")
}

/// Asks over one TCP connection, all queries at once; as many answers as there are before it is closed.
pub(crate) async fn ask_tcp(address: SocketAddr, queries: &[&[u8]]) -> Vec<Message> {
    let mut stream = TcpStream::connect(address).await.expect("loopback");
    let mut out = Vec::new();
    for query in queries {
        out.extend((query.len() as u16).to_be_bytes());
        out.extend_from_slice(query);
    }
    let mut answers = Vec::new();
    // A connection that meets a limit is closed before anything is read.
    if stream.write_all(&out).await.is_err() {
        return answers;
    }
    while answers.len() < queries.len() {
        let Ok(length) = timeout(WAIT, stream.read_u16()).await.expect("an answer") else { break };
        let mut answer = vec![0; usize::from(length)];
        stream.read_exact(&mut answer).await.expect("a whole answer");
        answers.push(Message::from_vec(&answer).expect("a message"));
    }
    answers
}

/// Runs a tool of operators against a node; `None`, and said, where it is not installed.
#[expect(clippy::print_stderr)]
pub(crate) async fn tool(name: &str, address: SocketAddr, arguments: &[&str]) -> Option<String> {
    let mut command = Command::new(name);
    command.arg(format!("@{}", address.ip())).args(["-p", &address.port().to_string()]);
    command.args(arguments);
    let output = tokio::task::spawn_blocking(move || command.output()).await.expect("no panic");
    match output {
        Ok(output) => Some(String::from_utf8_lossy(&output.stdout).into_owned()),
        Err(error) => {
            eprintln!(
                "NOT TESTED: {name} is not there ({error}); install bind9-dnsutils, knot-dnsutils"
            );
            None
        }
    }
}

//! Bodies both ways at once: a client that sends all of its request before it reads anything of the answer.

use bytes::Bytes;
use http::Method;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpSocket, TcpStream},
};

use crate::harness::{FakeOrigin, PATIENCE, PROTOCOLS, TestEdge, client::Ask, noise};

/// An origin that begins to answer at once, reads the request meanwhile, and ends its answer when it has read all of it.
async fn eager(answer: usize) -> FakeOrigin {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    // Only its address is used.
    let mut origin = FakeOrigin::start().await;
    origin.address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(talk(stream, answer));
        }
    });
    origin
}

async fn talk(stream: TcpStream, answer: usize) -> std::io::Result<()> {
    let (mut reading, mut writing) = stream.into_split();
    let mut head = Vec::new();
    let begin = loop {
        if let Some(at) = head.windows(4).position(|text| text == b"\r\n\r\n") {
            break at + 4;
        }
        if reading.read_buf(&mut head).await? == 0 {
            return Ok(());
        }
    };
    let text = String::from_utf8_lossy(&head[..begin]).to_lowercase();
    let length = text.split("content-length: ").nth(1).unwrap();
    let length: usize = length.split("\r\n").next().unwrap().parse().unwrap();
    let read_all = async {
        let mut read = head.len() - begin;
        let mut buffer = vec![0; 64 * 1024];
        while read < length {
            match reading.read(&mut buffer).await? {
                0 => return Err(std::io::ErrorKind::UnexpectedEof.into()),
                bytes => read += bytes,
            }
        }
        Ok::<_, std::io::Error>(())
    };
    let body = noise(answer);
    let begin_answer = async {
        let head = format!("HTTP/1.1 200 x\r\ncontent-length: {answer}\r\n\r\n");
        writing.write_all(head.as_bytes()).await?;
        writing.write_all(&body[..answer - 1]).await
    };
    tokio::try_join!(read_all, begin_answer)?;
    writing.write_all(&body[answer - 1..]).await
}

/// More than the buffers on the way take.
const LARGE: usize = 12 << 20;
const MEDIUM: usize = 4 << 20;

#[tokio::test]
async fn a_client_of_h1_may_send_everything_before_it_reads() {
    let origin = eager(LARGE).await;
    let edge = TestEdge::before(&origin).start().await;
    let talk = async {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(32 * 1024).unwrap();
        let mut stream = socket.connect(edge.client.http).await.unwrap();
        let head =
            format!("POST /x HTTP/1.1\r\nhost: localhost\r\ncontent-length: {LARGE}\r\n\r\n");
        stream.write_all(head.as_bytes()).await.unwrap();
        stream.write_all(&noise(LARGE)).await.unwrap();
        let mut answer = Vec::with_capacity(LARGE);
        while answer.len() < LARGE {
            assert!(stream.read_buf(&mut answer).await.unwrap() > 0, "it broke off");
        }
        let at = answer.windows(4).position(|text| text == b"\r\n\r\n").unwrap() + 4;
        while answer.len() < at + LARGE {
            assert!(stream.read_buf(&mut answer).await.unwrap() > 0, "it broke off");
        }
        assert!(answer[at..] == noise(LARGE));
    };
    tokio::time::timeout(PATIENCE * 2, talk).await.expect("each waits for the other");
}

#[tokio::test]
async fn large_bodies_pass_each_other_on_all_protocols() {
    let origin = eager(MEDIUM).await;
    let edge = TestEdge::before(&origin).start().await;
    for protocol in PROTOCOLS {
        let ask = Ask::get("/x").method(Method::POST).body(Bytes::from(noise(MEDIUM)));
        let asked = tokio::time::timeout(PATIENCE * 2, edge.ask(protocol, &ask)).await;
        let answer = asked.unwrap_or_else(|_| panic!("{protocol:?}: each waits for the other"));
        answer.expect_status(200).expect_body(noise(MEDIUM));
    }
}

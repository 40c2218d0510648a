//! A server on plain TCP that says what a test tells it, however wrong.

use std::{net::SocketAddr, rc::Rc, time::Duration};

use tidegate_load::{
    kind::{FailureClass, Protocol},
    net::{Ask, Fetched, Net, NetConfig, Session},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};
use url::Url;

use super::{LONG, class, fetch, plan, story};

/// How an answer ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// The connection waits for another request.
    Keep,
    Close,
    /// Closed with a reset.
    Abort,
}

/// Answers to the requests of each connection in turn; the last one is said over and over.
async fn server(
    answers: &'static [(&'static str, End)],
) -> (SocketAddr, Rc<std::cell::Cell<usize>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let count = Rc::new(std::cell::Cell::new(0));
    let seen = Rc::clone(&count);
    tokio::task::spawn_local(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let seen = Rc::clone(&seen);
            tokio::task::spawn_local(async move {
                let mut head = Vec::new();
                loop {
                    while !head.ends_with(b"\r\n\r\n") {
                        match stream.read_u8().await {
                            Ok(byte) => head.push(byte),
                            Err(_) => return,
                        }
                    }
                    head.clear();
                    let (text, end) = answers[seen.get().min(answers.len() - 1)];
                    seen.set(seen.get() + 1);
                    stream.write_all(text.as_bytes()).await.unwrap();
                    match end {
                        End::Keep => {}
                        End::Close => return,
                        End::Abort => {
                            // After what was said has been read.
                            tokio::time::sleep(Duration::from_millis(50)).await;
                            return stream.set_zero_linger().unwrap();
                        }
                    }
                }
            });
        }
    });
    (address, count)
}

fn net() -> Net {
    Net::new(NetConfig { insecure: true, ..NetConfig::default() }).unwrap()
}

fn ask(address: SocketAddr, path: &str) -> Ask {
    Ask {
        url: Url::parse(&format!("http://{address}{path}")).unwrap(),
        range: None,
        headers: Vec::new(),
        urgency: 3,
        keep: Some(1 << 16),
        hash: false,
        timeout: LONG,
    }
}

async fn get(session: &Session, address: SocketAddr) -> Fetched {
    fetch(session, ask(address, "/")).await
}

#[test]
fn what_is_not_an_answer_has_its_class() {
    const OK: &str = "HTTP/1.1 200 OK\r\n";
    story(async {
        for (text, end, expected) in [
            ("content-length: 5\r\n\r\nhello", End::Keep, None),
            ("\r\nhello", End::Close, None),
            (
                "transfer-encoding: chunked\r\n\r\n5;x\r\nhello\r\n0\r\na: b\r\n\r\n",
                End::Keep,
                None,
            ),
            ("content-length: 9\r\n\r\nhello", End::Close, Some(FailureClass::Truncated)),
            ("content-length: 9\r\n\r\nhello", End::Abort, Some(FailureClass::Reset)),
            ("content-length: 3\r\n\r\nhello", End::Keep, Some(FailureClass::Truncated)),
            (
                "transfer-encoding: chunked\r\n\r\n5\r\nhello\r\n",
                End::Close,
                Some(FailureClass::Truncated),
            ),
            (
                "transfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n",
                End::Close,
                Some(FailureClass::Truncated),
            ),
            ("transfer-encoding: chunked\r\n\r\nz\r\n", End::Close, Some(FailureClass::Protocol)),
            (
                "content-length: 5\r\ntransfer-encoding: chunked\r\n\r\n",
                End::Keep,
                Some(FailureClass::Protocol),
            ),
            ("x: y", End::Close, Some(FailureClass::Truncated)),
        ] {
            let answer: &'static str = format!("{OK}{text}").leak();
            let (address, _) = server(vec![(answer, end)].leak()).await;
            let fetched = get(&net().session(plan(Protocol::H1)), address).await;
            assert_eq!(class(&fetched), expected, "{text:?}: {:?}", fetched.outcome);
            if expected.is_none() {
                assert_eq!(fetched.outcome.unwrap().body.unwrap(), "hello", "{text:?}");
            }
        }
    });
}

#[test]
fn what_is_not_http_has_its_class() {
    story(async {
        for (text, end, expected) in [
            ("SSH-2.0-x\r\n", End::Keep, FailureClass::Protocol),
            ("", End::Close, FailureClass::Reset),
            ("", End::Abort, FailureClass::Reset),
            ("HTTP/1.1 101 Switching\r\n\r\n", End::Keep, FailureClass::Protocol),
        ] {
            let (address, _) = server(vec![(text, end)].leak()).await;
            let fetched = get(&net().session(plan(Protocol::H1)), address).await;
            assert_eq!(class(&fetched), Some(expected), "{text:?}: {:?}", fetched.outcome);
        }
    });
}

#[test]
fn a_server_that_closes_an_idle_connection_is_asked_again_once() {
    const HELLO: &str = "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello";
    story(async {
        // The second request dies on the first connection, and is answered on a second one.
        let (address, count) =
            server(&[(HELLO, End::Keep), ("", End::Close), (HELLO, End::Keep)]).await;
        let net = net();
        let session = net.session(plan(Protocol::H1));
        assert!(get(&session, address).await.outcome.is_ok());
        assert!(get(&session, address).await.outcome.is_ok());
        assert_eq!((count.get(), net.counters().opened), (3, 2));

        // What dies on a new connection is not asked again.
        let (address, count) =
            server(&[(HELLO, End::Keep), ("", End::Close), ("", End::Close)]).await;
        let session = net.session(plan(Protocol::H1));
        assert!(get(&session, address).await.outcome.is_ok());
        assert_eq!(class(&get(&session, address).await), Some(FailureClass::Reset));
        assert_eq!(count.get(), 3);

        // Nor is what dies within an answer.
        let part = "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhello";
        let answers = vec![(HELLO, End::Keep), (part, End::Close)].leak();
        let (address, count) = server(answers).await;
        let session = net.session(plan(Protocol::H1));
        assert!(get(&session, address).await.outcome.is_ok());
        assert_eq!(class(&get(&session, address).await), Some(FailureClass::Truncated));
        assert_eq!(count.get(), 2);
    });
}

#[test]
fn interim_answers_are_passed_over() {
    story(async {
        let text = "HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n\
                    HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi";
        let (address, _) = server(vec![(text, End::Keep)].leak()).await;
        let fetched = get(&net().session(plan(Protocol::H1)), address).await;
        assert_eq!(fetched.outcome.unwrap().body.unwrap(), "hi");
        assert_eq!(fetched.facts.status, Some(200));
    });
}

#[test]
fn a_425_is_asked_again_and_a_second_one_counts() {
    story(async {
        let early = "HTTP/1.1 425 Too Early\r\ncontent-length: 0\r\n\r\n";
        let hello = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi";
        let (address, count) = server(vec![(early, End::Keep), (hello, End::Keep)].leak()).await;
        let net = net();
        let session = net.session(plan(Protocol::H1));
        assert!(get(&session, address).await.outcome.is_ok());
        assert_eq!((count.get(), net.counters().opened), (2, 1));

        let (address, count) = server(vec![(early, End::Keep)].leak()).await;
        let fetched = get(&session, address).await;
        assert_eq!(class(&fetched), Some(FailureClass::ClientError));
        assert_eq!(count.get(), 2);
    });
}

#[test]
fn a_refused_connection_and_an_unknown_name_have_their_class() {
    story(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        drop(listener);
        let session = net().session(plan(Protocol::H1));
        let fetched = get(&session, address).await;
        assert_eq!(class(&fetched), Some(FailureClass::Connect), "{:?}", fetched.outcome);
        assert!(fetched.connection.is_none());

        // A label is at most 63 bytes long: the resolver refuses it itself, and asks nobody.
        let mut ask = ask(address, "/");
        ask.url = Url::parse(&format!("http://{}.test/", "x".repeat(64))).unwrap();
        let fetched = fetch(&session, ask).await;
        assert_eq!(class(&fetched), Some(FailureClass::Dns), "{:?}", fetched.outcome);
    });
}

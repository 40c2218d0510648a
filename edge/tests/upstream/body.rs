//! Bodies of requests, and answers that come while they are sent.

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Response, header::CONTENT_LENGTH};
use tidegate_edge::{
    error::Failure,
    listener::stream::StreamLost,
    upstream::{Piece, RequestBody},
};
use tokio::sync::mpsc;

use crate::harness::{
    Client, Setup, Wish, body, noise,
    plain::{Plain, ok},
    secure::Secure,
    text, within,
};

type Hand = mpsc::Sender<Result<Piece, StreamLost>>;

fn upload(length: Option<u64>) -> (Wish<'static>, Hand) {
    let (hand, body): (Hand, RequestBody) = mpsc::channel(1);
    let length = length.map(|length| (CONTENT_LENGTH, HeaderValue::from(length)));
    let headers = HeaderMap::from_iter(length);
    (Wish { method: Method::POST, headers, body: Some(body), ..Wish::default() }, hand)
}

fn data(text: &'static str) -> Result<Piece, StreamLost> {
    Ok(Piece::Data(Bytes::from_static(text.as_bytes())))
}

async fn echo_h2() -> Secure {
    Secure::h2(|request, mut respond| async move {
        let length = request.headers().get(CONTENT_LENGTH).cloned();
        let mut head = Response::new(());
        head.headers_mut().insert("x-length", length.unwrap_or(HeaderValue::from_static("none")));
        let mut out = respond.send_response(head, false).unwrap();
        let mut body = request.into_body();
        while let Some(Ok(data)) = body.data().await {
            body.flow_control().release_capacity(data.len()).unwrap();
            out.send_data(data, false).unwrap();
        }
        match body.trailers().await {
            Ok(Some(trailers)) => out.send_trailers(trailers).unwrap(),
            Ok(None) => out.send_data(Bytes::new(), true).unwrap(),
            Err(_) => out.send_reset(h2::Reason::CANCEL),
        }
    })
    .await
}

#[tokio::test]
async fn a_body_is_framed_by_its_length_or_in_chunks() {
    for (length, expected) in [
        (Some(4), "content-length: 4\r\n\r\nabcd"),
        (None, "chunked\r\n\r\n2\r\nab\r\n2\r\ncd\r\n0\r\nt: 1\r\n\r\n"),
    ] {
        let (tell, mut told) = mpsc::channel(1);
        let origin = Plain::start(move |mut peer| {
            let tell = tell.clone();
            async move {
                let head = peer.request().await.unwrap();
                let end: &[u8] =
                    if head.contains("chunked") { b"0\r\nt: 1\r\n\r\n" } else { b"abcd" };
                let rest = String::from_utf8(peer.until(end).await.unwrap()).unwrap();
                tell.send(head + &rest).await.unwrap();
                peer.say(ok("taken")).await;
            }
        })
        .await;
        let client = Client::of(&[origin.address]);
        let (wish, hand) = upload(length);
        let sending = async {
            let trailers =
                HeaderMap::from_iter([("t".parse().unwrap(), HeaderValue::from_static("1"))]);
            for piece in [data("ab"), data(""), data("cd"), Ok(Piece::End(Some(trailers)))] {
                hand.send(piece).await.unwrap();
            }
        };
        let (answer, ()) = tokio::join!(client.ask(wish), sending);
        assert_eq!(text(answer).await.unwrap(), "taken");
        let said = told.recv().await.unwrap();
        assert!(said.ends_with(expected), "{said:?}");
        assert!(!said.to_ascii_lowercase().contains("expect"));
    }
}

#[tokio::test]
async fn the_answer_may_come_while_the_body_is_still_sent() {
    let plain = Plain::start(|mut peer| async move {
        peer.request().await;
        peer.say("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").await;
        for part in [&b"one"[..], b"two"] {
            peer.until(part).await.unwrap();
            peer.say([b"3\r\n", part, b"\r\n"].concat()).await;
        }
        peer.until(b"0\r\n\r\n").await.unwrap();
        peer.say("0\r\n\r\n").await;
    })
    .await;
    let secure = echo_h2().await;
    for origin in [crate::harness::clear(&plain.address), secure.upstream()] {
        let client = Client::new(Setup { origins: vec![origin], ..Setup::default() });
        let (wish, hand) = upload(None);
        let mut answer = client.ask(wish).await.unwrap();
        for part in ["one", "two"] {
            hand.send(data(part)).await.unwrap();
            assert_eq!(within(answer.body.next()).await.unwrap().unwrap(), part);
        }
        hand.send(Ok(Piece::End(None))).await.unwrap();
        assert_eq!(within(answer.body.next()).await.unwrap(), None);
    }
}

#[tokio::test]
async fn large_bodies_and_trailers_go_both_ways_over_h2() {
    let origin = echo_h2().await;
    let client = Client::new(Setup { origins: vec![origin.upstream()], ..Setup::default() });
    let all = noise(3 * 1024 * 1024);
    let (wish, hand) = upload(Some(all.len() as u64));
    let sending = tokio::spawn({
        let all = all.clone();
        async move {
            for piece in all.chunks(100_000) {
                hand.send(Ok(Piece::Data(Bytes::copy_from_slice(piece)))).await.unwrap();
            }
            let trailers = HeaderMap::from_iter([
                ("t".parse().unwrap(), HeaderValue::from_static("1")),
                (CONTENT_LENGTH, HeaderValue::from_static("9")),
            ]);
            hand.send(Ok(Piece::End(Some(trailers)))).await.unwrap();
        }
    });
    let mut answer = client.ask(wish).await.unwrap();
    assert_eq!(answer.headers["x-length"], all.len().to_string());
    assert!(body(&mut answer).await.unwrap() == all, "the bytes are the same");
    let trailers = answer.body.trailers().unwrap();
    assert_eq!((trailers.len(), trailers["t"].to_str().unwrap()), (1, "1"));
    sending.await.unwrap();
}

#[tokio::test]
async fn trailers_of_an_answer_in_chunks_are_there_at_its_end() {
    let origin = Plain::always(
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\nDigest: x\r\nContent-Length: 5\r\n\r\n",
    )
    .await;
    let mut answer = Client::of(&[origin.address]).get("/").await.unwrap();
    assert_eq!(body(&mut answer).await.unwrap(), b"a");
    let trailers = answer.body.trailers().unwrap();
    assert_eq!((trailers.len(), trailers["digest"].to_str().unwrap()), (1, "x"));
}

#[tokio::test]
async fn a_body_that_breaks_off_never_looks_whole_to_the_upstream() {
    for (length, last) in [
        (None, None),
        (None, Some(Err(StreamLost("gone".into())))),
        (Some(4), Some(Ok(Piece::End(None)))),
    ] {
        let (tell, mut told) = mpsc::channel(1);
        let origin = Plain::start(move |mut peer| {
            let tell = tell.clone();
            async move {
                peer.request().await.unwrap();
                let end = peer.until(b"0\r\n\r\n").await;
                tell.send(end).await.unwrap();
            }
        })
        .await;
        let client = Client::of(&[origin.address]);
        let (wish, hand) = upload(length);
        let sending = async {
            hand.send(data("ab")).await.unwrap();
            if let Some(last) = last {
                hand.send(last).await.unwrap();
            }
            drop(hand);
        };
        let (answer, ()) = tokio::join!(client.ask(wish), sending);
        assert_eq!(answer.err(), Some(Failure::GONE));
        assert_eq!(within(told.recv()).await.unwrap(), None, "closed before the end");
    }
}

#[tokio::test]
async fn an_early_refusal_is_heard_though_the_body_is_not_taken() {
    let origin = Plain::start(|mut peer| async move {
        peer.request().await;
        peer.say(
            "HTTP/1.1 413 Content Too Large\r\nConnection: close\r\nContent-Length: 2\r\n\r\nno",
        )
        .await;
        peer.until(b"never").await;
    })
    .await;
    let client = Client::of(&[origin.address]);
    let (wish, _hand) = upload(Some(1_000_000));
    let answer = client.ask(wish).await.unwrap();
    assert_eq!(answer.status, 413);
    assert_eq!(text(Ok(answer)).await.unwrap(), "no");
}

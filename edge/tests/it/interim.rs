//! What upstream says before its answer, and after it: interim responses and trailers.

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::harness::{FakeOrigin, PATIENCE, TestEdge, origin::Reply, reply};

/// Everything that the edge sends for one H1 request, framing included.
async fn raw(edge: &TestEdge, head: &str, body: &str) -> String {
    let mut stream = TcpStream::connect(edge.client.http).await.unwrap();
    let request =
        format!("{head} HTTP/1.1\r\nhost: localhost\r\nte: trailers\r\nconnection: close, te\r\n");
    let request = match body {
        "" => format!("{request}\r\n"),
        body => format!("{request}content-length: {}\r\n\r\n{body}", body.len()),
    };
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut all = Vec::new();
    let read = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut all));
    read.await.expect("the edge closes").unwrap();
    String::from_utf8(all).unwrap()
}

fn early() -> Reply {
    reply(200)
        .body("x")
        .interim("102 Processing")
        .interim("103 Early Hints\r\nlink: </a.css>; rel=preload")
}

#[tokio::test]
async fn interim_responses_reach_whoever_caused_the_fetch_and_are_not_stored() {
    let origin = FakeOrigin::start().await;
    origin.on("/kept", early().cache_control("max-age=60"));
    origin.on("/passed", early().cache_control("private"));
    let edge = TestEdge::before(&origin).start().await;
    for (head, body) in [("GET /kept", ""), ("GET /passed", ""), ("POST /passed", "abc")] {
        let answer = raw(&edge, head, body).await;
        let parts: Vec<_> = answer.split("\r\n\r\n").collect();
        assert!(parts[0].starts_with("HTTP/1.1 102 "), "{answer}");
        assert!(parts[1].starts_with("HTTP/1.1 103 "), "{answer}");
        assert!(parts[1].to_lowercase().contains("link: </a.css>; rel=preload"), "{answer}");
        assert!(parts[2].starts_with("HTTP/1.1 200 "), "{answer}");
    }
    let hit = raw(&edge, "GET /kept", "").await;
    assert!(hit.starts_with("HTTP/1.1 200 "), "{hit}");
}

#[tokio::test]
async fn trailers_of_what_passes_reach_the_client() {
    let origin = FakeOrigin::start().await;
    origin.on("/t", reply(200).cache_control("private").body("abc").trailer("x-sum: 7"));
    let edge = TestEdge::before(&origin).start().await;
    let answer = raw(&edge, "GET /t", "").await.to_lowercase();
    assert!(answer.contains("transfer-encoding: chunked"), "{answer}");
    assert!(answer.ends_with("0\r\nx-sum: 7\r\n\r\n"), "{answer}");
}

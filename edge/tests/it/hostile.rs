//! Origins that break the protocol: nothing of it is taken for a whole answer, and the next answer is the right one.

use crate::harness::{FakeOrigin, PROTOCOLS, TestEdge, client::Ask, raw, reply};

/// What a client may see of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Seen {
    /// A 502 of the edge's own.
    Refused,
    /// A body that breaks off, or no answer at all.
    Cut,
    /// The answer, and whoever comes later gets it from the cache.
    Kept,
    /// The answer, for this client alone.
    Once,
}
use Seen::{Cut, Kept, Once, Refused};

/// An answer that the edge must never take for one of its own.
const SMUGGLED: &str =
    "HTTP/1.1 200 x\r\ncache-control: max-age=60\r\ncontent-length: 8\r\n\r\nSMUGGLED";

async fn is_seen(edge: &TestEdge, origin: &FakeOrigin, place: usize, what: &str) -> Seen {
    let protocol = PROTOCOLS[place % PROTOCOLS.len()];
    let path = format!("/r/{place}");
    let mut seen = None;
    for turn in 0..2 {
        let found = match edge.client.ask(protocol, &Ask::get(&path)).await {
            Ok(answer) => match &answer.body {
                Err(_) => Cut,
                Ok(body) => {
                    let text = String::from_utf8_lossy(body);
                    assert!(!text.contains("SMUGGLED"), "{what}: {answer:?}");
                    match answer.status.as_u16() {
                        502 => Refused,
                        _ if origin.count(&path) == 1 && turn == 1 => Kept,
                        _ => Once,
                    }
                }
            },
            Err(_) => Cut,
        };
        assert!(turn == 0 || found == Kept || seen == Some(found), "{what}: {seen:?}, {found:?}");
        seen = Some(found);
    }
    // Whatever the connection was left with must not be the answer to another question.
    let answer = edge.get_by(protocol, &format!("/ok/{place}")).await;
    assert_eq!(answer.whole_body(), format!("ok {place}").as_bytes(), "{what}");
    seen.expect("two turns")
}

async fn all_are_seen(cases: &[(Seen, &str, Vec<u8>, bool)]) {
    let origin = FakeOrigin::start().await;
    for (place, (_, _, bytes, is_kept_alive)) in cases.iter().enumerate() {
        origin.on(&format!("/r/{place}"), raw(bytes.clone(), *is_kept_alive));
        origin.on(&format!("/ok/{place}"), reply(200).body(format!("ok {place}")));
    }
    let edge = TestEdge::before(&origin).start().await;
    for (place, (expected, what, ..)) in cases.iter().enumerate() {
        assert_eq!(is_seen(&edge, &origin, place, what).await, *expected, "{what:?}");
    }
}

/// An answer that may be kept, with more fields, a body, and perhaps something behind it.
fn answer(status: &str, fields: &str, body: &str) -> Vec<u8> {
    format!("HTTP/1.1 {status}\r\ncache-control: max-age=60\r\n{fields}\r\n{body}").into()
}

#[tokio::test]
async fn a_length_that_is_not_certain_is_no_answer() {
    let mut cases = vec![
        (Kept, "a good one", answer("200 x", "content-length: 5\r\n", "hello"), true),
        (Kept, "until the end", answer("200 x", "", "hello"), false),
        (
            Kept,
            "more than announced",
            answer("200 x", "content-length: 5\r\n", &format!("hello{SMUGGLED}")),
            true,
        ),
        (Cut, "less than announced", answer("200 x", "content-length: 50\r\n", "hello"), false),
    ];
    for fields in [
        "content-length: 5\r\ncontent-length: 5",
        "content-length: 5\r\ncontent-length: 6",
        "content-length: 5, 5",
        "content-length: +5",
        "content-length: -5",
        "content-length: 0x5",
        "content-length: 5 5",
        "content-length:",
        "content-length: 5\x0c",
        "content-length: 99999999999999999999",
        "content-length : 5",
        " content-length: 5",
        "x: y\r\n content-length: 5",
        "content-length: 5\r\ntransfer-encoding: chunked",
        "transfer-encoding: chunked\r\ncontent-length: 5",
        "transfer-encoding: gzip, chunked",
        "transfer-encoding: chunked, gzip",
        "transfer-encoding: identity",
        "transfer-encoding: xchunked",
        "transfer-encoding: chunked, chunked",
        "transfer-encoding: chunked\r\ntransfer-encoding: chunked",
        "transfer-encoding: \"chunked\"",
        "transfer-encoding:",
        "transfer-encoding: chunked\x0c",
    ] {
        let body = format!("5\r\nhello\r\n0\r\n\r\n{SMUGGLED}");
        cases.push((Refused, fields, answer("200 x", &format!("{fields}\r\n"), &body), false));
    }
    let old =
        b"HTTP/1.0 200 x\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n".to_vec();
    cases.push((Refused, "chunks in HTTP/1.0", old, false));
    all_are_seen(&cases).await;
}

#[tokio::test]
async fn chunks_that_do_not_end_as_they_should_break_off() {
    let whole = |chunks: &str| answer("200 x", "transfer-encoding: chunked\r\n", chunks);
    let mut cases = vec![
        (Kept, "a good one", whole("5\r\nhello\r\n0\r\n\r\n"), true),
        (Kept, "extensions", whole("5;a=b\r\nhello\r\n0;c\r\n\r\n"), true),
        (
            Kept,
            "trailers",
            whole("5\r\nhello\r\n0\r\nx: y\r\ncache-control: no-store\r\n\r\n"),
            true,
        ),
        (Kept, "something behind", whole(&format!("5\r\nhello\r\n0\r\n\r\n{SMUGGLED}")), true),
    ];
    for chunks in [
        "",
        "5\r\nhel",
        "5\r\nhello\r\n",
        "5\r\nhello\r\n0\r\n",
        "5\r\nhello\r\n0\r\nx: y\r\n",
        "5 \r\nhello\r\n0\r\n\r\n",
        "5\nhello\n0\n\n",
        "5\r\nhelloXX0\r\n\r\n",
        "zz\r\nhello\r\n0\r\n\r\n",
        "-5\r\nhello\r\n0\r\n\r\n",
        "0x5\r\nhello\r\n0\r\n\r\n",
        "ffffffffffffffff1\r\nhello\r\n0\r\n\r\n",
        "5\r\nhello\r\n0\r\nno trailer\r\n\r\n",
    ] {
        cases.push((Cut, chunks, whole(chunks), false));
    }
    all_are_seen(&cases).await;
}

#[tokio::test]
async fn a_head_that_breaks_the_protocol_is_no_answer() {
    let mut cases = Vec::new();
    for line in [
        "HTTP/1.1  200 x",
        "HTTP/1.1 2000 x",
        "HTTP/1.1 20 x",
        "HTTP/1.1 099 x",
        "HTTP/1.1 600 x",
        "HTTP/1.1 +20 x",
        "HTTP/1.1 2x0 x",
        "HTTP/2.0 200 x",
        "HTTP/0.9 200 x",
        "http/1.1 200 x",
        "ICY 200 x",
        " HTTP/1.1 200 x",
        "\r\nHTTP/1.1 200 x",
        "HTTP/1.1 200 x\0",
        "HTTP/1.1 200 x\ry",
        "200 x",
        "HTTP/1.10 200 x",
        "HTTP/1.1 101 x",
        "HTTP/1.1 100 x",
        "HTTP/1.1 103 x",
        "HTTP/1.1 304 x",
    ] {
        let text = format!("{line}\r\ncache-control: max-age=60\r\ncontent-length: 5\r\n\r\nhello");
        cases.push((Refused, line, text.into(), false));
    }
    for field in [
        "x y: z",
        "x : z",
        ": z",
        "x",
        "x: a\0b",
        "x: a\rb",
        "x: a\ny: b",
        "x: a\r\n b",
        "x: \x7f",
        "x(: y",
        "\tx: y",
    ] {
        let fields = format!("content-length: 5\r\n{field}\r\n");
        cases.push((Refused, field, answer("200 x", &fields, "hello"), false));
    }
    let lines = "HTTP/1.1 200 x\ncache-control: max-age=60\ncontent-length: 5\n\nhello";
    let good = String::from_utf8(answer("200 x", "content-length: 5\r\n", "hello")).unwrap();
    cases.extend([
        (Refused, "line feeds alone", lines.into(), false),
        (Refused, "half a head", b"HTTP/1.1 200 x\r\ncache-control: max".to_vec(), false),
        (Refused, "nothing", Vec::new(), false),
        (
            Refused,
            "a large head",
            answer("200 x", &format!("x: {}\r\n", "y".repeat(300_000)), ""),
            false,
        ),
        (Refused, "many fields", answer("200 x", &"x: y\r\n".repeat(5_000), ""), false),
        (
            Kept,
            "hints before it",
            format!("HTTP/1.1 103 x\r\nlink: </a>\r\n\r\n{good}").into(),
            true,
        ),
        (
            Refused,
            "hints with a length",
            format!("HTTP/1.1 103 x\r\ncontent-length: 5\r\n\r\n{good}").into(),
            false,
        ),
        (
            Refused,
            "endless hints",
            format!("{}{good}", "HTTP/1.1 103 x\r\n\r\n".repeat(2_000)).into(),
            false,
        ),
        (Refused, "204 with a length", answer("204 x", "content-length: 5\r\n", "hello"), false),
        (
            Refused,
            "204 in chunks",
            answer("204 x", "transfer-encoding: chunked\r\n", "0\r\n\r\n"),
            false,
        ),
        (Kept, "204 with something behind", answer("204 x", "", SMUGGLED), true),
        (
            Once,
            "a part that nobody asked for",
            answer("206 x", "content-range: bytes 0-4/10\r\ncontent-length: 5\r\n", "hello"),
            true,
        ),
        (Once, "a part of nothing", answer("206 x", "content-length: 5\r\n", "hello"), true),
    ]);
    all_are_seen(&cases).await;
}

//! What only H2 has: frames, floods, and whose turn it is.

use crate::harness::{
    Edge, raw_h1,
    raw_h2::{
        self, CONTINUATION, Connection, DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, Outcome,
        PING, PRIORITY_UPDATE, RST_STREAM, SETTINGS, WINDOW_UPDATE, frame, section,
    },
};

const GET: [(&str, &str); 4] =
    [(":method", "GET"), (":scheme", "https"), (":authority", "localhost"), (":path", "/bytes/5")];

const PROTOCOL_ERROR: u32 = 1;
const FLOW_CONTROL_ERROR: u32 = 3;
const STREAM_CLOSED: u32 = 5;
const FRAME_SIZE_ERROR: u32 = 6;
const COMPRESSION_ERROR: u32 = 9;
const ENHANCE_YOUR_CALM: u32 = 11;

/// Makes the frames of a flood's nth step.
type Make<'a> = &'a dyn Fn(u32) -> Vec<u8>;

/// A request without body as a frame.
fn get(stream: u32) -> Vec<u8> {
    frame(HEADERS, END_STREAM | END_HEADERS, stream, &section(&GET))
}

#[tokio::test]
async fn errors_of_the_whole_connection_are_named_before_it_ends() {
    let edge = Edge::start().await;
    let flags = END_STREAM | END_HEADERS;
    let request = section(&GET);
    for (what, code, bytes) in [
        ("data on stream 0", PROTOCOL_ERROR, frame(DATA, 0, 0, b"x")),
        ("headers on stream 0", PROTOCOL_ERROR, frame(HEADERS, flags, 0, &request)),
        ("headers on an even stream", PROTOCOL_ERROR, frame(HEADERS, flags, 2, &request)),
        ("a stream below the last", PROTOCOL_ERROR, [get(5), get(3)].concat()),
        ("data on an idle stream", PROTOCOL_ERROR, frame(DATA, 0, 1, b"x")),
        ("settings on a stream", PROTOCOL_ERROR, frame(SETTINGS, 0, 1, &[])),
        ("settings of odd length", FRAME_SIZE_ERROR, frame(SETTINGS, 0, 0, &[0; 5])),
        ("settings ack with payload", FRAME_SIZE_ERROR, frame(SETTINGS, 1, 0, &[0; 6])),
        ("push of 2", PROTOCOL_ERROR, frame(SETTINGS, 0, 0, &[0, 2, 0, 0, 0, 2])),
        (
            "window above 2^31",
            FLOW_CONTROL_ERROR,
            frame(SETTINGS, 0, 0, &[0, 4, 0xff, 0xff, 0xff, 0xff]),
        ),
        ("frame size below 2^14", PROTOCOL_ERROR, frame(SETTINGS, 0, 0, &[0, 5, 0, 0, 0, 1])),
        ("priority of a push", PROTOCOL_ERROR, frame(PRIORITY_UPDATE, 0, 0, b"\0\0\0\x02u=1")),
        ("ping on a stream", PROTOCOL_ERROR, frame(PING, 0, 1, &[0; 8])),
        ("ping of 6 bytes", FRAME_SIZE_ERROR, frame(PING, 0, 0, &[0; 6])),
        ("goaway on a stream", PROTOCOL_ERROR, frame(GOAWAY, 0, 1, &[0; 8])),
        ("window update of 0", PROTOCOL_ERROR, frame(WINDOW_UPDATE, 0, 0, &[0; 4])),
        ("window update of 3 bytes", FRAME_SIZE_ERROR, frame(WINDOW_UPDATE, 0, 0, &[0; 3])),
        (
            "window overflow",
            FLOW_CONTROL_ERROR,
            frame(WINDOW_UPDATE, 0, 0, &[0x7f, 0xff, 0xff, 0xff]),
        ),
        (
            "window update of an idle stream",
            PROTOCOL_ERROR,
            frame(WINDOW_UPDATE, 0, 9, &[0, 0, 0, 1]),
        ),
        ("reset of an idle stream", PROTOCOL_ERROR, frame(RST_STREAM, 0, 9, &[0; 4])),
        ("reset on stream 0", PROTOCOL_ERROR, frame(RST_STREAM, 0, 0, &[0; 4])),
        ("reset of 3 bytes", FRAME_SIZE_ERROR, frame(RST_STREAM, 0, 1, &[0; 3])),
        ("continuation alone", PROTOCOL_ERROR, frame(CONTINUATION, 4, 1, &request)),
        (
            "another frame between headers and continuation",
            PROTOCOL_ERROR,
            [frame(HEADERS, END_STREAM, 1, &request[..5]), frame(PING, 0, 0, &[0; 8])].concat(),
        ),
        (
            "continuation of another stream",
            PROTOCOL_ERROR,
            [
                frame(HEADERS, END_STREAM, 1, &request[..5]),
                frame(CONTINUATION, 4, 3, &request[5..]),
            ]
            .concat(),
        ),
        (
            "a section that cannot be decoded",
            COMPRESSION_ERROR,
            frame(HEADERS, flags, 1, &[0xff; 20]),
        ),
        (
            "a table size above the setting",
            COMPRESSION_ERROR,
            frame(HEADERS, flags, 1, &[0x3f, 0xff, 0xff, 0x7f]),
        ),
        ("a frame above the limit", FRAME_SIZE_ERROR, frame(DATA, 0, 1, &vec![0; 16_385])),
        (
            "padding longer than the frame",
            PROTOCOL_ERROR,
            frame(HEADERS, flags | 8, 1, &[200, 0x82]),
        ),
    ] {
        let mut connection = raw_h2::connect(&edge).await;
        connection.say(&bytes).await;
        let mut outcome = connection.outcome(u32::MAX).await;
        if outcome == Outcome::GoAway(0) {
            outcome = connection.outcome(u32::MAX).await;
        }
        // Where the RFC names another code, the h2 crate says PROTOCOL_ERROR, which 7 allows.
        let Outcome::GoAway(named) = outcome else { panic!("{what}: {outcome:?}") };
        assert!(named == code || named == PROTOCOL_ERROR, "{what}: {named}");
        assert_eq!(connection.outcome(u32::MAX).await, Outcome::Closed, "{what}");
    }
}

#[tokio::test]
async fn errors_of_one_stream_leave_the_others_alone() {
    let edge = Edge::start().await;
    let post = |more: &[(&str, &str)]| {
        let mut fields = GET.to_vec();
        fields[0].1 = "POST";
        fields[3].1 = "/wait";
        fields.extend_from_slice(more);
        frame(HEADERS, END_HEADERS, 1, &section(&fields))
    };
    for (what, code, bytes) in [
        (
            "window update of 0",
            PROTOCOL_ERROR,
            [post(&[]), frame(WINDOW_UPDATE, 0, 1, &[0; 4])].concat(),
        ),
        (
            "window overflow",
            FLOW_CONTROL_ERROR,
            [post(&[]), frame(WINDOW_UPDATE, 0, 1, &[0x7f, 0xff, 0xff, 0xff])].concat(),
        ),
        (
            "data longer than announced",
            PROTOCOL_ERROR,
            [post(&[("content-length", "1")]), frame(DATA, END_STREAM, 1, b"xy")].concat(),
        ),
        (
            "data shorter than announced",
            PROTOCOL_ERROR,
            [post(&[("content-length", "3")]), frame(DATA, END_STREAM, 1, b"xy")].concat(),
        ),
        ("a pseudo-header in trailers", PROTOCOL_ERROR, {
            let trailers = frame(HEADERS, END_STREAM | END_HEADERS, 1, &section(&GET[..1]));
            [post(&[]), trailers].concat()
        }),
        ("a reserved name in upper case", PROTOCOL_ERROR, post(&[("X-Up", "1")])),
    ] {
        let mut connection = raw_h2::connect(&edge).await;
        connection.say(&bytes).await;
        match connection.outcome(1).await {
            // An error of one stream may be taken for one of the connection (RFC 9113 5.4.2).
            Outcome::GoAway(named) => assert_eq!(named, code, "{what}"),
            outcome => {
                assert_eq!(outcome, Outcome::Reset(code), "{what}");
                connection.say(&get(3)).await;
                assert_eq!(connection.outcome(3).await, Outcome::Answered, "{what}");
            }
        }
    }
    let mut connection = raw_h2::connect(&edge).await;
    connection.say(&[get(1), frame(DATA, 0, 1, b"x")].concat()).await;
    let outcome = connection.outcome(u32::MAX).await;
    let closed =
        matches!(outcome, Outcome::GoAway(STREAM_CLOSED) | Outcome::GoAway(PROTOCOL_ERROR));
    assert!(closed || outcome == Outcome::Closed, "data behind the end: {outcome:?}");
}

#[tokio::test]
async fn pings_and_settings_are_acknowledged() {
    let edge = Edge::start().await;
    let mut connection = raw_h2::connect(&edge).await;
    connection.frame(PING, 0, 0, b"tidegate").await;
    let (mut is_acknowledged, mut is_answered) = (false, false);
    while !(is_acknowledged && is_answered) {
        let (kind, flags, _, payload) = connection.next().await.unwrap();
        is_acknowledged |= kind == SETTINGS && flags == 1;
        is_answered |= kind == PING && flags == 1 && payload == b"tidegate";
    }
}

#[tokio::test]
async fn floods_end_the_connection() {
    let edge = Edge::with(|config| {
        config.limits.resets_per_minute_max = 100;
        config.limits.control_frames_per_minute_max = 200;
    })
    .await;
    let resets = |connection: u32| {
        let stream = 2 * connection + 1;
        let mut fields = GET.to_vec();
        fields[3].1 = "/wait";
        let request = frame(HEADERS, END_STREAM | END_HEADERS, stream, &section(&fields));
        [request, frame(RST_STREAM, 0, stream, &[0, 0, 0, 8])].concat()
    };
    let flood: &[(&str, Make<'_>)] = &[
        ("ping", &|_| frame(PING, 0, 0, &[0; 8])),
        ("settings", &|_| frame(SETTINGS, 0, 0, &[])),
        ("reset", &resets),
        ("window", &|_| frame(WINDOW_UPDATE, 0, 0, &[0, 0, 0, 1])),
        ("unknown", &|_| frame(0xbe, 0, 0, b"grease")),
        ("priority", &|n| frame(2, 0, 2 * n + 1, &[0, 0, 0, 0, 1])),
    ];
    for (what, make) in flood {
        let mut connection = raw_h2::connect(&edge).await;
        for n in 0..1_000 {
            connection.say(&make(n)).await;
        }
        let mut outcome = connection.outcome(u32::MAX).await;
        if outcome == Outcome::GoAway(0) {
            outcome = connection.outcome(u32::MAX).await;
        }
        assert_eq!(outcome, Outcome::GoAway(ENHANCE_YOUR_CALM), "{what}");
    }
    edge.app.expect_waiting(0).await;

    let mut connection = raw_h2::connect(&edge).await;
    connection.frame(HEADERS, END_STREAM, 1, &section(&GET[..1])).await;
    for _ in 0..1_000 {
        connection.frame(CONTINUATION, 0, 1, &section(&[("x", "y")])).await;
    }
    let outcome = connection.outcome(1).await;
    assert!(matches!(outcome, Outcome::GoAway(_) | Outcome::Closed), "continuation: {outcome:?}");
    assert!(edge.app.requests() <= 600, "{}", edge.app.requests());
}

#[tokio::test]
async fn a_client_that_makes_the_edge_reset_its_streams_loses_the_connection() {
    let edge = Edge::with(|config| config.limits.malformed_requests_max = 5).await;
    let mut connection = raw_h2::connect(&edge).await;
    for n in 0..10 {
        // Each is a fine request that its client then breaks.
        let mut fields = GET.to_vec();
        fields[3].1 = "/wait";
        let stream = 2 * n + 1;
        let request = frame(HEADERS, END_STREAM | END_HEADERS, stream, &section(&fields));
        connection.say(&[request, frame(WINDOW_UPDATE, 0, stream, &[0; 4])].concat()).await;
    }
    let outcome = connection.outcome(u32::MAX).await;
    assert_eq!(outcome, Outcome::GoAway(ENHANCE_YOUR_CALM));
    assert_eq!(edge.app.requests(), 5);
    edge.app.expect_waiting(0).await;
}

#[tokio::test]
async fn a_client_that_takes_nothing_gets_no_more_streams() {
    const REFUSED_STREAM: u32 = 7;
    const ASKED: u32 = 1_000;
    let edge = Edge::start().await;
    let mut connection = raw_h2::connect(&edge).await;
    open_windows(&mut connection).await;
    let mut fields = GET.to_vec();
    fields[3].1 = "/bytes/30000";
    for n in 0..ASKED {
        let flags = END_STREAM | END_HEADERS;
        connection.say(&frame(HEADERS, flags, 2 * n + 1, &section(&fields))).await;
    }
    // The last cannot have been served: what the kernel takes is far less than all of them together.
    assert_eq!(connection.outcome(2 * ASKED - 1).await, Outcome::Reset(REFUSED_STREAM));
    assert!(edge.app.requests() < ASKED as usize);
    let next = frame(HEADERS, END_STREAM | END_HEADERS, 2 * ASKED + 1, &section(&GET));
    connection.say(&next).await;
    assert_eq!(connection.outcome(2 * ASKED + 1).await, Outcome::Answered, "it has room again");
}

#[tokio::test]
async fn trailers_end_a_request_and_are_read_away() {
    let edge = Edge::start().await;
    let mut connection = raw_h2::connect(&edge).await;
    let mut fields = GET.to_vec();
    (fields[0].1, fields[3].1) = ("POST", "/echo");
    let trailers = section(&[("x-sum", "7")]);
    connection.frame(HEADERS, END_HEADERS, 1, &section(&fields)).await;
    connection.frame(DATA, 0, 1, b"body").await;
    connection.frame(HEADERS, END_STREAM | END_HEADERS, 1, &trailers).await;
    let mut body = Vec::new();
    loop {
        let (kind, flags, stream, payload) = connection.next().await.unwrap();
        if (kind, stream) == (DATA, 1) {
            body.extend(payload);
            if flags & END_STREAM != 0 {
                break;
            }
        }
    }
    assert_eq!(body, b"body");
}

#[tokio::test]
async fn the_drain_says_goodbye_twice_so_that_no_request_is_lost() {
    let mut edge = Edge::start().await;
    let mut connection = raw_h2::connect(&edge).await;
    // Keeps the connection open for as long as it takes.
    let mut fields = GET.to_vec();
    fields[3].1 = "/wait";
    connection.request(&fields).await;
    edge.app.expect_waiting(1).await;
    edge.drain.begin();
    let last = |payload: &[u8]| u32::from_be_bytes(payload[..4].try_into().unwrap());
    let (mut ping, mut first) = (None, None);
    while ping.is_none() {
        let (kind, flags, _, payload) = connection.next().await.unwrap();
        match kind {
            GOAWAY => first = Some(last(&payload)),
            PING if flags == 0 => ping = Some(payload),
            _ => {}
        }
    }
    assert_eq!(first, Some(0x7fff_ffff), "nothing is refused yet");
    // A request that was on its way, and the answer behind it.
    connection.say(&[get(3), frame(PING, 1, 0, &ping.unwrap())].concat()).await;
    let (mut is_answered, mut second) = (false, None);
    while let Some((kind, _, stream, payload)) = connection.next().await {
        if kind == HEADERS && stream == 3 {
            is_answered = true;
            edge.app.go_on();
        }
        if kind == GOAWAY {
            second = Some(last(&payload));
        }
    }
    assert!(is_answered);
    assert_eq!(second, Some(3));
    drop(connection);
    edge.drained().await;
}

/// Gives the whole connection and one stream room for everything.
async fn open_windows(connection: &mut Connection) {
    // SETTINGS_INITIAL_WINDOW_SIZE, then the window of the connection.
    connection.frame(SETTINGS, 0, 0, &[0, 4, 0x7f, 0xff, 0xff, 0xff]).await;
    connection.frame(WINDOW_UPDATE, 0, 0, &[0x70, 0, 0, 0]).await;
}

/// Bytes of the first stream that come between the beginning and the end of the third.
async fn overtaken(connection: &mut Connection) -> usize {
    let (mut has_begun, mut between) = (false, 0);
    loop {
        let (kind, flags, stream, payload) = connection.next().await.unwrap();
        if kind != DATA {
            continue;
        }
        if stream == 3 {
            has_begun = true;
            if flags & END_STREAM != 0 {
                return between;
            }
        } else if has_begun {
            between += payload.len();
        }
    }
}

#[tokio::test]
async fn the_more_urgent_response_goes_first() {
    let edge = Edge::start().await;
    let ask = |path: &'static str, priority: &'static str| {
        let mut fields = GET.to_vec();
        fields[3].1 = path;
        fields.push(("priority", priority));
        fields
    };
    let mut connection = raw_h2::connect(&edge).await;
    open_windows(&mut connection).await;
    connection.request(&ask("/bytes/40000000", "u=6")).await;
    connection.until_blocked().await;
    connection.request(&ask("/bytes/6000000", "u=1")).await;
    let between = overtaken(&mut connection).await;
    assert!(between < 2_000_000, "{between} bytes of the less urgent in between");

    // The same by a frame, for a request that says nothing itself.
    let mut connection = raw_h2::connect(&edge).await;
    open_windows(&mut connection).await;
    connection.request(&ask("/bytes/40000000", "u=3")).await;
    connection.until_blocked().await;
    connection.frame(PRIORITY_UPDATE, 0, 0, b"\0\0\0\x03u=0").await;
    connection.request(&ask("/bytes/6000000", "u=3")).await;
    let between = overtaken(&mut connection).await;
    assert!(between < 2_000_000, "{between} bytes of the other in between");
}

#[tokio::test]
async fn no_more_streams_are_ranked_ahead_than_may_be_open() {
    let edge = Edge::with(|config| config.limits.streams_per_connection_max = 3).await;
    let ahead = |stream: u8| frame(PRIORITY_UPDATE, 0, 0, &[0, 0, 0, stream, b'u', b'=', b'1']);
    let mut connection = raw_h2::connect(&edge).await;
    connection.say(&[ahead(1), ahead(3), ahead(5), ahead(5), get(1)].concat()).await;
    assert_eq!(connection.outcome(1).await, Outcome::Answered);
    // Its place is free again, and so is that of 3, which is passed over.
    connection.say(&[get(5), ahead(1), ahead(7)].concat()).await;
    assert_eq!(connection.outcome(5).await, Outcome::Answered);
    connection.say(&[ahead(9), ahead(11), ahead(13)].concat()).await;
    assert_eq!(connection.outcome(u32::MAX).await, Outcome::GoAway(PROTOCOL_ERROR));
}

#[tokio::test]
async fn equals_go_one_after_the_other_unless_they_are_incremental() {
    const BYTES: usize = 20_000_000;
    let edge = Edge::start().await;
    for (priority, is_shared) in [("u=3", false), ("u=3, i", true)] {
        let ask = |path: &'static str| {
            let mut fields = GET.to_vec();
            fields[3].1 = path;
            fields.push(("priority", priority));
            fields
        };
        let mut connection = raw_h2::connect(&edge).await;
        open_windows(&mut connection).await;
        connection.request(&ask("/bytes/20000000")).await;
        connection.until_blocked().await;
        connection.request(&ask("/bytes/20000000")).await;
        // How much of the second had come when the first was complete.
        let mut of_second = 0;
        loop {
            let (kind, flags, stream, payload) = connection.next().await.unwrap();
            match (kind, stream) {
                (DATA, 1) if flags & END_STREAM != 0 => break,
                (DATA, 3) => of_second += payload.len(),
                _ => {}
            }
        }
        let is_apart = of_second < BYTES / 10;
        assert_eq!(is_apart, !is_shared, "{priority}: {of_second} bytes of the second");
    }
}

#[tokio::test]
async fn small_responses_of_one_turn_leave_in_few_records() {
    let edge = Edge::start().await;
    let mut connection = raw_h2::connect(&edge).await;
    let all: Vec<u8> = (0..20).flat_map(|n| get(2 * n + 1)).collect();
    connection.say(&all).await;
    let mut ended = 0;
    while ended < 20 {
        let (_, flags, stream, _) = connection.next().await.unwrap();
        ended += u32::from(stream > 0 && flags & END_STREAM != 0);
    }
}

#[tokio::test]
async fn h2_without_tls_is_spoken_only_when_asked_for() {
    const PREFACE: &str = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    let edge = Edge::start().await;
    let mut refused = raw_h1::connect(edge.http).await;
    refused.say(PREFACE).await;
    assert!(refused.head().await.starts_with("HTTP/1.1 505 "));

    let edge = Edge::with(|config| config.h2c = true).await;
    let tcp = tokio::net::TcpStream::connect(edge.http).await.unwrap();
    let (mut sender, connection) = h2::client::handshake(tcp).await.unwrap();
    tokio::spawn(connection);
    let request = http::Request::get("http://localhost/bytes/5").body(()).unwrap();
    let response = sender.send_request(request, true).unwrap().0.await.unwrap();
    assert_eq!(response.headers()["x-protocol"], "h2");
    let mut h1 = raw_h1::connect(edge.http).await;
    h1.say("GET /bytes/5 HTTP/1.1\r\nhost: a\r\n\r\n").await;
    assert!(h1.head().await.contains("x-protocol: http/1.1\r\n"));
}

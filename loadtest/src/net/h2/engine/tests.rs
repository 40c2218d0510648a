//! What the engine makes of frames, written by hand.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Wake, Waker},
};

use http::HeaderMap;
use proptest::prelude::*;

use super::{
    super::{frame, wrong::Wrong},
    *,
};

fn connection() -> Engine {
    let mut engine = Engine::new(WINDOW);
    assert!(engine.output.starts_with(frame::PREFACE));
    engine.output.clear();
    engine
}

fn open(engine: &mut Engine) -> u32 {
    engine.open(true, "a.example", "/x", &HeaderMap::new())
}

fn written(frames: &[(u8, u8, u32, &[u8])]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (kind, flags, stream, payload) in frames {
        frame::put(&mut bytes, *kind, *flags, *stream, payload);
    }
    bytes
}

/// Feeds for one stream, all that it takes; what was its data.
fn feed(engine: &mut Engine, bytes: &[u8], me: u32) -> Result<(usize, Vec<u8>), Wrong> {
    let mut data = Vec::new();
    let count = engine.feed(bytes, me, &mut |piece| data.extend_from_slice(piece))?;
    Ok((count, data))
}

/// The frames that wait to be sent.
fn sent(engine: &mut Engine) -> Vec<(u8, u32)> {
    let output = std::mem::take(&mut engine.output);
    let mut rest = &output[..];
    let mut frames = Vec::new();
    while let Some(head) = rest.first_chunk() {
        let head = frame::Head::read(*head).unwrap();
        frames.push((head.kind, head.stream));
        rest = &rest[frame::HEAD_BYTES + head.length..];
    }
    frames
}

#[test]
fn an_answer_is_a_head_then_data_then_the_end() {
    let mut engine = connection();
    let me = open(&mut engine);
    let bytes = written(&[
        SETTINGS,
        (frame::HEADERS, frame::END_HEADERS, me, b"\x08\x03103"),
        (frame::HEADERS, frame::END_HEADERS, me, OK),
        (frame::DATA, frame::PADDED, me, b"\x02helxx"),
        (0xfe, 0xff, 77, b"nobody knows"),
        (frame::DATA, 0, me, b"lo"),
        (frame::HEADERS, frame::END_HEADERS | frame::END_STREAM, me, b"\x00\x01x\x01y"),
        (frame::PING, 0, 0, b"12345678"),
    ]);
    let (used, data) = feed(&mut engine, &bytes, me).unwrap();
    assert!(data.is_empty(), "the head is taken first");
    assert_eq!(engine.take_head(me).unwrap().status, 200);
    let (more, data) = feed(&mut engine, &bytes[used..], me).unwrap();
    assert_eq!((&data[..], engine.end(me)), (&b"hello"[..], Some(End::Whole)));
    assert_eq!(bytes.len() - used - more, frame::HEAD_BYTES + 8, "it ends with the news");
    engine.close(me);
    assert_eq!(feed(&mut engine, &bytes[used + more..], 0), Ok((frame::HEAD_BYTES + 8, vec![])));
    assert_eq!(sent(&mut engine), [(1, me), (frame::SETTINGS, 0), (frame::PING, 0)]);
    assert!(engine.is_idle() && !engine.is_leaving());
}

#[test]
fn data_of_another_one_waits_until_that_takes_it_or_goes() {
    struct Count(AtomicUsize);
    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }
    let mut engine = connection();
    let (me, other) = (open(&mut engine), open(&mut engine));
    let count = Arc::new(Count(AtomicUsize::new(0)));
    engine.wait(other, &Waker::from(count.clone()));
    let bytes = written(&[
        SETTINGS,
        (frame::HEADERS, frame::END_HEADERS, other, OK),
        (frame::DATA, 0, other, b"theirs"),
        (frame::HEADERS, frame::END_HEADERS | frame::END_STREAM, me, OK),
    ]);
    let (used, _) = feed(&mut engine, &bytes, me).unwrap();
    assert!(engine.is_blocked(me) && !engine.is_blocked(other));
    assert!(count.0.load(Ordering::Relaxed) > 0, "whose data it is was woken");
    assert_eq!(feed(&mut engine, &bytes[used..], me), Ok((0, vec![])));
    assert!(engine.take_head(other).is_some());
    let (more, data) = feed(&mut engine, &bytes[used..][..3], other).unwrap();
    assert_eq!((more, &data[..]), (3, &b"the"[..]));
    // It goes: the rest is for nobody, and the server is told to stop.
    engine.close(other);
    assert!(!engine.is_blocked(me));
    let (_, data) = feed(&mut engine, &bytes[used + more..], me).unwrap();
    assert!(data.is_empty() && engine.take_head(me).is_some());
    assert!(sent(&mut engine).contains(&(frame::RST_STREAM, other)));
}

#[test]
fn windows_are_given_back_by_halves_and_kept() {
    let mut engine = connection();
    let me = open(&mut engine);
    feed(&mut engine, &written(&[SETTINGS, (1, frame::END_HEADERS, me, OK)]), me).unwrap();
    engine.take_head(me).unwrap();
    sent(&mut engine);
    let piece = written(&[(frame::DATA, 0, me, &[0; 10_000])]);
    for round in 0..100 {
        feed(&mut engine, &piece, me).unwrap();
        engine.release(me);
        let told = sent(&mut engine);
        let is_due = round % 4 == 3;
        let expected = [(frame::WINDOW_UPDATE, me), (frame::WINDOW_UPDATE, 0)];
        assert_eq!(told, if is_due { &expected[..] } else { &[] }, "{round}");
    }
    // What is not released is not given back, and there is an end to it.
    for _ in 0..7 {
        feed(&mut engine, &piece, me).unwrap();
    }
    let over = feed(&mut engine, &piece, me).unwrap_err();
    assert_eq!(over.code, frame::FLOW_CONTROL_ERROR);
}

#[test]
fn streams_end_as_the_server_says() {
    for (frames, end) in [
        (&[(frame::RST_STREAM, 0, 1, &8u32.to_be_bytes()[..])][..], End::Reset(8)),
        (&[(frame::GOAWAY, 0, 0, &[0; 8])], End::Undone),
        (&[(frame::DATA, 0, 1, b"x")], End::Wrong("data before a head")),
        (&[(frame::HEADERS, 5, 1, b"\x00\x01x\x01y")], End::Wrong("an answer without a status")),
        (&[(frame::HEADERS, 5, 1, b"\x88\x00\x01X\x01y")], End::Wrong(NOT_HTTP2)),
        (&[(frame::HEADERS, 5, 1, b"\x88\x00\x07upgrade\x01y")], End::Wrong(NOT_HTTP2)),
        (&[(frame::HEADERS, 5, 1, b"\x08\x0299")], End::Wrong("a pseudo-header that is none")),
        (&[(frame::HEADERS, 5, 1, b"\x88\x88")], End::Wrong("a pseudo-header that is none")),
    ] {
        let mut engine = connection();
        let me = open(&mut engine);
        let bytes = [written(&[SETTINGS]), written(frames)].concat();
        feed(&mut engine, &bytes, me).unwrap();
        assert_eq!(engine.end(me), Some(end), "{frames:?}");
        assert_eq!(engine.is_leaving(), end == End::Undone);
    }
}

#[test]
fn what_is_no_http_2_ends_the_connection() {
    let settings = written(&[SETTINGS]);
    for (what, bytes) in [
        ("another protocol", b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec()),
        ("no settings first", written(&[(frame::PING, 0, 0, &[0; 8])])),
        ("settings of a stream", written(&[(frame::SETTINGS, 0, 1, b"")])),
        ("settings cut", written(&[(frame::SETTINGS, 0, 0, b"abc")])),
        ("a stream of the server's", then(&settings, (frame::HEADERS, 4, 2, OK))),
        ("a stream not begun", then(&settings, (frame::DATA, 0, 9, b"x"))),
        ("a push", then(&settings, (frame::PUSH_PROMISE, 4, 1, b"\0\0\0\x02\x88"))),
        ("padding over the frame", then(&settings, (frame::DATA, frame::PADDED, 1, b"\x09x"))),
        ("no padding", then(&settings, (frame::DATA, frame::PADDED, 1, b""))),
        ("a lone continuation", then(&settings, (frame::CONTINUATION, 4, 1, OK))),
        ("a cut section", {
            let cut = then(&settings, (frame::HEADERS, 0, 1, OK));
            then(&cut, (frame::PING, 0, 0, &[0; 8]))
        }),
        ("no HPACK", then(&settings, (frame::HEADERS, 4, 1, b"\x80"))),
        ("a short ping", then(&settings, (frame::PING, 0, 0, b"x"))),
        ("a short goodbye", then(&settings, (frame::GOAWAY, 0, 0, b"x"))),
    ] {
        let mut engine = connection();
        let me = open(&mut engine);
        assert!(feed(&mut engine, &bytes, me).is_err(), "{what}");
    }
}

#[test]
fn a_section_in_many_frames_is_read_and_has_an_end() {
    let mut engine = connection();
    let me = open(&mut engine);
    let bytes = written(&[
        SETTINGS,
        (frame::HEADERS, 0, me, b"\x88\x00"),
        (frame::CONTINUATION, 0, me, b"\x01x"),
        (frame::CONTINUATION, frame::END_HEADERS, me, b"\x01y"),
    ]);
    feed(&mut engine, &bytes, me).unwrap();
    assert_eq!(engine.take_head(me).unwrap().headers["x"], "y");
    feed(&mut engine, &written(&[(frame::HEADERS, 0, me, b"")]), me).unwrap();
    let more = written(&[(frame::CONTINUATION, 0, me, b"")]);
    let ended = (0..1000).find_map(|_| feed(&mut engine, &more, me).err());
    assert_eq!(ended.map(|wrong| wrong.code), Some(frame::ENHANCE_YOUR_CALM));
}

#[test]
fn a_request_is_cut_into_frames_and_the_servers_limit_is_kept() {
    let mut engine = connection();
    let target = "/".to_owned() + &"x".repeat(40_000);
    engine.open(true, "a.example", &target, &HeaderMap::new());
    let sent: Vec<u8> = sent(&mut engine).iter().map(|(kind, _)| *kind).collect();
    assert_eq!(sent, [frame::HEADERS, frame::CONTINUATION, frame::CONTINUATION]);
    let one = b"\x00\x03\x00\x00\x00\x01";
    feed(&mut engine, &written(&[(frame::SETTINGS, 0, 0, one)]), 0).unwrap();
    assert!(!engine.has_room());
}

fn then(before: &[u8], frame: (u8, u8, u32, &[u8])) -> Vec<u8> {
    [before, &written(&[frame])].concat()
}

proptest! {
    /// However the bytes are cut, they mean the same.
    #[test]
    fn pieces_mean_what_the_whole_means(cuts in prop::collection::vec(1usize..40, 1..60)) {
        let bytes = written(&[
            SETTINGS,
            (frame::HEADERS, frame::PADDED, 1, b"\x03\x88\x40\x01xabc"),
            (frame::CONTINUATION, frame::END_HEADERS, 1, b"\x02yy"),
            (frame::DATA, frame::PADDED, 1, b"\x04hello----"),
            (frame::WINDOW_UPDATE, 0, 0, &[0, 0, 0, 1]),
            (9 + 7, 0, 0, b"u=3"),
            (frame::DATA, frame::PADDED | frame::END_STREAM, 1, b"\x02 you.."),
        ]);
        let mut engine = connection();
        let me = open(&mut engine);
        let (mut rest, mut data, mut head) = (&bytes[..], Vec::new(), None);
        let mut cuts = cuts.iter().cycle();
        while !rest.is_empty() && engine.end(me).is_none() {
            let mut piece = &rest[..rest.len().min(*cuts.next().unwrap())];
            rest = &rest[piece.len()..];
            while !piece.is_empty() {
                let used = engine.feed(piece, me, &mut |part| data.extend_from_slice(part)).unwrap();
                piece = &piece[used..];
                head = head.or(engine.take_head(me));
            }
        }
        prop_assert_eq!(&data[..], b"hello you");
        prop_assert_eq!(engine.end(me), Some(End::Whole));
        prop_assert_eq!(&head.unwrap().headers["x"], "yy");
    }

    #[test]
    fn any_frames_are_used_or_refused(frames in prop::collection::vec(
        (0u8..12, any::<u8>(), 0u32..6, prop::collection::vec(any::<u8>(), 0..30)), 0..20)) {
        let mut engine = connection();
        let ids = [open(&mut engine), open(&mut engine)];
        let mut bytes = written(&[SETTINGS]);
        for (kind, flags, stream, payload) in &frames {
            bytes.extend(written(&[(*kind, *flags, *stream, payload)]));
        }
        let mut rest = &bytes[..];
        for turn in 0..bytes.len() * 3 {
            let me = ids[turn % 2];
            let Ok((used, _)) = feed(&mut engine, rest, me) else { return Ok(()) };
            rest = &rest[used..];
            engine.take_head(me);
            engine.release(me);
            if engine.end(me).is_some() {
                engine.close(me);
            }
            prop_assert!(engine.output.len() < 4096);
        }
        prop_assert!(rest.is_empty(), "everything is used in the end");
    }
}

const WINDOW: u32 = 70_000;
const SETTINGS: (u8, u8, u32, &[u8]) = (frame::SETTINGS, 0, 0, b"");
const OK: &[u8] = b"\x88";
const NOT_HTTP2: &str = "a header line that HTTP/2 has not";

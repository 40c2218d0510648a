//! Content steering as its standards have it, row by row: RFC 8216bis sections 4.4.6.6 and 7, draft-pantos-content-steering,
//! DASH-IF CTS 001. Each row is what a client must do.

use std::time::Duration;

use super::{
    super::{Behaviour, Player, ViewEnd},
    content::Recorded,
    simulation::{Answer, Link, Reply, Trace, plan, run},
};
use crate::kind::{FailureClass, ObjectKind};

/// A row: the tag's attributes, what the server answers in turn (the last one again and again), when it is asked within
/// 320 s, and from which pathway the last segment came.
struct Row {
    must: &'static str,
    tag: &'static str,
    answers: &'static [Says],
    asked_ms: &'static [u128],
    last: &'static str,
}

#[derive(Clone, Copy)]
enum Says {
    Text(&'static str),
    Status(u16),
    Busy(u64),
}

use Says::{Busy, Status, Text};

const TAG: &str = "SERVER-URI=\"https://s.example/steer?v=1\"";
const TAG_B: &str = "SERVER-URI=\"https://s.example/steer?v=1\",PATHWAY-ID=\"B\"";
const B_FIRST: &str = "{\"VERSION\":1,\"TTL\":200,\"PATHWAY-PRIORITY\":[\"B\",\"A\"]}";

#[test]
fn an_hls_player_does_what_the_standard_demands() {
    for row in [
        Row {
            must: "until the first manifest the named pathway is applied",
            tag: TAG_B,
            answers: &[Status(503)],
            asked_ms: &[100, 300_200],
            last: "b",
        },
        Row {
            must: "without a named one, any; without a TTL it is asked again after 300 s",
            tag: TAG,
            answers: &[Status(503)],
            asked_ms: &[100, 300_200],
            last: "a",
        },
        Row {
            must: "the TTL is waited for after each answer",
            tag: TAG,
            answers: &[Text("{\"VERSION\":1,\"TTL\":150,\"PATHWAY-PRIORITY\":[\"B\"]}")],
            asked_ms: &[100, 150_200, 300_300],
            last: "b",
        },
        Row {
            must: "a manifest of another version is ignored",
            tag: TAG,
            answers: &[Text("{\"VERSION\":2,\"TTL\":5,\"PATHWAY-PRIORITY\":[\"B\"]}")],
            asked_ms: &[100, 300_200],
            last: "a",
        },
        Row {
            must: "what cannot be read changes nothing",
            tag: TAG,
            answers: &[Text(B_FIRST), Text("<html>")],
            asked_ms: &[100, 200_200],
            last: "b",
        },
        Row {
            must: "an empty priority list is no list",
            tag: TAG_B,
            answers: &[Text("{\"VERSION\":1,\"TTL\":5,\"PATHWAY-PRIORITY\":[]}")],
            asked_ms: &[100, 300_200],
            last: "b",
        },
        Row {
            must: "pathways that are not known are passed over",
            tag: TAG,
            answers: &[Text(
                "{\"VERSION\":1,\"TTL\":300,\"PATHWAY-PRIORITY\":[\"X\",\"B\",\"A\"]}",
            )],
            asked_ms: &[100, 300_200],
            last: "b",
        },
        Row {
            must: "when none is known, the present one stays",
            tag: TAG_B,
            answers: &[Text("{\"VERSION\":1,\"TTL\":300,\"PATHWAY-PRIORITY\":[\"X\"]}")],
            asked_ms: &[100, 300_200],
            last: "b",
        },
        Row {
            must: "members that are not known are passed over",
            tag: TAG,
            answers: &[Text(
                "{\"VERSION\":1,\"TTL\":300,\"PATHWAY-PRIORITY\":[\"B\"],\"NEW\":[1]}",
            )],
            asked_ms: &[100, 300_200],
            last: "b",
        },
        Row {
            must: "after 410 it is never asked again",
            tag: TAG,
            answers: &[Status(410), Text(B_FIRST)],
            asked_ms: &[100],
            last: "a",
        },
        Row {
            must: "after 410 what it said last stays",
            tag: TAG,
            answers: &[Text(B_FIRST), Status(410)],
            asked_ms: &[100, 200_200],
            last: "b",
        },
        Row {
            must: "after 429 it is asked again when Retry-After says",
            tag: TAG,
            answers: &[Busy(70), Text(B_FIRST)],
            asked_ms: &[100, 70_200, 270_300],
            last: "b",
        },
        Row {
            must: "after any other failure it is asked again after the last TTL",
            tag: TAG,
            answers: &[
                Text("{\"VERSION\":1,\"TTL\":50,\"PATHWAY-PRIORITY\":[\"B\"]}"),
                Status(500),
                Status(404),
                Text(B_FIRST),
            ],
            asked_ms: &[100, 50_200, 100_300, 150_400],
            last: "b",
        },
        Row {
            must: "a clone of a pathway that is there already is ignored",
            tag: TAG,
            answers: &[Text(
                "{\"VERSION\":1,\"TTL\":300,\"PATHWAY-PRIORITY\":[\"B\"],\"PATHWAY-CLONES\":[\
                 {\"BASE-ID\":\"A\",\"ID\":\"B\",\"URI-REPLACEMENT\":{\"HOST\":\"x.example\"}}]}",
            )],
            asked_ms: &[100, 300_200],
            last: "b",
        },
        Row {
            must: "a clone of a clone is made of what came before it",
            tag: TAG,
            answers: &[Text(
                "{\"VERSION\":1,\"TTL\":300,\"PATHWAY-PRIORITY\":[\"D\"],\"PATHWAY-CLONES\":[\
                 {\"BASE-ID\":\"A\",\"ID\":\"C\",\"URI-REPLACEMENT\":{\"HOST\":\"c.example\"}},\
                 {\"BASE-ID\":\"C\",\"ID\":\"D\",\"URI-REPLACEMENT\":{\"HOST\":\"d.example\"}}]}",
            )],
            asked_ms: &[100, 300_200],
            last: "d",
        },
        Row {
            must: "the manifest in a data URI is applied, and nothing is asked for",
            tag: "SERVER-URI=\"data:application/json,\
                  %7B%22VERSION%22:1,%22TTL%22:90,%22PATHWAY-PRIORITY%22:[%22B%22]%7D\"",
            answers: &[Status(500)],
            asked_ms: &[],
            last: "b",
        },
        Row {
            must: "its RELOAD-URI is where it is asked for next",
            tag: "SERVER-URI=\"data:application/json,%7B%22VERSION%22:1,%22TTL%22:90,\
                  %22RELOAD-URI%22:%22https://s.example/steer%22,%22PATHWAY-PRIORITY%22:[%22A%22]%7D\"",
            answers: &[Text(B_FIRST)],
            asked_ms: &[90_100, 290_200],
            last: "b",
        },
    ] {
        let trace = watch(&hls(row.tag), row.answers);
        let asked: Vec<_> = trace.times_ms(ObjectKind::Steering);
        assert_eq!(asked, row.asked_ms, "{}", row.must);
        assert_eq!(hosts(&trace).last().map(String::as_str), Some(row.last), "{}", row.must);
        assert_eq!((trace.views[0].end, &trace.views[0].stalls[..]), (ViewEnd::Cut, &[][..]));
    }
}

#[test]
fn the_next_question_goes_where_the_answer_said() {
    let reload = |uri: &str| {
        format!(
            "{{\"VERSION\":1,\"TTL\":100,\"RELOAD-URI\":\"{uri}\",\"PATHWAY-PRIORITY\":[\"B\"]}}"
        )
    };
    for (uri, next) in [
        ("https://t.example/n?s=1", "https://t.example/n?s=1&_HLS_pathway=B"),
        ("next", "https://s.example/next?_HLS_pathway=B"),
        ("?s=2", "https://s.example/steer?s=2&_HLS_pathway=B"),
    ] {
        let text = reload(uri).leak();
        let trace = watch(&hls(TAG), &[Text(text), Text(B_FIRST)]);
        let questions = questions(&trace);
        // Nothing was measured before the first one, so that nothing is said of it.
        assert_eq!(questions[0], "https://s.example/steer?v=1&_HLS_pathway=A");
        let (said, throughput) = questions[1].split_once("&_HLS_throughput=").expect("measured");
        assert_eq!(said, next);
        assert!(throughput.parse::<u64>().unwrap() > 0, "{throughput}");
        // What was asked last is asked again, without what was added for the question.
        assert!(questions[2].starts_with(&format!("{next}&_HLS_throughput=")), "{questions:?}");
    }
}

#[test]
fn a_dash_player_does_what_the_standard_demands() {
    for row in [
        Row {
            must: "until the first manifest the default service location is applied",
            tag: "defaultServiceLocation=\"B\"",
            answers: &[Status(503)],
            asked_ms: &[100, 300_200],
            last: "b",
        },
        Row {
            must: "the first location of the list that is there is taken",
            tag: "",
            answers: &[Text(B_FIRST)],
            asked_ms: &[100, 200_200],
            last: "b",
        },
        Row {
            must: "another version ends steering",
            tag: "",
            answers: &[Text("{\"VERSION\":2,\"PATHWAY-PRIORITY\":[\"B\"]}")],
            asked_ms: &[100],
            last: "a",
        },
        Row {
            must: "after 410 it is never asked again",
            tag: "",
            answers: &[Status(410)],
            asked_ms: &[100],
            last: "a",
        },
        Row {
            must: "after 429 it is asked again when Retry-After says",
            tag: "",
            answers: &[Busy(70), Text(B_FIRST)],
            asked_ms: &[100, 70_200, 270_300],
            last: "b",
        },
    ] {
        let trace = watch(&dash(row.tag), row.answers);
        assert_eq!(trace.times_ms(ObjectKind::Steering), row.asked_ms, "{}", row.must);
        assert_eq!(hosts(&trace).last().map(String::as_str), Some(row.last), "{}", row.must);
    }
}

#[test]
fn a_dash_player_asks_before_it_starts_where_it_is_told_to() {
    let trace = watch(&dash("queryBeforeStart=\"true\""), &[Text(B_FIRST)]);
    assert!(hosts(&trace).iter().all(|host| host == "b"), "nothing came from the other one");
    assert!(trace.times_ms(ObjectKind::Segment)[0] >= 200, "the answer was waited for");
    assert_eq!(questions(&trace)[0], "https://s.example/steer?v=1&_DASH_pathway=%22A%22");

    let trace = watch(&dash("queryBeforeStart=\"true\""), &[Status(503)]);
    assert!(hosts(&trace).len() > 50, "one that does not answer keeps nobody from playing");
}

/// Segments of 4 s for 400 s, on the pathways A and B.
fn hls(tag: &str) -> String {
    format!(
        "#EXTM3U\n#EXT-X-CONTENT-STEERING:{tag}\n\
         #EXT-X-STREAM-INF:BANDWIDTH=1000000,PATHWAY-ID=\"A\"\nhttps://a.example/v/v0.m3u8\n\
         #EXT-X-STREAM-INF:BANDWIDTH=1000000,PATHWAY-ID=\"B\"\nhttps://b.example/v/v0.m3u8\n"
    )
}

fn dash(attributes: &str) -> String {
    format!(
        "<MPD xmlns=\"urn:mpeg:dash:schema:mpd:2011\" type=\"static\" \
         mediaPresentationDuration=\"PT400S\">\
         <BaseURL serviceLocation=\"A\">https://a.example/v/</BaseURL>\
         <BaseURL serviceLocation=\"B\">https://b.example/v/</BaseURL>\
         <ContentSteering {attributes}>https://s.example/steer?v=1</ContentSteering>\
         <Period><AdaptationSet mimeType=\"video/mp4\">\
         <SegmentTemplate duration=\"4\" startNumber=\"0\" \
         initialization=\"v0.mp4\" media=\"v0-$Number$.ts\"/>\
         <Representation id=\"0\" bandwidth=\"1000000\"/></AdaptationSet></Period></MPD>"
    )
}

/// Watches 320 s of it; every answer takes a tenth of a second.
fn watch(main: &str, answers: &[Says]) -> Trace {
    let content = Recorded { has_init: false, ..Recorded::new(&[1_000], 100, 4) };
    let behaviour = Behaviour { buffer_max: Duration::from_secs(6), ..Behaviour::default() };
    let mut player = Player::new(plan(&["https://m.example/main"], behaviour), 1);
    let mut asked = 0;
    run(
        &mut player,
        &mut |_, request| {
            let reply = match (request.kind, request.url.path()) {
                (_, "/main") => Reply::Text(main.to_owned()),
                (ObjectKind::Steering, _) => {
                    asked += 1;
                    reply(answers[(asked - 1).min(answers.len() - 1)])
                }
                _ => content.reply(request),
            };
            Answer { reply, delay: Duration::from_millis(100) }
        },
        &Link::default(),
        Duration::from_secs(320),
    )
}

fn reply(says: Says) -> Reply {
    match says {
        Text(text) => Reply::Text(text.to_owned()),
        Status(status) if status >= 500 => Reply::Fail(FailureClass::ServerError, Some(status)),
        Status(status) => Reply::Fail(FailureClass::ClientError, Some(status)),
        Busy(seconds) => Reply::Busy(Duration::from_secs(seconds)),
    }
}

fn questions(trace: &Trace) -> Vec<String> {
    let asked = trace.requests.iter().filter(|(_, request)| request.kind == ObjectKind::Steering);
    asked.map(|(_, request)| request.url.to_string()).collect()
}

/// The first letters of the hosts of all segments.
fn hosts(trace: &Trace) -> Vec<String> {
    let segments = trace.requests.iter().filter(|(_, r)| r.kind == ObjectKind::Segment);
    segments.map(|(_, request)| request.url.host_str().unwrap()[..1].to_owned()).collect()
}

//! Servers that fail: what is tried again, what is left for another rendition or pathway, and how a view ends.

use std::{collections::HashMap, time::Duration};

use super::{
    super::{AbrRule, Behaviour, Player, Request, ViewEnd},
    content::Recorded,
    simulation::{Answer, Link, Reply, Trace, plan, run},
    viewing::MAIN,
};
use crate::kind::{FailureClass, ObjectKind};

#[test]
fn what_cannot_be_started_is_a_failed_start() {
    let content = Recorded::new(&[1_000], 3, 4);
    type Broken = fn(&str, u32) -> Option<Reply>;
    // What fails, how it ends, and when: retries of the entry wait 1 s, of playlists 1 s and 2 s, of segments 31 s in all.
    let table: [(Broken, FailureClass, u64); 6] = [
        (|name, _| fail(name, "main.m3u8", 404), FailureClass::ClientError, 100),
        (|name, _| fail(name, "main.m3u8", 503), FailureClass::ServerError, 1_200),
        (|name, _| fail(name, "v0.m3u8", 503), FailureClass::ServerError, 100 + 300 + 3_000),
        (|name, _| fail(name, "v0-0.m4s", 500), FailureClass::ServerError, 300 + 700 + 31_000),
        (|name, _| fail(name, "v0.mp4", 404), FailureClass::ClientError, 300),
        (
            |name, _| (name == "main.m3u8").then(|| Reply::Text("<html>".into())),
            FailureClass::Manifest,
            100,
        ),
    ];
    for (broken, class, at) in table {
        let behaviour = Behaviour { patience_start: Duration::ZERO, ..Behaviour::default() };
        let trace = watch(&content, behaviour, &broken);
        assert_eq!(trace.views.len(), 1);
        assert_eq!(trace.views[0].end, ViewEnd::FailedStart(class));
        assert_eq!(trace.views[0].startup, None);
        assert_eq!(trace.ended, Some(ms(at)), "{class:?}");
        assert_eq!(trace.views[0].reason.is_some(), class == FailureClass::Manifest);
    }
}

#[test]
fn a_failed_segment_is_asked_for_again_after_a_while() {
    let content = Recorded { has_init: false, ..Recorded::new(&[1_000], 3, 4) };
    let trace = watch(&content, Behaviour::default(), &|name, attempt| {
        if attempt < 3 { fail(name, "v0-1.ts", 503) } else { None }
    });
    // First asked at 0.3 s; again at 1.4 s and 3.5 s.
    assert_eq!(trace.times_ms(ObjectKind::Segment), [200, 300, 1_400, 3_500, 3_600]);
    assert_eq!(trace.views[0].end, ViewEnd::Watched);
    assert_eq!(trace.views[0].stalls, []);
}

#[test]
fn what_is_buffered_is_played_before_a_failure_shows() {
    let content = Recorded { has_init: false, ..Recorded::new(&[1_000], 5, 4) };
    let trace = watch(&content, Behaviour::default(), &|name, _| fail(name, "v0-2.ts", 404));
    let view = &trace.views[0];
    assert_eq!(view.end, ViewEnd::FailedPlayback(FailureClass::ClientError));
    assert_eq!((view.startup, view.played), (Some(ms(300)), ms(8_000)));
    assert_eq!(trace.ended, Some(ms(8_300)));
    assert_eq!(trace.paths(ObjectKind::Segment).len(), 3, "nothing is asked for any more");
}

#[test]
fn another_rendition_takes_over_from_one_that_fails() {
    let content = Recorded { has_init: false, ..Recorded::new(&[400, 800, 1_500], 3, 4) };
    let behaviour = Behaviour { abr: AbrRule::Fixed, fixed_index: 2, ..Behaviour::default() };
    let trace = watch(&content, behaviour, &|name, _| fail(name, "v2-1.ts", 404));
    assert_eq!(trace.views[0].end, ViewEnd::Watched);
    assert_eq!(
        trace.paths(ObjectKind::Segment),
        ["/v/v2-0.ts", "/v/v2-1.ts", "/v/v1-1.ts", "/v/v1-2.ts"]
    );
    assert_eq!(trace.views[0].switches_down, 1);
}

#[test]
fn a_pathway_that_fails_gives_way_without_a_stall() {
    let trace = watch_steered(&mut |name, host| {
        (host == "a.example" && name == "v0-3.ts")
            .then_some(Reply::Fail(FailureClass::ClientError, Some(404)))
    });
    assert_eq!(trace.views[0].end, ViewEnd::Watched);
    assert_eq!((trace.views[0].pathway_switches, trace.views[0].stalls.len()), (1, 0));
    assert_eq!(hosts(&trace), ["a", "a", "a", "a", "b", "b", "b", "b", "b", "b", "b"]);
}

#[test]
fn the_steering_server_moves_players_between_pathways() {
    let mut asked = 0;
    let trace = watch_steered(&mut |name, _| {
        if name != "steer" {
            return None;
        }
        asked += 1;
        let order = if asked == 1 { "\"A\",\"B\"" } else { "\"B\",\"A\"" };
        let text = format!("{{\"VERSION\":1,\"TTL\":10,\"PATHWAY-PRIORITY\":[{order}]}}");
        Some(Reply::Text(text))
    });
    let view = &trace.views[0];
    assert_eq!((view.end, view.pathway_switches), (ViewEnd::Watched, 1));
    assert_eq!(view.stalls, []);
    // A buffer of 6 s: at 10 s of 4 s segments, four were fetched.
    assert_eq!(hosts(&trace), ["a", "a", "a", "a", "b", "b", "b", "b", "b", "b"]);
    let steering: Vec<_> = trace
        .requests
        .iter()
        .filter(|(_, request)| request.kind == ObjectKind::Steering)
        .map(|(at, request)| (at.as_millis(), request.url.query().unwrap_or_default().to_owned()))
        .collect();
    assert_eq!(steering[0].0, 100);
    assert_eq!(steering[0].1, "_HLS_pathway=A", "nothing was measured yet");
    assert_eq!(steering[1].0, 10_200, "after the time to live");
    assert!(steering[2].1.starts_with("_HLS_pathway=B&_HLS_throughput="));
}

#[test]
fn a_cloned_pathway_is_played_from_its_own_host() {
    let trace = watch_steered(&mut |name, _| {
        let text = r#"{"VERSION":1,"TTL":300,"PATHWAY-PRIORITY":["C","A"],"PATHWAY-CLONES":[
            {"BASE-ID":"A","ID":"C","URI-REPLACEMENT":{"HOST":"c.example"}}]}"#;
        (name == "steer").then(|| Reply::Text(text.into()))
    });
    assert_eq!(trace.views[0].end, ViewEnd::Watched);
    let hosts = hosts(&trace);
    assert_eq!(hosts.last().map(String::as_str), Some("c"));
    assert_eq!(trace.views[0].stalls, []);
}

/// Ten segments of 4 s on two pathways, `a.example` and `b.example`, with a buffer of 6 s.
fn watch_steered(change: &mut dyn FnMut(&str, &str) -> Option<Reply>) -> Trace {
    let content = Recorded { has_init: false, ..Recorded::new(&[1_000], 10, 4) };
    let main = "#EXTM3U\n#EXT-X-CONTENT-STEERING:SERVER-URI=\"https://s.example/steer\",PATHWAY-ID=\"A\"\n\
                #EXT-X-STREAM-INF:BANDWIDTH=1000000,PATHWAY-ID=\"A\"\nhttps://a.example/v/v0.m3u8\n\
                #EXT-X-STREAM-INF:BANDWIDTH=1000000,PATHWAY-ID=\"B\"\nhttps://b.example/v/v0.m3u8\n";
    let behaviour = Behaviour { buffer_max: ms(6_000), ..Behaviour::default() };
    serve(behaviour, &mut |request, name| match name {
        "main.m3u8" => Reply::Text(main.into()),
        _ => match change(name, request.url.host_str().unwrap_or_default()) {
            Some(reply) => reply,
            None if name == "steer" => {
                let text = "{\"VERSION\":1,\"TTL\":300,\"PATHWAY-PRIORITY\":[\"A\",\"B\"]}";
                Reply::Text(text.into())
            }
            None => content.reply(request),
        },
    })
}

/// Plays with a server that may answer otherwise: told the name and how often it was asked for.
fn watch(
    content: &Recorded,
    behaviour: Behaviour,
    change: &dyn Fn(&str, u32) -> Option<Reply>,
) -> Trace {
    let mut attempts: HashMap<String, u32> = HashMap::new();
    serve(behaviour, &mut |request, name| {
        let attempt = attempts.entry(name.to_owned()).or_default();
        *attempt += 1;
        change(name, *attempt).unwrap_or_else(|| content.reply(request))
    })
}

/// Every answer takes a tenth of a second.
fn serve(behaviour: Behaviour, reply: &mut dyn FnMut(&Request, &str) -> Reply) -> Trace {
    let mut player = Player::new(plan(&[MAIN], behaviour), 1);
    run(
        &mut player,
        &mut |_, request| {
            let name = request.url.path().rsplit('/').next().unwrap_or_default().to_owned();
            Answer { reply: reply(request, &name), delay: ms(100) }
        },
        &Link::default(),
        ms(3_600_000),
    )
}

fn fail(name: &str, at: &str, status: u16) -> Option<Reply> {
    let class = if status < 500 { FailureClass::ClientError } else { FailureClass::ServerError };
    (name == at).then_some(Reply::Fail(class, Some(status)))
}

/// The first letters of the hosts of all segments.
fn hosts(trace: &Trace) -> Vec<String> {
    let segments = trace.requests.iter().filter(|(_, r)| r.kind == ObjectKind::Segment);
    segments.map(|(_, request)| request.url.host_str().unwrap()[..1].to_owned()).collect()
}

fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

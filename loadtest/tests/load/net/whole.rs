//! Answers that are as they should be.

use http::{HeaderName, HeaderValue};
use tidegate_load::{kind::Protocol, net::Ask};
use url::Url;

use super::{ALL, app, ask, fetch, get, net, net_with, plan, server::Server, story, text};

#[test]
fn objects_come_whole_over_every_protocol() {
    story(async {
        let server = Server::start(false).await;
        let net = net(server.address);
        for protocol in ALL {
            let session = net.session(plan(protocol));
            for (path, length) in [
                ("/bytes/0", 0),
                ("/bytes/1", 1),
                ("/bytes/300000", 300_000),
                ("/chunked/70001", 70_001),
            ] {
                let mut told = Vec::new();
                let mut progress = |bytes| told.push(bytes);
                let ask = Ask { hash: true, keep: Some(1 << 20), ..ask(path) };
                let fetched = session.fetch(ask, &mut progress).await;
                let answer = fetched.outcome.unwrap();
                let expected = app::pattern(length);
                assert_eq!(answer.status, 200);
                assert_eq!(fetched.bytes, length as u64, "{protocol:?} {path}");
                assert_eq!(answer.body.unwrap(), expected, "{protocol:?} {path}");
                assert_eq!(answer.blake3.unwrap(), *blake3::hash(&expected).as_bytes());
                assert!(told.is_sorted() && told.last().copied().unwrap_or(0) == length as u64);
                assert!(fetched.first_byte.unwrap() <= fetched.took);
            }
            assert_eq!(get(&session, "/bytes/1").await.outcome.unwrap().body, None);
        }
    });
}

#[test]
fn a_session_keeps_its_connection_and_says_what_making_it_took() {
    story(async {
        let server = Server::start(false).await;
        for protocol in ALL {
            let net = net(server.address);
            let session = net.session(plan(protocol));
            let first = get(&session, "/bytes/10").await.connection.unwrap();
            assert_eq!(first.protocol, protocol);
            assert_eq!(first.connect.is_some(), protocol != Protocol::H3);
            assert!(first.handshake.is_some() && first.dns.is_none());
            assert!(!first.is_resumed && !first.is_early);
            for _ in 0..3 {
                assert!(get(&session, "/bytes/10").await.connection.is_none());
            }
            assert_eq!(net.counters().opened, 1, "{protocol:?}");
        }
    });
}

#[test]
fn ranges_are_parts_of_the_object() {
    story(async {
        let server = Server::start(false).await;
        let net = net(server.address);
        for protocol in ALL {
            let session = net.session(plan(protocol));
            for (range, expected) in [((100, Some(50)), 100..150), ((990, None), 990..1000)] {
                let ask = Ask { range: Some(range), keep: Some(1 << 10), ..ask("/bytes/1000") };
                let answer = fetch(&session, ask).await.outcome.unwrap();
                assert_eq!(answer.status, 206);
                assert_eq!(answer.body.unwrap(), app::pattern(1000).slice(expected));
            }
        }
    });
}

#[test]
fn requests_carry_what_was_asked_for_and_no_coding() {
    story(async {
        let server = Server::start(false).await;
        let net = net(server.address);
        for protocol in ALL {
            let session = net.session(plan(protocol));
            let mut ask = Ask { urgency: 1, keep: Some(1 << 10), ..ask("/headers?a=b&c=%20d") };
            let name = HeaderName::from_static("cmcd-session");
            ask.headers.push((name, HeaderValue::from_static("sid=\"1\"")));
            let body = fetch(&session, ask).await.outcome.unwrap().body.unwrap();
            let body = String::from_utf8(body.to_vec()).unwrap();
            for line in ["priority: u=1", "cmcd-session: sid=\"1\"", "user-agent: tidegate-load/"] {
                assert!(body.contains(line), "{protocol:?}: {line} in {body}");
            }
            assert!(!body.contains("accept-encoding") && !body.contains("range:"), "{body}");
        }
    });
}

#[test]
fn redirects_are_followed_and_secrets_stay_at_home() {
    story(async {
        let server = Server::start(false).await;
        let net = net(server.address);
        for protocol in ALL {
            let session = net.session(plan(protocol));
            let answer = get(&session, "/hop/3").await.outcome.unwrap();
            assert_eq!(answer.url.path(), "/bytes/10");

            let mut ask = Ask { keep: Some(1 << 10), ..ask("/away") };
            ask.headers.push((http::header::COOKIE, HeaderValue::from_static("secret=1")));
            let answer = fetch(&session, ask).await.outcome.unwrap();
            assert_eq!(answer.url, Url::parse("https://other.test/headers").unwrap());
            let body = String::from_utf8(answer.body.unwrap().to_vec()).unwrap();
            assert!(!body.contains("secret") && body.contains("user-agent"), "{body}");
        }
    });
}

#[test]
fn an_answer_says_which_way_it_took() {
    story(async {
        let server = Server::start(false).await;
        let net = net(server.address);
        for protocol in ALL {
            let facts = get(&net.session(plan(protocol)), "/facts").await.facts;
            assert_eq!((facts.status, facts.is_hit), (Some(200), Some(false)));
            assert_eq!((facts.age, facts.date), (Some(12), Some(784_111_777)));
            assert_eq!(
                (facts.pop.as_deref(), facts.etag.as_deref()),
                (Some("edge-7"), Some("\"e\""))
            );
        }
    });
}

#[test]
fn several_fetches_run_side_by_side() {
    story(async {
        let server = Server::start(false).await;
        for (protocol, connections) in [(Protocol::H1, 3), (Protocol::H2, 1), (Protocol::H3, 1)] {
            let net = net_with(server.address, |config| config.h1_connections = 3);
            let session = net.session(plan(protocol));
            let paths: Vec<String> = (0..12).map(|at| format!("/bytes/{}", 20_000 + at)).collect();
            let fetches = paths.iter().map(|path| get(&session, path));
            for (at, fetched) in futures::future::join_all(fetches).await.into_iter().enumerate() {
                assert!(fetched.outcome.is_ok(), "{protocol:?}: {:?}", fetched.outcome);
                assert_eq!(fetched.bytes, 20_000 + at as u64);
            }
            assert_eq!(net.counters().opened, connections, "{protocol:?}");
        }
    });
}

#[test]
fn a_session_makes_new_connections_as_often_as_it_shall() {
    story(async {
        let server = Server::start(false).await;
        for protocol in ALL {
            let net = net(server.address);
            let mut plan = plan(protocol);
            plan.new_connection_every = Some(3);
            let session = net.session(plan);
            let mut made = Vec::new();
            for _ in 0..7 {
                made.push(get(&session, "/bytes/10").await.connection.is_some());
            }
            assert_eq!(made, [true, false, false, true, false, false, true], "{protocol:?}");
        }
    });
}

#[test]
fn one_session_has_connections_to_a_few_servers() {
    story(async {
        let server = Server::start(false).await;
        let net = net(server.address);
        for protocol in [Protocol::H2, Protocol::H3] {
            let session = net.session(plan(protocol));
            let before = net.counters().opened;
            let at = |port: u16| {
                let mut ask = ask("/bytes/10");
                ask.url.set_port(Some(port)).unwrap();
                fetch(&session, ask)
            };
            // Seven places that are all this server: the first is forgotten for the seventh.
            for port in [1, 2, 3, 4, 5, 6, 1, 7, 2, 1] {
                assert!(at(port).await.outcome.is_ok());
            }
            assert_eq!(net.counters().opened - before, 8, "{protocol:?}");
        }
        assert!(
            text(&net.session(plan(Protocol::H1)), "/headers").await.contains("host: rig.test")
        );
    });
}

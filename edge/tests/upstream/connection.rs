//! Which connection a request takes.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use bytes::Bytes;
use http::{Method, Response, StatusCode};
use tidegate_contract::property::{H2, UpstreamPolicy};
use tidegate_edge::error::Failure;
use tokio::sync::Notify;

use crate::harness::{
    Client, Setup, Wish, body, clear, eventually,
    plain::{Plain, ok},
    secure::Secure,
    text, within,
};

#[tokio::test]
async fn requests_one_after_the_other_share_a_connection() {
    let origin = Plain::named("a").await;
    let client = Client::of(&[origin.address]);
    for _ in 0..5 {
        assert_eq!(text(client.get("/").await).await.unwrap(), "a");
    }
    assert_eq!((origin.connections(), origin.requests()), (1, 5));
    assert_eq!(client.connections("h1"), (1, 4));
}

#[tokio::test]
async fn answers_of_every_framing_leave_the_connection_usable() {
    let chunked =
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\nT: 1\r\n\r\n";
    for (answer, expected) in [
        (chunked, "ab"),
        ("HTTP/1.1 204 No Content\r\n\r\n", ""),
        ("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", ""),
        ("HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n", ""),
    ] {
        let origin = Plain::always(answer).await;
        let client = Client::of(&[origin.address]);
        for _ in 0..3 {
            assert_eq!(text(client.get("/").await).await.unwrap(), expected);
        }
        assert_eq!(origin.connections(), 1, "{answer:?}");
    }
}

#[tokio::test]
async fn a_connection_is_not_kept_when_the_answer_says_so_or_more_comes_than_should() {
    for answer in [
        "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 1\r\n\r\na",
        "HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\na",
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\naHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil",
    ] {
        let origin = Plain::always(answer).await;
        let client = Client::of(&[origin.address]);
        for _ in 0..2 {
            assert_eq!(text(client.get("/").await).await.unwrap(), "a");
        }
        assert_eq!(origin.connections(), 2, "{answer:?}");
    }
}

#[tokio::test]
async fn a_kept_connection_that_was_closed_is_replaced_silently() {
    // It is closed with the second request, so that the client cannot know before.
    let origin = Plain::start(|mut peer| async move {
        peer.request().await;
        peer.say(ok("a")).await;
        if peer.request().await.is_some() && peer.number == 1 {
            peer.reset();
            return;
        }
        peer.say(ok("b")).await;
    })
    .await;
    let client = Client::of(&[origin.address]);
    assert_eq!(text(client.get("/").await).await.unwrap(), "a");
    assert_eq!(text(client.get("/").await).await.unwrap(), "a", "on the second connection");
    assert_eq!(client.metrics.retries.get(), 0, "nobody notices");
    assert_eq!(client.errors("upstream-failed"), 0);
    assert_eq!(origin.connections(), 2);
}

#[tokio::test]
async fn what_may_not_be_repeated_takes_a_connection_of_its_own() {
    let origin = Plain::named("a").await;
    let client = Client::of(&[origin.address]);
    text(client.get("/").await).await.unwrap();
    let post = Wish { method: Method::POST, ..Wish::default() };
    assert_eq!(text(client.ask(post).await).await.unwrap(), "a");
    assert_eq!(origin.connections(), 2);
}

#[tokio::test]
async fn a_post_is_never_sent_twice() {
    let origin = Plain::start(|mut peer| async move { _ = peer.request().await }).await;
    let other = Plain::named("other").await;
    let client = Client::of(&[origin.address, other.address]);
    let post = Wish { method: Method::POST, ..Wish::default() };
    assert_eq!(client.ask(post).await.err(), Some(Failure::BROKEN));
    assert_eq!((origin.requests(), other.requests()), (1, 0));
    assert_eq!(text(client.get("/").await).await.unwrap(), "other", "a GET may go on");
}

#[tokio::test]
async fn many_requests_share_one_connection_of_h2() {
    let (open, go_on) = (Arc::new(AtomicUsize::new(0)), Arc::new(Notify::new()));
    let origin = Secure::h2({
        let (open, go_on) = (open.clone(), go_on.clone());
        move |request, mut respond| {
            let (open, go_on) = (open.clone(), go_on.clone());
            async move {
                assert_eq!(request.uri().authority().unwrap(), "a.org");
                assert!(request.headers().get("host").is_none());
                let waiting = go_on.notified();
                open.fetch_add(1, Ordering::SeqCst);
                waiting.await;
                let mut stream = respond.send_response(Response::new(()), false).unwrap();
                stream.send_data(Bytes::from(request.uri().path().to_owned()), true).unwrap();
            }
        }
    })
    .await;
    let client = Client::new(Setup { origins: vec![origin.upstream()], ..Setup::default() });
    let asks = (0..20).map(|n| {
        let client = &client;
        async move { text(client.get(&format!("/{n}")).await).await.unwrap() }
    });
    let together = futures::future::join_all(asks);
    let all_open = async {
        eventually("all are there at once", || open.load(Ordering::SeqCst) == 20).await;
        go_on.notify_waiters();
    };
    let (answers, ()) = within(futures::future::join(together, all_open)).await;
    assert_eq!(answers, (0..20).map(|n| format!("/{n}")).collect::<Vec<_>>());
    assert_eq!(origin.connections(), 1);
    assert_eq!(client.connections("h2"), (1, 19));
}

#[tokio::test]
async fn h2_is_not_offered_where_the_property_says_so() {
    let origin = Secure::h1("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\na", true).await;
    for h2 in [H2::Auto, H2::Off] {
        let policy = UpstreamPolicy { h2, ..UpstreamPolicy::default() };
        let origins = vec![origin.upstream()];
        let client = Client::new(Setup { origins, policy, ..Setup::default() });
        for _ in 0..2 {
            assert_eq!(text(client.get("/").await).await.unwrap(), "a");
        }
        assert_eq!(client.connections("h1"), (1, 1));
    }
    let speaks_both = Secure::h2(|_, mut respond| async move {
        respond.send_response(Response::new(()), true).unwrap();
    })
    .await;
    let policy = UpstreamPolicy { h2: H2::Off, ..UpstreamPolicy::default() };
    let origins = vec![speaks_both.upstream()];
    let client = Client::new(Setup { origins, policy, ..Setup::default() });
    // It was talked into H1, which this one cannot speak.
    assert!(client.get("/").await.is_err());
    assert_eq!(client.connections("h2"), (0, 0));
}

#[tokio::test]
async fn a_stream_that_was_refused_goes_again_whatever_its_method() {
    let refused = Arc::new(AtomicUsize::new(0));
    let origin = Secure::h2({
        let refused = refused.clone();
        move |request, mut respond| {
            let is_first_post =
                request.method() == Method::POST && refused.fetch_add(1, Ordering::SeqCst) == 0;
            async move {
                if is_first_post {
                    respond.send_reset(h2::Reason::REFUSED_STREAM);
                } else {
                    respond.send_response(Response::new(()), true).unwrap();
                }
            }
        }
    })
    .await;
    let client = Client::new(Setup { origins: vec![origin.upstream()], ..Setup::default() });
    assert!(client.get("/").await.is_ok());
    let post = Wish { method: Method::POST, ..Wish::default() };
    let mut answer = client.ask(post).await.unwrap();
    assert_eq!((answer.status, body(&mut answer).await.unwrap()), (StatusCode::OK, vec![]));
    assert_eq!(refused.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn what_wants_http_1_1_is_asked_over_it_and_from_then_on_at_once() {
    let origin = Secure::h1_wanted().await;
    let client = Client::new(Setup { origins: vec![origin.upstream()], ..Setup::default() });
    assert_eq!(text(client.get("/").await).await.unwrap(), "h1");
    assert_eq!((client.connections("h2"), client.connections("h1")), ((1, 0), (1, 0)));
    // Nothing of it counts against the origin, and no other request finds out anew.
    for method in [Method::GET, Method::POST, Method::GET] {
        let wish = Wish { method, ..Wish::default() };
        assert_eq!(text(client.ask(wish).await).await.unwrap(), "h1");
    }
    assert_eq!(client.connections("h2"), (1, 0));
    assert_eq!((client.errors("broken"), client.errors("slow")), (0, 0));
    assert_eq!(origin.connections(), 3, "one of H2, one that is kept, one for the POST alone");
}

#[test]
fn runtimes_share_connections() {
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    // The origins have one of their own, and each ask is made on another than the one before.
    let origins =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    let origins = origins.unwrap();
    let (plain, secure) = origins.block_on(async {
        let h2 = Secure::h2(|_, mut respond| async move {
            let mut stream = respond.send_response(Response::new(()), false).unwrap();
            stream.send_data(Bytes::from_static(b"h2"), true).unwrap();
        });
        (Plain::named("h1").await, h2.await)
    });
    for (origin, expected) in [(clear(&plain.address), "h1"), (secure.upstream(), "h2")] {
        let client = Arc::new(Client::new(Setup { origins: vec![origin], ..Setup::default() }));
        std::thread::scope(|scope| {
            let (stop, stopped) = tokio::sync::watch::channel(());
            let workers: Vec<_> = (0..3)
                .map(|_| {
                    let (hand, mut jobs) = tokio::sync::mpsc::channel::<Arc<Client>>(1);
                    let (told, done) = std::sync::mpsc::channel();
                    let mut stopped = stopped.clone();
                    let build = &runtime;
                    scope.spawn(move || {
                        build().block_on(async move {
                            while let Some(client) = jobs.recv().await {
                                let ask =
                                    tokio::spawn(async move { text(client.get("/").await).await });
                                told.send(ask.await.unwrap().unwrap()).unwrap();
                            }
                            // A worker's connections are driven until all are done.
                            let _ = stopped.changed().await;
                        });
                    });
                    (hand, done)
                })
                .collect();
            for n in 0..9 {
                let (hand, done) = &workers[n % 3];
                hand.blocking_send(client.clone()).unwrap();
                assert_eq!(done.recv_timeout(crate::harness::PATIENCE).unwrap(), expected);
            }
            drop((workers, stop));
        });
        assert_eq!(client.connections(expected), (1, 8));
    }
}

#[tokio::test]
async fn a_body_of_known_length_needs_no_further_look_to_free_its_connection() {
    let origin = Plain::named("abc").await;
    let client = Client::of(&[origin.address]);
    for _ in 0..3 {
        let mut answer = client.get("/").await.unwrap();
        assert_eq!(answer.body.next().await.unwrap().unwrap(), "abc");
    }
    assert_eq!(origin.connections(), 1);
}

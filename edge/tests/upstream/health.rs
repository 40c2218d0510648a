//! Upstreams that fail, and come back.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tidegate_chassis::Drain;
use tidegate_contract::property::{HealthCheck, UpstreamPolicy};
use tidegate_edge::{error::Failure, upstream::Config};

use crate::harness::{
    Client, PATIENCE, Setup, Wish, clear, eventually, origin,
    plain::{Plain, nobody, ok},
    text, within,
};

/// One that breaks off, or answers, as it is told.
async fn moody() -> (Plain, Arc<AtomicBool>) {
    let is_well = Arc::new(AtomicBool::new(false));
    let plain = Plain::start({
        let is_well = is_well.clone();
        move |mut peer| {
            let is_well = is_well.clone();
            async move {
                while peer.request().await.is_some() && is_well.load(Ordering::SeqCst) {
                    peer.say(ok("first")).await;
                }
            }
        }
    })
    .await;
    (plain, is_well)
}

#[tokio::test]
async fn one_that_failed_is_left_alone_until_one_request_tries_it() {
    let (first, is_well) = moody().await;
    let second = Plain::named("second").await;
    let client = Client::of(&[first.address, second.address]);
    for _ in 0..3 {
        assert_eq!(text(client.get("/").await).await.unwrap(), "second");
    }
    assert_eq!(first.requests(), 3);
    for _ in 0..5 {
        assert_eq!(client.get("/").await.unwrap().attempts, 1);
    }
    assert_eq!(first.requests(), 3, "left alone");

    client.clock.advance(Duration::from_secs(5));
    assert_eq!(text(client.get("/").await).await.unwrap(), "second");
    assert_eq!(first.requests(), 4, "tried once");
    client.get("/").await.unwrap();
    assert_eq!(first.requests(), 4);

    is_well.store(true, Ordering::SeqCst);
    client.clock.advance(Duration::from_secs(9));
    client.get("/").await.unwrap();
    assert_eq!(first.requests(), 4, "twice as long");
    client.clock.advance(Duration::from_secs(1));
    for _ in 0..3 {
        assert_eq!(text(client.get("/").await).await.unwrap(), "first");
    }
}

#[tokio::test]
async fn the_only_one_is_tried_although_it_fails() {
    let (only, is_well) = moody().await;
    let client = Client::of(&[only.address]);
    for _ in 0..5 {
        assert_eq!(client.get("/").await.err(), Some(Failure::BROKEN));
    }
    assert_eq!(only.requests(), 5, "nobody else could answer");
    is_well.store(true, Ordering::SeqCst);
    assert_eq!(text(client.get("/").await).await.unwrap(), "first", "at once");
}

#[tokio::test]
async fn others_do_not_wait_for_the_few_who_try() {
    let silent = Plain::silent().await;
    let setup = Setup {
        origins: vec![clear(&silent.address)],
        policy: UpstreamPolicy {
            first_byte_timeout: Some(Duration::from_millis(30)),
            ..UpstreamPolicy::default()
        },
        ..Setup::default()
    };
    let client = Client::new(setup);
    for _ in 0..3 {
        assert_eq!(client.get("/").await.err(), Some(Failure::TIMEOUT));
    }
    let few = 16;
    let held = || client.ask(Wish { hold: Some(PATIENCE), ..Wish::default() });
    let others = async {
        eventually("a few try", || silent.requests() == 3 + few).await;
        client.get("/").await.err()
    };
    tokio::select! {
        _ = futures::future::join_all((0..few).map(|_| held())) => panic!("it is silent"),
        other = others => assert_eq!(other, Some(Failure::UNREACHABLE)),
    }
    assert_eq!((silent.requests(), client.errors("open")), (3 + few, 1));
}

#[tokio::test]
async fn bodies_that_break_off_count_as_failures() {
    let short = Plain::once("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc").await;
    let second = Plain::named("second").await;
    let client = Client::of(&[short.address, second.address]);
    for _ in 0..3 {
        assert_eq!(text(client.get("/").await).await, Err(Failure::BROKEN));
    }
    assert_eq!(client.get("/").await.unwrap().from, origin(1));
}

#[tokio::test]
async fn health_checks_take_an_origin_out_and_put_it_back() {
    let is_well = Arc::new(AtomicBool::new(true));
    let first = Plain::start({
        let is_well = is_well.clone();
        move |mut peer| {
            let is_well = is_well.clone();
            async move {
                while let Some(head) = peer.request().await {
                    let is_check = head.starts_with("GET /up HTTP/1.1\r\nhost: check.example\r\n");
                    let answer = match (is_check, is_well.load(Ordering::SeqCst)) {
                        (true, false) => "HTTP/1.1 500 Ill\r\nContent-Length: 0\r\n\r\n".to_owned(),
                        _ => ok("first"),
                    };
                    peer.say(answer).await;
                }
            }
        }
    })
    .await;
    let second = Plain::named("second").await;
    let health = HealthCheck {
        path: "/up".into(),
        interval: Duration::from_secs(1),
        timeout: Duration::from_secs(5),
        status: Some(200),
        host: Some("check.example".into()),
    };
    let setup = Setup {
        origins: vec![clear(&first.address), clear(&second.address)],
        policy: UpstreamPolicy { health: Some(health), ..UpstreamPolicy::default() },
        config: Config { failures_max: 1, ..Config::default() },
        ..Setup::default()
    };
    let client = Client::new(setup);
    let drain = Drain::new();
    let watching =
        tokio::spawn(client.upstreams.clone().watch(client.handle.clone(), drain.clone()));
    let checks = |result| client.metrics.checks.with_label_values(&[result]).get();
    eventually("it is well", || checks("well") >= 2).await;
    assert_eq!(text(client.get("/").await).await.unwrap(), "first");

    is_well.store(false, Ordering::SeqCst);
    eventually("it failed", || checks("failed") >= 1).await;
    assert_eq!(text(client.get("/").await).await.unwrap(), "second");

    is_well.store(true, Ordering::SeqCst);
    let well = checks("well");
    // The second one's checks go on beside.
    eventually("it is well again", || checks("well") >= well + 2).await;
    assert_eq!(text(client.get("/").await).await.unwrap(), "first");
    drain.begin();
    within(watching).await.unwrap();
}

#[tokio::test]
async fn an_unknown_name_is_a_failure_like_others() {
    let second = Plain::named("second").await;
    let mut unknown = clear(&nobody());
    unknown.authority = "no-such-host.invalid:80".into();
    let setup = Setup { origins: vec![unknown, clear(&second.address)], ..Setup::default() };
    let client = Client::new(setup);
    assert_eq!(text(client.get("/").await).await.unwrap(), "second");
    assert_eq!(client.errors("address"), 1);
}

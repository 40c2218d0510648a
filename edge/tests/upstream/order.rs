//! Who is asked, one after the other.

use std::time::Duration;

use http::StatusCode;
use tidegate_contract::property::UpstreamPolicy;
use tidegate_edge::{
    error::Failure,
    upstream::{Candidate, Config, Tier},
};

use crate::harness::{
    Client, PATIENCE, Setup, Wish, clear, eventually, origin,
    plain::{Plain, nobody, ok},
    text,
};

const BUSY: &str = "HTTP/1.1 503 Busy\r\nRetry-After: 7\r\nContent-Length: 4\r\n\r\nbusy";

#[tokio::test]
async fn the_next_origin_answers_for_one_that_is_away_or_says_it_cannot() {
    let away = nobody();
    let busy = Plain::always(BUSY).await;
    let well = Plain::named("well").await;
    let client = Client::of(&[away, busy.address, well.address]);
    let answer = client.get("/").await.unwrap();
    assert_eq!((answer.from, answer.attempts), (origin(2), 3));
    assert_eq!(text(Ok(answer)).await.unwrap(), "well");
    assert_eq!(client.metrics.retries.get(), 2);
    assert_eq!((client.errors("upstream-unreachable"), client.errors("status")), (1, 1));
}

#[tokio::test]
async fn when_nobody_can_the_last_word_is_handed_on() {
    let busy = Plain::always(BUSY).await;
    let client = Client::of(&[busy.address, nobody()]);
    let answer = client.get("/").await.unwrap();
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(answer.headers["retry-after"], "7");
    assert_eq!(text(Ok(answer)).await.unwrap(), "busy");
    let client = Client::of(&[nobody()]);
    assert_eq!(client.get("/").await.err(), Some(Failure::UNREACHABLE));
}

#[tokio::test]
async fn only_so_many_are_asked() {
    let origins = [nobody(), nobody(), nobody()];
    let last = Plain::named("last").await;
    let client = Client::of(&[origins[0], origins[1], origins[2], last.address]);
    assert_eq!(client.get("/").await.err(), Some(Failure::UNREACHABLE));
    assert_eq!(last.requests(), 0);
}

#[tokio::test]
async fn who_is_to_be_avoided_is_asked_last() {
    let (one, two) = (Plain::named("one").await, Plain::named("two").await);
    let client = Client::of(&[one.address, two.address]);
    let avoid = |avoid| Wish { avoid, ..Wish::default() };
    assert_eq!(text(client.ask(avoid(vec![])).await).await.unwrap(), "one");
    assert_eq!(text(client.ask(avoid(vec![origin(0)])).await).await.unwrap(), "two");
    let both = avoid(vec![origin(0), origin(1)]);
    assert_eq!(text(client.ask(both).await).await.unwrap(), "one");
}

#[tokio::test]
async fn shields_come_first_and_only_they_see_the_seal() {
    let tells = || {
        Plain::start(|mut peer| async move {
            while let Some(head) = peer.request().await {
                let seal = if head.contains("tidegate-tier: sealed") { "sealed" } else { "bare" };
                peer.say(ok(seal)).await;
            }
        })
    };
    let (shield, origin) = (tells().await, tells().await);
    let setup = |shield| Setup {
        origins: vec![clear(&origin.address)],
        shields: vec![clear(&shield)],
        ..Setup::default()
    };
    let client = Client::new(setup(shield.address));
    let answer = client.get("/").await.unwrap();
    assert_eq!(answer.from, Candidate { tier: Tier::Shield, place: 0 });
    assert_eq!(text(Ok(answer)).await.unwrap(), "sealed");
    let client = Client::new(setup(nobody()));
    assert_eq!(text(client.get("/").await).await.unwrap(), "bare");
}

#[tokio::test]
async fn what_a_shield_says_of_its_origin_is_not_held_against_it() {
    let shield = Plain::always("HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n").await;
    let setup = Setup {
        origins: vec![clear(&nobody())],
        shields: vec![clear(&shield.address)],
        ..Setup::default()
    };
    let client = Client::new(setup);
    for n in 1..=5 {
        assert_eq!(client.get("/").await.unwrap().status, StatusCode::BAD_GATEWAY);
        assert_eq!(shield.requests(), n);
    }
}

#[tokio::test]
async fn an_answer_that_does_not_begin_or_go_on_is_not_waited_for() {
    let silent = Plain::silent().await;
    let stuck = Plain::start(|mut peer| async move {
        peer.request().await;
        peer.say("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabc").await;
        peer.until(b"never").await;
    })
    .await;
    let time = Some(Duration::from_secs(2));
    let policy = UpstreamPolicy {
        first_byte_timeout: time,
        read_timeout: time,
        ..UpstreamPolicy::default()
    };
    for (address, expected) in [(silent.address, None), (stuck.address, Some(200))] {
        let origins = vec![clear(&address)];
        let client = Client::new(Setup { origins, policy: policy.clone(), ..Setup::default() });
        let answer = client.get("/").await;
        assert_eq!(answer.as_ref().ok().map(|answer| answer.status.as_u16()), expected);
        assert_eq!(text(answer).await, Err(Failure::TIMEOUT));
        assert_eq!(client.errors("upstream-timeout"), 1);
    }
}

#[tokio::test]
async fn a_held_request_may_take_longer() {
    let late = Plain::start(|mut peer| async move {
        peer.request().await;
        // The first one waits for ever; the second for longer than what is not held may take.
        if peer.number == 1 {
            return drop(peer.until(b"never").await);
        }
        tokio::time::sleep(FIRST_BYTE * 3).await;
        peer.say(ok("late")).await;
    })
    .await;
    const FIRST_BYTE: Duration = Duration::from_millis(40);
    let config = Config { first_byte_timeout: FIRST_BYTE, ..Config::default() };
    let origins = vec![clear(&late.address)];
    let client = Client::new(Setup { origins, config, ..Setup::default() });
    assert_eq!(client.get("/").await.err(), Some(Failure::TIMEOUT));
    let held = Wish { hold: Some(PATIENCE), ..Wish::default() };
    assert_eq!(text(client.ask(held).await).await.unwrap(), "late");
}

#[tokio::test]
async fn only_so_many_are_under_way_to_one_origin() {
    let origin = Plain::silent().await;
    let config = Config { asks_wait_max: Duration::from_millis(20), ..Config::default() };
    let policy = UpstreamPolicy { connections_max: Some(2), ..UpstreamPolicy::default() };
    let origins = vec![clear(&origin.address)];
    let client = Client::new(Setup { origins, policy, config, ..Setup::default() });
    let third = async {
        eventually("two are under way", || origin.requests() == 2).await;
        client.get("/").await.err().map(|failure| (failure.status, failure.kind))
    };
    tokio::select! {
        _ = client.get("/") => panic!("it is silent"),
        _ = client.get("/") => panic!("it is silent"),
        refused = third => assert_eq!(refused, Some((503, "upstream-busy"))),
    }
    assert_eq!(origin.requests(), 2);
}

#[tokio::test]
async fn repeated_requests_are_a_share_of_all() {
    let config = Config { retry_percent: 0, failures_max: 1000, ..Config::default() };
    let origins = vec![clear(&nobody()), clear(&nobody())];
    let client = Client::new(Setup { origins, config, ..Setup::default() });
    for _ in 0..30 {
        assert!(client.get("/").await.is_err());
    }
    assert_eq!(client.metrics.retries.get(), 20, "a few always");
    assert_eq!(client.metrics.retries_refused.get(), 10);
    client.clock.advance(Duration::from_secs(10));
    assert!(client.get("/").await.is_err());
    assert_eq!(client.metrics.retries.get(), 21, "and again after ten seconds");
}

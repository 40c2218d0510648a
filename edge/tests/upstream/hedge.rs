//! Second requests for slow first ones.

use std::time::Duration;

use http::Method;
use tidegate_contract::property::{Hedge, UpstreamPolicy};
use tidegate_edge::{error::Failure, upstream::Config};
use tokio::sync::mpsc;

use crate::harness::{
    Client, Setup, Wish, clear, eventually, origin, plain::Plain, plain::ok, text, within,
};

fn client(origins: &[&Plain], hedge: Hedge, config: Config) -> Client {
    Client::new(Setup {
        origins: origins.iter().map(|origin| clear(&origin.address)).collect(),
        policy: UpstreamPolicy { hedge, ..UpstreamPolicy::default() },
        config,
        ..Setup::default()
    })
}

const SOON: Hedge = Hedge::After(Duration::from_millis(20));

fn impatient() -> Config {
    Config { first_byte_timeout: Duration::from_secs(2), ..Config::default() }
}

/// One that says nothing, and tells when its client is gone.
async fn silent() -> (Plain, mpsc::Receiver<()>) {
    let (tell, told) = mpsc::channel(1);
    let plain = Plain::start(move |mut peer| {
        let tell = tell.clone();
        async move {
            while peer.request().await.is_some() {}
            _ = tell.send(()).await;
        }
    })
    .await;
    (plain, told)
}

#[tokio::test]
async fn a_second_upstream_answers_for_a_slow_one_which_is_cut_off() {
    let (slow, mut cut) = silent().await;
    let quick = Plain::named("quick").await;
    let client = client(&[&slow, &quick], SOON, Config::default());
    let answer = client.get("/").await.unwrap();
    assert_eq!((answer.from, answer.attempts), (origin(1), 2));
    assert_eq!(text(Ok(answer)).await.unwrap(), "quick");
    within(cut.recv()).await.expect("the slow one's connection is closed");
    assert_eq!(client.metrics.hedges.with_label_values(&["yes"]).get(), 1);
    assert_eq!(client.metrics.retries.get(), 0);
}

#[tokio::test]
async fn the_first_may_still_win() {
    let (tell, told) = mpsc::channel::<()>(1);
    let told = std::sync::Arc::new(tokio::sync::Mutex::new(told));
    let first = Plain::start(move |mut peer| {
        let told = told.clone();
        async move {
            peer.request().await;
            told.lock().await.recv().await;
            peer.say(ok("first")).await;
        }
    })
    .await;
    let (second, mut cut) = silent().await;
    let client = client(&[&first, &second], SOON, Config::default());
    let answering = async {
        eventually("the second is asked", || second.requests() == 1).await;
        tell.send(()).await.unwrap();
    };
    let (answer, ()) = tokio::join!(client.get("/"), answering);
    assert_eq!(text(answer).await.unwrap(), "first");
    within(cut.recv()).await.expect("the second one's connection is closed");
    assert_eq!(client.metrics.hedges.with_label_values(&["no"]).get(), 1);
}

#[tokio::test]
async fn when_one_fails_the_other_is_waited_for() {
    let (tell, told) = mpsc::channel::<()>(1);
    let told = std::sync::Arc::new(tokio::sync::Mutex::new(told));
    let slow = Plain::start(move |mut peer| {
        let told = told.clone();
        async move {
            peer.request().await;
            told.lock().await.recv().await;
            peer.say(ok("slow")).await;
        }
    })
    .await;
    let bad = Plain::always("HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n").await;
    let client = client(&[&slow, &bad], SOON, Config::default());
    let answering = async {
        eventually("the other has failed", || client.errors("status") == 1).await;
        tell.send(()).await.unwrap();
    };
    let (answer, ()) = tokio::join!(client.get("/"), answering);
    assert_eq!(text(answer).await.unwrap(), "slow");
    assert_eq!(client.metrics.hedges.with_label_values(&["no"]).get(), 1);
}

#[tokio::test]
async fn what_may_not_be_repeated_or_is_held_is_not_hedged() {
    let (slow, _cut) = silent().await;
    let quick = Plain::named("quick").await;
    let posted = Wish { method: Method::POST, ..Wish::default() };
    let held = || Wish { hold: Some(Duration::from_secs(2)), ..Wish::default() };
    let one = client(&[&slow, &quick], SOON, impatient());
    assert_eq!(one.ask(posted).await.err(), Some(Failure::TIMEOUT));
    assert_eq!(quick.requests(), 0);
    // In vain, but it may be repeated.
    assert_eq!(text(one.ask(held()).await).await.unwrap(), "quick");
    for hedge in [Hedge::Off, Hedge::Auto] {
        let client = client(&[&slow, &quick], hedge, impatient());
        assert_eq!(text(client.get("/").await).await.unwrap(), "quick");
        assert_eq!(
            client.metrics.retries.get(),
            1,
            "the next one is asked only when the first failed"
        );
    }
    let hedges = |label| one.metrics.hedges.with_label_values(&[label]).get();
    assert_eq!(hedges("yes") + hedges("no"), 0);
}

#[tokio::test]
async fn how_long_it_takes_usually_says_when_it_is_slow() {
    let (tell, told) = mpsc::channel::<()>(1);
    let told = std::sync::Arc::new(tokio::sync::Mutex::new(told));
    let usually_quick = Plain::start(move |mut peer| {
        let told = told.clone();
        async move {
            while let Some(head) = peer.request().await {
                if head.starts_with("GET /slow") {
                    told.lock().await.recv().await;
                }
                peer.say(ok("first")).await;
            }
        }
    })
    .await;
    let second = Plain::named("second").await;
    let client = client(&[&usually_quick, &second], Hedge::Auto, Config::default());
    for _ in 0..30 {
        assert_eq!(text(client.get("/").await).await.unwrap(), "first");
    }
    assert_eq!(text(client.get("/slow").await).await.unwrap(), "second");
    drop(tell);
}

#[tokio::test]
async fn hedges_come_out_of_the_budget() {
    let (slow, _cut) = silent().await;
    let quick = Plain::named("quick").await;
    let config = Config { retry_percent: 0, attempts_max: 2, ..impatient() };
    let client = client(&[&slow, &quick], SOON, config);
    let mut outcomes = Vec::new();
    for _ in 0..21 {
        outcomes.push(client.get("/").await.is_ok());
    }
    assert_eq!(outcomes.iter().filter(|is_ok| **is_ok).count(), 20, "a few always");
    assert!(client.metrics.retries_refused.get() > 0);
    client.clock.advance(Duration::from_secs(10));
    assert!(client.get("/").await.is_ok(), "and again after ten seconds");
}

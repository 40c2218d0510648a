//! The nodes of one PoP: who is asked, and who steps in.

use std::time::Duration;

use http::Method;
use tidegate_contract::property::{Hedge, UpstreamPolicy};
use tidegate_edge::{
    cache::key::Key,
    upstream::{Candidate, Config, Home, Siblings, Tier},
};

use crate::harness::{
    Client, Setup, Wish, clear, eventually, origin, plain::Plain, plain::ok, text,
};

const SIBLING: Candidate = Candidate { tier: Tier::Sibling, place: 0 };

fn client(sibling: &Plain, other: &Plain, hedge: Hedge) -> Client {
    let siblings = Siblings {
        own: Some("127.0.0.1:1".to_owned()),
        nodes: vec![clear(&sibling.address)],
        connect_timeout: LONG,
        first_byte_timeout: LONG,
    };
    Client::new(Setup {
        origins: vec![clear(&other.address)],
        policy: UpstreamPolicy { hedge, ..UpstreamPolicy::default() },
        config: Config { siblings, ..Config::default() },
        ..Setup::default()
    })
}

fn at_sibling<'a>() -> Wish<'a> {
    Wish { home: Some(Home::Sibling(0)), ..Wish::default() }
}

async fn silent() -> Plain {
    Plain::start(|mut peer| async move { while peer.request().await.is_some() {} }).await
}

#[tokio::test]
async fn the_sibling_is_asked_for_what_it_owns_and_may_bring_alone() {
    let (sibling, other) = (Plain::named("sibling").await, Plain::named("origin").await);
    let client = client(&sibling, &other, Hedge::Off);
    let answer = client.ask(at_sibling()).await.unwrap();
    assert_eq!((answer.from, answer.attempts), (SIBLING, 1));
    for wish in [
        Wish { home: Some(Home::Here), ..Wish::default() },
        Wish { home: None, ..Wish::default() },
        Wish { method: Method::POST, ..at_sibling() },
        Wish { avoid: vec![SIBLING], ..at_sibling() },
    ] {
        assert_eq!(client.ask(wish).await.unwrap().from, origin(0));
    }
    assert_eq!((sibling.requests(), other.requests()), (1, 4));
}

#[tokio::test]
async fn a_slow_sibling_is_given_a_while_and_then_the_first_answer_wins() {
    let soon = Hedge::After(Duration::from_millis(20));
    let (slow, quick) = (silent().await, Plain::named("quick").await);
    let one = client(&slow, &quick, soon);
    let answer = one.ask(at_sibling()).await.unwrap();
    assert_eq!((answer.from, answer.attempts), (origin(0), 2));
    assert_eq!(text(Ok(answer)).await.unwrap(), "quick");
    assert_eq!(one.metrics.hedges.with_label_values(&["yes"]).get(), 1);

    let (tell, told) = tokio::sync::mpsc::channel::<()>(1);
    let told = std::sync::Arc::new(tokio::sync::Mutex::new(told));
    let late = Plain::start(move |mut peer| {
        let told = told.clone();
        async move {
            peer.request().await;
            told.lock().await.recv().await;
            peer.say(ok("late")).await;
        }
    })
    .await;
    let one = client(&late, &slow, soon);
    let before = slow.requests();
    let telling = async {
        eventually("the origin is asked too", || slow.requests() > before).await;
        tell.send(()).await.unwrap();
    };
    let (answer, ()) = tokio::join!(one.ask(at_sibling()), telling);
    assert_eq!(text(answer).await.unwrap(), "late");
    assert_eq!(one.metrics.hedges.with_label_values(&["no"]).get(), 1);
}

#[tokio::test]
async fn a_node_with_much_under_way_leaves_its_own_to_a_sibling() {
    let sibling = Plain::named("sibling").await;
    let begins = Plain::always("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nbegin").await;
    let client = client(&sibling, &begins, Hedge::Off);
    let home = |n: u8| client.upstreams.home(&Key([n; 16]));
    let own: Vec<_> = (0..200).filter(|n| home(*n) == Some(Home::Here)).collect();
    assert!(!own.is_empty());
    let mut answers = Vec::new();
    for _ in 0..5 {
        let wish = Wish { home: Some(Home::Here), ..Wish::default() };
        answers.push(client.ask(wish).await.unwrap());
    }
    assert!(own.iter().all(|n| home(*n) == Some(Home::Sibling(0))));
    answers.clear();
    assert!(own.iter().all(|n| home(*n) == Some(Home::Here)));
    let alone = Client::of(&[begins.address]);
    assert_eq!(alone.upstreams.home(&Key([0; 16])), None);
}

/// Longer than a story takes on a machine that has much else to do.
const LONG: Duration = Duration::from_secs(60);

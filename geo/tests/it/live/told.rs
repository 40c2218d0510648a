//! What control planes tell: several of them, questions, and lines that nobody can use.

use tidegate_contract::geo_feed::{FeedLine, PopCondition, Question};

use super::{
    control::FakeControl,
    node::{Settings, view_of_none},
};

#[tokio::test]
async fn all_replicas_are_followed_and_the_newest_version_counts() {
    let folder = tempfile::tempdir().expect("a folder");
    let (one, other) = (FakeControl::start().await, FakeControl::start().await);
    let settings = Settings::following(&[one.url(), other.url()], folder.path());
    one.tell_fleet(&view_of_none(1, 1));
    let node = settings.start_quick();
    node.until_pop("10.2.0.1", "a").await;
    other.tell_fleet(&view_of_none(3, 3));
    node.until_pop("10.2.0.1", "c").await;
    one.tell_fleet(&view_of_none(2, 1));
    one.tell(&FeedLine::Question { id: 9, question: Question::Map {} });
    node.until("it was read", |_| one.answers().len() == 1).await;
    assert_eq!(node.pop("10.2.0.1").as_deref(), Some("c"), "an older version takes nothing back");
    one.die().await;
    node.until("one is gone", |node| node.metric("geo_feed_replicas", "") == 1.0).await;
    other.tell_fleet(&view_of_none(4, 2));
    node.until_pop("10.2.0.1", "b").await;
}

#[tokio::test]
async fn a_pop_about_which_replicas_differ_does_not_come_and_go() {
    let folder = tempfile::tempdir().expect("a folder");
    let (one, other) = (FakeControl::start().await, FakeControl::start().await);
    let settings = Settings::following(&[one.url(), other.url()], folder.path());
    let view = |state| {
        let mut view = view_of_none(1, 2);
        view.pops[1].state = state;
        view
    };
    one.tell_fleet(&view(PopCondition::Up));
    other.tell_fleet(&view(PopCondition::Up));
    let node = settings.start_quick();
    node.until_pop("10.1.0.1", "b").await;
    other.tell_fleet(&view(PopCondition::Down));
    node.until_pop("10.1.0.1", "a").await;
    // The last word is that it is up, and does not count as long as the other one says something else.
    for number in 0..5 {
        let said = if number % 2 == 0 { PopCondition::Troubled } else { PopCondition::Up };
        one.tell_fleet(&view(said));
        one.tell(&FeedLine::Question { id: number, question: Question::Map {} });
        let answers = number as usize + 1;
        node.until("it was read", |_| one.answers().len() == answers).await;
        assert_eq!(node.pop("10.1.0.1").as_deref(), Some("a"));
    }
    one.tell_fleet(&view(PopCondition::Up));
    other.tell_fleet(&view(PopCondition::Up));
    node.until_pop("10.1.0.1", "b").await;
}

#[tokio::test]
async fn operators_are_answered_through_the_feed() {
    let folder = tempfile::tempdir().expect("a folder");
    let control = FakeControl::start().await;
    control.tell_fleet(&view_of_none(1, 2));
    let node = Settings::following(&[control.url()], folder.path()).start_quick();
    node.until_pop("10.1.0.1", "b").await;
    control.tell_fleet(&view_of_none(2, 3));
    node.until_pop("10.2.0.1", "c").await;
    let client = "10.1.0.1".parse().expect("an address");
    let resolve = |record: &str| {
        let (name, record) = ("www.v.example".to_owned(), record.to_owned());
        Question::Resolve { name, record, client, subnet: None }
    };
    let questions = [
        Question::Map {},
        Question::MapDiff { ago_seconds: 1800 },
        resolve("a"),
        resolve("nonsense"),
    ];
    for (id, question) in (1..).zip(questions) {
        control.tell(&FeedLine::Question { id, question });
    }
    node.until("answers", |_| control.answers().len() == 4).await;
    let answers: std::collections::BTreeMap<_, _> = control.answers().into_iter().collect();
    let map = &answers[&1];
    assert_eq!((&map["trust"], map["pops"].as_array().map(Vec::len)), (&"current".into(), Some(3)));
    assert_eq!((&map["pops"][0]["pop"], &map["pops"][0]["told"]), (&"a".into(), &"up".into()));
    let moves = answers[&2]["moves"].as_array().expect("a list");
    assert!(moves.iter().any(|one| one["to"] == "c"), "{}", answers[&2]);
    let resolved = &answers[&3];
    assert_eq!(
        (&resolved["answer"]["code"], &resolved["explanation"]["pop"]),
        (&"No Error".into(), &"b".into())
    );
    let record = resolved["answer"]["answers"][0].as_str().expect("a record");
    assert!(
        record.starts_with("www.v.example. 20 IN A ") && record.ends_with(" 192.0.2.2"),
        "{record}"
    );
    assert!(
        resolved["text"].as_str().is_some_and(|text| text.contains("→ b (nearest)")),
        "{resolved}"
    );
    let error = answers[&4]["error"].as_str().expect("an error");
    assert!(error.contains("no type of record"), "{error}");
    // The same at hand.
    let explained = node.state.explain(client, node.clock.now());
    assert_eq!(explained.explanation.pop.as_deref(), Some("b"));
    assert_eq!(node.dns("10.1.0.1"), ["192.0.2.2"]);
}

#[tokio::test]
async fn what_is_wrong_is_refused_and_the_fleet_before_serves_on() {
    let folder = tempfile::tempdir().expect("a folder");
    let control = FakeControl::start().await;
    control.tell_fleet(&view_of_none(1, 2));
    let node = Settings::following(&[control.url()], folder.path()).start_quick();
    node.until_pop("10.1.0.1", "b").await;
    let mut nowhere = view_of_none(2, 3);
    nowhere.pops[0].place.latitude = 91.0;
    control.tell_fleet(&nowhere);
    node.until("it is refused", |node| node.metric("geo_refused_total", "fleet") >= 1.0).await;
    assert_eq!(node.pop("10.1.0.1").as_deref(), Some("b"));
    let person = r#"{"round_trips":{"pop":"a","subnets":[{"subnet":"10.0.0.1/32","centroids":[],"sent_bytes":1}]}}"#;
    control.tell_text(person.to_owned());
    node.until("it is refused", |node| node.metric("geo_refused_total", "round_trips") >= 1.0)
        .await;
    // A line that is none ends the connection; the next one brings the fleet again.
    control.tell_text("nonsense".to_owned());
    node.until("it comes back", |node| node.metric("geo_feed_lines_total", "fleet") >= 3.0).await;
    assert_eq!(node.pop("10.1.0.1").as_deref(), Some("b"));
}

//! An operator asks a node: for its log, and how it finds itself.

use tidegate_contract::node_question::{Ask, LogPlace, LogWish, NodeAnswer, NodeQuestion, Said};

use super::{
    fake::{FakeControl, TelemetryLane, until},
    node::TestNode,
};

async fn ask(lane: &mut TelemetryLane, number: u64, ask: Ask) -> NodeAnswer {
    lane.ask(&NodeQuestion { number, ask }.to_bytes()).await;
    let (told, content) = lane.answer().await;
    let answer = NodeAnswer::from_bytes(&content).expect("readable");
    assert_eq!((told, answer.number), (number, number));
    answer
}

async fn log(lane: &mut TelemetryLane, wish: LogWish) -> (String, u64, LogPlace) {
    let Said::Log(page) = ask(lane, 7, Ask::Log(wish)).await.said else { panic!("a log") };
    let said = page.lines.iter().map(|line| line.message.as_str()).collect::<Vec<_>>().join(" ");
    (said, page.lost, page.place)
}

#[tokio::test]
async fn the_log_is_told_from_any_place_on_and_what_was_lost_is_counted() {
    let folder = tempfile::tempdir().unwrap();
    let control = FakeControl::start().await;
    let node = TestNode::start(&control, folder.path());
    let mut lane = control.telemetry_lane().await;
    assert!(lane.hello.answers);
    node.recent.during(|| ["one", "two", "three"].map(|text| tracing::info!("{text}")));
    let wish = LogWish { limit: 2, ..LogWish::default() };
    let (said, lost, place) = log(&mut lane, wish.clone()).await;
    assert_eq!((said.as_str(), lost, place.line), ("two three", 0, 3));
    // Five are kept.
    node.recent.during(|| (4..11).for_each(|number| tracing::warn!("{number}")));
    let on = LogWish { after: Some(place), limit: 100, ..wish.clone() };
    let (said, lost, place) = log(&mut lane, on.clone()).await;
    assert_eq!((said.as_str(), lost, place.line), ("6 7 8 9 10", 2, 10));
    let (said, lost, _) = log(&mut lane, LogWish { after: Some(place), ..on }).await;
    assert_eq!((said.as_str(), lost), ("", 0));
    let long = LogWish { text: "x".repeat(201), ..wish };
    let Said::Refused(why) = ask(&mut lane, 8, Ask::Log(long)).await.said else { panic!("no") };
    assert!(why.contains("too long"), "{why}");
}

#[tokio::test]
async fn a_node_looks_at_itself_and_says_what_it_found() {
    let folder = tempfile::tempdir().unwrap();
    let control = FakeControl::start().await;
    let node = TestNode::start(&control, folder.path());
    let mut config = control.config_lane().await;
    let _purges = control.purge_lane().await;
    let mut lane = control.telemetry_lane().await;
    config.send(control.release(1, "a.org")).await;
    assert_eq!(config.answer().await, (1, Ok(())));
    until("it is in use", || node.generation() == Some(1)).await;
    let Said::Checks(report) = ask(&mut lane, 1, Ask::Check).await.said else { panic!("checks") };
    assert_eq!((report.runs, report.refused), (1, None));
    let found = |name: &str| {
        let check = report.checks.iter().find(|check| check.check == name);
        let check = check.unwrap_or_else(|| panic!("{name}: {:?}", report.checks));
        (check.is_ok, check.found.as_str())
    };
    assert!(found("identity").0 && found("identity").1.contains("fra/node-1"));
    assert!(found("authority").0);
    let (is_ok, lanes) = found("lanes");
    assert!(is_ok && lanes.contains("purges at ") && lanes.contains("config at "), "{lanes}");
    // Nobody has said yet where the streams stand.
    assert!(!found("purges").0);
    assert_eq!(found("disk"), (false, "takes nothing"), "what the rest of the node says");
}

#[tokio::test]
async fn what_is_not_understood_is_refused_and_what_cannot_be_read_ends_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let control = FakeControl::start().await;
    let _node = TestNode::start(&control, folder.path());
    let mut lane = control.telemetry_lane().await;
    lane.ask(b"{").await;
    lane.ask(&[b' '; 5000]).await;
    lane.ask(br#"{"number":3,"ask":{"what":"sing"}}"#).await;
    let (number, content) = lane.answer().await;
    let answer = NodeAnswer::from_bytes(&content).expect("readable");
    let Said::Refused(why) = answer.said else { panic!("refused") };
    assert!(number == 3 && why.contains("does not know"), "{number} {why}");
    lane.report().await;
}

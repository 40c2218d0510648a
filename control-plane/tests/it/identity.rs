//! Identities: only enrolled nodes get a lane, and each only as itself.

use std::time::{Duration, SystemTime};

use serde_json::Value;
use tonic::Code;

use crate::harness::{TestControl, TestNode, until};

async fn refusal(node: &TestNode) -> Code {
    node.purge_lane(None).await.err().expect("refused").code()
}

#[tokio::test]
async fn nobody_gets_a_lane_without_a_certificate_of_this_authority() {
    let control = TestControl::start().await;
    control.edge("fra").await;
    assert_eq!(refusal(&TestNode::stranger(&control)).await, Code::Unauthenticated);
    let impostor = TestNode::impostor(&control, "fra", "n1");
    assert!(impostor.purge_lane(None).await.is_err());
    assert!(impostor.config_lane(0, b"").await.is_err());

    let other = TestControl::start().await;
    other.edge("fra").await;
    let of_other = other.node("fra", "n1").await;
    assert!(of_other.at(&control).purge_lane(None).await.is_err());
}

#[tokio::test]
async fn a_token_enrols_one_node_once() {
    let control = TestControl::start().await;
    control.edge("fra").await;
    let token = control.enrolment_token("fra").await;
    TestNode::enrol(&control, &token, "n1").await.expect("a good token");
    let again = TestNode::enrol(&control, &token, "n2").await;
    assert_eq!(again.err().map(|status| status.code()), Some(Code::PermissionDenied));
    let mut changed = control.enrolment_token("fra").await;
    changed.pop();
    for bad in ["", "tge_x_y", &changed, &control.admin] {
        let refused = TestNode::enrol(&control, bad, "n1").await;
        assert_eq!(refused.err().map(|status| status.code()), Some(Code::PermissionDenied));
    }
}

#[tokio::test]
async fn of_many_who_present_a_token_at_once_one_is_enrolled() {
    let control = TestControl::start().await;
    control.edge("fra").await;
    let token = control.enrolment_token("fra").await;
    let names: Vec<_> = (0..8).map(|n| format!("n{n}")).collect();
    let all = names.iter().map(|name| TestNode::enrol(&control, &token, name));
    let enrolled = futures::future::join_all(all).await;
    assert_eq!(enrolled.iter().filter(|outcome| outcome.is_ok()).count(), 1);
    let view = control.call("GET", "/v1/pops/fra", Value::Null).await.expect(200);
    assert_eq!(view.body["nodes"].as_array().expect("a list").len(), 1);
}

#[tokio::test]
async fn a_pop_has_no_more_nodes_than_allowed() {
    let control = TestControl::start_with(|config| config.sync.nodes_per_pop_max = 1).await;
    control.edge("fra").await;
    control.node("fra", "n1").await;
    let token = control.enrolment_token("fra").await;
    let refused = TestNode::enrol(&control, &token, "n2").await;
    assert_eq!(refused.err().map(|status| status.code()), Some(Code::ResourceExhausted));
    TestNode::enrol(&control, &token, "n1").await.expect("the same node again");
}

#[tokio::test]
async fn a_token_ends_after_a_quarter_of_an_hour() {
    let control = TestControl::start_at(SystemTime::now()).await;
    control.edge("fra").await;
    let early = control.enrolment_token("fra").await;
    let late = control.enrolment_token("fra").await;
    control.clock.advance(Duration::from_secs(14 * 60));
    TestNode::enrol(&control, &early, "n1").await.expect("still good");
    control.clock.advance(Duration::from_secs(61));
    let refused = TestNode::enrol(&control, &late, "n2").await;
    assert_eq!(refused.err().map(|status| status.code()), Some(Code::PermissionDenied));
}

#[tokio::test]
async fn a_token_is_for_a_pop_that_exists() {
    let control = TestControl::start().await;
    control.call("POST", "/v1/pops/fra/enrolment-tokens", Value::Null).await.expect(404);
    control.edge("fra").await;
    let token = control.enrolment_token("fra").await;
    control.call("DELETE", "/v1/pops/fra", Value::Null).await.expect(200);
    assert!(TestNode::enrol(&control, &token, "n1").await.is_err());
}

#[tokio::test]
async fn a_node_that_is_enrolled_again_makes_its_old_identity_worthless() {
    let control = TestControl::start().await;
    control.edge("fra").await;
    let old = control.node("fra", "n1").await;
    let mut lane = old.purge_lane(None).await.expect("enrolled");
    let new = control.node("fra", "n1").await;
    assert_eq!(lane.end().await.code(), Code::Aborted);
    assert_eq!(refusal(&old).await, Code::PermissionDenied);
    assert!(old.renew().await.is_err());
    new.purge_lane(None).await.expect("enrolled");
}

#[tokio::test]
async fn a_renewed_identity_replaces_the_old_one_in_two_steps() {
    let control = TestControl::start().await;
    control.edge("fra").await;
    let first = control.node("fra", "n1").await;
    let second = first.renew().await.expect("enrolled");
    first.purge_lane(None).await.expect("good until the new one is used to renew");
    let third = second.renew().await.expect("enrolled");
    assert_eq!(refusal(&first).await, Code::PermissionDenied);
    second.purge_lane(None).await.expect("the one before");
    third.purge_lane(None).await.expect("the newest");
}

#[tokio::test]
async fn an_answer_to_a_renewal_that_is_lost_can_be_asked_for_again() {
    let control = TestControl::start().await;
    control.edge("fra").await;
    let node = control.node("fra", "n1").await;
    drop(node.renew().await.expect("enrolled"));
    let renewed = node.renew().await.expect("the old one is still good");
    renewed.purge_lane(None).await.expect("enrolled");
}

#[tokio::test]
async fn an_ended_identity_may_renew_and_nothing_else() {
    let control = TestControl::start_with(|config| {
        config.ca.node_lifetime = Duration::from_secs(1);
    })
    .await;
    control.edge("fra").await;
    let node = control.node("fra", "n1").await;
    until(async || {
        let refused = node.purge_lane(None).await.err()?;
        assert_eq!(refused.code(), Code::Unauthenticated);
        Some(())
    })
    .await;
    node.renew().await.expect("within the grace");
}

#[tokio::test]
async fn a_lane_ends_with_the_identity_behind_it() {
    let control = TestControl::start_with(|config| {
        config.ca.node_lifetime = Duration::from_secs(3);
    })
    .await;
    control.edge("fra").await;
    // On a busy machine it may have ended before there was a lane: then once more.
    let ended = until(async || {
        let mut lane = control.node("fra", "n1").await.purge_lane(None).await.ok()?;
        Some(lane.end().await.code())
    });
    assert_eq!(ended.await, Code::Unauthenticated);
}

#[tokio::test]
async fn a_removed_node_loses_its_lane_and_gets_no_other() {
    let control = TestControl::start().await;
    control.edge("fra").await;
    let node = control.node("fra", "n1").await;
    let mut lane = node.purge_lane(None).await.expect("enrolled");
    control.call("DELETE", "/v1/pops/fra/nodes/n1", Value::Null).await.expect(204);
    assert_eq!(lane.end().await.code(), Code::Aborted);
    assert_eq!(refusal(&node).await, Code::PermissionDenied);
    control.call("DELETE", "/v1/pops/fra/nodes/n1", Value::Null).await.expect(404);
}

#[tokio::test]
async fn a_second_lane_of_a_node_ends_the_first() {
    let control = TestControl::start().await;
    control.edge("fra").await;
    let node = control.node("fra", "n1").await;
    let mut first = node.purge_lane(None).await.expect("enrolled");
    let mut second = node.purge_lane(None).await.expect("enrolled");
    assert_eq!(first.end().await.code(), Code::Aborted);
    control.purge("one").await;
    assert_eq!(second.batch().await.len(), 1);
}

#[tokio::test]
async fn identities_are_not_handed_out_at_speed() {
    let control = TestControl::start_with(|config| {
        config.sync.enrolment_rate.per_second = 0.001;
        config.sync.enrolment_rate.burst = 2.0;
        config.sync.renewal_rate.per_second = 0.001;
        config.sync.renewal_rate.burst = 1.0;
    })
    .await;
    control.edge("fra").await;
    let node = control.node("fra", "n1").await;
    node.renew().await.expect("the first");
    let code = node.renew().await.err().expect("too often").code();
    assert_eq!(code, Code::ResourceExhausted);
    for (attempt, expected) in [(1, Code::PermissionDenied), (2, Code::ResourceExhausted)] {
        let refused = TestNode::enrol(&control, "guess", "n1").await;
        assert_eq!(refused.err().map(|status| status.code()), Some(expected), "{attempt}");
    }
}

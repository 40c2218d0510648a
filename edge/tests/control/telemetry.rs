//! Reports go up every second, orders come down and stay.

use tidegate_contract::telemetry::Orders;

use super::{
    fake::{FakeControl, until},
    node::TestNode,
};

#[tokio::test]
async fn orders_stay_when_the_control_plane_is_gone_and_what_cannot_be_read_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let control = FakeControl::start().await;
    let node = TestNode::start(&control, folder.path());
    let mut lane = control.telemetry_lane().await;
    for _ in 0..2 {
        assert!(lane.report().await.is_leaving);
    }
    let orders = Orders { is_leaving: true, ..Orders::default() };
    lane.order(&orders.to_bytes()).await;
    until("ordered", || node.orders.borrow().is_leaving).await;
    lane.order(b"{\"is_leaving\":").await;
    lane.report().await;
    drop(lane);
    // It comes back by itself, and was told nothing in between.
    let mut lane = control.telemetry_lane().await;
    lane.report().await;
    assert_eq!(*node.orders.borrow(), orders);
    drop(lane);
    control.vanish();
    assert_eq!(*node.orders.borrow(), orders);
}

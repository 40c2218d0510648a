//! Reports go up every second, orders come down and stay.

use tidegate_contract::{geo_feed::SUBNETS_PER_MESSAGE_MAX, telemetry::Orders};

use super::{
    fake::{FakeControl, until},
    node::{TestNode, asked, measured},
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

#[tokio::test]
async fn round_trips_go_up_in_parts_to_who_takes_them_and_to_nobody_else() {
    let folder = tempfile::tempdir().unwrap();
    let control = FakeControl::start().await;
    let node = TestNode::start(&control, folder.path());
    let mut lane = control.telemetry_lane().await;
    for _ in 0..3 {
        // Anything but a report would be the end of this.
        lane.report().await;
    }
    control.take_round_trips();
    drop(lane);
    let mut lane = control.telemetry_lane().await;
    let (first, whole) = (lane.round_trips().await, measured());
    assert_eq!(first.pop, None, "who it is says the certificate");
    assert_eq!(first.subnets, whole.subnets[..SUBNETS_PER_MESSAGE_MAX]);
    drop(node);
}

#[tokio::test]
async fn what_clients_ask_for_goes_up_to_who_takes_it() {
    let folder = tempfile::tempdir().unwrap();
    let control = FakeControl::start().await;
    control.take_demand();
    let node = TestNode::start(&control, folder.path());
    let mut lane = control.telemetry_lane().await;
    for _ in 0..2 {
        assert_eq!(lane.demand().await, asked());
    }
    drop(node);
}

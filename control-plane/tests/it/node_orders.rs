//! A node is restarted, or its release is taken back: shown, refused, ordered once, answered, remembered.

use std::time::{Duration, SystemTime};

use serde_json::{Value, json};
use tidegate_contract::{
    node_order::{Act, NodeOrder, OrderReport, Outcome},
    telemetry::Report,
};
use tokio::{sync::watch, task::JoinHandle};

use crate::harness::{Person, TelemetryLane, TestControl, until, within};

/// A node that says what the story tells it to of the order that it has.
struct Ordered {
    order: watch::Receiver<Option<NodeOrder>>,
    says: watch::Sender<Option<OrderReport>>,
    task: JoinHandle<()>,
}

impl Ordered {
    fn start(mut lane: TelemetryLane) -> Self {
        let (told, order) = watch::channel(None);
        let (says, mut said) = watch::channel(None);
        let task = tokio::spawn(async move {
            loop {
                let order = said.borrow_and_update().clone();
                lane.report(&Report { order, ..Report::default() }).await;
                tokio::select! {
                    orders = lane.orders() => drop(told.send_replace(orders.node)),
                    _ = said.changed() => {}
                    () = tokio::time::sleep(Duration::from_millis(500)) => {}
                }
            }
        });
        Self { order, says, task }
    }

    /// The order that it has, once it is to do this.
    async fn gets(&mut self, act: Act) -> NodeOrder {
        let order = self.order.wait_for(|order| order.is_some_and(|order| order.act == act));
        let order = *within(order).await.expect("the node lives");
        order.expect("it waited for one")
    }

    fn says(&self, order: NodeOrder, outcome: Outcome, detail: &str) {
        let (number, act, detail) = (order.number, order.act, detail.to_owned());
        self.says.send_replace(Some(OrderReport { number, act, outcome, detail }));
    }
}

impl Drop for Ordered {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn order_of(control: &TestControl, node: &str) -> Value {
    let path = format!("/v1/pops/ams/nodes/{node}/order");
    control.call("GET", &path, Value::Null).await.expect(200).body
}

#[tokio::test]
async fn an_order_is_planned_refused_given_once_answered_and_known_after_a_restart() {
    // A clock that stands still: no report grows old, however slow this machine is.
    let control = TestControl::start_at(SystemTime::now()).await;
    control.edge("ams").await;
    let one = control.node("ams", "n1").await;
    let mut one = Ordered::start(one.telemetry_lane().await.expect("enrolled"));
    let two = control.node("ams", "n2").await;
    let ann = Person::with_token(&control, &control.admin).await;
    let restart = ["node", "restart", "ams/n1"];
    let why = ["--reason", "it leaks", "--yes"];

    // Heard of, once its first report is in.
    let planned = until(async || {
        let ran = ann.run(&[&restart[..], &["--dry-run"]].concat()).await;
        (ran.code == 0).then_some(ran)
    })
    .await;
    assert!(planned.stderr.contains("plan: ams/n1: a new process takes over"), "{planned:?}");
    ann.run(&restart).await.expect(2);
    let asked = ann.run(&[&restart[..], &["--reason", "it leaks"]].concat()).await.expect(8);
    assert!(asked.stderr.contains("hint: add --yes"), "{asked:?}");
    ann.run(&[&["node", "restart", "ams/n9"], &why[..]].concat()).await.expect(3);
    let silent = ann.run(&[&["node", "restart", "ams/n2"], &why[..]].concat()).await.expect(8);
    assert!(silent.stderr.contains("ams/n2 is not heard of"), "{silent:?}");
    let eve = ann.invite(&control, "eve", &["--role", "viewer"]).await;
    eve.run(&[&restart[..], &why[..]].concat()).await.expect(4);
    control.call("GET", "/v1/pops/ams/nodes/n1/order", Value::Null).await.expect(404);
    let strange = json!({"act": "fly", "reason": "why not"});
    control.call("POST", "/v1/pops/ams/nodes/n1/order", strange).await.expect(422);
    assert_eq!(*one.order.borrow(), None);

    let given = ann.run(&[&restart[..], &why[..], &["--deadline", "0s"]].concat()).await.expect(0);
    assert!(given.stdout.contains("waiting"), "{given:?}");
    let order = one.gets(Act::Restart).await;
    let twice = ann.run(&[&restart[..], &why[..]].concat()).await.expect(8);
    assert!(twice.stderr.contains("an order to ams/n1 is under way"), "{twice:?}");
    let two = Ordered::start(two.telemetry_lane().await.expect("enrolled"));
    let other = until(async || {
        let ran = ann.run(&[&["node", "restart", "ams/n2"], &why[..]].concat()).await;
        ran.stderr.contains("is being restarted").then_some(ran)
    })
    .await;
    assert!(other.code == 8 && two.order.borrow().is_none(), "{other:?}");

    for (outcome, state) in [(Outcome::Begun, "begun"), (Outcome::Done, "done")] {
        one.says(order, outcome, "as it is");
        until(async || (order_of(&control, "n1").await["state"] == state).then_some(())).await;
    }
    within(one.order.wait_for(Option::is_none)).await.expect("it is not told again");

    let back = ["node", "rollback-local", "ams/n1", "--reason", "it is slow", "--yes"];
    let mut refusing = ann.watch(&back);
    let order_back = one.gets(Act::RollbackLocal).await;
    assert!(order_back.number > order.number);
    // What it says of the order before says nothing of this one.
    one.says(order, Outcome::Refused, "old news");
    one.says(order_back, Outcome::Refused, "no older release is kept here");
    refusing.sees("no older release is kept here").await;
    assert_eq!(refusing.end().await, 6);
    let refused = order_of(&control, "n1").await;
    assert_eq!((&refused["state"], &refused["act"]), (&json!("refused"), &json!("rollback_local")));
    let audit = ann.run(&["audit", "list", "-o", "json"]).await.expect(0).stdout;
    for words in ["restart node ams/n1 order", "roll back node ams/n1 order", "it leaks"] {
        assert!(audit.contains(words), "{words}: {audit}");
    }

    drop((one, two));
    let control = control.restart().await;
    assert_eq!(order_of(&control, "n1").await, refused);
}

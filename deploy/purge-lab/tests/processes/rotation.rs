//! The authority is replaced under nodes that run, and none of them is lost on the way.

use serde_json::{Value, json};

use crate::rig::{Rig, until};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_authority_takes_the_place_of_another_and_no_node_is_cut_off() {
    // A leaf counts from five minutes ago, so that this one is renewed every five seconds.
    let rig = Rig::new().with(&[
        "ca.node_lifetime=\"310s\"",
        "sync.renewal_rate.per_second=100.0",
        "sync.renewal_rate.burst=100.0",
    ]);
    let mut control = rig.control().await;
    let tokens = rig.prepare(2).await;
    let first = rig.agent(0, &tokens[0], "first");
    let mut second = rig.agent(1, &tokens[1], "second");
    rig.settled(2).await;
    assert_eq!(step(&rig, "switch").await.0, 409, "nothing was begun");

    drop(second);
    let (status, prepared) = step(&rig, "begin").await;
    assert_eq!((status, &prepared["phase"]), (200, &json!("prepared")), "{prepared}");
    assert_eq!(roles(&prepared), ["signs", "next"]);
    // The first one hears of it when it renews; the second one is not there to.
    let refused = until("only the second node holds it up", async || {
        let (status, refused) = step(&rig, "switch").await;
        assert_eq!(status, 423, "{refused}");
        let text = refused["detail"].as_str()?.to_owned();
        text.contains(": 1 nodes").then_some(text)
    })
    .await;
    assert!(refused.contains("pop-1/n"), "{refused}");
    second = rig.agent(1, &tokens[1], "second");
    let switched = done(&rig, "switch").await;
    assert_eq!(roles(&switched), ["old", "signs"]);

    // What this server shows from now on only those believe who were told.
    rig.believe(switched["bundle_pem"].as_str().expect("text"));
    drop(control);
    control = rig.control().await;
    rig.settled(2).await;
    order(&rig).await;
    rig.settled(2).await;

    let finished = done(&rig, "finish").await;
    assert_eq!(roles(&finished), ["signs"]);
    assert_eq!(finished["authorities"][0]["sha256"], switched["authorities"][1]["sha256"]);
    rig.believe(finished["bundle_pem"].as_str().expect("text"));
    let has = |name: &str| rig.data_dir().join(name).exists();
    assert!(has("ca-2.pem") && !has("ca.pem") && !has("ca.key"), "the old key is gone");

    // The file that the nodes were given at first still holds the old authority alone.
    drop((control, first, second));
    let control = rig.control().await;
    let first = rig.agent(0, &tokens[0], "first");
    let second = rig.agent(1, &tokens[1], "second");
    rig.settled(2).await;
    order(&rig).await;
    rig.settled(2).await;
    drop((control, first, second));
}

async fn step(rig: &Rig, step: &str) -> (u16, Value) {
    let body = json!({"step": step});
    until("an answer", async || rig.ask("POST", "/v1/authority/rotation", &body).await).await
}

/// Tries a step until no node holds it up.
async fn done(rig: &Rig, name: &str) -> Value {
    until("the step is made", async || {
        let (status, answer) = step(rig, name).await;
        assert!(matches!(status, 200 | 423), "{answer}");
        (status == 200).then_some(answer)
    })
    .await
}

/// A purge of what the agents watch.
async fn order(rig: &Rig) {
    let order = json!({"kind": "key", "key": "benchmark"});
    rig.call("POST", "/v1/purges", &order).await.expect("durable");
}

fn roles(authority: &Value) -> Vec<String> {
    let items = authority["authorities"].as_array().expect("a list").iter();
    items.map(|one| one["role"].as_str().expect("text").to_owned()).collect()
}

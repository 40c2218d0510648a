//! What operators see and do at the admin port.

use std::net::SocketAddr;

use reqwest::{Client, Response};
use serde_json::{Value, json};
use tidegate_geo::{
    admin::{Admin, routes},
    world::Trust,
};

use super::{
    control::FakeControl,
    node::{Settings, TestNode, view_of_none},
};

async fn serve(node: &TestNode) -> SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let addr = listener.local_addr().expect("bound");
    let routes = routes(Admin {
        state: node.state.clone(),
        answers: node.answers.clone(),
        hold: node.hold.clone(),
        clock: node.clock.clone(),
    });
    tokio::spawn(async move { axum::serve(listener, routes).await.expect("it serves") });
    addr
}

async fn json_of(answer: reqwest::Result<Response>) -> Value {
    let answer = answer.expect("an answer");
    assert_eq!(answer.status(), 200);
    answer.json().await.expect("JSON")
}

#[tokio::test]
async fn operators_see_why_and_hold_the_map() {
    let folder = tempfile::tempdir().expect("a folder");
    let control = FakeControl::start().await;
    control.tell_fleet(&view_of_none(1, 3));
    let node = Settings::following(&[control.url()], folder.path()).start();
    node.until_pop("10.2.0.1", "c").await;
    let (addr, http) =
        (serve(&node).await, Client::builder().no_proxy().build().expect("a client"));
    let url = |path: &str| format!("http://{addr}{path}");

    let why = json_of(http.get(url("/explain?client=10.2.0.1")).send().await).await;
    assert_eq!(
        (&why["pop"], &why["trust"], &why["unit"]["country"]),
        (&json!("c"), &json!("current"), &json!("CC"))
    );
    assert_eq!(
        (&why["candidates"][0]["source"], &why["addresses"]),
        (&json!("distance"), &json!(["192.0.2.3"]))
    );
    let name = json_of(
        http.get(url("/explain?client=10.2.0.1&name=www.v.example&type=HTTPS")).send().await,
    )
    .await;
    assert!(
        name["answer"]["answers"][0].as_str().is_some_and(|text| text.contains("HTTPS 1 .")),
        "{name}"
    );
    let wrong =
        http.get(url("/explain?client=10.2.0.1&name=a..b")).send().await.expect("an answer");
    assert_eq!(wrong.status(), 400);

    let map = json_of(http.get(url("/map")).send().await).await;
    assert_eq!(
        (&map["units"], &map["pops"][2]["units"], &map["pops"][2]["seen"]),
        (&json!(3), &json!(1), &json!("good"))
    );
    let changed = json_of(http.get(url("/map/diff?ago=60")).send().await).await;
    assert!(changed["to_round"].as_u64() > changed["from_round"].as_u64(), "{changed}");

    let from_browser =
        http.post(url("/map/thaw")).header("origin", "https://evil.example").send().await;
    assert_eq!(from_browser.expect("an answer").status(), 403);
    let empty = http.post(url("/map/freeze")).json(&json!({ "reason": " " })).send().await;
    assert_eq!(empty.expect("an answer").status(), 400);
    let freeze = http.post(url("/map/freeze")).json(&json!({ "reason": "a storm" })).send().await;
    assert_eq!(json_of(freeze).await, json!({ "frozen": "a storm" }));
    node.until("held", |node| node.trust() == Trust::Frozen).await;
    assert_eq!(json_of(http.get(url("/map")).send().await).await["frozen"], "a storm");
    assert_eq!(json_of(http.post(url("/map/thaw")).send().await).await, json!({ "frozen": null }));
    node.until("let go", |node| node.trust() == Trust::Current).await;
}

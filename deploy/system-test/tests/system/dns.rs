//! The DNS of the demo: each client gets the PoP near it, and a PoP that dies is left out.

use std::{net::Ipv4Addr, time::Duration};

use tidegate_system_test::{
    dns::{Answer, ask},
    wait::until,
};

use super::stage::Stage;

pub(crate) async fn clients_get_the_pop_near_them_and_operators_hear_why(stage: &mut Stage) {
    let system = &stage.system;
    for (client, address, pop) in [(NEAR_A, A, "pop-a"), (NEAR_B, B, "pop-b")] {
        let answer = until_answer(stage, client, address).await;
        assert_eq!((answer.code, answer.scope), (0, Some(24)), "{answer:?}");
        assert!((1..=20).contains(&answer.ttl_seconds), "{answer:?}");
        let client = client.to_string();
        let name = system.ready.dns_name.as_str();
        let resolve = ["dns", "resolve", name, "--client", &client, "--explain"];
        let said = system.tidegate_json(&resolve).await.to_string();
        assert!(said.contains(pop) && said.contains(&address.to_string()), "{said}");
    }
}

pub(crate) async fn a_pop_that_dies_is_out_of_answers(stage: &mut Stage) {
    until_answer(stage, NEAR_B, B).await;
    stage.system.kill("pop-b").await;
    until_answer(stage, NEAR_B, A).await;
    until_name(stage, STEERING_NAME, NEAR_B, A).await;
    // What others tell later needs it.
    stage.system.start_again("pop-b").await;
    until_answer(stage, NEAR_B, B).await;
}

/// Waits until a player in the browser is told of both PoPs, and to go where the DNS leads, as before anything died.
pub(crate) async fn both_pops_take_players(stage: &Stage) {
    let asked = ["steer", "manifest", "--client", "127.0.0.1", "--asset", "/steering/demo"];
    until("steering names both PoPs", TIME_MAX, || async {
        let told = stage.system.tidegate_json(&asked).await;
        let order = &told["answer"]["manifest"]["PATHWAY-PRIORITY"];
        let names: Vec<_> = order.as_array()?.iter().filter_map(|name| name.as_str()).collect();
        let is_whole = names.first() == Some(&"main")
            && ["pop-a", "pop-b"].iter().all(|pop| names.contains(pop));
        is_whole.then_some(())
    })
    .await;
}

async fn until_answer(stage: &Stage, client: Ipv4Addr, address: Ipv4Addr) -> Answer {
    let ready = &stage.system.ready;
    until_name(stage, &ready.dns_name, client, address).await
}

async fn until_name(stage: &Stage, name: &str, client: Ipv4Addr, address: Ipv4Addr) -> Answer {
    let ready = &stage.system.ready;
    until("the DNS answers with that PoP", TIME_MAX, || async {
        let answer = ask(&ready.dns, name, client).await?;
        (answer.addresses == [address]).then_some(answer)
    })
    .await
}

/// Where players ask to be steered.
const STEERING_NAME: &str = "steer.demo.test";
const NEAR_A: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 7);
const NEAR_B: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 7);
const A: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 11);
const B: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 12);
/// A round is made every ten seconds, a PoP is believed after some good looks, and the machine does much else. How fast it is
/// otherwise is measured by the tests of geo.
const TIME_MAX: Duration = Duration::from_secs(120);

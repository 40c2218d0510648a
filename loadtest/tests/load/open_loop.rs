//! Arrivals do not wait for the server, and are the same for everybody who has the seed.

use std::{collections::BTreeSet, time::Duration};

use tidegate_chassis::Secret;
use tidegate_load::{
    fleet::{self, Agent, AgentAddress, Identity, serve},
    results::{Interval, Results, figure::Figure},
    run::{Stop, Watch},
};
use tokio::{net::TcpListener, task::spawn_local};

use crate::harness::{FakeMedia, Nobody, in_local_set, plan, run, run_plan, scenario, undisturbed};

/// An agent in this process.
async fn start_agent(token: &Secret, stop: &Stop) -> AgentAddress {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let identity = Identity::generate().unwrap();
    let host = listener.local_addr().unwrap();
    let address = format!("{host}={}", identity.fingerprint()).parse().unwrap();
    let agent = Agent { listener, identity, token: token.clone() };
    let stop = stop.clone();
    spawn_local(async move { serve(agent, &stop, |_| {}).await.unwrap() });
    address
}

const PLAYLISTS: &str = "[player]\nmanifest_only = true\nwatch = \"fixed\"\nwatch_time = \"1s\"\n";

#[test]
fn a_server_that_freezes_for_two_seconds_shows_in_the_percentiles() {
    undisturbed(|| {
        let media = FakeMedia::start();
        media.video("/v", 2, 0.5, 80_000);
        media.freeze(Duration::from_secs(1), Duration::from_secs(3));
        let profile = "{ kind = \"constant\", rate = 50 }";
        let results = run(&scenario(&[media.url("/v/master.m3u8")], profile, "4s", PLAYLISTS));

        // Of 200 viewers, half come while nothing is answered, and wait from 2 s down to nothing. Had the rig waited for
        // answers before it sent the next viewer, one of them had met the freeze.
        let value = |name: &str| Figure::of(name).unwrap().value(&results).unwrap();
        assert!(value("multivariant_ttfb_p99") >= 1_900.0, "{}", value("multivariant_ttfb_p99"));
        assert!(value("multivariant_ttfb_p75") >= 900.0, "{}", value("multivariant_ttfb_p75"));
        assert!(value("multivariant_ttfb_p25") <= 900.0, "{}", value("multivariant_ttfb_p25"));
        assert_eq!((results.arrivals.scheduled, results.arrivals.blocked), (200, 0));
    });
}

#[test]
fn sessions_beyond_the_limit_are_blocked_and_counted() {
    let media = FakeMedia::start();
    media.video("/v", 2, 0.5, 80_000);
    media.delay("/v/master.m3u8", Duration::from_secs(3));
    let text = scenario(
        &[media.url("/v/master.m3u8")],
        "{ kind = \"burst\", count = 20, over = \"100ms\" }",
        "1s",
        PLAYLISTS,
    );
    let results = run(&text.replace("start_within", "sessions_max = 5\nstart_within"));
    let arrivals = &results.arrivals;
    assert_eq!((arrivals.scheduled, arrivals.begun, arrivals.blocked), (20, 5, 15));
}

/// Poisson arrivals for three videos.
fn many(media: &FakeMedia) -> String {
    for folder in ["/a", "/b", "/c"] {
        media.video(folder, 2, 0.5, 80_000);
    }
    let urls: Vec<String> = ["/a", "/b", "/c"]
        .iter()
        .map(|folder| media.url(&format!("{folder}/master.m3u8")))
        .collect();
    let profile = "{ kind = \"ramp\", from = 10, to = 30, over = \"2s\" }";
    scenario(&urls, profile, "2s", PLAYLISTS).replace("\"even\"", "\"poisson\"")
}

/// Who asked for which video: session and path.
fn viewers(media: &FakeMedia) -> BTreeSet<(String, String)> {
    let seen = media.take_seen().into_iter();
    seen.filter(|(path, _)| path.ends_with("master.m3u8")).collect()
}

#[test]
fn the_same_seed_gives_the_same_viewers_on_any_number_of_workers_and_machines() {
    let media = FakeMedia::start();
    let text = many(&media);
    let once = run(&text);
    let first = viewers(&media);
    assert!(first.len() > 20 && first.len() as u64 == once.arrivals.begun, "{}", first.len());
    assert!(first.iter().all(|(_, sid)| !sid.is_empty()));

    run(&text.replace("workers = 1", "workers = 3"));
    assert_eq!(viewers(&media), first);

    run(&text.replace("name = \"story\"", "name = \"story\"\nseed = 2"));
    assert!(viewers(&media).is_disjoint(&first));

    let of_two = in_local_set(async {
        let (stop, token) = (Stop::default(), Secret::new("a token of two machines"));
        let mut agents = Vec::new();
        for _ in 0..2 {
            agents.push(start_agent(&token, &stop).await);
        }
        let plan = plan(&text).await;
        fleet::run(&plan, &agents, &token, &Stop::default(), &mut Nobody).await.unwrap()
    });
    assert_eq!(viewers(&media), first);
    assert_eq!(of_two.arrivals.begun, once.arrivals.begun);
    assert_eq!((of_two.rig.workers, of_two.failed.len()), (2, 0));
    let requests =
        |results: &Results| results.intervals.iter().map(|interval| interval.requests).sum::<u64>();
    assert_eq!(requests(&of_two), requests(&once));
}

#[test]
fn an_agent_takes_no_other_token_and_a_controller_no_other_certificate() {
    let media = FakeMedia::start();
    let text = many(&media);
    in_local_set(async {
        let (stop, token) = (Stop::default(), Secret::new("a token of two machines"));
        let agent = start_agent(&token, &stop).await;
        let plan = plan(&text).await;
        let other = Secret::new("a token of somebody else");
        let refused =
            fleet::run(&plan, std::slice::from_ref(&agent), &other, &stop, &mut Nobody).await;
        assert!(refused.unwrap_err().to_string().contains("the token is another one"));

        let wrong = AgentAddress { fingerprint: [7; 32], ..agent };
        let refused = fleet::run(&plan, &[wrong], &token, &stop, &mut Nobody).await;
        assert!(refused.unwrap_err().to_string().contains("fingerprint"));
    });
    assert_eq!(viewers(&media).len(), 0);
}

/// Six sessions at one time on a machine, each of a second or a little more: from some rate on, some are blocked.
fn climbing(media: &FakeMedia) -> String {
    media.video("/v", 2, 0.5, 80_000);
    media.delay("/v/media.m3u8", Duration::from_secs(1));
    let more = format!("{PLAYLISTS}[knee]\nfrom = 2\nto = 64\nprecision = 0.5\n");
    let text =
        scenario(&[media.url("/v/master.m3u8")], "{ kind = \"constant\", rate = 1 }", "2s", &more);
    text.replace("start_within", "sessions_max = 6\nstart_within")
        .replace("name = \"story\"", "name = \"story\"\ngates = [\"blocked<=0\"]")
}

/// Sees the totals, as the dashboard does.
#[derive(Default)]
struct Onlooker {
    seconds: u64,
    arrivals: u64,
}

impl Watch for Onlooker {
    fn wants_totals(&self) -> bool {
        true
    }

    fn second(&mut self, _: &Interval, totals: Option<&Results>) {
        self.seconds += 1;
        self.arrivals = self.arrivals.max(totals.map_or(0, |totals| totals.arrivals.begun));
    }

    fn note(&mut self, _: &str) {}
}

#[test]
fn the_highest_rate_that_two_machines_hold_is_found_and_their_totals_are_seen() {
    undisturbed(|| {
        let media = FakeMedia::start();
        let text = climbing(&media);
        let (results, seen) = in_local_set(async {
            let (stop, token) = (Stop::default(), Secret::new("a token of two machines"));
            let mut agents = Vec::new();
            for _ in 0..2 {
                agents.push(start_agent(&token, &stop).await);
            }
            let plan = plan(&text).await;
            let mut seen = Onlooker::default();
            let results =
                fleet::run(&plan, &agents, &token, &Stop::default(), &mut seen).await.unwrap();
            (results, seen)
        });
        assert_eq!((results.failed.len(), results.rig.workers), (0, 2), "{:?}", results.failed);
        let held: Vec<f64> =
            results.steps.iter().filter(|step| step.is_held).map(|step| step.rate).collect();
        assert!(results.steps.iter().any(|step| !step.is_held));
        // Each machine has half of the sessions, and room for six.
        assert!(held.contains(&2.0) && held.iter().all(|rate| *rate <= 16.0), "{held:?}");
        assert!(seen.seconds > 0 && seen.arrivals > 0, "{} {}", seen.seconds, seen.arrivals);
    });
}

#[test]
fn the_highest_rate_that_holds_is_found() {
    undisturbed(|| {
        let media = FakeMedia::start();
        let text = climbing(&media);
        let results = in_local_set(async { run_plan(&plan(&text).await).await.unwrap() });
        let held: Vec<f64> =
            results.steps.iter().filter(|step| step.is_held).map(|step| step.rate).collect();
        assert!(results.steps.len() >= 2 && results.steps.iter().any(|step| !step.is_held));
        assert!(held.contains(&2.0) && held.iter().all(|rate| *rate <= 8.0), "{held:?}");
        assert!(
            results.gates.iter().all(|gate| gate.is_held),
            "the results are those of a rate that held"
        );
    });
}

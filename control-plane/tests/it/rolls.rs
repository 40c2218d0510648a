//! Roll-overs of keys: one geo node works a step out, all are told it, and whoever may not or is too early is refused.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicBool, AtomicU64, Ordering::SeqCst},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Value, json};
use tidegate_contract::{
    geo_feed::{FeedLine, FleetView, Question},
    zone_keys::{PROOF_BYTES, PUBLIC_BYTES, ProvenSet},
};
use tokio::task::JoinHandle;

use crate::{
    geo,
    harness::{Answer, Feed, Person, TestControl, until},
};

const ZONE: &str = "cdn.example.";

/// A geo node that takes sets of keys, and works the next one out as a real one does, but for the cipher.
struct GeoNode {
    keys: Arc<Keys>,
    task: JoinHandle<()>,
}

#[derive(Default)]
struct Keys {
    /// The revision that it has.
    revision: AtomicU64,
    /// It takes what it is told.
    is_deaf: AtomicBool,
    /// What comes next where nothing is due.
    waits: Mutex<Option<&'static str>>,
    /// The keys that it was told last.
    told: Mutex<Option<ProvenSet>>,
    /// Steps that it was asked for.
    asked: AtomicU64,
}

impl GeoNode {
    async fn follow(control: &TestControl, name: &str) -> Self {
        let token = control.token_of(&["geo".to_owned()], name).await;
        Self::open(control, &token, name, Arc::default()).await
    }

    async fn open(control: &TestControl, token: &str, name: &str, keys: Arc<Keys>) -> Self {
        let mut feed = Feed::open(control, token, name).await;
        let view = feed.fleet(|_| true).await;
        keys.take(&view);
        let (client, _) = control.request("GET", "/").build_split();
        let answers = format!("https://localhost:{}/v1/geo/answers", control.api.port());
        let (known, token) = (Arc::clone(&keys), token.to_owned());
        let task = tokio::spawn(async move {
            while let Some(line) = feed.next().await {
                match line {
                    FeedLine::Fleet(view) => known.take(&view),
                    FeedLine::Question { id, question } => {
                        let answer = known.answer(&question);
                        let answers = client.post(format!("{answers}/{id}"));
                        // Whoever asked may be gone.
                        let _ = answers.bearer_auth(&token).json(&answer).send().await;
                    }
                    FeedLine::Beat {} | FeedLine::RoundTrips(_) => {}
                }
            }
        });
        Self { keys, task }
    }

    fn revision(&self) -> u64 {
        self.keys.revision.load(SeqCst)
    }
}

impl Drop for GeoNode {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Keys {
    fn take(&self, view: &FleetView) {
        let Some(set) = view.keys.get(ZONE) else { return };
        *self.told.lock().expect("nobody panicked") = Some(set.clone());
        if !self.is_deaf.load(SeqCst) {
            self.revision.store(set.read().expect("a good set").revision, SeqCst);
        }
    }

    fn answer(&self, question: &Question) -> Value {
        let revision = self.revision.load(SeqCst);
        let waits = *self.waits.lock().expect("nobody panicked");
        let step = json!({"kind": "csk", "step": if waits.is_some() { "wait" } else { "publish" },
            "from": waits, "text": "so that nobody is cut off", "command": "a command"});
        match question {
            Question::Signing { zone } if zone.as_deref() == Some(ZONE) => json!({"zones": [{
                "zone": ZONE, "revision": revision, "refused": null, "next": [step],
                "keys": [{"tag": 7, "kind": "csk", "state": format!("of {revision}"),
                    "since": "2026-11-01T00:00:00Z", "algorithm": "13"}],
            }]}),
            Question::Signing { .. } => json!({"zones": []}),
            Question::RollKeys { revision: known, kind, .. } => {
                assert_eq!((*known, kind), (revision, &None));
                self.asked.fetch_add(1, SeqCst);
                if waits.is_some() {
                    return step;
                }
                let mut due = step;
                due["text"] = json!("key 8 is published");
                due["ds"] = json!(["cdn.example. IN DS 8 13 2 AB"]);
                due["next"] = json!("the parent is to publish it");
                due["set"] = json!(set(revision + 1));
                due
            }
            other => panic!("nobody asked that: {other:?}"),
        }
    }
}

fn set(revision: u64) -> ProvenSet {
    let public = STANDARD.encode([7; PUBLIC_BYTES]);
    let key = json!({"tag": 7, "kind": "csk", "public": public, "published_unix_s": 1, "active_unix_s": 1});
    let text = json!({"zone": ZONE, "revision": revision, "proven_by": 7, "keys": [key]});
    ProvenSet { text: text.to_string(), proof: STANDARD.encode([0; PROOF_BYTES]) }
}

fn path(query: &str) -> String {
    format!("/v1/dns/signing/cdn.example/roll{query}")
}

#[tokio::test]
async fn a_step_is_shown_taken_once_by_all_and_outlives_the_control_plane() {
    let (control, lanes) = geo::fleet().await;
    drop(lanes);
    let operator = Person::with_token(&control, &control.admin).await;
    let roll = ["dns", "sign", "roll", "CDN.example", "--reason", "a new key each year"];
    let with = |words: &[&'static str]| [&roll[..], words].concat();
    assert!(operator.run(&roll).await.expect(9).stderr.contains("no geo node follows"));
    let (one, two) =
        (GeoNode::follow(&control, "geo-1").await, GeoNode::follow(&control, "geo-2").await);

    // What would be done is shown, and nothing is done.
    let dry = operator.run(&with(&["--dry-run=server"])).await.expect(0);
    assert!(dry.stderr.contains("plan: cdn.example. csk: a new key is published, at geo-1, geo-2"));
    assert!(dry.stdout.contains("publish") && !dry.stdout.contains("DS 8"), "{dry:?}");
    assert!(operator.run(&roll).await.expect(8).stderr.contains("--yes"));
    let no_reason = ["dns", "sign", "roll", "cdn.example", "--yes"];
    operator.run(&no_reason).await.expect(2);
    operator.run(&with(&["--yes", "--kind", "dsk"])).await.expect(2);
    let audit = async || {
        let audit = control.call("GET", "/v1/audit?limit=500", Value::Null).await.expect(200);
        audit.body.to_string()
    };
    assert!(!audit().await.contains("roll keys cdn.example."), "nothing was done yet");
    assert_eq!((one.revision(), two.revision()), (0, 0));

    let taken = operator.run(&with(&["--yes", "--wait"])).await.expect(0);
    assert!(taken.stdout.contains("cdn.example. IN DS 8 13 2 AB"), "{taken:?}");
    assert!(taken.stderr.contains("every geo node has the keys"), "{taken:?}");
    assert_eq!((one.revision(), two.revision()), (1, 1));
    assert!(audit().await.contains("roll keys cdn.example. csk: key 8 is published"));
    let json = operator.run(&with(&["--yes", "--wait", "-o", "json"])).await.expect(0).json();
    assert_eq!(
        (&json["revision"], &json["before"], &json["is_due"]),
        (&json!(2), &json!(1), &json!(true))
    );
    let name = operator.run(&with(&["--yes", "--wait", "-o", "name"])).await.expect(0);
    assert_eq!(name.stdout, "cdn.example.\n");

    // Who may only look, may not; and what is no zone is none.
    let viewer = control.token_of(&["read".to_owned()], "viewer").await;
    let body = json!({"reason": "mine"});
    control.call_as(&viewer, "POST", &path(""), body.clone()).await.expect(403);
    control.call_as(&viewer, "POST", &path("?dry_run=true"), body.clone()).await.expect(403);
    for bad in ["a%20b", "..", "*"] {
        let path = format!("/v1/dns/signing/{bad}/roll");
        let refused = control.call("POST", &path, body.clone()).await;
        assert!([404, 422].contains(&refused.status), "{bad}: {refused:?}");
    }
    let words = ["dns", "sign", "roll", "other.example", "--reason", "x", "--yes"];
    assert!(operator.run(&words).await.expect(3).stderr.contains("keys generate"));

    let (token, keys) = (control.token_of(&["geo".to_owned()], "geo-1").await, one.keys.clone());
    *keys.told.lock().expect("nobody panicked") = None;
    drop((one, two));
    let control = control.restart().await;
    let again = GeoNode::open(&control, &token, "geo-1", keys).await;
    let told = again.keys.told.lock().expect("nobody panicked").clone();
    assert_eq!(told, Some(set(3)), "it is told what was taken before");
}

#[tokio::test]
async fn a_step_that_is_not_due_or_that_only_some_could_take_is_refused() {
    let (control, _lanes) = geo::fleet().await;
    let operator = Person::with_token(&control, &control.admin).await;
    let (one, two) =
        (GeoNode::follow(&control, "geo-1").await, GeoNode::follow(&control, "geo-2").await);
    let roll = ["dns", "sign", "roll", "cdn.example", "--reason", "x", "--yes"];
    let with = |words: &[&'static str]| [&roll[..], words].concat();

    // One of them counts longer than the other.
    *two.keys.waits.lock().expect("nobody panicked") = Some("2030-01-01T00:00:00Z");
    let early = operator.run(&roll).await.expect(1);
    let words = "not yet: geo-2: so that nobody is cut off (from 2030-01-01T00:00:00Z on)";
    assert!(early.stderr.contains(words), "{early:?}");
    *one.keys.waits.lock().expect("nobody panicked") = Some("2031-01-01T00:00:00Z");
    let early = operator.run(&with(&["-o", "json"])).await.expect(1).json();
    assert_eq!((&early["is_due"], &early["from"]), (&json!(false), &json!("2031-01-01T00:00:00Z")));
    for node in [&one, &two] {
        *node.keys.waits.lock().expect("nobody panicked") = None;
    }

    // One of them does not take what it is told: it is waited for, and nothing more is done.
    two.keys.is_deaf.store(true, SeqCst);
    let late = operator.run(&with(&["--wait", "--deadline", "300ms"])).await.expect(7);
    assert!(late.stderr.contains("waits for geo-2"), "{late:?}");
    let asked = one.keys.asked.load(SeqCst);
    let under_way = operator.run(&roll).await.expect(5);
    assert!(under_way.stderr.contains("geo-2 has not taken the step before"), "{under_way:?}");
    assert_eq!(one.keys.asked.load(SeqCst), asked, "nobody was asked for a step");
    let status = ["dns", "sign", "status", "cdn.example."];
    assert!(operator.run(&status).await.expect(1).stderr.contains("different keys"));
    two.keys.is_deaf.store(false, SeqCst);
    two.keys.revision.store(1, SeqCst);
    operator.run(&with(&["--wait"])).await.expect(0);

    // One of them is away: it may answer clients, unless somebody knows better.
    drop(two);
    until(async || {
        let nodes = control.call("GET", "/v1/dns/nodes", Value::Null).await.expect(200);
        (nodes.body["items"].as_array().map(Vec::len) == Some(1)).then_some(())
    })
    .await;
    let away = operator.run(&roll).await.expect(8);
    assert!(away.stderr.contains("are away: geo-2") && away.stderr.contains("--without"));
    operator.run(&with(&["--without", "geo-2", "--wait"])).await.expect(0);
    operator.run(&with(&["--wait"])).await.expect(0);
    assert_eq!(one.revision(), 4);

    // A build that knows no such question.
    let token = control.token_of(&["geo".to_owned()], "old").await;
    let _old = Feed::open_older(&control, &token, "old").await;
    let older = operator.run(&roll).await.expect(8);
    assert!(older.stderr.contains("old is of an older build"), "{older:?}");
    operator.run(&with(&["--without", "old"])).await.expect(0);
}

#[tokio::test]
async fn of_two_steps_at_one_time_one_is_taken_and_what_was_not_shown_is_not_done() {
    let (control, _lanes) = geo::fleet().await;
    let node = GeoNode::follow(&control, "geo-1").await;
    // Nobody hears of the first step before the second is asked for.
    node.keys.is_deaf.store(true, SeqCst);
    let body = json!({"reason": "both of us"});
    let call = || control.call("POST", "/v1/dns/signing/cdn.example/roll", body.clone());
    let (one, two): (Answer, Answer) = tokio::join!(call(), call());
    let mut codes = [one.status, two.status];
    codes.sort_unstable();
    // The second one lost the race, or already saw that the first is under way.
    assert!(codes[0] == 200 && [409, 412].contains(&codes[1]), "{one:?} {two:?}");
    node.keys.revision.store(1, SeqCst);
    for (step, before) in [("activate", 1), ("publish", 0)] {
        let shown = json!({"reason": "as shown", "step": step, "before": before});
        control.call("POST", &path(""), shown).await.expect(412);
    }
    let shown = json!({"reason": "as shown", "step": "publish", "before": 1});
    let taken = control.call("POST", &path(""), shown).await.expect(200);
    assert_eq!(taken.body["revision"], 2);
}

//! The nodes of a PoP are asked: for their logs, and to look at themselves; and their identities are taken away.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use tidegate_contract::{
    node_question::{
        Ask, Check, CheckReport, LogLevel, LogLine, LogPage, LogPlace, LogWish, NodeAnswer, Said,
    },
    telemetry::Report,
};
use tokio::{sync::watch, task::JoinHandle};
use tonic::Code;

use crate::harness::{Person, TelemetryLane, TestControl, TestNode, until, within};

/// A node that says to every question what the story tells it to.
struct Answering {
    asked: watch::Receiver<Option<Ask>>,
    says: watch::Sender<Option<Said>>,
    task: JoinHandle<()>,
}

impl Answering {
    async fn start(node: &TestNode) -> Self {
        Self::over(node.telemetry_lane().await.expect("enrolled"), 1)
    }

    /// Its clock stands still.
    fn over(mut lane: TelemetryLane, at_unix_ms: u64) -> Self {
        let (told, asked) = watch::channel(None);
        let (says, saying) = watch::channel(None);
        let task = tokio::spawn(async move {
            lane.report(&Report::default()).await;
            loop {
                let question = lane.question().await;
                told.send_replace(Some(question.ask));
                let said: Option<Said> = saying.borrow().clone();
                if let Some(said) = said {
                    lane.answer(&NodeAnswer { number: question.number, at_unix_ms, said }).await;
                }
            }
        });
        Self { asked, says, task }
    }

    fn says(&self, said: Said) {
        self.says.send_replace(Some(said));
    }

    fn wish(&self) -> LogWish {
        match self.asked.borrow().clone() {
            Some(Ask::Log(wish)) => wish,
            other => panic!("a log, not {other:?}"),
        }
    }
}

impl Drop for Answering {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn page(process: u32, last: u64, lines: &[(u64, u64, &str)]) -> Said {
    let line = |(line, at_unix_ms, message): &(u64, u64, &str)| LogLine {
        line: *line,
        at_unix_ms: *at_unix_ms,
        level: LogLevel::Warn,
        target: "tidegate_edge::control".into(),
        message: (*message).into(),
        fields: [("lane".to_owned(), "purges".to_owned())].into(),
        is_cut: false,
    };
    let place = LogPlace { process, line: last };
    let lines = lines.iter().map(line).collect();
    Said::Log(LogPage { place, lost: 0, is_more: false, older: 0, lines })
}

#[tokio::test]
async fn the_logs_of_a_pop_are_shown_merged_and_followed() {
    let control = TestControl::start().await;
    control.edge("ams").await;
    let (n1, n2) = (control.node("ams", "n1").await, control.node("ams", "n2").await);
    let ann = Person::with_token(&control, &control.admin).await;
    let (one, two) = (Answering::start(&n1).await, Answering::start(&n2).await);
    one.says(page(1, 2, &[(1, 1000, "first"), (2, 3000, "third\u{1b}[2J")]));
    two.says(page(2, 1, &[(1, 2000, "second")]));
    let shown = until(async || {
        let ran = ann.run(&["pop", "logs", "ams", "--level", "warn", "--match", "a b&c"]).await;
        (ran.code == 0).then_some(ran)
    })
    .await;
    let lines: Vec<_> = shown.stdout.lines().collect();
    assert!(lines[0].starts_with("NODE"), "{shown:?}");
    for (line, node, message) in [
        (lines[1], "ams/n1", "first lane=purges"),
        (lines[2], "ams/n2", "second lane=purges"),
        (lines[3], "ams/n1", "third\\u{1b}[2J lane=purges"),
    ] {
        assert!(line.starts_with(node) && line.ends_with(message), "{shown:?}");
    }
    let wish = one.wish();
    assert_eq!((wish.level, wish.text.as_str(), wish.limit), (Some(LogLevel::Warn), "a b&c", 200));
    assert_eq!(wish.after, None);
    let newest = ann.run(&["pop", "logs", "ams", "--limit", "1", "-o", "json"]).await.expect(0);
    assert_eq!(newest.json()[0]["message"], "third\u{1b}[2J");
    assert_eq!(newest.json().as_array().map(Vec::len), Some(1));
    let names = ann.run(&["pop", "logs", "ams/n2", "-o", "name"]).await.expect(0);
    assert_eq!(names.stdout, "ams/n2\n");

    // Followed: what was read is not read again, and a restart is told apart.
    let mut following = ann.watch(&["pop", "logs", "ams/n1", "-f", "-o", "json"]);
    following.sees("\"message\":\"first\"").await;
    one.says(page(1, 3, &[(3, 4000, "fourth")]));
    following.sees("\"message\":\"fourth\"").await;
    one.says(page(7, 1, &[(1, 5000, "began anew")]));
    following.sees("\"message\":\"began anew\"").await;
    one.says(page(7, 1, &[]));
    let place = LogPlace { process: 7, line: 1 };
    until(async || (one.wish().after == Some(place)).then_some(())).await;
    assert_eq!(following.interrupt().await, 130);
}

#[tokio::test]
async fn who_may_not_ask_or_asks_wrongly_is_refused_and_who_does_not_answer_is_said() {
    let control = TestControl::start().await;
    control.edge("ams").await;
    let n1 = control.node("ams", "n1").await;
    control.node("ams", "n2").await;
    let n3 = control.node("ams", "n3").await;
    let ann = Person::with_token(&control, &control.admin).await;
    let one = Answering::start(&n1).await;
    let old = n3.telemetry_lane_of(false).await.expect("enrolled");
    one.says(page(1, 0, &[]));
    let shown = until(async || {
        let ran = ann.run(&["pop", "logs", "ams"]).await;
        ran.stderr.contains("upgrade it").then_some(ran)
    })
    .await
    .expect(7);
    assert!(shown.stderr.contains("ams/n2 away: it has no lane"), "{shown:?}");
    ann.run(&["pop", "logs", "ams/n3"]).await.expect(6);
    drop(old);
    ann.run(&["pop", "logs", "ams", "--node", "n1"]).await.expect(0);
    ann.run(&["pop", "logs", "ams/n1", "--node", "n2"]).await.expect(2);
    ann.run(&["pop", "logs", "nyc"]).await.expect(3);
    ann.run(&["pop", "logs", "ams/n9"]).await.expect(3);
    ann.run(&["pop", "logs", "ams", "--deadline", "31s"]).await.expect(6);

    let viewer = ann.invite(&control, "vic", &["--role", "viewer"]).await;
    viewer.run(&["pop", "logs", "ams"]).await.expect(4);
    let near = ann.invite(&control, "ned", &["--scope", "node:logs:pop/ams"]).await;
    near.run(&["pop", "logs", "ams/n1"]).await.expect(0);
    let far = ann.invite(&control, "fay", &["--scope", "node:logs:pop/fra"]).await;
    far.run(&["pop", "logs", "ams/n1"]).await.expect(4);
    for bad in ["limit=x", "level=loud", "after=n1", "deadline=0s"] {
        let path = format!("/v1/pops/ams/log?{bad}");
        let status = control.call("GET", &path, Value::Null).await.status;
        assert!([400, 422].contains(&status), "{bad}: {status}");
    }
    let long = format!("/v1/pops/ams/log?match={}", "x".repeat(201));
    control.call("GET", &long, Value::Null).await.expect(422);

    // It hears the question and says nothing.
    one.says.send_replace(None);
    let silent = ann.run(&["pop", "logs", "ams/n1", "--deadline", "200ms"]).await.expect(7);
    assert!(silent.stderr.contains("ams/n1 silent"), "{silent:?}");
}

#[tokio::test]
async fn one_token_asks_only_so_often() {
    let control = TestControl::start_with(|config| {
        config.api.ask_rate = tidegate_control::rate::Rate { per_second: 0.001, burst: 2.0 };
    })
    .await;
    control.edge("ams").await;
    for status in [200, 200, 429] {
        control.call("GET", "/v1/pops/ams/check", Value::Null).await.expect(status);
    }
    let other = control.token(&[tidegate_control::token::Scope::Read]).await;
    control.call_as(&other, "GET", "/v1/pops/ams/check", Value::Null).await.expect(200);
}

#[tokio::test]
async fn a_pop_looks_at_itself_and_the_exit_code_says_what_it_found() {
    let now = SystemTime::now();
    let control = TestControl::start_at(now).await;
    control.edge("ams").await;
    let node = control.node("ams", "n1").await;
    let view = control.call("GET", "/v1/pops/ams", Value::Null).await.expect(200).body;
    let runs = view["generation"].as_u64().expect("a number");
    let ann = Person::with_token(&control, &control.admin).await;
    let lane = node.telemetry_lane().await.expect("enrolled");
    let its_now = now.duration_since(UNIX_EPOCH).expect("later").as_millis() - 500;
    let one = Answering::over(lane, u64::try_from(its_now).expect("a time"));
    let check = |name: &str, is_ok| Check {
        check: name.into(),
        is_ok,
        found: "as it is".into(),
        took_ms: 12,
    };
    let says = |runs, is_ok| {
        let checks = vec![check("https", true), check("disk", is_ok)];
        let refused = Some("9: it harms".to_owned());
        one.says(Said::Checks(CheckReport { runs, refused, checks }));
    };
    says(runs, true);
    let good = until(async || {
        let ran = ann.run(&["pop", "exec-check", "ams"]).await;
        (ran.code == 0).then_some(ran)
    })
    .await;
    for (name, found) in [
        ("https", "as it is"),
        ("disk", "as it is"),
        ("release", "as it shall"),
        ("clock", "behind of the control plane's"),
    ] {
        let line = good.stdout.lines().find(|line| line.contains(name));
        let line = line.unwrap_or_else(|| panic!("{name}: {good:?}"));
        assert!(line.starts_with("ams/n1") && line.contains("  ok  ") && line.contains(found));
    }
    says(runs, false);
    let bad = ann.run(&["pop", "exec-check", "ams/n1", "-o", "json"]).await.expect(1).json();
    assert_eq!(bad["nodes"][0]["checks"][1]["is_ok"], false, "{bad}");
    says(runs + 1, true);
    let other = ann.run(&["pop", "exec-check", "ams"]).await.expect(1);
    assert!(other.stdout.contains(&format!("shall run {runs}; it gave up 9")), "{other:?}");
    says(runs, true);
    // 3 s later its clock, which stands still, is behind.
    control.clock.advance(Duration::from_secs(3));
    let late = ann.run(&["pop", "exec-check", "ams"]).await.expect(1);
    assert!(late.stdout.contains("3500 ms behind"), "{late:?}");
    drop(one);
    let away = ann.run(&["pop", "exec-check", "ams"]).await.expect(7);
    assert!(away.stdout.contains("away"), "{away:?}");
    ann.run(&["pop", "exec-check", "nyc"]).await.expect(3);
    let eve = ann.invite(&control, "eve", &["--scope", "purge"]).await;
    eve.run(&["pop", "exec-check", "ams"]).await.expect(4);
}

#[tokio::test]
async fn the_identities_of_a_pop_are_taken_away_with_a_second_persons_word() {
    let control = TestControl::start().await;
    control.edge("ams").await;
    control.edge("fra").await;
    let (n1, n2) = (control.node("ams", "n1").await, control.node("ams", "n2").await);
    let other = control.node("fra", "n1").await;
    let token = control.enrolment_token("ams").await;
    let mut lane = n1.telemetry_lane().await.expect("enrolled");
    let mut others = other.telemetry_lane().await.expect("enrolled");
    let ann = Person::with_token(&control, &control.admin).await;
    let revoke = ["pop", "revoke", "ams"];
    let why = ["--reason", "keys may be stolen", "--yes"];

    let plan = ann.run(&[&revoke[..], &["--dry-run", "-o", "json"]].concat()).await.expect(0);
    assert!(plan.stderr.contains("plan: ams/n1, ams/n2: their certificates"), "{plan:?}");
    assert_eq!(plan.json()["nodes"], json!(["n1", "n2"]));
    ann.run(&revoke).await.expect(2);
    ann.run(&[&revoke[..], &why[..2]].concat()).await.expect(8);
    ann.run(&[&["pop", "revoke", "nyc"], &why[..]].concat()).await.expect(3);
    let viewer = ann.invite(&control, "vic", &["--role", "viewer"]).await;
    viewer.run(&[&revoke[..], &why[..]].concat()).await.expect(4);
    n2.telemetry_lane().await.expect("nothing was done");

    // Somebody else could approve: then somebody else does, also of one node after the other.
    let bob = ann.invite(&control, "bob", &["--role", "approver"]).await;
    for words in [&["ca", "revoke", "ams", "n1"][..], &["pop", "revoke", "ams", "--node", "n1"]] {
        let asked = ann.run(&[words, &why[..]].concat()).await.expect(8);
        assert!(asked.stderr.contains("approval approve"), "{asked:?}");
    }
    let asked = ann.run(&[&revoke[..], &why[..]].concat()).await.expect(8);
    let (_, id) = asked.stderr.split_once("approval approve ").expect("a hint");
    let id = id.split('`').next().expect("its id");
    bob.run(&["approval", "approve", id]).await.expect(0);
    let approved = [&revoke[..], &why[..], &["--approval", id]].concat();
    let done = ann.run(&approved).await.expect(0);
    assert!(done.stdout.contains("ams/n1  revoked"), "{done:?}");
    assert_eq!(lane.end().await.code(), Code::Aborted);
    for node in [&n1, &n2] {
        let refused = node.telemetry_lane().await.err().expect("no identity");
        assert_eq!(refused.code(), Code::PermissionDenied);
        assert!(node.renew().await.is_err());
    }
    assert!(TestNode::enrol(&control, &token, "n3").await.is_err(), "tokens are void");
    others.report(&Report::default()).await;
    within(others.orders()).await;
    let audit = ann.run(&["audit", "list", "-o", "json"]).await.expect(0).stdout;
    assert!(audit.contains("revoke nodes ams 2") && audit.contains("keys may be stolen"));
    // The PoP stays, and can have nodes again.
    control.node("ams", "n1").await.telemetry_lane().await.expect("enrolled");
}

#[tokio::test]
async fn many_ask_at_once_and_each_gets_the_answer_to_its_own_question() {
    let control = TestControl::start().await;
    control.edge("ams").await;
    let node = control.node("ams", "n1").await;
    let mut lane = node.telemetry_lane().await.expect("enrolled");
    let answering = tokio::spawn(async move {
        loop {
            let question = lane.question().await;
            let Ask::Log(wish) = question.ask else { continue };
            let said = Said::Refused(wish.text);
            lane.answer(&NodeAnswer { number: question.number, at_unix_ms: 1, said }).await;
        }
    });
    let ask = |n: usize| {
        let control = &control;
        async move {
            let path = format!("/v1/pops/ams/log?match=word{n}");
            until(async || {
                let answer = control.call("GET", &path, Value::Null).await;
                // So many at a time are one too many for a lane that is slow.
                let why = answer.body["nodes"][0]["why"].as_str().unwrap_or_default().to_owned();
                (why == format!("word{n}")).then_some(())
            })
            .await;
        }
    };
    tokio::join!(ask(0), ask(1), ask(2), ask(3), ask(4), ask(5));
    answering.abort();
}

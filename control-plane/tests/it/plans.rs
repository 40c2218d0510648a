//! What is shown before anything is done, and what was done: dry runs, the trace of calls, backups that are put back.

use serde_json::{Value, json};

use crate::harness::{Person, Program, TestControl};

#[tokio::test]
async fn a_dry_run_changes_nothing_wherever_it_is_made_and_what_has_none_says_so() {
    let control = TestControl::start().await;
    let ann = Person::with_token(&control, &control.admin).await;
    let nobody = Person::new();
    let file = ann.file("pop.yaml", "kind: pop\nname: fra\nspec: {role: edge}\n");
    // Nothing is sent: it works where there is no server at all.
    let client = nobody.run(&["apply", "-f", &file, "--dry-run=client"]).await.expect(0);
    assert!(client.stderr.contains("pop/fra can be sent"), "{client:?}");
    let bad = ann.file("bad.yaml", "kind: pop\nname: fra\nspec: {role: moon}\n");
    nobody.run(&["apply", "-f", &bad, "--dry-run=client"]).await.expect(6);
    nobody.run(&["apply", "-f", &file, "--prune", "--dry-run=client"]).await.expect(2);
    for how in ["--dry-run", "--dry-run=server"] {
        let server = ann.run(&["apply", "-f", &file, how]).await.expect(0);
        assert!(server.stderr.contains("1 to create"), "{server:?}");
    }
    ann.run(&["get", "pop/fra"]).await.expect(3);
    ann.run(&["apply", "-f", &file, "--stage", "fast"]).await.expect(0);

    for how in ["--dry-run", "--dry-run=client", "--dry-run=server"] {
        ann.run(&["delete", "pop/fra", how]).await.expect(0);
    }
    let toml = "id = \"demo\"\nhosts = [\"a.org\"]\n[[origins]]\nauthority = \"127.0.0.1:1\"\n";
    let property = ann.file("demo.toml", toml);
    nobody.run(&["property", "apply", "-f", &property, "--dry-run=client"]).await.expect(2);
    ann.run(&["property", "apply", "-f", &property, "--dry-run=client"]).await.expect(0);
    for refused in [
        &["purge", "all", "--yes", "--dry-run=client"][..],
        &["pop", "enrol", "fra", "--dry-run"],
        &["pop", "remove", "fra", "--dry-run=client"],
        &["release", "pause", "--dry-run=server"],
        &["pop", "drain", "fra", "--dry-run=client"],
    ] {
        let ran = ann.run(refused).await.expect(2);
        assert!(ran.stderr.contains("nothing was done"), "{ran:?}");
    }
    ann.run(&["get", "pop/fra"]).await.expect(0);
    let log = control.call("GET", "/v1/purges", Value::Null).await.expect(200).body;
    assert_eq!(log["purges"], json!([]));
}

#[tokio::test]
async fn a_trace_shows_every_call_and_no_secret() {
    let control = TestControl::start().await;
    let ann = Person::with_token(&control, &control.admin).await;
    let ran = ann.run(&["pop", "add", "fra", "--role", "edge", "--trace"]).await.expect(0);
    let line = ran.stderr.lines().find(|line| line.starts_with("trace: ")).expect("a trace");
    assert!(
        line.contains("PUT https://localhost:") && line.contains("/v1/pops/fra sent="),
        "{line}"
    );
    assert!(line.contains("ms 201 id=") || line.contains("ms 200 id="), "{line}");
    let id = line.split("id=").nth(1).and_then(|rest| rest.split(' ').next()).expect("an id");
    assert!(id.len() == 16 && id.bytes().all(|byte| byte.is_ascii_hexdigit()), "{line}");
    let secret = ann.file("k.yaml", "kind: secret\nname: k\nspec: {value: hidden-value}\n");
    let ran = ann.run(&["apply", "-f", &secret, "--trace", "-q"]).await.expect(0);
    let calls = ran.stderr.lines().filter(|line| line.starts_with("trace: ")).count();
    assert_eq!(calls, 4, "status, validate, change, publish: {ran:?}");
    let token = control.admin.as_str();
    assert!(!ran.stderr.contains(token) && !ran.stderr.contains("hidden-value"), "{ran:?}");
    let dead = ann.run(&["--server", "https://localhost:1", "pop", "list", "--trace"]).await;
    assert!(dead.expect(9).stderr.contains("no answer: "));
}

#[tokio::test]
async fn names_alone_and_failures_as_data_in_every_form() {
    let control = TestControl::start().await;
    let ann = Person::with_token(&control, &control.admin).await;
    let name = async |words: &[&str]| {
        ann.run(&[words, &["-o", "name"]].concat()).await.expect(0).stdout.trim().to_owned()
    };
    assert_eq!(name(&["pop", "add", "fra", "--role", "edge"]).await, "fra");
    assert_eq!(name(&["describe", "pop/fra"]).await, "fra");
    assert_eq!(name(&["export", "pop"]).await, "pop/fra");
    assert_eq!(name(&["release", "show", "1"]).await, "1");
    assert_eq!(name(&["can-i", "purge", "property/demo"]).await, "yes");
    let file = ann.file("o.yaml", "kind: origin\nname: o\nspec: {authority: \"a:1\"}\n");
    let id = name(&["apply", "-f", &file, "--stage", "fast"]).await;
    ann.run(&["change", "show", &id]).await.expect(0);
    let failed = ann.run(&["get", "pop/nobody", "-o", "yaml"]).await.expect(3);
    assert!(
        failed.stderr.contains("code: 3\n") && failed.stderr.contains("docs: docs/"),
        "{failed:?}"
    );
    let unread = ann.run(&["pop", "frobnicate", "-o", "json"]).await.expect(2);
    let error: Value = serde_json::from_str(&unread.stderr).expect("json");
    assert_eq!(error["code"], 2);
    assert!(error["message"].as_str().expect("text").contains("frobnicate"), "{error}");
    ann.run(&["pop", "--help", "-o", "json"]).await.expect(0);
    let other = ann.run_with(&[("TIDEGATE_CONTEXT", "other")], &["pop", "list"]).await;
    assert!(other.expect(3).stderr.contains("no context \"other\""));
}

#[tokio::test]
async fn a_backup_is_checked_and_put_back_on_the_machine() {
    let folder = tempfile::tempdir().expect("a folder");
    let control = Program::serve(folder.path()).await;
    let ann = Person::new();
    let path = |name: &str| folder.path().join(name).to_str().expect("text").to_owned();
    let (file, data) = (path("control.backup"), path("data"));
    Program::command(folder.path(), &["backup", &file]).await.expect(0);
    let checked = ann.run(&["backup", "verify", &file, "-o", "json"]).await.expect(0).json();
    assert_eq!((&checked["release"], &checked["purges"]), (&json!(0), &json!(0)));
    assert!(checked["keys"].as_array().expect("a list").contains(&json!("ca.key")), "{checked}");
    ann.run(&["backup", "verify", &path("none")]).await.expect(2);
    let damaged = path("damaged");
    let mut bytes = std::fs::read(&file).expect("readable");
    let middle = bytes.len() / 2;
    bytes[4096..middle].fill(0xa5);
    std::fs::write(&damaged, bytes).expect("writable");
    ann.run(&["backup", "verify", &damaged]).await.expect(6);

    let restore = ["backup", "restore", &file, "--data", &data];
    let sure = [&restore[..], &["--yes", "--reason", "the disk died"]].concat();
    let running = ann.run(&sure).await.expect(8);
    assert!(running.stderr.contains("another control plane runs"), "{running:?}");
    control.kill().await;
    let plan = ann.run(&[&restore[..], &["--dry-run"]].concat()).await.expect(0);
    for words in ["release 0", "it is kept beside", "has to be done again"] {
        assert!(plan.stderr.contains(words), "{words}: {plan:?}");
    }
    ann.run(&restore).await.expect(2);
    ann.run(&[&restore[..], &["--reason", "the disk died"]].concat()).await.expect(8);
    let kept = || {
        let entries = std::fs::read_dir(&data).expect("a folder");
        let names = entries.map(|entry| entry.expect("readable").file_name());
        names.filter(|name| name.to_string_lossy().contains("before")).count()
    };
    assert_eq!(kept(), 0, "nothing was done so far");
    ann.run(&[&["backup", "restore", &damaged, "--data", &data], &sure[5..]].concat())
        .await
        .expect(6);
    let done = ann.run(&[&sure[..], &["-o", "json"]].concat()).await.expect(0).json();
    assert_eq!((&done["backup"]["release"], kept()), (&json!(0), 1));
    // It begins again, elsewhere as well.
    drop(Program::serve(folder.path()).await);
    let fresh = path("fresh");
    let words = ["backup", "restore", &file, "--data", &fresh, "--yes", "--reason", "a spare"];
    let spare = ann.run(&words).await.expect(0);
    assert!(spare.stderr.contains("holds no state"), "{spare:?}");
    let log = Program::command(folder.path(), &["token", "list"]).await.expect(0);
    assert!(log.stdout.is_empty(), "{log:?}");
}

//! Operators at the command line: rights, the second person, the audit log, formats and hints.

use serde_json::{Value, json};

use crate::harness::{Answer, Person, Ran, TestControl};

#[tokio::test]
async fn two_people_purge_everything_together() {
    let control = TestControl::start().await;
    let ann = Person::with_token(&control, &control.admin).await;
    let bob = ann.invite(&control, "bob", &["--role", "approver"]).await;
    let words = ["purge", "all", "--yes", "--reason", "bad deploy"];
    let asked = ann.run(&words).await.expect(8);
    assert!(
        asked.stdout.is_empty() && asked.stderr.contains("hint: let somebody else run"),
        "{asked:?}"
    );
    let waiting = bob.run(&["approval", "list", "-o", "json"]).await.expect(0).json();
    let approval = &waiting[0];
    assert_eq!((&approval["person"], &approval["reason"]), (&json!("test"), &json!("bad deploy")));
    let id = approval["id"].as_str().expect("an id");
    ann.run(&["approval", "approve", id]).await.expect(8);
    let approved = bob.run(&["approval", "approve", id]).await.expect(0);
    assert_eq!(approved.stdout, format!("{id} approved: purge_all  for test\n"));
    let with = [&words[..], &["--approval", id]].concat();
    ann.run(&with).await.expect(0);
    ann.run(&with).await.expect(8);
    let rows = bob.run(&["audit", "list", "--no-headers"]).await.expect(0);
    assert!(rows.stdout.contains("bad deploy") && rows.stdout.contains("by bob"), "{rows:?}");
}

#[tokio::test]
async fn the_audit_log_is_checked_by_who_reads_it() {
    let control = TestControl::start().await;
    let ann = Person::with_token(&control, &control.admin).await;
    ann.run(&["pop", "add", "fra", "--role", "edge"]).await.expect(0);
    let whole = ann.run(&["audit", "verify", "-o", "json"]).await.expect(0).json();
    assert_eq!((&whole["ok"], &whole["rows"]), (&json!(true), &json!(2)));
    let witness = format!("2:{}", whole["hash"].as_str().expect("a hash"));
    ann.run(&["pop", "add", "ams", "--role", "edge"]).await.expect(0);
    ann.run(&["audit", "verify", "--witness", &witness]).await.expect(0);
    let forged = format!("2:{}", "0".repeat(64));
    let broken = ann.run(&["audit", "verify", "--witness", &forged]).await.expect(1);
    assert!(broken.stderr.contains("row 2 is not the one"), "{broken:?}");
    ann.run(&["audit", "verify", "--witness", &format!("9:{}", "0".repeat(64))]).await.expect(1);
}

#[tokio::test]
async fn rights_are_given_shown_and_taken() {
    let control = TestControl::start().await;
    let ann = Person::with_token(&control, &control.admin).await;
    ann.run(&["role", "set", "shop", "--scope", "purge:property/demo"]).await.expect(0);
    let shop = ann.invite(&control, "shop", &["--role", "shop", "--lifetime", "1h"]).await;
    let me = shop.run(&["whoami", "-o", "yaml"]).await.expect(0);
    assert!(me.stdout.contains("label: shop\nscopes:\n- purge:property/demo"), "{me:?}");
    shop.run(&["can-i", "purge", "property/demo"]).await.expect(0);
    assert_eq!(shop.run(&["can-i", "purge"]).await.expect(1).stdout, "no\n");
    let refused = shop.run(&["pop", "list", "-o", "json"]).await.expect(4);
    let error: Value = serde_json::from_str(&refused.stderr).expect("json");
    assert_eq!((&error["code"], &error["type"]), (&json!(4), &json!("/problem/forbidden")));
    assert!(error["hint"].as_str().expect("a hint").contains("whoami"));
    assert!(error["docs"].as_str().expect("a page").starts_with("docs/"));
    let tokens = ann.run(&["token", "list", "-o", "json"]).await.expect(0).json();
    let tokens = tokens.as_array().expect("a list");
    let id = tokens.iter().find(|token| token["label"] == "shop").expect("there")["id"].clone();
    let dry =
        ann.run(&["token", "revoke", id.as_str().expect("text"), "--dry-run"]).await.expect(0);
    assert!(dry.stderr.contains("worth nothing"));
    shop.run(&["whoami"]).await.expect(0);
    ann.run(&["token", "revoke", id.as_str().expect("text")]).await.expect(0);
    shop.run(&["whoami"]).await.expect(4);
    ann.run(&["role", "delete", "shop"]).await.expect(2);
    ann.run(&["role", "delete", "shop", "--reason", "gone", "--yes"]).await.expect(0);
}

#[tokio::test]
async fn a_list_comes_in_every_form() {
    let control = TestControl::start().await;
    let ann = Person::with_token(&control, &control.admin).await;
    for pop in ["fra", "ams"] {
        ann.run(&["pop", "add", pop, "--role", "edge"]).await.expect(0);
    }
    let list =
        async |words: &[&str]| ann.run(&[&["pop", "list"], words].concat()).await.expect(0).stdout;
    insta::assert_snapshot!(list(&[]).await, @r"
    POP  ROLE  STATE  NODES  GENERATION  PURGE LAG
    ams  edge  empty  0/0    -/2         -
    fra  edge  empty  0/0    -/2         -
    ");
    assert_eq!(list(&["-o", "name"]).await, "ams\nfra\n");
    assert_eq!(list(&["--no-headers"]).await.lines().count(), 2);
    assert!(list(&["-o", "yaml"]).await.starts_with("- pop: ams\n"));
    assert!(list(&["--color", "always"]).await.contains("\u{1b}[33mempty\u{1b}[0m"));
    assert!(!list(&[]).await.contains('\u{1b}'));
}

#[tokio::test]
async fn the_doctor_says_what_is_wrong_and_what_to_do() {
    let control = TestControl::start().await;
    let ann = Person::with_token(&control, &control.admin).await;
    let state = |ran: &Ran, check: &str| {
        let checks = ran.json();
        let checks = checks.as_array().expect("a list").clone();
        let found = checks.iter().find(|found| found["check"] == check);
        found.map(|found| found["state"].as_str().expect("a word").to_owned())
    };
    let healthy = ann.run(&["doctor", "--purge", "-o", "json"]).await.expect(0);
    for check in ["connection", "clock", "token", "pops", "audit log", "purge"] {
        assert_eq!(state(&healthy, check).as_deref(), Some("ok"), "{check}: {healthy:?}");
    }
    assert_eq!(state(&healthy, "token file").as_deref(), Some("warning"), "others may read it");
    ann.run(&["pop", "add", "fra", "--role", "edge"]).await.expect(0);
    let empty = ann.run(&["doctor", "-o", "json"]).await.expect(1);
    assert_eq!(state(&empty, "pops").as_deref(), Some("failed"));
    let stranger = Person::with_token(&control, "tga_1_1").await;
    let lost = stranger.run(&["doctor"]).await.expect(1);
    assert!(lost.stdout.contains("tidegate-control token create"), "{lost:?}");
}

#[tokio::test]
async fn a_folder_is_applied_compared_and_pruned() {
    let control = TestControl::start().await;
    let ann = Person::with_token(&control, &control.admin).await;
    let pops = "kind: pop\nname: fra\nspec: {role: edge}\n---\n\
                kind: pop\nname: ams\nspec: {role: edge}\n";
    let file = ann.file("pops.yaml", pops);
    let origin = ann.file(
        "studio.toml",
        "kind = \"origin\"\nname = \"studio\"\n[spec]\nauthority = \"origin.example:443\"\n",
    );
    let files = ["-f", &file, "-f", &origin];
    let run = async |words: &[&str]| ann.run(&[words, &files[..]].concat()).await;
    let differs = run(&["diff"]).await.expect(1);
    assert!(
        differs.stdout.contains("+++ pop/fra (wanted)") && differs.stdout.contains("+role: edge")
    );
    let dry = run(&["apply", "--dry-run", "--detailed-exitcode"]).await.expect(10);
    assert!(dry.stderr.contains("3 to create, 0 to change, 0 to delete"), "{dry:?}");
    run(&["diff"]).await.expect(1);
    run(&["apply", "--stage", "fast", "--reason", "first PoPs", "--detailed-exitcode"])
        .await
        .expect(10);
    assert!(run(&["diff"]).await.expect(0).stdout.is_empty());
    run(&["apply", "--detailed-exitcode"]).await.expect(0);
    run(&["validate", "--on-server"]).await.expect(0);

    assert_eq!(ann.run(&["get", "pops", "-o", "name"]).await.expect(0).stdout, "ams\nfra\n");
    let one = ann.run(&["get", "pop", "fra", "-o", "json"]).await.expect(0).json();
    assert_eq!((&one["name"], &one["spec"]["role"]), (&json!("fra"), &json!("edge")));
    let described = ann.run(&["describe", "origin", "studio"]).await.expect(0);
    assert!(described.stdout.contains("authority: origin.example:443"), "{described:?}");
    ann.run(&["get", "pop", "nobody"]).await.expect(3);

    ann.file("pops.yaml", "kind: pop\nname: fra\nspec: {role: edge}\n");
    let pruned =
        run(&["apply", "--stage", "fast", "--prune", "--reason", "fewer", "--yes"]).await.expect(0);
    assert!(pruned.stderr.contains("pop/ams is deleted"), "{pruned:?}");
    let out = ann.home.path().join("out");
    ann.run(&["export", "pop", "origin", "--to", out.to_str().expect("text")]).await.expect(0);
    let again = ann.run(&["diff", "--prune", "-f", out.to_str().expect("text")]).await.expect(0);
    assert!(again.stdout.is_empty(), "{again:?}");
    ann.run(&["delete", "origin", "studio", "--yes"]).await.expect(2);
    ann.run(&["delete", "origin", "studio", "--yes", "--reason", "gone"]).await.expect(0);
    ann.run(&["get", "origin", "studio"]).await.expect(3);
    let rows = ann.run(&["audit", "list"]).await.expect(0);
    assert!(rows.stdout.contains("first PoPs"), "{rows:?}");
}

#[tokio::test]
async fn the_status_page_shows_itself_to_all_and_data_to_who_may_read() {
    let control = TestControl::start().await;
    control.edge("fra").await;
    let page = control.request("GET", "/").send().await.expect("an answer");
    assert_eq!(page.status().as_u16(), 200);
    let policy = page.headers()["content-security-policy"].to_str().expect("text");
    assert!(policy.starts_with("default-src 'none'"), "{policy}");
    assert!(page.text().await.expect("text").contains("<title>Tidegate status</title>"));
    Answer::of(control.request("GET", "/v1/status")).await.expect(401);
    let status = control.call("GET", "/v1/status", Value::Null).await.expect(200);
    assert_eq!(status.body["pops"][0]["pop"], "fra");
    assert_eq!(status.body["pops"][0]["state"], "empty");
    let open = TestControl::start_with(|config| config.access.open_status_page = true).await;
    Answer::of(open.request("GET", "/v1/status")).await.expect(200);
    Answer::of(open.request("GET", "/v1/pops")).await.expect(401);
}

#[tokio::test]
async fn files_are_checked_without_a_server() {
    let nobody = Person::new();
    let good = nobody.file("pop.yaml", "kind: pop\nname: fra\nspec: {role: edge}\n");
    let checked = nobody.run(&["validate", "-f", &good]).await.expect(0);
    assert!(checked.stderr.contains("1 resources are good"), "{checked:?}");
    let bad = nobody.file("bad.yaml", "kind: ship\nname: fra\nspec: {}\n");
    let refused = nobody.run(&["validate", "-f", &bad]).await.expect(6);
    assert!(refused.stderr.contains("bad.yaml") && refused.stderr.contains("ship"), "{refused:?}");
    nobody.run(&["validate"]).await.expect(2);
    let explained = nobody.run(&["explain", "pops"]).await.expect(0);
    assert!(explained.stdout.starts_with("pop\n"), "{explained:?}");
}

#[tokio::test]
async fn completions_and_manual_pages_are_made_from_the_commands() {
    let nobody = Person::new();
    for shell in ["bash", "zsh", "fish"] {
        let made = nobody.run(&["completions", shell]).await.expect(0);
        assert!(made.stdout.contains("detailed-exitcode"), "{shell}");
    }
    let folder = nobody.home.path().join("man");
    nobody.run(&["man", folder.to_str().expect("text")]).await.expect(0);
    let page = std::fs::read_to_string(folder.join("tidegate-purge-url.1")).expect("a page");
    assert!(page.contains(".TH"), "{page}");
    assert!(folder.join("tidegate.1").exists());
}

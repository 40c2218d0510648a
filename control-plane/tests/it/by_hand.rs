//! What people do by hand: they edit, they ask what a field is, they watch, they look at a screen.

use std::process::Stdio;

use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    process::Command,
};

use crate::harness::{LIMIT, Person, TestControl, until, within};

/// An editor that does one thing to the file.
fn editor(person: &Person, name: &str, act: &str) -> String {
    let path = person.file(name, &format!("#!/bin/sh\nset -e\n{act}\n"));
    format!("sh {path}")
}

#[tokio::test]
async fn an_edit_changes_what_was_changed_and_loses_nothing_that_was_typed() {
    let control = TestControl::start().await;
    let ann = Person::with_token(&control, &control.admin).await;
    control
        .call(
            "PUT",
            "/v1/resources/origin/studio",
            json!({
                "kind": "origin", "name": "studio", "spec": {"authority": "a.example:443"}
            }),
        )
        .await;
    let home = ann.home.path().to_str().expect("text").to_owned();
    let edit = async |act: &str, words: &[&str]| {
        let editor = editor(&ann, "editor", act);
        let env = [("EDITOR", editor.as_str()), ("TMPDIR", home.as_str())];
        ann.run_with(&env, &[&["edit", "origin/studio"], words].concat()).await
    };
    let authority = async || {
        let shown = ann.run(&["get", "origin/studio", "-o", "json"]).await.expect(0).json();
        (shown["spec"]["authority"].clone(), shown["generation"].as_u64())
    };
    let kept = || {
        let entries = std::fs::read_dir(ann.home.path()).expect("readable");
        let files = entries.map(|entry| entry.expect("readable").path());
        files.filter(|path| path.to_string_lossy().contains("tidegate-edit-")).collect::<Vec<_>>()
    };
    let before = authority().await;

    let same = edit("true", &[]).await.expect(0);
    assert!(same.stderr.contains("nothing changed") && kept().is_empty(), "{same:?}");
    assert_eq!(authority().await, before);

    let dry = edit("sed -i s/a.example/b.example/ \"$1\"", &["--dry-run"]).await.expect(0);
    assert!(dry.stderr.contains("+authority: b.example:443"), "{dry:?}");
    assert_eq!(authority().await, before);

    let changed = edit("sed -i s/a.example/b.example/ \"$1\"", &[]).await.expect(0);
    assert!(changed.stderr.contains("origin/studio changed") && kept().is_empty(), "{changed:?}");
    let (now, generation) = authority().await;
    assert_eq!(now, "b.example:443");
    assert!(generation > before.1, "{generation:?}");

    for (act, word) in [
        ("sed -i s/b.example:443/nonsense/ \"$1\"", "nonsense"),
        ("sed -i s/authority/autority/ \"$1\"", "autority"),
        ("echo 'broken: [' >> \"$1\"", "broken"),
        ("sed -i s/studio/other/ \"$1\"", "other"),
    ] {
        let refused = edit(act, &[]).await.expect(6);
        let [file] = &kept()[..] else { panic!("{refused:?}") };
        let name = file.to_str().expect("text");
        assert!(refused.stderr.contains(&format!("what you typed is in {name}")), "{refused:?}");
        assert!(std::fs::read_to_string(file).expect("kept").contains(word), "{act}");
        std::fs::remove_file(file).expect("there");
    }
    assert_eq!(authority().await.0, "b.example:443");

    // Somebody else is faster.
    let server = format!("https://localhost:{}", control.api.port());
    let other =
        ann.file("other.yaml", "kind: origin\nname: studio\nspec: {authority: 'c.example:443'}\n");
    let program = env!("CARGO_BIN_EXE_tidegate");
    let context = ann.home.path().join(".config/tidegate/contexts.toml");
    let act = format!(
        "{program} --context-file {} --server {server} --ca {home}/ca.pem --token-file {home}/token \
         apply -f {other} --stage fast --reason race >/dev/null 2>&1\nsed -i s/b.example/d.example/ \"$1\"",
        context.display()
    );
    let late = edit(&act, &[]).await.expect(5);
    assert!(
        late.stderr.contains("read it again") && late.stderr.contains("what you typed is in"),
        "{late:?}"
    );
    assert_eq!((authority().await.0, kept().len()), (json!("c.example:443"), 1));

    let failed = edit("exit 3", &[]).await.expect(1);
    assert!(failed.stderr.contains("ended with"), "{failed:?}");
    let env = [("EDITOR", "/nonexistent/editor"), ("TMPDIR", home.as_str())];
    let none = ann.run_with(&env, &["edit", "origin/studio"]).await.expect(2);
    assert!(none.stderr.contains("hint: set EDITOR"), "{none:?}");
}

#[tokio::test]
async fn every_field_is_explained_and_a_mistyped_one_is_recognised() {
    let nobody = Person::new();
    let text = nobody.run(&["explain", "property.cache.default_ttl"]).await.expect(0).stdout;
    assert!(text.contains("duration, like 10s") && text.contains("DEFAULT"), "{text}");
    let kind = nobody.run(&["explain", "cache_policies"]).await.expect(0).stdout;
    assert!(kind.contains("FIELD") && kind.contains("stale_if_error"), "{kind}");
    let wrong = nobody.run(&["explain", "property.cache.defalt_ttl"]).await.expect(3);
    assert!(wrong.stderr.contains("did you mean \"default_ttl\"?"), "{wrong:?}");
    nobody.run(&["get", "proprety"]).await.expect(2);
}

#[tokio::test]
async fn what_is_watched_is_printed_again_when_it_changes_and_ctrl_c_ends_it() {
    let control = TestControl::start().await;
    let ann = Person::with_token(&control, &control.admin).await;
    control.edge("fra").await;
    for words in [
        &["get", "pops", "--watch", "-o", "name"][..],
        &["pop", "list", "-w", "-o", "name"],
        &["pop", "list", "-w", "-o", "wide"],
    ] {
        let mut watching = ann.watch(words);
        watching.sees("fra").await;
        let pop = format!("p{}", words.len() + words[0].len());
        control.edge(&pop).await;
        watching.sees(&pop).await;
        assert_eq!(watching.interrupt().await, 130, "{words:?}");
        ann.run(&["pop", "remove", &pop, "--reason", "over"]).await.expect(0);
    }
    let node = control.node("fra", "n1").await;
    let mut watching = ann.watch(&["node", "list", "-w"]);
    watching.sees("fra/n1").await;
    assert_eq!(watching.interrupt().await, 130);
    drop(node);
    let status = ann.run(&["node", "status", "fra/n1", "-o", "json"]).await.expect(1).json();
    assert_eq!((&status[0]["pop"], &status[0]["node"]), (&json!("fra"), &json!("n1")));
    ann.run(&["node", "status", "fra/n9"]).await.expect(3);
    ann.run(&["node", "status", "fra"]).await.expect(2);
}

#[tokio::test]
async fn a_purge_is_watched_until_nobody_is_pending() {
    let control = TestControl::start().await;
    let ann = Person::with_token(&control, &control.admin).await;
    let ordered = ann.run(&["purge", "tag", "k", "-o", "json"]).await.expect(0).json();
    let id = ordered["purges"][0]["id"].as_str().expect("an id").to_owned();
    assert_eq!(ann.watch(&["purge", "status", &id, "--watch"]).end().await, 0);
    assert_eq!(ann.watch(&["release", "status", "--watch"]).end().await, 0);
}

#[tokio::test]
async fn who_logs_in_has_a_context_and_whoever_logs_out_has_no_token() {
    let control = TestControl::start().await;
    let ann = Person::new();
    let ca = ann.file("ca.pem", &control.ca_pem);
    let server = format!("https://localhost:{}", control.api.port());
    let login = async |token: &str| {
        let mut command = ann.command(&["login", "prod", "--server", &server, "--ca", &ca]);
        command
            .kill_on_drop(true)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let mut child = command.spawn().expect("it runs");
        let mut stdin = child.stdin.take().expect("piped");
        stdin.write_all(token.as_bytes()).await.expect("it reads");
        drop(stdin);
        within(child.wait()).await.expect("it ends").code().expect("not killed")
    };
    let file = ann.home.path().join(".config/tidegate/tokens/prod");
    assert_eq!(login("tga_0_0\n").await, 4);
    assert!(!file.exists(), "what is not known is not kept");
    assert_eq!(login("").await, 2);
    assert_eq!(login(&format!("{}\n", control.admin)).await, 0);
    let mode = std::os::unix::fs::PermissionsExt::mode(
        &std::fs::metadata(&file).expect("kept").permissions(),
    );
    assert_eq!(mode & 0o777, 0o600);
    ann.run(&["whoami"]).await.expect(0);
    assert_eq!(login("tga_0_0\n").await, 4);
    ann.run(&["whoami"]).await.expect(0);
    ann.run(&["logout"]).await.expect(0);
    assert!(!file.exists());
    ann.run(&["whoami"]).await.expect(4);
    ann.run(&["login", "../x", "--server", &server]).await.expect(2);
}

/// `top` on a terminal of its own, which `script` makes.
struct Screen {
    child: tokio::process::Child,
    tty: std::path::PathBuf,
    seen: tokio::sync::watch::Receiver<Vec<u8>>,
}

impl Screen {
    async fn start(person: &Person) -> Self {
        let name = person.home.path().join("tty");
        let own = person.command(&["top"]);
        let program = own.as_std().get_program().to_str().expect("text").to_owned();
        // What the terminal is set to before must be what it is set to after.
        let line = format!(
            "stty cols 80 rows 24; stty -a > before; tty > tty.new; mv tty.new tty; \
             {program} top; echo \"code $?\"; stty -a > after"
        );
        let mut command = Command::new("script");
        command.args(["-qefc", &line, "/dev/null"]).current_dir(person.home.path());
        for (key, value) in own.as_std().get_envs() {
            match value {
                Some(value) => command.env(key, value),
                None => command.env_remove(key),
            };
        }
        command.env("TERM", "xterm-256color").kill_on_drop(true);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().expect("script, of util-linux");
        let mut out = child.stdout.take().expect("piped");
        let (tell, seen) = tokio::sync::watch::channel(Vec::new());
        tokio::spawn(async move {
            let mut bytes = [0; 4096];
            while let Ok(count @ 1..) = out.read(&mut bytes).await {
                tell.send_modify(|seen| seen.extend_from_slice(&bytes[..count]));
            }
        });
        let tty = until(async || std::fs::read_to_string(&name).ok()).await;
        Self { child, tty: tty.trim().into(), seen }
    }

    /// Waits for a text after what was seen before.
    async fn sees(&mut self, text: &str, after: usize) {
        let is_there = |seen: &Vec<u8>| {
            String::from_utf8_lossy(seen.get(after..).unwrap_or_default()).contains(text)
        };
        let seen = tokio::time::timeout(LIMIT, self.seen.wait_for(is_there)).await;
        let is_seen = seen.is_ok_and(|seen| seen.is_ok());
        assert!(is_seen, "{text:?} is not in {:?}", &self.text()[after.min(self.length())..]);
    }

    fn length(&self) -> usize {
        self.seen.borrow().len()
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.seen.borrow()).into_owned()
    }

    async fn press(&mut self, keys: &str) {
        let stdin = self.child.stdin.as_mut().expect("piped");
        stdin.write_all(keys.as_bytes()).await.expect("it reads");
        stdin.flush().await.expect("it reads");
    }

    async fn resize(&self, columns: u16, rows: u16) {
        let (columns, rows) = (columns.to_string(), rows.to_string());
        let mut command = Command::new("stty");
        command.arg("-F").arg(&self.tty).args(["cols", &columns, "rows", &rows]);
        assert!(within(command.status()).await.expect("stty").success());
    }
}

#[tokio::test]
async fn top_draws_turns_resizes_and_leaves_the_terminal_as_it_was() {
    let control = TestControl::start().await;
    let ann = Person::with_token(&control, &control.admin).await;
    for pop in ["ams", "bom", "fra"] {
        control.edge(pop).await;
    }
    for end in ["q", "\u{3}"] {
        let mut screen = Screen::start(&ann).await;
        screen.sees("\u{1b}[?1049h", 0).await;
        screen.sees("GENERATION", 0).await;
        screen.sees("fra", 0).await;
        let before = screen.length();
        screen.press("j").await;
        screen.sees("bom", before).await;
        let before = screen.length();
        screen.resize(40, 10).await;
        screen.sees("NODES", before).await;
        let narrow = screen.text()[before..].to_owned();
        assert!(!narrow.contains("GENERATION"), "{narrow:?}");
        for (columns, rows) in [(1, 1), (7, 2), (300, 90)] {
            screen.resize(columns, rows).await;
        }
        screen.sees("GENERATION", before).await;
        screen.press(end).await;
        screen.sees("code 0", before).await;
        let text = screen.text();
        assert!(text.contains("\u{1b}[?1049l") && text.contains("\u{1b}[?25h"), "{text:?}");
        // But for the size, which was changed on purpose.
        let read = async |name: &str| {
            let path = ann.home.path().join(name);
            let text = until(async || {
                std::fs::read_to_string(&path).ok().filter(|text| text.contains("echoke"))
            })
            .await;
            text.lines().skip(1).map(str::to_owned).collect::<Vec<_>>()
        };
        assert_eq!(read("before").await, read("after").await);
        for name in ["tty", "before", "after"] {
            std::fs::remove_file(ann.home.path().join(name)).expect("there");
        }
    }
}

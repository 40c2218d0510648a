//! Files of places and explanations, by the real program.

use std::{
    fs,
    path::Path,
    process::{Command, Output},
};

const LINES: &str = "\
10.0.0.0/8,DE,50.11,8.68,Frankfurt
10.1.0.0/16,AU,-33.87,151.21,Sydney
2001:db8::/32,NZ,-36.85,174.76,Auckland
";

const FLEET: &str = r#"
[[pop]]
id = "ams"
latitude = 52.37
longitude = 4.90
capacity = 100.0
addresses = ["192.0.2.1"]

[[pop]]
id = "syd"
latitude = -33.87
longitude = 151.21
capacity = 100.0
addresses = ["192.0.2.2"]
"#;

fn geo(folder: &Path, args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tidegate-geo"));
    command.current_dir(folder).args(args).output().expect("the program")
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).expect("text")
}

#[test]
fn from_lines_to_the_pop_of_a_client() {
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join("lines"), LINES).expect("writable");
    fs::write(folder.path().join("fleet.toml"), FLEET).expect("writable");
    let made = geo(folder.path(), &["make-places", "lines", "own.mmdb"]);
    assert!(made.status.success(), "{}", text(&made.stderr));
    let located = geo(folder.path(), &["locate", "--places", "own.mmdb", "10.1.2.3", "192.0.2.9"]);
    assert_eq!(
        text(&located.stdout),
        "10.1.2.3/16: AU, Sydney, -33.87 151.21, network 0\n192.0.2.9: nobody knows\n"
    );
    let explain = ["explain", "--places", "own.mmdb", "--fleet", "fleet.toml"];
    let shown = geo(folder.path(), &[&explain[..], &["10.9.9.9"]].concat());
    let shown = text(&shown.stdout);
    assert!(shown.contains("DE") && shown.contains("→ ams (nearest), for 20 s"), "{shown}");
    let json = geo(folder.path(), &[&explain[..], &["--json", "2001:db8::1", "10.1.2.3"]].concat());
    for line in text(&json.stdout).lines() {
        let value: serde_json::Value = serde_json::from_str(line).expect("JSON");
        assert_eq!(value["pop"], "syd", "{line}");
        assert_eq!(value["candidates"][0]["source"], "distance");
    }
}

#[test]
fn what_is_wrong_is_said_with_the_file_and_the_line() {
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join("lines"), "10.0.0.0/8,DE,50.11,8.68\nnonsense\n")
        .expect("writable");
    let made = geo(folder.path(), &["make-places", "lines", "own.mmdb"]);
    assert_eq!(made.status.code(), Some(1));
    assert!(text(&made.stderr).contains("lines: line 2: PREFIX"), "{}", text(&made.stderr));
    assert!(!folder.path().join("own.mmdb").exists());
    let located = geo(folder.path(), &["locate", "--places", "lines", "10.0.0.1"]);
    assert_eq!(located.status.code(), Some(1));
    assert!(
        text(&located.stderr).starts_with("tidegate-geo: lines: "),
        "{}",
        text(&located.stderr)
    );
    assert_eq!(geo(folder.path(), &["locate", "--places", "lines"]).status.code(), Some(2));
}

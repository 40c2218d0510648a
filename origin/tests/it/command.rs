//! The command line: what it refuses, and what it does without serving.

use std::process::{Command, Output};

fn run(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_tidegate-origin")).args(arguments).output().unwrap()
}

#[test]
fn a_migration_makes_the_database_and_may_run_again() {
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("sub/origin.db");
    let database = format!("database=sqlite:{}", file.display());
    for _ in 0..2 {
        let migrated = run(&["migrate", "--set", &database]);
        assert!(migrated.status.success(), "{}", String::from_utf8_lossy(&migrated.stderr));
        assert!(file.exists());
    }
}

#[test]
fn a_role_that_does_not_exist_is_refused() {
    let refused = run(&["serve", "--roles", "upload,feed"]);
    assert_eq!(refused.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("feed"));
}

#[test]
fn roles_of_the_command_line_go_over_the_config() {
    let shown = run(&["serve", "--roles", "delivery,catalog", "--print-config"]);
    let config: toml::Table = String::from_utf8(shown.stdout).unwrap().parse().unwrap();
    assert_eq!(config["roles"].to_string(), r#"["delivery", "catalog"]"#);
}

#[test]
fn a_config_without_sense_is_refused_by_name() {
    let refused = run(&["serve", "--check-config", "--set", "database=mysql://host/db"]);
    assert_eq!(refused.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("database"));
}

//! The config from all its layers, and what is said of a bad one.

use std::{ffi::OsStr, os::unix::ffi::OsStrExt};

use crate::harness::Specimen;

#[test]
fn file_is_under_environment_is_under_the_programs_flags_is_under_set() {
    let file = "listen = \"127.0.0.1:1\"\ngreeting = \"file\"\n[process]\nlog_level = \"warn\"\n";
    let output = Specimen::new()
        .file(file)
        .env("SPECIMEN__GREETING", "environment")
        .env("SPECIMEN__LISTEN", "127.0.0.1:2")
        .arg("--listen")
        .arg("127.0.0.1:3")
        .set("process.drain_grace=5s")
        .arg("--print-config")
        .run();
    let printed: toml::Table = output.stdout.parse().unwrap();
    assert_eq!(output.code, Some(0));
    assert_eq!(printed["greeting"].as_str(), Some("environment"));
    assert_eq!(printed["listen"].as_str(), Some("127.0.0.1:3"));
    assert_eq!(printed["process"]["log_level"].as_str(), Some("warn"));
    assert_eq!(printed["process"]["drain_grace"].as_str(), Some("5s"));
}

#[test]
fn the_environment_names_the_file_where_the_command_line_does_not() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("from_environment.toml");
    std::fs::write(&path, "greeting = \"from environment\"").unwrap();
    let output =
        Specimen::new().env("SPECIMEN_CONFIG", path.to_str().unwrap()).arg("--print-config").run();
    assert!(output.stdout.contains("from environment"), "{}", output.stderr);
}

#[test]
fn a_bad_config_is_refused_with_2_and_named() {
    let table = [
        (Specimen::new().file("greting = \"x\""), "specimen.toml: greting: unknown key"),
        (Specimen::new().env("SPECIMEN__PROCESS__ADMN", "x"), "process.admn: unknown key"),
        (
            Specimen::new().env("SPECIMEN__GREETING", OsStr::from_bytes(b"\xff")),
            "environment variable SPECIMEN__GREETING: greeting: not UTF-8",
        ),
        (Specimen::new().set("failure=sometimes"), "--set failure: failure: unknown variant"),
        (Specimen::new().set("greeting="), "config: greeting is empty"),
        (Specimen::new().set("process.admin=0.0.0.0:0"), "process.admin_public"),
        (Specimen::new().arg("--config").arg("missing.toml"), "config file missing.toml"),
        (Specimen::new().arg("--unknown-flag"), "--unknown-flag"),
    ];
    for (specimen, expected) in table {
        let output = specimen.arg("--check-config").run();
        let said = output.stderr;
        assert_eq!(output.code, Some(2), "{said}");
        assert!(said.contains(expected), "{said}\ndoes not name\n{expected}");
        assert!(output.stdout.is_empty());
    }
}

#[test]
fn a_good_config_is_ok_and_starts_nothing() {
    let output = Specimen::new().set("failure=panic").arg("--check-config").run();
    assert_eq!((output.code, output.stdout.as_str()), (Some(0), "ok\n"));
}

#[test]
fn a_secret_shows_neither_in_print_nor_on_the_admin_port_nor_in_the_log() {
    let secret = "hunter2-4711";
    let printed = Specimen::new().env("SPECIMEN__TOKEN", secret).arg("--print-config").run();
    assert!(printed.stdout.contains("token = \"[redacted]\""), "{}", printed.stdout);

    let running =
        Specimen::new().env("SPECIMEN__TOKEN", secret).set("process.log_level=trace").start();
    let (status, config) = running.admin("GET", "/config");
    assert_eq!(status, 200);
    assert!(config.contains("\"token\":\"[redacted]\"") && !config.contains(secret), "{config}");
    running.signal("-TERM");
    let output = running.ended();
    assert!(!output.stderr.contains(secret));
}

#[test]
fn the_help_is_the_programs_own_with_the_flags_of_the_chassis() {
    let help = Specimen::new().arg("--help").run();
    assert_eq!(help.code, Some(0));
    assert!(help.stdout.starts_with("Usage: specimen"), "{}", help.stdout);
    for flag in ["--config", "--set", "--check-config", "--print-config", "--listen"] {
        assert!(help.stdout.contains(flag), "{flag} is missing in\n{}", help.stdout);
    }
}

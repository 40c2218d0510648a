//! Tokens: made by the program, known by their hash, taken up while the origin runs.

use std::process::Command;

use reqwest::Method;

use crate::harness::TestOrigin;

#[tokio::test]
async fn a_new_token_is_good_without_a_restart() {
    let origin = TestOrigin::start().await;
    let other = origin.tus_of("new-client").await;
    assert_eq!(other.create(1).await.status, 201);
}

#[test]
fn a_token_is_shown_once_and_stored_as_a_hash() {
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("tokens");
    let create = |name: &str| {
        Command::new(env!("CARGO_BIN_EXE_tidegate-origin"))
            .args(["token", "create", "--name", name, "--file"])
            .arg(&file)
            .output()
            .unwrap()
    };
    let made = create("demo");
    assert!(made.status.success());
    let token = String::from_utf8(made.stdout).unwrap();
    assert!(token.starts_with("tgo_") && token.trim().len() > 40);
    let stored = std::fs::read_to_string(&file).unwrap();
    assert!(stored.starts_with("demo ") && !stored.contains(token.trim()));
    assert!(!create("no such name").status.success());
}

#[tokio::test]
async fn the_job_api_is_not_on_the_public_port_and_not_open() {
    let origin = TestOrigin::start().await;
    let body = r#"{"packager":"p1"}"#;
    let path = "/internal/v1/jobs/lease";
    let public = origin.http.post(format!("{}{path}", origin.url)).body(body).send().await.unwrap();
    assert_eq!(public.status(), 404);
    let url = format!("{}{path}", origin.internal);
    let no_token = origin.http.post(&url).body(body).send().await.unwrap();
    assert_eq!(no_token.status(), 401);
    let client_token = origin.authorised(Method::POST, "").build().unwrap();
    let shown = client_token.headers()["authorization"].clone();
    let wrong =
        origin.http.post(&url).header("authorization", shown).body(body).send().await.unwrap();
    assert_eq!(wrong.status(), 401, "a client's token is no packager's");
}

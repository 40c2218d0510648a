//! Sockets that outlive the process: a supervisor holds them while the node restarts.

use std::net::SocketAddr;
use std::process::Stdio;
use std::sync::Arc;

use tidegate_chassis::Drain;
use tidegate_edge::listener::{Config, Listener};

use crate::harness::{SmallApp, raw_h1, within};

/// The other process: this test's program, told to run [`the_other_process`] with the socket as descriptor 3.
async fn start(socket: &std::net::TcpListener) -> tokio::process::Child {
    let script = "exec 3<&0 </dev/null; export LISTEN_FDS=1 LISTEN_PID=$$; exec \"$0\" \"$@\"";
    let address = socket.local_addr().unwrap().to_string();
    tokio::process::Command::new("sh")
        .args(["-c", script])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "handover::the_other_process", "--ignored", "--nocapture"])
        .env("TIDEGATE_TEST_ADDRESS", address)
        .stdin(Stdio::from(std::os::fd::OwnedFd::from(socket.try_clone().unwrap())))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap()
}

#[tokio::test]
async fn a_restart_refuses_no_connection() {
    let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    let mut first = start(&socket).await;
    let mut client = raw_h1::connect(address).await;
    client.say("GET /bytes/5 HTTP/1.1\r\nhost: a\r\n\r\n").await;
    assert!(client.head().await.starts_with("HTTP/1.1 200"));
    first.kill().await.unwrap();

    // Nobody accepts now, but nobody refuses either.
    let mut waiting = raw_h1::connect(address).await;
    waiting.say("GET /bytes/5 HTTP/1.1\r\nhost: a\r\n\r\n").await;
    let mut second = start(&socket).await;
    assert!(within(waiting.head()).await.starts_with("HTTP/1.1 200"));
    second.kill().await.unwrap();
}

#[tokio::test]
#[ignore = "run by the story above in a process of its own"]
async fn the_other_process() {
    let Ok(address) = std::env::var("TIDEGATE_TEST_ADDRESS") else { return };
    let address: SocketAddr = address.parse().unwrap();
    let config = Config { http: vec![address], h3: false, workers: 2, ..Config::default() };
    let listener = Listener::bind(&config, &prometheus::Registry::new()).await.unwrap();
    listener.serve(Arc::new(SmallApp::new()), Drain::new()).await.unwrap();
}

//! A node as its own process, with its admin port.

use std::{
    fs,
    net::SocketAddr,
    path::Path,
    process::{Child, Command, Stdio},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use super::{geo, until};

/// A running `tidegate-geo serve`.
pub(crate) struct Program {
    child: Child,
    /// Its admin port.
    pub(crate) admin: SocketAddr,
    /// Its UDP socket.
    pub(crate) address: SocketAddr,
}

impl Program {
    /// Starts it with files in the folder, and waits until it is ready.
    pub(crate) async fn start(folder: &Path, more: &str) -> Self {
        geo::write_files(folder);
        let (config, ready) = (folder.join("geo.toml"), folder.join("ready.json"));
        let process = format!("[process]\nready_file = \"{}\"\n", ready.display());
        fs::write(&config, geo::configuration(folder, more) + &process).expect("writable");
        let child = Command::new(env!("CARGO_BIN_EXE_tidegate-geo"))
            .arg("serve")
            .arg("--config")
            .arg(config)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("the program");
        let mut found = None;
        until("the start", async || {
            let text = fs::read(&ready).unwrap_or_default();
            found = serde_json::from_slice::<serde_json::Value>(&text).ok();
            found.is_some()
        })
        .await;
        let found = found.expect("it is ready");
        let address = |value: &serde_json::Value| {
            value.as_str().and_then(|text| text.parse().ok()).expect("an address")
        };
        Self {
            child,
            admin: address(&found["admin"]),
            address: address(&found["listeners"]["udp"]),
        }
    }

    /// Drains it; how it ended.
    pub(crate) async fn end(mut self) -> Option<i32> {
        post(self.admin, "/drain").await;
        let mut code = None;
        until("the end", async || {
            code = self.child.try_wait().expect("a child");
            code.is_some()
        })
        .await;
        code.and_then(|code| code.code())
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Status and body of an answer of the admin port.
pub(crate) async fn get(admin: SocketAddr, path: &str) -> (u16, String) {
    http(admin, "GET", path).await
}

/// As [`get`], for what changes something.
pub(crate) async fn post(admin: SocketAddr, path: &str) -> (u16, String) {
    http(admin, "POST", path).await
}

async fn http(admin: SocketAddr, method: &str, path: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(admin).await.expect("loopback");
    let head = format!("{method} {path} HTTP/1.0\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n");
    stream.write_all(head.as_bytes()).await.expect("loopback");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("text");
    let (head, body) = answer.split_once("\r\n\r\n").expect("an answer");
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
    (status.expect("a status"), body.to_owned())
}

//! What was acknowledged survives `kill -9` of the process that acknowledged it.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
};

use serde_json::{Value, json};

use crate::harness::{Program, until, within};

struct Caller {
    http: reqwest::Client,
    token: String,
}

impl Caller {
    async fn new(folder: &std::path::Path) -> Self {
        tidegate_chassis::init_crypto();
        let words = ["token", "create", "--scope", "admin"];
        let token = Program::command(folder, &words).await.expect(0).stdout.trim().to_owned();
        let ca = Program::command(folder, &["ca", "show"]).await.expect(0).stdout;
        let ca = reqwest::Certificate::from_pem(ca.as_bytes()).expect("pem");
        let http = reqwest::Client::builder().tls_certs_only([ca]).build().expect("a client");
        Self { http, token }
    }

    async fn call(&self, method: &str, url: &str, body: &Value) -> Option<Value> {
        let method = method.parse().expect("a method");
        let request = self.http.request(method, url).bearer_auth(&self.token).json(body);
        let response = request.send().await.ok()?.error_for_status().ok()?;
        response.json().await.ok()
    }
}

#[tokio::test]
async fn every_purge_that_was_acknowledged_is_in_the_log_after_a_kill() {
    let folder = tempfile::tempdir().expect("a folder");
    let caller = Arc::new(Caller::new(folder.path()).await);
    let control = Program::serve(folder.path()).await;
    let acknowledged: Arc<Mutex<BTreeMap<u64, String>>> = Arc::default();
    let is_over = Arc::new(AtomicBool::new(false));

    let writers: Vec<_> = (0..16)
        .map(|writer| {
            let (caller, acknowledged) = (Arc::clone(&caller), Arc::clone(&acknowledged));
            let (is_over, api) = (Arc::clone(&is_over), control.api);
            tokio::spawn(async move {
                for n in 0.. {
                    if is_over.load(Ordering::Relaxed) {
                        return;
                    }
                    let order = json!({"kind": "key", "key": format!("w{writer}-{n}")});
                    let url = format!("https://localhost:{api}/v1/purges");
                    let Some(answer) = caller.call("POST", &url, &order).await else { continue };
                    let offset = answer["offset"].as_u64().expect("an offset");
                    let key = order["key"].as_str().expect("text").to_owned();
                    let before = acknowledged.lock().expect("no panic").insert(offset, key);
                    assert_eq!(before, None, "one offset for two purges");
                }
            })
        })
        .collect();
    until(async || (acknowledged.lock().expect("no panic").len() >= 400).then_some(())).await;
    control.kill().await;
    is_over.store(true, Ordering::Relaxed);
    for writer in writers {
        within(writer).await.expect("no panic");
    }

    let control = Program::serve(folder.path()).await;
    let log = read_log(&caller, control.api).await;
    let offsets: Vec<_> = log.keys().copied().collect();
    assert_eq!(offsets, (1..=offsets.len() as u64).collect::<Vec<_>>(), "no holes");
    for (offset, key) in acknowledged.lock().expect("no panic").iter() {
        assert_eq!(log.get(offset), Some(key), "{offset}");
    }
}

#[tokio::test]
async fn one_process_alone_uses_a_data_folder() {
    let folder = tempfile::tempdir().expect("a folder");
    let _first = Program::serve(folder.path()).await;
    let words = ["serve", "--api", "127.0.0.1:0", "--sync", "127.0.0.1:0"];
    let second = Program::command(folder.path(), &words).await.expect(1);
    assert!(second.stderr.contains("another control plane"), "{}", second.stderr);
}

async fn read_log(caller: &Caller, api: u16) -> BTreeMap<u64, String> {
    let mut log = BTreeMap::new();
    loop {
        let after = log.last_key_value().map_or(0, |(offset, _)| *offset);
        let url = format!("https://localhost:{api}/v1/purges?after={after}&limit=500");
        let page = within(caller.call("GET", &url, &Value::Null)).await.expect("readable");
        let purges = page["purges"].as_array().expect("a list");
        if purges.is_empty() {
            return log;
        }
        for purge in purges {
            let key = purge["order"]["key"].as_str().expect("text").to_owned();
            log.insert(purge["offset"].as_u64().expect("an offset"), key);
        }
    }
}

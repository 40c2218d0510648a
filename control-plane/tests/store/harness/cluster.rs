//! Replicas of one control plane over one etcd, and an operator.
//!
//! Each replica is a process with a data folder of its own, set up as the operator's guide says.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
};

use serde_json::Value;
use tempfile::TempDir;

use super::{Caller, Etcd, Node, Program, until};

/// Replicas that run.
pub(crate) struct Cluster {
    pub(crate) etcd: Etcd,
    pub(crate) folder: TempDir,
    /// Those that run, in the order in which they were started.
    pub(crate) replicas: Vec<Program>,
    pub(crate) caller: Caller,
}

impl Cluster {
    /// So many replicas over an etcd; the keys of the first are copied to the others.
    pub(crate) async fn start(etcd: Etcd, count: usize) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let store = etcd.config();
        let place = |n: usize| folder.path().join(n.to_string());
        std::fs::create_dir(place(0)).expect("writable");
        let caller = Caller::new(&place(0), &store).await;
        let mut replicas = vec![Program::serve(&place(0), &store).await];
        for n in 1..count {
            copy_keys(&place(0), &place(n));
            replicas.push(Program::serve(&place(n), &store).await);
        }
        Self { etcd, folder, replicas, caller }
    }

    /// Where the APIs are.
    pub(crate) fn apis(&self) -> Vec<SocketAddr> {
        self.replicas.iter().map(|replica| replica.api).collect()
    }

    /// The folder of the replica that was started so manieth.
    pub(crate) fn place(&self, n: usize) -> PathBuf {
        self.folder.path().join(n.to_string())
    }

    /// The place of the leader among those that run, as one of them says.
    pub(crate) async fn leader(&self, asked: SocketAddr) -> usize {
        until(async || {
            let list = self.caller.call("GET", asked, "/v1/replicas", &Value::Null).await.ok()?;
            let items = list["items"].as_array().expect("a list");
            let leader = items.iter().find(|one| one["leads"] == true)?;
            let listens = leader["listens"].as_str().expect("text");
            let is_at = |one: &Program| listens.contains(&format!("api {} ", one.api));
            self.replicas.iter().position(is_at)
        })
        .await
    }

    /// A node that is enrolled at the first and follows purges at any of them.
    pub(crate) async fn node(&self, pop: &str, name: &str) -> Node {
        let path = format!("/v1/pops/{pop}/enrolment-tokens");
        let api = self.replicas[0].api;
        let made = self.caller.must("POST", api, &path, Value::Null).await;
        let token = made["token"].as_str().expect("a token").to_owned();
        let syncs = self.replicas.iter().map(|replica| replica.sync).collect();
        Node::start(&self.caller.ca_pem, syncs, &token, name).await
    }
}

/// Gives a replica's folder the keys of another's.
pub(crate) fn copy_keys(from: &Path, to: &Path) {
    let (from, to) = (from.join("data"), to.join("data"));
    std::fs::create_dir_all(&to).expect("writable");
    for name in ["ca.key", "ca.pem", "release.key", "records.key"] {
        std::fs::copy(from.join(name), to.join(name)).expect("a key file");
    }
}

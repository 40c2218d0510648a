//! Which parts of a program are ready, and which address each listener got.
//!
//! **Invariant.** A process is ready when it has named at least one part and every part it named is ready; before
//! the first part is named it is not, so a program may take its time to start.

use std::{collections::BTreeMap, net::SocketAddr, sync::Arc};

use tokio::sync::watch;

/// Everything known about readiness. Clones are the same.
#[derive(Debug, Clone)]
pub(crate) struct Readiness(Arc<watch::Sender<Status>>);

/// What is known at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Status {
    pub(crate) parts: BTreeMap<&'static str, bool>,
    pub(crate) listeners: BTreeMap<&'static str, SocketAddr>,
    pub(crate) admin: Option<SocketAddr>,
}

/// One part's say in whether the process is ready. Clones speak for the same part.
#[derive(Debug, Clone)]
pub struct ReadyPart {
    readiness: Readiness,
    part: &'static str,
}

impl ReadyPart {
    /// Says whether this part is ready. May change back and forth.
    pub fn set(&self, ready: bool) {
        self.readiness.change(|status| status.parts.insert(self.part, ready) != Some(ready));
    }
}

impl Readiness {
    /// Nothing named yet.
    pub(crate) fn new() -> Self {
        Self(Arc::new(watch::Sender::new(Status::default())))
    }

    /// Names a part. It is not ready until it says so; naming it again changes nothing.
    pub(crate) fn part(&self, part: &'static str) -> ReadyPart {
        self.change(|status| {
            let known = status.parts.len();
            status.parts.entry(part).or_insert(false);
            status.parts.len() != known
        });
        ReadyPart { readiness: self.clone(), part }
    }

    /// Notes the address a listener is bound to.
    pub(crate) fn announce(&self, listener: &'static str, addr: SocketAddr) {
        self.change(|status| status.listeners.insert(listener, addr) != Some(addr));
    }

    /// Notes the address of the admin port.
    pub(crate) fn announce_admin(&self, addr: SocketAddr) {
        self.change(|status| status.admin.replace(addr) != Some(addr));
    }

    /// What is known now.
    pub(crate) fn status(&self) -> Status {
        self.0.borrow().clone()
    }

    /// To be told of every change.
    pub(crate) fn subscribe(&self) -> watch::Receiver<Status> {
        self.0.subscribe()
    }

    fn change(&self, change: impl FnOnce(&mut Status) -> bool) {
        self.0.send_if_modified(change);
    }
}

impl Status {
    /// Whether every part is ready, and there is one.
    pub(crate) fn is_ready(&self) -> bool {
        !self.parts.is_empty() && self.parts.values().all(|ready| *ready)
    }

    /// The parts that are not ready.
    pub(crate) fn waiting(&self) -> Vec<&'static str> {
        self.parts.iter().filter(|(_, ready)| !**ready).map(|(part, _)| *part).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_ready_when_all_its_named_parts_are() {
        let readiness = Readiness::new();
        assert!(!readiness.status().is_ready(), "nothing is named yet");

        let cache = readiness.part("cache");
        let listener = readiness.part("listener");
        assert_eq!(readiness.status().waiting(), ["cache", "listener"]);

        cache.set(true);
        assert_eq!(readiness.status().waiting(), ["listener"]);
        listener.set(true);
        assert!(readiness.status().is_ready());

        readiness.part("cache");
        assert!(readiness.status().is_ready(), "naming a part again does not unset it");
        cache.clone().set(false);
        assert!(!readiness.status().is_ready());
    }

    #[test]
    fn only_changes_wake_a_subscriber() {
        let readiness = Readiness::new();
        let cache = readiness.part("cache");
        let mut changes = readiness.subscribe();
        changes.mark_unchanged();

        cache.set(false);
        assert!(!changes.has_changed().unwrap());
        readiness.announce("http", SocketAddr::from(([127, 0, 0, 1], 80)));
        assert!(changes.has_changed().unwrap());
    }
}

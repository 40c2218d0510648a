//! What waits to be written to disk.
//!
//! Whoever puts something in never waits: what finds no room is not written. That something is gone always finds
//! room, as far as a limit beyond which everything on disk is given up. Invariant: what was forgotten while it waited,
//! or while it was being written, does not come back.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, mpsc},
    time::Duration,
};

use crate::cache::{
    key::Key,
    object::{Head, Object},
    variants::Variants,
};

/// The jobs, oldest first.
pub(super) struct Queue {
    state: Mutex<State>,
    wake: Condvar,
    bytes_max: u64,
}

/// Something to be written.
pub(super) enum Job {
    /// A response, and whether an older one may stand on disk under its key.
    Object { key: Key, object: Arc<Object>, replaces: bool },
    /// The variants of a resource.
    Variants(Key, Arc<Variants>),
    /// A newer head for the object that a fill made.
    Head(Key, u64, Arc<Head>),
    /// Nothing stands under this key any more.
    Gone(Key),
    /// Say when everything before this was written.
    Settle(mpsc::SyncSender<()>),
    /// Close the file and end.
    Close(mpsc::SyncSender<()>),
}

/// What the writer does next.
pub(super) enum Next {
    Job(Job),
    /// Give up everything: more went than could be remembered.
    Wipe,
    Nothing,
}

#[derive(Default)]
struct State {
    jobs: VecDeque<Job>,
    bytes: u64,
    gone: usize,
    /// The key of the job in work, unless it was forgotten meanwhile.
    in_work: Option<Key>,
    /// Heads that wait: they count already.
    heads: HashMap<Key, (u64, Arc<Head>)>,
    must_wipe: bool,
}

impl Queue {
    pub(super) fn new(bytes_max: u64) -> Self {
        Self { state: Mutex::default(), wake: Condvar::new(), bytes_max }
    }

    /// Puts a job in; false when there is no room.
    pub(super) fn push(&self, job: Job) -> bool {
        let mut state = self.state();
        let weight = weight(&job);
        match &job {
            Job::Gone(_) if state.gone >= GONE_MAX => {
                state.must_wipe = true;
                self.wake.notify_one();
                return true;
            }
            Job::Gone(_) => state.gone += 1,
            Job::Object { .. } | Job::Variants(..) | Job::Head(..) => {
                if state.bytes + weight > self.bytes_max {
                    return false;
                }
            }
            Job::Settle(_) | Job::Close(_) => {}
        }
        if let Job::Head(key, fill, head) = &job {
            state.heads.insert(*key, (*fill, head.clone()));
        }
        state.bytes += weight;
        state.jobs.push_back(job);
        self.wake.notify_one();
        true
    }

    /// Has everything on disk given up.
    pub(super) fn wipe(&self) {
        self.state().must_wipe = true;
        self.wake.notify_one();
    }

    /// Forgets what waits for a key and what is in work for it; whether some of it may be on disk already.
    pub(super) fn forget(&self, key: &Key) -> bool {
        let mut state = self.state();
        state.heads.remove(key);
        let is_in_work = state.in_work == Some(*key);
        if is_in_work {
            state.in_work = None;
        }
        let is_other = |job: &Job| !matches!(job, Job::Object { key: k, .. } | Job::Variants(k, _) | Job::Head(k, ..) if k == key);
        if !state.jobs.iter().all(is_other) {
            state.jobs.retain(is_other);
            state.bytes = state.jobs.iter().map(weight).sum();
        }
        is_in_work
    }

    /// The newest head of the object that a fill made, while it waits.
    pub(super) fn waiting_head(&self, key: &Key, fill: u64) -> Option<Arc<Head>> {
        let state = self.state();
        state.heads.get(key).filter(|(of, _)| *of == fill).map(|(_, head)| head.clone())
    }

    /// The next job; waits for one at most so long.
    pub(super) fn next(&self, wait: Duration) -> Next {
        let mut state = self.state();
        if state.jobs.is_empty() && !state.must_wipe {
            let waited = self.wake.wait_timeout(state, wait);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        if std::mem::take(&mut state.must_wipe) {
            state.jobs.retain(|job| !matches!(job, Job::Gone(_)));
            state.gone = 0;
            return Next::Wipe;
        }
        let Some(job) = state.jobs.pop_front() else { return Next::Nothing };
        state.bytes -= weight(&job);
        state.in_work = key_of(&job);
        if matches!(job, Job::Gone(_)) {
            state.gone -= 1;
        }
        Next::Job(job)
    }

    /// Ends the job in work: `publish` is called unless its key was forgotten meanwhile.
    pub(super) fn finish(&self, publish: impl FnOnce()) {
        let mut state = self.state();
        if let Some(key) = state.in_work.take() {
            // A newer head that came meanwhile still waits.
            let is_waiting =
                state.jobs.iter().any(|job| matches!(job, Job::Head(k, ..) if *k == key));
            if !is_waiting {
                state.heads.remove(&key);
            }
            publish();
        }
    }

    /// Bytes of objects that wait.
    pub(super) fn bytes(&self) -> u64 {
        self.state().bytes
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn weight(job: &Job) -> u64 {
    match job {
        Job::Object { object, .. } => object.weight(),
        Job::Variants(_, variants) => variants.weight(),
        Job::Head(_, _, head) => crate::cache::object::weight(head, 0),
        Job::Gone(_) | Job::Settle(_) | Job::Close(_) => 0,
    }
}

fn key_of(job: &Job) -> Option<Key> {
    match job {
        Job::Object { key, .. } | Job::Variants(key, _) | Job::Head(key, ..) => Some(*key),
        Job::Gone(_) | Job::Settle(_) | Job::Close(_) => None,
    }
}

/// Keys that are gone and whose notes wait to be written, at about 32 bytes each.
const GONE_MAX: usize = 65_536;

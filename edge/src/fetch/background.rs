//! Asks of upstream that no client waits for: revalidation of what is served stale, another origin for a playlist that
//! stands still, segments ahead of a viewer.
//!
//! Invariant: at most one of them runs for a resource.

use std::sync::Arc;

use super::{
    ahead::{note_standstill, upstreams},
    job::{Confirmable, Job},
    look::{Asked, Look, look},
    playlists::segment,
    prefetch::Place,
    shared::Shared,
    wanted::{Route, Wanted},
};
use crate::cache::{media_class::MediaClass, store::Found};

/// Starts a job, and what its end may call for.
pub(super) fn spawn(job: Job) {
    let (shared, wanted) = (job.shared.clone(), job.wanted.clone());
    tokio::spawn(async move {
        if job.run().await {
            note_standstill(&shared, &wanted);
            ask_another(&shared, &wanted);
        }
    });
}

/// Revalidates what is being served stale, unless somebody asks upstream already.
pub(super) fn revalidate(shared: &Arc<Shared>, wanted: &Wanted, found: &Found) {
    let wanted = Wanted { home: shared.home(wanted), ..wanted.behind_the_scenes() };
    let Some(seat) = shared.collapse.lead(shared.slot(&wanted)) else { return };
    count(shared, "revalidation");
    let stale = Confirmable::of(found, true);
    spawn(Job {
        shared: shared.clone(),
        wanted: Arc::new(wanted),
        seat: Some(seat),
        reply: None,
        interim: None,
        stale: Some(stale),
        instead: None,
        is_wanted_anyway: true,
    });
}

/// Asks for a playlist once more, now that its origin is known to stand still: the next one is asked first.
fn ask_another(shared: &Arc<Shared>, wanted: &Wanted) {
    if upstreams(wanted) > 1 {
        begin(shared, wanted.behind_the_scenes(), "stalled", None);
    }
}

/// Fetches segments ahead of one that was asked for: those that follow it in the playlist, and those that the client or
/// the origin names.
pub(super) fn prefetch(shared: &Arc<Shared>, wanted: &Wanted, named: &[String]) {
    let count_max = wanted.route.property().cache.prefetch.segments;
    // A sibling that asks fetches ahead itself, each segment from its own owner.
    if count_max == 0 || wanted.is_for_sibling {
        return;
    }
    let mut key = wanted.route.key;
    for _ in 0..count_max {
        let Some(path) = shared.playlists.after(&key) else { break };
        key = prefetch_one(shared, wanted, &path);
    }
    for path in named.iter().take(count_max.into()) {
        prefetch_one(shared, wanted, path);
    }
}

fn prefetch_one(shared: &Arc<Shared>, wanted: &Wanted, path: &str) -> crate::cache::key::Key {
    let (key, path) = segment(&wanted.route, path);
    if key == wanted.route.key {
        return key;
    }
    let class = MediaClass::of(&path, None);
    let route = Route { key, class, path: path.to_string(), ..wanted.route.clone() };
    let next = Wanted { route, ..wanted.behind_the_scenes() };
    let asked = Asked::of(&next, shared.now());
    if shared.unstorable.has(&key) || !matches!(look(shared, &asked), Look::Nothing) {
        shared.prefetches.count("known");
        return key;
    }
    if let Some(place) = shared.prefetches.admit(key) {
        let next = Wanted { home: shared.home(&next), ..next };
        begin(shared, next, "prefetch", Some(place));
    }
    key
}

fn begin(shared: &Arc<Shared>, wanted: Wanted, why: &'static str, place: Option<Place>) {
    let Some(seat) = shared.collapse.lead(shared.slot(&wanted)) else { return };
    count(shared, why);
    let job = Job {
        shared: shared.clone(),
        wanted: Arc::new(wanted),
        seat: Some(seat),
        reply: None,
        interim: None,
        stale: None,
        instead: None,
        is_wanted_anyway: true,
    };
    match place {
        None => spawn(job),
        Some(place) => {
            tokio::spawn(async move {
                job.run().await;
                drop(place);
            });
        }
    }
}

fn count(shared: &Shared, why: &'static str) {
    shared.parts.metrics.background.with_label_values(&[why]).inc();
}

//! Looking into a live playlist before anybody gets it: one that stands still is asked of the next upstream first.
//!
//! Only when the last copy has been the same for so long that one more of it would be a standstill; all others pass
//! while they arrive. Invariant: a copy that stands still is served only when no other upstream has one that is as far.

use http::{HeaderMap, Method, StatusCode};

use super::{
    playlist::Position,
    pump::{PLAYLIST_BYTES_MAX, manifest},
    shared::{Question, Shared},
    wanted::Wanted,
};
use crate::{
    cache::{confirm, object::Head},
    error::Failure,
    upstream::{Answer, Home, Interim},
};

/// An answer, and what was known of purges before it was asked for.
pub(super) struct Asked {
    pub(super) answer: Answer,
    pub(super) born: u64,
}

/// What a copy of a playlist is.
enum Copy {
    /// It moves, or is no playlist that has to.
    Moves(Option<Position>),
    /// The same as before, for too long.
    StandsStill(Position),
}

/// Asks upstream with these headers; `stale` is what is stored and may be confirmed.
pub(super) async fn ask(
    shared: &Shared,
    wanted: &Wanted,
    headers: HeaderMap,
    interim: Option<Interim>,
    stale: Option<&Head>,
) -> Result<Asked, Failure> {
    let has_another = upstreams(wanted) > 1;
    if !has_another || !shared.playlists.is_due(&wanted.route) {
        return once(shared, wanted, headers, interim).await;
    }
    let mut first = once(shared, wanted, headers.clone(), interim).await?;
    let Copy::StandsStill(position) = look(shared, wanted, &mut first.answer, stale).await else {
        return Ok(first);
    };
    note_standstill(shared, wanted);
    // From now on the one that stands still is asked last.
    let second = once(shared, wanted, headers, None).await;
    if let Some(mut second) = second.ok().filter(|asked| is_copy(&asked.answer, stale)) {
        match look(shared, wanted, &mut second.answer, stale).await {
            // One that is behind would send players back.
            Copy::Moves(Some(other)) if other < position => {}
            Copy::Moves(_) | Copy::StandsStill(_) => return Ok(second),
        }
    }
    shared.playlists.forgive(&wanted.route, first.answer.from);
    Ok(first)
}

/// Counts a playlist that stands still.
pub(super) fn note_standstill(shared: &Shared, wanted: &Wanted) {
    shared.parts.metrics.stalled.inc();
    tracing::warn!(host = wanted.route.host, "a live playlist stands still");
}

/// Upstreams that may be asked for something.
pub(super) fn upstreams(wanted: &Wanted) -> usize {
    let siblings = usize::from(matches!(wanted.home, Some(Home::Sibling(_))));
    siblings + wanted.route.property().origins.len() + wanted.route.policy.snapshot.shields.len()
}

async fn once(
    shared: &Shared,
    wanted: &Wanted,
    headers: HeaderMap,
    interim: Option<Interim>,
) -> Result<Asked, Failure> {
    let born = shared.born(&wanted.route);
    let question = Question { method: Method::GET, headers, body: None, interim };
    Ok(Asked { answer: shared.ask(wanted, question).await?, born })
}

/// Whether an answer could stand in place of the copy at hand.
fn is_copy(answer: &Answer, stale: Option<&Head>) -> bool {
    answer.status.is_success() || answer.status == StatusCode::NOT_MODIFIED && stale.is_some()
}

async fn look(shared: &Shared, wanted: &Wanted, answer: &mut Answer, stale: Option<&Head>) -> Copy {
    let route = &wanted.route;
    if answer.status == StatusCode::NOT_MODIFIED {
        let does_confirm =
            stale.is_some_and(|stale| confirm::does_confirm(&stale.headers, &answer.headers));
        let position = shared.playlists.position(route).filter(|_| does_confirm);
        return match position {
            Some(position) if shared.playlists.saw_again(route, answer.from) => {
                Copy::StandsStill(position)
            }
            position => Copy::Moves(position),
        };
    }
    if !answer.status.is_success() {
        return Copy::Moves(None);
    }
    let Some(text) = answer.body.look_ahead(PLAYLIST_BYTES_MAX).await else {
        return Copy::Moves(None);
    };
    match manifest(&text) {
        Some(playlist) if shared.playlists.saw(route, &playlist, answer.from) => {
            Copy::StandsStill(playlist.position)
        }
        playlist => Copy::Moves(playlist.map(|playlist| playlist.position)),
    }
}

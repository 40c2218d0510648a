//! What happens when the store alone does not answer: upstream is asked once for all who want the same, its answer is
//! stored while it arrives, and everybody reads from there.
//!
//! | what                                                         | file            |
//! |--------------------------------------------------------------|-----------------|
//! | one exchange, from its first look to its answer              | `fetcher.rs`    |
//! | what nobody waits for                                        | `background.rs`, `prefetch.rs` |
//! | what is known of a resource, for operators                   | `explain.rs`    |
//! | what an unsafe method changed                                | `invalidate.rs` |
//! | the answer to a POST that stands for the resource           | `posted.rs`     |
//! | a body that arrives with a purge                             | `replace.rs`    |
//! | reading a body, whole or from slice to slice                 | `content.rs`, `reading.rs`, `walk.rs` |
//! | a body that grows too large while it is read                 | `relay.rs`      |
//! | one ask of upstream as a task; bytes into a fill             | `job.rs`, `pump.rs` |
//! | where a body broke off or drips, the rest from somebody else | `rest.rs`, `pace.rs` |
//! | which slice; is the answer that one                          | `slice.rs`      |
//! | may it be stored, as what                                    | `admit.rs`      |
//! | is something stored, what is it good for                     | `look.rs`       |
//! | who asks, who waits                                          | `collapse.rs`   |
//! | live playlists                                               | `ahead.rs`, `playlists.rs`, `live.rs`, `playlist.rs`, `mpd.rs` |
//!
//! Invariant: a fill is a task of its own; no client's speed or departure changes what the others get.

mod fetcher; // the face
mod explain; // for operators
mod background; // what nobody waits for
mod invalidate; // what an unsafe method changed
mod posted; // the answer to a POST that stands for the resource
mod replace; // a body that arrives with a purge
mod content; // a body, wherever it comes from
mod reading; // beyond what can go wrong on the way
mod walk; // from slice to slice
mod job; // one ask of upstream
mod ahead; // looking into a playlist before anybody gets it
mod pump; // bytes into a fill
mod pace; // what comes too slowly
mod rest; // of a body that broke off
mod slice; // aligned slices
mod admit; // may it be stored, as what
mod look; // is something stored, what is it good for
mod shared; // what all fetches share
mod prefetch; // how much is fetched ahead
mod relay; // what grows too large passes on
mod playlists; // what is remembered of playlists
mod live; // does one stand still
mod mpd; // reading one of DASH
mod playlist; // reading one of HLS
mod memory; // bounded hints
mod collapse; // who asks, who waits
mod tier; // between nodes
mod metrics;
mod config;
mod wanted; // a request, free of its stream
#[cfg(test)]
mod testing;

pub(crate) use self::admit::date;
pub use self::{
    config::{Config, ConfigError},
    content::Content,
    fetcher::{Fetcher, Got, How},
    job::Forward,
    look::{Asked, Look, Stale},
    metrics::Metrics,
    playlist::segments_of,
    shared::Parts,
    tier::{NodeName, child, is_loop},
    walk::{Lost, Walk},
    wanted::{Client, Failed, Route, Wanted},
};

//! Which videos there are, and who watches what: a list, Zipf over it, and a head that changes. Pure.
//!
//! Invariant: what a session watches depends on the seed, the session's number and its time alone.

mod list;
mod popularity;

pub use self::{
    list::{ListError, VIDEOS_MAX, parse_feed, parse_list},
    popularity::{Popularity, Ranking},
};

//! The catalog: videos, the media they show, and what state a media is in.
//!
//! A video is what a person uploaded; a media is a distinct content. Several videos may show one media.
//! **Invariant.** A media only moves forward: what was playable stays playable until its last video is deleted.

mod api;
mod config;
mod events;
mod jobs;
pub mod model;
pub mod store;
mod view;

pub use api::routes;
pub use config::Config;
pub use jobs::remove_garbage;

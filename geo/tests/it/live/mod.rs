//! The map of now: feeds that come and go, PoPs that die, files that change, and nobody who is left without an answer.

mod admin;
mod asked;
mod control;
mod fail_static;
mod files;
mod node;
mod pop;
mod probe;
mod told;

//! One viewer: events in, requests out. Knows neither sockets nor clocks: time is handed in.
//!
//! Invariant: the same plan, seed and events give the same actions.

mod session;
mod video;
mod track;
mod world;
mod steering;
mod documents;
mod cmcd;
mod reload;
mod retry;
mod abr;
mod playhead;
mod timeline;
mod buffer;
mod plan;
mod behaviour;
mod event;

pub use self::{
    behaviour::{AbrRule, Behaviour, BehaviourError, CmcdMode, Watch},
    event::{Action, Event, FetchId, Request, Stall, Status, View, ViewEnd},
    plan::{Plan, SessionToken},
    session::Player,
};

#[cfg(test)]
mod tests;

//! A player on a simulated link, with servers that are scripted: nothing here waits, and every figure is computed.

mod simulation;
mod content;
mod viewing;
mod documents;
mod failing;
mod live;
mod growing;
mod session;
mod steering;
mod properties;
mod hostile;

//! Stories of real processes: a control plane and the agents of PoPs.

mod rig;
mod rotation;
mod storm;

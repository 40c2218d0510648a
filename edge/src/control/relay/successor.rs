//! The process that follows this one: what it applies is applied here as well, for the last connections.
//!
//! Invariant: what cannot be understood is taken for a purge of everything, and never said to be applied.

use std::{
    collections::BTreeMap,
    io,
    time::{Duration, SystemTime},
};

use tidegate_contract::{
    id::StreamId,
    purge::{PurgeOrder, PurgeTarget},
};
use tokio::{
    io::{AsyncWriteExt, BufReader},
    net::{
        UnixStream,
        unix::{OwnedReadHalf, OwnedWriteHalf},
    },
};

use super::{Said, Told, read_line};
use crate::cache::{lease::Lease, purge::PurgeTable};

/// What is moved by what it tells.
#[derive(Clone)]
pub(in crate::control) struct Successor {
    pub(in crate::control) purges: PurgeTable,
    pub(in crate::control) lease: Lease,
}

impl Successor {
    /// Listens to it until it says nothing more, and says what is applied here until it has ended.
    pub(in crate::control) async fn listen(self, line: UnixStream) {
        let (read, write) = line.into_split();
        let (heard, said) = tokio::join!(self.hear(read), self.say(write));
        for error in [heard, said].into_iter().filter_map(Result::err) {
            tracing::warn!(%error, "the process that follows does not tell of purges any more");
        }
    }

    async fn hear(&self, read: OwnedReadHalf) -> io::Result<()> {
        let mut applied = self.lease.seen();
        let (mut read, mut line) = (BufReader::new(read), Vec::new());
        while let Some(told) = read_line(&mut read, &mut line).await? {
            match told {
                Ok(told) => self.take(told, &mut applied),
                Err(error) => {
                    tracing::error!(%error, "the process that follows is not understood");
                    self.purges.apply(&anything());
                }
            }
        }
        Ok(())
    }

    fn take(&self, told: Told, applied: &mut BTreeMap<StreamId, u64>) {
        let (stream, offset) = match told {
            Told::Purge { stream, offset, order } => {
                if applied.get(&stream).is_some_and(|applied| *applied >= offset) {
                    return; // Heard from the control plane itself.
                }
                self.purges.apply(&serde_json::from_value(order).unwrap_or_else(|_| anything()));
                (stream, offset)
            }
            Told::Began { stream, offset } => {
                self.purges.suspect_mutable();
                (stream, offset)
            }
            Told::Heard { at_unix_ms, head } => {
                for (stream, offset) in &head {
                    self.lease.set_head(stream, *offset);
                }
                // When the other heard it: this process may have slept meanwhile.
                let at = Duration::from_millis(at_unix_ms);
                if let Some(at) = SystemTime::UNIX_EPOCH.checked_add(at) {
                    self.lease.heartbeat(at);
                }
                return;
            }
        };
        applied.insert(stream.clone(), offset);
        self.purges.note_position(&stream, offset);
        self.lease.set_applied(&stream, offset);
    }

    /// Says what is applied, and durable where anything is, whenever that is more.
    async fn say(&self, mut write: OwnedWriteHalf) -> io::Result<()> {
        let (mut durable, mut applied) = (self.purges.durable(), self.lease.applied());
        loop {
            let positions = match &mut durable {
                Some(durable) => durable.borrow_and_update().positions.clone(),
                None => applied.borrow_and_update().clone(),
            };
            let mut line = serde_json::to_vec(&Said::Applied(positions))?;
            line.push(b'\n');
            write.write_all(&line).await?;
            let changed = match &mut durable {
                Some(durable) => durable.changed().await,
                None => applied.changed().await,
            };
            if changed.is_err() {
                return Ok(()); // This process ends.
            }
        }
    }
}

/// What may name anything: everything is revalidated.
fn anything() -> PurgeOrder {
    PurgeOrder { target: PurgeTarget::All, soft: true }
}

#[cfg(test)]
mod tests {
    use tidegate_chassis::Clock;
    use tidegate_contract::surrogate_key::SurrogateKey;

    use super::{super::Predecessor, *};
    use crate::cache::purge::{Limits, Verdict};

    fn stream() -> StreamId {
        StreamId::parse("main").unwrap()
    }

    fn order(key: &str) -> PurgeOrder {
        PurgeOrder {
            target: PurgeTarget::Key { key: SurrogateKey::parse(key).unwrap() },
            soft: false,
        }
    }

    #[tokio::test]
    async fn a_purge_is_applied_on_the_other_side_and_counts_only_then() {
        let clock = Clock::system();
        let purges = PurgeTable::new(clock.clone(), Limits::default());
        let lease = Lease::new(Duration::from_secs(5));
        lease.attach(purges.clone());
        lease.set_applied(&stream(), 7);
        let born = purges.seq();
        let (ours, theirs) = UnixStream::pair().unwrap();
        let (mut predecessor, telling) = Predecessor::at(ours);
        let told = tokio::spawn(telling);
        assert_eq!(predecessor.applied(), Some(BTreeMap::new()), "nothing is said yet");

        let successor = Successor { purges: purges.clone(), lease: lease.clone() };
        let listening = tokio::spawn(successor.listen(theirs));
        predecessor.purged(&stream(), 7, &order("a"));
        predecessor.purged(&stream(), 8, &order("b"));
        predecessor.heard(clock.now(), BTreeMap::from([(stream(), 8)]));
        while predecessor.applied().unwrap().get(&stream()) != Some(&8) {
            predecessor.changed().await;
        }
        let verdict =
            |key: &str| purges.verdict([SurrogateKey::parse(key).unwrap().hash()], born, true);
        assert_eq!((verdict("a"), verdict("b")), (Verdict::Valid, Verdict::Hard));
        while !lease.is_certain(clock.now()) {
            tokio::task::yield_now().await;
        }

        predecessor.began(&stream(), 100);
        while predecessor.applied().unwrap().get(&stream()) != Some(&100) {
            predecessor.changed().await;
        }
        assert_eq!(verdict("x"), Verdict::Suspect);

        listening.abort();
        told.await.unwrap();
        assert_eq!(predecessor.applied(), None, "the process has ended");
    }

    #[tokio::test]
    async fn what_is_not_understood_purges_everything_and_is_not_said_to_be_applied() {
        let purges = PurgeTable::new(Clock::system(), Limits::default());
        let successor =
            Successor { purges: purges.clone(), lease: Lease::new(Duration::from_secs(5)) };
        let (mut ours, theirs) = UnixStream::pair().unwrap();
        let born = purges.seq();
        let listening = tokio::spawn(successor.listen(theirs));
        ours.write_all(b"{\"later\":1}\n").await.unwrap();
        while purges.seq() == born {
            tokio::task::yield_now().await;
        }
        assert!(matches!(purges.verdict([], born, true), Verdict::Soft { .. }));
        let (mut said, mut line) = (BufReader::new(ours), Vec::new());
        let first = read_line::<Said>(&mut said, &mut line).await.unwrap().unwrap().unwrap();
        assert_eq!(first, Said::Applied(BTreeMap::new()));
        listening.abort();
    }
}

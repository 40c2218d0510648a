//! `tidegate-geo keys`: makes keys of signed zones, rolls them over, shows what the parent has to publish.
//!
//! Each call takes one step, or refuses it and says when it may be taken; nodes take what changed in the folder by
//! themselves. Invariant: no step is taken that a validator somewhere could trip over.

use std::{
    fmt::Write,
    path::PathBuf,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use clap::{Args, Subcommand};
use hickory_proto::rr::Name;
use tidegate_chassis::{ConfigArgs, Program, config};

use crate::{
    config::Config,
    dns::sign::{
        key_file::{Folder, Key},
        rollover::{Holding, Kind, Life, Next, State, Times, scheme},
        step::{Act, NotNow, kinds, step},
    },
};

/// What is done with keys.
#[derive(Debug, Args)]
pub struct Keys {
    /// The node's config; its section [dnssec] names the folder and what a roll-over waits for
    #[arg(long, value_name = "FILE", global = true)]
    config: Option<PathBuf>,
    /// The folder of the keys, where the config names none or another
    #[arg(long, value_name = "FOLDER", global = true)]
    keys: Option<PathBuf>,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Make the first key of a zone; it signs at once
    Generate {
        /// The zone
        zone: Name,
        /// csk signs everything; ksk and zsk share the work, and a zone needs both
        #[arg(long, default_value = "csk")]
        kind: Kind,
    },
    /// List keys, where they stand and what comes next
    List {
        /// The zone; without it all
        zone: Option<Name>,
    },
    /// Take the next step of replacing a key, or say when it may be taken
    Roll {
        /// The zone
        zone: Name,
        /// Which key, where the zone has a ksk and a zsk
        #[arg(long)]
        kind: Option<Kind>,
        /// The parent has the DS record of the new key, beside that of the old one
        #[arg(long)]
        ds_seen: bool,
    },
    /// Print the DS records that the parent is to have
    Ds {
        /// The zone
        zone: Name,
    },
}

impl Keys {
    /// Runs the command; gives back what is to be printed.
    ///
    /// # Errors
    /// Why it was not done.
    pub fn run(self, program: &Program) -> Result<String, String> {
        let args = ConfigArgs { config: self.config, ..ConfigArgs::default() };
        let config: Config =
            config::load(program, &args, toml::Table::new()).map_err(|error| error.to_string())?;
        let folder = self.keys.or(config.dnssec.keys.clone()).ok_or(
            "no folder of keys: neither --keys nor dnssec.keys of a config (--config) names one",
        )?;
        let folder = Folder::new(folder);
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        // Whole seconds are enough, and read better.
        let now = UNIX_EPOCH + Duration::from_secs(since.as_secs());
        let desk = Desk { folder, holding: config.dnssec.holding(), now };
        match self.verb {
            Verb::Generate { zone, kind } => desk.generate(&fqdn(&zone), kind),
            Verb::List { zone } => desk.list(zone.as_ref().map(fqdn).as_ref()),
            Verb::Roll { zone, kind, ds_seen } => desk.roll(&fqdn(&zone), kind, ds_seen),
            Verb::Ds { zone } => desk.ds(&fqdn(&zone)),
        }
    }
}

/// What the verbs work on.
struct Desk {
    folder: Folder,
    holding: Holding,
    now: SystemTime,
}

impl Desk {
    fn generate(&self, zone: &Name, kind: Kind) -> Result<String, String> {
        let there = if self.folder.exists() { self.all()? } else { vec![] };
        let there: Vec<Life> =
            there.iter().filter(|key| key.zone == *zone).map(|key| key.life).collect();
        if there.iter().any(|life| life.kind == kind) {
            return Err(format!("{zone} has a {kind}; `keys roll` replaces it"));
        }
        if there.iter().any(|life| (life.kind == Kind::Csk) != (kind == Kind::Csk)) {
            return Err(format!("{zone} has keys of other kinds; a csk stands alone"));
        }
        let times = Times { active: Some(self.now), ..Times::published(self.now) };
        let taken: Vec<u16> = there.iter().map(|life| life.tag).collect();
        let key = self.folder.generate(zone, kind, times, &taken).map_err(shown)?;
        let mut text = format!("made {}\n", line(&key));
        if kind.signs_keys() {
            text.push_str("once every node serves it, the parent is to publish\n");
            text.push_str(&ds_line(&key)?);
        }
        Ok(text)
    }

    fn list(&self, zone: Option<&Name>) -> Result<String, String> {
        let mut keys = self.all()?;
        keys.retain(|key| zone.is_none_or(|zone| key.zone == *zone));
        let mut text = String::new();
        while let Some(zone) = keys.first().map(|key| key.zone.clone()) {
            let of_zone: Vec<Key> = keys.extract_if(.., |key| key.zone == zone).collect();
            for key in &of_zone {
                text.push_str(&line(key));
                text.push('\n');
            }
            let lives: Vec<Life> = of_zone.iter().map(|key| key.life).collect();
            if let Err(error) = scheme(&lives) {
                let _ = writeln!(text, "  {zone} cannot be signed: {error}");
                continue;
            }
            for kind in kinds(&lives) {
                match self.holding.next(kind, &lives, self.now) {
                    Next::Publish => {}
                    next => {
                        let _ = writeln!(text, "  {zone} {kind}: {}", self.told(&next));
                    }
                }
            }
        }
        Ok(text)
    }

    fn roll(&self, zone: &Name, kind: Option<Kind>, ds_seen: bool) -> Result<String, String> {
        let mut keys = self.of(zone)?;
        let mut lives: Vec<Life> = keys.iter().map(|key| key.life).collect();
        let (kind, act) = match step(&self.holding, &lives, kind, ds_seen, self.now) {
            Ok(due) => due,
            Err(NotNow::NotYet(kind, next)) => {
                return Err(format!("{zone} {kind}: not yet: {}", self.told(&next)));
            }
            Err(error) => return Err(format!("{zone}: {error}")),
        };
        act.take(&mut lives, self.now);
        let mut text = String::new();
        match act {
            Act::Vouch(tag) => {
                let key = self.write(&mut keys, &lives, tag)?;
                let _ = writeln!(text, "noted: the parent has the DS record of {}", line(key));
                let next = self.holding.next(kind, &lives, self.now);
                if !matches!(next, Next::Activate { .. }) {
                    let _ = writeln!(text, "next: {}", self.told(&next));
                }
                return Ok(text);
            }
            Act::Publish => {
                let taken: Vec<u16> = lives.iter().map(|life| life.tag).collect();
                let times = Times::published(self.now);
                let key = self.folder.generate(zone, kind, times, &taken).map_err(shown)?;
                let _ = writeln!(text, "published {}", line(&key));
                if kind.signs_keys() {
                    text.push_str("the parent is to publish, beside the DS record that it has,\n");
                    text.push_str(&ds_line(&key)?);
                }
                lives.push(key.life);
            }
            Act::Activate { new, old } => {
                // The old one first: a crash between the two leaves a zone that is refused, not one that two keys sign.
                self.write(&mut keys, &lives, old)?;
                let key = self.write(&mut keys, &lives, new)?;
                let _ = writeln!(text, "active: {}", line(key));
                if kind.signs_keys() {
                    let _ = writeln!(text, "the parent may take away the DS record of key {old}");
                }
            }
            Act::Remove(tag) => {
                let key = find(&mut keys, tag)?;
                self.folder.remove(zone, key.life.kind, tag).map_err(shown)?;
                let _ = writeln!(text, "removed {}", line(key));
                return Ok(text);
            }
        }
        let _ = writeln!(text, "next: {}", self.told(&self.holding.next(kind, &lives, self.now)));
        Ok(text)
    }

    /// Writes the times that a key has after a step.
    fn write<'a>(
        &self,
        keys: &'a mut [Key],
        lives: &[Life],
        tag: u16,
    ) -> Result<&'a mut Key, String> {
        let key = find(keys, tag)?;
        if let Some(after) = lives.iter().find(|life| life.tag == tag) {
            key.life = *after;
        }
        self.folder.write_times(&key.zone, &key.life).map_err(shown)?;
        Ok(key)
    }

    fn ds(&self, zone: &Name) -> Result<String, String> {
        let keys = self.of(zone)?;
        let is_wanted =
            |key: &&Key| key.life.kind.signs_keys() && key.life.times.state() != State::Retired;
        keys.iter().filter(is_wanted).map(ds_line).collect()
    }

    fn all(&self) -> Result<Vec<Key>, String> {
        self.folder.read().map_err(shown)
    }

    fn of(&self, zone: &Name) -> Result<Vec<Key>, String> {
        let mut keys = self.all()?;
        keys.retain(|key| key.zone == *zone);
        if keys.is_empty() {
            return Err(format!("{zone} has no keys; `keys generate` makes the first"));
        }
        Ok(keys)
    }

    fn told(&self, next: &Next) -> String {
        match next {
            Next::Publish => "`keys roll` begins with a new key".to_owned(),
            Next::WaitForDs(tag) => format!(
                "`keys roll --ds-seen` once the parent has the DS record of key {tag} beside that of the old one"
            ),
            Next::Wait(until, what) if *until > self.now => {
                let left = until.duration_since(self.now).unwrap_or_default();
                let left = humantime::format_duration(left);
                format!("from {} on, in {left}: {what}", humantime::format_rfc3339_seconds(*until))
            }
            Next::Wait(..) => "`keys roll` now".to_owned(),
            Next::Activate { new, old } => {
                format!("`keys roll` lets key {new} sign in place of {old}")
            }
            Next::Remove(tag) => format!("`keys roll` removes key {tag}"),
        }
    }
}

fn find(keys: &mut [Key], tag: u16) -> Result<&mut Key, String> {
    keys.iter_mut().find(|key| key.life.tag == tag).ok_or_else(|| format!("key {tag} is gone"))
}

fn line(key: &Key) -> String {
    let Life { tag, kind, times } = key.life;
    let since = match times.state() {
        State::Published => times.published,
        State::Active => times.active.unwrap_or(times.published),
        State::Retired => times.retired.unwrap_or(times.published),
    };
    let since = humantime::format_rfc3339_seconds(since);
    format!("{} {kind} {tag:05} {} since {since}", key.zone, times.state())
}

fn ds_line(key: &Key) -> Result<String, String> {
    let ds = key.ds()?;
    Ok(format!("{} IN DS {ds}\n", key.zone))
}

fn fqdn(zone: &Name) -> Name {
    let mut zone = zone.to_lowercase();
    zone.set_fqdn(true);
    zone
}

fn shown(error: impl std::fmt::Display) -> String {
    error.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    fn desk(folder: &Folder, now: SystemTime) -> Desk {
        let config = crate::dns::sign::config::Config::default();
        Desk { folder: folder.clone(), holding: config.holding(), now }
    }

    fn states(folder: &Folder) -> Vec<State> {
        let mut keys = folder.read().expect("good");
        keys.sort_by_key(|key| key.life.times.published);
        keys.iter().map(|key| key.life.times.state()).collect()
    }

    #[test]
    fn a_csk_is_rolled_over_step_by_step_and_never_too_early() {
        let place = tempfile::tempdir().expect("a folder");
        let folder = Folder::new(place.path());
        let zone = fqdn(&"Example".parse().expect("a name"));
        let start = UNIX_EPOCH + Duration::from_secs(1_800_000_000);
        let at = |hours: u32| desk(&folder, start + hours * HOUR);
        let roll = |hours| at(hours).roll(&zone, None, false);
        assert!(roll(0).expect_err("no key").contains("keys generate"));
        let made = at(0).generate(&zone, Kind::Csk).expect("made");
        assert!(made.contains("example. IN DS ") && made.contains(" 13 2 "), "{made}");
        assert!(at(0).generate(&zone, Kind::Csk).expect_err("there").contains("keys roll"));
        assert!(at(0).generate(&zone, Kind::Zsk).is_err());
        assert!(at(1).roll(&zone, None, true).is_err());

        assert!(roll(1).expect("begun").contains("the parent is to publish"));
        assert_eq!(at(1).ds(&zone).expect("two").lines().count(), 2);
        assert!(roll(2).expect_err("no DS").contains("--ds-seen"));
        at(2).roll(&zone, None, true).expect("noted");
        let refused = roll(3).expect_err("too early");
        // DS: an hour of margin and a day of TTL after hour 2.
        assert!(refused.contains("from 2027-01-16T11:00:00Z on, in 1day"), "{refused}");
        assert!(roll(26).is_err());
        assert_eq!(states(&folder), [State::Active, State::Published]);
        assert!(roll(27).expect("activated").contains("may take away the DS record"));
        assert_eq!(states(&folder), [State::Retired, State::Active]);
        assert_eq!(at(27).ds(&zone).expect("one").lines().count(), 1);
        assert!(roll(51).expect_err("too early").contains("signature of the old key"));
        assert!(at(51).list(None).expect("good").contains("csk: from "));
        assert!(roll(52).expect("removed").starts_with("removed example. csk"));
        assert_eq!(states(&folder), [State::Active]);
    }

    #[test]
    fn a_zone_of_two_kinds_is_rolled_over_by_kind() {
        let place = tempfile::tempdir().expect("a folder");
        let folder = Folder::new(place.path());
        let zone: Name = "example.".parse().expect("a name");
        let at = |hours: u32| desk(&folder, UNIX_EPOCH + hours * HOUR);
        at(0).generate(&zone, Kind::Ksk).expect("made");
        assert!(
            at(0).list(None).expect("good").contains("cannot be signed: 0 active keys of kind zsk")
        );
        at(0).generate(&zone, Kind::Zsk).expect("made");
        assert!(at(0).generate(&zone, Kind::Csk).is_err());
        assert!(at(1).roll(&zone, None, false).expect_err("which").contains("--kind"));
        at(1).roll(&zone, Some(Kind::Zsk), false).expect("published");
        assert!(at(2).roll(&zone, Some(Kind::Zsk), false).is_err());
        at(3).roll(&zone, Some(Kind::Zsk), false).expect("activated");
        assert_eq!(at(3).list(Some(&zone)).expect("good").lines().count(), 4);
        assert_eq!(at(3).ds(&zone).expect("one").lines().count(), 1);
    }
}

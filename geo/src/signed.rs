//! How it stands with zones and with the keys that sign them, for operators.
//!
//! Invariant: what is told of a key is public; of the private one nothing is here.

use std::{sync::Arc, time::SystemTime};

use hickory_proto::rr::Name;
use serde_json::{Value, json};
use tidegate_contract::zone_keys::KeyProposal;

use crate::{
    dns::sign::{
        Signer,
        keeper::{Due, Keeper, Proposed, Refused, Wish},
        key_file::Key,
        keys::ZoneKeys,
        rollover::{Holding, Kind, Life, Next, State},
        step::{Act, kinds},
    },
    live::{Roll, Signing, Zones},
    zone::ZoneTable,
};

/// Answers how it stands with every zone of every source: which text serves, with which serial, and whether it is signed.
#[must_use]
pub fn zones(table: Arc<ZoneTable>, signer: Option<Arc<Signer>>) -> Zones {
    Arc::new(move || {
        let of = |mut standing: crate::zone::Standing| {
            let apex = standing.zone.as_ref().and_then(|zone| zone.parse::<Name>().ok());
            let is_signed = apex.is_some_and(|apex| {
                let apex = apex.to_lowercase();
                signer.as_ref().is_some_and(|signer| signer.signs(&apex))
            });
            if let Some(error) = &mut standing.error {
                *error = error.chars().take(ERROR_CHARS_MAX).collect();
            }
            let mut view = json!(standing);
            view["signed"] = json!(is_signed);
            view
        };
        json!({ "zones": table.standing().into_iter().map(of).collect::<Vec<_>>() })
    })
}

/// Answers where the keys stand that sign now, and what comes next for them.
#[must_use]
pub fn signing(keeper: Option<Arc<Keeper>>) -> Signing {
    Arc::new(move |zone| {
        let wanted = zone.map(fqdn).transpose()?;
        let Some(keeper) = &keeper else { return Ok(json!({ "zones": [] })) };
        let is_wanted = |apex: &Name| wanted.as_ref().is_none_or(|wanted| apex == wanted);
        // Before the keys: those of a revision that is told are shown with it.
        let apexes: Vec<Name> =
            keeper.signer().keys().zones().map(|zone| zone.apex().clone()).collect();
        let mut apexes: Vec<Name> = apexes.into_iter().filter(is_wanted).collect();
        apexes.sort_by_key(Name::to_ascii);
        let left_out = apexes.len().saturating_sub(ZONES_MAX);
        apexes.truncate(ZONES_MAX);
        let standings: Vec<_> = apexes.iter().map(|apex| keeper.standing(apex)).collect();
        let (keys, now) = (keeper.signer().keys(), SystemTime::now());
        let may_write = keeper.may_write();
        let of = |(apex, (revision, refused)): (&Name, (u64, Option<Refused>))| {
            let mut view = shown(keys.zone(apex)?, keeper.holding(), now);
            view["revision"] = json!(revision);
            view["may_write"] = json!(may_write);
            view["refused"] =
                json!(refused.map(|is| json!({ "revision": is.revision, "why": is.why })));
            Some(view)
        };
        let zones: Vec<Value> = apexes.iter().zip(standings).filter_map(of).collect();
        Ok(json!({ "zones": zones, "left_out": left_out }))
    })
}

/// Answers what the next step of a roll-over would make of the keys; nothing is changed by it.
#[must_use]
pub fn rolling(keeper: Option<Arc<Keeper>>) -> Roll {
    Arc::new(move |zone, kind, ds_seen, revision| {
        let zone = fqdn(zone)?;
        let keeper = keeper.as_ref().ok_or_else(|| format!("{zone} is not signed here"))?;
        let wish = Wish { zone: &zone, kind: kind.map(Kind::from), ds_seen, revision };
        Ok(json!(proposal(keeper.propose(&wish)?, SystemTime::now())))
    })
}

fn proposal(proposed: Proposed, now: SystemTime) -> KeyProposal {
    match proposed {
        Proposed::NotYet(kind, next) => {
            let (step, from, text) = worded(&next, now);
            let (step, from) = (step.to_owned(), from.map(time));
            KeyProposal { kind: kind.into(), step, text, from, next: None, ds: vec![], set: None }
        }
        Proposed::Due(Due { kind, act, new, set, ds, next }) => {
            let new = new.map_or_else(|| "a new key".to_owned(), |tag| format!("key {tag}"));
            let (step, text) = match act {
                Act::Publish if kind.signs_keys() => {
                    let ds = "the parent is to publish its DS record beside the old one";
                    ("publish", format!("{new} is published; {ds}"))
                }
                Act::Publish => ("publish", format!("{new} is published")),
                Act::Vouch(tag) => {
                    ("ds", format!("it is noted that the parent has the DS record of key {tag}"))
                }
                Act::Activate { new, old } if kind.signs_keys() => {
                    let ds = "the parent may take the DS record of the old one away";
                    ("activate", format!("key {new} signs in place of {old}; {ds}"))
                }
                Act::Activate { new, old } => {
                    ("activate", format!("key {new} signs in place of {old}"))
                }
                Act::Remove(tag) => ("remove", format!("key {tag} is removed for ever")),
            };
            let next = match worded(&next, now) {
                (_, Some(from), text) => format!("from {} on: {text}", time(from)),
                (_, None, text) => text,
            };
            KeyProposal {
                kind: kind.into(),
                step: step.to_owned(),
                text,
                from: None,
                next: Some(next),
                ds,
                set: Some(set),
            }
        }
    }
}

fn shown(zone: &ZoneKeys, holding: &Holding, now: SystemTime) -> Value {
    let lives: Vec<Life> = zone.keys().iter().map(|key| key.life).collect();
    let mut keys: Vec<&Key> = zone.keys().iter().collect();
    // In the order of life, the oldest first: one that comes and one that goes may be of the same second.
    let age = |key: &Key| match key.life.times.state() {
        State::Retired => 0,
        State::Active => 1,
        State::Published => 2,
    };
    keys.sort_by_key(|key| (key.life.kind, age(key), key.life.tag));
    let next = kinds(&lives)
        .into_iter()
        .map(|kind| step(zone.apex(), kind, &holding.next(kind, &lives, now), now));
    json!({
        "zone": zone.apex().to_ascii(),
        "keys": keys.into_iter().map(key).collect::<Vec<_>>(),
        "next": next.collect::<Vec<_>>(),
    })
}

fn key(key: &Key) -> Value {
    let Life { tag, kind, times } = key.life;
    let state = times.state();
    let since = match state {
        State::Published => times.published,
        State::Active => times.active.unwrap_or(times.published),
        State::Retired => times.retired.unwrap_or(times.published),
    };
    // What the parent is to have: of the one that signs, and of its successor.
    let is_vouched = kind.signs_keys() && state != State::Retired;
    let ds = is_vouched.then(|| key.ds().ok()).flatten();
    json!({
        "tag": tag,
        "kind": kind.to_string(),
        "algorithm": ALGORITHM,
        "state": state.to_string(),
        "since": time(since),
        "ds_seen": times.ds_seen.map(time),
        "ds": ds.map(|ds| format!("{} IN DS {ds}", key.zone)),
    })
}

/// The next step of a kind of key: what, from when on, by which command, and by which one without the control plane.
fn step(apex: &Name, kind: Kind, next: &Next, now: SystemTime) -> Value {
    let (what, from, text) = worded(next, now);
    let more = if matches!(next, Next::WaitForDs(_)) { " --ds-seen" } else { "" };
    let args = format!("roll {apex} --kind {kind}{more}");
    json!({
        "kind": kind.to_string(),
        "step": what,
        "from": from.map(time),
        "text": text,
        "command": format!("tidegate dns sign {args}"),
        "by_hand": format!("tidegate-geo keys {args}"),
    })
}

/// What comes next: in a word, from when on, in words.
fn worded(next: &Next, now: SystemTime) -> (&'static str, Option<SystemTime>, String) {
    match *next {
        Next::Publish => ("publish", None, "a new key may be published".to_owned()),
        Next::WaitForDs(tag) => {
            let text = "the parent is to publish the DS record of key";
            ("ds", None, format!("{text} {tag} beside the old one"))
        }
        Next::Wait(until, what) if until > now => ("wait", Some(until), what.to_owned()),
        Next::Wait(until, _) => ("wait", Some(until), "the wait is over".to_owned()),
        Next::Activate { new, old } => {
            ("activate", None, format!("key {new} may sign in place of {old}"))
        }
        Next::Remove(tag) => ("remove", None, format!("key {tag} may be removed")),
    }
}

fn fqdn(zone: &str) -> Result<Name, String> {
    let mut name = Name::from_ascii(zone).map_err(|error| format!("{zone:?}: {error}"))?;
    name.set_fqdn(true);
    Ok(name.to_lowercase())
}

fn time(time: SystemTime) -> String {
    humantime::format_rfc3339_seconds(time).to_string()
}

/// The only one that keys are made of: ECDSA P-256 with SHA-256 (RFC 6605).
const ALGORITHM: &str = "13 ECDSAP256SHA256";
/// Zones in one answer, which has a megabyte: four keys of some 400 bytes each at most, while two kinds are rolled over.
const ZONES_MAX: usize = 400;
/// Of why a zone is refused.
const ERROR_CHARS_MAX: usize = 200;

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use prometheus::Registry;
    use tidegate_chassis::Clock;
    use tidegate_contract::zone_keys::KeyKind;

    use super::*;
    use crate::dns::sign::{config::Config, key_file::Folder, rollover::Times};

    #[test]
    fn keys_are_told_with_what_comes_next_and_nothing_private() {
        let place = tempfile::tempdir().expect("a folder");
        let folder = Folder::new(place.path());
        let long_ago = UNIX_EPOCH + Duration::from_secs(1_000_000_000);
        let active = Times { active: Some(long_ago), ..Times::published(long_ago) };
        let zone = fqdn("Example").expect("a name");
        let old = folder.generate(&zone, Kind::Csk, active, &[]).expect("made");
        let times = Times::published(SystemTime::now());
        let new = folder.generate(&zone, Kind::Csk, times, &[old.life.tag]).expect("made");
        let config = Config { keys: Some(place.path().into()), ..Config::default() };
        let keeper = Keeper::open(&config, &Registry::new(), Clock::system())
            .expect("good")
            .expect("a folder");
        let keeper = Arc::new(keeper);
        let ask = signing(Some(keeper.clone()));

        let told = ask(Some("EXAMPLE.")).expect("good");
        let zone = &told["zones"][0];
        assert_eq!(
            (&zone["zone"], told["zones"].as_array().map(Vec::len)),
            (&json!("example."), Some(1))
        );
        let states: Vec<_> = zone["keys"].as_array().expect("a list").iter().collect();
        assert_eq!(
            (&states[0]["tag"], &states[0]["state"]),
            (&json!(old.life.tag), &json!("active"))
        );
        assert_eq!(
            (&states[1]["tag"], &states[1]["state"]),
            (&json!(new.life.tag), &json!("published"))
        );
        assert_eq!(states[0]["since"], "2001-09-09T01:46:40Z");
        let ds = states[1]["ds"].as_str().expect("a record");
        assert!(ds.starts_with(&format!("example. IN DS {} 13 2 ", new.life.tag)), "{ds}");
        let next = &zone["next"][0];
        assert_eq!((&next["step"], &next["kind"]), (&json!("ds"), &json!("csk")));
        assert_eq!(next["command"], "tidegate dns sign roll example. --kind csk --ds-seen");
        assert_eq!(next["by_hand"], "tidegate-geo keys roll example. --kind csk --ds-seen");
        assert_eq!((&zone["revision"], &zone["refused"]), (&json!(0), &json!(null)));
        assert_eq!(zone["may_write"], true);
        assert!(!told.to_string().contains("PRIVATE"));

        assert_eq!(ask(Some("other")).expect("good")["zones"], json!([]));
        assert!(ask(Some("a..b")).is_err());
        assert_eq!(signing(None)(None).expect("good")["zones"], json!([]));

        let roll = rolling(Some(keeper));
        let not_yet = roll("example", None, false, 0).expect("a good question");
        assert_eq!((&not_yet["step"], &not_yet["set"]), (&json!("ds"), &json!(null)));
        let early = roll("example", None, true, 4).expect_err("it has not heard of it");
        assert!(early.contains("revision 4 is not taken yet"), "{early}");
        let due = roll("example", Some(KeyKind::Csk), true, 0).expect("a good question");
        let due: KeyProposal = serde_json::from_value(due).expect("a proposal");
        assert_eq!((due.step.as_str(), due.ds.len()), ("ds", 2));
        assert!(due.next.is_some_and(|next| next.starts_with("from 20")), "a day and more");
        let set = due.set.expect("it is due").read().expect("good");
        assert_eq!((set.zone.as_str(), set.revision), ("example.", 1));
        assert!(roll("other", None, false, 0).expect_err("no keys").contains("by hand once"));
        assert!(rolling(None)("example", None, false, 0).is_err());
    }

    #[test]
    fn every_step_says_what_and_when() {
        let now = UNIX_EPOCH + Duration::from_secs(1_000_000_000);
        let (apex, later) = (fqdn("a").expect("a name"), now + Duration::from_secs(60));
        for (next, expected, from) in [
            (Next::Publish, "publish", json!(null)),
            (Next::Wait(later, "until then"), "wait", json!("2001-09-09T01:47:40Z")),
            (Next::Activate { new: 1, old: 2 }, "activate", json!(null)),
            (Next::Remove(2), "remove", json!(null)),
        ] {
            let told = step(&apex, Kind::Csk, &next, now);
            assert_eq!((&told["step"], &told["from"]), (&json!(expected), &from));
            assert!(told["text"].as_str().is_some_and(|text| !text.is_empty()));
        }
    }
}

//! How it stands with zones and with the keys that sign them, for operators.
//!
//! Invariant: what is told of a key is public; of the private one nothing is here.

use std::{sync::Arc, time::SystemTime};

use hickory_proto::rr::Name;
use serde_json::{Value, json};

use crate::{
    dns::sign::{
        Signer,
        key_file::Key,
        keys::ZoneKeys,
        rollover::{Holding, Kind, Life, Next, State},
    },
    live::{Signing, Zones},
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
pub fn signing(signer: Option<Arc<Signer>>, holding: Holding) -> Signing {
    Arc::new(move |zone| {
        let wanted = zone.map(fqdn).transpose()?;
        let Some(signer) = &signer else { return Ok(json!({ "zones": [] })) };
        let keys = signer.keys();
        let is_wanted =
            |zone: &&Arc<ZoneKeys>| wanted.as_ref().is_none_or(|wanted| zone.apex() == wanted);
        let now = SystemTime::now();
        let mut zones: Vec<&Arc<ZoneKeys>> = keys.zones().filter(is_wanted).collect();
        zones.sort_by_key(|zone| zone.apex().to_ascii());
        let left_out = zones.len().saturating_sub(ZONES_MAX);
        zones.truncate(ZONES_MAX);
        let zones: Vec<Value> = zones.into_iter().map(|zone| shown(zone, &holding, now)).collect();
        Ok(json!({ "zones": zones, "left_out": left_out }))
    })
}

fn shown(zone: &ZoneKeys, holding: &Holding, now: SystemTime) -> Value {
    let lives: Vec<Life> = zone.keys().iter().map(|key| key.life).collect();
    let mut kinds: Vec<Kind> = lives.iter().map(|life| life.kind).collect();
    kinds.sort();
    kinds.dedup();
    let mut keys: Vec<&Key> = zone.keys().iter().collect();
    // In the order of life, the oldest first: one that comes and one that goes may be of the same second.
    let age = |key: &Key| match key.life.times.state() {
        State::Retired => 0,
        State::Active => 1,
        State::Published => 2,
    };
    keys.sort_by_key(|key| (key.life.kind, age(key), key.life.tag));
    let next = kinds.into_iter().map(|kind| step(zone, kind, holding.next(kind, &lives, now), now));
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

/// The next step of a kind of key: what, from when on, by which command.
fn step(zone: &ZoneKeys, kind: Kind, next: Next, now: SystemTime) -> Value {
    let apex = zone.apex().to_ascii();
    let command = |more: &str| format!("tidegate-geo keys roll {apex} --kind {kind}{more}");
    let (what, from, text, by) = match next {
        Next::Publish => ("publish", None, "a new key may be published".to_owned(), command("")),
        Next::WaitForDs(tag) => (
            "ds",
            None,
            format!("the parent is to publish the DS record of key {tag} beside the old one"),
            command(" --ds-seen"),
        ),
        Next::Wait(until, what) if until > now => {
            ("wait", Some(until), what.to_owned(), command(""))
        }
        Next::Wait(until, _) => ("wait", Some(until), "the wait is over".to_owned(), command("")),
        Next::Activate { new, old } => {
            ("activate", None, format!("key {new} may sign in place of {old}"), command(""))
        }
        Next::Remove(tag) => ("remove", None, format!("key {tag} may be removed"), command("")),
    };
    json!({
        "kind": kind.to_string(),
        "step": what,
        "from": from.map(time),
        "text": text,
        "command": by,
    })
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

    use super::*;
    use crate::dns::sign::{config::Config, key_file::Folder, keys::Keys, rollover::Times};

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
        let config = Config::default();
        let keys = Keys::read(&folder).expect("good");
        let signer = Arc::new(Signer::new(&config, keys, &Registry::new()));
        let ask = signing(Some(signer), config.holding());

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
        assert_eq!(next["command"], "tidegate-geo keys roll example. --kind csk --ds-seen");
        assert!(!told.to_string().contains("PRIVATE"));

        assert_eq!(ask(Some("other")).expect("good")["zones"], json!([]));
        assert!(ask(Some("a..b")).is_err());
        assert_eq!(signing(None, config.holding())(None).expect("good")["zones"], json!([]));
    }

    #[test]
    fn every_step_says_what_and_when() {
        let place = tempfile::tempdir().expect("a folder");
        let folder = Folder::new(place.path());
        let now = UNIX_EPOCH + Duration::from_secs(1_000_000_000);
        let active = Times { active: Some(now), ..Times::published(now) };
        folder.generate(&fqdn("a").expect("a name"), Kind::Csk, active, &[]).expect("made");
        let keys = Keys::read(&folder).expect("good");
        let zone = keys.zones().next().expect("one");
        let later = now + Duration::from_secs(60);
        for (next, expected, from) in [
            (Next::Publish, "publish", json!(null)),
            (Next::Wait(later, "until then"), "wait", json!("2001-09-09T01:47:40Z")),
            (Next::Activate { new: 1, old: 2 }, "activate", json!(null)),
            (Next::Remove(2), "remove", json!(null)),
        ] {
            let told = step(zone, Kind::Csk, next, now);
            assert_eq!((&told["step"], &told["from"]), (&json!(expected), &from));
            assert!(told["text"].as_str().is_some_and(|text| !text.is_empty()));
        }
    }
}

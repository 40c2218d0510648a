//! `/v1/dns/zones`: zones as they are released and as geo nodes serve them.
//!
//! What is released is known here and read as nodes read it; what a node serves, with files of its own, is known to nobody but
//! the node, so each that follows this replica is asked.

use std::{collections::BTreeMap, sync::Arc};

use axum::{
    Json as Answer,
    extract::{Path, Query, State},
};
use serde::Deserialize;
use serde_json::Value;
use tidegate_contract::{
    geo_feed::Question,
    resource::Kind,
    resource_spec::Spec,
    zone::{self, Zone},
};
use tokio::task::spawn_blocking;

use super::{
    Api,
    auth::Caller,
    error::ApiError,
    geo::NAME_BYTES_MAX,
    geo_model::{RecordView, ZoneAtNode, ZoneContent, ZoneList, ZoneSilence, ZoneView},
};
use crate::token::Scope;

/// Which records of a zone.
#[derive(Debug, Deserialize)]
pub(super) struct Wanted {
    #[serde(default, rename = "type")]
    record: Option<String>,
    #[serde(default)]
    name: Option<String>,
}

/// `GET /v1/dns/zones`
pub(super) async fn list(
    State(api): State<Arc<Api>>,
    caller: Caller,
) -> Result<Answer<ZoneList>, ApiError> {
    caller.require(Scope::Read)?;
    let (version, texts) = released(&api);
    let read = spawn_blocking(move || texts.into_iter().map(view).collect::<Vec<_>>()).await;
    let zones = read.map_err(|_| ApiError::Panicked)?;
    let mut zones: BTreeMap<String, ZoneView> =
        zones.into_iter().map(|zone| (zone.zone.clone(), zone)).collect();
    let mut silent = Vec::new();
    let mut asked = Vec::new();
    for (node, answer) in api.parts.geo.ask_each(Question::Zones {}).await {
        match answer {
            Ok(answer) => {
                take(&mut zones, &node, &answer);
                asked.push(node);
            }
            Err(error) => silent.push(ZoneSilence { node, why: error.to_string() }),
        }
    }
    Ok(Answer(ZoneList { version, items: zones.into_values().collect(), asked, silent }))
}

/// `GET /v1/dns/zones/{zone}`
pub(super) async fn show(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Path(zone): Path<String>,
    Query(wanted): Query<Wanted>,
) -> Result<Answer<ZoneContent>, ApiError> {
    caller.require(Scope::Read)?;
    let zone = name_of(&zone);
    let (version, mut texts) = released(&api);
    let Some(text) = texts.remove(&zone) else {
        return Err(ApiError::NotFound {
            what: "zone that is released",
            id: zone.chars().take(NAME_BYTES_MAX).collect(),
        });
    };
    let kind = wanted.record.as_deref().map(|word| {
        let bad = || ApiError::Invalid("a type is a word such as A, TXT or TYPE65280".to_owned());
        zone::kind(&word.to_ascii_uppercase()).map(|_| word.to_ascii_uppercase()).ok_or_else(bad)
    });
    let kind = kind.transpose()?;
    let name = wanted.name.as_deref().map(|name| owner(name, &zone));
    let read = spawn_blocking(move || {
        let read = zone::read(&zone, &text);
        read.map(|read| content(version, &zone, &read, kind.as_deref(), name.as_deref()))
    });
    let content = read.await.map_err(|_| ApiError::Panicked)?;
    // It was read before it was released.
    content.map(Answer).map_err(|error| ApiError::Invalid(error.to_string()))
}

/// The zones that geo nodes are told, by name, and of which release.
fn released(api: &Api) -> (u64, BTreeMap<String, String>) {
    let Some(release) = api.parts.releases.steering_release() else {
        return (0, BTreeMap::new());
    };
    let zones = release.state.of_kind(Kind::DnsZone).filter_map(|(name, entry)| {
        let Spec::DnsZone(spec) = &*entry.spec else { return None };
        Some((name_of(name.as_str()), spec.zone.clone()))
    });
    (release.version().0, zones.collect())
}

fn view((name, text): (String, String)) -> ZoneView {
    let read = zone::read(&name, &text);
    let zone = read.as_ref().ok();
    ZoneView {
        is_released: true,
        serial: zone.map(|zone| zone.authority().serial),
        records: zone.map_or(0, Zone::records) as u64,
        steered: zone.map_or(0, |zone| {
            zone.names().filter(|(_, node)| node.steered.is_some()).count() as u64
        }),
        nodes: Vec::new(),
        zone: name,
    }
}

/// Puts what a node serves beside what is released. Whatever a node leaves out is not known.
fn take(zones: &mut BTreeMap<String, ZoneView>, node: &str, answer: &Value) {
    let items = answer.get("zones").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let text = |item: &Value, name: &str| item.get(name).and_then(Value::as_str).map(str::to_owned);
    for item in items.iter().take(ZONES_PER_NODE_MAX) {
        let source = text(item, "source").unwrap_or_default();
        let name = text(item, "zone").unwrap_or_else(|| {
            // It never was good, so only where it came from says what it is called.
            let name = source.strip_suffix(OF_CONTROL_PLANE).unwrap_or(&source);
            let name = name.rsplit('/').next().unwrap_or(name);
            name.strip_suffix(".zone").unwrap_or(name).to_owned()
        });
        let name = name_of(&name);
        let zone = zones.entry(name.clone()).or_insert_with(|| ZoneView {
            zone: name,
            is_released: false,
            serial: None,
            records: 0,
            steered: 0,
            nodes: Vec::new(),
        });
        let number = |name: &str| item.get(name).and_then(Value::as_u64);
        zone.nodes.push(ZoneAtNode {
            node: node.to_owned(),
            is_file: !source.ends_with(OF_CONTROL_PLANE),
            source,
            serial: number("serial").and_then(|serial| u32::try_from(serial).ok()),
            records: number("records").unwrap_or(0),
            signed: item.get("signed").and_then(Value::as_bool),
            error: text(item, "error"),
        });
    }
}

/// The records of a zone in the order of names, those of the apex first; `_steer` texts as they are written in a file.
fn content(
    version: u64,
    name: &str,
    zone: &Zone,
    kind: Option<&str>,
    owner: Option<&str>,
) -> ZoneContent {
    let mut names: Vec<_> = zone.names().collect();
    names.sort_by_key(|(name, _)| *name);
    let mut records = Vec::new();
    let mut left_out = 0;
    for (at, node) in names {
        let at = at.to_ascii();
        let texts =
            node.sets.iter().flat_map(|set| set.records()).map(|record| zone::file_line(&record));
        let mut lines: Vec<RecordView> = texts.filter_map(|line| record(&line)).collect();
        lines.sort_by_key(|record| (record.kind != "SOA", record.kind.clone()));
        if let Some(steered) = &node.steered {
            lines.push(RecordView {
                name: format!("_steer.{at}"),
                ttl: 0,
                kind: "TXT".to_owned(),
                data: format!("\"alpn={}\" \"port={}\"", steered.alpn.join(","), steered.port),
            });
        }
        let is_wanted = |record: &RecordView| {
            kind.is_none_or(|kind| record.kind == kind)
                && owner.is_none_or(|owner| {
                    name_of(&record.name) == owner
                        || (record.name.starts_with("_steer.") && name_of(&at) == owner)
                })
        };
        for record in lines.into_iter().filter(is_wanted) {
            if records.len() < RECORDS_SHOWN_MAX {
                records.push(record);
            } else {
                left_out += 1;
            }
        }
    }
    ZoneContent {
        version,
        zone: name.to_owned(),
        serial: zone.authority().serial,
        records,
        left_out,
    }
}

/// A line of a master file in its parts.
fn record(line: &str) -> Option<RecordView> {
    let mut words = line.splitn(5, ' ');
    let (name, ttl) = (words.next()?, words.next()?.parse().ok()?);
    let (_class, kind) = (words.next()?, words.next()?);
    let data = words.next().unwrap_or_default().to_owned();
    Some(RecordView { name: name.to_owned(), ttl, kind: kind.to_owned(), data })
}

/// A zone's name as resources have it: in lower case, without a dot at its end.
fn name_of(zone: &str) -> String {
    zone.trim_end_matches('.').to_ascii_lowercase()
}

/// A name as it is asked for: `@`, below the zone, or whole.
fn owner(name: &str, zone: &str) -> String {
    let whole = name_of(name);
    match name {
        "@" => zone.to_owned(),
        name if name.ends_with('.') || whole == zone || whole.ends_with(&format!(".{zone}")) => {
            whole
        }
        _ => format!("{whole}.{zone}"),
    }
}

/// Records in one answer; a zone may have two hundred thousand.
const RECORDS_SHOWN_MAX: usize = 10_000;
/// Zones of one node that are believed: those of its files and of the control plane.
const ZONES_PER_NODE_MAX: usize = 2 * zone::ZONES_MAX;
/// Behind the name of a zone where a geo node says that it has it from here.
const OF_CONTROL_PLANE: &str = " of the control plane";

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const ZONE: &str = "$TTL 60\n@ SOA ns1 admin 7 2 3 4 5\n@ NS ns1\nns1 A 192.0.2.53\n\
        www TXT \"a b\" \"c\"\n_steer.video TXT \"alpn=h2\" \"port=8443\"\n";

    fn shown(kind: Option<&str>, owner: Option<&str>) -> Vec<String> {
        let zone = zone::read("cdn.example", ZONE).expect("good");
        let content = content(3, "cdn.example", &zone, kind, owner);
        assert_eq!((content.version, content.serial, content.left_out), (3, 7, 0));
        content.records.iter().map(RecordView::line).collect()
    }

    #[test]
    fn a_zone_is_shown_as_a_master_file_that_reads_the_same() {
        let lines = shown(None, None);
        assert!(lines[0].starts_with("cdn.example. 60 IN SOA ns1.cdn.example. "), "{lines:?}");
        assert!(
            lines.contains(&"www.cdn.example. 60 IN TXT \"a b\" \"c\"".to_owned()),
            "{lines:?}"
        );
        let again = zone::read("cdn.example", &lines.join("\n")).expect("what is shown is a zone");
        assert_eq!(again, zone::read("cdn.example", ZONE).expect("good"));
    }

    #[test]
    fn records_are_found_by_type_and_name() {
        assert_eq!(shown(Some("A"), None), ["ns1.cdn.example. 60 IN A 192.0.2.53"]);
        for (name, count) in [
            ("@", 2),
            ("ns1", 1),
            ("NS1.cdn.example", 1),
            ("ns1.cdn.example.", 1),
            ("video", 1),
            ("_steer.video", 1),
            ("none", 0),
            ("ns1.other.", 0),
        ] {
            let owner = owner(name, "cdn.example");
            assert_eq!(shown(None, Some(&owner)).len(), count, "{name}");
        }
    }

    #[test]
    fn what_nodes_serve_stands_beside_what_is_released_and_files_of_their_own_too() {
        let mut zones = BTreeMap::from(
            [view(("cdn.example".to_owned(), ZONE.to_owned()))]
                .map(|zone| (zone.zone.clone(), zone)),
        );
        let answer = json!({"zones": [
            {"source": "cdn.example of the control plane", "zone": "cdn.example.", "serial": 6,
                "records": 3, "signed": true, "error": "line 2: no"},
            {"source": "/etc/zones/own.example.zone", "records": 0, "error": "line 1: no"},
            {"serial": "nonsense"},
        ]});
        take(&mut zones, "geo-1", &answer);
        take(&mut zones, "geo-2", &json!(null));
        let told = &zones["cdn.example"];
        assert_eq!((told.serial, told.records, told.steered), (Some(7), 4, 1));
        let at = &told.nodes[0];
        assert_eq!((at.serial, at.signed, at.error.is_some()), (Some(6), Some(true), true));
        let own = &zones["own.example"];
        assert!(own.nodes[0].is_file && !at.is_file);
        assert_eq!(
            (own.is_released, own.nodes[0].serial, own.nodes[0].signed),
            (false, None, None)
        );
    }
}

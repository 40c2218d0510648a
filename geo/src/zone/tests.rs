//! Zones as they are read, refused, replaced.

use std::collections::BTreeMap;

use hickory_proto::rr::RecordType;

use super::*;

/// What the control plane's tests look at too.
const TABLE: &str = include_str!("../../../contract/tests/zones.txt");
const GOOD: &str = "\
$TTL 300
@ SOA ns1 hostmaster 7 3600 600 86400 60
@ NS ns1
ns1 A 192.0.2.53";

#[test]
fn zones_serve_that_the_control_plane_releases_and_no_other() {
    let mut seen = [0, 0];
    for block in TABLE.split(";; ").filter(|block| !block.is_empty()) {
        let (title, text) = block.split_once('\n').expect("a title and a text");
        let table = ZoneTable::new();
        let texts = [("example.test".to_owned(), text.replace("$HEAD", GOOD))];
        let complaints = table.take_feed(&texts.into());
        let (is_good, is_served) = (title.starts_with("good"), table.newest_full().all().count());
        seen[usize::from(is_good)] += 1;
        assert_eq!((is_served, complaints.is_empty()), (usize::from(is_good), is_good), "{title}");
        if let Some(complaint) = complaints.first() {
            let (_, reason) = title.split_once(": ").expect("a reason");
            assert!(complaint.to_string().contains(reason), "{title}: {complaint}");
        }
    }
    assert!(seen.iter().all(|count| *count > 5), "{seen:?}");
}

#[test]
fn a_wrong_text_leaves_its_zone_and_the_others_alone() {
    let table = ZoneTable::new();
    let take = |texts: &[(&str, &str)]| {
        let texts: BTreeMap<String, String> =
            texts.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect();
        table.take_feed(&texts).len()
    };
    let serial = |origin: &str| {
        let zones = table.newest_full();
        let origin = origin.parse().unwrap();
        zones.find(&origin, RecordType::A).map(|zone| zone.authority().serial)
    };
    let mut changes = table.changes();
    assert_eq!(take(&[("a.test", GOOD), ("b.test", GOOD)]), 0);
    assert!(changes.has_changed().unwrap());
    changes.mark_unchanged();
    let newer = GOOD.replace("hostmaster 7", "hostmaster 8");
    assert_eq!(take(&[("a.test", "wrong"), ("b.test", &newer)]), 1);
    assert_eq!((serial("a.test."), serial("b.test.")), (Some(7), Some(8)));
    // It is said once, and shown for as long as it lasts.
    assert_eq!(take(&[("a.test", "wrong"), ("b.test", &newer)]), 0);
    let standing = table.standing();
    assert!(
        standing[0].error.as_ref().unwrap().starts_with("a.test of the control plane, line 1: "),
        "{standing:?}"
    );
    assert_eq!((standing[0].serial, standing[1].error.as_ref()), (Some(7), None));
    assert_eq!(take(&[("b.test", &newer)]), 0);
    assert_eq!((serial("a.test."), serial("b.test.")), (None, Some(8)));
    changes.mark_unchanged();
    assert_eq!(take(&[("b.test", &newer)]), 0);
    assert!(!changes.has_changed().unwrap());
}

#[test]
fn a_file_goes_before_the_control_plane() {
    let (table, folder) = (ZoneTable::new(), tempfile::tempdir().unwrap());
    let newer = GOOD.replace("hostmaster 7", "hostmaster 8");
    std::fs::write(folder.path().join("a.test.zone"), &newer).unwrap();
    std::fs::write(folder.path().join("a.test.zone~"), "an editor's").unwrap();
    std::fs::write(folder.path().join(".b.test.zone"), "hidden").unwrap();
    assert!(table.take_folder(folder.path()).unwrap().is_empty());
    table.take_feed(&[("a.test".to_owned(), GOOD.to_owned())].into());
    let serial = || {
        let zones = table.newest_full();
        zones.all().map(|zone| zone.authority().serial).collect::<Vec<_>>()
    };
    assert_eq!(serial(), [8]);
    std::fs::write(folder.path().join("a.test.zone"), b"\xff").unwrap();
    assert_eq!(table.take_folder(folder.path()).unwrap().len(), 1);
    assert_eq!(serial(), [8]);
    std::fs::remove_file(folder.path().join("a.test.zone")).unwrap();
    assert!(table.take_folder(folder.path()).unwrap().is_empty());
    assert_eq!(serial(), [7]);
    assert!(table.take_folder(&folder.path().join("none")).is_err());
    // One zone is in one file.
    std::fs::write(folder.path().join("a.test.zone"), GOOD).unwrap();
    assert!(table.take_folder(folder.path()).unwrap().is_empty());
    std::fs::write(folder.path().join("A.test.zone"), &newer).unwrap();
    let taken = table.take_folder(folder.path()).unwrap();
    assert!(taken.len() == 1 && taken[0].to_string().contains("a.test.zone has this zone already"));
    assert!(table.take_folder(folder.path()).unwrap().is_empty());
    assert_eq!(serial(), [7]);
    // A zone of the control plane may be called as files are.
    table.take_feed(&[("b.zone".to_owned(), GOOD.to_owned())].into());
    assert!(table.newest_full().find(&"b.zone.".parse().unwrap(), RecordType::A).is_some());
}

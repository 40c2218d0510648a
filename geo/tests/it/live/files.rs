//! Fleets and places out of files that change while the node serves.

use std::fs;

use super::node::{LINES, Settings, places};

fn fleet(pops: &[(&str, f64)]) -> String {
    let pop = |(id, longitude): &(&str, f64)| {
        format!(
            "[[pop]]\nid = \"{id}\"\nlatitude = 0.0\nlongitude = {longitude:.1}\ncapacity = 10.0\naddresses = [\"192.0.2.1\"]\n"
        )
    };
    pops.iter().map(pop).collect()
}

#[tokio::test]
async fn a_fleet_that_changes_is_followed_and_one_that_is_wrong_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("fleet.toml");
    fs::write(&path, fleet(&[("a", 0.0)])).expect("writable");
    let mut settings = Settings::default();
    settings.fleet.file = Some(path.clone());
    settings.places.places = vec![places(folder.path(), LINES)];
    settings.probe.enabled = false;
    let node = settings.start_quick();
    assert_eq!(node.pop("10.2.0.1").as_deref(), Some("a"));
    fs::write(&path, fleet(&[("a", 0.0), ("c", 80.0)])).expect("writable");
    node.until_pop("10.2.0.1", "c").await;
    fs::write(&path, fleet(&[("a", 0.0), ("c", 280.0), ("d", 80.0)])).expect("writable");
    node.until("it is refused", |node| node.metric("geo_refused_total", "fleet") == 1.0).await;
    assert_eq!(node.pop("10.2.0.1").as_deref(), Some("c"));
    fs::remove_file(&path).expect("there");
    fs::write(&path, fleet(&[("d", 80.0)])).expect("writable");
    node.until_pop("10.2.0.1", "d").await;
    assert_eq!(node.pop("10.0.0.1").as_deref(), Some("d"));
    assert!(!node.process.drain().is_started(), "no task broke off");
}

#[tokio::test]
async fn places_that_change_are_followed_and_wrong_ones_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("fleet.toml");
    fs::write(&path, fleet(&[("a", 0.0), ("c", 80.0)])).expect("writable");
    let mut settings = Settings::default();
    settings.fleet.file = Some(path);
    settings.places.places = vec![places(folder.path(), LINES)];
    settings.probe.enabled = false;
    let node = settings.start_quick();
    assert_eq!(node.pop("10.2.0.1").as_deref(), Some("c"));
    places(folder.path(), &LINES.replace("79.0", "3.0"));
    node.until_pop("10.2.0.1", "a").await;
    fs::write(folder.path().join("places.mmdb"), "nonsense").expect("writable");
    node.until("they are refused", |node| node.metric("geo_refused_total", "places") == 1.0).await;
    assert_eq!(
        (node.pop("10.2.0.1").as_deref(), node.pop("10.0.0.1").as_deref()),
        (Some("a"), Some("a"))
    );
    places(folder.path(), LINES);
    node.until_pop("10.2.0.1", "c").await;
}

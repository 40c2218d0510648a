//! After `tidegate purge … --wait` nobody gets what was purged, whatever was going on meanwhile.

use std::{fs, path::Path, path::PathBuf};

use serde_json::Value;
use tidegate_system_test::{
    fake_origin::Resource,
    viewer::Protocol,
    wait::{PATIENCE, until, within},
};

use super::stage::{Stage, story_authority};

pub(crate) async fn a_purge_with_wait_is_seen_by_the_next_request_everywhere(stage: &mut Stage) {
    stage.origin.put("/manifest", Resource::new("one").key("story-a"));
    stage.expect_everywhere("/manifest", "one").await;
    stage.origin.put("/manifest", Resource::new("two").key("story-a"));
    stage.expect_everywhere("/manifest", "one").await;

    let purge = stage.purge_key("story-a").await;
    assert_eq!(purge["complete"], true, "{purge}");
    let pops = purge["pops"].as_array().unwrap();
    assert_eq!(pops.len(), 3, "every node is listed with its time: {purge}");
    assert!(pops.iter().all(|pop| pop["state"] == "applied" && pop["ms"].is_number()), "{purge}");
    stage.expect_everywhere("/manifest", "two").await;
    assert_eq!(stage.origin.fetches("/manifest"), 2, "one fetch for each version");
}

pub(crate) async fn a_changed_manifest_of_a_real_video_is_seen_everywhere(stage: &mut Stage) {
    let path = stage.hls_path();
    let mut before = Vec::new();
    for (authority, viewer) in stage.system.everywhere() {
        before.push(viewer.get(&authority, &path).await.text());
    }
    let media =
        stage.system.uploader().video(&stage.video).await["media"].as_str().unwrap().to_owned();
    for file in files_named("main.m3u8", &stage.system.object("manifest").join(&media)) {
        let text = fs::read_to_string(&file).unwrap();
        // As object stores do it: a new file in the place of the old.
        let beside = file.with_extension("new");
        fs::write(&beside, format!("{text}# changed by hand\n")).unwrap();
        fs::rename(&beside, &file).unwrap();
    }
    let purge = stage.purge_key(&format!("manifest-{media}")).await;
    assert_eq!(purge["complete"], true, "{purge}");
    for (authority, viewer) in stage.system.everywhere() {
        let text = viewer.get(&authority, &path).await.text();
        assert!(text.ends_with("# changed by hand\n"), "{viewer:?} at {authority}: {text}");
    }
    assert!(before.iter().all(|text| !text.contains("by hand")));
}

pub(crate) async fn a_fill_that_began_before_the_purge_does_not_bring_the_old_back(
    stage: &mut Stage,
) {
    let (old, gate) = Resource::new("old ".repeat(50_000)).key("story-b").gated();
    stage.origin.put("/flight", old);
    let edges: Vec<_> = stage.system.edges().map(|pop| story_authority(&pop.authority)).collect();
    let early: Vec<_> = edges
        .iter()
        .zip([Protocol::Http2, Protocol::Http3])
        .map(|(edge, protocol)| {
            let (viewer, edge) = (stage.system.viewer(protocol), edge.clone());
            let watching = viewer.clone();
            (viewer, tokio::spawn(async move { watching.get(&edge, "/flight").await }))
        })
        .collect();
    until("the old one is on its way in both PoPs", PATIENCE, || async {
        early.iter().all(|(viewer, _)| viewer.has_begun()).then_some(())
    })
    .await;

    stage.origin.put("/flight", Resource::new("new").key("story-b"));
    stage.purge_key("story-b").await;
    within("nobody waits for the old fill", PATIENCE, async {
        stage.expect_everywhere("/flight", "new").await;
    })
    .await;

    gate.open();
    for (_, watching) in early {
        let answer = watching.await.unwrap();
        assert_eq!(answer.body.len(), 200_000, "who began with the old gets it whole");
    }
    stage.expect_everywhere("/flight", "new").await;
}

pub(crate) async fn a_pop_that_was_cut_off_during_a_purge_serves_the_new(stage: &mut Stage) {
    stage.origin.put("/cut", Resource::new("one").key("story-c"));
    stage.expect_everywhere("/cut", "one").await;
    stage.origin.put("/cut", Resource::new("two").key("story-c"));

    stage.system.freeze("pop-b");
    let ordered = stage.system.tidegate_json(&["purge", "key", "story-c"]).await;
    let id = ordered["purges"][0]["id"].as_str().unwrap().to_owned();
    expect_state(stage, &id, "uncertain").await;
    stage.system.thaw("pop-b");

    // The very next requests: the node may not have heard of the purge yet, but it knows that it was cut off.
    stage.expect_everywhere("/cut", "two").await;
    expect_state(stage, &id, "applied").await;
    stage.expect_everywhere("/cut", "two").await;
}

pub(crate) async fn a_body_that_comes_with_the_purge_is_served_everywhere_without_a_fetch(
    stage: &mut Stage,
) {
    let path = "/replaced/main.m3u8";
    stage.origin.put(path, Resource::new("one"));
    stage.expect_everywhere(path, "one").await;
    assert_eq!(stage.origin.fetches(path), 1);

    let purge = replace(stage, path, "two", &["--wait", "--deadline", "30s"]).await;
    assert_eq!(purge["complete"], true, "{purge}");
    expect_hits(stage, path, "two").await;

    // A PoP that was cut off gets the body by replay.
    stage.system.freeze("pop-b");
    let purge = replace(stage, path, "three", &[]).await;
    let id = purge["id"].as_str().unwrap().to_owned();
    stage.system.thaw("pop-b");
    expect_state(stage, &id, "applied").await;
    expect_hits(stage, path, "three").await;
    assert_eq!(stage.origin.fetches(path), 1, "nobody asked the origin for what was brought");

    for pop in ["pop-a", "pop-b", "shield-1"] {
        let admin = &stage.system.pop(pop).admin;
        let url = format!("https://127.0.0.1{path}");
        let told = stage.system.tidegate_json(&["edge", "explain", &url, "--admin", admin]).await;
        assert_eq!(told["decision"], "serve", "{pop}: {told}");
        assert_eq!(told["stored"]["came_with_purge"], true, "{pop}: {told}");
    }

    // It ends like anything stored.
    stage.origin.put(path, Resource::new("four"));
    let url = format!("https://127.0.0.1{path}");
    let wait = ["purge", "url", &url, "--wait", "--deadline", "30s"];
    stage.system.tidegate_json(&wait).await;
    stage.expect_everywhere(path, "four").await;
}

/// Purges a URL of the obedient origin's host as an operator does, with a body that replaces.
async fn replace(stage: &Stage, path: &str, body: &str, more: &[&str]) -> Value {
    let file = stage.system.data().join("replacement");
    fs::write(&file, body).unwrap();
    let (url, file) = (format!("https://127.0.0.1{path}"), file.to_str().unwrap());
    let header = "Cache-Control: max-age=3600";
    let words = ["purge", "url", &url, "--replace", file, "--header", header];
    let mut ordered = stage.system.tidegate_json(&[&words, more].concat()).await;
    ordered["purges"][0].take()
}

/// Everybody everywhere gets this body as a hit.
async fn expect_hits(stage: &Stage, path: &str, body: &str) {
    for (authority, viewer) in stage.story_viewers() {
        let answer = viewer.get(&authority, path).await;
        assert_eq!(answer.text(), body, "{viewer:?} at {authority}{path}");
        let status = answer.header("cache-status");
        assert!(status.contains("; hit"), "{viewer:?} at {authority}{path}: {status:?}");
    }
}

/// Waits until the control plane says this of PoP `pop-b` and a purge.
async fn expect_state(stage: &Stage, purge: &str, expected: &str) {
    until(&format!("pop-b is {expected}"), PATIENCE, || async {
        let (_, status) = stage.system.tidegate_says(&["purge", "status", purge]).await;
        let pops = status["pops"].as_array().unwrap();
        let pop_b = pops.iter().find(|pop| pop["pop"] == "pop-b").unwrap();
        (pop_b["state"] == expected).then_some(())
    })
    .await;
}

fn files_named(name: &str, folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files_named(name, &path));
        } else if path.file_name().is_some_and(|file| file == name) {
            found.push(path);
        }
    }
    found
}

//! The harness: a folder as object store, an origin, a packager, and waiting with a limit.

mod fake_origin; // the job API in memory, with the fencing of the real one
mod packager; // a packager in this process
pub(crate) mod encoded; // what the encoder gave, as a raw stream
pub(crate) mod media; // the ffmpeg and ffprobe commands
mod server; // what was published, over HTTP
mod program; // binaries that cargo builds
mod reference; // which objects a manifest names

use std::time::{Duration, Instant};

pub(crate) use fake_origin::{FakeOrigin, Renewals};
pub(crate) use packager::TestPackager;
pub(crate) use program::{fake_worker, real_worker, start_packager};
pub(crate) use reference::references;
pub(crate) use server::serve;

/// Waits until a condition holds.
pub(crate) async fn wait_for(what: &str, mut holds: impl FnMut() -> bool) {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < WAIT_MAX, "waited in vain for: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Long enough for a loaded machine, short enough to notice.
const WAIT_MAX: Duration = Duration::from_secs(180);

//! What the stories are told with: an origin in this process, one in its own, a tus client, a packager and a
//! control plane.

#![expect(unreachable_pub, reason = "one binary: everything here is for the stories beside it")]

mod authority;
mod control_plane;
mod origin;
mod packager;
mod program;
mod tus;

pub use authority::authority;
pub use control_plane::FakeControlPlane;
pub use origin::TestOrigin;
pub use packager::{FakePackager, publication};
pub use program::OriginProgram;
pub use tus::{Answer, TusClient, checksum, encode};

use std::{
    fmt::Debug,
    time::{Duration, Instant},
};

/// Longer than anything takes on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(90);

/// Asks again and again until there is an answer.
pub async fn until<T: Debug, F: Future<Output = Option<T>>>(
    what: &str,
    mut ask: impl FnMut() -> F,
) -> T {
    let begun = Instant::now();
    loop {
        if let Some(answer) = ask().await {
            return answer;
        }
        assert!(begun.elapsed() < PATIENCE, "waited in vain until {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Bytes that no two seeds share.
pub fn content(seed: u64, bytes: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    std::iter::repeat_with(&mut next).flatten().take(bytes).collect()
}

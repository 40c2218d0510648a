//! How many bytes of decoded pictures may wait, and pictures that count against it while anybody holds them.
//!
//! A picture is one allocation however many queues hold it. The decoder waits while the limit is reached; one
//! picture is always let through, so a limit below a picture's size slows down but never stops.

use std::sync::{Arc, Condvar, Mutex, PoisonError};

use ffmpeg_next::frame;

/// The bytes that wait and their limit.
#[derive(Debug)]
pub(super) struct Lag {
    limit: u64,
    waiting: Mutex<u64>,
    released: Condvar,
}

/// A picture that counts against the limit until its last holder drops it.
pub(super) struct HeldPicture<'a> {
    pub(super) picture: frame::Video,
    bytes: u64,
    lag: &'a Lag,
}

/// A picture that several threads read.
pub(super) type SharedPicture<'a> = Arc<HeldPicture<'a>>;

impl Lag {
    pub(super) fn new(limit: u64) -> Self {
        Self { limit, waiting: Mutex::new(0), released: Condvar::new() }
    }

    /// Waits until there is room for the picture, and counts it.
    pub(super) fn hold(&self, picture: frame::Video) -> SharedPicture<'_> {
        let bytes = picture_bytes(&picture);
        let waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let mut waiting = self
            .released
            .wait_while(waiting, |waiting| *waiting > 0 && *waiting + bytes > self.limit)
            .unwrap_or_else(PoisonError::into_inner);
        *waiting += bytes;
        Arc::new(HeldPicture { picture, bytes, lag: self })
    }
}

impl Drop for HeldPicture<'_> {
    fn drop(&mut self) {
        *self.lag.waiting.lock().unwrap_or_else(PoisonError::into_inner) -= self.bytes;
        self.lag.released.notify_all();
    }
}

fn picture_bytes(picture: &frame::Video) -> u64 {
    u64::from(picture.width()) * u64::from(picture.height()) * 3 / 2
}

#[cfg(test)]
mod tests {
    use std::{sync::mpsc, thread, time::Duration};

    use ffmpeg_next::format::Pixel;

    use super::*;

    fn picture() -> frame::Video {
        frame::Video::new(Pixel::YUV420P, 16, 16)
    }

    #[test]
    fn the_decoder_waits_until_the_last_holder_lets_go() {
        let lag = Lag::new(2 * 384);
        let first = lag.hold(picture());
        let also_first = Arc::clone(&first);
        let _second = lag.hold(picture());
        thread::scope(|scope| {
            let (held, was_held) = mpsc::channel();
            let lag = &lag;
            scope.spawn(move || {
                let _third = lag.hold(picture());
                held.send(()).expect("the test waits for it");
            });
            drop(first);
            assert!(was_held.recv_timeout(Duration::from_millis(50)).is_err(), "another holds it");
            drop(also_first);
            was_held.recv_timeout(Duration::from_secs(10)).expect("room after the last holder");
        });
    }

    #[test]
    fn one_picture_passes_a_limit_that_is_too_small() {
        let lag = Lag::new(1);
        drop(lag.hold(picture()));
        drop(lag.hold(picture()));
    }
}

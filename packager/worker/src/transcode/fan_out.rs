//! Steady pictures to every queue.
//!
//! A picture is shared, not copied; the queues' bound in bytes is the lag limit. A queue whose reader ended makes
//! the decoder stop: the reader's own error is the verdict.

use std::sync::{Arc, mpsc::SyncSender};

use ffmpeg_next::frame;

use super::{image_schedule::ImageSchedule, images::ImageTask, lag::SharedPicture, shared::Shared};

/// All queues.
pub(super) struct FanOut<'a> {
    shared: &'a Shared<'a>,
    rungs: Vec<SyncSender<SharedPicture<'a>>>,
    images: Option<(SyncSender<ImageTask<'a>>, ImageSchedule)>,
    pictures: u64,
    last: Option<SharedPicture<'a>>,
}

/// A reader ended before the pictures did.
#[derive(Debug)]
pub(super) struct ReaderGone;

impl<'a> FanOut<'a> {
    pub(super) fn new(shared: &'a Shared<'a>) -> Self {
        Self { shared, rungs: Vec::new(), images: None, pictures: 0, last: None }
    }

    pub(super) fn add_rung(&mut self, queue: SyncSender<SharedPicture<'a>>) {
        self.rungs.push(queue);
    }

    pub(super) fn add_images(&mut self, queue: SyncSender<ImageTask<'a>>, schedule: ImageSchedule) {
        self.images = Some((queue, schedule));
    }

    /// How many pictures were given.
    pub(super) fn pictures(&self) -> u64 {
        self.pictures
    }

    /// Gives a picture to every queue; waits while too much is waiting in them.
    pub(super) fn give(&mut self, picture: frame::Video) -> Result<(), ReaderGone> {
        // The one kept for late thumbnails must not count while there is a newer one, or a small limit would block.
        self.last = None;
        let picture = self.shared.lag.hold(picture);
        for rung in &self.rungs {
            rung.send(Arc::clone(&picture)).map_err(|_| ReaderGone)?;
        }
        if let Some((queue, schedule)) = &mut self.images {
            let wanted = schedule.wanted(self.pictures);
            if !wanted.is_empty() {
                let at_ms = schedule.at_ms(self.pictures);
                let task = ImageTask { picture: Arc::clone(&picture), wanted, at_ms };
                queue.send(task).map_err(|_| ReaderGone)?;
            }
            self.last = Some(picture);
        }
        self.pictures += 1;
        Ok(())
    }

    /// Gives the last picture to images whose time never came.
    pub(super) fn finish(&mut self) -> Result<(), ReaderGone> {
        let (Some((queue, mut schedule)), Some(picture)) = (self.images.take(), self.last.take())
        else {
            return Ok(());
        };
        let wanted = schedule.rest();
        if wanted.is_empty() {
            return Ok(());
        }
        let at_ms = schedule.at_ms(self.pictures.saturating_sub(1));
        queue.send(ImageTask { picture, wanted, at_ms }).map_err(|_| ReaderGone)
    }
}

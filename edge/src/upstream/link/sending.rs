//! A request's body on its way to an upstream, in a task of its own, so that the answer may come meanwhile.
//!
//! Invariant: when this is dropped, the task ends.

use tokio::task::JoinHandle;

use super::super::failed::Failed;

/// The task that sends, and what it leaves when it is done.
pub(super) struct Sending<T> {
    task: JoinHandle<Result<T, Failed>>,
    left: Option<T>,
    is_over: bool,
}

impl<T: Send + 'static> Sending<T> {
    pub(super) fn start(sending: impl Future<Output = Result<T, Failed>> + Send + 'static) -> Self {
        Self { task: tokio::spawn(sending), left: None, is_over: false }
    }

    /// Returns once all was sent; at once when it was. May be dropped and called again.
    ///
    /// That the upstream takes no more is no failure here: it may have answered, and what it does not take is for
    /// the reader of the answer to judge.
    pub(super) async fn done(&mut self) -> Result<(), Failed> {
        if self.is_over {
            return Ok(());
        }
        let result = (&mut self.task).await;
        self.is_over = true;
        match result {
            Ok(Ok(left)) => self.left = Some(left),
            Ok(Err(failed @ (Failed::ClientGone | Failed::Request(_) | Failed::WriteTime))) => {
                return Err(failed);
            }
            Ok(Err(_)) => {}
            // It panicked; nobody else ends it while this is there.
            Err(_) => return Err(Failed::ClientGone),
        }
        Ok(())
    }

    pub(super) fn is_over(&self) -> bool {
        self.is_over
    }

    /// What the task left, when all was sent.
    pub(super) fn take(&mut self) -> Option<T> {
        self.left.take()
    }
}

impl<T> Drop for Sending<T> {
    fn drop(&mut self) {
        self.task.abort();
    }
}

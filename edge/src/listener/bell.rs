//! Tells idle connections that the drain has begun, without a lock or a timer for those that are busy.
//!
//! A connection's task leaves its waker once. Invariant: whoever leaves a waker before the bell rings is woken by it;
//! whoever comes later sees that it has rung.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    task::{Context, Waker},
};

/// Rings, and is hushed when clients are wanted again. One for each worker, so that its lock is its own.
#[derive(Debug, Default)]
pub(super) struct Bell {
    has_rung: AtomicBool,
    next: AtomicU64,
    listening: Mutex<HashMap<u64, Waker>>,
}

/// One connection that listens.
#[derive(Debug)]
pub(super) struct Listening {
    bell: Arc<Bell>,
    place: u64,
}

impl Bell {
    /// Wakes everybody who listens.
    pub(super) fn ring(&self) {
        self.has_rung.store(true, Ordering::SeqCst);
        for waker in self.lock().values() {
            waker.wake_by_ref();
        }
    }

    /// It has not rung, for whoever has not acted on it yet.
    pub(super) fn hush(&self) {
        self.has_rung.store(false, Ordering::SeqCst);
    }

    /// Listens with the waker of this task until the guard is dropped.
    pub(super) fn listen(self: &Arc<Self>, cx: &Context<'_>) -> Listening {
        let place = self.next.fetch_add(1, Ordering::Relaxed);
        self.lock().insert(place, cx.waker().clone());
        Listening { bell: self.clone(), place }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<u64, Waker>> {
        self.listening.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Listening {
    /// Whether the drain has begun.
    pub(super) fn has_rung(&self) -> bool {
        self.bell.has_rung.load(Ordering::SeqCst)
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.bell.lock().remove(&self.place);
    }
}

#[cfg(test)]
mod tests {
    use std::{future::poll_fn, task::Poll};

    use super::*;

    #[tokio::test]
    async fn it_wakes_who_listens_and_tells_who_comes_later() {
        let bell = Arc::new(Bell::default());
        let listener = tokio::spawn({
            let bell = bell.clone();
            async move {
                let listening = poll_fn(|cx| Poll::Ready(bell.listen(cx))).await;
                poll_fn(|_| if listening.has_rung() { Poll::Ready(()) } else { Poll::Pending })
                    .await;
            }
        });
        tokio::task::yield_now().await;
        assert_eq!(bell.lock().len(), 1);
        bell.ring();
        listener.await.unwrap();
        assert!(bell.lock().is_empty(), "gone with its guard");
        assert!(poll_fn(|cx| Poll::Ready(bell.listen(cx))).await.has_rung());
    }
}

//! Connections of HTTP/1.1 that nothing is under way on.
//!
//! Pingora's own pool loses a connection now and then when another thread takes it than the one that put it back, and
//! runs a task for each; here they just lie, and are looked at when they are taken and once a second. Invariant: a
//! connection that was closed, or on which something unasked came, is never taken.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use futures::FutureExt;
use pingora::protocols::Stream;
use tokio::{io::AsyncReadExt, task::unconstrained};

/// The unused connections to all upstreams.
pub(super) struct Pool {
    timeout: Duration,
    max: usize,
    state: Mutex<State>,
}

/// The place in the pool that a connection came from.
pub(super) struct Home {
    pub(super) pool: Arc<Pool>,
    pub(super) key: u64,
}

#[derive(Default)]
struct State {
    /// By peer, the longest unused at the front.
    by_key: HashMap<u64, VecDeque<Unused>>,
    count: usize,
}

struct Unused {
    stream: Stream,
    since: Instant,
}

impl Pool {
    pub(super) fn new(timeout: Duration, max: usize) -> Self {
        Self { timeout, max, state: Mutex::default() }
    }

    /// A connection to a peer, the one that was used last.
    pub(super) fn take(&self, key: u64) -> Option<Stream> {
        loop {
            let mut unused = self.state().pop(key)?;
            if unused.since.elapsed() < self.timeout && is_quiet(&mut unused.stream) {
                return Some(unused.stream);
            }
        }
    }

    /// Keeps a connection.
    fn put(&self, key: u64, mut stream: Stream) {
        if !is_quiet(&mut stream) {
            return;
        }
        let mut state = self.state();
        state.by_key.entry(key).or_default().push_back(Unused { stream, since: Instant::now() });
        state.count += 1;
        // Closed after the lock is gone.
        let surplus = (state.count > self.max).then(|| state.pop_longest_unused());
        drop(state);
        drop(surplus);
    }

    /// Closes those that are unused for too long or were closed by the other side.
    pub(super) fn sweep(&self) {
        let mut state = self.state();
        let mut closed = Vec::new();
        for unused in state.by_key.values_mut() {
            for mut one in std::mem::take(unused) {
                if one.since.elapsed() < self.timeout && is_quiet(&mut one.stream) {
                    unused.push_back(one);
                } else {
                    closed.push(one);
                }
            }
        }
        state.by_key.retain(|_, unused| !unused.is_empty());
        state.count -= closed.len();
        drop(state);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Home {
    /// Keeps a connection that nothing is under way on.
    pub(super) fn keep(&self, stream: Stream) {
        self.pool.put(self.key, stream);
    }
}

impl State {
    fn pop(&mut self, key: u64) -> Option<Unused> {
        let unused = self.by_key.get_mut(&key)?;
        let popped = unused.pop_back();
        if unused.is_empty() {
            self.by_key.remove(&key);
        }
        self.count -= usize::from(popped.is_some());
        popped
    }

    fn pop_longest_unused(&mut self) -> Option<Unused> {
        let since = |unused: &VecDeque<Unused>| unused.front().map(|first| first.since);
        let (key, unused) = self.by_key.iter_mut().min_by_key(|(_, unused)| since(unused))?;
        let (key, popped) = (*key, unused.pop_front());
        if unused.is_empty() {
            self.by_key.remove(&key);
        }
        self.count -= usize::from(popped.is_some());
        popped
    }
}

/// Whether nothing came on a connection, its end included.
fn is_quiet(stream: &mut Stream) -> bool {
    let mut byte = [0];
    // A task that did much would be told to wait whatever came.
    unconstrained(stream.read(&mut byte)).now_or_never().is_none()
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::AsyncWriteExt,
        net::{TcpListener, TcpStream},
    };

    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    async fn connection() -> (Stream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (near, far) =
            tokio::join!(TcpStream::connect(listener.local_addr().unwrap()), listener.accept());
        let near: pingora::protocols::l4::stream::Stream = near.unwrap().into();
        (Box::new(near), far.unwrap().0)
    }

    fn count(pool: &Pool) -> usize {
        let state = pool.state();
        assert_eq!(state.count, state.by_key.values().map(VecDeque::len).sum::<usize>());
        state.count
    }

    #[tokio::test]
    async fn the_one_used_last_is_taken_and_the_longest_unused_gives_way() {
        let pool = Pool::new(LONG, 2);
        let mut far = Vec::new();
        for key in [1, 1, 2] {
            let (near, other) = connection().await;
            pool.put(key, near);
            far.push(other);
        }
        assert_eq!(count(&pool), 2);
        assert_eq!(far.remove(0).read(&mut [0]).await.unwrap(), 0, "the first was closed");
        assert!(pool.take(1).is_some() && pool.take(1).is_none() && pool.take(2).is_some());
        assert_eq!(count(&pool), 0);
    }

    #[tokio::test]
    async fn what_is_closed_talks_unasked_or_is_old_is_not_taken() {
        let pool = Pool::new(LONG, 9);
        let (near, far) = connection().await;
        pool.put(1, near);
        drop(far);
        let (near, mut talking) = connection().await;
        pool.put(2, near);
        talking.write_all(b"x").await.unwrap();
        let (near, _quiet) = connection().await;
        pool.put(3, near);
        let swept = async {
            loop {
                pool.sweep();
                if count(&pool) == 1 {
                    return;
                }
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(LONG, swept).await.unwrap();
        assert!(pool.take(1).is_none() && pool.take(2).is_none() && pool.take(3).is_some());

        let short = Pool::new(Duration::ZERO, 9);
        let (near, _far) = connection().await;
        short.put(1, near);
        assert!(short.take(1).is_none());
        assert_eq!(count(&short), 0);
    }
}

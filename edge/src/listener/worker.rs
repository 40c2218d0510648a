//! One thread that serves clients: a runtime of its own, with sockets of its own.
//!
//! What comes in on a worker stays there: no lock, no queue and no cache line is shared on the way of a hit but what
//! the app shares. Invariant: a worker ends only when all its connections have ended, or when it is told to stop.

use std::{net::TcpListener, pin::Pin, sync::Arc};

use tokio::{sync::oneshot, task::JoinSet};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use super::{ListenError, bell::Bell, quic, serving::Serving, stream::App, tcp};

/// The sockets of one worker.
#[derive(Default)]
pub(super) struct Worker {
    pub(super) http: Vec<TcpListener>,
    pub(super) https: Vec<TcpListener>,
    pub(super) quic: Vec<quic::Socket>,
}

/// A worker that runs; waits for its end.
pub(super) type Running = oneshot::Receiver<Result<(), ListenError>>;

impl Worker {
    /// Starts the thread. It ends after the drain, when a socket breaks, or when `stop` is cancelled, which drops every
    /// connection.
    ///
    /// # Errors
    /// When there is no thread or no runtime to be had.
    pub(super) fn start<A: App>(
        self,
        number: usize,
        serving: Arc<Serving<A>>,
        tls: Option<TlsAcceptor>,
        stop: CancellationToken,
    ) -> Result<Running, ListenError> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(ListenError::Worker)?;
        let (ended, running) = oneshot::channel();
        std::thread::Builder::new()
            .name(format!("edge-worker-{number}"))
            .spawn(move || {
                let result = runtime.block_on(async {
                    tokio::select! {
                        result = self.run(serving, tls) => result,
                        () = stop.cancelled() => Ok(()),
                    }
                });
                // Whoever waited may have gone.
                let _ = ended.send(result);
            })
            .map_err(ListenError::Worker)?;
        Ok(running)
    }

    async fn run<A: App>(
        self,
        serving: Arc<Serving<A>>,
        tls: Option<TlsAcceptor>,
    ) -> Result<(), ListenError> {
        let bell = Arc::new(Bell::default());
        let mut accepting: JoinSet<Result<(), ListenError>> = JoinSet::new();
        for socket in self.http {
            accepting.spawn(tcp::accept(socket, None, serving.clone(), bell.clone()));
        }
        for socket in self.https {
            accepting.spawn(tcp::accept(socket, tls.clone(), serving.clone(), bell.clone()));
        }
        for socket in self.quic {
            accepting.spawn(quic::accept(socket, serving.clone()));
        }
        let mut drained: Pin<Box<dyn Future<Output = ()> + Send>> = Box::pin({
            let drain = serving.drain.clone();
            async move { drain.started().await }
        });
        let mut has_rung = false;
        loop {
            tokio::select! {
                // First: the loops end by the drain too, and that is no failure.
                biased;
                () = &mut drained => break,
                () = serving.leaving.until(!has_rung) => {
                    has_rung = !has_rung;
                    if has_rung { bell.ring() } else { bell.hush() }
                }
                Some(ended) = accepting.join_next() => {
                    return Err(match ended {
                        Ok(Err(error)) => error,
                        Ok(Ok(())) | Err(_) => ListenError::Ended,
                    });
                }
            }
        }
        bell.ring();
        while accepting.join_next().await.is_some() {}
        serving.tasks.close();
        serving.tasks.wait().await;
        Ok(())
    }
}

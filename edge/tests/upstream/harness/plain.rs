//! An upstream in the clear that does with each connection what the story says, byte by byte.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use bytes::BytesMut;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpSocket, TcpStream},
    task::JoinHandle,
};

/// A running upstream; gone when it is dropped.
pub(crate) struct Plain {
    pub(crate) address: SocketAddr,
    connections: Arc<AtomicUsize>,
    requests: Arc<AtomicUsize>,
    task: JoinHandle<()>,
}

/// One connection to it.
pub(crate) struct Peer {
    stream: TcpStream,
    buffer: BytesMut,
    /// The first one is 1.
    pub(crate) number: usize,
    requests: Arc<AtomicUsize>,
}

impl Plain {
    pub(crate) async fn start<F>(act: impl Fn(Peer) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        let (connections, requests) = <(Arc<AtomicUsize>, Arc<AtomicUsize>)>::default();
        let task = tokio::spawn({
            let (connections, requests) = (connections.clone(), requests.clone());
            async move {
                while let Ok((stream, _)) = socket.accept().await {
                    let number = connections.fetch_add(1, Ordering::SeqCst) + 1;
                    let requests = requests.clone();
                    tokio::spawn(act(Peer { stream, buffer: BytesMut::new(), number, requests }));
                }
            }
        });
        Self { address, connections, requests, task }
    }

    /// One that answers every request with the same bytes.
    pub(crate) async fn always(answer: impl AsRef<[u8]>) -> Self {
        let answer: Arc<[u8]> = answer.as_ref().into();
        Self::start(move |mut peer| {
            let answer = answer.clone();
            async move {
                while peer.request().await.is_some() {
                    peer.say(&answer).await;
                }
            }
        })
        .await
    }

    /// One that says its name.
    pub(crate) async fn named(name: &str) -> Self {
        Self::always(ok(name)).await
    }

    /// One that answers and then closes the connection.
    pub(crate) async fn once(answer: impl AsRef<[u8]>) -> Self {
        let answer: Arc<[u8]> = answer.as_ref().into();
        Self::start(move |mut peer| {
            let answer = answer.clone();
            async move {
                peer.request().await;
                peer.say(&answer).await;
            }
        })
        .await
    }

    /// One that takes requests and says nothing.
    pub(crate) async fn silent() -> Self {
        Self::start(|mut peer| async move { while peer.request().await.is_some() {} }).await
    }

    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    pub(crate) fn requests(&self) -> usize {
        self.requests.load(Ordering::SeqCst)
    }
}

impl Drop for Plain {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Peer {
    /// The head of the next request; `None` when the client closes the connection first.
    pub(crate) async fn request(&mut self) -> Option<String> {
        let head = self.until(b"\r\n\r\n").await?;
        self.requests.fetch_add(1, Ordering::SeqCst);
        Some(String::from_utf8(head).unwrap())
    }

    /// What comes up to these bytes, and they.
    pub(crate) async fn until(&mut self, end: &[u8]) -> Option<Vec<u8>> {
        loop {
            if let Some(place) = self.buffer.windows(end.len()).position(|window| window == end) {
                return Some(self.buffer.split_to(place + end.len()).to_vec());
            }
            if self.stream.read_buf(&mut self.buffer).await.ok()? == 0 {
                return None;
            }
        }
    }

    pub(crate) async fn say(&mut self, bytes: impl AsRef<[u8]>) {
        // The client may have gone, which the story finds out otherwise.
        let _ = self.stream.write_all(bytes.as_ref()).await;
    }

    /// Closes the connection so that the client gets a reset.
    pub(crate) fn reset(self) {
        self.stream.set_zero_linger().unwrap();
    }
}

/// A whole answer with this body.
pub(crate) fn ok(body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

/// An address where nobody listens, nor will: it is taken until the program ends.
pub(crate) fn nobody() -> SocketAddr {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = socket.local_addr().unwrap();
    std::mem::forget(socket);
    address
}

//! H1 byte by byte, for what no client library would send.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::within;

/// A connection without TLS.
pub(crate) struct Connection {
    pub(crate) io: TcpStream,
    /// What has come and was not looked at.
    come: Vec<u8>,
}

pub(crate) async fn connect(address: SocketAddr) -> Connection {
    Connection { io: TcpStream::connect(address).await.unwrap(), come: Vec::new() }
}

impl Connection {
    pub(crate) async fn say(&mut self, text: impl AsRef<[u8]>) {
        // The edge may have closed already; what it says tells.
        let _ = self.io.write_all(text.as_ref()).await;
    }

    /// The next head, with its empty line; what was said before the end of the connection when there is none.
    pub(crate) async fn head(&mut self) -> String {
        self.until(b"\r\n\r\n").await
    }

    /// What comes up to and with these bytes.
    pub(crate) async fn until(&mut self, end: &[u8]) -> String {
        loop {
            if let Some(at) = self.come.windows(end.len()).position(|window| window == end) {
                let rest = self.come.split_off(at + end.len());
                let text = std::mem::replace(&mut self.come, rest);
                return String::from_utf8_lossy(&text).into_owned();
            }
            if within(self.io.read_buf(&mut self.come)).await.unwrap_or(0) == 0 {
                return String::from_utf8_lossy(&std::mem::take(&mut self.come)).into_owned();
            }
        }
    }

    /// So many bytes.
    pub(crate) async fn exactly(&mut self, length: usize) -> Vec<u8> {
        while self.come.len() < length {
            assert!(within(self.io.read_buf(&mut self.come)).await.unwrap() > 0, "closed");
        }
        let rest = self.come.split_off(length);
        std::mem::replace(&mut self.come, rest)
    }

    /// Everything up to the end of the connection, and whether it ended without a reset.
    pub(crate) async fn rest(&mut self) -> (Vec<u8>, bool) {
        let ended = within(self.io.read_to_end(&mut self.come)).await;
        (std::mem::take(&mut self.come), ended.is_ok())
    }
}

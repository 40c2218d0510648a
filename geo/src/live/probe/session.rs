//! One address of a PoP: a request over TLS, on a connection that is kept as long as it works.
//!
//! Invariant: only an answer of status 200 counts, and nothing secret is sent.

use std::{io, net::SocketAddr, sync::Arc};

use rustls_pki_types::ServerName;
use tidegate_contract::telemetry::SELF_TEST_PATH;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::Mutex,
};
use tokio_rustls::{TlsConnector, client::TlsStream};

/// What asks one address.
pub(super) struct Session {
    address: SocketAddr,
    tls: TlsConnector,
    name: ServerName<'static>,
    request: String,
    /// The connection between two questions.
    idle: Mutex<Option<TlsStream<TcpStream>>>,
}

/// What an answer means for the connection.
struct Answer {
    is_good: bool,
    may_stay: bool,
}

impl Session {
    /// `None` when the name is none that a certificate could have.
    pub(super) fn new(address: SocketAddr, name: &str, tls: TlsConnector) -> Option<Arc<Self>> {
        let request = format!("GET {SELF_TEST_PATH} HTTP/1.1\r\nhost: {name}\r\n\r\n");
        let name = ServerName::try_from(name.to_owned()).ok()?;
        Some(Arc::new(Self { address, tls, name, request, idle: Mutex::default() }))
    }

    /// Whether the address answers. The caller limits the time.
    pub(super) async fn ask(&self) -> bool {
        // Taken out of its place: when the time is up in the middle, nobody uses this connection again.
        let kept = self.idle.lock().await.take();
        if let Some(stream) = kept {
            // The other side may have closed it meanwhile, which says nothing.
            if let Ok(is_good) = self.ask_on(stream).await {
                return is_good;
            }
        }
        match self.connect().await {
            Ok(stream) => self.ask_on(stream).await.unwrap_or(false),
            Err(_) => false,
        }
    }

    async fn connect(&self) -> io::Result<TlsStream<TcpStream>> {
        let tcp = TcpStream::connect(self.address).await?;
        tcp.set_nodelay(true)?;
        self.tls.connect(self.name.clone(), tcp).await
    }

    async fn ask_on(&self, mut stream: TlsStream<TcpStream>) -> io::Result<bool> {
        stream.write_all(self.request.as_bytes()).await?;
        stream.flush().await?;
        let Answer { is_good, may_stay } = read_answer(&mut stream).await?;
        if is_good && may_stay {
            *self.idle.lock().await = Some(stream);
        }
        Ok(is_good)
    }
}

async fn read_answer(stream: &mut (impl AsyncReadExt + Unpin)) -> io::Result<Answer> {
    let mut bytes = Vec::with_capacity(512);
    loop {
        if stream.read_buf(&mut bytes).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            let mut answer = judge(&bytes[..end]);
            let body = length(&bytes[..end]).unwrap_or(usize::MAX);
            let whole = end.saturating_add(4).saturating_add(body);
            answer.may_stay &= whole <= ANSWER_BYTES_MAX;
            while answer.may_stay && bytes.len() < whole {
                if stream.read_buf(&mut bytes).await? == 0 {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
            }
            answer.may_stay &= bytes.len() == whole;
            return Ok(answer);
        }
        if bytes.len() > ANSWER_BYTES_MAX {
            return Ok(Answer { is_good: false, may_stay: false });
        }
    }
}

fn judge(head: &[u8]) -> Answer {
    let is_good = head.starts_with(b"HTTP/1.1 200");
    let may_stay = !fields(head).any(|(name, value)| {
        name.eq_ignore_ascii_case(b"connection") && value.eq_ignore_ascii_case(b"close")
    });
    Answer { is_good, may_stay }
}

fn length(head: &[u8]) -> Option<usize> {
    let (_, value) = fields(head).find(|(name, _)| name.eq_ignore_ascii_case(b"content-length"))?;
    std::str::from_utf8(value).ok()?.parse().ok()
}

fn fields(head: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    head.split(|byte| *byte == b'\n').filter_map(|line| {
        let colon = line.iter().position(|byte| *byte == b':')?;
        Some((line[..colon].trim_ascii(), line[colon + 1..].trim_ascii()))
    })
}

/// The largest answer that is read: the true one has a few hundred bytes.
const ANSWER_BYTES_MAX: usize = 8 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_answer_is_read_to_its_end_and_no_further() {
        let long = format!("HTTP/1.1 200 OK\r\nx: {}", "y".repeat(ANSWER_BYTES_MAX));
        for (text, is_good, may_stay) in [
            ("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok\n", true, true),
            ("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", true, true),
            ("HTTP/1.1 200 OK\r\ncontent-length: 3\r\nconnection: close\r\n\r\nok\n", true, false),
            ("HTTP/1.1 200 OK\r\ncontent-length: 99999999999999999999\r\n\r\n", true, false),
            ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n", true, false),
            ("HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\nok\n", true, false),
            ("HTTP/1.1 503 Busy\r\ncontent-length: 0\r\n\r\n", false, true),
            (long.as_str(), false, false),
        ] {
            let answer = read_answer(&mut text.as_bytes()).await.expect("a whole answer");
            assert_eq!((answer.is_good, answer.may_stay), (is_good, may_stay), "{text}");
        }
        assert!(read_answer(&mut "HTTP/1.1 200 OK\r\n".as_bytes()).await.is_err(), "cut off");
    }
}

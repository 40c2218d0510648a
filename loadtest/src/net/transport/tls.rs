//! TLS on a socket: rustls fed with large reads, and asked for plaintext that is counted where it lies.
//!
//! A record of which a part has come waits here, in as many bytes as it has: given to rustls, it would hold a buffer of
//! 32 KiB for each connection that reads. Invariant: what was read is decrypted in order, whether at once or when there
//! is room for it.

use std::{
    io::{self, BufRead, Read, Write},
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
};

use rustls::{ClientConnection, HandshakeKind};
use tokio::{io::AsyncWrite, net::TcpStream};

use super::super::{Failure, greeting::Greeting};
use crate::kind::FailureClass;

/// The TLS side of a connection.
pub(super) struct Tls {
    pub(super) connection: ClientConnection,
    pub(super) greeting: Rc<Greeting>,
    pub(super) alpn: &'static [u8],
    /// What was sent with the handshake, until the server has said that it took it.
    pub(super) early: Option<Vec<u8>>,
    /// What was read and not decrypted yet: nobody had room for it, or it is no whole record.
    pub(super) ahead: Vec<u8>,
    /// Something was decrypted since rustls was last let give its buffer back.
    has_read: bool,
    /// The server has said that it sends no more.
    pub(super) is_over: bool,
}

impl Tls {
    pub(super) fn new(
        mut connection: ClientConnection,
        alpn: &'static [u8],
        greeting: Rc<Greeting>,
    ) -> Self {
        let early = connection.early_data().map(|_| Vec::new());
        Self {
            connection,
            greeting,
            alpn,
            early,
            ahead: Vec::new(),
            has_read: false,
            is_over: false,
        }
    }

    /// Feeds the handshake; what comes after it is kept.
    pub(super) fn greeted_with(&mut self, mut rest: &[u8]) -> io::Result<()> {
        while !rest.is_empty() && self.connection.is_handshaking() {
            self.connection.read_tls(&mut rest)?;
            self.connection.process_new_packets().map_err(io::Error::other)?;
        }
        self.keep(rest);
        Ok(())
    }

    /// Keeps what was read for later; most often that is nothing.
    pub(super) fn keep(&mut self, rest: &[u8]) {
        self.ahead = rest.to_vec();
    }

    /// The handshake is over.
    pub(super) fn greet(&mut self) -> io::Result<()> {
        let agreed = self.connection.alpn_protocol();
        let is_agreed = agreed == Some(self.alpn) || (agreed.is_none() && self.alpn == b"http/1.1");
        if !is_agreed {
            let detail = "the server does not speak this version of HTTP";
            return Err(Failure::new(FailureClass::Handshake, detail).into_io());
        }
        let is_resumed = self.connection.handshake_kind() == Some(HandshakeKind::Resumed);
        let is_early = self.connection.is_early_data_accepted();
        if let Some(early) = self.early.take()
            && !is_early
        {
            self.connection.writer().write_all(&early)?;
        }
        self.greeting.finish(is_resumed, is_early);
        Ok(())
    }

    /// Decrypts whole records until all is taken: how much of the input was used, and how much came out.
    pub(super) fn decrypt(
        &mut self,
        input: &[u8],
        take: &mut dyn FnMut(&[u8]) -> usize,
    ) -> io::Result<(usize, usize)> {
        let whole = whole_records(input);
        let (mut at, mut total) = (0, 0);
        while at < whole && !self.is_over {
            // One after the other, so that rustls never holds a part of one when it is left there.
            let mut record = &input[at..at + record_length(&input[at..whole])];
            at += record.len();
            self.has_read = true;
            while !record.is_empty() && self.connection.read_tls(&mut record)? > 0 {
                self.connection.process_new_packets().map_err(io::Error::other)?;
            }
            let (count, is_all) = self.drain(take)?;
            total += count;
            if !is_all {
                break;
            }
        }
        Ok((at, total))
    }

    /// Whether a whole record was read that nobody had room for.
    pub(super) fn has_whole_ahead(&self) -> bool {
        whole_records(&self.ahead) > 0
    }

    pub(super) fn decrypt_ahead(
        &mut self,
        take: &mut dyn FnMut(&[u8]) -> usize,
    ) -> io::Result<usize> {
        let ahead = std::mem::take(&mut self.ahead);
        let (used, count) = self.decrypt(&ahead, take)?;
        self.keep(&ahead[used..]);
        Ok(count)
    }

    /// Nothing more is there for now: the buffer that records went through is given back. rustls makes it small when it is
    /// about to read, so it is let read nothing.
    pub(super) fn rest(&mut self) {
        if std::mem::take(&mut self.has_read) {
            let _ = self.connection.read_tls(&mut Nothing);
        }
    }

    /// Hands out what is decrypted; whether that was all of it.
    pub(super) fn drain(
        &mut self,
        take: &mut dyn FnMut(&[u8]) -> usize,
    ) -> io::Result<(usize, bool)> {
        let mut total = 0;
        let mut reader = self.connection.reader();
        loop {
            let piece = match reader.fill_buf() {
                Ok(piece) => piece,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    return Ok((total, true));
                }
                Err(error) => return Err(error),
            };
            if piece.is_empty() {
                self.is_over = true;
                return Ok((total, true));
            }
            let count = take(piece);
            let is_all = count == piece.len();
            reader.consume(count);
            total += count;
            if !is_all {
                return Ok((total, false));
            }
        }
    }

    /// The socket is at its end; an error when TLS was not.
    pub(super) fn end(&mut self) -> io::Result<usize> {
        self.connection.read_tls(&mut io::empty())?;
        self.connection.process_new_packets().map_err(io::Error::other)?;
        self.is_over = true;
        let (_, _) = self.drain(&mut |piece| piece.len())?;
        Ok(0)
    }

    pub(super) fn poll_send(
        &mut self,
        tcp: &mut TcpStream,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        struct Socket<'s, 'c, 'w>(&'s mut TcpStream, &'c mut Context<'w>);
        impl Write for Socket<'_, '_, '_> {
            fn write(&mut self, data: &[u8]) -> io::Result<usize> {
                match Pin::new(&mut *self.0).poll_write(self.1, data) {
                    Poll::Ready(result) => result,
                    Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
                }
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        while self.connection.wants_write() {
            match self.connection.write_tls(&mut Socket(tcp, cx)) {
                Ok(0) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Poll::Pending,
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
        Poll::Ready(Ok(()))
    }
}

/// How much of what was read is whole records. What cannot be one is left to rustls, which says so.
fn whole_records(input: &[u8]) -> usize {
    let mut at = 0;
    while at < input.len() {
        let end = at + record_length(&input[at..]);
        if end > input.len() {
            break;
        }
        at = end;
    }
    at
}

/// How long the record is that begins here; longer than what is there when a part of it is missing.
fn record_length(input: &[u8]) -> usize {
    let Some([_, _, _, high, low]) = input.first_chunk() else { return HEAD_BYTES };
    match usize::from(u16::from_be_bytes([*high, *low])) {
        length @ ..=RECORD_MAX => HEAD_BYTES + length,
        _ => input.len(),
    }
}

/// Type, version and length (RFC 8446 section 5.1).
const HEAD_BYTES: usize = 5;
/// What follows that at most, in TLS 1.2.
const RECORD_MAX: usize = (1 << 14) + 2048;

/// A socket on which nothing has come.
struct Nothing;

impl Read for Nothing {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        Err(io::ErrorKind::WouldBlock.into())
    }
}

#[cfg(test)]
mod tests {
    use std::{rc::Rc, sync::Arc};

    use rustls::{ClientConfig, RootCertStore, ServerConfig, ServerConnection, crypto::aws_lc_rs};
    use rustls_pki_types::{PrivateKeyDer, ServerName};

    use super::*;

    /// A client and a server that have greeted each other.
    fn greeted() -> (Tls, ServerConnection) {
        let made = rcgen::generate_simple_self_signed(vec!["a.test".to_owned()]).unwrap();
        let (certificate, key) = (made.cert.der().clone(), made.signing_key.serialize_der());
        let provider = || Arc::new(aws_lc_rs::default_provider());
        let mut roots = RootCertStore::empty();
        roots.add(certificate.clone()).unwrap();
        let client = ClientConfig::builder_with_provider(provider());
        let client = client.with_safe_default_protocol_versions().unwrap();
        let client = client.with_root_certificates(roots).with_no_client_auth();
        let server = ServerConfig::builder_with_provider(provider());
        let server = server.with_safe_default_protocol_versions().unwrap().with_no_client_auth();
        let key = PrivateKeyDer::try_from(key).unwrap();
        let server = server.with_single_cert(vec![certificate], key).unwrap();
        let mut server = ServerConnection::new(Arc::new(server)).unwrap();
        let name = ServerName::try_from("a.test").unwrap();
        let connection = ClientConnection::new(Arc::new(client), name).unwrap();
        let mut tls = Tls::new(connection, b"http/1.1", Greeting::new(Rc::default()));
        while tls.connection.is_handshaking() || server.is_handshaking() {
            let mut wire = Vec::new();
            tls.connection.write_tls(&mut wire).unwrap();
            server.read_tls(&mut &wire[..]).unwrap();
            server.process_new_packets().unwrap();
            let mut wire = Vec::new();
            while server.wants_write() {
                server.write_tls(&mut wire).unwrap();
            }
            tls.greeted_with(&wire).unwrap();
        }
        (tls, server)
    }

    #[test]
    fn all_comes_in_order_however_it_is_cut_and_taken() {
        for (cut, room) in [(1_000, 700), (20_000, 5_000), (131_000, 1), (7, 100_000)] {
            let (mut tls, mut server) = greeted();
            let text: Vec<u8> = (0..40_000_u32).map(|number| number as u8).collect();
            let mut wire = Vec::new();
            for piece in text.chunks(9_000) {
                server.writer().write_all(piece).unwrap();
                while server.wants_write() {
                    server.write_tls(&mut wire).unwrap();
                }
            }
            let mut came = Vec::new();
            let mut take = |piece: &[u8]| {
                let count = piece.len().min(room);
                came.extend_from_slice(&piece[..count]);
                count
            };
            for piece in wire.chunks(cut) {
                let input = [std::mem::take(&mut tls.ahead), piece.to_vec()].concat();
                let (used, _) = tls.decrypt(&input, &mut take).unwrap();
                tls.keep(&input[used..]);
                // Until nothing is left but the part of a record.
                loop {
                    let (count, is_all) = tls.drain(&mut take).unwrap();
                    if count == 0 && is_all {
                        if !tls.has_whole_ahead() {
                            break;
                        }
                        tls.decrypt_ahead(&mut take).unwrap();
                    }
                }
            }
            assert!(came == text, "{cut} {room}: {} bytes", came.len());
            assert!(tls.ahead.is_empty());
        }
    }

    #[test]
    fn whole_records_are_told_from_parts() {
        let one = b"\x17\x03\x03\x00\x03abc";
        let two = [&one[..], b"\x17\x03\x03\x00\x00"].concat();
        for (input, whole) in [
            (&b""[..], 0),
            (b"\x17\x03\x03\x00", 0),
            (&one[..7], 0),
            (one, 8),
            (&two, 13),
            (&[&two, &one[..6]].concat(), 13),
            // No record is so long: rustls is asked, and says what is wrong.
            (b"\x17\x03\x03\xff\xffx", 6),
            (&[&one[..], b"HTTP/1.1"].concat(), 16),
        ] {
            assert_eq!(whole_records(input), whole, "{input:?}");
        }
    }
}

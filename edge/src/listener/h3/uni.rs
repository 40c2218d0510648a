//! The one-way streams of a client: its control stream, its two QPACK streams, and those that mean nothing.
//!
//! Invariant: each of the three exists at most once and never ends before the connection.

use std::sync::atomic::Ordering::Relaxed;

use bytes::Bytes;
use futures::{StreamExt, stream::FuturesUnordered};
use quinn::{ReadError, RecvStream};

use super::{
    code::{Broken, Code},
    control::{ControlStream, Said},
    frame::VarIntReader,
    peer::Peer,
    qpack::{DecoderStream, EncoderStream},
    settings::CONTROL_STREAM,
};

/// Reads all one-way streams; returns when the client breaks the connection by one of them.
pub(super) async fn read_all(peer: &Peer) -> Broken {
    let mut streams = FuturesUnordered::new();
    loop {
        tokio::select! {
            accepted = peer.quic.accept_uni() => match accepted {
                Ok(stream) => streams.push(read(stream, peer)),
                // The connection is gone; who accepts the requests will see it too.
                Err(_) => return std::future::pending().await,
            },
            Some(ended) = streams.next(), if !streams.is_empty() => {
                if let Err(broken) = ended {
                    return broken;
                }
            }
        }
    }
}

/// Reads one stream to its end.
async fn read(mut stream: RecvStream, peer: &Peer) -> Result<(), Broken> {
    let mut kind = VarIntReader::default();
    let mut input = Bytes::new();
    let kind = loop {
        if let Some(kind) = kind.read(&mut input) {
            break kind;
        }
        match next(&mut stream, peer).await? {
            Next::Piece(piece) => input = piece,
            // Nothing was said (RFC 9114 6.2).
            Next::End | Next::ConnectionLost => return Ok(()),
        }
    };
    let mut reader = match kind {
        CONTROL_STREAM => Reader::Control(ControlStream::default()),
        ENCODER_STREAM => Reader::Encoder(EncoderStream),
        DECODER_STREAM => Reader::Decoder(DecoderStream::default()),
        PUSH_STREAM => return Err(creation("clients do not push")),
        _ => {
            peer.count_odd_stream();
            // RFC 9114 6.2; fails only on a stream that has ended.
            let _ = stream.stop(Code::STREAM_CREATION_ERROR.into());
            return Ok(());
        }
    };
    // The three have small numbers.
    if peer.critical_streams.fetch_or(1 << kind, Relaxed) & 1 << kind != 0 {
        return Err(creation("a critical stream a second time"));
    }
    loop {
        reader.read(&mut input, peer)?;
        match next(&mut stream, peer).await? {
            Next::Piece(piece) => input = piece,
            Next::ConnectionLost => return Ok(()),
            Next::End => {
                let why = "a critical stream was closed";
                return Err(Broken::Connection(Code::CLOSED_CRITICAL_STREAM, why));
            }
        }
    }
}

enum Reader {
    Control(ControlStream),
    Encoder(EncoderStream),
    Decoder(DecoderStream),
}

impl Reader {
    fn read(&mut self, input: &mut Bytes, peer: &Peer) -> Result<(), Broken> {
        match self {
            Self::Encoder(encoder) => encoder.read(input),
            Self::Decoder(decoder) => decoder.read(input),
            Self::Control(control) => {
                while let Some(said) = control.read(input)? {
                    match said {
                        Said::Settings(settings) => {
                            peer.section_max.store(settings.field_section_max, Relaxed);
                        }
                        Said::Priority(stream, priority) => peer.prioritize(stream, priority),
                    }
                }
                Ok(())
            }
        }
    }
}

enum Next {
    Piece(Bytes),
    End,
    ConnectionLost,
}

async fn next(stream: &mut RecvStream, peer: &Peer) -> Result<Next, Broken> {
    match stream.read_chunk(usize::MAX, true).await {
        Ok(Some(chunk)) if peer.spend_control(chunk.bytes.len()) => Ok(Next::Piece(chunk.bytes)),
        Ok(Some(_)) => Err(Broken::Connection(Code::EXCESSIVE_LOAD, "endless control data")),
        Err(ReadError::ConnectionLost(_)) => Ok(Next::ConnectionLost),
        Ok(None) | Err(_) => Ok(Next::End),
    }
}

fn creation(why: &'static str) -> Broken {
    Broken::Connection(Code::STREAM_CREATION_ERROR, why)
}

const PUSH_STREAM: u64 = 0x1;
const ENCODER_STREAM: u64 = 0x2;
const DECODER_STREAM: u64 = 0x3;

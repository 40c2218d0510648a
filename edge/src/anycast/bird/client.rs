//! A conversation over BIRD's control socket: one line per command, one answer each.
//!
//! A conversation is short, so that a restart of BIRD needs no care. Invariant: it takes no longer than its timeout, and a
//! command never holds a second line.

use std::{path::Path, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::UnixStream,
    time::timeout,
};

use super::reply::{Reply, ReplyReader};
use crate::anycast::speaker::SpeakerError;

/// An open conversation.
pub(super) struct Client {
    stream: UnixStream,
    reader: ReplyReader,
    limit: Duration,
}

impl Client {
    /// Connects and hears the greeting.
    pub(super) async fn connect(socket: &Path, limit: Duration) -> Result<Self, SpeakerError> {
        let silent = |text: String| SpeakerError::Silent(format!("{}: {text}", socket.display()));
        let connected = timeout(limit, UnixStream::connect(socket)).await;
        let stream = connected
            .map_err(|_| silent("no connection in time".to_owned()))?
            .map_err(|error| silent(error.to_string()))?;
        let mut client = Self { stream, reader: ReplyReader::default(), limit };
        let greeting = client.hear().await?;
        if greeting.with_code(GREETING).next().is_none() {
            return Err(SpeakerError::Unreadable("it does not greet as BIRD does".to_owned()));
        }
        Ok(client)
    }

    /// Says one line and hears the answer; a refusal is an error.
    pub(super) async fn command(&mut self, line: &str) -> Result<Reply, SpeakerError> {
        debug_assert!(!line.contains('\n'), "one line per command");
        let said = timeout(self.limit, self.stream.write_all(format!("{line}\n").as_bytes())).await;
        said.map_err(|_| SpeakerError::Silent("it does not read".to_owned()))?
            .map_err(|error| SpeakerError::Silent(error.to_string()))?;
        let reply = self.hear().await?;
        match reply.refusal() {
            Some(text) => Err(SpeakerError::Refused(format!("{line}: {text}"))),
            None => Ok(reply),
        }
    }

    async fn hear(&mut self) -> Result<Reply, SpeakerError> {
        let Self { stream, reader, limit } = self;
        let heard = async {
            let mut bytes = [0; 4096];
            // What came with the answer before.
            let mut count = 0;
            loop {
                let reply = reader.push(&bytes[..count]);
                if let Some(reply) =
                    reply.map_err(|error| SpeakerError::Unreadable(error.to_string()))?
                {
                    return Ok(reply);
                }
                count = stream
                    .read(&mut bytes)
                    .await
                    .map_err(|error| SpeakerError::Silent(error.to_string()))?;
                if count == 0 {
                    return Err(SpeakerError::Silent("it closed the socket".to_owned()));
                }
            }
        };
        timeout(*limit, heard)
            .await
            .map_err(|_| SpeakerError::Silent("no answer in time".to_owned()))?
    }
}

const GREETING: u16 = 1;

//! What controller and agent say to each other: JSON in frames with a length in front.
//!
//! Invariant: a frame that is larger than its kind may be is refused before it is read.

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::identity::FleetError;
use crate::{
    results::{Interval, Results},
    run::RunPlan,
};

/// From the controller.
#[derive(Serialize, Deserialize)]
pub(super) enum Order {
    Hello {
        protocol: u32,
        token: String,
    },
    /// What time is it?
    Time,
    Plan {
        plan: Box<RunPlan>,
        /// Whether the totals so far are told with each second.
        wants_totals: bool,
    },
    /// Begin at a time of the agent's own clock.
    Start {
        unix_ms: i64,
    },
    Stop,
}

/// From an agent.
#[derive(Serialize, Deserialize)]
pub(super) enum Report {
    Welcome {
        version: String,
    },
    Refused {
        reason: String,
    },
    Time {
        unix_ms: f64,
    },
    /// The plan is understood, and every worker could begin.
    Ready,
    Second {
        interval: Box<Interval>,
        totals: Option<Box<Results>>,
    },
    Note(String),
    Done(Box<Results>),
}

/// Writes one frame.
pub(super) async fn write<T: Serialize>(
    stream: &mut (impl AsyncWrite + Unpin),
    message: &T,
) -> Result<(), FleetError> {
    let body =
        serde_json::to_vec(message).map_err(|error| FleetError::Message(error.to_string()))?;
    let length = u32::try_from(body.len()).map_err(|_| FleetError::TooLarge)?;
    stream.write_all(&length.to_be_bytes()).await?;
    stream.write_all(&body).await?;
    stream.flush().await?;
    Ok(())
}

/// Reads one frame of at most so many bytes.
pub(super) async fn read<T: DeserializeOwned>(
    stream: &mut (impl AsyncRead + Unpin),
    bytes_max: usize,
) -> Result<T, FleetError> {
    let length = stream.read_u32().await? as usize;
    if length > bytes_max {
        return Err(FleetError::TooLarge);
    }
    // Memory follows what really comes, not what was announced.
    let mut body = Vec::new();
    let count = stream.take(length as u64).read_to_end(&mut body).await?;
    if count < length {
        return Err(FleetError::Io("the connection was cut".to_owned()));
    }
    serde_json::from_slice(&body).map_err(|error| FleetError::Message(error.to_string()))
}

/// Grows when the words change.
pub(super) const PROTOCOL: u32 = 3;
/// What a stranger may send.
pub(super) const HELLO_BYTES_MAX: usize = 4 << 10;
/// A plan with a catalogue and a log, or the results of a run.
pub(super) const BYTES_MAX: usize = 512 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn frames_go_through_and_large_ones_do_not() {
        let mut wire = Vec::new();
        write(&mut wire, &Order::Start { unix_ms: -7 }).await.unwrap();
        let read_back: Order = read(&mut wire.as_slice(), HELLO_BYTES_MAX).await.unwrap();
        assert!(matches!(read_back, Order::Start { unix_ms: -7 }));

        let error = read::<Order>(&mut wire.as_slice(), 3).await.map(drop).unwrap_err();
        assert!(matches!(error, FleetError::TooLarge));
        let cut = &wire[..wire.len() - 1];
        assert!(read::<Order>(&mut &*cut, HELLO_BYTES_MAX).await.is_err());
        let announced = [0xff, 0xff, 0xff, 0xff, b'{'];
        assert!(read::<Order>(&mut announced.as_slice(), usize::MAX).await.is_err());
    }
}

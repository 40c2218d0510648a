//! The client: connections that ask for one object again and again, over H1, H2 or H3.
//!
//! An answer that is not 200 or has another length ends the run: a measurement of errors is none.

mod connection; // one connection, whatever its protocol
mod first; // when the first byte of an answer came
pub(crate) mod h2load; // the same by a client of other people's making

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use tokio::{sync::mpsc, task::JoinSet};

use self::connection::Connection;
use crate::material::Material;

/// Connections of one cell, and requests in flight on one H2 or H3 connection.
pub(crate) const CONNECTIONS: usize = 8;
pub(crate) const STREAMS: usize = 4;
/// Connections of one cell over H1, where one carries one request at a time.
pub(crate) const H1_CONNECTIONS: usize = 16;
/// New connections that are made at the same time.
const CONNECTING: usize = 8;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Protocol {
    H1,
    H2,
    H3,
}

#[derive(Debug, Clone)]
pub(crate) struct Target {
    pub(crate) addr: SocketAddr,
    pub(crate) path: String,
    pub(crate) size: usize,
}

impl Protocol {
    pub(crate) const ALL: [Self; 3] = [Self::H1, Self::H2, Self::H3];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::H1 => "h1",
            Self::H2 => "h2",
            Self::H3 => "h3",
        }
    }

    fn connections(self) -> usize {
        if self == Self::H1 { H1_CONNECTIONS } else { CONNECTIONS }
    }

    fn streams(self) -> usize {
        if self == Self::H1 { 1 } else { STREAMS }
    }
}

/// Asks for the object on warm connections until the time is over; gives back the number of whole answers.
pub(crate) async fn repeat(
    protocol: Protocol,
    target: &Target,
    material: &Material,
    time: Duration,
) -> Result<u64> {
    let end = Instant::now() + time;
    let mut tasks = JoinSet::new();
    for _ in 0..protocol.connections() {
        let connection = Connection::open(protocol, target.addr, material).await?;
        for _ in 0..protocol.streams() {
            let (mut connection, target) = (connection.clone(), target.clone());
            tasks.spawn(async move {
                let mut count = 0;
                while Instant::now() < end {
                    connection.get(&target).await?;
                    count += 1;
                }
                anyhow::Ok(count)
            });
        }
    }
    sum(tasks).await
}

/// Asks once, over a connection of its own.
pub(crate) async fn once(protocol: Protocol, target: &Target, material: &Material) -> Result<()> {
    let mut connection = Connection::open(protocol, target.addr, material).await?;
    connection.get(target).await?;
    connection.close();
    Ok(())
}

/// Opens connections, asks each once, closes it; until the time is over.
pub(crate) async fn connect_again(
    protocol: Protocol,
    target: &Target,
    material: &Material,
    time: Duration,
) -> Result<u64> {
    let end = Instant::now() + time;
    let mut total = 0;
    while Instant::now() < end {
        let mut opening = Vec::new();
        for _ in 0..CONNECTING {
            opening.push(async {
                let mut connection = Connection::open(protocol, target.addr, material).await?;
                connection.get(target).await?;
                connection.close();
                anyhow::Ok(())
            });
        }
        total += opening.len() as u64;
        futures::future::try_join_all(opening).await?;
    }
    Ok(total)
}

/// Asks at a fixed rate, whatever the answers take; gives back the milliseconds from the moment a request was due
/// to the first byte of its answer.
pub(crate) async fn at_rate(
    protocol: Protocol,
    target: &Target,
    material: &Material,
    per_second: f64,
    time: Duration,
) -> Result<Vec<f64>> {
    // In turn, so that each has nearly always one request at a time.
    let mut connections = Vec::new();
    for _ in 0..H1_CONNECTIONS {
        connections.push(Connection::open(protocol, target.addr, material).await?);
    }
    let mut tasks = JoinSet::new();
    #[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    let requests = (per_second * time.as_secs_f64()) as usize;
    let (mut dues, mut n) = (dues(requests, per_second), 0);
    while let Some(due) = dues.recv().await {
        n += 1;
        let (mut connection, target) = (connections[n % connections.len()].clone(), target.clone());
        tasks.spawn(async move {
            let first = connection.get(&target).await?;
            anyhow::Ok(first.map(|at| at.saturating_duration_since(due).as_secs_f64() * 1e3))
        });
    }
    let mut all = Vec::with_capacity(requests);
    while let Some(done) = tasks.join_next().await {
        all.extend(done??);
    }
    ensure!(
        all.len() * 100 >= requests * 99,
        "requests overtook each other: {} of {requests} told",
        all.len()
    );
    Ok(all)
}

/// Tells when each request is due. By a thread of its own: the runtime's timer counts milliseconds, which would send
/// requests in bunches and add up to a millisecond to each time.
fn dues(requests: usize, per_second: f64) -> mpsc::Receiver<Instant> {
    let (tell, dues) = mpsc::channel(requests.max(1));
    let start = Instant::now();
    std::thread::spawn(move || {
        for n in 0..requests {
            #[allow(clippy::cast_precision_loss)]
            let due = start + Duration::from_secs_f64(n as f64 / per_second);
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
            if tell.blocking_send(due).is_err() {
                return;
            }
        }
    });
    dues
}

/// Opens connections, asks each once, and leaves them open.
pub(crate) async fn open(
    protocol: Protocol,
    target: &Target,
    material: &Material,
    count: usize,
) -> Result<Vec<impl Sized + use<>>> {
    let mut open = Vec::with_capacity(count);
    while open.len() < count {
        let opening = (0..CONNECTING.min(count - open.len())).map(|_| async {
            let mut connection = Connection::open(protocol, target.addr, material).await?;
            connection.get(target).await?;
            anyhow::Ok(connection)
        });
        open.extend(futures::future::try_join_all(opening).await?);
    }
    ensure!(open.len() == count, "{} connections of {count}", open.len());
    Ok(open)
}

/// Opens connections, and leaves each in the middle of an answer.
pub(crate) async fn leave_early(
    protocol: Protocol,
    target: &Target,
    material: &Material,
) -> Result<()> {
    for _ in 0..CONNECTING {
        let mut connection = Connection::open(protocol, target.addr, material).await?;
        let whole = connection.get(target);
        // Whether it is over by then does not matter.
        let _ = tokio::time::timeout(Duration::from_millis(1), whole).await;
        connection.close();
    }
    Ok(())
}

/// Opens connections, and takes an answer slowly over each; leaves before the end.
pub(crate) async fn read_slowly(
    protocol: Protocol,
    target: &Target,
    material: &Material,
    pieces: usize,
    pause: Duration,
) -> Result<()> {
    let reading = (0..CONNECTING).map(|_| async {
        let mut connection = Connection::open(protocol, target.addr, material).await?;
        connection.get_slowly(target, pieces, pause).await?;
        connection.close();
        anyhow::Ok(())
    });
    futures::future::try_join_all(reading).await.map(drop)
}

/// Asks for what upstream fails to answer; an answer of 200 would be a mistake.
pub(crate) async fn ask_in_vain(
    protocol: Protocol,
    target: &Target,
    material: &Material,
) -> Result<()> {
    let mut connection = Connection::open(protocol, target.addr, material).await?;
    for _ in 0..CONNECTING {
        let answered = connection.get(target).await;
        ensure!(answered.is_err(), "an answer to {}, which upstream does not have", target.path);
    }
    connection.close();
    Ok(())
}

async fn sum(mut tasks: JoinSet<Result<u64>>) -> Result<u64> {
    let mut total = 0;
    while let Some(done) = tasks.join_next().await {
        total += done??;
    }
    Ok(total)
}

//! An agent: waits for a controller, plays its part of a plan, gives back what it measured.
//!
//! Invariant: one controller at a time; without the token nothing is read but a greeting; when the controller is gone the
//! run ends.

use std::{
    rc::Rc,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use tidegate_chassis::Secret;
use tokio::{
    io::{ReadHalf, WriteHalf, split},
    net::{TcpListener, TcpStream},
    sync::{Semaphore, mpsc},
    task::spawn_local,
    time::{Instant, timeout},
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

use super::{
    identity::{FleetError, Identity},
    message::{BYTES_MAX, HELLO_BYTES_MAX, Order, PROTOCOL, Report, read, write},
};
use crate::{
    results::{Interval, Results},
    run::{Crew, RunPlan, Start, Stop, Watch, rig_version},
};

/// An agent that listens.
pub struct Agent {
    pub listener: TcpListener,
    pub identity: Identity,
    pub token: Secret,
}

/// Serves controllers until the stop is given. `note` is told what a person should know. Must run in a `LocalSet`.
///
/// # Errors
/// When TLS cannot be set up.
pub async fn serve(
    agent: Agent,
    stop: &Stop,
    note: impl Fn(&str) + 'static,
) -> Result<(), FleetError> {
    let acceptor = TlsAcceptor::from(Arc::new(agent.identity.server_config()?));
    let token = Rc::new(agent.token);
    let note: Rc<dyn Fn(&str)> = Rc::new(note);
    let greetings = Arc::new(Semaphore::new(GREETINGS_MAX));
    let runs = Arc::new(Semaphore::new(1));
    loop {
        let accepted = tokio::select! {
            accepted = agent.listener.accept() => accepted,
            () = stop.given() => return Ok(()),
        };
        let Ok((stream, _)) = accepted else {
            tokio::time::sleep(ACCEPT_PAUSE).await;
            continue;
        };
        // Full of strangers: closing says so soonest.
        let Ok(place) = greetings.clone().try_acquire_owned() else { continue };
        let (acceptor, token, note, runs, stop) =
            (acceptor.clone(), token.clone(), note.clone(), runs.clone(), stop.clone());
        spawn_local(async move {
            let greeted = timeout(GREETING_WITHIN, greet(stream, &acceptor, &token)).await;
            drop(place);
            let ended = match greeted {
                Ok(Ok(stream)) => attend(stream, &runs, &stop).await,
                Ok(Err(error)) => Err(error),
                Err(_) => Err(FleetError::Timeout),
            };
            if let Err(error) = ended {
                note(&format!("a controller: {error}"));
            }
        });
    }
}

/// TLS, and the token.
async fn greet(
    stream: TcpStream,
    acceptor: &TlsAcceptor,
    token: &Secret,
) -> Result<TlsStream<TcpStream>, FleetError> {
    stream.set_nodelay(true)?;
    let mut stream = acceptor.accept(stream).await?;
    let Order::Hello { protocol, token: shown } = read(&mut stream, HELLO_BYTES_MAX).await? else {
        return Err(FleetError::Refused("no greeting".to_owned()));
    };
    let reason = if !token.matches(&shown) {
        Some("the token is another one".to_owned())
    } else if protocol != PROTOCOL {
        Some(format!("this agent speaks version {PROTOCOL}, not {protocol}"))
    } else {
        None
    };
    if let Some(reason) = reason {
        write(&mut stream, &Report::Refused { reason: reason.clone() }).await?;
        return Err(FleetError::Refused(reason));
    }
    write(&mut stream, &Report::Welcome { version: rig_version() }).await?;
    Ok(stream)
}

/// One controller that may.
async fn attend(
    stream: TlsStream<TcpStream>,
    runs: &Semaphore,
    stop: &Stop,
) -> Result<(), FleetError> {
    let (mut from, mut to) = split(stream);
    let Ok(_place) = runs.try_acquire() else {
        let reason = "another run is going on".to_owned();
        return write(&mut to, &Report::Refused { reason }).await;
    };
    let own_stop = Stop::default();
    let mut ready: Option<Crew> = None;
    loop {
        match read(&mut from, BYTES_MAX).await? {
            Order::Time => write(&mut to, &Report::Time { unix_ms: now_ms() }).await?,
            Order::Plan { plan, wants_totals } => {
                let crew = Crew::ready(&harmless(*plan), &own_stop, wants_totals).await;
                let report = match &crew {
                    Ok(_) => Report::Ready,
                    Err(error) => Report::Refused { reason: error.to_string() },
                };
                ready = crew.ok();
                write(&mut to, &report).await?;
            }
            Order::Start { unix_ms } => {
                let Some(crew) = ready.take() else {
                    return Err(FleetError::Message("a start without a plan".to_owned()));
                };
                return play(crew, start_at(unix_ms), (from, to), &own_stop, stop).await;
            }
            Order::Stop => return Ok(()),
            Order::Hello { .. } => return Err(FleetError::Message("a second greeting".to_owned())),
        }
    }
}

/// Whatever a controller says, an agent runs no command, and searches for nothing.
fn harmless(mut plan: RunPlan) -> RunPlan {
    plan.has_faults = false;
    plan.scenario.faults.clear();
    plan.scenario.purges.clear();
    plan.scenario.knee = None;
    plan
}

/// A time of day on the clock that timers go by. One that is over stays so: what was due since is late, and told so.
fn start_at(unix_ms: i64) -> Start {
    let (now, now_ms) = (Instant::now(), crate::run::unix_ms());
    let away = Duration::from_millis(unix_ms.abs_diff(now_ms));
    let at = if unix_ms < now_ms { now.checked_sub(away) } else { now.checked_add(away) };
    Start { at: at.unwrap_or(now), unix_ms }
}

/// Lets the workers play, tells of each second, and listens for the controller's stop.
async fn play(
    crew: Crew,
    start: Start,
    (mut from, mut to): (ReadHalf<TlsStream<TcpStream>>, WriteHalf<TlsStream<TcpStream>>),
    own_stop: &Stop,
    stop: &Stop,
) -> Result<(), FleetError> {
    let (tell, mut told) = mpsc::channel(REPORTS_MAX);
    let listening = async {
        loop {
            // Also the end of the connection: nobody is there for the results.
            match read::<Order>(&mut from, HELLO_BYTES_MAX).await {
                Ok(Order::Stop) | Err(_) => break,
                Ok(_) => {}
            }
        }
        own_stop.give();
        std::future::pending::<()>().await;
    };
    let telling = async {
        while let Some(report) = told.recv().await {
            write(&mut to, &report).await?;
        }
        Ok::<(), FleetError>(())
    };
    let running = async {
        let mut watch = Telling { tell };
        let mut results = crew.play(start, &mut watch).await;
        results.is_interrupted = own_stop.is_given();
        let _ = watch.tell.send(Report::Done(Box::new(results))).await;
    };
    let both = async { tokio::join!(running, telling).1 };
    tokio::select! {
        ended = both => ended,
        () = listening => Ok(()),
        () = async { stop.given().await; own_stop.give(); std::future::pending().await } => Ok(()),
    }
}

/// Tells the controller what a watcher would see.
struct Telling {
    tell: mpsc::Sender<Report>,
}

impl Watch for Telling {
    fn second(&mut self, interval: &Interval, totals: Option<&Results>) {
        // A controller that does not read loses seconds of the display, not results.
        let _ = self.tell.try_send(Report::Second {
            interval: Box::new(interval.clone()),
            totals: totals.cloned().map(Box::new),
        });
    }

    fn note(&mut self, text: &str) {
        let _ = self.tell.try_send(Report::Note(text.to_owned()));
    }
}

/// Finer than whole milliseconds, for the comparison of clocks.
fn now_ms() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64() * 1_000.0
}

/// Connections that have not shown the token yet.
const GREETINGS_MAX: usize = 16;
const GREETING_WITHIN: Duration = Duration::from_secs(10);
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
const REPORTS_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_start_that_is_over_is_kept_so_that_lateness_is_measured() {
        let now_ms = crate::run::unix_ms();
        let over = start_at(now_ms - 700);
        assert!(over.at.elapsed() >= Duration::from_millis(700));
        assert_eq!(over.unix_ms, now_ms - 700);
        let ahead = start_at(now_ms + 3_600_000);
        assert!(ahead.at > Instant::now() + Duration::from_secs(3_000));
        assert!(start_at(i64::MIN).at <= Instant::now(), "a clock that is mad breaks nothing");
    }
}

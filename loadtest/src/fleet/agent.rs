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
    time::timeout,
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

use super::{
    identity::{FleetError, Identity},
    message::{BYTES_MAX, HELLO_BYTES_MAX, Order, PROTOCOL, Report, read, write},
};
use crate::{
    results::{Interval, Results},
    run::{RunPlan, Stop, Watch, execute, rig_version},
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
    let mut plan: Option<Box<RunPlan>> = None;
    loop {
        match read(&mut from, BYTES_MAX).await? {
            Order::Time => write(&mut to, &Report::Time { unix_ms: unix_ms() }).await?,
            Order::Plan(mut sent) => {
                // Whatever a controller says, an agent runs no command.
                sent.has_faults = false;
                sent.scenario.faults.clear();
                sent.scenario.purges.clear();
                plan = Some(sent);
                write(&mut to, &Report::Ready).await?;
            }
            Order::Start { unix_ms, wants_totals } => {
                let Some(mut plan) = plan.take() else {
                    return Err(FleetError::Message("a start without a plan".to_owned()));
                };
                plan.start_unix_ms = Some(unix_ms);
                return play(&plan, wants_totals, from, to, stop).await;
            }
            Order::Stop => return Ok(()),
            Order::Hello { .. } => return Err(FleetError::Message("a second greeting".to_owned())),
        }
    }
}

/// Runs the plan, tells of each second, and listens for the controller's stop.
async fn play(
    plan: &RunPlan,
    wants_totals: bool,
    mut from: ReadHalf<TlsStream<TcpStream>>,
    mut to: WriteHalf<TlsStream<TcpStream>>,
    stop: &Stop,
) -> Result<(), FleetError> {
    let (tell, mut told) = mpsc::channel(REPORTS_MAX);
    let own_stop = Stop::default();
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
        let mut watch = Telling { tell, wants_totals };
        let results = execute(plan, &own_stop, &mut watch).await;
        let last = match results {
            Ok(results) => Report::Done(Box::new(results)),
            Err(error) => Report::Refused { reason: error.to_string() },
        };
        let _ = watch.tell.send(last).await;
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
    wants_totals: bool,
}

impl Watch for Telling {
    fn wants_totals(&self) -> bool {
        self.wants_totals
    }

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

fn unix_ms() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64() * 1_000.0
}

/// Connections that have not shown the token yet.
const GREETINGS_MAX: usize = 16;
const GREETING_WITHIN: Duration = Duration::from_secs(10);
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
const REPORTS_MAX: usize = 64;

//! The controller: brings agents together, starts them at one time, adds up what they measured.
//!
//! Invariant: either all agents begin, or none; what they measured is handed out even when some are lost.

use std::{
    fmt,
    str::FromStr,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use futures::future::join_all;
use tidegate_chassis::Secret;
use tokio::{
    io::{ReadHalf, WriteHalf, split},
    net::TcpStream,
    sync::mpsc,
    time::{Instant, sleep, timeout},
};
use tokio_rustls::{TlsConnector, client::TlsStream};

use super::{
    clock::{Exchange, estimate},
    identity::{FleetError, name, pinned},
    message::{BYTES_MAX, Order, PROTOCOL, Report, read, write},
};
use crate::{
    results::Results,
    run::{
        Faults, RunPlan, Seconds, Start, Stop, Tick, Watch, find_knee, rfc3339, rig_version,
        saturation,
    },
};

/// Where an agent listens, and its certificate's fingerprint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AgentAddress {
    pub host: String,
    pub fingerprint: [u8; 32],
}

impl FromStr for AgentAddress {
    type Err = String;

    /// `host:port=FINGERPRINT`.
    fn from_str(text: &str) -> Result<Self, String> {
        let (host, fingerprint) = text
            .split_once('=')
            .ok_or("an agent is host:port=FINGERPRINT, as it prints at its start")?;
        let mut bytes = [0; 32];
        hex::decode_to_slice(fingerprint.trim(), &mut bytes)
            .map_err(|_| "a fingerprint is 64 hexadecimal digits".to_owned())?;
        let port = host.rsplit_once(':').and_then(|(_, port)| port.parse::<u16>().ok());
        match port {
            Some(_) => Ok(Self { host: host.trim().to_owned(), fingerprint: bytes }),
            None => Err(format!("{host:?} has no port")),
        }
    }
}

impl fmt::Display for AgentAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.host)
    }
}

/// Runs a plan on agents: once, or as often as its search for a knee wants. Faults and purges are injected from here.
/// Must run in a `LocalSet`.
///
/// # Errors
/// When not every agent could be brought to the start.
pub async fn run(
    plan: &RunPlan,
    agents: &[AgentAddress],
    token: &Secret,
    stop: &Stop,
    watch: &mut dyn Watch,
) -> Result<Results, FleetError> {
    let step = async |plan: &RunPlan, stop: &Stop, watch: &mut dyn Watch| {
        once(plan, agents, token, stop, watch).await
    };
    let mut results = match &plan.scenario.knee {
        None => step(plan, stop, watch).await?,
        Some(knee) => find_knee(plan, knee, stop, watch, step).await?,
    };
    results.is_interrupted |= stop.is_given();
    Ok(results)
}

async fn once(
    plan: &RunPlan,
    agents: &[AgentAddress],
    token: &Secret,
    stop: &Stop,
    watch: &mut dyn Watch,
) -> Result<Results, FleetError> {
    let connecting = agents.iter().map(|agent| async move {
        let connected = timeout(CONNECT_WITHIN, Connected::new(agent, token)).await;
        connected.unwrap_or(Err(FleetError::Timeout)).map_err(|error| of(agent, error))
    });
    let mut connected = join_all(connecting).await.into_iter().collect::<Result<Vec<_>, _>>()?;
    let of_all = connected.len() as u64;
    let wants_totals = watch.wants_totals();
    let preparing = connected.iter_mut().zip(agents).zip(0..).map(|((agent, address), part)| {
        let plan = RunPlan {
            part,
            of: of_all,
            has_faults: false,
            scenario_text: String::new(),
            ..plan.clone()
        };
        async move {
            let prepared = timeout(PREPARE_WITHIN, agent.prepare(plan, wants_totals)).await;
            prepared.unwrap_or(Err(FleetError::Timeout)).map_err(|error| of(address, error))
        }
    });
    join_all(preparing).await.into_iter().collect::<Result<Vec<_>, _>>()?;

    let start = Start {
        at: Instant::now() + START_AFTER,
        unix_ms: (unix_ms() + START_AFTER.as_secs_f64() * 1_000.0) as i64,
    };
    let mut clock_error: f64 = 0.0;
    for (agent, address) in connected.iter_mut().zip(agents) {
        let theirs = start.unix_ms + agent.ahead_ms.round() as i64;
        clock_error = clock_error.max(agent.clock_error_ms);
        write(&mut agent.to, &Order::Start { unix_ms: theirs })
            .await
            .map_err(|error| of(address, error))?;
    }
    let mut results = attend(plan, agents, connected, start, stop, watch).await;
    let limit = plan.scenario.rig.clock_error_max.as_secs_f64() * 1_000.0;
    if clock_error > limit {
        results.rig.saturated.push(format!(
            "the agents' clocks are known only to {clock_error:.0} ms, more than {limit:.0} ms"
        ));
    }
    Ok(results)
}

/// Hears the agents to their end.
async fn attend(
    plan: &RunPlan,
    agents: &[AgentAddress],
    connected: Vec<Connected>,
    start: Start,
    stop: &Stop,
    watch: &mut dyn Watch,
) -> Results {
    let scenario = &plan.scenario;
    let faults = Faults::begin(plan, start, stop);
    let mut seconds = Seconds::new(agents.len() as u32, scenario);
    let mut results = Results::new(scenario.name.clone(), scenario.seed);
    results.rig_version = rig_version();
    results.scenario_text.clone_from(&plan.scenario_text);
    results.started_at = rfc3339(start.unix_ms + scenario.arrivals.warm_up.as_millis() as i64);
    let (tell, mut heard) = mpsc::channel(HEARD_MAX);
    let mut writers = Vec::new();
    let mut tasks = tokio::task::JoinSet::new();
    for (number, agent) in connected.into_iter().enumerate() {
        let tell = tell.clone();
        writers.push(agent.to);
        let arrivals = &scenario.arrivals;
        let limit =
            START_AFTER + arrivals.warm_up + arrivals.duration + arrivals.drain + END_WITHIN;
        tasks.spawn_local(hear(number, agent.from, tell, limit));
    }
    drop(tell);
    let mut is_told_to_stop = false;
    loop {
        let said = tokio::select! {
            said = heard.recv() => said,
            () = stop.given(), if !is_told_to_stop => {
                is_told_to_stop = true;
                for writer in &mut writers {
                    // Whoever is gone is told of by its reader.
                    let _ = write(writer, &Order::Stop).await;
                }
                continue;
            }
            () = sleep(LOOK_EVERY) => {
                faults.pass_notes(watch);
                if watch.is_stop_asked() {
                    stop.give();
                }
                continue;
            }
        };
        let Some((number, report)) = said else { break };
        let worker = number as u32;
        match report {
            Ok(Report::Second { interval, totals }) => {
                seconds.take(Tick { worker, interval: *interval, totals }, watch);
            }
            Ok(Report::Note(text)) => watch.note(&format!("{}: {text}", agents[number])),
            Ok(Report::Done(part)) => {
                let mut part = *part;
                for reason in part.failed.iter_mut().chain(&mut part.rig.saturated) {
                    *reason = format!("{}: {reason}", agents[number]);
                }
                // A part is no judge of whether there were arrivals at all.
                results.merge(part);
                seconds.end(worker, watch);
            }
            other => {
                let reason = match other {
                    Ok(Report::Refused { reason }) => reason,
                    Ok(_) => "it said something out of turn".to_owned(),
                    Err(error) => error.to_string(),
                };
                lost(&mut results, &agents[number], &reason);
                // The others' seconds are shown without it.
                seconds.end(worker, watch);
            }
        }
    }
    faults.end(&mut results, watch).await;
    let _ = seconds.into_kept(watch);
    // Limits that concern all machines together; those of each one it has judged itself.
    for reason in saturation(&results, &scenario.rig) {
        if results.rig.saturated.is_empty() {
            results.rig.saturated.push(reason);
        }
    }
    results
}

/// Hears one agent until it is done or gone.
async fn hear(
    number: usize,
    mut from: ReadHalf<TlsStream<TcpStream>>,
    tell: mpsc::Sender<(usize, Result<Report, FleetError>)>,
    limit: Duration,
) {
    let deadline = Instant::now() + limit;
    loop {
        let report = tokio::time::timeout_at(deadline, read(&mut from, BYTES_MAX)).await;
        let report = report.unwrap_or(Err(FleetError::Timeout));
        let is_last = !matches!(report, Ok(Report::Second { .. } | Report::Note(_)));
        if tell.send((number, report)).await.is_err() || is_last {
            return;
        }
    }
}

fn lost(results: &mut Results, agent: &AgentAddress, reason: &str) {
    results.failed.push(format!("agent {agent} was lost: {reason}"));
}

fn of(agent: &AgentAddress, error: FleetError) -> FleetError {
    FleetError::Io(format!("agent {agent}: {error}"))
}

/// One agent that took the token.
struct Connected {
    from: ReadHalf<TlsStream<TcpStream>>,
    to: WriteHalf<TlsStream<TcpStream>>,
    ahead_ms: f64,
    clock_error_ms: f64,
}

impl Connected {
    async fn new(agent: &AgentAddress, token: &Secret) -> Result<Self, FleetError> {
        let connector = TlsConnector::from(Arc::new(pinned(agent.fingerprint)?));
        let stream = TcpStream::connect(&agent.host).await?;
        stream.set_nodelay(true)?;
        let stream = connector
            .connect(name(), stream)
            .await
            .map_err(|error| FleetError::Tls(error.to_string()))?;
        let (mut from, mut to) = split(stream);
        let hello = Order::Hello { protocol: PROTOCOL, token: token.expose().to_owned() };
        write(&mut to, &hello).await?;
        match read(&mut from, BYTES_MAX).await? {
            Report::Welcome { .. } => {}
            Report::Refused { reason } => return Err(FleetError::Refused(reason)),
            _ => return Err(FleetError::Message("no welcome".to_owned())),
        }
        Ok(Self { from, to, ahead_ms: 0.0, clock_error_ms: 0.0 })
    }

    /// Compares the clocks, hands over the plan, and waits until the agent could begin.
    async fn prepare(&mut self, plan: RunPlan, wants_totals: bool) -> Result<(), FleetError> {
        let mut exchanges = Vec::with_capacity(EXCHANGES);
        for _ in 0..EXCHANGES {
            let asked = unix_ms();
            write(&mut self.to, &Order::Time).await?;
            match read(&mut self.from, BYTES_MAX).await? {
                Report::Time { unix_ms: theirs } => {
                    exchanges.push(Exchange { asked, came: unix_ms(), theirs });
                }
                Report::Refused { reason } => return Err(FleetError::Refused(reason)),
                _ => return Err(FleetError::Message("no time".to_owned())),
            }
        }
        if let Some((ahead, error)) = estimate(&exchanges) {
            (self.ahead_ms, self.clock_error_ms) = (ahead, error);
        }
        let order = Order::Plan { plan: Box::new(plan), wants_totals };
        write(&mut self.to, &order).await?;
        match read(&mut self.from, BYTES_MAX).await? {
            Report::Ready => Ok(()),
            Report::Refused { reason } => Err(FleetError::Refused(reason)),
            _ => Err(FleetError::Message("not ready".to_owned())),
        }
    }
}

fn unix_ms() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64() * 1_000.0
}

const CONNECT_WITHIN: Duration = Duration::from_secs(15);
/// A plan may hold a long log.
const PREPARE_WITHIN: Duration = Duration::from_secs(120);
/// Between the order to start and the start: agents are ready, so that the order only has to come. To whom it comes
/// later, that one begins late, and its schedule error says so.
const START_AFTER: Duration = Duration::from_secs(2);
/// After the end of a run, until its results are there.
const END_WITHIN: Duration = Duration::from_secs(60);
/// Questions for the time.
const EXCHANGES: usize = 9;
const LOOK_EVERY: Duration = Duration::from_millis(200);
const HEARD_MAX: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_agent_is_an_address_and_a_fingerprint() {
        let fingerprint = "ab".repeat(32);
        let agent: AgentAddress = format!("10.0.0.7:4700={fingerprint}").parse().unwrap();
        assert_eq!((agent.host.as_str(), agent.fingerprint), ("10.0.0.7:4700", [0xab; 32]));
        for text in ["a:1", "a:1=ab", &format!("a={fingerprint}"), &format!("a:x={fingerprint}")] {
            assert!(text.parse::<AgentAddress>().is_err(), "{text}");
        }
    }
}

//! One worker: a thread that begins its part of the sessions by schedule, and measures itself.
//!
//! Invariant: sessions begin when the schedule says, whatever those before them do; one that could not is blocked, and
//! counted.

use std::{
    cell::{Cell, RefCell},
    collections::HashMap,
    future::poll_fn,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::pin,
    rc::Rc,
    sync::Arc,
    task::{Context, Poll, Waker},
    time::Duration,
};

use tokio::{
    sync::{Notify, mpsc, watch},
    task::{LocalSet, spawn_local, yield_now},
    time::{Instant, sleep_until},
};
use tokio_util::sync::CancellationToken;

use super::{
    alarm::Alarm,
    draw::draw,
    health::thread_cpu,
    plan::{RunError, RunPlan},
    session::drive,
    shared::Shared,
    stop::Stop,
};
use crate::{
    arrival::{LogEntry, Schedule},
    catalogue::Ranking,
    kind::Protocol,
    measure::{Health, Recorder},
    net::{Net, Shape},
    results::{Interval, Results},
    scenario::Link,
};

/// What a worker is started with.
#[derive(Debug, Clone)]
pub(super) struct Task {
    pub(super) plan: Arc<RunPlan>,
    pub(super) number: u32,
    pub(super) workers: u32,
    /// Said when all workers are ready.
    pub(super) start: watch::Receiver<Option<Start>>,
    pub(super) stop: Stop,
    pub(super) wants_totals: bool,
    pub(super) tell: mpsc::Sender<Heard>,
}

/// The beginning of the run, with its warm-up, on two clocks.
#[derive(Debug, Clone, Copy)]
pub struct Start {
    pub at: Instant,
    pub unix_ms: i64,
}

/// What a worker says.
#[derive(Debug)]
pub(super) enum Heard {
    Ready,
    Tick(Box<Tick>),
    /// Its last word.
    Ended(u32),
}

/// What a worker, or a machine, tells each second.
#[derive(Debug)]
pub struct Tick {
    pub worker: u32,
    pub interval: Interval,
    pub totals: Option<Box<Results>>,
}

/// Works to the end of the run. Blocks its thread.
pub(super) fn work(task: &Task) -> Result<Results, RunError> {
    let failed = |reason: String| RunError::Worker { worker: task.number, reason };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| failed(error.to_string()))?;
    let results = LocalSet::new().block_on(&runtime, run(task));
    let results = match results {
        Ok(results) => results,
        Err(error) => {
            let _ = task.tell.blocking_send(Heard::Ended(task.number));
            return Err(error);
        }
    };
    // What a session left behind, like a look-up of a name, is not waited for.
    runtime.shutdown_background();
    Ok(results)
}

async fn run(task: &Task) -> Result<Results, RunError> {
    let mut shared = shared(task)?;
    let gone =
        || RunError::Worker { worker: task.number, reason: "the run was given up".to_owned() };
    task.tell.send(Heard::Ready).await.map_err(|_| gone())?;
    let start = *task.start.clone().wait_for(Option::is_some).await.map_err(|_| gone())?;
    let start = start.ok_or_else(gone)?;
    (shared.start, shared.start_unix_ms) = (start.at, start.unix_ms);
    let shared = Rc::new(shared);
    let cpu_before = thread_cpu();
    let own = spawn_local(watch_itself(shared.clone()));
    let ticks = spawn_local(tell(shared.clone(), task.clone()));
    in_turns(&shared, async {
        begin_all(&shared, task).await;
        wind_up(&shared, task).await;
    })
    .await;
    own.abort();
    ticks.abort();
    // A task that was aborted holds what it shares until it is gone.
    let _ = tokio::join!(own, ticks);
    // The rest of the last second.
    let elapsed = shared.elapsed();
    let at_s = next_second(elapsed, task.plan.scenario.arrivals.warm_up) - 1.0;
    send(&shared, task, at_s, 0.0).await;
    let _ = task.tell.send(Heard::Ended(task.number)).await;

    let Ok(shared) = Rc::try_unwrap(shared).map_err(drop) else {
        let reason = "a session did not end when it was cut".to_owned();
        return Err(RunError::Worker { worker: task.number, reason });
    };
    let mut recorder = shared.recorder.into_inner();
    recorder.migrated(Protocol::H3, shared.net.counters().migrated);
    let mut results = recorder.into_results();
    let cpu = thread_cpu().saturating_sub(cpu_before).as_secs_f64();
    results.rig.workers = 1;
    results.rig.cpu_max = cpu / elapsed.as_secs_f64().max(0.001);
    let warm_up = task.plan.scenario.arrivals.warm_up;
    results.duration_s = elapsed.saturating_sub(warm_up).as_secs_f64();
    if shared.panics.get() > 0 {
        results.failed.push(format!("{} sessions broke the rig (a panic)", shared.panics.get()));
    }
    Ok(results)
}

/// Does the work, and begins a turn each time that it is looked at. As the first future of the runtime it is so before
/// each few tasks that are ready: sessions that are due begin then, whatever the others have to do.
async fn in_turns(shared: &Shared, work: impl Future<Output = ()>) {
    let turns = shared.net.turns();
    let mut work = pin!(work);
    poll_fn(|context| {
        turns.begin(context, Instant::now(), shared.due.get());
        work.as_mut().poll(context)
    })
    .await;
    turns.end();
}

/// Begins every session of this worker at its time.
async fn begin_all(shared: &Rc<Shared>, task: &Task) {
    let scenario = &task.plan.scenario;
    let arrivals = &scenario.arrivals;
    let entries: Vec<LogEntry> = task
        .plan
        .inputs
        .log
        .iter()
        .map(|(at, path)| LogEntry { at: *at, path: path.clone() })
        .collect();
    let mut ranking =
        Ranking::new(&scenario.popularity, task.plan.inputs.videos.len(), scenario.seed);
    let part = task.plan.part + task.plan.of * u64::from(task.number);
    let of = task.plan.of * u64::from(task.workers);
    let lasts = (arrivals.warm_up, arrivals.duration);
    let schedule =
        Schedule::new(&arrivals.profile, arrivals.spacing, lasts, scenario.seed, entries.into());
    let most = u64::from(arrivals.sessions_max.div_ceil(task.workers));
    let mut alarm = Alarm::new();
    for (count, arrival) in schedule.part(part, of).enumerate() {
        let due = shared.start + arrival.at;
        shared.due.set(Some(due));
        tokio::select! {
            biased;
            () = task.stop.given() => break,
            () = poll_fn(|context| alarm.poll(context, due)) => {}
        }
        let drawn = draw(&task.plan, &arrival, &mut ranking);
        let error = due.elapsed();
        if error > arrivals.start_within || shared.sessions.get() >= most || drawn.videos.is_empty()
        {
            shared.recorder.borrow_mut().blocked(arrival.at);
        } else {
            shared.recorder.borrow_mut().arrival(arrival.at, error);
            begin(drive(shared.clone(), arrival.at, drawn));
        }
        // Sessions go on also while many are to begin at once.
        if count % BEGIN_AT_ONCE == BEGIN_AT_ONCE - 1 {
            yield_now().await;
        }
    }
    shared.due.set(None);
}

/// A session has its first turn at once, not when those that are ready before it have had theirs: what it wants first
/// is asked for. Its task looks at everything again, so that nothing is missed that happens meanwhile.
fn begin(session: impl Future<Output = ()> + 'static) {
    let mut session = Box::pin(session);
    let first = AssertUnwindSafe(|| {
        let mut nobody = Context::from_waker(Waker::noop());
        session.as_mut().poll(&mut nobody)
    });
    // One that panics counts itself, as it would in its task.
    if matches!(catch_unwind(first), Ok(Poll::Pending)) {
        spawn_local(session);
    }
}

/// Waits until the sessions have ended, and cuts those that have not when it is time.
async fn wind_up(shared: &Rc<Shared>, task: &Task) {
    let arrivals = &task.plan.scenario.arrivals;
    let end = shared.start + arrivals.warm_up + arrivals.duration + arrivals.drain;
    let all_ended = async {
        loop {
            let idle = shared.idle.notified();
            if shared.sessions.get() == 0 {
                return;
            }
            idle.await;
        }
    };
    tokio::select! {
        () = all_ended => return,
        () = task.stop.given() => {}
        () = sleep_until(end) => {}
    }
    shared.cut.cancel();
    let limit = Instant::now() + CUT_WITHIN;
    while shared.sessions.get() > 0 && Instant::now() < limit {
        yield_now().await;
    }
}

/// How late timers are: what a session's own timers cannot be better than.
async fn watch_itself(shared: Rc<Shared>) {
    loop {
        let due = Instant::now() + LAG_EVERY;
        sleep_until(due).await;
        shared.recorder.borrow_mut().lag(due.elapsed());
    }
}

/// Ends an interval each second, on a grid that begins with the end of the warm-up.
async fn tell(shared: Rc<Shared>, task: Task) {
    let warm_up = task.plan.scenario.arrivals.warm_up;
    let mut cpu_before = thread_cpu();
    let mut from = shared.start;
    let mut next_s = next_second(Duration::ZERO, warm_up);
    loop {
        let after = next_s + warm_up.as_secs_f64();
        let due = shared.start + Duration::from_secs_f64(after.max(0.0));
        sleep_until(due).await;
        let cpu = thread_cpu();
        let wall = from.elapsed().as_secs_f64().max(0.001);
        let share = cpu.saturating_sub(cpu_before).as_secs_f64() / wall;
        (cpu_before, from) = (cpu, Instant::now());
        send(&shared, &task, next_s - 1.0, share).await;
        next_s += 1.0;
    }
}

/// The end of the interval that a time of the run lies in, in seconds since the end of the warm-up.
fn next_second(elapsed: Duration, warm_up: Duration) -> f64 {
    (elapsed.as_secs_f64() - warm_up.as_secs_f64()).floor() + 1.0
}

async fn send(shared: &Shared, task: &Task, at_s: f64, cpu: f64) {
    let tick = {
        let mut recorder = shared.recorder.borrow_mut();
        recorder.bytes(shared.bytes.take());
        let interval = recorder.interval(at_s, shared.gauges(), Health { cpu });
        let totals = task.wants_totals.then(|| Box::new(recorder.so_far().clone()));
        Tick { worker: task.number, interval, totals }
    };
    // The coordinator is gone only when the run is given up.
    let _ = task.tell.send(Heard::Tick(Box::new(tick))).await;
}

fn shared(task: &Task) -> Result<Shared, RunError> {
    let scenario = &task.plan.scenario;
    let inputs = &task.plan.inputs;
    let net = Net::new(scenario.net.clone()).map_err(|error| RunError::Net(error.to_string()))?;
    let links = scenario.sessions.links.iter().enumerate();
    let links = links
        .map(|(index, link)| shape(link, inputs.traces.get(&index).map(String::as_str)))
        .collect::<Result<_, _>>()
        .map_err(|reason| RunError::Worker { worker: task.number, reason })?;
    let hash = |(path, hash): (&String, &String)| {
        let mut bytes = [0; 32];
        hex::decode_to_slice(hash, &mut bytes).ok()?;
        Some((path.clone(), bytes))
    };
    Ok(Shared {
        plan: task.plan.clone(),
        net,
        recorder: RefCell::new(Recorder::new(scenario.arrivals.warm_up)),
        start: Instant::now(),
        start_unix_ms: 0,
        due: Cell::new(None),
        links,
        hashes: inputs.hashes.iter().filter_map(hash).collect::<HashMap<_, _>>(),
        cut: CancellationToken::new(),
        idle: Notify::new(),
        bytes: Cell::new(0),
        sessions: Cell::new(0),
        playing: Cell::new(0),
        stalled: Cell::new(0),
        panics: Cell::new(0),
    })
}

/// A link's shape and its mean rate; `None` for one that is as fast as the machine.
fn shape(link: &Link, trace: Option<&str>) -> Result<Option<(Shape, u64)>, String> {
    let made = if let Some(text) = trace {
        Shape::parse(text).map(|mut shape| {
            shape.rtt += link.rtt;
            shape
        })
    } else if link.rate > 0 {
        Shape::constant(link.rate, link.rtt)
    } else if !link.steps.is_empty() {
        Shape::new(link.steps.iter().map(|step| (step.lasts, step.rate)).collect(), link.rtt)
    } else {
        return Ok(None);
    };
    let shape = made.map_err(|error| error.to_string())?;
    let took = shape.passed(Duration::ZERO, MEASURED_BYTES).as_secs_f64();
    let mean = MEASURED_BYTES as f64 * 8.0 / took.max(f64::MIN_POSITIVE);
    Ok(Some((shape, mean as u64)))
}

/// Sessions that begin before those that run have their turn.
const BEGIN_AT_ONCE: usize = 16;
const LAG_EVERY: Duration = Duration::from_millis(10);
/// A cut session ends at its next turn.
const CUT_WITHIN: Duration = Duration::from_secs(10);
/// Enough that a trace's mean is found over many rounds.
const MEASURED_BYTES: u64 = 1 << 30;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::LinkStep;

    #[test]
    fn intervals_lie_on_a_grid_from_the_end_of_the_warm_up() {
        let table =
            [(0, 0, 1.0), (999, 0, 1.0), (1_000, 0, 2.0), (0, 2_500, -2.0), (600, 2_500, -1.0)];
        for (elapsed, warm_up, expected) in table {
            let next = next_second(Duration::from_millis(elapsed), Duration::from_millis(warm_up));
            assert!((next - expected).abs() < 1e-9, "{elapsed} {warm_up}: {next}");
        }
    }

    #[test]
    fn a_link_knows_its_mean_rate() {
        let step = |rate, seconds| LinkStep { rate, lasts: Duration::from_secs(seconds) };
        let link = Link { steps: vec![step(4_000_000, 1), step(1_000_000, 2)], ..Link::default() };
        let (_, mean) = shape(&link, None).unwrap().unwrap();
        assert!((1_990_000..2_010_000).contains(&mean), "{mean}");
        assert!(shape(&Link::default(), None).unwrap().is_none());
        let (_, mean) = shape(&Link::default(), Some("1,8000000\nrtt,40\n")).unwrap().unwrap();
        assert!((7_990_000..8_010_000).contains(&mean), "{mean}");
    }
}

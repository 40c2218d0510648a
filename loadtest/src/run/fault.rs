//! Faults: commands that break something at a time of the run, and commands that put it right again.
//!
//! A command knows what it is run for from its environment: see [`HOOK_VARIABLES`].
//!
//! Invariant: a fault whose `run` was begun is undone before the run's results are handed out.

use std::{cell::RefCell, rc::Rc, time::Duration};

use tokio::{
    task::JoinSet,
    time::{Instant, sleep_until},
};

use super::{
    command::run_command, plan::RunPlan, purge::purge, stop::Stop, watch::Watch, worker::Start,
};
use crate::{
    results::{self, Results},
    scenario::Fault,
};

/// All faults and purges of a run.
pub struct Faults {
    stage: Stage,
    all: JoinSet<()>,
}

impl Faults {
    /// Starts them; each waits for its time. Must run in a `LocalSet`.
    #[must_use]
    pub fn begin(plan: &RunPlan, start: Start, stop: &Stop) -> Self {
        let scenario = &plan.scenario;
        let begin = start.at + scenario.arrivals.warm_up;
        let stage = Stage {
            scenario: scenario.name.as_str().into(),
            target: target_shown(plan).into(),
            start: begin,
            end: begin + scenario.arrivals.duration,
            stop: stop.clone(),
            over: Stop::default(),
            told: Rc::default(),
        };
        let mut all = JoinSet::new();
        if plan.has_faults {
            for fault in &scenario.faults {
                all.spawn_local(inject(fault.clone(), stage.clone()));
            }
            for one in &scenario.purges {
                all.spawn_local(purge(one.clone(), scenario.net.clone(), stage.clone()));
            }
        }
        Self { stage, all }
    }

    /// Passes on what people should know.
    pub fn pass_notes(&self, watch: &mut dyn Watch) {
        self.stage.told.borrow_mut().notes.drain(..).for_each(|note| watch.note(&note));
    }

    /// Ends them, as nobody is there any more for whom something should be broken: what is broken is put right. Adds
    /// to the results what happened.
    pub async fn end(mut self, results: &mut Results, watch: &mut dyn Watch) {
        self.stage.over.give();
        while self.all.join_next().await.is_some() {}
        self.pass_notes(watch);
        let mut told = self.stage.told.take();
        results.faults.append(&mut told.faults);
        results.faults.sort_by(|a, b| a.at_s.total_cmp(&b.at_s));
        results.failed.append(&mut told.failed);
        for (pop, ms) in told.first_fresh {
            results.pops.entry(pop).or_default().first_fresh_ms.record(ms);
        }
    }
}

/// What faults and purges need of the run, and where they tell what happened.
#[derive(Debug, Clone)]
pub(super) struct Stage {
    pub(super) scenario: Rc<str>,
    pub(super) target: Rc<str>,
    /// The end of the warm-up, and of arrivals.
    pub(super) start: Instant,
    pub(super) end: Instant,
    /// Given by a person, and at the end of all sessions.
    pub(super) stop: Stop,
    pub(super) over: Stop,
    pub(super) told: Rc<RefCell<Told>>,
}

/// What happened.
#[derive(Debug, Default)]
pub(super) struct Told {
    pub(super) faults: Vec<results::Fault>,
    /// Why the run as a whole has failed.
    pub(super) failed: Vec<String>,
    /// For people, not for the results.
    pub(super) notes: Vec<String>,
    /// Milliseconds until PoPs were fresh, by PoP.
    pub(super) first_fresh: Vec<(String, u64)>,
}

/// One command of a fault or purge.
#[derive(Debug, Clone, Copy)]
pub(super) struct Step<'a> {
    pub(super) name: &'a str,
    pub(super) phase: &'static str,
    pub(super) count: u64,
    pub(super) words: &'a [String],
    pub(super) is_shell: bool,
    pub(super) timeout: Option<Duration>,
    pub(super) may_fail: bool,
}

impl Stage {
    /// Runs one command and tells of it.
    pub(super) async fn run(&self, step: Step<'_>) -> bool {
        let begun = Instant::now();
        let at_s = self.at_s(begun);
        let values = [
            self.scenario.to_string(),
            step.name.to_owned(),
            step.phase.to_owned(),
            step.count.to_string(),
            format!("{at_s:.3}"),
            self.target.to_string(),
        ];
        let names = HOOK_VARIABLES.iter().map(|(name, _)| *name);
        let environment: Vec<(&'static str, String)> = names.zip(values).collect();
        let timeout = step.timeout.unwrap_or(COMMAND_TIMEOUT);
        let ended = run_command(step.words, step.is_shell, &environment, timeout).await;
        let name = match step.phase {
            "run" | "purge" => step.name.to_owned(),
            phase => format!("{}: {phase}", step.name),
        };
        let is_good = ended.is_good();
        let mut told = self.told.borrow_mut();
        if !is_good {
            told.notes.push(format!("{name}: {}", ended.trouble));
            if !step.may_fail && told.failed.len() < TOLD_MAX {
                let exit = ended.exit.map_or("none".to_owned(), |exit| exit.to_string());
                told.failed.push(format!("the command of {name:?} failed (exit code {exit})"));
            }
        }
        if told.faults.len() < FAULTS_MAX {
            let took_s = begun.elapsed().as_secs_f64();
            told.faults.push(results::Fault { at_s, name, exit: ended.exit, took_s });
        }
        is_good
    }

    /// Waits for a time of the run. `false` when the run ends before.
    pub(super) async fn wait_until(&self, at: Duration) -> bool {
        let due = self.start + at;
        if due > self.end {
            return false;
        }
        tokio::select! {
            () = sleep_until(due) => !self.is_ending(),
            () = self.ending() => false,
        }
    }

    /// Returns when the run ends, for whatever reason.
    pub(super) async fn ending(&self) {
        tokio::select! {
            () = self.stop.given() => {}
            () = self.over.given() => {}
        }
    }

    fn is_ending(&self) -> bool {
        self.stop.is_given() || self.over.is_given()
    }

    /// Seconds since the end of the warm-up.
    fn at_s(&self, now: Instant) -> f64 {
        let after = now.saturating_duration_since(self.start).as_secs_f64();
        after - self.start.saturating_duration_since(now).as_secs_f64()
    }
}

/// One fault through the whole run. It is always undone before this returns.
pub(super) async fn inject(fault: Fault, stage: Stage) {
    let step = |phase, count, words| Step {
        name: &fault.name,
        phase,
        count,
        words,
        is_shell: fault.shell,
        timeout: fault.timeout,
        may_fail: fault.may_fail,
    };
    let mut count = 0;
    let mut at = fault.at;
    let mut is_broken = false;
    while stage.wait_until(at).await {
        count += 1;
        // The command may break something and fail after that: it is undone whatever it says.
        is_broken = true;
        if !fault.run.is_empty() {
            let run = stage.run(step("run", count, &fault.run));
            tokio::select! {
                _ = run => {}
                () = stage.ending() => break,
            }
        }
        if let Some(after) = fault.undo_after {
            if !stage.wait_until(at + after).await {
                break;
            }
            stage.run(step("undo", count, &fault.undo)).await;
            is_broken = false;
        }
        match fault.every {
            Some(every) => at += every,
            None => break,
        }
    }
    // The sessions have ended before its time.
    if count == 0
        && fault.at <= stage.end - stage.start
        && !stage.stop.is_given()
        && !fault.may_fail
    {
        let reason = format!("the run ended before {:?} came", fault.name);
        stage.told.borrow_mut().failed.push(reason);
    }
    // Left broken on purpose, until the end.
    if is_broken && !fault.undo.is_empty() {
        tokio::select! {
            () = sleep_until(stage.end) => {}
            () = stage.ending() => {}
        }
        stage.run(step("undo", count, &fault.undo)).await;
    }
}

/// The first URL of the catalogue, for hooks: without its query, which may hold a token.
fn target_shown(plan: &RunPlan) -> String {
    let Some(mut url) = plan.inputs.videos.first().cloned() else { return String::new() };
    url.set_query(None);
    // Both fail only for URLs without a host, which the catalogue has none of.
    let _ = url.set_password(None);
    let _ = url.set_username("");
    url.into()
}

/// What the environment of a command says, in the order of `Stage::run`.
pub const HOOK_VARIABLES: [(&str, &str); 6] = [
    ("TIDEGATE_LOAD_SCENARIO", "the scenario's name"),
    ("TIDEGATE_LOAD_FAULT", "the fault's or purge's name"),
    ("TIDEGATE_LOAD_PHASE", "run, undo, change or purge"),
    ("TIDEGATE_LOAD_COUNT", "how often it has been run, from 1"),
    ("TIDEGATE_LOAD_AT_S", "seconds since the end of the warm-up"),
    ("TIDEGATE_LOAD_TARGET", "the first URL of the catalogue, without its query"),
];
/// Where a fault does not say otherwise.
const COMMAND_TIMEOUT: Duration = Duration::from_secs(30);
/// Faults and purges of one run that are told of one by one.
const FAULTS_MAX: usize = 10_000;
/// Failures of one run that are told of.
const TOLD_MAX: usize = 20;

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A stage that lasts so long from now.
    pub(in crate::run) fn stage(lasts: Duration) -> Stage {
        Stage {
            scenario: "test".into(),
            target: "http://a.test/a.m3u8".into(),
            start: Instant::now(),
            end: Instant::now() + lasts,
            stop: Stop::default(),
            over: Stop::default(),
            told: Rc::default(),
        }
    }

    fn fault(run: &str, undo: &str) -> Fault {
        Fault {
            name: "kill".to_owned(),
            run: vec![run.to_owned()],
            undo: vec![undo.to_owned()],
            shell: true,
            timeout: Some(Duration::from_secs(20)),
            ..Fault::default()
        }
    }

    fn names(stage: &Stage) -> Vec<String> {
        stage.told.borrow().faults.iter().map(|fault| fault.name.clone()).collect()
    }

    #[tokio::test]
    async fn a_fault_comes_again_and_again_and_is_undone_each_time() {
        let stage = stage(Duration::from_secs(2));
        let fault = Fault {
            every: Some(Duration::from_millis(100)),
            undo_after: Some(Duration::ZERO),
            ..fault("exit 0", "exit 0")
        };
        inject(fault, stage.clone()).await;
        let names = names(&stage);
        assert!(names.len() >= 2 && names.len().is_multiple_of(2), "{names:?}");
        assert!(names.chunks(2).all(|pair| pair == ["kill", "kill: undo"]), "{names:?}");
        assert!(stage.told.borrow().failed.is_empty());
    }

    #[tokio::test]
    async fn a_fault_is_undone_when_the_run_is_stopped() {
        let stage = stage(Duration::from_secs(600));
        let stop = stage.stop.clone();
        let told = stage.told.clone();
        let injected = inject(fault("exit 0", "test $TIDEGATE_LOAD_PHASE = undo"), stage.clone());
        let stopping = async {
            while told.borrow().faults.is_empty() {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            stop.give();
        };
        tokio::join!(injected, stopping);
        assert_eq!(names(&stage), ["kill", "kill: undo"]);
        assert_eq!(stage.told.borrow().faults[1].exit, Some(0));
    }

    #[tokio::test]
    async fn a_fault_that_did_not_happen_fails_the_run_unless_it_may() {
        for may_fail in [false, true] {
            let stage = stage(Duration::from_millis(50));
            inject(Fault { may_fail, ..fault("echo no >&2; exit 4", "exit 0") }, stage.clone())
                .await;
            let told = stage.told.borrow();
            assert_eq!(told.failed.is_empty(), may_fail);
            assert!(told.notes[0].contains("no"), "{:?}", told.notes);
            assert_eq!(told.faults[0].exit, Some(4));
        }
    }

    #[tokio::test]
    async fn what_comes_after_the_end_does_not_come() {
        let stage = stage(Duration::from_millis(10));
        let late = Fault { at: Duration::from_secs(60), ..fault("exit 1", "exit 1") };
        inject(late, stage.clone()).await;
        assert!(names(&stage).is_empty());
    }
}

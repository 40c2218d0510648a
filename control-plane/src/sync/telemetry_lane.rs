//! One node's third lane: its reports, the round trips of its clients and what they ask for, and what its PoP shall do about
//! routes and clients; what operators ask it, and what it answers.
//!
//! Orders are made anew from the records whenever any of them changes, and sent when they differ: what a slow node missed
//! in between does not matter. What cannot be read ends the lane.

use std::time::Duration;

use bytes::Bytes;
use tidegate_contract::{
    demand::Demand, geo_feed::RoundTrips, node_order::OrderReport, node_question::ANSWER_BYTES_MAX,
    telemetry::Report,
};
use tokio::{
    sync::mpsc,
    time::{Instant, sleep_until},
};
use tonic::{Status, Streaming};

use super::{Parts, caller};
use crate::{
    fleet::LaneGuard,
    questions::AskedLane,
    wire::{Answer, TelemetryDown, TelemetryUp, telemetry_down, telemetry_up},
};

type Down = mpsc::Sender<Result<TelemetryDown, Status>>;

/// Runs the lane until either side ends it.
pub(super) async fn run(
    parts: &Parts,
    up: Streaming<TelemetryUp>,
    (down, answers): (&Down, bool),
    guard: &LaneGuard,
) -> Result<(), Status> {
    tokio::select! {
        end = write(parts, down, guard) => end,
        end = ask(parts.questions.lane(guard.name(), answers), down) => end,
        end = read(parts, up, guard) => end,
    }
}

async fn write(parts: &Parts, down: &Down, guard: &LaneGuard) -> Result<(), Status> {
    let mut head = parts.drains.head();
    let mut errands = parts.errands.watch();
    let mut sent = None;
    loop {
        head.mark_unchanged();
        errands.mark_unchanged();
        let began = Instant::now();
        let orders = parts.drains.orders(&guard.name().pop).await;
        let mut orders = orders.map_err(|error| caller::store(&error))?;
        orders.node = parts.errands.order_to(guard.name());
        if sent.as_ref() != Some(&orders) {
            let message = telemetry_down::Message::Orders(Bytes::from(orders.to_bytes()));
            let message = TelemetryDown { message: Some(message) };
            down.send(Ok(message)).await.map_err(|_| gone())?;
            sent = Some(orders);
        }
        let changed = tokio::select! {
            changed = head.changed() => changed,
            changed = errands.changed() => changed,
        };
        changed.map_err(|_| Status::unavailable("the store has ended"))?;
        // Many changes in a row are one.
        sleep_until(began + LOOK_AGAIN).await;
    }
}

/// Hands questions on as they come.
async fn ask(mut asked: AskedLane, down: &Down) -> Result<(), Status> {
    loop {
        let question = Bytes::from(asked.question().await.to_bytes());
        let message = TelemetryDown { message: Some(telemetry_down::Message::Question(question)) };
        down.send(Ok(message)).await.map_err(|_| gone())?;
    }
}

async fn read(
    parts: &Parts,
    mut up: Streaming<TelemetryUp>,
    guard: &LaneGuard,
) -> Result<(), Status> {
    let mut next_batch = Instant::now();
    let mut answer = None;
    while let Some(message) = up.message().await? {
        guard.heard();
        match message.message {
            Some(telemetry_up::Message::Report(bytes)) => {
                let report = Report::from_bytes(&bytes);
                let report = report
                    .map_err(|error| Status::invalid_argument(format!("a report: {error}")))?;
                if answer != report.order {
                    answer = note(parts, guard, report.order.as_ref()).await;
                }
                parts.reports.put(guard.name(), report, caller::now(parts).1);
            }
            Some(telemetry_up::Message::RoundTrips(bytes)) => {
                let batch = RoundTrips::from_bytes(&bytes);
                let batch = batch
                    .map_err(|error| Status::invalid_argument(format!("round trips: {error}")))?;
                let now = Instant::now();
                if now < next_batch {
                    parts.metrics.geo_batches.with_label_values(&["too_often"]).inc();
                    continue;
                }
                next_batch = now + BATCH_EVERY;
                parts.geo.measured(&guard.name().pop, batch);
            }
            Some(telemetry_up::Message::Demand(bytes)) => {
                let demand = Demand::from_bytes(&bytes);
                let demand =
                    demand.map_err(|error| Status::invalid_argument(format!("demand: {error}")))?;
                parts.demand.put(guard.name(), demand, caller::now(parts).1);
            }
            Some(telemetry_up::Message::Answer(Answer { number, content })) => {
                if content.len() > ANSWER_BYTES_MAX {
                    return Err(Status::invalid_argument("an answer: too long"));
                }
                let said = parts.questions.answered(guard.name(), number, content.to_vec()).await;
                if let Err(error) = said {
                    tracing::warn!(node = %guard.name(), %error, "an answer is not told");
                }
            }
            _ => return Err(Status::invalid_argument("only one hello, and first")),
        }
    }
    Ok(())
}

fn gone() -> Status {
    Status::cancelled("the node is gone")
}

/// Notes what a node says of an order; what could not be noted it says again.
async fn note(parts: &Parts, guard: &LaneGuard, said: Option<&OrderReport>) -> Option<OrderReport> {
    let said = said?;
    match parts.errands.answered(guard.name(), said).await {
        Ok(()) => Some(said.clone()),
        Err(error) => {
            tracing::warn!(node = %guard.name(), %error, "the answer to an order is not noted");
            None
        }
    }
}

/// A node sends one a second at the most; each goes to every node of the DNS.
const BATCH_EVERY: Duration = Duration::from_millis(200);
/// A node is told at most so often.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

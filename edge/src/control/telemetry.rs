//! The third lane: reports up once a second, round trips of clients and what they ask for now and then, orders about routes
//! and clients down; questions down and answers up, while somebody asks.
//!
//! Both are whole, so a lane that breaks costs nothing but time. Invariant: what was ordered stays when the lane ends;
//! that it ended is told to nobody.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use futures::future::BoxFuture;
use tidegate_chassis::recent::Recent;
use tidegate_contract::{
    demand::{Demand, TAKES_DEMAND},
    geo_feed::{RoundTrips, TAKES_ROUND_TRIPS},
    node_question::{Check, NodeQuestion},
    telemetry::{Orders, Report, TELEMETRY_BYTES_MAX},
};
use tokio::{
    sync::{mpsc, watch},
    task::JoinSet,
    time::{Instant, MissedTickBehavior, interval, interval_at, sleep, timeout},
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, transport::Channel};

use super::{
    answers::Answers,
    errands::Errands,
    identity::Identity,
    link::{Lane, LaneError},
    wire::{
        Answer, TelemetryDown, TelemetryHello, TelemetryUp, pop_sync_client::PopSyncClient,
        telemetry_down, telemetry_up,
    },
};

/// What the lane reads and writes.
#[derive(Clone)]
pub struct Telemetry {
    /// How the node is now.
    pub report: Arc<dyn Fn() -> Report + Send + Sync>,
    /// How far its clients are, since this was asked last; absent: nobody is told.
    pub round_trips: Option<Arc<dyn Fn() -> RoundTrips + Send + Sync>>,
    /// What its clients ask for most, since this was asked last; absent: nobody is told.
    pub demand: Option<Arc<dyn Fn() -> Demand + Send + Sync>>,
    /// What it shall do.
    pub orders: watch::Sender<Orders>,
    /// The newest lines of its log; absent: they are told to nobody.
    pub log: Option<Recent>,
    /// How it finds itself beyond what the agent sees; absent: it looks at nothing more.
    pub checks: Option<Checks>,
}

/// Looks at parts of the node; each look takes a bounded time.
pub type Checks = Arc<dyn Fn() -> BoxFuture<'static, Vec<Check>> + Send + Sync>;

/// The lane. It outlives its connections.
pub(super) struct TelemetryFeed {
    pub(super) seam: Telemetry,
    /// What became of orders to this node alone.
    pub(super) errands: Errands,
    /// What operators are told who ask.
    pub(super) answers: Arc<Answers>,
    /// How long the control plane may take to answer the call that opens the lane.
    pub(super) open_timeout: Duration,
    /// How often the control plane is told how far clients are.
    pub(super) round_trips_interval: Duration,
    /// How often it is told what they ask for.
    pub(super) demand_interval: Duration,
}

impl Lane for TelemetryFeed {
    const NAME: &'static str = "telemetry";

    async fn converse(&mut self, channel: Channel, _identity: &Identity) -> LaneError {
        match self.follow(channel).await {
            Err(LaneError::Status(status)) if status.code() == Code::Unimplemented => {
                // An older control plane: it may be upgraded one day.
                sleep(UNKNOWN_PAUSE).await;
                LaneError::Status(status)
            }
            Err(error) => error,
            Ok(()) => LaneError::Closed,
        }
    }
}

impl TelemetryFeed {
    async fn follow(&self, channel: Channel) -> Result<(), LaneError> {
        let (up, said) = mpsc::channel(UP_MESSAGES_MAX);
        let say = |message| {
            let message = TelemetryUp { message: Some(message) };
            up.try_send(message).map_err(|_| LaneError::Stuck)
        };
        let hello = TelemetryHello { build: super::BUILD.to_owned(), answers: true };
        say(telemetry_up::Message::Hello(hello))?;
        let mut client = PopSyncClient::new(channel)
            .max_decoding_message_size(TELEMETRY_BYTES_MAX + MESSAGE_OVERHEAD_BYTES);
        let opening = timeout(self.open_timeout, client.telemetry(ReceiverStream::new(said)));
        let silent = |_| LaneError::Silent(self.open_timeout);
        let answer = opening.await.map_err(silent)??;
        let is_taken = answer.metadata().contains_key(TAKES_ROUND_TRIPS);
        let round_trips = self.seam.round_trips.as_ref().filter(|_| is_taken);
        let is_taken = answer.metadata().contains_key(TAKES_DEMAND);
        let demand = self.seam.demand.as_ref().filter(|_| is_taken);
        let mut heard = answer.into_inner();
        let mut pulse = interval(REPORT_EVERY);
        pulse.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let mut harvest = interval(self.round_trips_interval);
        harvest.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut parts = VecDeque::new();
        // They end with the lane: whoever asked hears nothing of them any more.
        let mut answering = JoinSet::new();
        // What gathered while nobody listened is old.
        drop(demand.map(|take| take()));
        let begin = Instant::now() + self.demand_interval;
        let mut count = interval_at(begin, self.demand_interval.max(DEMAND_EVERY_MIN));
        count.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                next = heard.message() => {
                    let Some(message) = next? else { return Ok(()) };
                    self.take(&message, &mut answering);
                }
                Some(done) = answering.join_next() => {
                    // One that panicked is not answered, and has said so in the log.
                    if let Ok(Some(answer)) = done {
                        say(telemetry_up::Message::Answer(answer))?;
                    }
                }
                _ = pulse.tick() => {
                    let report = Report { order: self.errands.report(), ..(self.seam.report)() };
                    say(telemetry_up::Message::Report(report.to_bytes()))?;
                    // One part at a time: a full batch does not stand in the way of reports.
                    if let Some(part) = parts.pop_front() {
                        say(telemetry_up::Message::RoundTrips(RoundTrips::to_bytes(&part)))?;
                    }
                }
                _ = count.tick(), if demand.is_some() => {
                    if let Some(take) = demand {
                        say(telemetry_up::Message::Demand(take().to_bytes()))?;
                    }
                }
                // While parts wait, the next ones gather where they come from.
                _ = harvest.tick(), if round_trips.is_some() && parts.is_empty() => {
                    if let Some(take) = round_trips {
                        parts = take().parts().collect();
                    }
                }
            }
        }
    }

    /// Orders that cannot be read change nothing, questions that cannot be read have no answer.
    fn take(&self, message: &TelemetryDown, answering: &mut JoinSet<Option<Answer>>) {
        match &message.message {
            Some(telemetry_down::Message::Orders(bytes)) => self.order(bytes),
            Some(telemetry_down::Message::Question(bytes)) => match NodeQuestion::from_bytes(bytes)
            {
                Ok(question) => {
                    let is_full = answering.len() >= ANSWERING_MAX;
                    let answers = Arc::clone(&self.answers);
                    answering.spawn(async move {
                        let number = question.number;
                        let content = if is_full {
                            answers.refusal(number, "as many questions as may be are under way")
                        } else {
                            answers.answer(question).await
                        };
                        content.map(|content| Answer { number, content })
                    });
                }
                Err(error) => tracing::warn!(%error, "a question cannot be read"),
            },
            None => {}
        }
    }

    fn order(&self, bytes: &[u8]) {
        match Orders::from_bytes(bytes) {
            Ok(orders) => {
                self.seam.orders.send_if_modified(|now| {
                    let is_news = *now != orders;
                    *now = orders;
                    is_news
                });
            }
            Err(error) => tracing::warn!(%error, "orders of the control plane cannot be read"),
        }
    }
}

const REPORT_EVERY: Duration = Duration::from_secs(1);
/// More often nobody takes it.
const DEMAND_EVERY_MIN: Duration = Duration::from_millis(20);
/// Questions that are answered at a time; a control plane that asks more is refused what is beyond.
const ANSWERING_MAX: usize = 4;
/// Reports and answers that wait to be sent.
const UP_MESSAGES_MAX: usize = 12;
const MESSAGE_OVERHEAD_BYTES: usize = 1024;
/// How often a control plane is asked again that does not know this lane.
const UNKNOWN_PAUSE: Duration = Duration::from_secs(60);

//! What this node says to operators who ask it: lines of its log, and how it finds itself.
//!
//! Invariant: a question changes nothing and is answered in bounded time and size, whatever is asked.

use std::{
    sync::Arc,
    time::{Duration, UNIX_EPOCH},
};

use tidegate_chassis::{Clock, recent::Recent};
use tidegate_contract::node_question::{
    ANSWER_PLAIN_BYTES_MAX, Ask, CheckReport, LOG_TEXT_BYTES_MAX, LogWish, NodeAnswer,
    NodeQuestion, Said,
};
use tokio::{task::spawn_blocking, time::timeout};

use super::{log_page, own_checks::OwnChecks, telemetry::Checks};

/// What questions are answered from.
pub(super) struct Answers {
    pub(super) log: Option<Recent>,
    /// What the agent sees.
    pub(super) own: OwnChecks,
    /// What the rest of the node sees.
    pub(super) checks: Option<Checks>,
    pub(super) clock: Clock,
}

impl Answers {
    /// The answer to a question, as it travels; `None` when it has none that is short enough.
    pub(super) async fn answer(self: Arc<Self>, question: NodeQuestion) -> Option<Vec<u8>> {
        let NodeQuestion { number, ask } = question;
        match ask {
            // Much is looked through.
            Ask::Log(wish) => spawn_blocking(move || self.log(number, &wish)).await.ok().flatten(),
            Ask::Check => match timeout(CHECK_MAX, self.check()).await {
                Ok(report) => self.pack(number, Said::Checks(report)),
                Err(_) => self.refusal(number, "to look at everything takes too long"),
            },
            Ask::Unknown => self.refusal(number, "this build does not know such a question"),
        }
    }

    /// Why there is none.
    pub(super) fn refusal(&self, number: u64, why: &str) -> Option<Vec<u8>> {
        self.pack(number, Said::Refused(why.to_owned()))
    }

    fn log(&self, number: u64, wish: &LogWish) -> Option<Vec<u8>> {
        let Some(recent) = &self.log else {
            return self.refusal(number, "no log is kept here: control.log_lines_max is 0");
        };
        if wish.text.len() > LOG_TEXT_BYTES_MAX {
            return self.refusal(number, "the text that is looked for is too long");
        }
        // What packs badly is told in smaller parts.
        let mut bytes_max = ANSWER_PLAIN_BYTES_MAX / 6 * 5;
        while bytes_max >= PART_BYTES_MIN {
            let page = log_page::page(recent, wish, bytes_max);
            if let Some(packed) = self.pack(number, Said::Log(page)) {
                return Some(packed);
            }
            bytes_max = bytes_max / 4 * 3;
        }
        self.refusal(number, "not one line fits into an answer")
    }

    async fn check(&self) -> CheckReport {
        let node = async {
            match &self.checks {
                Some(look) => look().await,
                None => Vec::new(),
            }
        };
        let mut report = self.own.report();
        report.checks.extend(node.await);
        report
    }

    fn pack(&self, number: u64, said: Said) -> Option<Vec<u8>> {
        let now = self.clock.now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
        let at_unix_ms = u64::try_from(now).unwrap_or(u64::MAX);
        NodeAnswer { number, at_unix_ms, said }.to_bytes().ok()
    }
}

/// All looks together: most take as long as one request, and each has a limit of its own.
const CHECK_MAX: Duration = Duration::from_secs(4);
/// One line always fits into this, whatever it says.
const PART_BYTES_MIN: usize = 1024;

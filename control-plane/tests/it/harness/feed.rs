//! A node of the DNS as the control plane sees it: it reads the feed line by line.

use serde_json::Value;
use tidegate_contract::geo_feed::{
    FeedLine, FleetView, PopCondition, QUESTIONS_NEWEST, Question, RoundTrips,
};

use super::{Answer, TestControl, within};

/// A feed that is read.
pub(crate) struct Feed {
    response: reqwest::Response,
    read: Vec<u8>,
    token: String,
}

impl Feed {
    /// Follows a control plane with a token, and knows every question.
    pub(crate) async fn open(control: &TestControl, token: &str, node: &str) -> Self {
        let questions = QUESTIONS_NEWEST;
        let path = format!("/v1/geo/feed?node={node}&questions={questions}");
        Self::open_at(control, token, &path).await
    }

    /// As [`Feed::open`], of a build that knows the first questions alone and does not say so.
    pub(crate) async fn open_older(control: &TestControl, token: &str, node: &str) -> Self {
        Self::open_at(control, token, &format!("/v1/geo/feed?node={node}")).await
    }

    async fn open_at(control: &TestControl, token: &str, path: &str) -> Self {
        let request = control.request("GET", path);
        let response = within(request.bearer_auth(token).send()).await.expect("an answer");
        assert_eq!(response.status(), 200);
        Self { response, read: Vec::new(), token: token.to_owned() }
    }

    /// The next line; `None` when the feed has ended.
    pub(crate) async fn next(&mut self) -> Option<FeedLine> {
        within(async {
            loop {
                if let Some(end) = self.read.iter().position(|byte| *byte == b'\n') {
                    let line: Vec<u8> = self.read.drain(..=end).collect();
                    return Some(serde_json::from_slice(&line).expect("a line of the feed"));
                }
                self.read.extend(self.response.chunk().await.ok()??);
            }
        })
        .await
    }

    /// The next fleet that is as wished.
    pub(crate) async fn fleet(&mut self, is_wished: impl Fn(&FleetView) -> bool) -> FleetView {
        within(async {
            loop {
                if let Some(FeedLine::Fleet(view)) = self.next().await
                    && is_wished(&view)
                {
                    return *view;
                }
            }
        })
        .await
    }

    /// The next round trips.
    pub(crate) async fn round_trips(&mut self) -> RoundTrips {
        within(async {
            loop {
                if let FeedLine::RoundTrips(batch) = self.next().await.expect("open") {
                    return batch;
                }
            }
        })
        .await
    }

    /// The next question.
    pub(crate) async fn question(&mut self) -> (u64, Question) {
        within(async {
            loop {
                if let FeedLine::Question { id, question } = self.next().await.expect("open") {
                    return (id, question);
                }
            }
        })
        .await
    }

    /// Answers a question with a token.
    pub(crate) async fn answer(control: &TestControl, token: &str, id: u64, body: Value) -> Answer {
        control.call_as(token, "POST", &format!("/v1/geo/answers/{id}"), body).await
    }

    /// The token that it was opened with.
    pub(crate) fn token(&self) -> &str {
        &self.token
    }
}

/// How a PoP is told to be.
pub(crate) fn condition(view: &FleetView, pop: &str) -> Option<(PopCondition, f64)> {
    let pop = view.pops.iter().find(|known| known.id.as_str() == pop)?;
    Some((pop.state, pop.weight))
}

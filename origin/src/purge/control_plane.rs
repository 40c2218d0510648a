//! The control plane as origin sees it: the place where purges are ordered.

use std::time::Duration;

use anyhow::Context;
use reqwest::{Certificate, Client, StatusCode};
use serde::Serialize;
use tidegate_chassis::Secret;
use tidegate_contract::purge::PurgeOrder;
use url::Url;

use crate::purge::config::Config;

/// A client of the control plane's purge API.
#[derive(Debug, Clone)]
pub(super) struct ControlPlane {
    http: Client,
    purges: Url,
    token: Secret,
}

/// How the control plane took an order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Answer {
    /// It is durable there.
    Accepted,
    /// It never will be: the order itself is wrong.
    Refused(String),
    /// Not now: try again.
    Later(String),
}

#[derive(Serialize)]
struct Body<'a> {
    #[serde(flatten)]
    order: &'a PurgeOrder,
    wait: &'static str,
}

impl ControlPlane {
    /// Reads the token and the authority of the config; `None` when no control plane is named.
    pub(super) fn open(config: &Config) -> anyhow::Result<Option<Self>> {
        let (Some(purges), Some(token_file)) = (config.purges_url()?, &config.token_file) else {
            return Ok(None);
        };
        let token = std::fs::read_to_string(token_file)
            .with_context(|| format!("purge.token_file {}", token_file.display()))?;
        let mut http = Client::builder().timeout(config.timeout).connect_timeout(CONNECT_TIMEOUT);
        if let Some(ca_file) = &config.ca_file {
            let pem = std::fs::read(ca_file)
                .with_context(|| format!("purge.ca_file {}", ca_file.display()))?;
            http = http.tls_certs_only(Certificate::from_pem_bundle(&pem)?);
        }
        Ok(Some(Self { http: http.build()?, purges, token: Secret::new(token.trim()) }))
    }

    /// Orders a purge and waits until it is accepted, not until it is applied.
    pub(super) async fn order(&self, id: &str, order: &PurgeOrder) -> Answer {
        let sent = self
            .http
            .post(self.purges.clone())
            .bearer_auth(self.token.expose())
            .header("idempotency-key", id)
            .json(&Body { order, wait: "none" })
            .send()
            .await;
        match sent {
            Ok(response) => judge(response.status()),
            Err(error) => Answer::Later(error.without_url().to_string()),
        }
    }
}

fn judge(status: StatusCode) -> Answer {
    match status {
        status if status.is_success() => Answer::Accepted,
        // These are cured by an operator or by time, not by another order.
        StatusCode::UNAUTHORIZED
        | StatusCode::FORBIDDEN
        | StatusCode::NOT_FOUND
        | StatusCode::REQUEST_TIMEOUT
        | StatusCode::TOO_MANY_REQUESTS => Answer::Later(status.to_string()),
        status if status.is_client_error() => Answer::Refused(status.to_string()),
        status => Answer::Later(status.to_string()),
    }
}

const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests {
    use tidegate_contract::{purge::PurgeTarget, surrogate_key::SurrogateKey};

    use super::*;

    #[test]
    fn only_an_order_that_can_never_be_taken_is_dropped() {
        for (status, is_final) in [(200, true), (202, true), (400, true), (422, true)] {
            let answer = judge(StatusCode::from_u16(status).unwrap());
            assert_eq!(!matches!(answer, Answer::Later(_)), is_final, "{status}");
        }
        for status in [301, 401, 403, 404, 408, 429, 500, 503] {
            let answer = judge(StatusCode::from_u16(status).unwrap());
            assert!(matches!(answer, Answer::Later(_)), "{status}");
        }
    }

    #[test]
    fn an_order_is_the_contracts_json_with_a_wish() {
        let key = SurrogateKey::parse("manifest-m1").unwrap();
        let order = PurgeOrder { target: PurgeTarget::Key { key }, soft: false };
        let body = serde_json::to_string(&Body { order: &order, wait: "none" }).unwrap();
        assert_eq!(body, r#"{"kind":"key","key":"manifest-m1","soft":false,"wait":"none"}"#);
    }
}

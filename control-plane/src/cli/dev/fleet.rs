//! What an operator tells the control plane before a fleet can serve: PoPs, their nodes' tokens, a property.
//!
//! All of it through the HTTP API, and all of it may be said again at every start: the API takes whole states.

use std::path::Path;

use anyhow::Context;
use reqwest::{Client, Method};
use serde_json::{Value, json};

use super::upload::good;

/// The control plane's HTTP API with an operator's token.
pub(super) struct Fleet {
    client: Client,
    pub(super) base: String,
    token: String,
}

impl Fleet {
    /// A client that trusts the control plane's own authority and no other.
    pub(super) fn new(base: String, ca_pem: &str, token: String) -> anyhow::Result<Self> {
        Ok(Self { client: client_trusting(ca_pem)?, base, token })
    }

    /// Makes or replaces a PoP.
    pub(super) async fn put_pop(&self, name: &str, pop: &Value) -> anyhow::Result<()> {
        self.send(Method::PUT, &format!("/v1/pops/{name}"), Some(pop)).await?;
        Ok(())
    }

    /// Makes or replaces a resource of any kind.
    pub(super) async fn put_resource(
        &self,
        kind: &str,
        name: &str,
        spec: &Value,
    ) -> anyhow::Result<()> {
        let body = json!({ "spec": spec });
        self.send(Method::PUT, &format!("/v1/resources/{kind}/{name}"), Some(&body)).await?;
        Ok(())
    }

    /// Makes or replaces a property.
    pub(super) async fn put_property(&self, name: &str, property: &Value) -> anyhow::Result<()> {
        self.send(Method::PUT, &format!("/v1/properties/{name}"), Some(property)).await?;
        Ok(())
    }

    /// A one-time token for a node of a PoP.
    pub(super) async fn enrolment_token(&self, pop: &str) -> anyhow::Result<String> {
        let path = format!("/v1/pops/{pop}/enrolment-tokens");
        let answer = self.send(Method::POST, &path, None).await?;
        let token = answer.get("token").and_then(Value::as_str);
        Ok(token.context("the control plane gave no token")?.to_owned())
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> anyhow::Result<Value> {
        let mut request =
            self.client.request(method, format!("{}{path}", self.base)).bearer_auth(&self.token);
        if let Some(body) = body {
            request = request.json(body);
        }
        let text = good(request.send().await?).await?.text().await?;
        match text.as_str() {
            "" => Ok(Value::Null),
            text => serde_json::from_str(text).with_context(|| format!("{path} gave no JSON")),
        }
    }
}

/// The property of the demo: every host, from origin.
pub(super) fn demo_property(origin: std::net::SocketAddr) -> Value {
    json!({
        "id": "demo",
        "hosts": ["*"],
        "origins": [{ "authority": origin.to_string() }],
    })
}

/// A PoP that fills for others, reached over TLS under the demo's authority.
pub(super) fn shield_pop(https: std::net::SocketAddr, ca: &Path) -> anyhow::Result<Value> {
    let ca_pem = std::fs::read_to_string(ca).context("the demo CA was just made")?;
    Ok(json!({
        "role": "shield",
        "shield_upstream": {
            "authority": https.to_string(),
            "tls": { "server_name": "localhost", "ca_pem": ca_pem },
        },
    }))
}

/// An HTTP client for servers under one authority.
pub(super) fn client_trusting(ca_pem: &str) -> anyhow::Result<Client> {
    let ca = reqwest::Certificate::from_pem(ca_pem.as_bytes()).context("a CA certificate")?;
    Client::builder().tls_certs_only([ca]).build().context("an HTTP client")
}

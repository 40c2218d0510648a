//! The HTTP API as the command line calls it.
//!
//! The token is read from its file and goes nowhere but into the `Authorization` header, over TLS.

use std::{fs, time::Duration};

use reqwest::{Certificate, Method, RequestBuilder, Response, StatusCode, header};
use serde::{Serialize, de::DeserializeOwned};
use tidegate_chassis::Secret;
use tidegate_contract::problem::Problem;
use url::Url;

use super::{
    context::Target,
    failure::{Exit, Failure},
    trace::{Calls, Trace},
};

/// A client of one control plane.
pub(super) struct Client {
    http: reqwest::Client,
    base: Url,
    token: Option<Secret>,
    reason: Option<String>,
    approval: Option<String>,
    is_traced: bool,
}

impl Client {
    /// A client of a target.
    pub(super) fn new(target: &Target, calls: Calls) -> Result<Self, Failure> {
        let usage = |text: String| Failure::new(Exit::Usage, text);
        let base = Url::parse(&target.server)
            .map_err(|error| usage(format!("{}: {error}", target.server)))?;
        if base.scheme() != "https" {
            return Err(usage(format!("{}: only https is spoken", target.server)));
        }
        let Calls { timeout, is_traced } = calls;
        let mut http = reqwest::Client::builder().timeout(timeout).connect_timeout(CONNECT_TIMEOUT);
        if let Some(path) = &target.ca {
            let pem = fs::read(path).map_err(|e| usage(format!("{}: {e}", path.display())))?;
            let ca = Certificate::from_pem_bundle(&pem)
                .map_err(|error| usage(format!("{}: {error}", path.display())))?;
            http = http.tls_certs_only(ca);
        }
        let token = match &target.token_file {
            Some(path) => {
                let text = fs::read_to_string(path);
                let text = text.map_err(|e| usage(format!("{}: {e}", path.display())))?;
                Some(Secret::new(text.trim()))
            }
            None => None,
        };
        let http = http.build().map_err(|error| usage(error.to_string()))?;
        Ok(Self { http, base, token, reason: None, approval: None, is_traced })
    }

    /// The same client, that says why with every change, and shows an approval.
    pub(super) fn saying(mut self, reason: Option<String>, approval: Option<String>) -> Self {
        (self.reason, self.approval) = (reason, approval);
        self
    }

    /// Where the API is.
    pub(super) fn base(&self) -> &Url {
        &self.base
    }

    /// `GET`
    pub(super) async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, Failure> {
        self.read(self.request(Method::GET, path)?).await
    }

    /// `GET`; `None` when there is no such resource.
    pub(super) async fn find<T: DeserializeOwned>(&self, path: &str) -> Result<Option<T>, Failure> {
        match self.get(path).await {
            Err(failure) if failure.exit == Exit::NotFound => Ok(None),
            other => other.map(Some),
        }
    }

    /// `POST`
    pub(super) async fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T, Failure> {
        self.read(self.request(Method::POST, path)?.json(body)).await
    }

    /// `PUT`, only onto a state with this entity tag when there is one.
    pub(super) async fn put<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
        tag: Option<String>,
    ) -> Result<T, Failure> {
        let mut request = self.request(Method::PUT, path)?.json(body);
        if let Some(tag) = tag {
            request = request.header(header::IF_MATCH, tag);
        }
        self.read(request).await
    }

    /// `DELETE`
    pub(super) async fn delete(&self, path: &str) -> Result<(), Failure> {
        self.send(self.request(Method::DELETE, path)?).await.map(|_| ())
    }

    /// `DELETE` of something of which there is an answer, only of this state when there is an entity tag.
    pub(super) async fn remove<T: DeserializeOwned>(
        &self,
        path: &str,
        tag: Option<String>,
    ) -> Result<T, Failure> {
        let mut request = self.request(Method::DELETE, path)?;
        if let Some(tag) = tag {
            request = request.header(header::IF_MATCH, tag);
        }
        self.read(request).await
    }

    /// `POST` whose answer is a stream of bytes.
    pub(super) async fn download(&self, path: &str) -> Result<Response, Failure> {
        self.send(self.request(Method::POST, path)?).await
    }

    /// `GET` whose answer's head matters too.
    pub(super) async fn head_of(&self, path: &str) -> Result<header::HeaderMap, Failure> {
        Ok(self.send(self.request(Method::GET, path)?).await?.headers().clone())
    }

    fn request(&self, method: Method, path: &str) -> Result<RequestBuilder, Failure> {
        let url = self.base.join(path);
        let url = url.map_err(|error| Failure::new(Exit::Usage, format!("{path}: {error}")))?;
        let is_asking = method == Method::GET;
        let mut request = self.http.request(method, url);
        for (name, value) in [(REASON_HEADER, &self.reason), (APPROVAL_HEADER, &self.approval)] {
            if let Some(value) = value.as_ref().filter(|_| !is_asking) {
                let value = header::HeaderValue::from_bytes(value.as_bytes());
                let bad = |_| Failure::new(Exit::Usage, format!("{name}: one line of text"));
                request = request.header(name, value.map_err(bad)?);
            }
        }
        Ok(match &self.token {
            Some(token) => request.bearer_auth(token.expose()),
            None => request,
        })
    }

    async fn read<T: DeserializeOwned>(&self, request: RequestBuilder) -> Result<T, Failure> {
        json(self.send(request).await?).await
    }

    async fn send(&self, request: RequestBuilder) -> Result<Response, Failure> {
        let response = execute(&self.http, request, self.is_traced)
            .await
            .map_err(|text| Failure::new(Exit::Unavailable, format!("{}: {text}", self.base)))?;
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        Err(refused(status, response).await)
    }
}

/// Makes a call, and shows it where that is wanted; without an answer, says why.
async fn execute(
    http: &reqwest::Client,
    request: RequestBuilder,
    is_traced: bool,
) -> Result<Response, String> {
    let why = |error: reqwest::Error| chain(&error.without_url());
    let request = request.build().map_err(why)?;
    let trace = is_traced.then(|| Trace::begin(&request));
    let answer = http.execute(request).await.map_err(why);
    match (trace, &answer) {
        (Some(trace), Ok(response)) => trace.answered(response),
        (Some(trace), Err(why)) => trace.failed(why),
        (None, _) => {}
    }
    answer
}

/// The failure that a response reports, with what to do when a second person is needed.
async fn refused(status: StatusCode, response: Response) -> Failure {
    let Ok(body) = response.json::<serde_json::Value>().await else {
        return Failure::of_problem(status, None);
    };
    let approval = body["approval"].as_str().map(str::to_owned);
    let problem = serde_json::from_value::<Problem>(body).ok();
    let problem = problem.filter(|problem| problem.status == status.as_u16());
    let failure = Failure::of_problem(status, problem);
    match approval {
        Some(id) => failure.with_hint(format!(
            "let somebody else run `tidegate approval approve {id}`, then repeat the command with --approval {id}"
        )),
        None => failure,
    }
}

/// Asks the admin port of a node, which has no login and is not public: without a token, in clear text.
pub(super) async fn ask_admin<T: DeserializeOwned>(
    url: &str,
    query: &[(&str, String)],
    Calls { timeout, is_traced }: Calls,
) -> Result<T, Failure> {
    let usage = |text: String| Failure::new(Exit::Usage, text);
    let http = reqwest::Client::builder().timeout(timeout).connect_timeout(CONNECT_TIMEOUT).build();
    let http = http.map_err(|error| usage(error.to_string()))?;
    let url = Url::parse_with_params(url, query).map_err(|error| usage(error.to_string()))?;
    let response = execute(&http, http.get(url), is_traced).await;
    let response = response.map_err(|text| Failure::new(Exit::Unavailable, text))?;
    let status = response.status();
    if status.is_success() {
        return json(response).await;
    }
    Err(Failure::of_problem(status, problem(status, response).await))
}

async fn json<T: DeserializeOwned>(response: Response) -> Result<T, Failure> {
    response.json().await.map_err(|error| {
        Failure::new(Exit::Unavailable, format!("the answer cannot be read: {}", chain(&error)))
    })
}

async fn problem(status: StatusCode, response: Response) -> Option<Problem> {
    let problem: Problem = response.json().await.ok()?;
    (problem.status == status.as_u16()).then_some(problem)
}

/// An error with its causes; the innermost says what happened.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text = format!("{text}: {inner}");
        cause = inner.source();
    }
    text
}

const REASON_HEADER: &str = "tidegate-reason";
const APPROVAL_HEADER: &str = "tidegate-approval";
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

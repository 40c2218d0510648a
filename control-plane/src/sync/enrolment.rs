//! How a node gets its identity, and keeps it.
//!
//! A one-time token is used up in the same commit that writes the node down; the identity leaves only after that
//! commit. Every refusal of a token reads the same, so that nobody learns which part of it was wrong.

use std::sync::Arc;

use tidegate_contract::id::{NodeId, PopId};
use tokio::{task::JoinHandle, time::Instant};
use tonic::{Request, Response, Status};

use super::{Config, Parts, caller};
use crate::{
    ca::{CaError, Issued},
    rate::Buckets,
    release::ReleaseError,
    store::{Enrolled, NodeName},
    token::{Kind, Presented},
    wire::{EnrolRequest, Identity, RenewRequest, enrolment_server::Enrolment},
};

/// Answers enrolments and renewals. Each runs in a task of its own: a node that goes away while it is answered
/// leaves nothing half done.
pub(super) struct Enrolments(Arc<Registrar>);

struct Registrar {
    parts: Parts,
    nodes_per_pop_max: usize,
    enrolments: Buckets,
    renewals: Buckets,
}

impl Enrolments {
    pub(super) fn new(config: &Config, parts: Parts) -> Self {
        Self(Arc::new(Registrar {
            parts,
            nodes_per_pop_max: config.nodes_per_pop_max,
            enrolments: Buckets::new(config.enrolment_rate, 1),
            renewals: Buckets::new(config.renewal_rate, RENEWING_NODES_MAX),
        }))
    }
}

impl Registrar {
    async fn check_token(&self, text: &str, now_unix_ms: u64) -> Result<(String, PopId), Status> {
        let presented = Presented::parse(Kind::Enrolment, text).ok_or_else(bad_token)?;
        let row = self.parts.store.enrolment_token(&presented.id).await;
        let row = row.map_err(|error| caller::store(&error))?.ok_or_else(bad_token)?;
        let is_good =
            presented.matches(&row.hash) && !row.is_used && row.expires_unix_ms > now_unix_ms;
        // A token may outlive its PoP.
        let has_pop = is_good && self.parts.releases.has_pop(&row.pop).await.map_err(unknown)?;
        if has_pop { Ok((row.id, row.pop)) } else { Err(bad_token()) }
    }

    async fn enrol_node(&self, request: &EnrolRequest) -> Result<Identity, Status> {
        self.enrolments.take("all", Instant::now()).map_err(|_| too_often())?;
        let (now, now_unix_ms) = caller::now(&self.parts);
        let (token_id, pop) = self.check_token(&request.token, now_unix_ms).await?;
        let node = NodeId::parse(request.node.as_str())
            .map_err(|error| Status::invalid_argument(error.to_string()))?;
        let name = NodeName { pop, node };
        let issued = self
            .parts
            .authority
            .node_identity(&name, &request.csr_der, now)
            .map_err(|error| refused(&error))?;
        let enrolled = self.parts.store.enrol(
            token_id.clone(),
            name.clone(),
            issued.serial.clone(),
            issued.expires_unix_ms,
            now_unix_ms,
            self.nodes_per_pop_max,
        );
        match enrolled.await.map_err(|error| caller::store(&error))? {
            Enrolled::Done => {}
            Enrolled::TokenGone => return Err(bad_token()),
            Enrolled::TooManyNodes => {
                return Err(Status::resource_exhausted("the PoP has as many nodes as it may"));
            }
        }
        self.parts.fleet.enrolled(name.clone(), issued.expires_unix_ms);
        tracing::info!(target: "audit", node = %name, token = token_id, "node enrolled");
        Ok(self.identity(name, issued))
    }

    async fn renew_node(&self, request: Request<RenewRequest>) -> Result<Identity, Status> {
        let peer = caller::node_to_renew(&request, &self.parts).await?;
        self.renewals.take(&peer.name.to_string(), Instant::now()).map_err(|_| too_often())?;
        let (now, _) = caller::now(&self.parts);
        let issued = self
            .parts
            .authority
            .node_identity(&peer.name, &request.get_ref().csr_der, now)
            .map_err(|error| refused(&error))?;
        let renewed = self.parts.store.renew_node(
            &peer.name,
            peer.serial,
            issued.serial.clone(),
            issued.expires_unix_ms,
        );
        if !renewed.await.map_err(|error| caller::store(&error))? {
            return Err(caller::unknown());
        }
        self.parts.fleet.renewed(&peer.name, issued.expires_unix_ms);
        tracing::info!(target: "audit", node = %peer.name, "identity renewed");
        Ok(self.identity(peer.name, issued))
    }

    fn identity(&self, name: NodeName, issued: Issued) -> Identity {
        Identity {
            certificate_pem: issued.certificate_pem.into_bytes().into(),
            ca_pem: self.parts.authority.bundle_pem().into_bytes().into(),
            pop: name.pop.into(),
            node: name.node.into(),
        }
    }

    fn count<T>(&self, kind: &str, outcome: Result<T, Status>) -> Result<Response<T>, Status> {
        let word = if outcome.is_ok() { "issued" } else { "refused" };
        self.parts.metrics.identities.with_label_values(&[kind, word]).inc();
        if let Err(status) = &outcome {
            tracing::warn!(kind, reason = status.message(), "no identity was issued");
        }
        outcome.map(Response::new)
    }
}

#[tonic::async_trait]
impl Enrolment for Enrolments {
    async fn enrol(&self, request: Request<EnrolRequest>) -> Result<Response<Identity>, Status> {
        let registrar = Arc::clone(&self.0);
        finish(tokio::spawn(async move {
            let outcome = registrar.enrol_node(request.get_ref()).await;
            registrar.count("enrolment", outcome)
        }))
        .await
    }

    async fn renew(&self, request: Request<RenewRequest>) -> Result<Response<Identity>, Status> {
        let registrar = Arc::clone(&self.0);
        finish(tokio::spawn(async move {
            let outcome = registrar.renew_node(request).await;
            registrar.count("renewal", outcome)
        }))
        .await
    }
}

async fn finish<T>(task: JoinHandle<Result<T, Status>>) -> Result<T, Status> {
    task.await.unwrap_or_else(|_| Err(Status::internal("the call could not be finished")))
}

fn bad_token() -> Status {
    Status::permission_denied("the token is unknown, used or has ended")
}

fn unknown(error: ReleaseError) -> Status {
    tracing::error!(%error, "the newest release cannot be read");
    Status::unavailable("the newest release cannot be read")
}

fn too_often() -> Status {
    Status::resource_exhausted("too many identities are asked for; try again later")
}

fn refused(error: &CaError) -> Status {
    match error {
        CaError::Request(_) => Status::invalid_argument(error.to_string()),
        _ => {
            tracing::error!(%error, "an identity could not be signed");
            Status::internal("the identity could not be signed")
        }
    }
}

/// Nodes whose renewals are counted at a time.
const RENEWING_NODES_MAX: usize = 4096;

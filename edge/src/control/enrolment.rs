//! How a node gets its identity and keeps it fresh.
//!
//! An identity in hand is never given up for a failure: one that ran out is an alarm and stops nothing but the link.

use std::{path::PathBuf, sync::Arc, time::Duration};

use anyhow::Context;
use tidegate_chassis::Clock;
use tidegate_contract::id::NodeId;
use tokio::{
    sync::watch,
    time::{sleep, timeout},
};
use tonic::{Code, Status};

use super::{
    authorities::Authorities,
    identity::{Identity, IdentityError, Request},
    link::{LaneError, Link},
    private_file,
    turn::Turn,
    wire::{self, EnrolRequest, RenewRequest, enrolment_client::EnrolmentClient},
};
use crate::policy::PolicyHandle;

/// Keeps the node's identity.
pub(super) struct Registrar {
    pub(super) link: Link,
    /// Whom to believe; what comes with an identity may change that.
    pub(super) authorities: Authorities,
    pub(super) clock: Clock,
    pub(super) policy: PolicyHandle,
    pub(super) state_dir: PathBuf,
    pub(super) node: NodeId,
    pub(super) token_file: Option<PathBuf>,
    /// How long one call may take.
    pub(super) call_timeout: Duration,
    /// Where lanes look for the identity.
    pub(super) in_use: Arc<watch::Sender<Option<Arc<Identity>>>>,
    /// Two processes must not renew one identity.
    pub(super) whose: Turn,
}

/// Why there is no (fresh) identity yet.
#[derive(Debug, thiserror::Error)]
enum EnrolError {
    #[error("no identity, and control.enrolment_token_file is not set")]
    NoToken,
    #[error("cannot read the enrolment token in {0}: {1}")]
    Token(PathBuf, std::io::Error),
    #[error("the enrolment token in {0} is missing or empty")]
    EmptyToken(PathBuf),
    #[error("the control plane refuses: {0}")]
    Refused(Status),
    #[error("the control plane does not answer: {0}")]
    Call(Status),
    #[error("the control plane does not answer within {0:?}")]
    Timeout(Duration),
    #[error(transparent)]
    Link(#[from] LaneError),
    #[error(transparent)]
    Identity(#[from] IdentityError),
}

impl Registrar {
    /// Gets an identity, then renews it at half life, for as long as the process lives.
    ///
    /// # Errors
    /// When a node that has nothing to serve is refused: then a person has to look, and waiting hides it.
    pub(super) async fn run(self) -> anyhow::Result<()> {
        let mut backoff = self.link.backoff();
        let mut turn = self.link.first_turn();
        loop {
            let _talking = self.whose.begin().await;
            tokio::select! {
                () = self.wait_until_due() => {}
                () = self.whose.ended() => continue,
            }
            // Not cut off: an identity that was given must be kept.
            match self.refresh(turn).await {
                Ok(identity) => {
                    tracing::info!(?identity, "the node has a fresh identity");
                    self.in_use.send_replace(Some(Arc::new(identity)));
                    backoff.reset();
                }
                Err(error) if error.is_final() && self.has_nothing_to_serve() => {
                    return Err(error).context("this node cannot be enrolled");
                }
                Err(error) => {
                    tracing::error!(%error, "no fresh identity; what is there serves on");
                    tokio::select! {
                        () = sleep(backoff.next(rand::random())) => {}
                        () = self.whose.ended() => continue,
                    }
                }
            }
            turn = turn.wrapping_add(1);
        }
    }

    /// Waits until the identity has lived half its life. Looked at every minute, since the wall clock may jump.
    async fn wait_until_due(&self) {
        loop {
            let due = self.current().map(|identity| identity.renewal_at());
            let wait = due.and_then(|due| due.duration_since(self.clock.now()).ok());
            match wait {
                Some(wait) if !wait.is_zero() => sleep(wait.min(LOOK_INTERVAL)).await,
                _ => return,
            }
        }
    }

    async fn refresh(&self, turn: usize) -> Result<Identity, EnrolError> {
        let identity = match self.current() {
            None => self.enrol(turn).await?,
            Some(current) => match self.renew(&current, turn).await {
                // One that ended a while ago may still be renewed, and with a new token the node begins anew.
                Err(_) if !current.is_valid(self.clock.now()) && self.token().is_ok() => {
                    self.enrol(turn).await?
                }
                renewed => renewed?,
            },
        };
        identity.save(&self.state_dir)?;
        Ok(identity)
    }

    async fn enrol(&self, turn: usize) -> Result<Identity, EnrolError> {
        let token = self.token()?;
        let request = Request::new()?;
        let mut client = EnrolmentClient::new(self.link.connect(None, turn).await?);
        let message =
            EnrolRequest { token, node: self.node.to_string(), csr_der: request.csr_der.clone() };
        let answer = self.answer(client.enrol(message)).await?;
        self.take(request, &answer)
    }

    async fn renew(&self, current: &Identity, turn: usize) -> Result<Identity, EnrolError> {
        let request = Request::new()?;
        let mut client = EnrolmentClient::new(self.link.connect(Some(current), turn).await?);
        let message = RenewRequest { csr_der: request.csr_der.clone() };
        let answer = self.answer(client.renew(message)).await?;
        self.take(request, &answer)
    }

    /// Takes an identity, and whom to believe from now on.
    fn take(&self, request: Request, answer: &wire::Identity) -> Result<Identity, EnrolError> {
        let identity = request.answered(&answer.certificate_pem)?;
        match self.authorities.learn(&answer.ca_pem) {
            Ok(false) => {}
            Ok(true) => tracing::warn!("the control plane's authorities are others from now on"),
            Err(error) => tracing::error!(%error, "whom to believe stays as it was"),
        }
        Ok(identity)
    }

    async fn answer(
        &self,
        call: impl Future<Output = Result<tonic::Response<wire::Identity>, Status>>,
    ) -> Result<wire::Identity, EnrolError> {
        match timeout(self.call_timeout, call).await {
            Ok(Ok(answer)) => Ok(answer.into_inner()),
            Ok(Err(status)) if is_refusal(status.code()) => Err(EnrolError::Refused(status)),
            Ok(Err(status)) => Err(EnrolError::Call(status)),
            Err(_) => Err(EnrolError::Timeout(self.call_timeout)),
        }
    }

    fn token(&self) -> Result<String, EnrolError> {
        let path = self.token_file.clone().ok_or(EnrolError::NoToken)?;
        let content = private_file::read(&path, TOKEN_BYTES_MAX)
            .map_err(|error| EnrolError::Token(path.clone(), error))?;
        let text = content.and_then(|bytes| String::from_utf8(bytes).ok()).unwrap_or_default();
        match text.trim() {
            "" => Err(EnrolError::EmptyToken(path)),
            token => Ok(token.to_owned()),
        }
    }

    fn current(&self) -> Option<Arc<Identity>> {
        self.in_use.borrow().clone()
    }

    fn has_nothing_to_serve(&self) -> bool {
        self.current().is_none() && self.policy.current().is_none()
    }
}

impl EnrolError {
    /// Whether trying again would only repeat it.
    fn is_final(&self) -> bool {
        !matches!(self, Self::Call(_) | Self::Timeout(_) | Self::Link(_))
    }
}

/// Whether an answer is about this node rather than about the control plane's own state.
fn is_refusal(code: Code) -> bool {
    matches!(
        code,
        Code::Unauthenticated
            | Code::PermissionDenied
            | Code::InvalidArgument
            | Code::NotFound
            | Code::AlreadyExists
            | Code::FailedPrecondition
    )
}

/// `SystemTime` may jump; tokio's sleeps do not see that.
const LOOK_INTERVAL: Duration = Duration::from_secs(60);
/// A token is a line of text.
const TOKEN_BYTES_MAX: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_final_and_an_absent_control_plane_is_not() {
        for (error, expected) in [
            (EnrolError::NoToken, true),
            (EnrolError::Refused(Status::unauthenticated("used")), true),
            (EnrolError::Call(Status::unavailable("restarting")), false),
            (EnrolError::Timeout(Duration::from_secs(3)), false),
            (EnrolError::Link(LaneError::Closed), false),
        ] {
            assert_eq!(error.is_final(), expected, "{error}");
        }
        assert!(is_refusal(Code::PermissionDenied) && !is_refusal(Code::ResourceExhausted));
    }
}

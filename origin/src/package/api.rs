//! Handlers of the job API; the messages are those of the contract.

use std::sync::Arc;

use axum::{
    Json, Router,
    extract::{DefaultBodyLimit, Path, Request, State},
    http::StatusCode,
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::post,
};
use tidegate_chassis::Secret;
use tidegate_contract::{
    id::JobId,
    package_job::{DETAIL_BYTES_MAX, Failure, LeaseReply, LeaseRequest, Publication, Renewal},
};

use crate::{
    app::App,
    package::{
        config::Config,
        lease::{self, LeaseError},
        publish::{self, PublishError},
    },
    web::{ApiError, JsonBody, bearer_token},
};

#[derive(Clone)]
struct Jobs {
    app: App,
    config: Arc<Config>,
}

/// The routes of the job API, behind the packagers' token.
pub fn routes(app: App, config: Arc<Config>, token: Secret) -> Router {
    let body_max = usize::try_from(config.publication_bytes_max.as_u64()).unwrap_or(usize::MAX);
    let token = Arc::new(token);
    Router::new()
        .route("/internal/v1/jobs/lease", post(lease_job))
        .route("/internal/v1/jobs/{job}/renew", post(renew_job))
        .route("/internal/v1/jobs/{job}/publish", post(publish_job))
        .route("/internal/v1/jobs/{job}/fail", post(fail_job))
        .layer(DefaultBodyLimit::max(body_max))
        .layer(middleware::from_fn(move |request, next| check(token.clone(), request, next)))
        .with_state(Jobs { app, config })
}

async fn check(token: Arc<Secret>, request: Request, next: Next) -> Response {
    match bearer_token(request.headers()) {
        Some(shown) if token.matches(shown) => next.run(request).await,
        _ => ApiError::unauthorized().into_response(),
    }
}

async fn lease_job(
    State(jobs): State<Jobs>,
    JsonBody(request): JsonBody<LeaseRequest>,
) -> Result<Response, ApiError> {
    let packager = checked_name(&request.packager)?;
    match lease::lease(&jobs.app, &jobs.config, packager).await? {
        Some(job) => Ok(Json(job).into_response()),
        None => Ok(StatusCode::NO_CONTENT.into_response()),
    }
}

async fn renew_job(
    State(jobs): State<Jobs>,
    Path(id): Path<String>,
    JsonBody(renewal): JsonBody<Renewal>,
) -> Result<Json<LeaseReply>, ApiError> {
    let id = job_id(id).map_err(|e| refuse(&jobs, e))?;
    lease::renew(&jobs.app, &jobs.config, &id, &renewal).await.map_err(|e| refuse(&jobs, e))?;
    Ok(Json(LeaseReply { lease: jobs.config.lease }))
}

async fn publish_job(
    State(jobs): State<Jobs>,
    Path(id): Path<String>,
    JsonBody(publication): JsonBody<Publication>,
) -> Result<Json<LeaseReply>, ApiError> {
    let id = job_id(id).map_err(|e| refuse(&jobs, e))?;
    let published = publish::publish(&jobs.app, &jobs.config, &id, &publication).await;
    published.map_err(|error| match error {
        PublishError::Lease(error) => refuse(&jobs, error),
        PublishError::Rule(_) | PublishError::Unwritten(_) => ApiError::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "publication",
            "The publication is not accepted",
            error.to_string(),
        ),
        PublishError::Objects(error) => error.into(),
    })?;
    Ok(Json(LeaseReply { lease: jobs.config.lease }))
}

async fn fail_job(
    State(jobs): State<Jobs>,
    Path(id): Path<String>,
    JsonBody(failure): JsonBody<Failure>,
) -> Result<StatusCode, ApiError> {
    let id = job_id(id).map_err(|e| refuse(&jobs, e))?;
    let detail = cut(&failure.detail, DETAIL_BYTES_MAX);
    lease::fail(&jobs.app, &jobs.config, &id, failure.epoch, failure.reason, detail)
        .await
        .map_err(|e| refuse(&jobs, e))?;
    Ok(StatusCode::NO_CONTENT)
}

fn job_id(text: String) -> Result<JobId, LeaseError> {
    JobId::parse(text).map_err(|_| LeaseError::Lost)
}

fn refuse(jobs: &Jobs, error: LeaseError) -> ApiError {
    match error {
        LeaseError::Lost => {
            jobs.app.metrics.jobs.with_label_values(&["fenced"]).inc();
            ApiError::new(
                StatusCode::CONFLICT,
                "lease-lost",
                "The lease is lost",
                "another packager has the job, it ended, or its video was deleted: stop working on it",
            )
        }
        LeaseError::Database(error) => error.into(),
    }
}

fn checked_name(name: &str) -> Result<&str, ApiError> {
    let is_good = (1..=PACKAGER_BYTES_MAX).contains(&name.len())
        && name.bytes().all(|b| b.is_ascii_graphic());
    let detail = "packager: a name has 1 to 128 visible ASCII characters";
    is_good.then_some(name).ok_or_else(|| ApiError::bad_request("packager", detail))
}

/// The beginning of a text, cut where a character ends.
fn cut(text: &str, bytes_max: usize) -> &str {
    &text[..text.floor_char_boundary(bytes_max)]
}

const PACKAGER_BYTES_MAX: usize = 128;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_cut_between_characters() {
        for (text, bytes, expected) in
            [("abc", 5, "abc"), ("abc", 2, "ab"), ("aü", 2, "a"), ("", 0, "")]
        {
            assert_eq!(cut(text, bytes), expected, "{text}");
        }
    }
}
